"""The strict reader: TOML documents checked against the tables in data/schema.

A schema file is a list of `[[field]]` entries. A field's `path` names its place: `power.tdp`, `memory[].bytes` (in each item of a
list of tables) or `peak.*` (any key); a row for a table itself (`memory`) says that it is required. One table thus gives the checks,
the help of a field and the docs.
"""

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from assay._base.errors import InputError
from assay._base.facts import Fact

DATA = Path(__file__).parent.parent / "data"

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "texts": (list,),
    "integers": (list,),
    "numbers": (list,),
    "matrix": (list,),
    "table": (dict,),
}
_ELEMENT_TYPES: dict[str, tuple[type, ...]] = {"texts": (str,), "integers": (int,), "numbers": (int, float), "matrix": (list,)}
_PURE = ("fraction", "ratio", "factor")  # units that a number does without
_EVIDENCE = ("value", "low", "high", "source", "confidence", "date")


@dataclass(frozen=True)
class Field:
    """One row of a schema: what may stand at `path`.

    `fact` fields may be bare or a table with value, low, high, source, confidence and date. `minimum` and `maximum` are inclusive,
    `above` is exclusive.
    """

    path: str
    type: str
    description: str
    unit: str = ""
    required: bool = False
    fact: bool = False
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None


@cache
def schema(name: str) -> dict[str, Field]:
    """The fields of data/schema/NAME.toml by path, in file order."""
    with (DATA / "schema" / f"{name}.toml").open("rb") as file:
        rows = tomllib.load(file)["field"]
    fields = [Field(**{**row, "allowed": tuple(row.get("allowed", ()))}) for row in rows]
    return {field.path: field for field in fields}


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; raise InputError with the parser's line on bad syntax or a missing file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a readable file") from None
    except (ValueError, RecursionError) as error:  # bad syntax, no text, a number of thousands of digits; tables in tables without end
        raise InputError(path, "", f"not valid TOML: {error}", "Mend the syntax there") from None


def read(path: Path, name: str) -> dict[str, Any]:
    """Read a TOML file and check it against schema `name`: see `check`."""
    return check(read_toml(path), name, path)


def check(document: Mapping[str, Any], name: str, file: object) -> dict[str, Any]:
    """Return the document with every `fact` field wrapped in a Fact.

    Raises InputError naming file, field and remedy on an unknown field, a wrong type, a value out of range or a missing field.
    """
    fields = schema(name)
    checked = _table(document, "", "", fields, file)
    for field in fields.values():
        if field.required:
            _require(document, field, file)
    return checked


