"""From measured runs to constants: simulate all runs, fit the closed form, and again under what was found."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from assay._base.parallel import finished
from assay.calibrate.observe import Observation, observe
from assay.calibrate.pooling import Fitted, Pool, pooled
from assay.calibrate.rows import rows
from assay.calibrate.terms import Terms
from assay.cost.constants import Calibration
from assay.points import Point
from assay.validate.validation import in_lots

WIDE, ROUNDS = 2, 4  # of simulation and fit, the first with wide priors: what is unlike all others shows when the others are known

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Result:
    """The last round: the runs as they were observed, with their rows; what was fitted; and the levels."""

    pool: Pool
    fitted: Fitted
    calibration: Calibration


def fit(
    points: Sequence[Point],
    terms: Terms,
    executor: Executor | None = None,
    progress: Progress | None = None,
    start: Calibration | None = None,
) -> Result:
    """Fit all levels to the runs, from generic physics or, in one round, from a calibration that is nearly right.

    `progress` hears the round, and how many runs are simulated, of how many.
    """
    if start:
        return _round(points, terms, start, executor, _told(progress, 1, 1))
    *_, result = rounds(points, terms, executor, progress)
    return result


def rounds(
    points: Sequence[Point],
    terms: Terms,
    executor: Executor | None = None,
    progress: Progress | None = None,
    after: Sequence[Calibration] = (),
) -> Iterator[Result]:
    """What each round from generic physics ends in; those that ended in the calibrations `after` are not run again."""
    start = after[-1] if after else Calibration()
    for turn in range(len(after) + 1, ROUNDS + 1):
        result = _round(points, terms.wide if turn <= WIDE else terms, start, executor, _told(progress, turn, ROUNDS))
        start = result.calibration
        yield result


def _told(progress: Progress | None, turn: int, rounds: int) -> Callable[[int, int], None] | None:
    return partial(progress, f"round {turn} of {rounds}") if progress else None


def taught(points: Sequence[Point], terms: Terms, executor: Executor | None, progress: Progress | None, by: Calibration) -> Result:
    """A calibration with the runs that taught it, as if the fit had just ended in it; `progress` as of `fit`."""
    pool = _pool(points, terms, by, executor, partial(progress, "observing") if progress else None)
    return Result(pool, pool.at(pool.factors(by)), by)


def _round(
    points: Sequence[Point], terms: Terms, start: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None
) -> Result:
    pool = _pool(points, terms, start, executor, progress)
    fitted = pool.fit(pool.factors(start))
    return Result(pool, fitted, pool.calibration(fitted.factors, fitted.deviations))


def _pool(
    points: Sequence[Point], terms: Terms, start: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None
) -> Pool:
    observations = observed(points, start, executor, progress)
    return Pool(observations, rows(observations, terms), terms, pooled(terms))


def observed(
    points: Sequence[Point], calibration: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None = None
) -> list[Observation]:
    """The runs that can be predicted, in the order given."""
    lots = in_lots(points, range(len(points)))
    found: dict[int, Observation] = {}
    done = 0
    for at, each in finished(partial(_observe_all, calibration), [[points[place] for place in lot] for lot in lots], executor):
        found |= {place: one for place, one in zip(lots[at], each, strict=True) if one}
        done += len(lots[at])
        if progress:
            progress(done, len(points))
    return [found[place] for place in sorted(found)]


def _observe_all(calibration: Calibration, points: Sequence[Point]) -> list[Observation | None]:
    return [observe(point, calibration) for point in points]
