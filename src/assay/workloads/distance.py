"""How far a draw is from the trace it should resemble: in lengths, in arrivals, in what prompts repeat."""

import numpy as np

from assay.workloads.arrays import Floats, Ints
from assay.workloads.columns import Columns
from assay.workloads.turns import seen_blocks, turns_of

WINDOWS = (1, 10, 60)
"""Seconds over which arrivals are counted: bursts, swings and drifts."""
EVEN = 0.1
"""Ticks are those of a clock when the middle half of the times between them differ by less than this share."""
SETTLED = 0.9
"""Share of later turns that come within the time which is left out at the start of a draw, before sessions overlap as they go on to."""


def distance(drawn: Columns, trace: Columns) -> dict[str, float]:
    """Differences by name; each is 0 between a trace and itself.

    `NAME_ks` (input, output and their total): largest difference of the cumulative distributions. `NAME_wasserstein`: mean shift of
    tokens that would turn one distribution into the other, over the real mean. `NAME_mean`, `_p50`, `_p90`, `_p99`: drawn over real,
    less 1; left out where the real one is 0. `correlation`: Pearson coefficient of input and output, drawn less real.

    `arrivals_Ns`: coefficient of variation of the arrivals per N seconds, drawn over real, less 1; left out where either has fewer than
    10 such windows. `gaps_ks`: largest difference of the cumulative distributions of times between arrivals, each over its mean. Left out
    where no arrivals are known, or below the tick of a coarse clock.

    `prefix_share`: share of prompt tokens that an unbounded cache would spare, drawn less real; `prefix_ks` the same per request, by its
    distribution. `turns_ks` and `think_ks`: of turns per session and of think times. Left out where the trace has none.
    """
    apart: dict[str, float] = {}
    for name in ("input", "output", "total"):
        apart.update(_lengths(name, _tokens(drawn, name), _tokens(trace, name)))
    apart["correlation"] = _correlation(drawn) - _correlation(trace)
    return apart | _arrivals(drawn, trace) | _prefixes(drawn, trace)


def _tokens(columns: Columns, name: str) -> Ints:
    return {"input": columns.input, "output": columns.output, "total": columns.input + columns.output}[name]


def _lengths(name: str, ours: Ints, theirs: Ints) -> dict[str, float]:
    from scipy.stats import wasserstein_distance

    real = statistics(theirs)
    apart = {f"{name}_ks": kolmogorov_smirnov(ours, theirs)}
    if real["mean"]:
        apart[f"{name}_wasserstein"] = float(wasserstein_distance(ours, theirs)) / real["mean"]
    return apart | {f"{name}_{key}": value / real[key] - 1 for key, value in statistics(ours).items() if real[key]}


def statistics(values: Ints) -> dict[str, float]:
    """Mean and percentiles."""
    p50, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    return {"mean": float(values.mean()), "p50": p50, "p90": p90, "p99": p99}


def kolmogorov_smirnov(ours: Ints | Floats, theirs: Ints | Floats) -> float:
    """Largest difference of two cumulative distributions."""
    at = np.union1d(ours, theirs)
    shares = [np.searchsorted(np.sort(values), at, side="right") / values.size for values in (ours, theirs)]
    return float(np.abs(shares[0] - shares[1]).max())


def _correlation(columns: Columns) -> float:
    """Pearson coefficient; 0 where one of the lengths never changes."""
    if columns.input.std() == 0 or columns.output.std() == 0:
        return 0.0
    return float(np.corrcoef(columns.input, columns.output)[0, 1])


