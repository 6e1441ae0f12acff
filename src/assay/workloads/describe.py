"""From a trace to a description that draws alike, and how far apart the two are."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints
from assay.workloads.arrivals import ARRIVALS, Process, stream
from assay.workloads.columns import Columns
from assay.workloads.descriptions import parsed
from assay.workloads.workload import Workload, statistics

WITHIN = 0.005
"""Bins are split until log-uniform draws inside them keep this close to the trace's cumulative distribution."""
TAIL = (0.9, 0.95, 0.99, 0.995, 0.999)
"""Quantiles that are edges too: few requests are long, but they carry many tokens."""
WINDOWS = (1, 10, 60)
"""Seconds over which arrivals are counted: bursts, swings and drifts."""
SEGMENTS = (1, 2, 5, 10, 20, 30, 60, 120, 300)
"""Lengths, s, tried for the spells in which the rate of arrivals stays the same."""
CLOSE = 1.25
"""A simpler arrival process is taken within this factor: two standard errors of a ratio of variations over 60 windows."""
SLOW = 300
"""Seconds over which arrivals are counted to tell what the fitted process misses."""
CV_RANGE = (0.01, 100.0)
"""Coefficients of variation that a description can hold."""
DRAWN = 20_000
"""Requests of the draw that is held against the trace."""


def describe(workload: Workload, name: str) -> dict[str, Any]:
    """A description of a trace, as a document that `write_description` takes: joint lengths, arrival process, distances of a draw.

    Raises InputError when the trace has no arrivals to describe, or sessions, which descriptions do not have.
    """
    if workload.session.size:
        remedy = "Drop the columns session and think to describe its rows as requests of their own"
        raise InputError(workload.source, "session", "a description has no turns that wait for one another", remedy)
    if workload.rate is None:
        raise InputError(workload.source, "arrival", "there are no arrivals to describe", "Give a trace whose requests arrive over time")
    process, notes = _process(workload.arrival, workload.rate)
    used = {"poisson": (), "gamma": ("cv",), "modulated": ("cv", "segment")}[process.kind]
    document: dict[str, Any] = {
        "title": name,
        "source": workload.source,
        "rows": workload.requests,
        "requests": 20000,
        "notes": [*notes, *_missed(workload)],
        "arrival": {"kind": process.kind, "rate": _rounded(process.rate)} | {key: _rounded(getattr(process, key)) for key in used},
        "lengths": _histogram(workload.input, workload.output),
    }
    drawn = parsed(document, name).draw(DRAWN, seed=0)
    return document | {"distance": {key: round(value, 4) for key, value in distance(drawn, workload).items()}}


def distance(drawn: Columns, trace: Columns) -> dict[str, float]:
    """How far a draw is from the trace it should resemble.

    `NAME_ks` (input, output and their total): largest difference of the cumulative distributions. `NAME_mean`, `_p50`, `_p90`, `_p99`:
    drawn over real, less 1; left out where the real one is 0. `correlation`: Pearson coefficient of input and output, drawn less real.
    `arrivals_Ns`: coefficient of variation of the arrivals per N seconds, drawn over real, less 1; left out where either has fewer than
    10 such windows.
    """
    apart = {}
    for name in ("input", "output", "total"):
        ours, theirs = _tokens(drawn, name), _tokens(trace, name)
        apart[f"{name}_ks"] = _kolmogorov_smirnov(ours, theirs)
        real = statistics(theirs)
        apart.update({f"{name}_{key}": value / real[key] - 1 for key, value in statistics(ours).items() if real[key]})
    apart["correlation"] = _correlation(drawn) - _correlation(trace)
    swings = variation(trace.arrival)
    apart.update({f"arrivals_{window}s": cv / swings[window] - 1 for window, cv in variation(drawn.arrival).items() if swings.get(window)})
    return apart


