"""Plain tables in our own terms: arrival in seconds, input and output in tokens; prefixes, sessions and priorities if any."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.rows import ids, numbers, tokens, whole

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("arrival", "input", "output")
PREFIX, BLOCK = "prefix", "prefix_block"
PRIORITY, SESSION, THINK = "priority", "session", "think"


def read(rows: "pl.DataFrame", file: Path) -> Columns:
    """Requests, and what else there is in the terms of Columns.

    `prefix` holds ids (in CSV apart by blanks) and `prefix_block` the tokens per id, the same in every row. `session`, `think` and
    `priority` are numbers in every row: -1 where there is no session, any arrival where it is that of a later turn.
    """
    arrival, prompt, output = COLUMNS
    columns = Columns(arrival=numbers(rows, arrival, file), input=tokens(rows, prompt, file), output=tokens(rows, output, file))
    if PREFIX in rows.columns:
        prefix, offsets = ids(rows, PREFIX, file)
        columns = replace(columns, prefix=prefix, prefix_offsets=offsets, prefix_block=_block(rows, file) if prefix.size else 0)
    columns = _with_sessions(columns, rows, file)
    if PRIORITY in rows.columns:
        columns = replace(columns, priority=whole(rows, PRIORITY, file, "Give a whole number in every row, the lower the sooner"))
    return validated(columns, Source(file, *COLUMNS, PREFIX))


def _with_sessions(columns: Columns, rows: "pl.DataFrame", file: Path) -> Columns:
    if SESSION in rows.columns:
        remedy = "Give a whole number in every row, -1 where the request is of no session"
        columns = replace(columns, session=whole(rows, SESSION, file, remedy))
    if THINK not in rows.columns:
        return columns
    if SESSION not in rows.columns:
        raise InputError(file, SESSION, "is missing", f"Add the session of each row, or drop the column {THINK}")
    return replace(columns, think=numbers(rows, THINK, file, "Give seconds in every row, 0 for first turns"))


def _block(rows: "pl.DataFrame", file: Path) -> int:
    if BLOCK not in rows.columns:
        raise InputError(file, BLOCK, "is missing", "Add the tokens that one prefix id stands for")
    sizes = tokens(rows, BLOCK, file)
    if (sizes != sizes[0]).any():
        raise InputError(file, BLOCK, f"holds {sizes.min()} and {sizes.max()}", "Give one size for all rows")
    return int(sizes[0])
