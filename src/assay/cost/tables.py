"""Sums of ops over all sizes of step, while they are folded: seconds or joules by what drives each op."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from assay.cost.collectives import sent_bytes
from assay.cost.energy import Energy, byte_joules
from assay.cost.roofline import (
    COMPUTE,
    LATENCY,
    MEMORY,
    NETWORK,
    Machine,
    decode_slope,
    latency_seconds,
    network_seconds,
    prefill_slopes,
    rate_bits,
    state_moved,
    state_seconds,
    weights_read,
    work_seconds,
)
from assay.graph.op import SAMPLED, Op
from assay.steptime import RESOURCES, Floats


@dataclass(frozen=True)
class Sizes:
    """What is tabulated: up to `tokens` and `samples` of each of `ranks` attention ranks, of `width` tokens per decoding sequence."""

    tokens: int
    samples: int
    ranks: int
    width: int
    reaches: tuple[int, ...]

    def units(self, op: Op) -> Floats:
        """Units of the op's driver by index of its table."""
        if op.driver == SAMPLED:
            return self.samples_of_all
        return np.arange((1 if op.own else self.ranks) * self.tokens + 1.0)

    @property
    def samples_of_all(self) -> Floats:
        """Samples of all ranks by those of one, as if each other rank had as many."""
        return self.ranks * self.samples_of_one

    @property
    def samples_of_one(self) -> Floats:
        """Samples of one rank."""
        return np.arange(self.samples + 1.0)


@dataclass
class Sum:
    """Arrays of a Curve while ops are added; a rank that is alone has everything in its own tables."""

    sizes: Sizes
    tokens: Floats = field(init=False)
    joint: Floats = field(init=False)
    sampled: Floats = field(init=False)
    decode: Floats = field(init=False)
    prefill: Floats = field(init=False)

    def __post_init__(self) -> None:
        kinds, resources, reaches, ranks = 2, len(RESOURCES), len(self.sizes.reaches), self.sizes.ranks
        self.tokens = np.zeros((kinds, resources, self.sizes.tokens + 1))
        self.joint = np.zeros((kinds, resources, ranks * self.sizes.tokens + 1 if ranks > 1 else 0))
        self.sampled = np.zeros((resources, self.sizes.samples + 1))
        self.decode = np.zeros((reaches, resources))
        self.prefill = np.zeros((reaches, 2, 2))

    @property
    def shared(self) -> Floats:
        """The table, by kind, of what happens once for all ranks."""
        return self.joint if self.sizes.ranks > 1 else self.tokens

    def rows(self, op: Op) -> Iterable[Floats]:
        """The tables (R, units) of the op's driver by kind of step; sampling does not differ by kind."""
        return [self.sampled] if op.driver == SAMPLED else self.tokens if op.own else self.shared


def add_seconds(op: Op, machine: Machine, targets: Iterable[tuple[Sum, float]]) -> None:
    """Add the time of all executions of an op, or a share of it, to each target of like sizes."""
    (first, _), *_ = targets = tuple(targets)
    units = first.sizes.units(op)
    compute, memory = work_seconds(op, machine, units)
    network = network_seconds(op, machine, units)
    for total, share in targets:
        count = op.count * share
        for kind, rows in enumerate(total.rows(op)):
            rows[COMPUTE] += count * compute
            rows[MEMORY] += count * memory
            rows[NETWORK] += count * network
            rows[LATENCY, 1:] += count * latency_seconds(op, machine, kind)
        _add_attention(op, machine, total, count)
        total.sampled[MEMORY] += count * state_seconds(op, machine, total.sizes.width) * total.sizes.samples_of_one


def _add_attention(op: Op, machine: Machine, total: Sum, count: float) -> None:
    if op.reach is None:
        return
    row = total.sizes.reaches.index(op.reach.window)
    compute, memory = decode_slope(op.reach, op, machine, total.sizes.width)
    total.decode[row, COMPUTE] += count * compute
    total.decode[row, MEMORY] += count * memory
    total.prefill[row] += count * np.array(prefill_slopes(op.reach, op, machine))


def add_joules(op: Op, machine: Machine, power: Energy, total: Sum, tp: int) -> None:
    """Add the energy above idle of all chips of all stages that run the op; kinds do not differ.

    Attention ranks split the `tp` chips of a stage: what each does alone costs the energy of its own chips.
    """
    residency, chip, sizes = machine.residency, machine.chip, total.sizes
    units = sizes.units(op)
    chips = tp // sizes.ranks if op.own or op.driver == SAMPLED else tp
    each_flop = power.flop.get(op.rate) or max(power.flop.values()) * 16 / rate_bits(max(power.flop, key=rate_bits))
    weight_byte = sum(share * byte_joules(tier, chip) for tier, share in residency.weight_tiers)
    joules = weights_read(op, machine, units) * weight_byte
    joules += units * (op.flops * each_flop + op.activation_bytes * byte_joules(residency.activation_tier, chip))
    if op.exchange:
        joules += units * sent_bytes(op.exchange) * power.link_byte
    for rows in total.rows(op):
        rows[COMPUTE] += op.count * chips * joules
    state = state_moved(op, sizes.width) * byte_joules(residency.kv_tier, chip)
    total.sampled[COMPUTE] += op.count * chips * state * sizes.samples_of_one
    if op.reach:
        row = sizes.reaches.index(op.reach.window)
        cached = op.reach.cache_bytes * byte_joules(residency.kv_tier, chip)
        total.decode[row, COMPUTE] += op.count * chips * (sizes.width * op.reach.decode_flops * each_flop + op.reach.reads * cached)
        total.prefill[row, 0] += (
            op.count * chips * np.array([op.reach.prefill_flops * each_flop, op.reach.reread_flops * each_flop + cached])
        )
