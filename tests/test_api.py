"""Assay from Python: the documented calls work, and results can be summed up, serialised and tabulated."""

import dataclasses
import json

import polars as pl
import pytest

import assay
from assay.search.comparison import Comparison
from assay.search.runs import Run


@pytest.fixture(scope="module")
def model() -> assay.Model:
    """A small model."""
    return assay.Model.load("llama-3.1-8b")


@pytest.fixture(scope="module")
def chip() -> assay.Chip:
    """A chip on which it fits."""
    return assay.Chip.load("h100-sxm")


@pytest.fixture(scope="module")
def workload() -> assay.Workload:
    """Sixty requests at two a second."""
    return assay.Workload.draw(300, 30, requests=60, rate=2.0, seed=1)


@pytest.fixture(scope="module")
def ran(model: assay.Model, chip: assay.Chip, workload: assay.Workload) -> Run:
    """A simulated deployment."""
    return assay.simulate(model, assay.Deployment.of(chip, tp=2, engine="vllm"), workload, assay.Slo(ttft=1.0))


@pytest.fixture(scope="module")
def compared(model: assay.Model, chip: assay.Chip, workload: assay.Workload) -> Comparison:
    """Two chips compared, without other processes."""
    chips = [chip, assay.Chip.load("l40s")]
    asked = assay.Asked(engine="vllm", tp=2, weights="fp8")
    return assay.compare(model, chips, workload, assay.Slo(ttft=1.0), asked=asked, prices=assay.Prices(tier="neocloud"))


def is_frozen(result: object) -> bool:
    """Whether a result is a frozen dataclass."""
    return dataclasses.is_dataclass(result) and result.__dataclass_params__.frozen


def test_nouns_are_read_from_the_catalogue(model: assay.Model, chip: assay.Chip) -> None:
    """By name, by alias or by file; to_dict() is plain JSON."""
    assert assay.Chip.load("h100") == chip
    assert assay.Chip.load(chip.file) == chip
    for noun in (model, chip, assay.Engine.load("vllm")):
        assert json.loads(json.dumps(noun.to_dict()))["name"]


def test_workloads_are_loaded_or_drawn(workload: assay.Workload) -> None:
    """A workload sums itself up."""
    loaded = assay.Workload.load("azure-conv-2023", requests=50, rate=3.0)
    assert "50 requests" in loaded.summary()
    assert loaded.to_dict()["rate"] == pytest.approx(3.0)
    assert "60 requests, 2/s" in workload.summary()


def test_predict_gives_a_step(model: assay.Model, chip: assay.Chip) -> None:
    """A step takes longer with more to do."""
    deployment = assay.Deployment.of(chip)
    short, long = (assay.predict(model, deployment, decode=8, context=context) for context in (100, 10_000))
    assert short.step.latency < long.step.latency
    assert is_frozen(short)
    assert short.summary().endswith(" J")
    json.dumps(short.to_dict(), allow_nan=False)


def test_predict_takes_any_step(model: assay.Model, chip: assay.Chip) -> None:
    """More tokens than the scheduler would put into a step, drafts counted; on ranks those of the busiest."""
    wide = assay.predict(model, assay.Deployment.of(chip, speculate="3:0.7"), prefill=8100, decode=64, context=500)
    assert wide.deployment["token_budget"] == 8100 + 64 * 4
    mixture = assay.Model.load("deepseek-r1")
    ranks = assay.Deployment.of(assay.Chip.load("h200-sxm"), tp=8, dp=8, ep=8, speculate="1:0.7", token_budget=512, max_num_seqs=32)
    step = assay.predict(mixture, ranks, prefill=600, decode=300, context=100)
    assert step.deployment["token_budget"] == 600 + 38 * 2
    assert step.deployment["max_num_seqs"] == 39
    assert step.step.latency > 0


def test_predict_is_of_one_part(model: assay.Model, chip: assay.Chip) -> None:
    """A step is of one replica: several parts are refused."""
    with pytest.raises(assay.InputError, match="2 parts"):
        assay.predict(model, assay.Deployment.disaggregated(chip, 1, 1), decode=1, context=1)


