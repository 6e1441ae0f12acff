"""What is tried: every plant fits, what is asked holds, and where nothing fits the reason says what would help."""

from contextlib import suppress
from dataclasses import replace
from math import ceil

import pytest

from assay._base.catalogue import names
from assay._base.errors import CannotHold, InputError
from assay._base.facts import Fact
from assay.chips import Chip
from assay.deployments import Asked, check_layout
from assay.engines import Engine, for_family
from assay.models import Model
from assay.search.candidates import CHUNKS, WIDER, find, smallest
from assay.search.estimate import prompt_latency
from assay.search.plant import Plant, build

SMALL = Asked(token_budget=256, max_num_seqs=32)  # small tables: quick


def fits(plant: Plant) -> bool:
    """Whether the layout divides and the memory holds a block of cache beside the weights."""
    check_layout(plant.model, plant.part)
    return 0 < plant.policy.footprint(1) <= plant.policy.kv_capacity


@pytest.mark.parametrize("chip", sorted(names("chips")))
@pytest.mark.parametrize("model", ["llama-3.1-8b", "gpt-oss-120b", "deepseek-r1"])
def test_every_plant_fits(model: str, chip: str) -> None:
    """Each has a replica of whole chips that divides the model and has room, under an engine that runs there; or there is a reason."""
    found = find(Model.load(model), Chip.load(chip), SMALL)
    assert all(fits(plant) for plant in found.plants)
    assert all(plant.part.engine.runs(plant.part.chip.family) for plant in found.plants)
    assert (found.why_not is None) == bool(found.plants)
    if found.why_not:
        assert chip in found.why_not


@pytest.mark.parametrize("asked", [SMALL, Asked(tp=2), Asked(engine="vllm")])
def test_a_chip_without_numbers_has_no_plant(asked: Asked) -> None:
    """Whatever is asked, the reason is that nothing is published; where one plant is wanted its file is named."""
    model, chip = Model.load("llama-3.1-8b"), Chip.load("openai-titan")
    found = find(model, chip, asked)
    assert found.plants == ()
    assert "published no numbers" in (found.why_not or "")
    with pytest.raises(InputError, match=r"openai-titan\.toml: unpublished"):
        smallest(model, chip, Engine.load("generic"), asked)


@pytest.mark.parametrize("chip", ["h100-sxm", "mi300x", "cerebras-wse3"])
def test_no_plant_stands_twice(chip: str) -> None:
    """Under one engine no two candidates are alike."""
    parts = [str(plant.part.to_dict()) for plant in find(Model.load("gpt-oss-120b"), Chip.load(chip), SMALL).plants]
    assert len(parts) == len(set(parts))


@pytest.mark.parametrize("chip", ["h100-sxm", "groq-lpu-v1", "cerebras-wse3"])
def test_what_is_asked_holds(chip: str) -> None:
    """Precisions, limits and engine come through to every candidate."""
    wanted = {
        "engine": "generic",
        "replicas": 3,
        "weights": "int8",
        "kv": "fp8",
        "max_num_seqs": 16,
        "token_budget": 96,
        "block_size": 8,
        "kv_memory_fraction": 0.7,
        "prefix_cache": False,
    }
    plants = find(Model.load("llama-3.1-8b"), Chip.load(chip), Asked(**wanted)).plants
    assert plants
    for plant in plants:
        assert {key: plant.part.to_dict()[key] for key in wanted} == wanted


def test_a_layout_that_is_asked_is_the_only_one() -> None:
    """Any of tp, pp, dp and ep given means that layout, once per engine and precision."""
    found = find(Model.load("deepseek-r1"), Chip.load("b200-sxm"), replace(SMALL, tp=8, ep=8, dp=4))
    assert {(plant.part.tp, plant.part.pp, plant.part.dp, plant.part.ep) for plant in found.plants} == {(8, 1, 4, 8)}
    assert len({plant.part.engine.name for plant in found.plants}) == len(found.plants)


def test_an_asked_layout_that_lacks_room_is_a_reason() -> None:
    """A chip that cannot hold the model as asked is told of like any other on which nothing fits."""
    found = find(Model.load("llama-3.1-405b"), Chip.load("h100-sxm"), replace(SMALL, tp=1))
    assert found.plants == ()
    assert "--tp 1 --pp 1 on h100-sxm" in found.why_not


def test_where_nothing_fits_the_reason_names_chip_and_remedy() -> None:
    """The widest layout that lacked room says how much, and what would help."""
    chip = Chip.load("h100-sxm")
    tiny = replace(chip, name="tiny", memory=tuple(replace(tier, bytes=Fact(1e8)) for tier in chip.memory))
    found = find(Model.load("llama-3.1-405b"), tiny, SMALL)
    assert found.plants == ()
    for text in ("on tiny", "short", "Use more chips", "--weights"):
        assert text in found.why_not


