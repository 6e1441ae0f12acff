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
from assay.steptime import Floats
from assay.validate.validation import in_lots

WIDE, ROUNDS = 2, 4  # of simulation and fit, the first with wide priors: what is unlike all others shows when the others are known

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Result:
    """The last round: the runs as they were observed, with their rows; what was fitted, of wide levels and of systems; and all levels."""

    pool: Pool
    fitted: Fitted
    systems: Pool
    own: Fitted
    calibration: Calibration

    def without(self, mask: Floats) -> Calibration:
        """The levels without the rows at which `mask` (R,) is 0, by one step from those of all."""
        factors = self.pool.refit(self.fitted, mask)
        moved = self.pool.along(self.own.slopes, factors - self.fitted.factors)
        wide = self.pool.calibration(factors, mask=mask)
        return Calibration((*wide.levels, *self.systems.calibration(self.systems.refit(self.own, mask, moved), mask=mask).levels))


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
        return whole(*_round(points, terms, start, executor, _told(progress, 1, 1)))
    *_, last = rounds(points, terms, executor, progress)
    return whole(*last)


def rounds(
    points: Sequence[Point],
    terms: Terms,
    executor: Executor | None = None,
    progress: Progress | None = None,
    after: Sequence[Calibration] = (),
) -> Iterator[tuple[Pool, Fitted]]:
    """What each round from generic physics ends in; those that ended in the calibrations `after` are not run again."""
    start = after[-1] if after else Calibration()
    for turn in range(len(after) + 1, ROUNDS + 1):
        pool, fitted = _round(points, terms.wide if turn <= WIDE else terms, start, executor, _told(progress, turn, ROUNDS))
        start = pool.calibration(fitted.factors)
        yield pool, fitted


def _told(progress: Progress | None, turn: int, rounds: int) -> Callable[[int, int], None] | None:
    return partial(progress, f"round {turn} of {rounds}") if progress else None


def taught(points: Sequence[Point], terms: Terms, executor: Executor | None, progress: Progress | None, by: Calibration) -> Result:
    """A calibration with the runs that taught it, as if the fit had just ended in it; `progress` as of `fit`."""
    pool = _pool(points, terms, by, executor, partial(progress, "observing") if progress else None)
    fitted = pool.at(pool.factors(by))
    systems = pool.systems(fitted.factors)
    return Result(pool, fitted, systems, systems.at(systems.factors(by)), by)


def _round(
    points: Sequence[Point], terms: Terms, start: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None
) -> tuple[Pool, Fitted]:
    pool = _pool(points, terms, start, executor, progress)
    return pool, pool.fit(pool.factors(start))


def whole(pool: Pool, fitted: Fitted) -> Result:
    """Wide levels, and those of systems fitted to what they leave."""
    systems = pool.systems(fitted.factors)
    own = systems.fit()
    levels = (*pool.calibration(fitted.factors, fitted.deviations).levels, *systems.calibration(own.factors, own.deviations).levels)
    return Result(pool, fitted, systems, own, Calibration(levels))


def _pool(
    points: Sequence[Point], terms: Terms, start: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None
) -> Pool:
    observations = observed(points, start.wide, executor, progress)  # systems left out are predicted by that
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