def _arrivals(drawn: Columns, trace: Columns) -> dict[str, float]:
    ours, theirs = arrivals(drawn), arrivals(trace)
    if not (ours.size > 1 and theirs.size > 1 and theirs[-1] > theirs[0]):
        return {}
    windows = tuple(window for window in WINDOWS if window >= tick(trace.arrival[trace.opens]))
    swings = variation(theirs, windows)
    apart = {f"arrivals_{window}s": cv / swings[window] - 1 for window, cv in variation(ours, windows).items() if swings.get(window)}
    if windows != WINDOWS:
        return apart
    gaps = [np.diff(each) for each in (ours, theirs)]
    return apart | {"gaps_ks": kolmogorov_smirnov(gaps[0] / gaps[0].mean(), gaps[1] / gaps[1].mean())}


def arrivals(columns: Columns) -> Floats:
    """When requests come, in order, from 0 on, while sessions start and overlap as they do in the long run; none when all start at once.

    A later turn comes its think time after the one before it came, as if that were answered at once. Times of a clock so coarse that
    most rows share theirs are spread evenly until the next tick.
    """
    if columns.last_start <= 0:
        return np.zeros(0)
    if not columns.session.size:
        return spread(columns.arrival)
    since = columns.arrival - columns.arrival[columns.openings()]
    settled = float(np.quantile(since[~columns.opens], SETTLED)) if not columns.opens.all() else 0.0
    begin = settled if settled < columns.last_start / 2 else 0.0
    came = np.sort(columns.arrival[(columns.arrival >= begin) & (columns.arrival <= columns.last_start)])
    return came - begin


def tick(arrival: Floats) -> float:
    """Seconds between the ticks of a clock, where most rows share their time with another and times are evenly apart; else 0."""
    times = np.unique(arrival)
    if times.size < 3 or times.size * 2 > arrival.size:
        return 0.0
    early, one, late = np.quantile(np.diff(times), (0.25, 0.5, 0.75)).tolist()
    return float(one) if late - early <= EVEN * one else 0.0


def spread(arrival: Floats) -> Floats:
    """Times in order; those of a coarse clock evenly from each tick to the next."""
    one = tick(arrival)
    if not one:
        return arrival
    times, place, counts = np.unique(arrival, return_inverse=True, return_counts=True)
    begins = np.cumsum(counts) - counts
    return np.asarray(arrival + np.diff(times, append=times[-1] + one)[place] * (np.arange(arrival.size) - begins[place]) / counts[place])


def variation(arrival: Floats, windows: tuple[int, ...] = WINDOWS) -> dict[int, float]:
    """Coefficient of variation of the arrivals per window, by window in seconds; windows that fit less than 10 times are left out."""
    found = {}
    for window in windows:
        whole = int(arrival[-1] // window)
        if whole >= 10:
            at, counts = np.unique(arrival // window, return_counts=True)  # windows without arrivals may be many, and are not laid out
            counts = counts[at < whole]
            mean = counts.sum() / whole
            squares = np.square(counts - mean).sum() + (whole - counts.size) * mean**2
            found[window] = float(np.sqrt(squares / whole) / mean) if mean else 0.0
    return found


def _prefixes(drawn: Columns, trace: Columns) -> dict[str, float]:
    apart: dict[str, float] = {}
    if trace.prefix.size:
        ours, theirs = repeated(drawn), repeated(trace)
        apart["prefix_share"] = float((ours * drawn.input).sum() / drawn.input.sum() - (theirs * trace.input).sum() / trace.input.sum())
        apart["prefix_ks"] = kolmogorov_smirnov(ours, theirs)
    ours_on, theirs_on = turns_of(drawn), turns_of(trace)
    if ours_on.row.size and theirs_on.row.size:
        apart["turns_ks"] = kolmogorov_smirnov(ours_on.sizes(drawn.requests), theirs_on.sizes(trace.requests))
        apart["think_ks"] = kolmogorov_smirnov(ours_on.think, theirs_on.think)
    return apart


def repeated(columns: Columns) -> Floats:
    """Share of each prompt that an earlier one began with, float64[n]: what a cache that forgets nothing would spare."""
    seen, _ = seen_blocks(columns)
    return np.asarray(np.minimum(seen * columns.prefix_block, columns.input) / columns.input, np.float64)
