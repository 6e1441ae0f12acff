"""The columns of requests, and the one place where columns that were read are checked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from assay._base.errors import InputError
from assay.workloads import sessions
from assay.workloads.arrays import Floats, Ints, Mask, Rows, starts_of


def _no_integers() -> Ints:
    return np.zeros(0, np.int64)


def _no_numbers() -> Floats:
    return np.zeros(0)


ALWAYS, OPTIONAL = ("arrival", "input", "output"), ("priority", "session", "think")
"""Columns with a value per row, and those that may be empty instead."""
LONGEST = 2**40
"""Tokens beyond which no request is: sums of more would not fit 64 bits."""
LATEST = 1e11
"""Seconds beyond which no request comes and nobody thinks: 3,000 years."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """n requests, one per row.

    `arrival` float64[n], seconds from 0, never decreasing. `input` int64[n], tokens, at least 1; `output` int64[n], tokens, 0 where
    nothing is generated. Row i shares its prompt prefix with the rows whose first ids are the same:
    `prefix[prefix_offsets[i]:prefix_offsets[i + 1]]`, one id per `prefix_block` tokens from the start of the prompt, the last of which
    may be cut by the end of the prompt. Without prefixes `prefix` is empty and `prefix_block` 0.

    The others may be empty. `priority` int64[n], the lower the sooner (empty: all 0). `session` int64[n]: rows with the same id from 0
    on are the turns of one session, in row order; a negative id is a request of its own (empty: all are). A first turn comes at its
    `arrival`; a later turn `think` float64[n] seconds (empty: 0) after the one before it ended, whatever its `arrival`, which need not
    be in order. `assumptions` says what was not given and was assumed.
    """

    arrival: Floats
    input: Ints
    output: Ints
    prefix: Ints = field(default_factory=_no_integers)
    prefix_offsets: Ints = field(default_factory=_no_integers)
    prefix_block: int = 0
    priority: Ints = field(default_factory=_no_integers)
    session: Ints = field(default_factory=_no_integers)
    think: Floats = field(default_factory=_no_numbers)
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the offsets of rows without prefixes."""
        if not self.prefix_offsets.size:
            object.__setattr__(self, "prefix_offsets", np.zeros(self.input.size + 1, np.int64))
        assert self.arrival.size == self.input.size == self.output.size == self.prefix_offsets.size - 1
        assert self.prefix_offsets[-1] == self.prefix.size
        assert all(getattr(self, name).size in (0, self.input.size) for name in OPTIONAL)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return int(self.input.size)

    @cached_property
    def opens(self) -> Mask:
        """Which rows are the first turn of their session or a request of their own, bool[n]: those that come at their `arrival`."""
        if not self.session.size:
            return np.ones(self.requests, np.bool_)
        return np.asarray(self.openings() == np.arange(self.requests), np.bool_)

    @property
    def last_start(self) -> float:
        """When the last session, or request of its own, comes, s."""
        return float(self.arrival[self.opens][-1] if self.session.size else self.arrival[-1])

    def following(self) -> Rows:
        """Row of the next turn of each row's session, int32[n], -1 where there is none; empty when there are no sessions."""
        return sessions.following(self.session)

    def openings(self) -> Ints:
        """Row of the first turn of each row's session, int64[n]; of a request of its own the row itself."""
        return sessions.openings(self.session) if self.session.size else np.arange(self.requests)

    def take(self, rows: Ints) -> Self:
        """The rows of the given indices, in their order; a session of which only some are taken begins with the first of those."""
        counts = np.diff(self.prefix_offsets)[rows]
        offsets = starts_of(counts)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in self._filled()},
            prefix=self.prefix[np.repeat(self.prefix_offsets[:-1][rows], counts) + within],
            prefix_offsets=offsets,
        )

    def tiled(self, times: int) -> Self:
        """All rows `times` times, copy after copy, none of which shares prefixes or sessions with another.

        A copy begins one mean gap between arrivals after the last arrival of the one before. Ids count from 0 without gaps. Raises
        InputError when `times` is below 1.
        """
        if times < 1:
            raise InputError("workload", "times", f"is {times}", "Give 1 or more")
        starts = self.arrival[self.opens]
        lasting = (starts[-1] - starts[0]) * (1 + 1 / max(1, starts.size - 1))
        repeated: dict[str, Any] = {name: np.tile(getattr(self, name), times) for name in self._filled()}
        repeated["arrival"] += np.repeat(lasting * np.arange(times), self.requests)
        return replace(
            self,
            **repeated | {"session": sessions.renewed(self.session, times)},
            prefix=sessions.renewed(self.prefix, times),
            prefix_offsets=starts_of(np.tile(np.diff(self.prefix_offsets), times)),
            assumptions=(*self.assumptions, f"the requests repeated {times} times, each time with prefixes and sessions of their own"),
        )

    def _filled(self) -> list[str]:
        return [*ALWAYS, *(name for name in OPTIONAL if getattr(self, name).size)]


