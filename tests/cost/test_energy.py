"""Energy: a chip's power split into arithmetic, memory and waiting, with stand-ins for what its file does not say."""

from dataclasses import replace

import pytest

from assay._base.catalogue import names
from assay._base.facts import Fact
from assay.chips import Chip, Power
from assay.cost.constants import energy_constants
from assay.cost.energy import byte_joules, energy, provisioned_watts

GENERIC = energy_constants()


def powered(**watts: Fact[float]) -> Chip:
    """A chip that tells this of its power: 989 TFLOP/s at 16 bit, 3.35 TB/s."""
    return replace(Chip.load("h100-sxm"), power=Power(**watts))


def test_full_load_draws_the_design_power() -> None:
    """Arithmetic at peak, memory at full bandwidth and idle power together make the TDP."""
    chip = powered(tdp=Fact(700.0), idle=Fact(70.0))
    found = energy(chip)
    reading = 3.35e12 * byte_joules(chip.memory[0], chip)
    for rate, peak in chip.peak.items():
        assert found.flop[rate] * peak.value + reading + found.idle_watts == pytest.approx(700.0)


def test_arithmetic_keeps_a_share_of_the_power() -> None:
    """Where memory alone would draw more than the dynamic power, arithmetic still draws its least share."""
    found = energy(powered(tdp=Fact(150.0), idle=Fact(50.0)))
    assert found.flop["bf16"] * 989e12 == pytest.approx(100 * GENERIC["compute_share"])


def test_stand_ins_for_what_is_not_said() -> None:
    """Idle power is a share of TDP; without TDP the energy of arithmetic is generic and waiting is free unless idle power is known."""
    assert energy(powered(tdp=Fact(700.0))).idle_watts == pytest.approx(700 * GENERIC["idle_share"])
    silent = energy(powered())
    assert silent.idle_watts == 0
    assert silent.flop["bf16"] == GENERIC["flop"]
    assert silent.flop["fp8"] == GENERIC["flop"] / 2
    assert energy(powered(idle=Fact(33.0))).idle_watts == 33.0


def test_bytes_cost_by_the_kind_of_memory() -> None:
    """A tier's own figure wins, then on-chip memory is cheaper than stacked."""
    chip = Chip.load("h100-sxm")
    bare = replace(chip.memory[0], energy_per_byte=None)
    assert byte_joules(chip.memory[0], chip) == chip.memory[0].energy_per_byte.value
    assert byte_joules(bare, chip) == GENERIC["memory_byte"]
    assert byte_joules(replace(bare, name="SRAM"), chip) == byte_joules(bare, Chip.load("cerebras-wse3")) == GENERIC["sram_byte"]


def test_provisioned_power() -> None:
    """The all-in figure, else TDP times a typical ratio, else unknown."""
    assert provisioned_watts(powered(tdp=Fact(700.0), all_in=Fact(1730.0))) == 1730.0
    assert provisioned_watts(powered(tdp=Fact(700.0))) == pytest.approx(700 * GENERIC["all_in"])
    assert provisioned_watts(powered()) is None


@pytest.mark.parametrize("name", sorted(names("chips")))
def test_every_chip_has_an_energy(name: str) -> None:
    """Each operation and byte of each catalogue chip costs more than nothing, and less than a nanojoule."""
    chip = Chip.load(name)
    found = energy(chip)
    assert found.flop.keys() == chip.peak.keys()
    assert all(0 < joules < 1e-10 for joules in found.flop.values())
    assert all(0 < byte_joules(tier, chip) < 1e-9 for tier in chip.memory)
    assert 0 < found.link_byte < 1e-9
