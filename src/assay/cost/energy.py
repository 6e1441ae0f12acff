"""Energy of work and of waiting: joules per FLOP and byte from a chip's power figures, generic constants where it gives none."""

from dataclasses import dataclass

from assay.chips import Chip, Memory
from assay.cost.constants import energy_constants


@dataclass(frozen=True)
class Energy:
    """Joules of one chip: per FLOP at 16 bit by rate key, per byte sent, and watts that it draws when it waits."""

    flop: dict[str, float]
    link_byte: float
    idle_watts: float


def energy(chip: Chip) -> Energy:
    """Split a chip's dynamic power (TDP less idle) at full load between reading all of its memory tiers and arithmetic.

    A chip without TDP gets the generic energy per FLOP, narrower formats in proportion to their bits, and no idle power.
    """
    generic = energy_constants()
    if chip.power.tdp is None:
        flops = {rate: generic["flop"] * _bits(rate) / 16 for rate in chip.peak}
        return Energy(flops, generic["link_byte"], chip.power.idle.value if chip.power.idle else 0.0)
    tdp = chip.power.tdp.value
    idle = chip.power.idle.value if chip.power.idle else generic["idle_share"] * tdp
    dynamic = tdp - idle
    reading = sum(byte_joules(tier, chip) * tier.bandwidth.value for tier in chip.memory)
    arithmetic = max(dynamic - reading, generic["compute_share"] * dynamic)
    return Energy({rate: arithmetic / peak.value for rate, peak in chip.peak.items()}, generic["link_byte"], idle)


def byte_joules(tier: Memory, chip: Chip) -> float:
    """Joules to read a byte of a tier: its own figure, else the generic one of on-chip or stacked memory."""
    if tier.energy_per_byte:
        return tier.energy_per_byte.value
    on_chip = chip.resident or "sram" in tier.name.lower()
    return energy_constants()["sram_byte" if on_chip else "memory_byte"]


def provisioned_watts(chip: Chip) -> float | None:
    """All-in watts per chip that a site must provide; from TDP and a typical ratio when the chip file gives no all-in figure."""
    if chip.power.all_in:
        return chip.power.all_in.value
    return chip.power.tdp.value * energy_constants()["all_in"] if chip.power.tdp else None


def _bits(rate: str) -> int:
    return 16 if rate.endswith("16") else int(rate[-1])
