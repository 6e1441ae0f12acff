"""From a trace to a description that draws alike."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints
from assay.workloads.arrivals import Process
from assay.workloads.columns import Columns
from assay.workloads.describe_turns import sessions
from assay.workloads.descriptions import Description, parsed
from assay.workloads.distance import WINDOWS, arrivals, distance, tick, variation
from assay.workloads.turns import Turns, turns_of
from assay.workloads.workload import Workload

WITHIN = 0.005
"""Bins are split until log-uniform draws inside them keep this close to the trace's cumulative distribution."""
TAIL = (0.9, 0.95, 0.99, 0.995, 0.999)
"""Quantiles that are edges too: few requests are long, but they carry many tokens."""
SEGMENTS = (1, 2, 5, 10, 20, 30, 60, 120, 300)
"""Lengths, s, tried for the spells in which the rate of arrivals stays the same."""
RARE = 0.01
"""Mean requests of a spell below which it tells nothing: most would pass without any."""
CLOSE = 1.25
"""A simpler arrival process is taken within this factor: two standard errors of a ratio of variations over 60 windows."""
SLOW = 300
"""Seconds over which arrivals are counted to tell what the fitted process misses."""
CV_RANGE = (0.01, 100.0)
"""Coefficients of variation that a description can hold."""
DRAWN = 20_000
"""Requests of the draw that is held against the trace."""


def describe(workload: Workload, name: str) -> dict[str, Any]:
    """A description of a trace, as a document that `write_description` takes: joint lengths, arrivals, sessions, distances of a draw.

    Sessions are those of the trace, or those that its prefixes tell. Raises InputError on a closed loop, whose arrivals follow from
    what serves it.
    """
    if workload.concurrency:
        raise InputError(workload.source, "arrival", "a closed loop has no arrivals to describe", "Leave the concurrency out")
    lengths = _histogram(workload.input, workload.output)
    turns = turns_of(workload)
    document: dict[str, Any] = {
        "title": name,
        "source": workload.source,
        "rows": workload.requests,
        "requests": DRAWN,
        "notes": [],
        "arrival": {"kind": "once"},
        "lengths": lengths,
    }
    if turns.row.size:
        document["sessions"] = sessions(workload, turns, np.array(lengths["input_edges"]))
    notes = _missed(workload, turns)
    if workload.rate is not None:
        process, said = _process(workload, parsed(document, name))
        used = {"poisson": (), "gamma": ("cv",), "modulated": ("cv", "segment")}[process.kind]
        arrival = {"kind": process.kind, "rate": _rounded(process.rate)} | {key: _rounded(getattr(process, key)) for key in used}
        document["arrival"], notes = arrival, [*said, *notes]
    document["notes"] = notes
    return document | {"distance": {key: round(value, 4) for key, value in distance(drawn(document), workload).items()}}


def drawn(document: Mapping[str, Any]) -> Columns:
    """The draw of a description that is held against its trace: 20,000 requests, seed 0."""
    return parsed(document, document["title"]).draw(DRAWN, seed=0)


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


def _process(workload: Workload, description: Description) -> tuple[Process, list[str]]:
    """The arrival process whose draw varies most like the trace, simpler ones first, and notes on the choice and what it misses."""
    rate, came = workload.rate or 0.0, arrivals(workload)
    windows = tuple(window for window in WINDOWS if window >= tick(workload.arrival[workload.opens]))
    real = variation(came, windows)
    if not real:
        return Process("poisson", rate), ["Arrivals: the trace is too short to tell its bursts and is taken as Poisson"]
    gaps = np.diff(came, prepend=0.0)
    candidates = [Process("poisson", rate), Process("gamma", rate, _cv(gaps.std() / gaps.mean())), _modulated(real, rate)]
    drawn = [arrivals(replace(description, arrival=each).draw(DRAWN, seed=0)) for each in candidates]
    errors = [_factor(variation(each, windows), real) for each in drawn]
    best = next((i for i, error in enumerate(errors) if error <= CLOSE), int(np.argmin(errors)))
    tried = ", ".join(f"{each.kind} {error:.2f}" for each, error in zip(candidates, errors, strict=True))
    counted = ", ".join(map(str, real))
    choice = f"Arrivals: worst factor between drawn and real variation of the counts per {counted} s: {tried}"
    return candidates[best], [choice, _unfitted(drawn[best], came)]


def _unfitted(drawn: Floats, real: Floats) -> str:
    silences = [float(np.diff(each).max()) for each in (drawn, real)]
    text = f"Not fitted: the longest silence is {silences[1]:.3g} s in the trace, {silences[0]:.3g} s in the draw"
    slow = [variation(each, (SLOW,)).get(SLOW) for each in (drawn, real)]
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
    for segment in [float(each) for each in SEGMENTS if rate * each >= RARE] or [RARE / rate]:
        share = _kept(windows, segment)
        cv = _cv(max(float((variance - poisson) @ share) / float(share @ share), 0.0) ** 0.5)
        error = np.abs(np.log((cv**2 * share + poisson) / variance)).sum()
        fits.append((float(error), segment, cv))
    _, segment, cv = min(fits)
    return Process("modulated", rate, cv, segment)


def _kept(windows: Floats, segment: float) -> NDArray[np.float64]:
    """Share of the rate's variance that is left in the mean over a window, when the rate is redrawn every `segment` seconds."""
    return np.where(windows <= segment, 1 - windows / (3 * segment), segment / windows * (1 - segment / (3 * windows)))


def _missed(workload: Workload, turns: Turns) -> list[str]:
    if not turns.row.size:
        notes = ["Lengths of a request are drawn without regard to the requests around it and to the arrivals"]
        if workload.prefix_share:
            notes.append(
                f"Shared prefixes are left out: in the trace {workload.prefix_share:.0%} of prompt tokens repeat an earlier prefix"
            )
    else:
        notes = [
            _of_sessions(workload, turns),
            "How a session goes on depends on the length of its last prompt alone; think times on nothing",
        ]
    one = tick(workload.arrival[workload.opens])
    if one:
        notes.append(
            f"The clock of the trace ticks every {one:.3g} s: its arrivals are spread evenly within a tick before they are described"
        )
    if turns.row.size and not (turns.think % 1).any():
        notes.append("Think times are whole seconds in the trace and lie between them in the draw, which think_ks shows")
    if workload.rate is None:
        notes.append("The trace has no arrivals: say a rate, or users")
    if workload.priority.size:
        notes.append("Priorities are left out")
    return notes


def _of_sessions(workload: Workload, turns: Turns) -> str:
    opened = workload.requests - turns.row.size
    whole = f"{turns.whole.mean():.0%} of later turns repeat all of the prompt before"
    if turns.given:
        return f"{opened} sessions, as the trace has them; {whole}"
    return (
        f"{opened} sessions, told from prefixes: a prompt that repeats half of an earlier one or more goes on with it; {whole}; "
        "think times are those between arrivals, the time of an answer included"
    )


def _cv(value: float) -> float:
    return _rounded(float(np.clip(value, *CV_RANGE)))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
