"""Measured operating points: tables with one published number a row, checked, and grouped into runs by their conditions.

The columns are those of data/schema/points.toml; others are kept and not read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay._base.errors import InputError
from assay._base.schema import DATA, Field, schema

if TYPE_CHECKING:
    import polars as pl

SHIPPED = DATA / "published" / "points.parquet"
"""The table of published numbers that comes with the package."""

RESULTS = ("metric", "statistic", "per", "value", "quality", "source")
"""Columns that say what was measured, and where it stands; all others of the schema are conditions of the run."""


@dataclass(frozen=True)
class Number:
    """One row: what was measured. `row` counts from 0 over all tables; `value` is None where the number is only to be predicted."""

    row: int
    metric: str
    statistic: str
    per: str
    value: float | None
    quality: str

    @property
    def scored(self) -> bool:
        """Whether a prediction is to be held against it."""
        return self.value is not None and self.quality != "D"


@dataclass(frozen=True)
class Point:
    """One run: its conditions by column, without those that are not stated, and the numbers measured in it."""

    conditions: Mapping[str, Any]
    numbers: tuple[Number, ...]

    def said(self, column: str) -> Any:
        """A condition; None where it is not stated."""
        return self.conditions.get(column)


@dataclass(frozen=True, eq=False)
class Points:
    """All rows of some tables, as they were read, and the runs that they tell of, in order of their first row."""

    frame: "pl.DataFrame"
    files: tuple[Path, ...]

    @cached_property
    def runs(self) -> tuple[Point, ...]:
        """Rows with the same conditions together."""
        names = [name for name in schema("points") if name in self.frame.columns]
        conditions = [name for name in names if name not in RESULTS]
        groups: dict[tuple[Any, ...], list[Number]] = {}
        for row, values in enumerate(self.frame.select(names).iter_rows(named=True)):
            key = tuple(values[name] for name in conditions)
            groups.setdefault(key, []).append(_number(row, values))
        return tuple(Point(_stated(conditions, key), tuple(numbers)) for key, numbers in groups.items())


def _number(row: int, values: Mapping[str, Any]) -> Number:
    return Number(
        row,
        values["metric"],
        values.get("statistic") or "",
        values.get("per") or "request",
        values.get("value"),
        values.get("quality") or "",
    )


def _stated(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def read_points(files: Sequence[Path]) -> Points:
    """Read tables (Parquet, CSV or JSON lines, by suffix) and check each column that the schema knows.

    Raises InputError naming file, row and column on a value that is of the wrong kind, out of range or missing.
    """
    import polars as pl

    tables = [_checked(_table(file), file) for file in files]
    return Points(pl.concat(tables, how="diagonal_relaxed"), tuple(files))


_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_ndjson", ".ndjson": "read_ndjson"}


def _table(file: Path) -> "pl.DataFrame":
    import polars as pl

    if file.suffix not in _READERS:
        raise InputError(file, "", f"{file.suffix or 'no suffix'} is not a table", f"Give one of {', '.join(_READERS)}")
    options: dict[str, Any] = {"infer_schema_length": None} if file.suffix != ".parquet" else {}
    try:
        found: pl.DataFrame = getattr(pl, _READERS[file.suffix])(file, **options)
    except OSError as error:
        raise InputError(file, "", error.strerror or str(error), "Give a readable file") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(file, "", f"cannot be read: {str(error).splitlines()[0]}", "Mend the file, or write it anew") from None
    if found.is_empty():
        raise InputError(file, "", "has no rows", "Give a table with at least one")
    return found


def _checked(rows: "pl.DataFrame", file: Path) -> "pl.DataFrame":
    for field in schema("points").values():
        if field.path in rows.columns:
            rows = rows.with_columns(_column(rows, field, file))
        elif field.required:
            raise InputError(file, field.path, "is missing", f"Add the column: {field.description}")
    return rows


_KINDS = {"text": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


def _column(rows: "pl.DataFrame", field: Field, file: Path) -> "pl.Series":
    """The column in the type of its field, each value checked."""
    import polars as pl

    kinds = {"text": pl.String, "integer": pl.Int64, "number": pl.Float64, "boolean": pl.Boolean}
    given = rows[field.path]
    column = given.cast(kinds[field.type], strict=False)
    lost = given.is_not_null() & column.is_null()
    if field.type == "integer" and given.dtype.is_float():
        lost |= given.is_not_null() & (given != given.floor())
    for bad, problem, remedy in ((lost, "is not {type}", "Give {type}, or nothing"), *_limits(column, field)):
        if bad.any():
            place, kind = int(bad.arg_max() or 0), _KINDS[field.type]
            said = f"{given[place]!r} {problem.format(type=kind)}"
            raise InputError(file, f"{field.path} in row {place + 1}", said, f"{remedy.format(type=kind)}: {field.description}")
    if field.required and column.null_count():
        raise InputError(
            file, f"{field.path} in row {int(column.is_null().arg_max() or 0) + 1}", "is missing", f"Add it: {field.description}"
        )
    return column


def _limits(column: "pl.Series", field: Field) -> Iterator[tuple["pl.Series", str, str]]:
    """What is out of range, and how to say so."""
    if field.allowed:
        known = ", ".join(field.allowed)
        yield column.is_not_null() & ~column.is_in(field.allowed), "is not known", f"Use one of {known}"
    if field.type == "number":
        yield column.is_infinite() | column.is_nan(), "is not finite", "Give a finite number"
    if field.minimum is not None:
        yield column < field.minimum, f"is below {field.minimum:g}", f"Give at least {field.minimum:g}"
    if field.above is not None:
        yield column <= field.above, f"is not above {field.above:g}", f"Give more than {field.above:g}"
    if field.maximum is not None:
        yield column > field.maximum, f"is above {field.maximum:g}", f"Give at most {field.maximum:g}"
