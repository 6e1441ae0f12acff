"""From measured runs to constants: simulate all runs, fit the closed form, and again under what was found."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from assay._base.parallel import finished
from assay.calibrate.observe import Observation, observe
from assay.calibrate.pooling import Fitted, Pool
from assay.calibrate.rows import rows
from assay.calibrate.terms import KERNELS, Terms
from assay.cost.constants import Calibration
from assay.points import Point
from assay.steptime import Floats
from assay.validate.validation import in_lots

ROUNDS = 3  # of simulation and fit: the closed form is exact for the counts of steps, which hardly move after the second

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Result:
    """The last round: the runs as they were observed, with their rows; what was fitted; and the levels."""

    pool: Pool
    fitted: Fitted
    calibration: Calibration


def fit(points: Sequence[Point], terms: Terms, executor: Executor | None = None, progress: Progress | None = None) -> Result:
    """Fit all levels to the runs; `progress` hears the round, and how many runs are simulated, of how many."""
    result = None
    for turn in range(1, ROUNDS + 1):
        told = partial(progress, f"round {turn} of {ROUNDS}") if progress else None
        observations = observed(points, result.calibration if result else Calibration(), executor, told)
        pool = Pool(observations, rows(observations, terms), terms)
        fitted = pool.fit(_moved(result, pool) if result else None)
        result = Result(pool, fitted, pool.calibration(fitted.factors, fitted.deviations))
    assert result is not None
    return result


def observed(
    points: Sequence[Point], calibration: Calibration, executor: Executor | None, progress: Callable[[int, int], None] | None = None
) -> list[Observation]:
    """The runs that can be predicted and whose chips run kernel by kernel, in the order given."""
    lots = in_lots(points, range(len(points)))
    found: dict[int, Observation] = {}
    done = 0
    for at, each in finished(partial(_observe_all, calibration), [[points[place] for place in lot] for lot in lots], executor):
        found |= {place: one for place, one in zip(lots[at], each, strict=True) if one and one.execution == KERNELS}
        done += len(lots[at])
        if progress:
            progress(done, len(points))
    return [found[place] for place in sorted(found)]


def _observe_all(calibration: Calibration, points: Sequence[Point]) -> list[Observation | None]:
    return [observe(point, calibration) for point in points]


def _moved(before: Result, pool: Pool) -> Floats:
    """Factors of the round before, in the order of the levels of this one."""
    place = {key: at for at, key in enumerate(before.pool.keys)}
    nothing = np.zeros(len(pool.terms.names))
    return np.array([before.fitted.factors[place[key]] if key in place else nothing for key in pool.keys])
