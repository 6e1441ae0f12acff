"""Blocks of runs left out, and constants that never saw them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.calibrate.fit import Result, whole
from assay.calibrate.folds import CONFIGURATIONS, KINDS, block, cut, left_out, refitted, without
from assay.calibrate.pooling import Pool, pooled
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration, Where
from assay.points import Point
from assay.search.comparison import Work

MakePoint = Callable[..., Point]


def test_configurations_keep_what_is_alike_together(made: MakePoint) -> None:
    """Chip, engine, weights and lengths; users, layout and time do not part runs, and lengths asked for count before those used."""
    runs = [
        made(concurrency=float(users), tp=tp, source_date=date)
        for users in (1, 64)
        for tp in (1, 2)
        for date in ("2024-01-01", "2026-05-01")
    ]
    assert len(set(cut(runs, "configuration"))) == 1
    used = [made(isl=float(length), isl_nominal=1000.0) for length in (990, 1003)]
    assert block(used[0], "configuration") == block(used[1], "configuration") != block(made(isl=990.0), "configuration")
    others = [{"chip": "mi300x"}, {"engine": "sglang"}, {"weights": "fp8"}, {"isl": 300.0}, {"osl": 50.0}]
    assert len({block(made(**other), "configuration") for other in others}) == len(others)
    shared = [made(load="single", isl=None, osl=None, model=model, concurrency=users) for model in ("a", "b") for users in (None, 1.0)]
    assert len({block(each, "configuration") for each in shared}) == 2


def test_configurations_are_dealt_into_folds_evenly(made: MakePoint) -> None:
    """By their name: the same on each machine and however many others there are."""
    runs = [made(isl=float(length)) for length in range(4000)]
    folds = cut(runs, "configuration")
    sizes = [folds.count(str(fold)) for fold in range(CONFIGURATIONS)]
    assert sum(sizes) == 4000
    assert min(sizes) > 60
    assert max(sizes) < 140
    assert cut(runs[::-1], "configuration") == folds[::-1]
    assert [cut([run], "configuration")[0] for run in runs[:9]] == folds[:9]


@pytest.mark.parametrize("kind", ["chip", "model", "engine"])
def test_chips_models_and_engines_are_each_a_fold(kind: str, made: MakePoint) -> None:
    """By name."""
    assert cut([made(**{kind: name}) for name in ("a", "b", "a")], kind) == ["a", "b", "a"]
    assert kind in KINDS


def revalued(result: Result, changed: np.ndarray, by: float) -> Result:
    """The result of a fit of the same rows, some of which were measured otherwise."""
    pool = result.pool
    rows = replace(pool.rows, measured=pool.rows.measured + by * changed)
    other = Pool(pool.observations, rows, terms(), pooled(terms()))
    return whole(other, other.fit(result.fitted.factors))


def moved(one: Calibration, other: Calibration, pool: Pool) -> float:
    """How far predictions of a pool's rows lie apart under two calibrations: the most, of logarithms."""
    return float(np.abs(pool.predict(pool.factors(one))[0] - pool.predict(pool.factors(other))[0]).max())


@pytest.mark.parametrize("fold", ["h100-sxm", "mi300x"])
def test_a_folds_constants_do_not_depend_on_its_own_values(known: Any, fold: str) -> None:
    """Measure its runs to be twice as slow: the constants of all move, those without the fold hardly.

    Hardly and not at all, since the one step to them starts where all runs led; the other fold's move as well.
    """
    pool = known.result.pool
    folds = cut([each.point for each in pool.observations], "chip")
    own = (np.array(folds)[pool.rows.run] == fold).astype(float)
    changed = revalued(known.result, own, 0.3)
    before, after = without(known.result, folds), without(changed, folds)
    other = next(name for name in folds if name != fold)
    assert moved(before[fold], after[fold], pool) < 0.02
    assert moved(known.result.calibration, changed.calibration, pool) > 0.1
    assert moved(before[other], after[other], pool) > 0.1


def test_runs_of_a_fold_are_not_counted_in_its_levels(known: Any) -> None:
    """So that a chip that was left out is known by its family alone."""
    pool = known.result.pool
    by_fold = without(known.result, cut([each.point for each in pool.observations], "chip"))
    assert set(by_fold) == {"h100-sxm", "mi300x"}
    for fold, calibration in by_fold.items():
        runs = {level.where: level.runs for level in calibration.levels}
        assert runs[Where("", "", fold)] == 0
        assert runs[Where("vllm")] == runs[Where()] == 6
    assert {level.where: level.runs for level in known.result.calibration.levels}[Where("vllm")] == 12


def test_each_run_has_the_constants_without_its_fold(known: Any, made: MakePoint) -> None:
    """Those of all where its fold taught nothing."""
    points = [*known.points, made(chip="a100-sxm-80gb")]
    found = left_out(known.result, points, "chip")
    assert len({id(calibration) for calibration in found}) == 3
    for point, calibration in zip(known.points, found, strict=False):
        assert {level.where: level.runs for level in calibration.levels}[Where("", "", str(point.said("chip")))] == 0
    assert found[-1] is known.result.calibration


@pytest.mark.parametrize(("known", "stage"), [(False, "fit, round 1 of 1"), (True, "fit, observing")])
def test_folds_of_a_validation(known: bool, stage: str, made: MakePoint) -> None:
    """Fitted to its own runs from the shipped constants onwards, or left out of these alone; with progress."""
    points = [made(chip=chip, concurrency=float(users)) for chip in ("h100-sxm", "mi300x") for users in (2, 8)]
    told: list[str] = []
    found = refitted("chip", Work(progress=lambda done, whole, said: told.append(said)), known)(points)
    assert found[0] is found[1] is not found[2]
    assert told == [stage] * len(told)
    assert told


def test_what_taught_constants_need_not_be_fitted_again(known: Any) -> None:
    """Where the fit ended, the same constants come of leaving a fold out, whether or not the fit is known."""
    pool = known.result.pool
    anew = whole(pool, pool.at(known.result.fitted.factors))
    points = [each.point for each in pool.observations]
    for one, other in zip(*(left_out(each, points, "chip") for each in (anew, known.result)), strict=True):
        assert moved(one, other, pool) < 1e-3
    assert anew.fitted.objective == pytest.approx(known.result.fitted.objective)
