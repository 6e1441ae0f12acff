"""Rows of a file, and columns of numbers out of them with the first bad cell named."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints, starts_of

if TYPE_CHECKING:
    import polars as pl

EXTENSIONS = (".toml", ".csv", ".jsonl", ".parquet")
"""Files that hold a workload; .toml ones are descriptions, the others traces."""

LARGEST = 2.0**53
"""Integers up to here are exact in float64."""


def frame(path: Path) -> "pl.DataFrame":
    """All rows; CSV cells as text. Raises InputError on a missing, empty or broken file or another extension."""
    import polars as pl

    if path.suffix not in EXTENSIONS[1:]:
        raise InputError(path, "", f"unknown kind of file {path.suffix or '(no extension)'}", f"Give one of {', '.join(EXTENSIONS)}")
    try:
        if not path.stat().st_size:
            raise InputError(path, "", "is empty", "Give a file with at least one request")
        if path.suffix == ".csv":
            return pl.read_csv(path, infer_schema=False)
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path, infer_schema_length=None)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a readable file") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(path, "", f"cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}", "Mend the file") from None


def numbers(rows: "pl.DataFrame", column: str, file: Path, remedy: str = "Give a finite number in every row") -> Floats:
    """A column as float64[n]; raises InputError at the first cell that is no finite number."""
    import polars as pl

    cells = rows[column]
    if cells.dtype != pl.String and not cells.dtype.is_numeric():
        raise InputError(file, column, f"holds {cells.dtype}, not numbers", remedy)
    values = cells.cast(pl.Float64, strict=False)
    refuse((values.is_null() | ~values.is_finite()).fill_null(True).to_numpy(), cells, file, remedy)
    return values.to_numpy()


def tokens(rows: "pl.DataFrame", column: str, file: Path) -> Ints:
    """Token counts as int64[n]; raises InputError at the first cell that is no whole number."""
    return whole(rows, column, file, "Give whole tokens in every row")


def whole(rows: "pl.DataFrame", column: str, file: Path, remedy: str) -> Ints:
    """A column as int64[n]; raises InputError at the first cell that is no whole number."""
    values = numbers(rows, column, file, remedy)
    refuse((values != np.floor(values)) | (np.abs(values) > LARGEST), rows[column], file, remedy)
    return values.astype(np.int64)


def ids(rows: "pl.DataFrame", column: str, file: Path) -> tuple[Ints, Ints]:
    """Lists of ids as one int64 array and the offsets of its n rows; in text, ids stand apart by blanks. No list is an empty one."""
    import polars as pl

    cells = rows[column]
    lists = cells.str.extract_all(r"\S+") if cells.dtype == pl.String else cells
    inner = lists.dtype.inner if isinstance(lists.dtype, pl.List) else None
    if not (isinstance(inner, pl.DataType) and (inner.is_integer() or inner == pl.String)):
        raise InputError(file, column, f"holds {cells.dtype}, not lists of ids", "Give a list of whole numbers in every row")
    counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = lists.filter(lists.list.len() > 0).explode().cast(pl.Int64, strict=False)
    bad = np.flatnonzero((flat.is_null() | (flat < 0)).fill_null(True).to_numpy())
    if bad.size:
        row = int(np.repeat(np.arange(counts.size), counts)[bad[0]])
        raise InputError(file, column, f"holds an id that is no whole number from 0 on in row {row + 1}", "Mend the id")
    return flat.to_numpy(), starts_of(counts)


def refuse(bad: np.ndarray[tuple[int], np.dtype[np.bool_]], cells: "pl.Series", file: Path, remedy: str) -> None:
    """Raise InputError at the first bad cell, if any; rows are counted from 1, the header left out."""
    if bad.any():
        row = int(np.argmax(bad))
        value = cells[row]
        raise InputError(file, cells.name, f"is {'empty' if value is None else repr(value)} in row {row + 1}", remedy)
