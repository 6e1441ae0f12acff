"""Which deployments no other beats, and what each chip is worth."""

from collections.abc import Sequence

from assay.search.runs import Run


def frontier(runs: Sequence[Run]) -> list[bool]:
    """Which feasible, priced runs no other beats in both output tokens per dollar and interactivity (output tokens/s of one user)."""
    points = [_point(run) for run in runs]
    return [point is not None and not any(_beats(other, point) for other in points if other) for point in points]


def _point(run: Run) -> tuple[float, float] | None:
    tpot = run.latencies["tpot"].values["mean"]
    if not run.feasible or not run.price.per_hour or not tpot:
        return None
    return run.output_tokens_per_second / run.price.per_hour, 1 / tpot


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other[0] >= point[0] and other[1] >= point[1] and other != point


def worths(runs: Sequence[Run]) -> list[float | None]:
    """Dollars per chip-hour at which each feasible run ties the cheapest other chip's run, per token served.

    worth = cheapest other's dollars per token x own tokens per hour / own chips. None where the run is not feasible or no other chip
    is both feasible and offered.
    """
    return [worth(run, runs) for run in runs]


def worth(run: Run, runs: Sequence[Run]) -> float | None:
    """What one chip-hour of `run` is worth beside the other chips in `runs`: see `worths`."""
    others = [other.price.blended for other in runs if other.chip != run.chip and other.feasible and other.price.blended is not None]
    if not run.feasible or not others:
        return None
    return min(others) / 1e6 * run.total_tokens_per_second * 3600 / run.chips
