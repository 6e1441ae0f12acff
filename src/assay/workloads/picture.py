"""A trace and a draw side by side, as the few numbers that pictures of them need."""

from typing import Any

import numpy as np

from assay.workloads.arrays import Floats, Ints
from assay.workloads.columns import Columns
from assay.workloads.distance import arrivals, repeated
from assay.workloads.turns import Turns, turns_of

CELLS = 24
"""Bins per side of the joint histogram."""
POINTS = 60
"""Points of a cumulative distribution."""
WINDOWS = 120
"""Windows over which arrivals are counted."""


def picture(trace: Columns, drawn: Columns) -> dict[str, Any]:
    """By what is shown: bins or points, and for `trace` and `drawn` their shares; None where the trace has no such thing.

    `lengths`: a joint histogram of `input` and `output` tokens (edges). `input`, `output` (tokens), `prefixes` (share of a prompt that an
    earlier one began with), `turns` (per session), `think` (s): share of requests up to each value `at`. `arrivals`: requests/s in each
    window of `seconds`.
    """
    turns, on = turns_of(trace), turns_of(drawn)
    linked = bool(turns.row.size and on.row.size)
    return {
        "lengths": _joint(trace, drawn),
        "input": _cumulative(trace.input, drawn.input),
        "output": _cumulative(trace.output, drawn.output),
        "arrivals": _over_time(arrivals(trace), arrivals(drawn)),
        "prefixes": _cumulative(repeated(trace), repeated(drawn), np.linspace(0, 1, POINTS)) if trace.prefix.size else None,
        "turns": _cumulative(_sizes(turns, trace), _sizes(on, drawn)) if linked else None,
        "think": _cumulative(turns.think, on.think) if linked else None,
    }


def _sizes(turns: Turns, columns: Columns) -> Ints:
    return turns.sizes(columns.requests)


def _joint(trace: Columns, drawn: Columns) -> dict[str, Any]:
    edges = [_spaced(getattr(trace, name), getattr(drawn, name), CELLS + 1) for name in ("input", "output")]
    shares = [
        np.histogram2d(np.maximum(each.input, 1), np.maximum(each.output, 1), bins=edges)[0] / each.requests for each in (trace, drawn)
    ]
    rounded = [np.round(each, 6).tolist() for each in shares]
    return {"input": edges[0].tolist(), "output": edges[1].tolist(), "trace": rounded[0], "drawn": rounded[1]}


def _cumulative(theirs: Ints | Floats, ours: Ints | Floats, at: Floats | None = None) -> dict[str, Any]:
    points = _spaced(theirs, ours, POINTS) if at is None else at
    shares = [np.searchsorted(np.sort(each), points * (1 + 1e-12), side="right") / each.size for each in (theirs, ours)]
    return {"at": points.tolist(), "trace": np.round(shares[0], 6).tolist(), "drawn": np.round(shares[1], 6).tolist()}


def _spaced(theirs: Ints | Floats, ours: Ints | Floats, points: int) -> Floats:
    """Points evenly apart on a logarithmic scale that reach from the least value that is not 0, or 1, to the largest."""
    both = np.concatenate((theirs, ours)).astype(np.float64)
    least = max(float(both[both > 0].min(initial=np.inf)), 0.1) if both.any() else 1.0
    most = max(float(both.max()), least * 1.01)
    edges = np.geomspace(least, most, points)
    edges[-1] = most * (1 + 1e-9)
    return edges


def _over_time(theirs: Floats, ours: Floats) -> dict[str, Any] | None:
    """Requests/s in equal windows of the time that both cover."""
    lasting = min(float(each[-1]) if each.size else 0.0 for each in (theirs, ours))
    if lasting <= 0:
        return None
    counts = [np.histogram(each, WINDOWS, (0.0, lasting))[0] * WINDOWS / lasting for each in (theirs, ours)]
    return {"seconds": lasting / WINDOWS, "trace": np.round(counts[0], 6).tolist(), "drawn": np.round(counts[1], 6).tolist()}
