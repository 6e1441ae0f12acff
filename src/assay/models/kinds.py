"""The known kinds of config.json (data/model_kinds.toml), and reading a document by the roles of its kind."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from typing import Any

from assay._base.errors import InputError
from assay._base.schema import DATA, read

_TABLES = ("fields", "defaults", "nulls", "derived", "flags", "only")
_LISTS = ("harmless", "tables", "uniform")
_SCALARS = ("attention", "ffn", "recurrence", "layerwise", "windowed", "window_word", "index_word", "active_embedding", "active_head")


@cache
def kinds_document() -> dict[str, Any]:
    """The tables of data/model_kinds.toml, checked against their schema."""
    return read(DATA / "model_kinds.toml", "model_kinds")


@dataclass(frozen=True)
class Kind:
    """How to read one `model_type`: see the head of data/model_kinds.toml for the meaning of each table."""

    name: str
    attention: str
    ffn: str
    recurrence: str
    layerwise: str
    windowed: str
    window_word: str
    index_word: str
    active_embedding: bool
    active_head: bool
    fields: Mapping[str, list[str]]
    defaults: Mapping[str, int]
    nulls: Mapping[str, int]
    derived: Mapping[str, str]
    flags: Mapping[str, bool]
    only: Mapping[str, list[Any]]
    harmless: tuple[str, ...]
    tables: tuple[str, ...]
    uniform: tuple[str, ...]


def kind_of(document: Mapping[str, Any], file: object) -> Kind:
    """The kind of a config.json by its `model_type`.

    Raises InputError when there is none, or when it is not known.
    """
    document = unwrapped(document, file)
    name, known = document.get("model_type"), kinds_document()["kind"]
    if name is None:
        raise InputError(file, "model_type", "is missing", f"Add it; known: {', '.join(known)}")
    if not isinstance(name, str) or name not in known:
        raise InputError(file, "model_type", f"{name!r} is not known", f"Known: {', '.join(known)}")
    return _kind(name)


def wrapper(document: Mapping[str, Any]) -> str:
    """The table in which a document wraps a language model among others, as those that see images; empty when it wraps none."""
    return next((table for table in kinds_document()["common"]["wrapped"] if document.get(table)), "")


def unwrapped(document: Mapping[str, Any], file: object) -> Mapping[str, Any]:
    """The language model of a document that wraps one, with what the wrapper says of storage and is not said within; else itself."""
    table = wrapper(document)
    if not table:
        return document
    if not isinstance(document[table], Mapping):
        raise InputError(file, table, "must be a table", "Give it as published")
    outer = {name: document[name] for name in kinds_document()["common"]["inherited"] if name in document}
    return {**outer, **document[table]}


@cache
def _kind(name: str) -> Kind:
    tables = [kinds_document()["common"], *_tables(name)]
    scalars = {key: value for table in tables for key, value in table.items() if key in _SCALARS}
    merged = {key: {role: value for table in tables for role, value in table.get(key, {}).items()} for key in _TABLES}
    lists = {key: tuple(item for table in tables for item in table.get(key, ())) for key in _LISTS}
    empty = dict.fromkeys(_SCALARS, "")
    return Kind(
        **{
            **empty,
            "name": name,
            "window_word": "sliding_attention",
            "active_embedding": True,
            "active_head": True,
            **scalars,
            **merged,
            **lists,
        }
    )


def _tables(name: str) -> Iterator[Mapping[str, Any]]:
    """Tables that make up a kind, the most general first."""
    own = kinds_document()["kind"][name]
    if "like" in own:
        yield from _tables(own["like"])
    else:
        yield from (kinds_document()["form"][own[part]] for part in ("attention", "ffn"))
    yield own


@dataclass(frozen=True)
class Fields:
    """A config.json read by roles; each read raises InputError, naming the field, when the value cannot be right."""

    document: Mapping[str, Any]
    kind: Kind
    file: object

    def name(self, role: str) -> str:
        """The document's field for a role: the first that is there, or the first name it could have."""
        names = self.kind.fields.get(role, [role])
        return next((name for name in names if name in self.document), names[0])

    def integer(self, role: str, minimum: int = 1) -> int:
        """A size or count of at least `minimum`; what absence and null mean is the kind's to say."""
        name = self.name(role)
        value = self.document.get(name) if role in self.kind.fields else None
        if role in self.kind.uniform and isinstance(value, list):
            value = self._uniform(role, value)
        if value is None:
            return self._stand_in(role, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(role, f"must be an integer, is {value!r}", "Give an integer")
        if value < minimum:
            raise self.wrong(role, f"is {value}, below {minimum}", f"Give at least {minimum}")
        most = kinds_document()["common"]["most"]
        if value > most.get(role, most["any"]):
            raise self.wrong(role, f"is {value}, above {most.get(role, most['any'])}", f"Give at most {most.get(role, most['any'])}")
        return value

    def _uniform(self, role: str, values: list[Any]) -> Any:
        if not values or any(value != values[0] for value in values):
            raise self.wrong(role, "differs between layers", "Give one number, if all layers have it")
        return values[0]

    def knows(self, role: str) -> bool:
        """Whether the kind says anything of a role."""
        return any(role in table for table in (self.kind.fields, self.kind.defaults, self.kind.derived, self.kind.flags))

    def flag(self, role: str) -> bool:
        """A boolean; false when nothing says otherwise."""
        value = self.document.get(self.name(role)) if role in self.kind.fields else None
        if value is None:
            return self.kind.flags.get(role, False)
        if not isinstance(value, bool):
            raise self.wrong(role, f"must be true or false, is {value!r}", "Give true or false")
        return value

    def items(self, role: str, of: type) -> list[Any] | None:
        """A list whose items are all of type `of`; None when absent or null."""
        value = self.document.get(self.name(role)) if role in self.kind.fields else None
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, of) and not isinstance(item, bool) for item in value):
            raise self.wrong(role, f"must be a list of {of.__name__}", "Give a list, or leave it out")
        return value

    def text(self, role: str, allowed: Iterable[str]) -> str | None:
        """One of the words that are `allowed`; None when absent or null."""
        value = self.document.get(self.name(role)) if role in self.kind.fields else None
        if value is not None and value not in allowed:
            raise self.wrong(role, f"{value!r} is not known", f"Use one of {', '.join(allowed)}")
        return value

    def wrong(self, role: str, problem: str, remedy: str) -> InputError:
        """The error to raise about the field of a role."""
        return InputError(self.file, self.name(role), problem, remedy)

    def refuse_unknown(self) -> None:
        """Raise InputError on a field that is not understood and whose name tells that it changes the computation.

        And on one that is understood with certain values only, and has another.
        """
        for name, allowed in self.kind.only.items():
            if self.document.get(name) is not None and self.document[name] not in [self._meant(value) for value in allowed]:
                problem = f"{self.document[name]!r} is not understood for model_type {self.kind.name}"
                raise InputError(self.file, name, problem, f"Known: {', '.join(str(self._meant(value)) for value in allowed)}, or none")
        understood = {name for names in self.kind.fields.values() for name in names}
        for name, value in self.document.items():
            unknown = name not in understood and name not in self.kind.only and not _matches(name, self.kind.harmless)
            if value and unknown and _matches(name, kinds_document()["common"]["structural"]):
                problem = f"is not understood for model_type {self.kind.name}, and its name tells that it changes the computation"
                raise InputError(self.file, name, problem, "Take it out if it changes nothing; if it does, this model is not supported")

    def _stand_in(self, role: str, name: str) -> int:
        if self.document.get(name, 0) is None and role in self.kind.nulls:
            return self.kind.nulls[role]
        is_null = name in self.document and role in self.kind.derived
        if role in self.kind.defaults and not is_null:
            return self.kind.defaults[role]
        if role not in self.kind.derived:
            raise self.wrong(role, "is missing", f"Add it, as in the config.json of the model: it gives {role.replace('_', ' ')}")
        return self._derived(role, *self.kind.derived[role].split())

    def _meant(self, value: Any) -> Any:
        """A value of `only`: itself, or for "= role" the number that the document gives for the role."""
        return self.integer(value[2:]) if isinstance(value, str) and value.startswith("= ") else value

    def _derived(self, role: str, first: str, sign: str = "", second: str = "") -> int:
        if sign == "/":
            return self._quotient(role, first, second)
        numbers = [int(text) if text.isdigit() else self.integer(text) for text in (first, second) if text]
        return prod(numbers) if sign == "*" else sum(numbers)

    def _quotient(self, role: str, whole: str, part: str) -> int:
        value, remainder = divmod(self.integer(whole), self.integer(part))
        if remainder or not value:
            raise self.wrong(role, f"is missing, and {self.name(whole)} / {self.name(part)} is not an integer", "Give it")
        return value


def flattened(document: Mapping[str, Any], kind: Kind, file: object) -> dict[str, Any]:
    """The document with the fields of its tables, those that the kind names, beside the others as `table.field`."""
    flat = dict(document)
    for table in kind.tables:
        found = flat.pop(table, None) or {}
        if not isinstance(found, Mapping):
            raise InputError(file, table, "must be a table", "Give it as published")
        flat |= {f"{table}.{name}": value for name, value in found.items()}
    return flat


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