class Piece(Protocol):
    """Some rows of a file."""

    @property
    def file(self) -> object:
        """The file they are from."""


AnyPiece = TypeVar("AnyPiece", bound=Piece)


def joined(pieces: Iterable[AnyPiece], columns_of: Callable[[AnyPiece], Columns]) -> tuple[Columns, object]:
    """The columns of all pieces of a file, one after the other, and the file; what is assumed of several is said once.

    A column that is empty in one piece and not in another is refused: the rows are then of two formats.
    """
    file: object = ""
    parts: list[Columns] = []
    for piece in pieces:
        file = piece.file
        parts.append(columns_of(piece))
        for name in OPTIONAL:
            if parts[0].requests and bool(getattr(parts[0], name).size) != bool(getattr(parts[-1], name).size):
                raise InputError(file, name, "is in some rows and not in others", "Give all rows the same columns")
    whole: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*ALWAYS, *OPTIONAL, "prefix")}
    columns = Columns(
        **whole,
        prefix_offsets=starts_of(np.concatenate([np.diff(part.prefix_offsets) for part in parts])),
        prefix_block=max(part.prefix_block for part in parts),
        assumptions=tuple(dict.fromkeys(note for part in parts for note in part.assumptions)),
    )
    return columns, file


@dataclass(frozen=True)
class Source:
    """Where columns were read, for messages: the file and what it calls each column."""

    file: object
    arrival: str
    input: str
    output: str
    prefix: str = ""


def validated(columns: Columns, source: Source) -> Columns:
    """The columns in order of arrival, counted from the first arrival.

    Raises InputError naming file, column and first bad row (counted from 1, header left out) when there is no row, an arrival
    or a think time is negative or not finite, a prompt is below 1 token, an output below 0, or a prefix does not fit its prompt. Sorting
    and shifting are noted as assumptions.
    """
    if not columns.requests:
        raise InputError(source.file, "", "holds no requests", "Give at least one row")
    _refuse(~np.isfinite(columns.arrival) | (columns.arrival < 0), columns.arrival, source.file, source.arrival, "Give seconds from 0 on")
    _refuse(columns.input < 1, columns.input, source.file, source.input, "Requests need at least 1 token in: leave the row out")
    _refuse(columns.output < 0, columns.output, source.file, source.output, "Give 0 tokens or more")
    _refuse(~np.isfinite(columns.think) | (columns.think < 0), columns.think, source.file, "think", "Give seconds, 0 or more")
    for name, called, most in (
        ("arrival", source.arrival, LATEST),
        ("think", "think", LATEST),
        ("input", source.input, LONGEST),
        ("output", source.output, LONGEST),
    ):
        values = getattr(columns, name)
        _refuse(values > most, values, source.file, called, f"Give at most {most:g} {'s' if most == LATEST else 'tokens'}")
    _check_prefixes(columns, source)
    return _from_first(_in_order(columns))


def _refuse(bad: Mask, values: Floats | Ints, file: object, name: str, remedy: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(file, name, f"is {values[row]} in row {row + 1}", remedy)


def _check_prefixes(columns: Columns, source: Source) -> None:
    if not columns.prefix.size:
        return
    if columns.prefix_block < 1:
        raise InputError(source.file, "prefix_block", f"is {columns.prefix_block}", "Give the tokens that one prefix id stands for")
    counts = np.diff(columns.prefix_offsets)
    remedy = f"Give at most one id per {columns.prefix_block} tokens of the prompt, begun blocks included"
    too_long = (counts - 1) * columns.prefix_block >= columns.input
    if too_long.any():
        row = int(np.argmax(too_long))
        raise InputError(source.file, source.prefix, f"has {counts[row]} ids for {columns.input[row]} tokens in row {row + 1}", remedy)


def _in_order(columns: Columns) -> Columns:
    if not (np.diff(columns.arrival[columns.opens]) < 0).any():
        return columns
    sessions_too = bool(columns.session.size)
    ordered = columns.take(np.argsort(columns.arrival[columns.openings()], kind="stable"))
    note = "arrivals were not in order: rows sorted by arrival" + ", turns by that of the first turn of their session" * sessions_too
    return replace(ordered, assumptions=(*columns.assumptions, note))


def _from_first(columns: Columns) -> Columns:
    first = columns.arrival[0]
    if first == 0:
        return columns
    note = f"the first arrival, at {first:g} s, counts as 0"
    return replace(columns, arrival=np.maximum(columns.arrival - first, 0), assumptions=(*columns.assumptions, note))
