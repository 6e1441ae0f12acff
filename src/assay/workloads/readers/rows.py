"""Runs of rows of a table, and columns of numbers out of them with the first bad cell named."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints, Mask, starts_of

if TYPE_CHECKING:
    import polars as pl

LARGEST = 2.0**53
"""Integers up to here are exact in float64."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, `first` of which stand before them in the file."""

    frame: "pl.DataFrame"
    file: Path
    first: int = 0

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self.frame.columns

    def cells(self, column: str) -> "pl.Series":
        """A column; raises InputError where these rows lack it, as rows of another kind in the middle of a file do."""
        if not self.has(column):
            raise InputError(self.file, column, f"is missing from row {self.first + 1} on", "Give all rows the same columns")
        return self.frame[column]

    def refuse(self, bad: Mask, column: str, remedy: str) -> None:
        """Raise InputError at the first bad cell, if any; rows are counted from 1, the header left out."""
        if bad.any():
            row = int(np.argmax(bad))
            value = self.frame[column][row]
            raise InputError(self.file, column, f"is {'empty' if value is None else repr(value)} in row {self.first + row + 1}", remedy)

    def numbers(self, column: str, remedy: str = "Give a finite number in every row") -> Floats:
        """A column as float64[n]; raises InputError at the first cell that is no finite number."""
        import polars as pl

        cells = self.cells(column)
        if cells.dtype not in (pl.String, pl.Null) and not cells.dtype.is_numeric():
            raise InputError(self.file, column, f"holds {cells.dtype}, not numbers", remedy)
        values = cells.cast(pl.Float64, strict=False)
        self.refuse((values.is_null() | ~values.is_finite()).fill_null(True).to_numpy(), column, remedy)
        return values.to_numpy()

    def tokens(self, column: str) -> Ints:
        """Token counts as int64[n]; raises InputError at the first cell that is no whole number."""
        return self.whole(column, "Give whole tokens in every row")

    def whole(self, column: str, remedy: str) -> Ints:
        """A column as int64[n]; raises InputError at the first cell that is no whole number."""
        values = self.numbers(column, remedy)
        self.refuse((values != np.floor(values)) | (np.abs(values) > LARGEST), column, remedy)
        return values.astype(np.int64)

    def ids(self, column: str) -> tuple[Ints, Ints]:
        """Lists of ids as one int64 array and the offsets of its n rows; in text, ids stand apart by blanks. No list is an empty one."""
        import polars as pl

        cells = self.cells(column)
        if cells.dtype == pl.Null:
            return np.zeros(0, np.int64), np.zeros(cells.len() + 1, np.int64)
        lists = cells.str.extract_all(r"\S+") if cells.dtype == pl.String else cells
        inner = lists.dtype.inner if isinstance(lists.dtype, pl.List) else None
        if not (isinstance(inner, pl.DataType) and (inner.is_integer() or inner in (pl.String, pl.Null))):
            raise InputError(self.file, column, f"holds {cells.dtype}, not lists of ids", "Give a list of whole numbers in every row")
        counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = lists.filter(lists.list.len() > 0).explode().cast(pl.Int64, strict=False)
        bad = np.flatnonzero((flat.is_null() | (flat < 0)).fill_null(True).to_numpy())
        if bad.size:
            row = self.first + int(np.repeat(np.arange(counts.size), counts)[bad[0]])
            raise InputError(self.file, column, f"holds an id that is no whole number from 0 on in row {row + 1}", "Mend the id")
        return flat.to_numpy(), starts_of(counts)
