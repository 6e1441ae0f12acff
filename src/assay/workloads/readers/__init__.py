"""Readers of trace files: the extension says how rows are stored, the columns say whose format it is."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from assay._base.errors import InputError
from assay.workloads.columns import Columns
from assay.workloads.readers import hashed_blocks, table, timestamps
from assay.workloads.readers.rows import EXTENSIONS, frame

if TYPE_CHECKING:
    import polars as pl

Reader = Callable[["pl.DataFrame", Path], Columns]

FORMATS: tuple[tuple[tuple[str, ...], Reader], ...] = (
    (table.COLUMNS, table.read),
    (timestamps.COLUMNS, timestamps.read),
    (hashed_blocks.COLUMNS, hashed_blocks.read),
    (hashed_blocks.SHORT_COLUMNS, hashed_blocks.read_short),
)
"""The columns that a format must have and its reader; the first format that fits reads the file."""

__all__ = ["EXTENSIONS", "FORMATS", "read"]


def read(path: Path) -> Columns:
    """The checked columns of a trace file; raises InputError naming file, column, row and remedy."""
    rows = frame(path)
    for needed, reader in FORMATS:
        if set(needed) <= set(rows.columns):
            return reader(rows, path)
    known = "; or ".join(", ".join(needed) for needed, _ in FORMATS)
    raise InputError(path, "", f"its columns {', '.join(rows.columns)} are of no known format", f"Name them {known}")
