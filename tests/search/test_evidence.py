"""How far predictions can be trusted."""

from dataclasses import replace

import pytest

from assay._base.catalogue import names
from assay._base.facts import Fact
from assay.chips import Chip, Power
from assay.cost.constants import TAUGHT, Calibration, Level, Where
from assay.deployments import Asked, Part, resolve
from assay.engines import Engine, for_family
from assay.models import Model
from assay.search import evidence
from assay.search.evidence import ANY, ANYONE, KNOWN, METRICS, bands, circumstances, evidence_of, known, weakest
from assay.workloads import Workload

CHIPS = sorted(names("chips"))
PUBLISHED = [name for name in CHIPS if not Chip.load(name).unpublished]


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_says_what_is_known(name: str) -> None:
    """The label is one of three, and the reason names the chip and each specification that its file lacks."""
    chip = Chip.load(name)
    found = evidence_of(chip)
    assert found.label in ("measured", "calibrated", "spec-only")
    assert name in found.why
    assert all(lacking in found.why for lacking in chip.missing)
    assert found.to_dict() == {"label": found.label, "why": found.why}


def test_what_is_weakly_sourced_is_named() -> None:
    """Facts of confidence C and D that a prediction uses are named; those of A and B are not."""
    chip = Chip.load("h100-sxm")
    rates = {"bf16": Fact(1e15, confidence="D"), "fp8": Fact(2e15, confidence="A")}
    why = evidence_of(replace(chip, peak=rates)).why
    assert "weakly sourced: peak.bf16" in why
    assert "peak.fp8" not in why


def test_what_the_file_lacks_is_named() -> None:
    """A chip without power or links says so."""
    bare = replace(Chip.load("h100-sxm"), power=Power(), links=())
    assert "lacks power.tdp, power.idle, power.all_in, link" in evidence_of(bare).why


@pytest.mark.parametrize("name", PUBLISHED)
def test_bands_hold_the_prediction(name: str) -> None:
    """Each band is a pair of factors around one; cost and energy fall as throughput rises."""
    chip = Chip.load(name)
    model = Model.load("llama-3.1-8b")
    part = resolve(model, chip, Engine.load("generic"), Asked())
    found = bands(part)
    assert {"output_tokens_per_second", "cost_per_million_tokens", "joules_per_token"} <= found.keys()
    assert all(0 < low <= 1 <= high for low, high in found.values())
    low, high = found["output_tokens_per_second"]
    assert found["cost_per_million_tokens"] == found["joules_per_token"] == (1 / high, 1 / low)


LOADS = (
    "all at once",
    "open",
    "closed, crowded",
    "closed, busy",
    "closed, light, speculation",
    "open, disaggregated",
    "never heard of",
    ANY,
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_metric_has_a_band_under_every_load(name: str) -> None:
    """Under each engine of the chip's family, however little is known."""
    chip = Chip.load(name)
    for engine in (Engine.load("generic"), *for_family(chip.family)):
        part = replace(resolve(Model.load("llama-3.1-8b"), chip, Engine.load("generic"), Asked()), engine=engine)
        for load in LOADS:
            found = bands(part, load)
            assert set(METRICS) < set(found)
            assert all(0 < low <= 1 <= high for low, high in found.values())


KERNELS = "kernel-by-kernel"


def level(runs: int, *where: str, models: tuple[str, ...] = ()) -> Level:
    """A level that so many runs taught."""
    return Level(KERNELS, Where(*where), {}, runs, models)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([], "nothing"),
        ([level(9)], "nothing"),
        ([level(9), level(3, "sglang"), level(3, "", "cdna3"), level(3, "", "", "mi300x")], "nothing"),
        ([level(9), level(3, "vllm")], "relative"),
        ([level(9), level(3, "", "hopper")], "relative"),
        ([level(9), level(3, "vllm"), level(3, "", "hopper"), level(3, "", "", "h100-sxm")], "relative"),
        ([level(9), level(3, "vllm", "hopper")], "sibling"),
        ([level(9), level(3, "vllm", "hopper"), level(3, "", "", "h200-sxm")], "sibling"),
        ([level(9), level(3, "vllm", "hopper"), level(0, "", "", "h100-sxm")], "sibling"),
        ([level(9), level(3, "vllm", "hopper"), level(1, "", "", "h100-sxm")], "chip"),
        ([level(9), level(TAUGHT, "vllm", "hopper", "", "2026Q1"), level(1, "", "", "h100-sxm")], "chip"),
        ([level(9), level(1, "vllm", "", "h100-sxm")], "chip"),
        ([level(9), level(1, "vllm", "", "h100-sxm", "", "", "llama-3.1-8b", "bf16")], "nothing"),
        ([level(9), level(3, "vllm", "hopper", models=("llama-2-70b",)), level(1, "", "", "h100-sxm")], "model"),
        ([level(9), level(3, "vllm", "hopper", models=("gpt-oss-120b", "llama-2-70b")), level(1, "", "", "h100-sxm")], "model"),
        ([level(9), level(3, "vllm", "hopper", models=("llama-3.1-8b",)), level(1, "", "", "h100-sxm")], "chip"),
    ],
)
def test_what_is_known_are_levels_that_runs_taught(levels: list[Level], expected: str) -> None:
    """Of this engine on this chip, on its family, of either, or of neither."""
    model = "llama-3.1-8b" if any(each.models for each in levels) else ""
    assert known(Chip.load("h100-sxm"), Engine.load("vllm"), Calibration(tuple(levels)), model) == expected


