"""The closed form of the time of all steps, against the steps that a simulation makes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from assay._base.facts import Fact
from assay.calibrate.observe import steps_of
from assay.calibrate.terms import terms
from assay.chips import Chip
from assay.cost.constants import Calibration, Constants, Level, Where
from assay.cost.roofline import Machine
from assay.cost.totals import Steps, counted, together, totals
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.assembly import Assembly
from assay.search.plant import Plant, build
from assay.simulate import run
from assay.simulate.tally import Tally
from assay.workloads import Workload

LAYOUTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dense": ("llama-3.1-8b", "h100-sxm", {"tp": 1}),
    "dense over chips": ("llama-3.3-70b", "h100-sxm", {"tp": 4}),
    "experts over chips": ("qwen3-235b-a22b", "h200-sxm", {"tp": 8, "ep": 8, "weights": "fp8"}),
    "latents, attention ranks": ("deepseek-r1", "h200-sxm", {"tp": 8, "ep": 8, "dp": 8}),
    "windows, attention ranks": ("gpt-oss-120b", "b200-sxm", {"tp": 8, "dp": 4}),
    "heads that draft": ("llama-3.3-70b", "h100-sxm", {"tp": 8, "speculate": "3:0.7"}),
    "a model that drafts": ("llama-3.3-70b", "h100-sxm", {"tp": 8, "speculate": "3:0.7:llama-3.1-8b"}),
    "ranks that draft": ("deepseek-r1", "h200-sxm", {"tp": 8, "ep": 8, "dp": 8, "speculate": "2:0.5"}),
    "recurrent": ("qwen3-next-80b-a3b", "h100-sxm", {"tp": 4}),
    "recurrent, drafting": ("qwen3-next-80b-a3b", "h100-sxm", {"tp": 4, "speculate": "2:0.5"}),
    "resident": ("llama-3.1-8b", "groq-lpu-v1", {"tp": 4, "pp": 32}),
}
STAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dense": ("llama-3.3-70b", "h100-sxm", {"tp": 2, "pp": 3}),
    "ranks": ("deepseek-v3.2", "b200-sxm", {"tp": 8, "dp": 4, "pp": 2}),
    "drafting": ("llama-3.3-70b", "h100-sxm", {"tp": 2, "pp": 3, "speculate": "3:0.7:llama-3.1-8b"}),
}


@dataclass(frozen=True, eq=False)
class Served:
    """A plant, and the steps of a small closed loop on it."""

    plant: Plant
    tally: Tally
    steps: Steps

    def seconds(self, constants: Constants) -> np.ndarray:
        """Times of all steps under constants: decode, mixed and what both take, shape (3, P)."""
        plant = self.plant
        found = totals(plant.ops, plant.part, Machine(plant.part.chip, plant.machine.residency, constants), self.steps)
        return np.array([found.decode, found.mixed, found.shared])[..., 0]


def served(layout: tuple[str, str, Mapping[str, Any]], engine: Engine | None = None, users: int = 12) -> Served:
    """Thirty requests of unlike lengths: steps of many sizes, of both kinds."""
    name, chip, asked = layout
    model, limits = Model.load(name), {"token_budget": 256, "max_num_seqs": 16, "prefix_cache": False, **asked}
    plant = build(model, resolve(model, Chip.load(chip), engine or Engine.load("generic"), Asked(**limits)), Calibration())
    workload = Workload.draw(300, 20, requests=30, concurrency=users, spread=(0.3, 1.7))
    (tally,) = run(workload, Assembly((plant,)).fleet(), seed=1).tallies
    return Served(plant, tally, steps_of(tally, plant.machine.constants))


cached = cache(lambda name: served(LAYOUTS[name]))


def interval_seconds(tally: Tally) -> float:
    """Time between the steps by the tables of the interval, prefill attention by its share of the latency's."""
    curve, latency = tally.times.interval, tally.times.latency
    seconds = np.einsum("krn,kn->", curve.tokens, tally.tokens) + np.einsum("krn,kn->", curve.joint, tally.joint)
    seconds += (curve.sampled @ tally.sampled).sum() + (tally.decode @ curve.decode).sum() + (curve.draft @ tally.draft).sum()
    longest = latency.prefill > 0
    share = float((curve.prefill[longest] / latency.prefill[longest]).max())
    return float(seconds + share * tally.line_seconds.sum())


@pytest.mark.parametrize("name", LAYOUTS)
def test_they_are_the_time_of_the_simulated_steps(name: str) -> None:
    """To the last digits: the closed form sums what the tables hold."""
    found = cached(name)
    assert found.tally.tokens[0].any()
    assert found.tally.tokens[1].any()
    assert found.seconds(found.plant.machine.constants).sum() == pytest.approx(found.tally.resource_seconds().sum(), rel=1e-9)


