"""States of recurrences in time, in memory and in a run."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay._base.catalogue import names
from assay.api import predict, simulate
from assay.chips import Chip
from assay.cost import fold
from assay.cost.explain import Load, explain
from assay.cost.kv import state_bytes_per_sequence
from assay.deployments import Asked, Deployment, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.plant import Plant, build
from assay.simulate import Fleet, run
from assay.steptime import RESOURCES, total
from assay.workloads import Workload

MEMORY = RESOURCES.index("memory")
NANO = "nemotron-nano-9b-v2"
NANO_STATE = 27 * (128 * 80 * 128 * 4 + 3 * (128 * 80 + 2 * 8 * 128) * 2)  # 27 layers: 32-bit states, and three inputs of the convolution


def plant(name: str = NANO, chip: str = "h100-sxm", **asked: object) -> Plant:
    """A model on a chip, with small tables."""
    model, limits = Model.load(name), {"token_budget": 128, "max_num_seqs": 32, **asked}
    return build(model, resolve(model, Chip.load(chip), Engine.load("generic"), Asked(**limits)))


def config_of(name: str) -> dict[str, Any]:
    """The config.json of a catalogue entry."""
    return tomllib.loads(names("models")[name].read_text(encoding="utf-8"))["config"]


def test_a_sequence_takes_its_state_whatever_its_length() -> None:
    """Room taken is a constant, and the cache of four attention layers that grows with the context."""
    policy, block = plant(kv="bf16").policy, 16
    each = 4 * 2 * 8 * 128 * 2
    assert Model.load(NANO).state_bytes_per_sequence == NANO_STATE
    for context in (1, 16, 17, 1000):
        blocks = -(-context // block)
        assert policy.footprint(context) == pytest.approx(NANO_STATE + blocks * block * each, abs=block)
    assert policy.footprint(0) == 0


@pytest.mark.parametrize("reference", [True, False])
def test_sequences_held_are_capacity_over_state(reference: bool) -> None:
    """Where contexts are short a rank holds as many sequences as states fit, and no more."""
    made = plant()
    one = made.policy.footprint(16 + 8)
    policy = replace(made.policy, kv_capacity=3.9 * one)
    workload = Workload.draw(isl=16, osl=8, requests=10)
    outcome = run(workload, Fleet.of(made.times, policy), reference=reference)
    assert outcome.kv_peak == pytest.approx(3 / 3.9, rel=1e-3)
    assert len(np.unique(outcome.finish)) == 4  # 3 + 3 + 3 + 1
    roomy = run(workload, Fleet.of(made.times, made.policy), reference=reference)
    assert len(np.unique(roomy.finish)) < 4


def test_the_time_of_a_state_by_hand(tmp_path: Path) -> None:
    """Halving the width of states takes off their reading and writing at the bandwidth that caches reach, for each sequence."""
    wide = Model.load(NANO)
    document = {**config_of(NANO), "mamba_ssm_cache_dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    chip, seconds = Chip.load("h100-sxm"), []
    for model in (wide, Model.load(tmp_path)):
        times, machine = fold(model, resolve(model, chip, Engine.load("generic"), Asked(token_budget=128, max_num_seqs=32)))
        seconds.append(total(times.interval, Load(0, 24, 500).step(times.reaches)))
    saved = 24 * 2 * 27 * 128 * 80 * 128 * 2
    assert seconds[0] - seconds[1] == pytest.approx(saved / (chip.memory[0].bandwidth.value * machine.constants.bandwidth_share["kv"]))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (NANO, {}),
        (NANO, {"tp": 2, "pp": 2}),
        ("kimi-linear-48b-a3b", {"tp": 4, "dp": 4, "ep": 4}),
        ("qwen3-next-80b-a3b", {"tp": 4, "speculate": "2:0.5"}),
    ],
)
@pytest.mark.parametrize("load", [Load(0, 8, 300), Load(64, 4, 100)])
def test_a_step_is_the_sum_of_its_ops(name: str, layout: dict[str, object], load: Load) -> None:
    """Taken apart, a step of a hybrid is as long as the folded one says."""
    made = plant(name, **layout)
    found = explain(made.machine, made.ops, made.times, load)
    assert sum(op.seconds for op in found.ops) == pytest.approx(found.latency, rel=1e-9)
    states = sum(op.bytes for op in found.ops if op.name == "recurrence")
    assert states > load.decode / made.times.ranks * sum(op.count * op.state_bytes for op in made.ops if op.kind == "recurrence")


def test_states_cost_energy() -> None:
    """The states that a step moves are in its joules, those of all ranks."""
    one, two = plant(tp=1), plant(tp=2)
    slopes = [np.diff(made.times.joules.sampled.sum(axis=0))[-1] for made in (one, two)]
    moved = 2 * NANO_STATE * 4.5e-11
    assert slopes[0] > moved
    assert slopes[1] > moved


def test_speculation_keeps_a_state_per_token() -> None:
    """To go on from the last accepted token, a sequence keeps its state after each that a step verifies, and writes each."""
    plain, drafting = plant("qwen3.5-27b", tp=2), plant("qwen3.5-27b", tp=2, speculate="3:0.5")
    sizes = [state_bytes_per_sequence(made.ops, made.part) for made in (plain, drafting)]
    assert sizes[0] == Model.load("qwen3.5-27b").state_bytes_per_sequence / 2
    assert sizes[1] == 4 * sizes[0]


def test_stages_share_states() -> None:
    """In a pipeline the room and what a sequence takes of it are counted over all stages, states too."""
    whole, staged = plant(), plant(pp=2)
    assert staged.policy.footprint(1) == whole.policy.footprint(1)
    assert staged.policy.kv_capacity > 1.5 * whole.policy.kv_capacity


def test_a_hybrid_can_be_predicted_and_simulated() -> None:
    """The commands work on hybrids, and say what they take for granted about states."""
    model = Model.load(NANO)
    deployment = Deployment.of(Chip.load("h100-sxm"), engine="vllm", tp=1)
    assert predict(model, deployment, decode=8, context=500).step.seconds > 0
    found = simulate(model, deployment, Workload.draw(isl=100, osl=20, requests=50, rate=5.0))
    assert found.completed == 50
    assert any("144 MB of state" in text for text in found.assumptions)
