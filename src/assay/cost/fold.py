"""From the ops of a step to a StepTime: each op timed over all sizes of step, summed, and shared out over pipeline stages."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from assay.cost.collectives import sent_bytes
from assay.cost.constants import Constants, constants
from assay.cost.energy import Energy, byte_joules, energy
from assay.cost.residency import place, stage_share
from assay.cost.roofline import (
    COMPUTE,
    HOST,
    LATENCY,
    MEMORY,
    NETWORK,
    Machine,
    decode_slope,
    latency_seconds,
    network_seconds,
    prefill_slopes,
    rate_bits,
    weights_read,
    work_seconds,
)
from assay.deployments import Part
from assay.graph import lower
from assay.graph.op import SAMPLED, Op
from assay.models import Model
from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Floats, StepTime


def fold(model: Model, part: Part) -> tuple[StepTime, Machine]:
    """Time and energy of every step of one replica, and the machine that gave them.

    Raises CannotHold when weights and cache do not fit the chips of a replica or no link joins them.
    """
    ops = lower(model, part)
    machine = assemble(model, part, ops)
    reaches = tuple(sorted({op.reach.window for op in ops if op.reach}))
    depth, stages = model.architecture.depth, part.pp
    sequences = part.max_num_seqs * part.dp
    sizes = _Sizes(np.arange(max(part.token_budget, sequences) + 1.0), np.arange(sequences + 1.0), reaches)
    interval, latency, joules = _Sum(sizes), _Sum(sizes), _Sum(sizes)
    power = energy(part.chip)
    for op in ops:
        _add_seconds(op, machine, sizes, ((interval, 1 / stages if op.once else stage_share(depth, stages)), (latency, 1.0)))
        _add_joules(op, machine, power, joules, part.tp)
    for total in (interval, latency):
        _add_host(total, part, machine.constants)
    residency, share = machine.residency, stage_share(depth, stages) / part.dp  # of the replica's cache, on a rank of the fullest stage
    spill = residency.spill_second / machine.constants.bandwidth_share["kv"] * share
    return StepTime(
        interval.curve(), latency.curve(), joules.curve(), power.idle_watts * part.chips, reaches, stages,
        residency.spill_after / share, spill,
    ), machine  # fmt: skip


def assemble(model: Model, part: Part, ops: Iterable[Op]) -> Machine:
    """The machine that times the ops of a part: weights and cache laid into the memory of its chips."""
    residency = place(part, ops, model.architecture.hidden)
    return Machine(part.chip, residency, constants(part.chip.execution))


@dataclass(frozen=True)
class _Sizes:
    """The step sizes that are tabulated."""

    tokens: Floats
    sampled: Floats
    reaches: tuple[int, ...]


@dataclass
class _Sum:
    """Arrays of a Curve while ops are added."""

    sizes: _Sizes
    tokens: Floats = field(init=False)
    sampled: Floats = field(init=False)
    decode: Floats = field(init=False)
    prefill: Floats = field(init=False)

    def __post_init__(self) -> None:
        kinds, resources, reaches = 2, len(RESOURCES), len(self.sizes.reaches)
        self.tokens = np.zeros((kinds, resources, len(self.sizes.tokens)))
        self.sampled = np.zeros((resources, len(self.sizes.sampled)))
        self.decode = np.zeros((reaches, resources))
        self.prefill = np.zeros((reaches, 2, 2))

    def curve(self) -> Curve:
        """The finished curve; its prefill lines are arithmetic and memory."""
        return Curve(self.tokens, self.sampled, self.decode, self.prefill, (COMPUTE, MEMORY))


def _add_seconds(op: Op, machine: Machine, sizes: _Sizes, targets: Iterable[tuple[_Sum, float]]) -> None:
    units = sizes.sampled if op.driver == SAMPLED else sizes.tokens
    compute, memory = work_seconds(op, machine, units)
    network = network_seconds(op, machine, units)
    for total, share in targets:
        count = op.count * share
        for kind in (DECODE, MIXED):
            rows = total.sampled if op.driver == SAMPLED else total.tokens[kind]
            if op.driver == SAMPLED and kind == MIXED:
                continue
            rows[COMPUTE] += count * compute
            rows[MEMORY] += count * memory
            rows[NETWORK] += count * network
            rows[LATENCY, 1:] += count * latency_seconds(op, machine, kind)
        _add_attention(op, machine, total, count)


def _add_attention(op: Op, machine: Machine, total: _Sum, count: float) -> None:
    if op.reach is None:
        return
    row = total.sizes.reaches.index(op.reach.window)
    compute, memory = decode_slope(op.reach, op, machine)
    total.decode[row, COMPUTE] += count * compute
    total.decode[row, MEMORY] += count * memory
    total.prefill[row] += count * np.array(prefill_slopes(op.reach, op, machine))


def _add_host(total: _Sum, part: Part, constants: Constants) -> None:
    """Host time between steps: the engine's own figure where its file gives one."""
    engine, resident = part.engine, part.chip.resident
    step = engine.host_step.value if engine.host_step and not resident else constants.host["step"]
    sequence = engine.host_sequence.value if engine.host_sequence and not resident else constants.host["sequence"]
    total.tokens[:, HOST, 1:] += step
    total.sampled[HOST] += sequence * total.sizes.sampled


def _add_joules(op: Op, machine: Machine, power: Energy, total: _Sum, ranks: int) -> None:
    """Energy above idle of all ranks of all stages that run the op; kinds do not differ."""
    residency, chip = machine.residency, machine.chip
    units = total.sizes.sampled if op.driver == SAMPLED else total.sizes.tokens
    each_flop = power.flop.get(op.rate) or max(power.flop.values()) * 16 / rate_bits(max(power.flop, key=rate_bits))
    weight_byte = sum(share * byte_joules(tier, chip) for tier, share in residency.weight_tiers)
    joules = weights_read(op, units) * weight_byte
    joules += units * (op.flops * each_flop + op.activation_bytes * byte_joules(residency.activation_tier, chip))
    if op.exchange:
        joules += units * sent_bytes(op.exchange) * power.link_byte
    rows = total.sampled[:1] if op.driver == SAMPLED else total.tokens[:, 0]
    rows += op.count * ranks * joules
    if op.reach:
        row = total.sizes.reaches.index(op.reach.window)
        cached = op.reach.cache_bytes * byte_joules(residency.kv_tier, chip)
        total.decode[row, 0] += op.count * ranks * (op.reach.decode_flops * each_flop + cached)
        total.prefill[row, 0] += (
            op.count * ranks * np.array([op.reach.prefill_flops * each_flop, op.reach.reread_flops * each_flop + cached])
        )
