"""Sessions of coding agents: turns on a clock of their session, think times, and prompts hashed in blocks of 64 tokens.

A row per turn (`session t in out think_time`, and `api_time`, `hash_ids`), or a JSON object per session with its turns under `requests`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints, starts_of
from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.records import Numbers, Record
from assay.workloads.readers.rows import Rows

COLUMNS = ("session", "t", "in", "out", "think_time")
KEYS = ("requests", "block_size")
HASHES, ANSWERING, THINK, BLOCK_SIZE = "hash_ids", "api_time", "think_time", "block_size"
BLOCK = 64
"""Tokens per hash where the rows do not carry it."""
COARSE = 512
"""Tokens per prefix id that is kept: hashes are taken together, since prompts are long and hold thousands."""
LOCAL = "no prefix is shared between sessions: the hashes are those of one"
CLOCK = "the clock of each session is its own: all sessions are there from the start"


def read(pieces: Iterator[Rows]) -> Columns:
    """A row per turn, in the order of the turns of each session."""
    numbered: dict[Any, int] = {}
    answering: list[Floats] = []
    columns, file = joined(pieces, lambda rows: _of_rows(rows, numbered, answering))
    return validated(_with_think(columns, np.concatenate(answering)), Source(file, "t", "in", "out", HASHES))


def read_records(records: Iterator[Record]) -> Columns:
    """A JSON object per session; turns of sub-agents stand among those of their parent."""
    answering: list[Floats] = []
    columns, file = joined(records, lambda record: _of_record(record, answering))
    return validated(_with_think(columns, np.concatenate(answering)), Source(file, "t", "in", "out", HASHES))


def _of_rows(rows: Rows, numbered: dict[Any, int], answering: list[Floats]) -> Columns:
    """Columns whose think times are NaN where none is given; seconds that answers took are added to `answering`."""
    answering.append(_given(rows, ANSWERING))
    session = np.array([numbered.setdefault(each, len(numbered)) for each in rows.cells("session").to_list()], np.int64)
    columns = Columns(
        arrival=rows.numbers("t"),
        input=rows.tokens("in"),
        output=rows.tokens("out"),
        session=session,
        think=_given(rows, THINK),
        assumptions=(CLOCK,),
    )
    if not rows.has(HASHES):
        return columns
    prefix, offsets = rows.ids(HASHES)
    return _with_hashes(columns, prefix, offsets, BLOCK)


def _given(rows: Rows, column: str) -> Floats:
    """Numbers, NaN where there is none."""
    import polars as pl

    if not rows.has(column):
        return np.full(rows.frame.height, np.nan)
    cells = rows.frame[column].cast(pl.Float64, strict=False)
    rows.refuse((cells.is_null() & rows.frame[column].is_not_null()).to_numpy(), column, "Give seconds, or nothing")
    return cells.fill_null(np.nan).to_numpy()


def _of_record(record: Record, answering: list[Floats]) -> Columns:
    """As of rows."""
    times, thinks, answers = (Numbers(whole=False) for _ in range(3))
    prompts, outputs, counts, ids = (Numbers() for _ in range(4))
    for turn in _turns(record):
        times.append(turn.number("t"))
        prompts.append(turn.tokens("in", 1))
        outputs.append(turn.tokens("out"))
        for name, held in ((THINK, thinks), (ANSWERING, answers)):
            held.append(np.nan if turn.get(name) is None else turn.number(name))
        hashes = turn.get(HASHES) or []
        if not all(type(each) is int and each >= 0 for each in hashes):
            raise InputError(record.file, HASHES, f"holds an id that is no whole number from 0 on in row {record.row}", "Mend the id")
        counts.append(len(hashes))
        ids.extend(hashes)
    session = np.full(times.floats().size, record.row - 1, np.int64)
    columns = Columns(
        arrival=times.floats(), input=prompts.ints(), output=outputs.ints(), session=session, think=thinks.floats(), assumptions=(CLOCK,)
    )
    answering.append(answers.floats())
    block = record.tokens(BLOCK_SIZE, 1)
    if COARSE % block:
        raise InputError(record.file, BLOCK_SIZE, f"is {block} in row {record.row}", f"Give a divisor of {COARSE}")
    return _with_hashes(columns, ids.ints(), starts_of(counts.ints()), block)


def _turns(record: Record) -> Iterator[Record]:
    """The turns of a session in order; an entry that holds turns itself, of a sub-agent, is replaced by them."""
    for values in record.items("requests"):
        turn = record.part(values)
        if isinstance(turn.get("requests"), list):
            yield from _turns(turn)
        else:
            yield turn


def _with_think(columns: Columns, answering: Floats) -> Columns:
    """Where no think time is given, the time since the turn before was sent, less that of its answer where it is known."""
    later = np.zeros(columns.requests, np.bool_)
    later[1:] = columns.session[1:] == columns.session[:-1]
    since = np.diff(columns.arrival, prepend=0.0) - np.nan_to_num(np.concatenate(([0.0], answering[:-1]))[: columns.requests])
    missing = np.isnan(columns.think)
    think = np.where(missing, np.where(later, np.maximum(since, 0.0), 0.0), columns.think)
    if not (missing & later).any():
        return replace(columns, think=think)
    note = f"where no {THINK} is given, it is the time between two turns, less that of the answer where it is known"
    return replace(columns, think=think, assumptions=(*columns.assumptions, note))


def _with_hashes(columns: Columns, prefix: Ints, offsets: Ints, block: int) -> Columns:
    """One id per COARSE tokens: the last hash of each whole group. Hashes are those of a session, so ids carry its number."""
    group = COARSE // block
    counts = np.diff(offsets) // group
    coarse = starts_of(counts)
    within = np.arange(coarse[-1]) - np.repeat(coarse[:-1], counts)
    kept = prefix[np.repeat(offsets[:-1], counts) + group * (within + 1) - 1]
    own = (np.repeat(columns.session, counts) << 32) + kept
    notes = (f"{group} of {HASHES}, of {block} tokens each, are taken together", LOCAL)
    return replace(
        columns,
        prefix=own,
        prefix_offsets=coarse,
        prefix_block=COARSE if own.size else 0,
        assumptions=(*columns.assumptions, *notes * bool(own.size)),
    )
