"""One step taken apart: the time, work and bound of each op."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.cost.collectives import sent_bytes
from assay.cost.roofline import (
    Machine,
    decode_slope,
    latency_seconds,
    network_seconds,
    prefill_slopes,
    state_moved,
    state_seconds,
    weights_read,
    work_seconds,
)
from assay.graph.op import SAMPLED, Op
from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Floats, Step, StepTime, split, together, total


@dataclass(frozen=True)
class OpTime:
    """All executions of one op in a step: seconds, FLOPs and bytes of one chip, and what bounds it."""

    name: str
    seconds: float
    flops: float
    bytes: float
    bound: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Explained:
    """A step: seconds until the next may start, seconds until its tokens exist, joules of all chips, shares of time, and its ops."""

    seconds: float
    latency: float
    joules: float
    bottleneck: dict[str, float]
    ops: tuple[OpTime, ...]


@dataclass(frozen=True)
class Load:
    """One step: `prefill` tokens of one prompt from its start, and `decode` sequences of `context` tokens each."""

    prefill: int
    decode: int
    context: int

    def tokens(self, width: int) -> int:
        """Tokens of the step with `width` of each decoding sequence."""
        return self.prefill + self.decode * width

    def sampled(self, width: int) -> int:
        """Places whose logits are wanted."""
        return self.decode * width + (self.prefill > 0)

    def step(self, reaches: Iterable[int], width: int = 1) -> Step:
        """The step as StepTime counts it."""
        reaches = tuple(reaches)
        decode = [float(self.decode * _within(self.context, reach)) for reach in reaches]
        pairs = [_pairs(self.prefill, reach) for reach in reaches]
        kind, drafting = MIXED if self.prefill else DECODE, self.decode if width > 1 else 0
        return Step(kind, self.tokens(width), self.sampled(width), decode, pairs, [0.0] * len(reaches), drafting)

    def spread(self, ranks: int) -> list["Load"]:
        """What each attention rank does of it, the busiest first: it has the prompt, and sequences are spread evenly."""
        each, more = divmod(self.decode, ranks)
        return [Load(0 if rank else self.prefill, each + (rank < more), self.context) for rank in range(ranks)]


def explain(machine: Machine, ops: Iterable[Op], times: StepTime, load: Load) -> Explained:
    """The whole step and each of its ops on the busiest attention rank; host time, which belongs to no op, is its last entry."""
    steps = [part.step(times.reaches, times.width) for part in load.spread(times.ranks)]
    kind, tokens = steps[0].kind, load.tokens(times.width)
    seconds, latency = (total(curve, steps[0]) + together(curve, kind, tokens) for curve in (times.interval, times.latency))
    by_resource = _split(times.latency, steps[0], tokens)
    found = [_time(op, machine, load, times) for op in ops]
    host = float(by_resource[RESOURCES.index("host")])
    joules = sum(total(times.joules, step) for step in steps) + together(times.joules, kind, tokens) + times.idle_watts * seconds
    shares = {name: float(part / latency) for name, part in zip(RESOURCES, by_resource, strict=True)}
    return Explained(seconds, latency, joules, shares, (*found, OpTime("host", host, 0.0, 0.0, "host")))


def _split(curve: Curve, step: Step, tokens: int) -> Floats:
    """Time by resource of the busiest rank's step, with what all ranks do together on `tokens`."""
    seconds = split(curve, step)
    return seconds + curve.joint[step.kind, :, tokens] if curve.joint.size else seconds


def _units(op: Op, times: StepTime, load: Load) -> float:
    """Driver units of one execution, counted as the tables of StepTime count them."""
    rank = load.spread(times.ranks)[0]
    if op.passes:
        return float(rank.decode * (1 if op.own else times.ranks))
    if op.driver == SAMPLED:
        return float(rank.sampled(times.width) * times.ranks)
    return float((rank if op.own else load).tokens(times.width))


def _time(op: Op, machine: Machine, load: Load, times: StepTime) -> OpTime:
    rank, units = load.spread(times.ranks)[0], np.array([_units(op, times, load)])
    kind = MIXED if load.prefill and op.driver != SAMPLED and not op.passes else DECODE
    compute, memory = (float(part[0]) for part in work_seconds(op, machine, units))
    attention_compute, attention_memory, flops, moved = _attention(op, machine, rank, times.width)
    width = 1 if op.passes else times.width
    samples = rank.decode if op.passes else rank.sampled(width)
    parts = {
        "compute": compute + attention_compute,
        "memory": memory + attention_memory + samples * state_seconds(op, machine, width),
        "network": float(network_seconds(op, machine, units)[0]),
        "latency": latency_seconds(op, machine, kind) if units[0] else 0.0,
    }
    moved += float(weights_read(op, machine, units)[0]) + op.activation_bytes * float(units[0])
    moved += sent_bytes(op.exchange) * float(units[0]) if op.exchange else 0.0
    moved += samples * state_moved(op, width)
    bound, runs = max(parts, key=parts.__getitem__), op.count * (op.passes or 1)
    return OpTime(op.name, runs * sum(parts.values()), runs * (op.flops * float(units[0]) + flops), runs * moved, bound)


def _attention(op: Op, machine: Machine, load: Load, width: int) -> tuple[float, float, float, float]:
    """(compute seconds, memory seconds, FLOPs, cache bytes) of attention over the cache; a draft passes over no prompt."""
    if op.reach is None:
        return 0.0, 0.0, 0.0, 0.0
    queries, prompt = (1, 0) if op.passes else (width, load.prefill)
    cached = load.decode * _within(load.context, op.reach.window)
    pairs = _pairs(prompt, op.reach.window)
    compute, memory = (slope * cached for slope in decode_slope(op.reach, op, machine, queries))
    arithmetic = prefill_slopes(op.reach, op, machine)[0][0] * pairs
    flops = op.reach.decode_flops * cached * queries + op.reach.prefill_flops * pairs
    return compute + arithmetic, memory, flops, op.reach.reads * op.reach.cache_bytes * cached


def _within(context: int, reach: int) -> int:
    return min(context, reach) if reach else context


def _pairs(tokens: int, reach: int) -> float:
    seen = min(tokens, reach) if reach else tokens
    return seen * (seen + 1) / 2 + (tokens - seen) * float(reach)
