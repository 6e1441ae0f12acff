"""The columns of requests, and the one place where columns that were read are checked."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay._base.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _no_ids() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """n requests, one per row.

    `arrival` float64[n], seconds from 0, never decreasing. `input` and `output` int64[n], tokens, at least 1. Row i shares its prompt
    prefix with the rows whose first ids are the same: `prefix[prefix_offsets[i]:prefix_offsets[i + 1]]`, one id per `prefix_block`
    tokens from the start of the prompt, the last of which may be cut by the end of the prompt. Without prefixes `prefix` is empty and
    `prefix_block` 0. `assumptions` says what was not given and was assumed.
    """

    arrival: Floats
    input: Ints
    output: Ints
    prefix: Ints = field(default_factory=_no_ids)
    prefix_offsets: Ints = field(default_factory=_no_ids)
    prefix_block: int = 0
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the offsets of rows without prefixes."""
        if not self.prefix_offsets.size:
            object.__setattr__(self, "prefix_offsets", np.zeros(self.input.size + 1, np.int64))
        assert self.arrival.size == self.input.size == self.output.size == self.prefix_offsets.size - 1
        assert self.prefix_offsets[-1] == self.prefix.size

    @property
    def requests(self) -> int:
        """Number of requests."""
        return int(self.input.size)

    def take(self, rows: Ints) -> Self:
        """The rows of the given indices, in their order."""
        counts = np.diff(self.prefix_offsets)[rows]
        offsets = starts_of(counts)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        return replace(
            self,
            arrival=self.arrival[rows],
            input=self.input[rows],
            output=self.output[rows],
            prefix=self.prefix[np.repeat(self.prefix_offsets[:-1][rows], counts) + within],
            prefix_offsets=offsets,
        )


def starts_of(counts: Ints) -> Ints:
    """Offsets int64[n + 1] of n ragged rows of the given sizes."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


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

    Raises InputError naming file, column and first bad row (counted from 1, header left out) when there is no row, an arrival is
    negative or not finite, a length is below 1, or a prefix does not fit its prompt. Sorting and shifting are noted as assumptions.
    """
    if not columns.requests:
        raise InputError(source.file, "", "holds no requests", "Give at least one row")
    _refuse(~np.isfinite(columns.arrival) | (columns.arrival < 0), columns.arrival, source.file, source.arrival, "Give seconds from 0 on")
    for name, values in ((source.input, columns.input), (source.output, columns.output)):
        _refuse(values < 1, values, source.file, name, "Requests need at least 1 token in and out: leave the row out")
    _check_prefixes(columns, source)
    return _from_first(_in_order(columns))


def _refuse(bad: NDArray[np.bool_], values: Floats | Ints, file: object, name: str, remedy: str) -> None:
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
    if not (np.diff(columns.arrival) < 0).any():
        return columns
    ordered = columns.take(np.argsort(columns.arrival, kind="stable"))
    return replace(ordered, assumptions=(*columns.assumptions, "arrivals were not in order: rows sorted by arrival"))


def _from_first(columns: Columns) -> Columns:
    first = columns.arrival[0]
    if first == 0:
        return columns
    note = f"the first arrival, at {first:g} s, counts as 0"
    return replace(columns, arrival=columns.arrival - first, assumptions=(*columns.assumptions, note))
