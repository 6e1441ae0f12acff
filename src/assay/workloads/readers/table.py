"""Plain tables in our own terms: arrival in seconds, input and output in tokens, and prefixes if any."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.rows import ids, numbers, tokens

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("arrival", "input", "output")
PREFIX, BLOCK = "prefix", "prefix_block"


def read(rows: "pl.DataFrame", file: Path) -> Columns:
    """Requests; `prefix` holds ids (in CSV apart by blanks) and `prefix_block` the tokens per id, the same in every row."""
    arrival, prompt, output = COLUMNS
    columns = Columns(arrival=numbers(rows, arrival, file), input=tokens(rows, prompt, file), output=tokens(rows, output, file))
    if PREFIX in rows.columns:
        prefix, offsets = ids(rows, PREFIX, file)
        columns = replace(columns, prefix=prefix, prefix_offsets=offsets, prefix_block=_block(rows, file) if prefix.size else 0)
    return validated(columns, Source(file, *COLUMNS, PREFIX))


def _block(rows: "pl.DataFrame", file: Path) -> int:
    if BLOCK not in rows.columns:
        raise InputError(file, BLOCK, "is missing", "Add the tokens that one prefix id stands for")
    sizes = tokens(rows, BLOCK, file)
    if (sizes != sizes[0]).any():
        raise InputError(file, BLOCK, f"holds {sizes.min()} and {sizes.max()}", "Give one size for all rows")
    return int(sizes[0])
