"""Runs under constants nearby, without simulating them again."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assay._base.facts import Fact
from assay.calibrate.observe import STEEPEST, Observation, Runs, observe
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration, Constants, Level, Where
from assay.points import Point

MakePoint = Callable[..., Point]

RUNS: dict[str, dict[str, Any]] = {
    "one user": {"concurrency": 1.0},
    "many users": {"concurrency": 32.0, "isl_nominal": 600.0, "osl_nominal": 40.0, "spread_low": 0.5, "spread_high": 1.5, "requests": 640},
    "experts over chips": {"model": "qwen3-235b-a22b", "chip": "h200-sxm", "weights": "fp8", "tp": 8, "ep": 8},
    "attention ranks": {"model": "deepseek-r1", "chip": "b200-sxm", "engine": "sglang", "tp": 8, "dp": 8, "concurrency": 16.0},
    "speculation": {"model": "llama-3.3-70b", "tp": 8, "speculate": True, "speculate_tokens": 3, "requests": 3000},
    "prefill and decode apart": {
        "model": "llama-3.3-70b", "tp": None, "prefill_workers": 1, "prefill_tp": 4, "decode_workers": 1, "decode_tp": 8,
    },
    "a batch": {"load": "static", "batch": 8, "concurrency": None},
    "stages": {"model": "llama-3.3-70b", "tp": 2, "pp": 2},
    "resident": {"chip": "groq-lpu-v1", "engine": "generic", "tp": 4, "pp": 32},
}  # fmt: skip
each_run = pytest.mark.parametrize("conditions", RUNS.values(), ids=RUNS)


def seen(point: Point, calibration: Calibration | None = None) -> Observation:
    """The run as it was observed."""
    found = observe(point, calibration or Calibration())
    assert found is not None
    return found


def under(observation: Observation, constants: Constants) -> np.ndarray:
    """Logarithm of its figures under columns of constants, shape (P, n)."""
    return Runs([observation]).under(constants)[0]


@each_run
def test_under_its_own_constants_it_has_its_own_figures(made: MakePoint, conditions: dict[str, Any]) -> None:
    """In each column of constants."""
    found = seen(made(**conditions))
    plant, part = found.stages[0].plant, found.stages[0].plant.part
    assert np.isfinite(found.figures).all()
    assert found.execution == part.chip.execution
    assert found.where == Where(
        part.engine.name,
        part.chip.family,
        part.chip.name,
        part.engine.period(part.chip.family),
        found.point.said("set"),
        plant.model.name,
        part.weights.name,
    )
    ones = {name: np.ones((3, 1)) for name in terms().names}
    assert under(found, found.constants.times(ones)) == pytest.approx(np.tile(found.figures, (3, 1)), abs=1e-9)


@each_run
def test_nearby_it_has_the_figures_of_a_new_simulation(made: MakePoint, conditions: dict[str, Any]) -> None:
    """Each constant moved by two percent: to a fraction of a percent, but for TTFT where many wait and every phase counts."""
    point = made(**conditions)
    found, moved = seen(point), []
    jumps = "requests" in conditions or "decode_tp" in conditions  # where a request joins at the end of a step
    nearly = np.array([0.03 if jumps else 0.005, 0.005, 0.005])
    for name in terms().names:
        factor = 0.98 if "share" in name or "acceptance" in name else 1.02
        level = Level(found.execution, Where(), {name: Fact(factor)})
        simulated = seen(point, Calibration((level,))).figures - found.figures
        closed = under(found, found.constants.times({name: np.array([[factor]])}))[0] - found.figures
        assert (np.abs(closed - simulated) < nearly).all(), name
        moved.append(np.abs(simulated).max())
    assert max(moved) > 0.004


def test_runs_whose_steps_cost_the_same_are_told_of_together(made: MakePoint) -> None:
    """Users and lengths do not part them, and each has the figures that it has alone; layouts, precisions and times do."""
    alike = [made(concurrency=float(users), isl=float(isl)) for users, isl in ((1, 200), (8, 200), (4, 900))]
    unlike = [{"chip": "h200-sxm"}, {"tp": 2}, {"weights": "fp8"}, {"model": "llama-3.1-70b", "tp": 4}, {"source_date": "2026-09-01"}]
    runs, others = [seen(point) for point in alike], [seen(made(**other)) for other in unlike]
    assert len({each.like for each in (*runs, *others)}) == 1 + len(unlike)
    moved = np.exp(0.1 * np.random.default_rng(5).standard_normal((4, len(terms().names))))
    constants = runs[0].constants.times({name: moved[:, [at]] for at, name in enumerate(terms().names)})
    for each, beside in zip(runs, Runs(runs).under(constants), strict=True):
        assert beside == pytest.approx(under(each, constants), abs=1e-9)


def test_what_the_constants_of_a_step_do_not_touch_does_not_answer(made: MakePoint) -> None:
    """Without speculation nothing is accepted, and a batch does not wait to be seen."""
    plain, batch = seen(made()), seen(made(load="static", batch=8, concurrency=None))
    drafting = seen(made(model="llama-3.3-70b", tp=8, speculate=True, speculate_tokens=3, concurrency=16.0))
    assert not plain.accepts.any()
    assert plain.waits[0] > 0.05  # TTFT
    assert not batch.waits.any()
    assert drafting.accepts[1] < 0 < drafting.accepts[2]  # TPOT falls, throughput rises
    for each in (plain, batch, drafting):
        assert max(np.abs(each.answers).max(), np.abs(each.waits).max(), np.abs(each.accepts).max()) <= STEEPEST


def test_when_all_steps_take_twice_as_long_everything_does(made: MakePoint) -> None:
    """Elasticities to all steps of a batch, which waits for nothing else, add up to one: for a rate to minus one."""
    found = seen(made(load="static", batch=8, concurrency=None))
    assert found.answers.sum(axis=1) == pytest.approx([1.0, 1.0, -1.0], abs=0.02)


def test_an_observation_carries_no_tables(made: MakePoint) -> None:
    """There are thousands of them, and they are sent between processes."""
    (stage,) = seen(made()).stages
    assert stage.plant.times.interval.tokens.size < 100


@pytest.mark.parametrize(
    "conditions",
    [{"model": "nobody-7b"}, {"isl": None}, {"load": None}, {"model": "llama-3.1-405b"}, {"isl": 300000.0}],
    ids=["unknown model", "no length", "no load", "too large", "too long"],
)
def test_what_cannot_be_predicted_is_not_observed(made: MakePoint, conditions: dict[str, Any]) -> None:
    """Nothing is raised."""
    assert observe(made(**conditions), Calibration()) is None


def test_a_number_that_is_not_predicted_has_no_figure(made: MakePoint) -> None:
    """The others have theirs."""
    found = seen(made([("tpot", "mean"), ("tpot", "p75")]))
    assert math.isfinite(found.figures[0])
    assert math.isnan(found.figures[1])
    assert not found.answers[1].any()