def variation(arrival: Floats, windows: tuple[int, ...] = WINDOWS) -> dict[int, float]:
    """Coefficient of variation of the arrivals per window, by window in seconds; windows that fit less than 10 times are left out."""
    found = {}
    for window in windows:
        whole = int(arrival[-1] // window)
        if whole >= 10:
            counts = np.bincount((arrival // window).astype(np.int64))[:whole]
            found[window] = float(counts.std() / counts.mean())
    return found


def _tokens(columns: Columns, name: str) -> Ints:
    return {"input": columns.input, "output": columns.output, "total": columns.input + columns.output}[name]


def _kolmogorov_smirnov(ours: Ints, theirs: Ints) -> float:
    at = np.union1d(ours, theirs)
    shares = [np.searchsorted(np.sort(values), at, side="right") / values.size for values in (ours, theirs)]
    return float(np.abs(shares[0] - shares[1]).max())


def _correlation(columns: Columns) -> float:
    """Pearson coefficient; 0 where one of the lengths never changes."""
    if columns.input.std() == 0 or columns.output.std() == 0:
        return 0.0
    return float(np.corrcoef(columns.input, columns.output)[0, 1])


def _histogram(prompts: Ints, outputs: Ints) -> dict[str, Any]:
    edges = [_edges(prompts), _edges(outputs)]
    counts = np.histogram2d(prompts, outputs, bins=[each.astype(np.float64) for each in edges])[0].astype(np.int64)
    return {"input_edges": edges[0].tolist(), "output_edges": edges[1].tolist(), "weights": counts.tolist()}


def _edges(values: Ints) -> Ints:
    """Edges int64 of bins that cover the values: from tail quantile to tail quantile, then split where the fit inside is worst."""
    distinct = np.unique(values)
    points = np.union1d(distinct, distinct + 1)
    below = np.searchsorted(np.sort(values), points) / values.size
    tail = np.searchsorted(below, TAIL, side="right") - 1
    fixed = np.unique(np.concatenate(([0], np.flatnonzero(points == 1), tail, [points.size - 1])))
    inner = [edge for low, high in pairwise(fixed.tolist()) for edge in _split(points, below, low, high)]
    return np.append(points[inner], points[-1])


def _split(points: Ints, below: Floats, low: int, high: int) -> list[int]:
    """Where bins begin between two of the points; `below` is the share of values smaller than each point."""
    if high - low == 1:
        return [low]
    inside, share = points[low : high + 1], below[low : high + 1]
    fitted = share[0] + (share[-1] - share[0]) * np.log(inside / inside[0]) / np.log(inside[-1] / inside[0])
    apart = np.abs(share - fitted)
    worst = int(np.argmax(apart))
    if apart[worst] <= WITHIN:
        return [low]
    return _split(points, below, low, low + worst) + _split(points, below, low + worst, high)


def _process(arrival: Floats, rate: float) -> tuple[Process, list[str]]:
    """The arrival process whose draw varies most like the trace, simpler ones first, and notes on the choice and what it misses."""
    real = variation(arrival)
    if not real:
        return Process("poisson", rate), ["Arrivals: the trace is too short to tell its bursts and is taken as Poisson"]
    gaps = np.diff(arrival, prepend=0.0)
    candidates = [Process("poisson", rate), Process("gamma", rate, _cv(gaps.std() / gaps.mean())), _modulated(real, rate)]
    drawn = [each.draw(DRAWN, stream(0, ARRIVALS)) for each in candidates]
    errors = [_factor(variation(each), real) for each in drawn]
    best = next((i for i, error in enumerate(errors) if error <= CLOSE), int(np.argmin(errors)))
    tried = ", ".join(f"{each.kind} {error:.2f}" for each, error in zip(candidates, errors, strict=True))
    windows = ", ".join(map(str, real))
    choice = f"Arrivals: worst factor between drawn and real variation of the counts per {windows} s: {tried}"
    return candidates[best], [choice, _unfitted(drawn[best], arrival)]


def _unfitted(drawn: Floats, real: Floats) -> str:
    silences = [float(np.diff(arrival).max()) for arrival in (drawn, real)]
    text = f"Not fitted: the longest silence is {silences[1]:.3g} s in the trace, {silences[0]:.3g} s in the draw"
    slow = [variation(arrival, (SLOW,)).get(SLOW) for arrival in (drawn, real)]
    if None in slow:
        return text
    return f"{text}; counts per {SLOW} s vary by {slow[1]:.2f} in the trace, by {slow[0]:.2f} in the draw"


def _factor(drawn: Mapping[int, float], real: Mapping[int, float]) -> float:
    least = CV_RANGE[0]
    ratios = [max(drawn[window], least) / max(cv, least) for window, cv in real.items() if window in drawn]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=1.0)


def _modulated(real: Mapping[int, float], rate: float) -> Process:
    """Least-squares fit of the variance of counts beyond Poisson's to that of a rate which is constant within segments."""
    windows, variance = np.array(list(real), np.float64), np.square(np.maximum(list(real.values()), CV_RANGE[0]))
    poisson = 1 / (rate * windows)
    fits = []
    for segment in SEGMENTS:
        share = _kept(windows, segment)
        cv = _cv(max(float((variance - poisson) @ share) / float(share @ share), 0.0) ** 0.5)
        error = np.abs(np.log((cv**2 * share + poisson) / variance)).sum()
        fits.append((float(error), segment, cv))
    _, segment, cv = min(fits)
    return Process("modulated", rate, cv, segment)


def _kept(windows: Floats, segment: float) -> NDArray[np.float64]:
    """Share of the rate's variance that is left in the mean over a window, when the rate is redrawn every `segment` seconds."""
    return np.where(windows <= segment, 1 - windows / (3 * segment), segment / windows * (1 - segment / (3 * windows)))


def _missed(workload: Workload) -> list[str]:
    notes = ["Lengths of a request are drawn without regard to the requests around it and to the arrivals"]
    if workload.prefix_share:
        notes.append(f"Shared prefixes are left out: in the trace {workload.prefix_share:.0%} of prompt tokens repeat an earlier prefix")
    if workload.priority.size:
        notes.append("Priorities are left out")
    return notes


def _cv(value: float) -> float:
    return _rounded(float(np.clip(value, *CV_RANGE)))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