@pytest.mark.parametrize("layout", STAGES.values(), ids=STAGES)
def test_of_stages_they_are_the_time_between_steps(layout: tuple[str, str, dict[str, Any]]) -> None:
    """The fullest stage, and its share of prefill attention."""
    found = served(layout)
    sum_of_all = found.seconds(found.plant.machine.constants).sum()
    assert sum_of_all == pytest.approx(interval_seconds(found.tally), rel=1e-9)
    assert sum_of_all < found.tally.resource_seconds().sum()


def test_an_engine_that_says_its_host_time_keeps_it() -> None:
    """The figures of its file stand in the place of the constants."""
    slow = replace(Engine.load("generic"), host_step=Fact(0.01), host_sequence=Fact(1e-4))
    found, usual = served(LAYOUTS["dense"], slow), cached("dense")
    constants = found.plant.machine.constants
    assert found.seconds(constants).sum() == pytest.approx(found.tally.resource_seconds().sum(), rel=1e-9)
    doubled = constants.times({"host.step": 2.0, "host.sequence": 2.0})
    assert found.seconds(doubled) == pytest.approx(found.seconds(constants))
    assert usual.seconds(doubled).sum() > usual.seconds(constants).sum()


def columns(constants: Constants, seed: int, count: int) -> tuple[Constants, list[Constants]]:
    """Constants with each fitted term moved at random: as columns, and one by one."""
    names = terms().names
    moved = np.exp(0.3 * np.random.default_rng(seed).standard_normal((count, len(names))))
    each = [constants.times({name: float(row[at]) for at, name in enumerate(names)}) for row in moved]
    return constants.times({name: moved[:, [at]] for at, name in enumerate(names)}), each


@pytest.mark.parametrize("name", LAYOUTS)
def test_columns_of_constants_are_many_at_once(name: str) -> None:
    """The same as one by one."""
    found = cached(name)
    together, each = columns(found.plant.machine.constants, 7, 5)
    one_by_one = np.concatenate([found.seconds(constants) for constants in each], axis=1)
    assert found.seconds(together) == pytest.approx(one_by_one, rel=1e-12)
    assert np.ptp(one_by_one.sum(axis=0)) > 0


@pytest.mark.parametrize("name", terms().names)
def test_one_constant_alone_may_be_a_column(name: str) -> None:
    """Whichever it is."""
    found = cached(next(iter(LAYOUTS)))
    constants = found.plant.machine.constants
    each = [found.seconds(constants.times({name: factor})) for factor in (0.9, 1.1)]
    assert found.seconds(constants.times({name: np.array([[0.9], [1.1]])})) == pytest.approx(np.concatenate(each, axis=1), rel=1e-12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_under_other_constants_they_are_the_time_that_the_same_steps_take(name: str) -> None:
    """As by tables folded anew under these: all but the share of prefill attention, of which seconds are counted and not pairs."""
    found = cached(name)
    part = found.plant.part
    moved = {"fixed.kernel": 1.7, "fixed.layer": 1.3, "host.step": 0.4, "bandwidth_share.weights": 0.8, "compute_share.experts": 0.7}
    level = Level(part.chip.execution, Where(), {constant: Fact(factor) for constant, factor in moved.items()})
    other = build(found.plant.model, part, Calibration((level,)))
    there = retimed(found.tally, other).resource_seconds().sum()
    assert found.seconds(other.machine.constants).sum() == pytest.approx(there, rel=1e-9)
    assert abs(there / found.tally.resource_seconds().sum() - 1) > 0.01


def retimed(tally: Tally, plant: Plant) -> Tally:
    """The same steps, timed by the tables of another plant."""
    other = Tally(plant.times)
    for name in ("tokens", "sampled", "draft", "joint", "decode", "line_seconds"):
        setattr(other, name, getattr(tally, name))
    return other


def test_sizes_are_counted_without_steps_of_nothing() -> None:
    """A step of no tokens takes no time, and is no step."""
    sizes, counts = counted(np.array([9, 0, 3, 0, 1]))
    assert sizes.tolist() == [2.0, 4.0]
    assert counts.tolist() == [[3.0], [1.0]]


@pytest.mark.parametrize("name", ["dense", "latents, attention ranks", "a model that drafts"])
def test_runs_on_like_pools_are_many_at_once(name: str) -> None:
    """The same as one by one, whichever sizes of step occurred in which."""
    first, others = cached(name), [served(LAYOUTS[name], users=users) for users in (1, 5)]
    runs, plant = [first, *others], first.plant
    constants, _ = columns(plant.machine.constants, 3, 4)
    machine = Machine(plant.part.chip, plant.machine.residency, constants)
    found = totals(plant.ops, plant.part, machine, together([each.steps for each in runs]))
    for place, each in enumerate(runs):
        beside = np.array([found.decode, found.mixed, found.shared])[..., place]
        assert beside == pytest.approx(each.seconds(constants), rel=1e-12)
