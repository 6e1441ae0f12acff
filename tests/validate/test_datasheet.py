"""The data sheet's baseline, by hand."""

from dataclasses import replace

import pytest

from assay.chips import Chip
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.assembly import Assembly
from assay.search.plant import build
from assay.validate.datasheet import Sheet, from_datasheet
from assay.workloads import Workload

MODEL, CHIP = Model.load("llama-3.1-8b"), Chip.load("h100-sxm")


def assembly(replicas: int = 1, tp: int = 1) -> Assembly:
    """A small model on one kind of chip."""
    part = resolve(MODEL, CHIP, Engine.load("generic"), Asked(tp=tp, weights="bf16", kv="bf16"))
    plant = build(MODEL, replace(part, replicas=replicas))
    return Assembly((plant,))


def test_a_decode_step_of_one_reads_the_weights_once() -> None:
    """Bytes over bandwidth, at full rate."""
    sheet = Sheet(MODEL, assembly().parts[0])
    weights = 2 * (MODEL.parameters - 128_256 * 4_096)  # all but the embedding table
    assert sheet.step(1, 0) == pytest.approx(weights / CHIP.memory[0].bandwidth.value)


def test_long_prompts_are_bound_by_arithmetic() -> None:
    """FLOPs over peak: twice the parameters for each token."""
    sheet = Sheet(MODEL, assembly().parts[0])
    assert sheet.prefill(100_000) == pytest.approx(2 * MODEL.active_parameters * 100_000 / CHIP.peak["bf16"].value)


def test_of_experts_those_that_are_picked_are_read() -> None:
    """One token reads what is active, many read all."""
    model = Model.load("mixtral-8x7b")
    part = resolve(model, CHIP, Engine.load("generic"), Asked(tp=4, weights="bf16"))
    sheet = Sheet(model, part)
    assert sheet.weights(1) == pytest.approx(2 * (model.active_parameters - 32_000 * 4_096), rel=1e-6)
    assert sheet.weights(1e6) == pytest.approx(2 * (model.parameters - 32_000 * 4_096), rel=1e-6)


def test_one_user_waits_for_a_prefill_and_the_steps_of_its_output() -> None:
    """TTFT, E2E and throughput of a closed loop of one."""
    workload = Workload.draw(1000, 100, requests=10, concurrency=1)
    figures = from_datasheet(assembly(), workload)
    sheet = Sheet(MODEL, assembly().parts[0])
    e2e = sheet.prefill(1000) + 100 * sheet.step(1, 1050)
    assert figures.latencies["ttft"]["p50"] == pytest.approx(sheet.prefill(1000))
    assert figures.latencies["e2e"]["mean"] == pytest.approx(e2e)
    assert figures.requests == pytest.approx(1 / e2e)


def test_users_wait_for_the_prompts_of_each_other() -> None:
    """Of ten users each request sees ten prefills; throughput is ten over that time, whatever the replicas' number."""
    sheet = Sheet(MODEL, assembly().parts[0])
    e2e = 10 * sheet.prefill(1000) + 100 * sheet.step(10, 1050)
    for replicas in (1, 3):
        figures = from_datasheet(assembly(replicas), Workload.draw(1000, 100, requests=40, concurrency=10 * replicas))
        assert figures.latencies["e2e"]["mean"] == pytest.approx(e2e)
        assert figures.requests == pytest.approx(10 * replicas / e2e)


def test_a_steady_open_loop_serves_what_comes() -> None:
    """No more than the rate, even where it could."""
    workload = Workload.draw(100, 10, requests=100, rate=0.5)
    assert from_datasheet(assembly(), workload).requests == pytest.approx(workload.rate)


def test_more_chips_are_never_slower() -> None:
    """The data sheet knows no links."""
    workload = Workload.draw(1000, 100, requests=64)
    one, two = (from_datasheet(assembly(tp=tp), workload) for tp in (1, 2))
    assert two.latencies["e2e"]["mean"] < one.latencies["e2e"]["mean"]
