"""How far predictions can be trusted."""

from dataclasses import replace

import pytest

from assay._base.catalogue import names
from assay._base.facts import Fact
from assay.chips import Chip, Power
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.evidence import bands, evidence_of, weakest

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
    found = bands(part, evidence_of(chip))
    assert {"output_tokens_per_second", "cost_per_million_tokens", "joules_per_token"} <= found.keys()
    assert all(0 < low <= 1 <= high for low, high in found.values())
    low, high = found["output_tokens_per_second"]
    assert found["cost_per_million_tokens"] == found["joules_per_token"] == (1 / high, 1 / low)


def test_bands_carry_what_sources_disagree_on() -> None:
    """A bandwidth that may be half as high makes times twice as long; a peak that may be a quarter higher shortens them."""
    chip = Chip.load("h100-sxm")
    sure = replace(chip, peak={"bf16": Fact(1e15)}, memory=(replace(chip.memory[0], bandwidth=Fact(3e12)),))
    doubted = replace(sure, peak={"bf16": Fact(1e15, 1e15, 1.25e15)}, memory=(replace(chip.memory[0], bandwidth=Fact(3e12, 1.5e12, 3e12)),))
    model, engine = Model.load("llama-3.1-8b"), Engine.load("generic")
    plain, wide = (bands(resolve(model, each, engine, Asked()), evidence_of(each)) for each in (sure, doubted))
    assert wide["tpot"] == pytest.approx((plain["tpot"][0] / 1.25, plain["tpot"][1] * 2))
    low, high = plain["output_tokens_per_second"]
    assert wide["output_tokens_per_second"] == pytest.approx((low / 2, high * 1.25))


def test_of_several_parts_the_weakest_counts() -> None:
    """The reasons of both chips are told, and each band is as wide as the wider."""
    asked = Asked(tp=8, token_budget=256)
    parts = [resolve(Model.load("llama-3.1-8b"), Chip.load(name), Engine.load("generic"), asked) for name in ("h100-sxm", "mi300x")]
    label, widest = weakest(parts)
    assert label.label == "spec-only"
    assert all(evidence_of(part.chip).why in label.why for part in parts)
    for part in parts:
        for metric, (low, high) in bands(part, evidence_of(part.chip)).items():
            assert widest[metric][0] <= low
            assert widest[metric][1] >= high
    assert weakest(parts[:1]) == (evidence_of(parts[0].chip), bands(parts[0], evidence_of(parts[0].chip)))
