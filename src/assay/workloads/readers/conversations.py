"""Conversations in text: who says what, in turns. Tokens are estimated from characters."""

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import starts_of
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.records import Numbers, Record
from assay.workloads.readers.table import BACK_TO_BACK

KEYS = ("conversations",)
CHARACTERS = 4
"""Characters per token, the rule of thumb that publishers of tokenizers give for English."""
BLOCK = 64
"""Tokens per prefix id: what a turn shares with the one before is counted in whole blocks."""
AT_ONCE = "no arrivals are given: all conversations are there from the start"
ANSWERS = ("gpt", "assistant", "model", "chatgpt", "bing", "bard")
"""Who gives answers; all others put questions or instructions."""


def read(records: Iterator[Record]) -> Columns:
    """A request per answer, whose prompt is all that was said before; the answers of a conversation are the turns of a session."""
    prompts, outputs, sessions = Numbers(), Numbers(), Numbers()
    file: object = ""
    unanswered = 0
    for record in records:
        file = record.file
        turns = list(_answers(record))
        unanswered += not turns
        for before, answer in turns:
            prompts.append(max(1, ceil(before / CHARACTERS)))
            outputs.append(ceil(answer / CHARACTERS))
            sessions.append(record.row - 1)
    lengths = prompts.ints()
    if not lengths.size:
        raise InputError(file, "conversations", "holds no answer", f"Give turns whose `from` is one of {', '.join(ANSWERS)}")
    notes = [f"{CHARACTERS} characters count as one token", BACK_TO_BACK, AT_ONCE]
    if unanswered:
        notes.append(f"{unanswered} conversations without an answer to a question are left out")
    counts = lengths // BLOCK
    offsets = starts_of(counts)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    columns = Columns(
        arrival=np.zeros(lengths.size),
        input=lengths,
        output=outputs.ints(),
        session=sessions.ints(),
        prefix=(np.repeat(sessions.ints(), counts) << 32) + within,
        prefix_offsets=offsets,
        prefix_block=BLOCK if offsets[-1] else 0,
        assumptions=tuple(notes),
    )
    return validated(columns, Source(file, "arrival", "conversations", "conversations"))


def _answers(record: Record) -> Iterator[tuple[int, int]]:
    """Characters before each answer, and of the answer; an answer to nothing is only something said before."""
    before, asked = 0, False
    for values in record.items("conversations"):
        who, said = _said(record, values)
        if who in ANSWERS and asked:
            yield before, said
        asked = who not in ANSWERS
        before += said


def _said(record: Record, values: Any) -> tuple[str, int]:
    """Who said how many characters, in either of the two spellings of a turn."""
    turn = record.part(values)
    who, text = turn.get(turn.first("from", "role")), turn.get(turn.first("value", "content"))
    if not isinstance(who, str) or not isinstance(text, str):
        problem = f"holds a turn without {'a speaker' if isinstance(text, str) else 'text'} in row {record.row}"
        raise InputError(record.file, "conversations", problem, "Give `from` and `value`, or `role` and `content`, in every turn")
    return who.lower(), len(text)
