"""The time of one op on one machine."""

import math
from dataclasses import replace

import numpy as np
import pytest

from assay._base.facts import Fact
from assay.chips import Chip
from assay.cost import fold
from assay.cost.roofline import Machine, latency_seconds, padding, peak, rate_bits, touched, weights_read, work_seconds
from assay.deployments import Asked, Part, resolve
from assay.engines import Engine
from assay.graph.op import Op, Routing
from assay.models import Model
from assay.steptime import DECODE, MIXED, RESOURCES, Step, split

EVEN = 1e6  # evenness of experts that are picked alike


def part(model: str = "llama-3.1-8b", chip: str = "h100-sxm", engine: str = "generic", **asked: object) -> Part:
    """A part with small tables."""
    limits = {"token_budget": 64, "max_num_seqs": 64, **asked}
    return resolve(Model.load(model), Chip.load(chip), Engine.load(engine), Asked(**limits))


def machine() -> Machine:
    """A chip with a small model on it."""
    return fold(Model.load("llama-3.1-8b"), part())[1]


def test_bits_of_rates() -> None:
    """The bits of a rate key's operands."""
    assert [rate_bits(rate) for rate in ("bf16", "fp16", "fp8", "int8", "fp4", "int4")] == [16, 16, 8, 8, 4, 4]


def test_a_rate_that_is_not_listed_runs_in_the_widest_format() -> None:
    """Narrower operands gain nothing; wider ones take time in proportion to their bits."""
    chip = replace(Chip.load("h100-sxm"), peak={"bf16": Fact(1e15), "fp8": Fact(2e15)})
    assert [peak(chip, rate) for rate in ("bf16", "fp8", "fp4")] == [1e15, 2e15, 1e15]
    narrow = replace(chip, peak={"fp8": Fact(2e15)})
    assert peak(narrow, "bf16") == 1e15


def test_experts_touched() -> None:
    """None by no token, the picked ones by one, nearly all by many; fewer where some are picked more often than others."""
    routing = Routing(256, 256, 8)
    for evenness in (0.5, 2.0, EVEN):
        assert touched(routing, np.array([0.0, 1.0]), evenness).tolist() == pytest.approx([0, 8 / 256], rel=1e-6)
    assert touched(routing, np.array([2.0, 5000.0]), EVEN).tolist() == pytest.approx([1 - (248 / 256) ** 2, 1.0], rel=1e-5)
    assert touched(Routing(4, 4, 4), np.array([1.0]), 2.0)[0] == pytest.approx(1.0)
    shares = [float(touched(routing, np.array([64.0]), evenness)[0]) for evenness in (0.5, 2.0, 8.0, EVEN)]
    assert shares == sorted(shares)


def test_experts_work_through_whole_tiles() -> None:
    """With few rows each expert works through twice as many; with many the 200 beside them count little; none without padding."""
    routing = Routing(8, 8, 2)
    tokens = np.array([1.0, 40.0, 4_000.0, 80_000.0])
    assert padding(routing, {"padding": 200, "evenness": EVEN}, tokens).tolist() == pytest.approx([2, 2, 1.2, 1.01], abs=1e-6)
    assert padding(routing, {"padding": 0, "evenness": 2.0}, np.array([0.0, 1.0, 1000.0])).tolist() == [1, 1, 1]


def test_weights_are_read_once_a_step() -> None:
    """However many tokens there are; none for no tokens, a table's rows not at all."""
    here, units = machine(), np.array([0.0, 1.0, 64.0])
    assert weights_read(Op("x", "gemm", 1, weights=10, bits=16), here, units).tolist() == [0, 20, 20]
    assert weights_read(Op("x", "gather", 1, weights=10, bits=16), here, units).tolist() == [0, 0, 0]


