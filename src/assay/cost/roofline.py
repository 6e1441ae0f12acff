"""Time of one op: the slower of its arithmetic and its memory traffic, plus what does not depend on the work."""

import math
from dataclasses import dataclass

import numpy as np

from assay.chips import Chip
from assay.cost.collectives import byte_seconds, fixed_seconds
from assay.cost.constants import Constants, Table
from assay.cost.residency import Residency
from assay.graph.op import Op, Reach, Routing
from assay.steptime import DECODE, MIXED, RESOURCES, Floats

_ALL = 1 - 1e-9  # of the experts: models whose tokens pick all of them divide by nothing
COMPUTE, MEMORY, NETWORK, LATENCY, HOST = range(len(RESOURCES))


@dataclass(frozen=True)
class Machine:
    """What times an op: a chip, what lies where in its memory, and the calibrated constants."""

    chip: Chip
    residency: Residency
    constants: Constants


def peak(chip: Chip, rate: str) -> float:
    """Peak FLOP/s of a rate key; one the chip does not list runs at the rate of its widest format, in proportion to the bits."""
    if rate in chip.peak:
        return chip.peak[rate].value
    widest = max(chip.peak, key=rate_bits)
    return chip.peak[widest].value * min(1.0, rate_bits(widest) / rate_bits(rate))


def rate_bits(rate: str) -> int:
    """Bits of a rate key's operands: 16, 8 or 4."""
    return 16 if rate.endswith("16") else 32 if rate.endswith("32") else int(rate[-1])


def compute_seconds(op: Op, machine: Machine, units: Floats) -> Floats:
    """FLOPs over the share of the peak that this kind of work reaches; shape of `units` (tokens or sampled sequences)."""
    if not op.flops:
        return np.zeros_like(units)
    shares = machine.constants.compute_share
    reached = shares["attention" if op.kind == "recurrence" else f"gemm{rate_bits(op.rate)}"]
    seconds = units * (op.flops / (peak(machine.chip, op.rate) * reached))
    if op.routing:
        seconds = seconds * padding(op.routing, machine.constants.experts, units) / shares["experts"]
    return seconds


def padding(routing: Routing, experts: Table, tokens: Floats) -> Floats:
    """Work of experts over that without padding: each expert that is picked has rows beside its own, at most as many as those."""
    own = tokens * routing.active / routing.total / np.maximum(touched(routing, tokens, experts["evenness"]), 1e-12)
    padded: Floats = 1.0 + np.minimum(1.0, experts["padding"] / np.maximum(own, 1e-12))
    return padded


def weights_read(op: Op, machine: Machine, units: Floats) -> Floats:
    """Bytes of weights that one rank reads: all of them, a table's rows not at all, experts as far as tokens touch them."""
    if op.kind == "gather":
        return np.zeros_like(units)
    if op.routing is None:
        return np.where(units > 0, op.weight_bytes, 0.0)
    return op.weight_bytes * touched(op.routing, units, machine.constants.experts["evenness"])


def touched(routing: Routing, tokens: Floats, evenness: float) -> Floats:
    """Share of experts that at least one of `tokens` picks.

    Some experts are picked more often than others: how often follows a gamma distribution of shape `evenness`, so that n tokens leave a
    share (1 + n / b)^-evenness of them unread, where b is such that one token leaves 1 - k/E. Without end it is (1 - k/E)^n, that of
    experts which are all picked alike.
    """
    missed = 1.0 - min(routing.active / routing.total, _ALL)
    share: Floats = 1.0 - (1.0 + tokens * (missed ** (-1.0 / evenness) - 1.0)) ** -evenness
    return share


def memory_seconds(op: Op, machine: Machine, units: Floats) -> Floats:
    """Bytes of weights and activations over the share of bandwidth that reads reach."""
    share, residency = machine.constants.bandwidth_share, machine.residency
    weights = weights_read(op, machine, units) * (residency.weight_second / share["experts" if op.kind == "experts" else "weights"])
    return weights + units * (op.activation_bytes * residency.activation_second / share["activations"])


def work_seconds(op: Op, machine: Machine, units: Floats) -> tuple[Floats, Floats]:
    """Seconds of one execution by what bounds it, (compute, memory); the busiest expert-parallel rank sets the time of experts."""
    compute, memory = compute_seconds(op, machine, units), memory_seconds(op, machine, units)
    busiest = machine.constants.experts["imbalance"] if op.routing and op.routing.local < op.routing.total else 1.0
    bound = compute >= memory
    return np.where(bound, compute, 0.0) * busiest, np.where(bound, 0.0, memory) * busiest


def network_seconds(op: Op, machine: Machine, units: Floats) -> Floats:
    """Seconds of a collective, nothing for other ops."""
    if op.exchange is None:
        return np.zeros_like(units)
    fixed, each = fixed_seconds(op.exchange, machine.chip, machine.constants), byte_seconds(op.exchange, machine.chip, machine.constants)
    return np.where(units > 0, fixed + units * each, 0.0)


def latency_seconds(op: Op, machine: Machine, kind: int) -> float:
    """Time of one execution that no work explains: kernel launches and the time of a layer, which grows with the root of its width.

    Its square root lies between what takes equally long in each layer and the ways through the arrays that hold one, which grow with it.
    """
    fixed = machine.constants.fixed
    launches = 0 if op.kind == "collective" else 2 if op.kind == "attention" and kind == MIXED else 1
    return launches * fixed["kernel" if kind == DECODE else "mixed_kernel"] + fixed["layer"] * math.sqrt(op.opens)


def decode_slope(reach: Reach, op: Op, machine: Machine, width: int = 1) -> tuple[float, float]:
    """Seconds per cached token of decode attention as (compute, memory): the larger counts, the other is 0.

    `width` queries of each sequence are answered with one reading of its cache.
    """
    constants = machine.constants
    compute = width * reach.decode_flops / (peak(machine.chip, op.rate) * constants.compute_share["attention"])
    memory = reach.reads * reach.cache_bytes * machine.residency.kv_second / constants.bandwidth_share["kv"]
    bound = compute >= memory
    return compute * bound, memory * (1 - bound)


def state_moved(op: Op, width: int = 1) -> float:
    """Bytes of state that an op reads and writes per sampled token: a sequence's is read once and written for each of its `width`."""
    return op.state_bytes * (1 + 1 / width)


def state_seconds(op: Op, machine: Machine, width: int = 1) -> float:
    """Seconds per sampled token that its share of the reading and writing of states takes."""
    return state_moved(op, width) * machine.residency.kv_second / machine.constants.bandwidth_share["kv"]


def prefill_slopes(reach: Reach, op: Op, machine: Machine) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds per pair and per re-read token of prefill attention, as two lines: arithmetic, and reading the cache."""
    constants = machine.constants
    rate = peak(machine.chip, op.rate)
    pairs = reach.prefill_flops / (rate * constants.compute_share["attention"])
    expand = reach.reread_flops / (rate * constants.compute_share["gemm16"])
    memory = reach.cache_bytes * machine.residency.kv_second / constants.bandwidth_share["kv"]
    return (pairs, expand), (0.0, memory)
