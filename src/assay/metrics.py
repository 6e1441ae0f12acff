"""From columns of times to what users feel: TTFT, TPOT, ITL, E2E, goodput, each with its standard error.

TTFT = first token - arrival      TPOT = (E2E - TTFT) / (output tokens - 1)      E2E = finish - arrival
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
_BATCHES = 10


@dataclass(frozen=True)
class Distribution:
    """Mean and percentiles of a latency in seconds, and the standard error of each; all None when nothing was seen."""

    values: Mapping[str, float | None]
    errors: Mapping[str, float | None]

    def to_dict(self) -> dict[str, object]:
        """JSON form: mean, p50 ... p999, and `standard_error` with the same keys."""
        return {**self.values, "standard_error": dict(self.errors)}


_NOTHING = Distribution(dict.fromkeys(("mean", *PERCENTILES)), dict.fromkeys(("mean", *PERCENTILES)))


@dataclass(frozen=True, eq=False)
class Columns:
    """Times of n requests in seconds and their output tokens, in order of arrival; nan in `finish` means not served."""

    arrival: Floats
    first_token: Floats
    finish: Floats
    output: NDArray[np.int64]

    @cached_property
    def ttft(self) -> Floats:
        """Time to first token."""
        return self.first_token - self.arrival

    @cached_property
    def e2e(self) -> Floats:
        """End-to-end latency."""
        return self.finish - self.arrival

    @cached_property
    def tpot(self) -> Floats:
        """Time per output token after the first; nan where there is one token."""
        steps = self.output - 1
        return np.where(steps > 0, (self.finish - self.first_token) / np.maximum(steps, 1), np.nan)

    def column(self, metric: str) -> Floats:
        """ttft, tpot or e2e by name."""
        columns: dict[str, Floats] = {"ttft": self.ttft, "tpot": self.tpot, "e2e": self.e2e}
        return columns[metric]


def distribution(values: Floats) -> Distribution:
    """Mean and percentiles of the finite values, in order of arrival.

    The error of the mean comes from batch means, since neighbours wait in the same queue; that of a percentile p from the values
    at the ranks p +- sqrt(p (1 - p) / n), widened like the mean's for that dependence.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return _NOTHING
    ordered = np.sort(values)
    independent = values.std() / math.sqrt(len(values))
    error = _batch_error(values)
    widening = max(1.0, error / independent) if independent > 0 else 1.0
    found: dict[str, float | None] = {"mean": float(values.mean())}
    errors: dict[str, float | None] = {"mean": error}
    shares = np.array([*PERCENTILES.values()]) / 100
    spreads = np.sqrt(shares * (1 - shares) / len(ordered))
    ranks = np.concatenate([shares, np.maximum(0.0, shares - spreads), np.minimum(1.0, shares + spreads)])
    middles, lows, highs = np.quantile(ordered, ranks).reshape(3, -1).tolist()
    for name, middle, low, high in zip(PERCENTILES, middles, lows, highs, strict=True):
        found[name], errors[name] = middle, (high - low) / 2 * widening
    return Distribution(found, errors)


def weighted(middles: Floats, counts: NDArray[np.int64]) -> Distribution:
    """The same from a histogram: bin middles in seconds and counts; its errors are not known."""
    total = counts.sum()
    if not total:
        return _NOTHING
    reached = np.cumsum(counts) / total
    found: dict[str, float | None] = {"mean": float((middles * counts).sum() / total)}
    found.update({name: float(middles[int(np.searchsorted(reached, percent / 100))]) for name, percent in PERCENTILES.items()})
    return Distribution(found, _NOTHING.errors)


def _batch_error(values: Floats) -> float:
    if len(values) < 2 * _BATCHES:
        return float(values.std() / math.sqrt(len(values)))
    means = np.array([batch.mean() for batch in np.array_split(values, _BATCHES)])
    return float(means.std(ddof=1) / math.sqrt(_BATCHES))


def judged(columns: Columns, concurrency: int) -> Mask:
    """Which requests count: not those of warm-up and drain.

    Open loop: arrivals after twice the mean residence time (at most the first third) and before the last mean residence time (at most
    the last sixth). Closed loop: neither the first nor the last requests to be sent, as many as there are users. All at once, or too
    few: all.
    """
    count = len(columns.arrival)
    everything = np.ones(count, dtype=np.bool_)
    if concurrency:
        return _middle(columns.arrival, concurrency) if count >= 3 * concurrency else everything
    start, end = float(columns.arrival.min()), float(columns.arrival.max())
    residence = columns.e2e[np.isfinite(columns.e2e)]
    if end <= start or not len(residence):
        return everything
    typical = float(residence.mean())
    opens, closes = start + min(2 * typical, (end - start) / 3), end - min(typical, (end - start) / 6)
    window = (columns.arrival >= opens) & (columns.arrival <= closes)
    return window if window.sum() >= 2 else everything


def _middle(arrival: Floats, edge: int) -> Mask:
    """All but the first and the last `edge` in order of sending, which is not that of rows where there are sessions."""
    inside = np.zeros(len(arrival), dtype=np.bool_)
    inside[np.argsort(arrival, kind="stable")[edge : len(arrival) - edge]] = True
    return inside


def enough(columns: Columns, mask: Mask, percentile: float) -> list[str]:
    """In what the judged window is too short for `percentile` (in percent); empty when it is long enough.

    It should hold 100 / (1 - p) requests and last 20 mean residence times.
    """
    seen = int(mask.sum())
    wanted = math.ceil(round(100 * 100 / (100 - percentile), 6))  # rounded: 90 percent ask for 1000, not for 1000.0000000000002
    short = [f"{seen} requests judged, p{percentile:g} asks for {wanted}"] if seen < wanted else []
    times, residence = columns.arrival[mask], columns.e2e[mask & np.isfinite(columns.e2e)]
    if len(residence) and times.max() > times.min():
        lasts = float(times.max() - times.min()) / float(residence.mean())
        if lasts < 20:
            short.append(f"the judged window lasts {lasts:.1f} mean residence times, 20 are asked")
    return short


def stable(columns: Columns) -> bool:
    """Whether the backlog (arrived and not finished) does not grow over the last third of the arrivals.

    Of the requests that were served: the others never wait. A line is fitted; growth counts above a twentieth of those arrivals and
    above two standard deviations of a steady backlog.
    """
    served = np.isfinite(columns.finish)
    arrival, finish = np.sort(columns.arrival[served]), np.sort(columns.finish[served])
    count = len(arrival)
    if count < 12 or arrival[-1] <= arrival[0]:
        return True
    moments = arrival[-(count // 3) :]
    backlog = np.searchsorted(arrival, moments, side="right") - np.searchsorted(finish, moments, side="right")
    slope = np.polyfit(np.arange(len(moments)), backlog, 1)[0]
    growth = slope * len(moments)
    return bool(growth <= max(0.05 * len(moments), 2 * math.sqrt(max(1.0, float(backlog.mean())))))


def met(columns: Columns, mask: Mask, targets: Mapping[str, float]) -> Mask:
    """Which of the judged requests keep every target (seconds by metric); a request without a value in a metric keeps its target."""
    kept = mask & np.isfinite(columns.finish)
    for metric, seconds in targets.items():
        values = columns.column(metric)
        kept &= ~(values > seconds)
    return kept