def test_the_busiest_expert_rank_sets_the_time() -> None:
    """Imbalance lengthens experts that are spread over ranks, and only those."""
    here, units = machine(), np.array([16.0])
    whole = Op("x", "experts", 1, flops=1e9, weights=1e6, routing=Routing(8, 8, 2))
    spread = replace(whole, routing=Routing(4, 8, 2))
    factor = here.constants.experts["imbalance"]
    for one, other in zip(work_seconds(whole, here, units), work_seconds(spread, here, units), strict=True):
        assert other == pytest.approx(one * factor)


def test_launches_by_kind_of_op_and_step() -> None:
    """One launch a kernel, two for attention that both prefills and decodes, none for what a collective counts itself."""
    here = machine()
    fixed = here.constants.fixed
    assert latency_seconds(Op("x", "gemm", 1), here, DECODE) == fixed["kernel"]
    assert latency_seconds(Op("x", "gemm", 1), here, MIXED) == fixed["mixed_kernel"]
    assert latency_seconds(Op("x", "attention", 1), here, DECODE) == fixed["kernel"]
    assert latency_seconds(Op("x", "attention", 1), here, MIXED) == 2 * fixed["mixed_kernel"]
    assert latency_seconds(Op("x", "collective", 1), here, MIXED) == 0
    assert latency_seconds(Op("x", "gemm", 1, opens=4096), here, DECODE) == fixed["kernel"] + 64 * fixed["layer"]


def test_time_of_a_layer_grows_with_the_root_of_its_width() -> None:
    """Twice as long for four times as many hidden channels, where layers take time of their own."""
    here = fold(Model.load("llama-3.1-8b"), part(chip="cerebras-wse3"))[1]
    narrow, wide = (latency_seconds(Op("x", "vector", 1, opens=width), here, DECODE) for width in (4096, 16384))
    assert narrow == 64 * here.constants.fixed["layer"] > 0
    assert wide == 2 * narrow


def test_a_resident_pipeline_waits_for_layers_not_for_the_host() -> None:
    """No host time and no launches, but a time per layer."""
    times, here = fold(Model.load("llama-3.1-8b"), part(chip="cerebras-wse3"))
    by_resource = dict(zip(RESOURCES, split(times.latency, Step(DECODE, 1, 1, [1.0], [0.0], [0.0])), strict=True))
    assert by_resource["host"] == 0
    assert by_resource["latency"] == pytest.approx(32 * math.sqrt(4096) * here.constants.fixed["layer"])


def test_an_engine_that_tells_its_host_time_is_believed() -> None:
    """The engine's figures stand in the place of the generic constants, on chips that run kernel by kernel."""
    base = part()
    told = replace(base, engine=replace(base.engine, host_step=Fact(0.25), host_sequence=Fact(0.125)))
    host = RESOURCES.index("host")
    step = Step(DECODE, 4, 4, [0.0], [0.0], [0.0])
    assert split(fold(Model.load("llama-3.1-8b"), told)[0].interval, step)[host] == 0.25 + 4 * 0.125
    resident = part(chip="cerebras-wse3")
    told = replace(resident, engine=told.engine)
    assert split(fold(Model.load("llama-3.1-8b"), told)[0].interval, step)[host] == 0


def test_an_empty_step_takes_no_time() -> None:
    """Nothing to do, nothing to wait for."""
    for chip in ("h100-sxm", "cerebras-wse3"):
        times, _ = fold(Model.load("llama-3.1-8b"), part(chip=chip))
        for curve in (times.interval, times.latency, times.joules):
            assert split(curve, Step(DECODE, 0, 0, [0.0], [0.0], [0.0])).tolist() == [0.0] * len(RESOURCES)


def test_idle_power_counts_every_chip() -> None:
    """All chips of a replica draw power while they wait."""
    alone, many = (fold(Model.load("llama-3.1-8b"), part(tp=tp, pp=pp))[0] for tp, pp in ((1, 1), (4, 2)))
    assert many.idle_watts == 8 * alone.idle_watts
    assert (alone.depth, many.depth) == (1, 2)
