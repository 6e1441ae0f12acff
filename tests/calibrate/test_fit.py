"""From measured runs to constants, in rounds."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay._base.facts import Fact
from assay.calibrate.fit import ROUNDS, fit, observed, rounds, whole
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration, Level, Where
from assay.points import Point

MakePoint = Callable[..., Point]
Measure = Callable[[Sequence[Point], Calibration], list[Point]]


def logarithms(points: Sequence[Point]) -> np.ndarray:
    """Of all values, in order."""
    return np.log([number.value for point in points for number in point.numbers])


def test_what_was_fitted_predicts_what_was_measured(known: Any, measured: Measure) -> None:
    """A simulation under the levels gives the values of the runs to four percent, where generic constants are off by a fifth."""
    truth = logarithms(known.points)
    assert logarithms(measured(known.points, known.result.calibration)) == pytest.approx(truth, abs=0.04)
    assert np.median(np.abs(logarithms(measured(known.points, Calibration())) - truth)) > 0.2


def test_it_predicts_runs_that_it_never_saw(known: Any, made: MakePoint, measured: Measure, truth: Calibration) -> None:
    """Other users, lengths and times, and a chip of the family of which no run was measured."""
    unseen = [
        made(concurrency=12.0, isl=500.0),
        made(chip="mi300x", concurrency=2.0, isl=2000.0),
        made(chip="h200-sxm", concurrency=8.0),
        made(source_date="2026-09-01"),
    ]
    errors = logarithms(measured(unseen, known.result.calibration)) - logarithms(measured(unseen, truth))
    assert np.abs(errors).max() < 0.08
    assert np.median(np.abs(errors)) < 0.02


def test_one_round_from_what_is_nearly_right(known: Any) -> None:
    """The fit stays where it was, and says how far each round has come."""
    told: list[tuple[str, int, int]] = []
    again = fit(known.points, terms(), progress=lambda *said: told.append(said), start=known.result.calibration)
    assert again.fitted.predicted == pytest.approx(known.result.fitted.predicted, abs=0.003)
    assert {stage for stage, _, _ in told} == {"round 1 of 1"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == ("round 1 of 1", 12, 12)


def test_rounds_are_told(known: Any) -> None:
    """As many as there are from generic physics."""
    told: list[str] = []
    fit(known.points[:1], terms(), progress=lambda stage, done, whole: told.append(stage))
    assert told == [f"round {turn} of {ROUNDS}" for turn in range(1, ROUNDS + 1)]


def test_rounds_go_on_after_those_that_are_done(known: Any) -> None:
    """To the same end, bit by bit."""
    every = list(rounds(known.points[:2], terms()))
    (last,) = rounds(known.points[:2], terms(), after=[pool.calibration(fitted.factors) for pool, fitted in every[:-1]])
    assert len(every) == ROUNDS
    assert whole(*last).calibration.fingerprint == whole(*every[-1]).calibration.fingerprint
    assert np.array_equal(last[1].factors, every[-1][1].factors)


SLOWED = Level(
    "kernel-by-kernel",
    Where("vllm", chip="h100-sxm", model="mistral-7b", weights="bf16"),
    {"bandwidth_share.weights": Fact(0.9), "compute_share.gemm16": Fact(0.9), "fixed.kernel": Fact(1.2), "fixed.mixed_kernel": Fact(1.2)},
    runs=1,
)


def test_what_one_system_has_of_its_own_is_its_own(made: MakePoint, measured: Measure) -> None:
    """One of four models on two chips is served slowly on one of them.

    With its runs it is predicted; without them as the others are; and what was never measured has nothing of it.
    """
    models = ("llama-3.1-8b", "qwen2-7b", "gemma-7b", "mistral-7b")
    runs = [
        made(chip=chip, model=model, concurrency=float(users))
        for chip in ("h100-sxm", "mi300x")
        for model in models
        for users in (1, 2, 4, 8, 16, 32)
    ]
    points = measured(runs, Calibration((SLOWED,)))
    slow = [at for at, each in enumerate(runs) if (each.said("chip"), each.said("model")) == ("h100-sxm", "mistral-7b")]
    found = fit(points, terms())
    errors = {
        name: np.abs(logarithms(measured([points[at] for at in slow], each)) - logarithms([points[at] for at in slow]))
        for name, each in {"systems": found.calibration, "wide": found.calibration.wide}.items()
    }
    assert np.median(errors["systems"]) < 0.5 * np.median(errors["wide"])
    runs_by_row = found.pool.rows.run
    without = found.without(np.isin(runs_by_row, slow, invert=True).astype(np.float64))
    (level,) = (each for each in without.levels if each.where == SLOWED.where)
    assert level.runs == 0
    assert all(fact.value == pytest.approx(1.0, abs=0.01) for fact in level.factors.values())
    unseen = [made(chip="h200-sxm", model="mistral-7b")]
    assert logarithms(measured(unseen, found.calibration)) == pytest.approx(logarithms(measured(unseen, found.calibration.wide)))


def test_wide_levels_know_nothing_of_systems(known: Any) -> None:
    """A fit from a calibration with systems starts from its wide levels alone, and ends in the same."""
    slower = {"fixed.kernel": Fact(2.0), "bandwidth_share.weights": Fact(0.5)}
    systems = [replace(each, factors=slower) for each in known.result.calibration.levels if each.where.model]
    odd = Calibration((*known.result.calibration.wide.levels, *systems))
    one, other = (fit(known.points, terms(), start=start).calibration for start in (odd, known.result.calibration.wide))
    assert len(systems) == 2
    assert one.fingerprint == other.fingerprint


def test_runs_are_observed_in_their_order_by_any_executor(made: MakePoint) -> None:
    """Those that cannot be predicted are left out."""
    points = [
        made(concurrency=float(users), model="nobody-7b" if users == 3 else "llama-3.1-8b", tp=1 + users % 2) for users in range(1, 12)
    ]
    alone = observed(points, Calibration(), None)
    with ThreadPoolExecutor(2) as executor:
        together = observed(points, Calibration(), executor)
    for found in (alone, together):
        assert [each.point.said("concurrency") for each in found] == [1, 2, *range(4, 12)]
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.figures, other.figures)
        assert np.array_equal(one.answers, other.answers)


def test_levels_name_engine_family_chip_and_quarter(known: Any) -> None:
    """As many as the runs tell of, each once for each way of execution."""
    where = [level.where for level in known.result.calibration.levels]
    assert len(set(where)) == len(where)
    assert {Where(), Where("vllm"), Where("", "cdna3"), Where("vllm", "hopper"), Where("", "", "mi300x")} < set(where)
    assert {each.quarter for each in where} == {"", "2026Q2"}
