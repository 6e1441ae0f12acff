"""Requests of load generators, one by one with their start and end; turns of one conversation are linked by it.

Two forms: records with `metadata` and `metrics`, one per line, and reports of benchmarks with their requests under `successful`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.records import Numbers, Record

RECORD_KEYS = ("metadata", "metrics")
REPORT_KEYS = ("benchmarks",)
NANOSECOND = 1e-9


@dataclass
class _Log:
    """What is gathered of each request; `turn` counts within a conversation, times are seconds from `origin`."""

    file: object = ""
    start: Numbers = field(default_factory=lambda: Numbers(whole=False))
    end: Numbers = field(default_factory=lambda: Numbers(whole=False))
    input: Numbers = field(default_factory=Numbers)
    output: Numbers = field(default_factory=Numbers)
    session: Numbers = field(default_factory=Numbers)
    turn: Numbers = field(default_factory=Numbers)
    numbered: dict[Any, int] = field(default_factory=dict)
    failed: int = 0
    warming: int = 0

    def conversation(self, name: Any) -> None:
        """Note the conversation of a request; one without is alone."""
        self.session.append(self.numbered.setdefault(name if name is not None else (len(self.numbered),), len(self.numbered)))

    def columns(self, names: tuple[str, str, str], *notes: str) -> Columns:
        """Checked columns, with sessions where a conversation has several turns."""
        start, end, session = self.start.floats(), self.end.floats(), self.session.ints()
        if not start.size:
            raise InputError(self.file, names[1], "holds no request that was answered", "Give a log of requests that were")
        order = np.lexsort((start, self.turn.ints(), session))
        prompts, outputs = self.input.ints()[order], self.output.ints()[order]
        columns = Columns(arrival=start[order], input=prompts, output=outputs, assumptions=self._said(notes))
        later = np.concatenate(([False], np.diff(session[order]) == 0))
        if later.any():
            waited = start[order] - np.concatenate(([0.0], end[order][:-1]))
            columns = replace(columns, session=session[order], think=np.where(later, np.maximum(waited, 0.0), 0.0))
        return validated(columns, Source(self.file, *names))

    def _said(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        left = ((self.failed, "failed"), (self.warming, "were of the warm-up"))
        return (*(f"{count} requests {what} and are left out" for count, what in left if count), *notes)


def read_records(records: Iterator[Record]) -> Columns:
    """Records with times in nanoseconds; requests that failed, were cancelled or warmed up are left out."""
    log = _Log()
    origin: int | None = None
    names = ("metadata.request_start_ns", "metrics.input_sequence_length.value", "metrics.output_sequence_length.value")
    for record in records:
        log.file = record.file
        if record.get("metadata.benchmark_phase") not in (None, "profiling"):
            log.warming += 1
            continue
        if record.get("error") is not None or record.get("metadata.was_cancelled"):
            log.failed += 1
            continue
        begun = record.tokens(names[0])
        origin = begun if origin is None else origin
        log.start.append((begun - origin) * NANOSECOND)
        log.end.append((record.tokens("metadata.request_end_ns") - origin) * NANOSECOND)
        log.input.append(record.tokens(names[1], 1))
        log.output.append(record.tokens(record.first(names[2], "metrics.output_token_count.value")))
        log.conversation(record.get(record.first("metadata.x_correlation_id", "metadata.session_num")))
        log.turn.append(int(record.get("metadata.turn_index") or 0))
    return _from_earliest(log).columns(names)


def read_report(records: Iterator[Record]) -> Columns:
    """Benchmarks with times in seconds since 1970; all of a report, in the order in which they ran."""
    log = _Log()
    names = ("request_start_time", "prompt_tokens", "output_tokens")
    benchmarks = 0
    for report in records:
        log.file = report.file
        for benchmark in map(report.part, report.items("benchmarks")):
            benchmarks += 1
            log.failed += len(benchmark.get("requests.errored") or ()) + len(benchmark.get("requests.incomplete") or ())
            for request in map(report.part, benchmark.items("requests.successful")):
                _add(log, request, benchmarks)
    several = (f"{benchmarks} benchmarks of one report, as they ran one after the other",) if benchmarks > 1 else ()
    return _from_earliest(log).columns(names, *several)


def _add(log: _Log, request: Record, benchmark: int) -> None:
    log.start.append(request.number(request.first("request_start_time", "start_time")))
    log.end.append(request.number(request.first("request_end_time", "end_time")))
    log.input.append(request.tokens("prompt_tokens", 1))
    log.output.append(request.tokens("output_tokens"))
    conversation = request.get("info.conversation_id")
    log.conversation(None if conversation is None else (benchmark, conversation))
    log.turn.append(int(request.get("info.turn_index") or 0))


def _from_earliest(log: _Log) -> _Log:
    """The same with times counted from the first request: rows are written when they end, not when they start."""
    start, end = log.start.floats(), log.end.floats()
    first = start.min(initial=np.inf) if start.size else 0.0
    log.start, log.end = Numbers(whole=False), Numbers(whole=False)
    log.start.extend((start - first).tolist())
    log.end.extend((end - first).tolist())
    return log