def test_a_chip_that_its_owner_calibrated_is_known() -> None:
    """Under the engine that was measured, with any calibration."""
    chip = replace(Chip.load("h100-sxm"), name="mine", family="mine", calibration=({"engine": "generic", "runs": 2},))
    assert known(chip, Engine.load("generic"), Calibration()) == "chip"
    assert known(chip, Engine.load("vllm"), Calibration()) == "nothing"
    assert evidence_of(chip, Engine.load("generic")).label == "calibrated"


@pytest.mark.parametrize("what", KNOWN)
def test_the_label_follows_from_what_is_known(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted to runs of the engine on the chip or its family: calibrated; else the data sheet is what there is."""
    monkeypatch.setattr(evidence, "known", lambda *_, **__: what)
    found = evidence_of(Chip.load("h100-sxm"), Engine.load("vllm"))
    assert found.label == ("calibrated" if what in ("chip", "model", "sibling") else "spec-only")
    assert ("fitted to serving runs of this engine, and of this chip" in found.why) == (what in ("chip", "model"))


def test_without_an_engine_the_best_known_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the catalogue lists chips."""
    monkeypatch.setattr(
        evidence, "known", lambda chip, engine, model="": {"vllm": "sibling", "sglang": "relative"}.get(engine.name, "nothing")
    )
    assert evidence_of(Chip.load("h100-sxm")).label == "calibrated"
    assert evidence_of(Chip.load("h100-sxm"), Engine.load("sglang")).label == "spec-only"


def undisputed() -> Part:
    """A part of whose chip sources agree."""
    chip = Chip.load("h100-sxm")
    sure = replace(chip, peak={"bf16": Fact(1e15)}, memory=(replace(chip.memory[0], bandwidth=Fact(3e12)),))
    return resolve(Model.load("llama-3.1-8b"), sure, Engine.load("vllm"), Asked(tp=1))


def test_bands_fall_back_to_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As well known under the load, under any load, then less well known, its engine on its family first; at last what always holds."""
    part, here = undisputed(), Calibration((level(1, "vllm", "hopper"),))
    pairs = {"sibling": (("vllm", "hopper"), ANYONE), "relative": (ANYONE,), "nothing": (ANYONE,)}
    order = [(what, load, "tpot", pair) for what in pairs for load in ("open", ANY) for pair in pairs[what]]
    least = {("nothing", ANY, metric, ANYONE): (0.25, 4.0) for metric in METRICS}
    table = least | {key: (0.5, 2.0 + place) for place, key in enumerate(order)}
    table |= {("chip", "open", "tpot", ANYONE): (0.9, 1.1), ("sibling", "open", "tpot", ("sglang", "hopper")): (0.9, 1.15)}
    table |= {("sibling", "all at once", "tpot", ANYONE): (0.9, 1.2), ("sibling", "open", "ttft", ANYONE): (0.9, 1.3)}
    monkeypatch.setattr(evidence, "_table", lambda: {KERNELS: table})
    for key in order:
        assert bands(part, "open", here)["tpot"] == table[key]
        if key != ("nothing", ANY, "tpot", ANYONE):
            del table[key]
    assert bands(part, "open", here)["ttft"] == (0.9, 1.3)
    assert bands(part, "open", here)["e2e"] == (0.25, 4.0)


def test_what_is_known_and_the_load_choose_the_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a chip is known nothing is added for what sources disagree on."""
    chip, engine = Chip.load("h100-sxm"), Engine.load("vllm")
    plain = {("nothing", ANY, metric, ANYONE): (0.25, 4.0) for metric in METRICS}
    table = plain | {("chip", ANY, metric, ANYONE): (0.8, 1.25) for metric in METRICS} | {("chip", "open", "tpot", ANYONE): (0.9, 1.1)}
    monkeypatch.setattr(evidence, "_table", lambda: {KERNELS: table})
    peak = {"bf16": Fact(1e15, 0.5e15, 2e15)}
    part = resolve(Model.load("llama-3.1-8b"), replace(chip, peak=peak), engine, Asked(tp=1))
    here = Calibration((level(1, "vllm", "hopper"), level(1, "", "", "h100-sxm")))
    assert bands(part, "open", here)["tpot"] == (0.9, 1.1)
    assert bands(part, "all at once", here)["tpot"] == (0.8, 1.25)
    assert bands(part, "open", here)["cost_per_million_tokens"] == pytest.approx((0.8, 1.25))
    low, high = bands(part, "open", Calibration())["tpot"]
    assert low <= 0.125
    assert high >= 8.0


def drawn(**load: float) -> Workload:
    """A small workload."""
    return Workload.draw(50, 5, requests=2000, **load)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({}, "all at once"),
        ({"rate": 2.0}, "open"),
        ({"concurrency": 15}, "closed, light"),
        ({"concurrency": 16}, "closed, busy"),
        ({"concurrency": 127}, "closed, busy"),
        ({"concurrency": 128}, "closed, crowded"),
    ],
)
def test_loads_are_told_by_their_requests_on_a_chip(load: dict[str, float], expected: str) -> None:
    """Of all replicas; of what drafts and of what is apart that is said too."""
    model, chip = Model.load("llama-3.1-8b"), Chip.load("h100-sxm")
    part = resolve(model, chip, Engine.load("vllm"), Asked(tp=1, replicas=2))
    assert circumstances(drawn(**load), [part], stable=True) == expected
    assert circumstances(drawn(**load), [part], stable=False) == expected + ", unstable" * (expected == "open")
    drafting = resolve(model, chip, Engine.load("vllm"), Asked(tp=1, replicas=2, speculate="2:0.5"))
    assert circumstances(drawn(**load), [drafting], stable=True) == f"{expected}, speculation"
    apart = [resolve(model, chip, Engine.load("vllm"), Asked(tp=1, role=role)) for role in ("prefill", "decode")]
    assert circumstances(drawn(**load), apart, stable=True) == f"{expected}, disaggregated"


