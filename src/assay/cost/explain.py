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
    weights_read,
    work_seconds,
)
from assay.graph.op import SAMPLED, Op
from assay.steptime import DECODE, MIXED, RESOURCES, Step, StepTime, split, total


@dataclass(frozen=True)
class OpTime:
    """All executions of one op in a step: seconds, FLOPs and bytes of one rank, and what bounds it."""

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

    def step(self, reaches: Iterable[int]) -> Step:
        """The step as StepTime counts it."""
        reaches = tuple(reaches)
        decode = [float(self.decode * _within(self.context, reach)) for reach in reaches]
        pairs = [_pairs(self.prefill, reach) for reach in reaches]
        kind = MIXED if self.prefill else DECODE
        return Step(kind, self.prefill + self.decode, self.decode + (self.prefill > 0), decode, pairs, [0.0] * len(reaches))


def explain(machine: Machine, ops: Iterable[Op], times: StepTime, load: Load) -> Explained:
    """The whole step and each of its ops; host time, which belongs to no op, is its last entry."""
    step = load.step(times.reaches)
    seconds, latency = total(times.interval, step), total(times.latency, step)
    by_resource = split(times.latency, step)
    found = [_time(op, machine, load, step.kind) for op in ops]
    host = float(by_resource[RESOURCES.index("host")])
    joules = total(times.joules, step) + times.idle_watts * seconds
    shares = {name: float(part / latency) for name, part in zip(RESOURCES, by_resource, strict=True)}
    return Explained(seconds, latency, joules, shares, (*found, OpTime("host", host, 0.0, 0.0, "host")))


def _time(op: Op, machine: Machine, load: Load, kind: int) -> OpTime:
    sampled, tokens = load.decode + (load.prefill > 0), load.prefill + load.decode
    units = np.array([float(sampled if op.driver == SAMPLED else tokens)])
    compute, memory = (float(part[0]) for part in work_seconds(op, machine, units))
    attention_compute, attention_memory, flops, moved = _attention(op, machine, load)
    parts = {
        "compute": compute + attention_compute,
        "memory": memory + attention_memory,
        "network": float(network_seconds(op, machine, units)[0]),
        "latency": latency_seconds(op, machine, DECODE if op.driver == SAMPLED else kind) if units[0] else 0.0,
    }
    moved += float(weights_read(op, units)[0]) + op.activation_bytes * float(units[0])
    moved += sent_bytes(op.exchange) * float(units[0]) if op.exchange else 0.0
    bound = max(parts, key=parts.__getitem__)
    return OpTime(op.name, op.count * sum(parts.values()), op.count * (op.flops * float(units[0]) + flops), op.count * moved, bound)


def _attention(op: Op, machine: Machine, load: Load) -> tuple[float, float, float, float]:
    """(compute seconds, memory seconds, FLOPs, cache bytes) of attention over the cache."""
    if op.reach is None:
        return 0.0, 0.0, 0.0, 0.0
    cached = load.decode * _within(load.context, op.reach.window)
    pairs = _pairs(load.prefill, op.reach.window)
    compute, memory = (slope * cached for slope in decode_slope(op.reach, op, machine))
    arithmetic = prefill_slopes(op.reach, op, machine)[0][0] * pairs
    flops = op.reach.decode_flops * cached + op.reach.prefill_flops * pairs
    return compute + arithmetic, memory, flops, op.reach.cache_bytes * cached


def _within(context: int, reach: int) -> int:
    return min(context, reach) if reach else context


def _pairs(tokens: int, reach: int) -> float:
    seen = min(tokens, reach) if reach else tokens
    return seen * (seen + 1) / 2 + (tokens - seen) * float(reach)
