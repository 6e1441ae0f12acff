"""Traces whose prompts are hashed in blocks of 512 tokens: equal ids from the start mean an equal prefix."""

from collections.abc import Iterator
from dataclasses import replace

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.rows import Rows

COLUMNS = ("timestamp", "input_length", "output_length")
SHORT_COLUMNS = ("t", "in", "out")
HASHES = "hash_ids"
BLOCK = 512
"""Tokens per hash; the format does not carry it. The last block of a prompt is hashed even when it is cut."""


def read(pieces: Iterator[Rows]) -> Columns:
    """Requests whose time stamps are milliseconds."""
    return _read(pieces, COLUMNS, 1e-3)


def read_short(pieces: Iterator[Rows]) -> Columns:
    """Requests in the short form, whose times are seconds."""
    return _read(pieces, SHORT_COLUMNS, 1.0)


def _read(pieces: Iterator[Rows], names: tuple[str, str, str], unit: float) -> Columns:
    def columns_of(rows: Rows) -> Columns:
        if rows.has("session"):
            problem = "in this format the clock of each session is its own, and no column think_time says when its turns come"
            remedy = "Add think_time, seconds from the end of a turn to the next, or drop the column session"
            raise InputError(rows.file, "session", problem, remedy)
        columns = Columns(arrival=rows.numbers(names[0]) * unit, input=rows.tokens(names[1]), output=rows.tokens(names[2]))
        return _with_hashes(columns, rows) if rows.has(HASHES) else columns

    columns, file = joined(pieces, columns_of)
    return validated(columns, Source(file, *names, HASHES))


def _with_hashes(columns: Columns, rows: Rows) -> Columns:
    prefix, offsets = rows.ids(HASHES)
    note = f"one of {HASHES} stands for {BLOCK} tokens, as the format has it"
    return replace(columns, prefix=prefix, prefix_offsets=offsets, prefix_block=BLOCK, assumptions=(note,))
