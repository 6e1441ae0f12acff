"""How likely the order of two deployments is to be wrong, by the error bands of both."""

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist

from assay.search.runs import Run

SIDES = 2 * NormalDist().inv_cdf(0.95)  # standard deviations from one edge of a 90 % band to the other


def doubt(best: Run, others: Iterable[Run], metric: str, value: Callable[[Run], float | None]) -> float | None:
    """Chance that a run on other chips beats the best in truth: of the one likeliest to; None where there is no other.

    `value` is what the best has least of, `metric` the band of it. Errors are taken as log-normal within their bands, and as independent:
    what two chips' errors have in common makes the order surer than this says.
    """
    chances = [_beats(other, best, metric, value) for other in others if other.chip != best.chip and value(other)]
    return max(chances, default=None)


def _beats(other: Run, best: Run, metric: str, value: Callable[[Run], float | None]) -> float:
    (here, spread), (there, other_spread) = (_truth(run, metric, value(run) or 0.0) for run in (best, other))
    wide = math.hypot(spread, other_spread)
    return NormalDist().cdf((here - there) / wide) if wide else float(there < here)


def _truth(run: Run, metric: str, predicted: float) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the true value."""
    low, high = (math.log(side) for side in run.error_band[metric])
    return math.log(predicted) + (low + high) / 2, (high - low) / SIDES
