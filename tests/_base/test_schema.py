"""The strict TOML reader, on a small schema of its own."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base import schema
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay._base.schema import DATA, Field

FIELDS = [
    Field("name", "text", "What it is called", required=True),
    Field("kind", "text", "Which of two", allowed=("round", "square")),
    Field("tags", "texts", "Any of two", allowed=("new", "old")),
    Field("count", "integer", "How many", unit="pieces", minimum=1, maximum=9),
    Field("on", "boolean", "Whether"),
    Field("power.tdp", "number", "Heat", unit="W", fact=True, above=0),
    Field("peak.*", "number", "Rate of a precision", fact=True, above=0),
    Field("memory[].name", "text", "Name of the tier", required=True),
    Field("memory[].bytes", "number", "Size of the tier", fact=True, required=True, above=0),
]


@pytest.fixture(autouse=True, scope="module")
def _small_schema() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "schema", lambda name: {field.path: field for field in FIELDS})
        yield


def _check(**document: Any) -> dict[str, Any]:
    return schema.check({"name": "it", **document}, "small", "it.toml")


def test_plain_fields_come_back_as_they_are() -> None:
    """Fields that are not facts keep their value."""
    document = {"name": "it", "kind": "round", "tags": ["old"], "count": 3, "on": True}
    assert schema.check(document, "small", "it.toml") == document


def test_facts_may_be_bare() -> None:
    """A bare number becomes a fact without evidence."""
    assert _check(power={"tdp": 700})["power"]["tdp"] == Fact(700)


def test_facts_keep_their_evidence() -> None:
    """Bounds, source, confidence and date are kept; a TOML date becomes text."""
    row = {"value": 700, "low": 600, "high": 750, "source": "data sheet", "confidence": "A", "date": "2026"}
    fact = _check(power={"tdp": row})["power"]["tdp"]
    assert fact == Fact(700, 600, 750, "data sheet", "A", "2026")
    assert fact.to_dict() == row


def test_a_star_takes_any_key() -> None:
    """Where the schema says any key, the user chooses the names."""
    assert _check(peak={"bf16": 1e15, "fp3": 2e15})["peak"] == {"bf16": Fact(1e15), "fp3": Fact(2e15)}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"knd": "round"}, r"knd: unknown field. Did you mean kind\?"),
        ({"zzz": 1}, "zzz: unknown field. Known here: count, kind, memory, name, on, peak, power, tags"),
        ({"power": {"tpd": 1}}, r"power\.tpd: unknown field. Did you mean tdp\?"),
        ({"memory": [{"name": "a", "bytes": 1, "size": 2}]}, r"memory\[0\]\.size: unknown field"),
        ({"kind": 3}, "kind: must be text, is 3. Give a text: Which of two"),
        ({"kind": "oval"}, "kind: 'oval' is not known. Use one of round, square"),
        ({"tags": ["old", "odd"]}, "tags: 'odd' is not known. Use one of new, old"),
        ({"count": 1.5}, "count: must be integer, is 1.5. Give pieces: How many"),
        ({"count": True}, "count: must be integer, is True"),
        ({"on": 1}, "on: must be boolean, is 1"),
        ({"count": 0}, "count: is 0, below 1. Give at least 1"),
        ({"count": 10}, "count: is 10, above 9. Give at most 9"),
        ({"power": {"tdp": 0}}, r"power\.tdp: is 0, must be above 0. Give more than 0"),
        ({"power": {"tdp": float("nan")}}, r"power\.tdp: is nan. Give a finite number in W"),
        ({"power": {"tdp": {"value": -1}}}, r"power\.tdp\.value: is -1, must be above 0"),
        ({"power": {"tdp": {"value": 5, "low": 0}}}, r"power\.tdp\.low: is 0"),
        ({"power": {"tdp": {"value": 5, "sauce": "x"}}}, r"power\.tdp: unknown key sauce. Use value and any of low, high, source"),
        ({"power": {"tdp": {"source": "x"}}}, r"power\.tdp: has no value"),
        ({"power": {"tdp": {"value": 5, "source": 7}}}, r"power\.tdp\.source: must be text, is 7"),
        ({"power": 5}, r"power: must be a table. Write \[power\]"),
        ({"memory": {"name": "a"}}, r"memory: must be a list of tables. Write \[\[memory\]\]"),
        ({"memory": [{"name": "a", "bytes": 1}, {"name": "b"}]}, r"memory\[1\]\.bytes: is missing. Add it: Size of the tier"),
    ],
)
def test_a_wrong_document_names_field_and_remedy(document: dict[str, Any], message: str) -> None:
    """One message: the file, the place in it, what is wrong and what to do."""
    with pytest.raises(InputError, match=f"^it.toml: {message}"):
        _check(**document)


def test_a_required_field_must_be_there() -> None:
    """What the schema requires at the top is asked for."""
    with pytest.raises(InputError, match=r"name: is missing\. Add it: What it is called"):
        schema.check({}, "small", "it.toml")


@given(st.text(min_size=1).filter(lambda key: key not in {field.path.split(".")[0].removesuffix("[]") for field in FIELDS}))
def test_no_unknown_field_passes(key: str) -> None:
    """Any other name at the top is refused."""
    with pytest.raises(InputError):
        _check(**{key: 1})


def test_bad_syntax_names_the_line(tmp_path: Path) -> None:
    """A file that is not TOML gets the parser's own place."""
    file = tmp_path / "bad.toml"
    file.write_text("name = \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.toml: not valid TOML: .*line 1"):
        schema.read(file, "small")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A file that is not there is one clear message."""
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        schema.read(tmp_path / "none.toml", "small")


def test_a_date_becomes_text(tmp_path: Path) -> None:
    """TOML has dates; evidence has text."""
    file = tmp_path / "it.toml"
    file.write_text('name = "it"\npower.tdp = { value = 5, date = 2026-11-01 }\n', encoding="utf-8")
    assert schema.read(file, "small")["power"]["tdp"] == Fact(5, date="2026-11-01")


@pytest.mark.parametrize("file", sorted((DATA / "schema").glob("*.toml")), ids=lambda file: file.stem)
def test_shipped_schemas_say_what_each_field_means(file: Path) -> None:
    """Every field of every schema has a known type and a description; numbers have a unit."""
    for row in schema.read_toml(file)["field"]:
        field = Field(**row)
        assert field.type in schema._PYTHON_TYPES
        assert field.description
        assert field.unit or field.type != "number", field.path
