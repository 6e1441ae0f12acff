"""Random questions to both simulators, by seed: step times and arrivals are multiples of 2^-20 s, where sums are exact."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.simulate import Fleet, Outage, Policy, Pool
from assay.simulate.policies import ALL, BATCHING, DECODE, PREFILL, ROUTING
from assay.steptime import RESOURCES, Curve, StepTime
from assay.workloads import Workload

TICK = 2.0**-20
MOST = 600
Draw = np.random.Generator
Ints = np.ndarray[Any, np.dtype[np.int64]]
LINK = 2.0**20  # bytes/s: a byte takes a tick


@dataclass(frozen=True)
class Shape:
    """What a case is made of; the others are drawn."""

    depth: int
    ranks: int
    width: int
    roles: tuple[int, ...]


def case(seed: int, tick: float = TICK) -> tuple[Workload, Fleet]:
    """One workload and fleet; another `tick` makes sums inexact."""
    draw = np.random.default_rng(seed)
    shape = _shape(draw)
    workload = _workload(draw, tick)
    pools = tuple(_pool(draw, shape, role, workload, tick) for role in shape.roles)
    fleet = Fleet(
        pools,
        routing=int(draw.choice(list(ROUTING.values()))),
        load_bound=float(draw.choice([1.0, 1.5, 4.0])),
        link_bandwidth=float(draw.choice([LINK / 4, LINK, LINK * 64])),
        link_latency=int(draw.integers(0, 3000)) * tick,
        acceptance=float(draw.random()),
        outages=_outages(draw, sum(pool.replicas for pool in pools), tick),
    )
    return workload, fleet


def _shape(draw: Draw) -> Shape:
    roles = [(ALL,), (ALL,), (ALL,), (ALL, ALL), (PREFILL, DECODE), (PREFILL, DECODE, DECODE)][int(draw.integers(0, 6))]
    return Shape(int(draw.choice([1, 1, 1, 2, 4, 8])), int(draw.choice([1, 1, 1, 2, 3])), int(draw.choice([1, 1, 1, 2, 4])), roles)


def _pool(draw: Draw, shape: Shape, role: int, workload: Workload, tick: float) -> Pool:
    depth, ranks = shape.depth, shape.ranks
    if len(shape.roles) > 1 and draw.random() < 0.5:  # unlike pools
        depth, ranks = int(draw.choice([1, 2])), int(draw.choice([1, 2]))
    times = _times(draw, depth, ranks, shape.width, tick)
    policy = _policy(draw, workload, times, role)
    if draw.random() < 0.15:
        times = replace(times, spill_after=policy.kv_capacity * 0.3 // 1, spill=int(draw.integers(1, 4)) * tick)
    return Pool(times, policy, int(draw.choice([1, 1, 2, 3])), role)


def _times(draw: Draw, depth: int, ranks: int, width: int, tick: float) -> StepTime:
    def ticks(low: int, high: int) -> float:
        return int(draw.integers(low, high)) * tick

    reaches = (0,) if draw.random() < 0.6 else (0, int(draw.integers(5, 80)))
    shape = (len(RESOURCES), MOST + 1)
    tokens, sampled = np.zeros((2, *shape)), np.zeros(shape)
    for kind in (0, 1):
        tokens[kind, 0, 1:] = ticks(100, 9000)
        tokens[kind, 1] = np.arange(MOST + 1) * ticks(1, 60)
    sampled[4] = np.arange(MOST + 1) * ticks(0, 20)
    decode, prefill = np.zeros((len(reaches), len(RESOURCES))), np.zeros((len(reaches), 2, 2))
    for place in range(len(reaches)):
        decode[place, 1] = ticks(0, 4)
        prefill[place] = [[ticks(0, 3), ticks(0, 2)], [0.0, ticks(0, 6)]]
    draft = np.zeros((len(RESOURCES), MOST + 1 if width > 1 else 0))
    draft[2] = np.arange(draft.shape[1]) * ticks(1, 40)
    joint = np.zeros((2, len(RESOURCES), ranks * MOST + 1 if ranks > 1 else 0))
    for kind in (0, 1):
        joint[kind, 3] = ticks(0, 2000) + np.arange(joint.shape[2]) * ticks(0, 30)
    latency = Curve(tokens, sampled, decode, prefill, (0, 1), draft, joint)
    share = 1 / depth
    interval = Curve(tokens * share, sampled * share, decode * share, prefill * share, (0, 1), draft * share, joint * share)
    energy = Curve(tokens, sampled, decode, prefill[:, :1], (0,), draft, joint)
    interval = interval if depth > 1 else latency
    return StepTime(interval, latency, energy, idle_watts=1.0, reaches=reaches, depth=depth, ranks=ranks, width=width)


def _workload(draw: Draw, tick: float) -> Workload:
    count = int(draw.integers(1, 60))
    prompts = draw.integers(1, int(draw.choice([10, 60, 200])), count)
    outputs = draw.integers(int(draw.choice([0, 1])), int(draw.choice([3, 30, 150])), count)
    span = float(draw.choice([0.0, 0.05, 1.0, 5.0]))  # 0: all at one instant
    arrival = np.sort(np.round(draw.random(count) * span / tick) * tick)
    concurrency = int(draw.choice([0, 0, 1, 2, 8]))
    optional: dict[str, Any] = {}
    if draw.random() < 0.25:
        optional["priority"] = draw.integers(-1, 3, count)
    if draw.random() < 0.3:
        optional["session"] = draw.integers(-1, max(1, count // 4), count)
        optional["think"] = draw.integers(0, 200_000, count) * tick
    return Workload(
        name="random", arrival=arrival - arrival[0], input=prompts, output=outputs, concurrency=concurrency,
        ramp=float(draw.choice([0.0, 0.25])) if concurrency else 0.0, **optional, **_prefixes(draw, prompts),
    )  # fmt: skip


def _prefixes(draw: Draw, prompts: Ints) -> dict[str, Any]:
    size = int(draw.choice([0, 4, 16]))
    if not size:
        return {}
    ids: list[int] = []
    offsets = [0]
    for row, prompt in enumerate(prompts):
        blocks = -(-int(prompt) // size)
        family, shared = int(draw.integers(0, 3)), int(draw.integers(0, blocks + 1))
        ids += [family * 1000 + block for block in range(shared)]
        ids += [1_000_000 + row * 1000 + block for block in range(blocks - shared)]
        offsets.append(len(ids))
    return {"prefix": np.array(ids, np.int64), "prefix_offsets": np.array(offsets, np.int64), "prefix_block": size}


def _policy(draw: Draw, workload: Workload, times: StepTime, role: int) -> Policy:
    block = int(draw.choice([1, 4, 16]))
    if workload.prefix_block % block:
        block = 1
    kept = [(0, float(draw.integers(1, 8)))]
    if draw.random() < 0.4:
        kept.append((int(draw.integers(5, 80)), float(draw.integers(1, 8))))
    policy = Policy(int(draw.choice([3, 16, 64, 500])), int(draw.choice([1, 2, 8, 64])), block, 1.0, tuple(kept))
    longest = max(
        policy.most(int(prompt), int(output), times.width) for prompt, output in zip(workload.input, workload.output, strict=True)
    )
    host = float(draw.choice([0, 0, 0, 3, 50])) * policy.unbounded_bytes * workload.prefix_block
    return replace(
        policy,
        token_budget=max(policy.token_budget, times.width),
        kv_capacity=longest * float(draw.choice([0.7, 1, 1.3, 2, 5, 50])),
        batching=int(draw.choice(list(BATCHING.values()), p=[0.55, 0.3, 0.15])),
        prefix_cache=bool(draw.random() < 0.8) and role != DECODE,
        admission_delay=float(draw.choice([0, 2**-8])),
        max_context=int(draw.choice([2**62, 2**62, 2**62, 250])),
        host_capacity=host,
        host_bandwidth=float(draw.choice([LINK / 8, LINK, LINK * 32])),
        look_interval=int(draw.choice([1, 1, 1, 3, 10])),
        overlap=bool(draw.random() < 0.3),
        prefill_wait=int(draw.choice([0, 0, 4, 60])),
        reserve=float(draw.choice([0, 0, 0, 0.4, 1])),
    )


def _outages(draw: Draw, replicas: int, tick: float) -> tuple[Outage, ...]:
    if draw.random() < 0.75:
        return ()
    count = int(draw.integers(1, 5))
    moments = draw.integers(0, 2_000_000, count)
    return tuple(Outage(int(moment) * tick, int(draw.integers(0, replicas)), bool(draw.random() < 0.5)) for moment in moments)
