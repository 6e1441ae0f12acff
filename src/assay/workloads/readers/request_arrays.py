"""Results of a serving benchmark with an array per quantity: prompt and output lengths, start times, errors, an item per request."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.records import Numbers, Record

KEYS = ("input_lens", "output_lens")
STARTS, ERRORS = "start_times", "errors"


def read(records: Iterator[Record]) -> Columns:
    """Requests that were answered, each file or line a run of the benchmark."""
    columns, file = joined(records, _columns)
    return validated(columns, Source(file, STARTS, *KEYS))


def _columns(record: Record) -> Columns:
    prompts, outputs = (_array(record, name) for name in KEYS)
    count = len(prompts)
    given = record.get(STARTS) is not None
    starts = _array(record, STARTS) if given else np.zeros(count)
    failed = _failed(record, count)
    if {len(outputs), len(starts), len(failed)} != {count}:
        sizes = f"{count} input_lens, {len(outputs)} output_lens, {len(starts)} start_times and {len(failed)} errors"
        raise InputError(record.file, "input_lens", f"row {record.row} holds {sizes}", "Give every request an item in each")
    notes = [] if given else [f"no {STARTS} are given: all requests arrive at once"]
    if failed.any() and not failed.all():
        notes.append(f"{int(failed.sum())} of {count} requests failed and are left out")
    kept = ~failed | failed.all()
    return Columns(
        arrival=(starts - starts.min(initial=np.inf if count else 0.0))[kept],
        input=prompts[kept].astype(np.int64),
        output=outputs[kept].astype(np.int64),
        assumptions=tuple(notes),
    )


def _failed(record: Record, count: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    errors = record.get(ERRORS)
    return np.array([bool(error) for error in errors], np.bool_) if isinstance(errors, list) else np.zeros(count, np.bool_)


def _array(record: Record, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A list of numbers, whole ones of a length."""
    found = Numbers(whole=False)
    for item, value in enumerate(record.items(name), 1):
        bad = isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value)
        if bad or (name != STARTS and value != int(value)):
            kind = "a number" if name == STARTS else "whole tokens"
            raise InputError(record.file, name, f"is {value!r} in item {item}", f"Give {kind} for every request")
        found.append(value)
    return found.floats()