def test_prefill_and_decode_apart(model: assay.Model, chip: assay.Chip) -> None:
    """As many chips as both sides have; decodes are never held up by prompts."""
    workload = assay.Workload.draw(6000, 50, requests=60, rate=20.0, seed=1)
    small = {"tp": 1, "engine": "vllm", "token_budget": 512, "max_num_seqs": 64}
    apart = assay.simulate(model, assay.Deployment.disaggregated(chip, 1, 2, **small), workload)
    together = assay.simulate(model, assay.Deployment.of(chip, replicas=3, **small), workload)
    assert apart.completed == together.completed == 60
    assert apart.chips == together.chips == 3
    assert [part["role"] for part in apart.deployment["parts"]] == ["prefill", "decode"]
    assert apart.latencies["itl"].values["p999"] < together.latencies["itl"].values["p999"]
    json.dumps(apart.to_dict(), allow_nan=False)


def test_unlike_chips_serve_together(model: assay.Model, chip: assay.Chip, workload: assay.Workload) -> None:
    """Parts of role all are a mixed fleet: every request is served by one or the other."""
    small = assay.Asked(tp=1, engine="vllm", token_budget=512, max_num_seqs=64)
    run = assay.simulate(model, assay.Deployment(((chip, small), (assay.Chip.load("mi300x"), small))), workload)
    assert (run.completed, run.chips, run.chip) == (60, 2, "h100-sxm + mi300x")


def test_both_simulators_serve_a_deployment_in_parts(model: assay.Model, chip: assay.Chip) -> None:
    """The reference and the compiled one say the same of prefill and decode apart, with speculation."""
    workload = assay.Workload.draw(300, 30, requests=20, rate=4.0, seed=1)
    small = {"tp": 1, "token_budget": 256, "max_num_seqs": 16, "speculate": "3:0.7"}
    deployment = assay.Deployment.disaggregated(chip, 1, 2, **small)
    first, second = (assay.simulate(model, deployment, workload, reference=reference) for reference in (False, True))
    for metric, found in first.latencies.items():
        assert found.values["mean"] == pytest.approx(second.latencies[metric].values["mean"], rel=1e-9)


def test_simulate_gives_a_run(ran: Run) -> None:
    """A run is frozen, says in a line what it found, and has a row per request."""
    assert is_frozen(ran)
    assert "2 x h100-sxm" in ran.summary()
    json.dumps(ran.to_dict(), allow_nan=False)
    frame = ran.frame()
    assert frame.height == ran.requests == 60
    assert frame.select((pl.col("e2e") >= pl.col("ttft")).all()).item()


def test_compare_gives_a_comparison(compared: Comparison) -> None:
    """A comparison is frozen, sums up its best runs and has a row per candidate."""
    assert is_frozen(compared)
    assert compared.complete
    assert compared.summary().startswith("cost: llama-3.1-8b on ")
    frame = compared.frame()
    assert frame.height == len(compared.runs)
    assert set(frame["chip"]) == {"h100-sxm", "l40s"}
    json.dumps(compared.to_dict(), allow_nan=False)


def test_progress_is_told(model: assay.Model, chip: assay.Chip, workload: assay.Workload) -> None:
    """`Work` tells how far the work is, of how much, and on which chip."""
    heard: list[tuple[int, int, str]] = []
    work = assay.Work(progress=lambda done, of, what: heard.append((done, of, what)))
    assay.compare(model, [chip], workload, asked=assay.Asked(engine="vllm", tp=1, weights="fp8"), work=work)
    assert heard == [(1, 1, "h100-sxm"), (1, 1, "h100-sxm")]


def test_errors_can_be_caught(model: assay.Model) -> None:
    """All errors meant for the user share a base; InputError names file, field and remedy."""
    with pytest.raises(assay.InputError) as caught:
        assay.Chip.load("h100-sxn")
    assert caught.value.file == "h100-sxn"
    assert "h100-sxm" in caught.value.remedy
    with pytest.raises(assay.CannotHold):
        assay.simulate(model, assay.Deployment.of(assay.Chip.load("groq-lpu-v1"), tp=1), assay.Workload.draw(9, 9, requests=2))
    assert issubclass(assay.InputError, assay.AssayError)
    assert issubclass(assay.CannotHold, assay.AssayError)
