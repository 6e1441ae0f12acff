"""The measured numbers that constants are fitted to, and what each of them counts."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.observe import STEEPEST, Observation
from assay.calibrate.terms import Terms
from assay.points import Point
from assay.steptime import Floats
from assay.validate.validation import stated

Integers = NDArray[np.int64]

STARTING = ("mean", "p90", "p95", "p99")
FIRST = 0.02  # share of a closed loop's requests that may come at once before they are much of it
EDGE = 0.8 * STEEPEST  # a figure that answers so steeply is set by waiting at the edge of what a system sustains


@dataclass(frozen=True, eq=False)
class Rows:
    """R numbers: of which run each is, and which of its numbers; the logarithm measured, its noise, and the weight of its square."""

    run: Integers
    place: Integers
    measured: Floats
    sigma: Floats
    weight: Floats


def rows(observations: Sequence[Observation], terms: Terms) -> Rows:
    """The numbers of some runs that are held against predictions.

    Numbers of one run are not independent: together they count by the root of how many they are. So do the runs of one set, chip and
    model, lest the one that is measured most decides everything.
    """
    crowd = Counter(group(each.point) for each in observations)
    found: list[tuple[int, int, float, float, float]] = []
    for run, each in enumerate(observations):
        kept = [place for place, number in enumerate(each.point.numbers) if _usable(each, place)]
        for place in kept:
            number = each.point.numbers[place]
            sigma = terms.sigma(number)
            weight = 1 / (sigma**2 * len(kept) ** 0.5 * crowd[group(each.point)] ** 0.5)
            found.append((run, place, math.log(number.value or 1.0), sigma, weight))
    if not found:
        nowhere, nothing = np.array([], np.int64), np.array([], np.float64)
        return Rows(nowhere, nowhere, nothing, nothing, nothing)
    run_of, place_of, measured, sigmas, weights = zip(*found, strict=True)
    scale = len(found) / sum(each * sigma**2 for each, sigma in zip(weights, sigmas, strict=True))
    return Rows(np.array(run_of), np.array(place_of), np.array(measured), np.array(sigmas), np.array(weights) * scale)


def group(point: Point) -> tuple[str, ...]:
    """Whose error is one figure: set, chip and model."""
    return tuple(str(point.said(name)) for name in ("set", "chip", "model"))


def _usable(observation: Observation, place: int) -> bool:
    """Whether a number tells of constants: it is measured, predicted, no condition of the run, and not set by waiting alone.

    An open loop whose layout is not stated is tuned to the edge by its owner: neither its load nor its layout is known well enough.
    How long the answers of a shared endpoint were, and how much was thought before them, nobody says: their E2E tells of that.
    Means and tails of TTFT tell of the start where much of the load is: all users at once, on a server that is still cold.
    """
    point = observation.point
    number = point.numbers[place]
    if not number.scored or not number.value or stated(point, number) or not np.isfinite(observation.figures[place]):
        return False
    if point.said("load") == "poisson" and point.said("tp") is None:
        return False
    if number.metric == "e2e" and point.said("load") == "single":
        return False
    if number.metric == "ttft" and number.statistic in STARTING and _started_together(point):
        return False
    return bool(np.abs(observation.answers[place]).max() < EDGE)


def _started_together(point: Point) -> bool:
    """Whether much of a closed loop came at once: the first request of each of several users."""
    users = point.said("concurrency") or 1
    return bool(users > 1 and users > FIRST * (point.said("requests") or 0))
