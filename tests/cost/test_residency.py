"""What lies where in the memory of a chip."""

from dataclasses import replace

import pytest

from assay._base.errors import CannotHold
from assay._base.facts import Fact
from assay.chips import Chip, Memory
from assay.cost.residency import Residency, place, stage_share, weight_bytes
from assay.deployments import Asked, Part, resolve
from assay.engines import Engine
from assay.graph import lower
from assay.models import Model

WEIGHTS = 16_060_522_496  # bytes of the small dense model used here, 16 bit
WORKSPACE = 8 * 2 * 4_096 * 1_024  # eight tensors of a thousand tokens


def tier(name: str, size: float, bandwidth: float, *holds: str) -> Memory:
    """A memory tier."""
    return Memory(name=name, bytes=Fact(size), bandwidth=Fact(bandwidth), holds=holds)


def part_on(*tiers: Memory, engine: str = "generic", **asked: object) -> Part:
    """The small dense model on a chip with these tiers, all of whose memory is used."""
    chip = replace(Chip.load("h100-sxm"), memory=tiers)
    limits = {"token_budget": 1024, "kv_memory_fraction": 1.0, **asked}
    return resolve(Model.load("llama-3.1-8b"), chip, Engine.load(engine), Asked(**limits))


def placed(part: Part) -> Residency:
    """Where everything of the part lies."""
    return place(part, lower(Model.load("llama-3.1-8b"), part), 4_096)


def test_one_tier_holds_everything() -> None:
    """Weights and workspace come first, the cache gets what is left."""
    found = placed(part_on(tier("HBM", 80e9, 3e12, "weights", "kv", "activations")))
    assert found.kv_bytes == pytest.approx(80e9 - WEIGHTS - WORKSPACE)
    assert found.weight_second == found.kv_second == found.activation_second == 1 / 3e12
    assert (found.spill_after, found.spill_second) == (float("inf"), 0.0)


def test_weights_spread_over_tiers_fastest_first() -> None:
    """Weights that a fast tier cannot hold are read from the next; the time per byte is the mean over where they lie."""
    fast, slow = tier("SRAM", 4e9, 4e13, "weights"), tier("HBM", 80e9, 4e12, "weights", "kv", "activations")
    found = placed(part_on(fast, slow))
    assert [(where.name, share) for where, share in found.weight_tiers] == [
        ("SRAM", pytest.approx(4e9 / WEIGHTS)),
        ("HBM", pytest.approx(1 - 4e9 / WEIGHTS)),
    ]
    assert found.weight_second == pytest.approx((4e9 / 4e13 + (WEIGHTS - 4e9) / 4e12) / WEIGHTS)
    assert found.kv_tier.name == found.activation_tier.name == "HBM"


def test_cache_spills_into_a_second_tier() -> None:
    """The first tier's rest is read at its speed, each byte beyond it at the second's."""
    fast, slow = tier("HBM", 40e9, 4e12, "weights", "kv", "activations"), tier("DDR", 100e9, 4e11, "kv")
    found = placed(part_on(fast, slow))
    assert found.spill_after == pytest.approx(40e9 - WEIGHTS - WORKSPACE)
    assert found.kv_bytes == pytest.approx(found.spill_after + 100e9)
    assert found.kv_second == 1 / 4e12
    assert found.spill_second == pytest.approx(1 / 4e11 - 1 / 4e12)


def test_usable_and_fraction_cut_the_room() -> None:
    """A tier's usable share, and the engine's fraction of all memory or of what weights and its own buffers leave."""
    whole = tier("HBM", 80e9, 3e12, "weights", "kv", "activations")
    usable = replace(whole, usable=Fact(0.5))
    assert placed(part_on(usable)).kv_bytes == pytest.approx(40e9 - WEIGHTS - WORKSPACE)
    assert placed(part_on(whole, kv_memory_fraction=0.5)).kv_bytes == pytest.approx(40e9 - WEIGHTS - WORKSPACE)
    of_free = placed(part_on(whole, engine="tensorrt-llm", kv_memory_fraction=0.5))
    beside = Engine.load("tensorrt-llm").defaults.overhead.value
    assert beside > 0
    assert of_free.kv_bytes == pytest.approx((80e9 - WEIGHTS - WORKSPACE - beside) / 2)


def test_what_does_not_fit_says_by_how_much() -> None:
    """The message names the layout, the chip, what is short and three remedies."""
    with pytest.raises(CannotHold) as caught:
        placed(part_on(tier("HBM", 10e9, 3e12, "weights", "kv", "activations")))
    for text in ("--tp 1 --pp 1 on h100-sxm", "weights take 16.1 GB a chip of 10.0 GB", "6.1 GB short", "Use more chips", "--weights"):
        assert text in str(caught.value)


def test_no_room_for_cache_is_said() -> None:
    """Weights that leave nothing for the cache are refused as well."""
    with pytest.raises(CannotHold, match="no room is left for the KV cache"):
        placed(part_on(tier("HBM", 80e9, 3e12, "weights", "activations"), tier("DDR", 0.5, 1e11, "kv")))


def test_stages_hold_whole_layers() -> None:
    """Thirty-two layers over three stages: the fullest has eleven; embedding and head are shared out."""
    assert [stage_share(32, stages) for stages in (1, 3, 32)] == [1.0, 11 / 32, 1 / 32]
    part = part_on(tier("HBM", 80e9, 3e12, "weights", "kv", "activations"), pp=3)
    rest = 2 * (2 * 128_256 * 4_096 + 4_096)
    expected = (WEIGHTS - rest) * 11 / 32 + rest / 3
    assert weight_bytes(part, lower(Model.load("llama-3.1-8b"), part)) == pytest.approx(expected)


def test_weights_leave_room_for_cache_where_slower_memory_takes_them() -> None:
    """Weights as large as the only tier that may hold cache: a tenth of it is left, the rest of the weights goes to slower memory."""
    found = placed(part_on(tier("HBM", WEIGHTS, 3e12, "weights", "kv", "activations"), tier("DDR", 100e9, 1e11, "weights")))
    assert found.kv_bytes == pytest.approx((WEIGHTS - WORKSPACE) / 10)
    shares = {each.name: share * WEIGHTS for each, share in found.weight_tiers}
    assert shares["HBM"] + shares["DDR"] == pytest.approx(WEIGHTS)
    assert shares["HBM"] == pytest.approx((WEIGHTS - WORKSPACE) * 0.9)