def test_a_precision_that_does_not_exist_is_refused() -> None:
    """A misspelt precision is bad input, not a reason why a chip does not fit."""
    for flag in ("weights", "activations", "kv"):
        with pytest.raises(InputError, match=f"--{flag}: 'fp99' is not a known precision"):
            find(Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), Asked(**{flag: "fp99"}))


def test_engines_of_the_family_are_tried() -> None:
    """All that name the family; the plain one where none does; only the one that is asked."""
    model = Model.load("llama-3.1-8b")
    by_chip = {
        chip: {plant.part.engine.name for plant in find(model, Chip.load(chip), SMALL).plants} for chip in ("h100-sxm", "groq-lpu-v1")
    }
    assert by_chip["h100-sxm"] == {engine.name for engine in for_family("hopper")} > {"vllm"}
    assert by_chip["groq-lpu-v1"] == {"generic"}
    asked = find(model, Chip.load("h100-sxm"), replace(SMALL, engine="sglang"))
    assert {plant.part.engine.name for plant in asked.plants} == {"sglang"}


def test_a_16_bit_checkpoint_is_tried_in_8_bit_too() -> None:
    """In the 8-bit format that chip and engine have; a checkpoint that is narrow already stays as it is."""
    dense = {plant.part.weights.name for plant in find(Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), SMALL).plants}
    assert dense == {"bf16", "fp8"}
    assert {plant.part.weights.name for plant in find(Model.load("llama-3.1-8b"), Chip.load("groq-lpu-v1"), SMALL).plants} == {
        "bf16",
        "int8",
    }
    assert {plant.part.weights.name for plant in find(Model.load("gpt-oss-120b"), Chip.load("h100-sxm"), SMALL).plants} == {"mxfp4"}


def test_groups_stay_within_reason() -> None:
    """Tensor-parallel groups stay inside the nearest link and within sixteen times the narrowest that fits."""
    for name in ("h100-sxm", "gb200-nvl72", "trainium2"):
        chip = Chip.load(name)
        plants = find(Model.load("llama-3.1-8b"), chip, replace(SMALL, engine=for_family(chip.family)[0].name)).plants
        widths = [plant.part.tp for plant in plants]
        assert max(widths) <= min(chip.links[0].size.value, WIDER * min(widths))


def test_pipelines_are_made_of_whole_layers() -> None:
    """On a resident pipeline no fuller stage could do with fewer stages, and none has less room than the fewest that fit."""
    model = Model.load("llama-3.1-8b")
    plants = find(model, Chip.load("groq-lpu-v1"), SMALL).plants
    assert plants
    for plant in plants:
        layers = ceil(model.layers / plant.part.pp)
        assert ceil(model.layers / layers) == plant.part.pp


def test_the_chunk_is_the_quickest_for_a_prompt() -> None:
    """Where no budget is asked, a resident pipeline's candidate has the prefill chunk that passes a typical prompt soonest."""
    model = Model.load("llama-3.1-8b")
    plants = [plant for plant in find(model, Chip.load("groq-lpu-v1"), Asked(max_num_seqs=32)).plants if plant.part.pp > 1][:3]
    for plant in plants:
        assert plant.part.token_budget in CHUNKS
        others = []
        for chunk in CHUNKS:
            with suppress(CannotHold):  # the activations of a long chunk may leave no room
                others.append(prompt_latency(build(model, replace(plant.part, token_budget=chunk)), 1024))
        assert prompt_latency(plant, 1024) == min(others)


@pytest.mark.parametrize(("model", "chip"), [("llama-3.1-8b", "h100-sxm"), ("llama-3.1-70b", "h100-sxm"), ("llama-3.1-8b", "groq-lpu-v1")])
def test_smallest_is_the_smallest(model: str, chip: str) -> None:
    """No candidate under the same engine and precision has fewer chips."""
    engine = for_family(Chip.load(chip).family)[0]
    least = smallest(Model.load(model), Chip.load(chip), engine, SMALL)
    found = find(Model.load(model), Chip.load(chip), replace(SMALL, engine=engine.name)).plants
    same = [plant.part.chips for plant in found if plant.part.weights == least.part.weights]
    assert least.part.chips == min(same)
    assert fits(least)


def test_smallest_says_why_there_is_none() -> None:
    """Where nothing fits it raises the reason."""
    chip = Chip.load("h100-sxm")
    tiny = replace(chip, name="tiny", memory=tuple(replace(tier, bytes=Fact(1e8)) for tier in chip.memory))
    with pytest.raises(CannotHold, match="on tiny"):
        smallest(Model.load("llama-3.1-405b"), tiny, Engine.load("vllm"), SMALL)
