"""Traces whose prompts are hashed in blocks of 512 tokens: equal ids from the start mean an equal prefix."""

from pathlib import Path
from typing import TYPE_CHECKING

from assay._base.errors import InputError
from assay.workloads.arrays import Floats
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.rows import ids, numbers, tokens

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("timestamp", "input_length", "output_length")
SHORT_COLUMNS = ("t", "in", "out")
HASHES = "hash_ids"
BLOCK = 512
"""Tokens per hash; the format does not carry it. The last block of a prompt is hashed even when it is cut."""


def read(rows: "pl.DataFrame", file: Path) -> Columns:
    """Requests whose time stamps are milliseconds."""
    return _columns(rows, file, numbers(rows, COLUMNS[0], file) * 1e-3, COLUMNS)


def read_short(rows: "pl.DataFrame", file: Path) -> Columns:
    """Requests in the short form, whose times are seconds."""
    if "session" in rows.columns:
        remedy = "Name the columns arrival, input, output, session and think, with the first turns on one clock, or drop the column session"
        raise InputError(file, "session", "in this format the clock of each session is its own", remedy)
    return _columns(rows, file, numbers(rows, SHORT_COLUMNS[0], file), SHORT_COLUMNS)


def _columns(rows: "pl.DataFrame", file: Path, arrival: Floats, names: tuple[str, str, str]) -> Columns:
    columns = Columns(arrival=arrival, input=tokens(rows, names[1], file), output=tokens(rows, names[2], file))
    if HASHES in rows.columns:
        columns = _with_hashes(columns, rows, file)
    return validated(columns, Source(file, *names, HASHES))


def _with_hashes(columns: Columns, rows: "pl.DataFrame", file: Path) -> Columns:
    prefix, offsets = ids(rows, HASHES, file)
    return Columns(
        arrival=columns.arrival,
        input=columns.input,
        output=columns.output,
        prefix=prefix,
        prefix_offsets=offsets,
        prefix_block=BLOCK,
        assumptions=(f"one of {HASHES} stands for {BLOCK} tokens, as the format has it",),
    )
