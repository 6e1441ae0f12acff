"""Plain tables in our own terms: arrival in seconds, input and output in tokens; prefixes, sessions and priorities if any."""

from collections.abc import Iterator
from dataclasses import replace

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.rows import Rows

COLUMNS = ("arrival", "input", "output")
PREFIX, BLOCK = "prefix", "prefix_block"
PRIORITY, SESSION, THINK = "priority", "session", "think"
BACK_TO_BACK = "no think times are given: a turn comes as soon as the one before it has ended"


def read(pieces: Iterator[Rows]) -> Columns:
    """Requests, and what else there is in the terms of Columns.

    `prefix` holds ids (in CSV apart by blanks) and `prefix_block` the tokens per id, the same in every row. `session`, `think` and
    `priority` are numbers in every row: -1 where there is no session, any arrival where it is that of a later turn.
    """
    columns, file = joined(pieces, _columns)
    return validated(columns, Source(file, *COLUMNS, PREFIX))


def _columns(rows: Rows) -> Columns:
    arrival, prompt, output = COLUMNS
    columns = Columns(arrival=rows.numbers(arrival), input=rows.tokens(prompt), output=rows.tokens(output))
    if rows.has(PREFIX):
        prefix, offsets = rows.ids(PREFIX)
        columns = replace(columns, prefix=prefix, prefix_offsets=offsets, prefix_block=_block(rows) if prefix.size else 0)
    columns = _with_sessions(columns, rows)
    if rows.has(PRIORITY):
        columns = replace(columns, priority=rows.whole(PRIORITY, "Give a whole number in every row, the lower the sooner"))
    return columns


def _with_sessions(columns: Columns, rows: Rows) -> Columns:
    if rows.has(SESSION):
        session = rows.whole(SESSION, "Give a whole number in every row, -1 where the request is of no session")
        columns = replace(columns, session=session, assumptions=() if rows.has(THINK) else (BACK_TO_BACK,))
    if not rows.has(THINK):
        return columns
    if not rows.has(SESSION):
        raise InputError(rows.file, SESSION, "is missing", f"Add the session of each row, or drop the column {THINK}")
    return replace(columns, think=rows.numbers(THINK, "Give seconds in every row, 0 for first turns"))


def _block(rows: Rows) -> int:
    if not rows.has(BLOCK):
        raise InputError(rows.file, BLOCK, "is missing", "Add the tokens that one prefix id stands for")
    sizes = rows.tokens(BLOCK)
    if (sizes != sizes[0]).any():
        raise InputError(rows.file, BLOCK, f"holds {sizes.min()} and {sizes.max()}", "Give one size for all rows")
    return int(sizes[0])
