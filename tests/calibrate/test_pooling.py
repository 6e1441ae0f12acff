"""The fit of all levels at once: what is known to be so is found, and what nobody measured stays as it was."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay._base.facts import Fact
from assay.calibrate.fit import observed
from assay.calibrate.observe import Runs
from assay.calibrate.pooling import Fitted, Pool, keys, pooled
from assay.calibrate.rows import rows
from assay.calibrate.terms import CERTAIN, LEVELS, SYSTEM, terms
from assay.cost.constants import Calibration, Level, Where


@pytest.fixture(scope="module")
def pool(known: Any) -> Pool:
    """The pool of the last round."""
    return known.result.pool


@pytest.fixture(scope="module")
def fitted(known: Any) -> Fitted:
    """What was fitted in it."""
    return known.result.fitted


def without(pool: Pool, mask: np.ndarray) -> Pool:
    """The same pool without the rows that the mask leaves out."""
    kept = {name: column[mask > 0] for name, column in vars(pool.rows).items()}
    return Pool(pool.observations, replace(pool.rows, **kept), terms(), pooled(terms()))


def test_levels_of_a_run_are_the_widest_first(pool: Pool) -> None:
    """Seven, from all runs to those of its engine on its family in its quarter; that of its system stands apart."""
    (first, *_), (where, *_) = keys(pool.observations[0]), [pool.observations[0].where]
    assert [key.level for key in keys(pool.observations[0])] == [level for level in LEVELS if level != SYSTEM]
    assert first.where == Where()
    assert keys(pool.observations[0])[-1].where == Where(where.engine, where.family, "", where.quarter)
    assert {key.where.chip for key in pool.keys} == {"", "h100-sxm", "mi300x"}
    assert [LEVELS.index(key.level) for key in pool.keys] == sorted(LEVELS.index(key.level) for key in pool.keys)


def test_every_level_moves_by_its_share(pool: Pool) -> None:
    """Generic constants as far as they are not known, levels above them by their share of the spread; what is nothing there, not at all."""
    for key, prior in zip(pool.keys, pool.prior, strict=True):
        if key.level == "generic":
            assert prior.max() < 1.5
        else:
            there = np.array([name != "fixed.layer" for name in terms().names])
            assert prior == pytest.approx(np.where(there, terms().widths(key.level), CERTAIN))
    assert pool.prior.min() > 0


def test_the_truth_is_found(pool: Pool, fitted: Fitted) -> None:
    """What the runs measured is predicted to four percent; under generic constants it was off by more than a fifth."""
    before = np.exp(pool.predict(np.zeros_like(fitted.factors))[0] - pool.rows.measured)
    assert np.median(np.abs(before - 1)) > 0.2
    assert np.exp(fitted.predicted - pool.rows.measured) == pytest.approx(1, abs=0.04)
    assert pool.predict(fitted.factors)[0] == pytest.approx(fitted.predicted)


def test_the_fit_is_the_best_nearby(pool: Pool, fitted: Fitted) -> None:
    """Whichever way the factors are moved, the objective does not fall by more than the fit may leave."""
    random = np.random.default_rng(3)
    for _ in range(6):
        moved = fitted.factors + 0.1 * pool.prior * random.standard_normal(fitted.factors.shape)
        assert pool._objective(moved, pool.predict(moved)[0], pool.rows.weight) > 0.99 * fitted.objective
    assert fitted.objective < 0.05 * pool._objective(np.zeros_like(moved), pool.predict(np.zeros_like(moved))[0], pool.rows.weight)


def test_slopes_are_those_of_the_prediction(pool: Pool, fitted: Fitted) -> None:
    """A little more of one constant at one level moves the rows for which the level holds, by its slope."""
    there, slopes = pool.predict(fitted.factors)
    for name in ("fixed.kernel", "bandwidth_share.weights", "host.request"):
        term = terms().names.index(name)
        for place, key in enumerate(pool.keys):
            moved = fitted.factors.copy()
            moved[place, term] += 1e-3
            expected = np.where((pool.levels[pool.rows.run] == place).any(axis=1), slopes[:, term] * 1e-3, 0.0)
            assert pool.predict(moved)[0] - there == pytest.approx(expected, abs=2e-5), (key, name)


def test_what_no_run_tells_of_stays_as_it_was(known: Any, pool: Pool, fitted: Fitted) -> None:
    """A dense model in 16 bit on one chip says nothing of experts, collectives or drafts."""
    for name in ("experts.padding", "experts.imbalance", "collective.bandwidth_share", "speculation.acceptance"):
        term = terms().names.index(name)
        assert fitted.factors[:, term] == pytest.approx(0, abs=1e-9)
        assert fitted.deviations[:, term] == pytest.approx(pool.prior[:, term])
        assert {level.factors[name].value for level in known.result.calibration.levels} == {1.0}


def test_constants_of_one_table_go_together(pool: Pool, fitted: Fitted) -> None:
    """Of narrow kernels no run tells: a level takes them along with those of 16 bit, by what they have in common and less surely."""
    names, spread = terms().names, terms().spread
    wide, narrow = (names.index(f"compute_share.gemm{bits}") for bits in (16, 8))
    engine = next(at for at, key in enumerate(pool.keys) if key.level == "engine")
    assert fitted.factors[engine, narrow] * fitted.factors[engine, wide] > 0
    assert abs(fitted.factors[engine, narrow]) < abs(fitted.factors[engine, wide]) * spread[narrow] / spread[wide] + 0.05
    assert 0 < fitted.deviations[engine, narrow] <= pool.prior[engine, narrow] * (1 + 1e-9)


def test_where_generic_constants_hold_nothing_is_fitted(known: Any, measured: Any) -> None:
    """Runs that were measured to be as predicted leave all factors at one."""
    points = measured(known.points, Calibration())
    seen = observed(points, Calibration(), None)
    plain = Pool(seen, rows(seen, terms()), terms(), pooled(terms()))
    assert np.abs(plain.fit().factors).max() < 1e-6


def test_the_more_is_measured_the_surer_are_constants(pool: Pool, fitted: Fitted) -> None:
    """None is less sure than the prior, nor than by half of the runs; some are much surer than either."""
    less = pool.fit(fitted.factors, (pool.rows.run % 2 == 0).astype(float))
    for surer, other in ((fitted.deviations, less.deviations), (less.deviations, pool.prior)):
        assert (surer <= other * 1.001).all()
        assert (surer / other).min() < 0.98


def test_a_mask_leaves_rows_out(pool: Pool, fitted: Fitted) -> None:
    """As if they had never been measured."""
    mask = (pool.rows.run >= 6).astype(float)
    masked, fewer = pool.fit(fitted.factors, mask), without(pool, mask).fit(fitted.factors)
    assert masked.factors == pytest.approx(fewer.factors, abs=1e-9)


def test_refitting_without_rows_is_fitting_without_them(pool: Pool, fitted: Fitted) -> None:
    """By one step from what all rows gave: predictions of all rows agree to one percent, though factors moved."""
    h100 = np.array([each.point.said("chip") == "h100-sxm" for each in pool.observations])[pool.rows.run]
    mask = 1.0 - h100
    quick, whole = pool.refit(fitted, mask), pool.fit(fitted.factors, mask)
    assert pool.predict(quick)[0] == pytest.approx(pool.predict(whole.factors)[0], abs=0.01)
    assert np.abs(quick - fitted.factors).max() > 0.02


def test_a_system_unlike_all_others_hardly_bends_them(made: Any, measured: Any) -> None:
    """An engine four times as slow on one of four families: with heavy tails less of it falls on the engine than with normal priors."""
    runs = [made(chip=chip, concurrency=users) for chip in ("h100-sxm", "b200-sxm", "mi300x", "mi355x") for users in (1.0, 4.0)]
    slow = {name: Fact(4.0) for name in ("host.step", "host.sequence", "fixed.kernel", "fixed.mixed_kernel")}
    truth = Calibration((Level("kernel-by-kernel", Where("vllm", "cdna3"), slow),))
    points, found = measured(runs, truth), []
    for freedom in (2.5, 1e9):
        what = replace(terms(), freedom=freedom)
        seen = observed(points, Calibration(), None)
        pool = Pool(seen, rows(seen, what), what, pooled(what))
        engine = next(at for at, key in enumerate(pool.keys) if key.level == "engine")
        found.append(abs(float(pool.fit().factors[engine, what.names.index("fixed.kernel")])))
    assert found[0] < 0.7 * found[1]


def test_twice_the_same(pool: Pool, fitted: Fitted) -> None:
    """To the last bit."""
    again = [pool.fit(fitted.factors) for _ in range(2)]
    assert np.array_equal(again[0].factors, again[1].factors)
    assert np.array_equal(again[0].deviations, again[1].deviations)
    mask = (pool.rows.run > 2).astype(float)
    assert np.array_equal(pool.refit(fitted, mask), pool.refit(fitted, mask))


def test_without_rows_nothing_is_fitted(pool: Pool) -> None:
    """Factors are one, and as unsure as before; of no runs there are no levels."""
    none = without(pool, np.zeros(len(pool.rows.run)))
    fitted = none.fit(np.full_like(none.prior, 0.1))
    assert not fitted.factors.any()
    assert fitted.deviations == pytest.approx(none.prior)
    assert Pool([], rows([], terms()), terms(), pooled(terms())).calibration(np.zeros((0, len(terms().names)))).levels == ()


def test_single_runs_that_nothing_explains_do_not_bend_constants(pool: Pool, fitted: Fitted) -> None:
    """One number a hundred times too large moves the predictions of the others by little."""
    wild = pool.rows.measured.copy()
    wild[1] += np.log(100)
    bent = Pool(pool.observations, replace(pool.rows, measured=wild), terms(), pooled(terms())).fit(fitted.factors)
    others = np.arange(len(wild)) != 1
    assert bent.predicted[others] == pytest.approx(fitted.predicted[others], abs=0.05)


def test_levels_are_written_and_read_back(pool: Pool, fitted: Fitted) -> None:
    """To four digits, with the runs that taught them and an interval around each factor."""
    made = pool.calibration(fitted.factors, fitted.deviations)
    assert pool.factors(made) == pytest.approx(fitted.factors, abs=1e-3)
    assert pool.factors(Calibration()).tolist() == np.zeros_like(fitted.factors).tolist()
    runs = {level.where: level.runs for level in made.levels}
    assert (runs[Where()], runs[Where("", "", "h100-sxm")], runs[Where("", "", "mi300x")]) == (12, 6, 6)
    for level in made.levels:
        for fact in level.factors.values():
            assert fact.low <= fact.value <= fact.high
    left = pool.calibration(fitted.factors, mask=(pool.rows.run >= 6).astype(float))
    assert {level.where: level.runs for level in left.levels}[Where("", "", "h100-sxm")] == 0


def test_runs_without_a_date_teach_their_pair_alone(known: Any) -> None:
    """What is written of them holds at any time, and once."""
    points = [replace(point, conditions={**point.conditions, "source_date": None}) for point in known.points[:3]]
    seen = observed(points, Calibration(), None)
    undated = Pool(seen, rows(seen, terms()), terms(), pooled(terms()))
    fitted = undated.fit()
    made = undated.calibration(fitted.factors)
    assert [level.where.quarter for level in made.levels] == [""] * len({level.where for level in made.levels})
    assert fitted.predicted == pytest.approx(undated.rows.measured, abs=0.06)
    assert undated.predict(undated.factors(made))[0] == pytest.approx(fitted.predicted, abs=2e-3)


def test_what_is_written_predicts_what_was_fitted(pool: Pool, known: Any) -> None:
    """The constants of a run's levels, multiplied, are those under which its figures were fitted."""
    for run, each in enumerate(pool.observations):
        part = each.stages[0].plant.part
        constants = known.result.calibration.seen_by(each.where.client).constants(part.chip, part.engine)
        here = pool.rows.run == run
        assert Runs([each]).under(constants)[0][0][pool.rows.place[here]] == pytest.approx(known.result.fitted.predicted[here], abs=2e-3)