def test_bands_carry_what_sources_disagree_on() -> None:
    """A bandwidth that may be half as high makes times twice as long; a peak that may be a quarter higher shortens them."""
    chip = Chip.load("h100-sxm")
    sure = replace(chip, peak={"bf16": Fact(1e15)}, memory=(replace(chip.memory[0], bandwidth=Fact(3e12)),))
    doubted = replace(sure, peak={"bf16": Fact(1e15, 1e15, 1.25e15)}, memory=(replace(chip.memory[0], bandwidth=Fact(3e12, 1.5e12, 3e12)),))
    model, engine = Model.load("llama-3.1-8b"), Engine.load("generic")
    plain, wide = (bands(resolve(model, each, engine, Asked()), calibration=Calibration()) for each in (sure, doubted))
    assert wide["tpot"] == pytest.approx((plain["tpot"][0] / 1.25, plain["tpot"][1] * 2))
    low, high = plain["output_tokens_per_second"]
    assert wide["output_tokens_per_second"] == pytest.approx((low / 2, high * 1.25))


def test_of_several_parts_the_weakest_counts() -> None:
    """The reasons of the least sure are told, and each band is as wide as the widest."""
    asked = Asked(tp=8, token_budget=256)
    parts = [resolve(Model.load("llama-3.1-8b"), Chip.load(name), Engine.load("generic"), asked) for name in ("h100-sxm", "mi300x")]
    evidences = [evidence_of(part.chip, part.engine) for part in parts]
    label, widest = weakest(parts)
    assert label.label == max((each.label for each in evidences), key=("measured", "calibrated", "spec-only").index)
    assert all((each.why in label.why) == (each.label == label.label) for each in evidences)
    for part in parts:
        for metric, (low, high) in bands(part).items():
            assert widest[metric][0] <= low
            assert widest[metric][1] >= high
    assert weakest(parts[:1]) == (evidences[0], bands(parts[0]))
    assert weakest(parts[:1], "open")[1] == bands(parts[0], "open")