def annotated(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of a catalogue entry in which every value whose field has a unit in schema `name` is a table with value and unit."""
    fields = schema(name)
    return {key: _annotated(value, _place("", key, fields), fields) for key, value in entry.items()}


def _annotated(value: Any, path: str, fields: Mapping[str, Field]) -> Any:
    unit = fields[path].unit if path in fields else ""
    if unit and value is not None:
        return {**(value if isinstance(value, Mapping) else {"value": value}), "unit": unit}
    if isinstance(value, Mapping) and "value" not in value:
        return {key: _annotated(item, _place(path, key, fields), fields) for key, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [_annotated(item, path + "[]", fields) for item in value]
    return value


def _table(table: Mapping[str, Any], path: str, shown: str, fields: Mapping[str, Field], file: object) -> dict[str, Any]:
    return {key: _value(value, _place(path, key, fields), _join(shown, key), fields, file) for key, value in table.items()}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _place(path: str, key: str, fields: Mapping[str, Field]) -> str:
    exact, any_key = _join(path, key), _join(path, "*")
    known = exact in fields or any(other.startswith((exact + ".", exact + "[].")) for other in fields)
    return any_key if not known and (any_key in fields or any(o.startswith(any_key + ".") for o in fields)) else exact


def _value(value: Any, path: str, shown: str, fields: Mapping[str, Field], file: object) -> Any:
    if path in fields and not any(other.startswith((path + ".", path + "[].")) for other in fields):
        return _leaf(value, fields[path], shown, file)
    if isinstance(value, Mapping) and any(other.startswith(path + ".") for other in fields):
        return _table(value, path, shown, fields, file)
    if any(other.startswith(path + "[].") for other in fields):
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise InputError(file, shown, "must be a list of tables", f"Write [[{shown}]]")
        return [_table(item, path + "[]", f"{shown}[{i}]", fields, file) for i, item in enumerate(value)]
    if any(other.startswith(path + ".") for other in fields):
        raise InputError(file, shown, "must be a table", f"Write [{shown}]")
    raise InputError(file, shown, "unknown field", _suggest(path, fields))


def _suggest(path: str, fields: Mapping[str, Field]) -> str:
    parent, _, key = path.rpartition(".")
    siblings = sorted(
        {other[len(parent) + 1 if parent else 0 :].split(".")[0].removesuffix("[]") for other in fields if other.startswith(parent)}
    )
    near = difflib.get_close_matches(key, siblings, 1)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(siblings)}"


def _leaf(value: Any, field: Field, shown: str, file: object) -> Any:
    if not field.fact:
        return _checked(value, field, shown, file)
    if not isinstance(value, Mapping):
        return Fact(_checked(value, field, shown, file))
    unknown = [key for key in value if key not in _EVIDENCE]
    if unknown or "value" not in value:
        problem = f"unknown key {unknown[0]}" if unknown else "has no value"
        raise InputError(file, shown, problem, f"Use value and any of {', '.join(_EVIDENCE[1:])}")
    fact: Fact[Any] = Fact(**{key: _evidence(key, item, field, shown, file) for key, item in value.items()})
    if (fact.low is not None and fact.low > fact.value) or (fact.high is not None and fact.high < fact.value):
        raise InputError(file, shown, f"value {fact.value} is not within {fact.low} to {fact.high}", "Give low <= value <= high")
    return fact


def _evidence(key: str, item: Any, field: Field, shown: str, file: object) -> Any:
    if key in ("value", "low", "high"):
        return _checked(item, field, f"{shown}.{key}", file)
    if isinstance(item, date):
        return item.isoformat()
    if not isinstance(item, str):
        raise InputError(file, f"{shown}.{key}", f"must be text, is {item!r}", "Put it in quotes")
    return item


def _checked(value: Any, field: Field, shown: str, file: object) -> Any:
    if isinstance(value, date):
        value = value.isoformat()
    allowed_types = _PYTHON_TYPES[field.type]
    if not isinstance(value, allowed_types) or (isinstance(value, bool) and field.type != "boolean"):
        raise InputError(file, shown, f"must be {field.type}, is {value!r}", _wanted(field))
    if isinstance(value, list) and not all(isinstance(item, _ELEMENT_TYPES[field.type]) for item in value):
        raise InputError(file, shown, f"must be a list of {field.type}, is {value!r}", _wanted(field))
    _refuse_long(value, shown, file)
    if field.allowed:
        _one_of(value, field, shown, file)
    if isinstance(value, int | float) and not isinstance(value, bool):
        _in_range(value, field, shown, file)
    return value


def _refuse_long(value: Any, shown: str, file: object) -> None:
    """TOML's integers have 64 bits; Python's parser reads longer ones, which no arithmetic here takes."""
    for item in value if isinstance(value, list) else ():
        _refuse_long(item, shown, file)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise InputError(file, shown, f"is a number of {len(str(abs(value)))} digits", "Give an integer of at most 18, or write it as 1e18")


def _wanted(field: Field) -> str:
    return f"Give {field.unit or 'a ' + field.type}: {field.description}"


def _one_of(value: Any, field: Field, shown: str, file: object) -> None:
    for item in value if isinstance(value, list) else [value]:
        if item not in field.allowed:
            raise InputError(file, shown, f"{item!r} is not known", f"Use one of {', '.join(field.allowed)}")


def _in_range(value: float, field: Field, shown: str, file: object) -> None:
    low, above, high = field.minimum, field.above, field.maximum
    if not -math.inf < value < math.inf:
        raise InputError(file, shown, f"is {value}", f"Give a finite number{' in ' + field.unit if field.unit else ''}")
    if low is not None and value < low:
        raise InputError(file, shown, f"is {value}, below {_written(low)}", f"Give at least {_written(low)}{_of(field)}")
    if above is not None and value <= above:
        raise InputError(file, shown, f"is {value}, must be above {above}", f"Give more than {above}")
    if high is not None and value > high:
        raise InputError(file, shown, f"is {value}, above {_written(high)}", f"Give at most {_written(high)}{_of(field)}")


def _written(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def _of(field: Field) -> str:
    return f" {field.unit}" if field.unit and field.unit not in _PURE else ""


def _require(document: Mapping[str, Any], field: Field, file: object) -> None:
    *parents, key = field.path.split(".")
    for shown, table in _tables(document, parents):
        if isinstance(table, Mapping) and key.removesuffix("[]") not in table and key != "*":
            raise InputError(file, _join(shown, key), "is missing", f"Add it: {field.description}")


def _tables(document: Mapping[str, Any], parents: list[str]) -> Iterator[tuple[str, Any]]:
    places: list[tuple[str, Any]] = [("", document)]
    for name in parents:
        places = [place for shown, table in places for place in _children(shown, table, name)]
    return iter(places)


def _children(shown: str, table: Any, name: str) -> list[tuple[str, Any]]:
    if not isinstance(table, Mapping):
        return []
    if name == "*":
        return [(_join(shown, key), value) for key, value in table.items()]
    child = table.get(name.removesuffix("[]"))
    if child is None:
        return []
    if name.endswith("[]"):
        return [(f"{_join(shown, name[:-2])}[{i}]", item) for i, item in enumerate(child)]
    return [(_join(shown, name), child)]
