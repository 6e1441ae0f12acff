"""A histogram in text: bins of equal width on a log scale, a bar for each, and marks where percentiles and the target lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from assay.report import formats

Floats = NDArray[np.float64]

LINES = 12
WIDTH = 80
NARROWEST = 1.02  # ratio of a bin's edges at least, so that three digits tell them apart
DEEPEST = 1e-6  # of the largest value: where the first bin begins at the lowest
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_EIGHTHS = "▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Bin:
    """How many values lie from `low` to below `high` seconds, and which marks; the first also has what is lower, the last its `high`."""

    low: float
    high: float
    count: int
    marks: tuple[str, ...]


def bins(values: Floats, target: float | None = None) -> list[Bin]:
    """At most LINES bins from the 0.1st percentile of the finite values to the largest; empty when there is none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return []
    edges = _edges(values)
    counts = np.bincount(_place(edges, values), minlength=len(edges) - 1)
    marks = {name: float(np.percentile(values, percent)) for name, percent in PERCENTILES.items()}
    if target is not None and values.min() <= target <= values.max():
        marks["target"] = target
    places = {name: int(_place(edges, np.array([value]))[0]) for name, value in marks.items()}
    named = [tuple(name for name, place in places.items() if place == row) for row in range(len(counts))]
    return [Bin(*row) for row in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), named, strict=True)]


def _edges(values: Floats) -> Floats:
    high = float(values.max())
    low = max(float(np.percentile(values, 0.1)), high * DEEPEST)
    if not 0 < low < high:
        return np.array([high, high])
    count = math.floor(math.log(high / low) / math.log(NARROWEST))
    return np.geomspace(low, high, 1 + min(max(count, 1), LINES))


def _place(edges: Floats, values: Floats) -> NDArray[np.int64]:
    """Index of the bin of each value; what is outside belongs to the first or the last."""
    return np.searchsorted(edges[1:-1], values, side="right")


def lines(name: str, values: Floats, target: float | None = None, width: int = WIDTH) -> list[Text]:
    """The histogram of a latency in seconds, with a title; none is wider than `width` columns or WIDTH. Empty without values."""
    found = bins(values, target)
    if not found:
        return []
    heads, counts = _heads(found), [formats.count(one.count) for one in found]
    tails = ["".join(f" {mark}" for mark in one.marks) for one in found]
    head, count, tail = (max(map(len, cells)) for cells in (heads, counts, tails))
    room = max(1, min(width, WIDTH) - head - count - tail - 2)
    most = max(one.count for one in found)
    rows = [Text(_title(name, values, target)[: min(width, WIDTH)], "dim")]
    for i, one in enumerate(found):
        late = target is not None and one.low >= target
        bar = Text(_bar(one.count / most, room).ljust(room), "red" if late else "cyan")
        rows.append(Text.assemble((heads[i].rjust(head), "dim"), " ", bar, " ", counts[i].rjust(count), (tails[i], "bold")))
    return rows


def _heads(found: Sequence[Bin]) -> list[str]:
    if found[0].low == found[-1].high:
        return [formats.seconds(found[0].high)]
    pairs = [(formats.seconds(one.low), formats.seconds(one.high)) for one in found]
    low, high = (max(len(pair[side]) for pair in pairs) for side in (0, 1))
    return [f"{first.rjust(low)} – {last.rjust(high)}" for first, last in pairs]


def _bar(share: float, room: int) -> str:
    """Full blocks and a last eighth of one; what is there at all is seen."""
    whole, rest = divmod(max(1, round(share * room * 8)), 8) if share > 0 else (0, 0)
    return _EIGHTHS[-1] * whole + (_EIGHTHS[rest - 1] if rest else "")


def _title(name: str, values: Floats, target: float | None) -> str:
    values = values[np.isfinite(values)]
    requests = f"{name} of {formats.count(len(values))} request{'s' if len(values) != 1 else ''}"
    if target is None:
        return requests
    return f"{requests}, {100 * float(np.mean(values <= target)):.4g} % within the target of {formats.seconds(target)}"
