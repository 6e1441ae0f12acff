"""Logs of a gateway: seconds, request tokens and response tokens per call, failed calls among them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.rows import Rows

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")
SESSION = "Session ID"


def read(pieces: Iterator[Rows]) -> Columns:
    """Calls that were answered: those without response tokens are failures, as the format has it, and are left out."""

    def columns_of(rows: Rows) -> Columns:
        time, prompt, answer = COLUMNS
        columns = Columns(arrival=rows.numbers(time), input=rows.tokens(prompt), output=rows.tokens(answer))
        note = f"{SESSION} is not read: the format has no think times"
        return replace(columns, assumptions=(note,)) if rows.has(SESSION) else columns

    columns, file = joined(pieces, columns_of)
    columns = validated(columns, Source(file, *COLUMNS))
    failed = int((columns.output == 0).sum())
    if not 0 < failed < columns.requests:
        return columns
    note = f"{failed} of {columns.requests} calls have no response tokens: they failed and are left out"
    return replace(columns.take(np.flatnonzero(columns.output)), assumptions=(*columns.assumptions, note))
