"""Random questions to both simulators, by seed: step times and arrivals are multiples of 2^-20 s, where sums are exact."""

from typing import Any

import numpy as np

from assay.simulate import Policy
from assay.steptime import RESOURCES, Curve, StepTime
from assay.workloads import Workload

TICK = 2.0**-20
MOST = 600
Draw = np.random.Generator
Case = tuple[Workload, StepTime, Policy]


def case(seed: int, tick: float = TICK) -> Case:
    """One workload, step times and policy; another `tick` makes sums inexact."""
    draw = np.random.default_rng(seed)
    times = _times(draw, int(draw.choice([1, 1, 1, 2, 4, 8])), tick)
    workload = _workload(draw, tick)
    return workload, times, _policy(draw, workload)


def _times(draw: Draw, depth: int, tick: float) -> StepTime:
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
    latency = Curve(tokens, sampled, decode, prefill, (0, 1))
    share = 1 / depth
    interval = Curve(tokens * share, sampled * share, decode * share, prefill * share, (0, 1)) if depth > 1 else latency
    return StepTime(interval, latency, latency, idle_watts=1.0, reaches=reaches, depth=depth)


def _workload(draw: Draw, tick: float) -> Workload:
    count = int(draw.integers(1, 60))
    prompts = draw.integers(1, int(draw.choice([10, 60, 200])), count)
    outputs = draw.integers(1, int(draw.choice([3, 30, 150])), count)
    span = float(draw.choice([0.0, 0.05, 1.0, 5.0]))  # 0: all at one instant
    arrival = np.sort(np.round(draw.random(count) * span / tick) * tick)
    return Workload(
        name="random", arrival=arrival - arrival[0], input=prompts, output=outputs,
        concurrency=int(draw.choice([0, 0, 1, 3, 8])), **_prefixes(draw, prompts),
    )  # fmt: skip


def _prefixes(draw: Draw, prompts: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
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


def _policy(draw: Draw, workload: Workload) -> Policy:
    block = int(draw.choice([1, 4, 16]))
    if workload.prefix_block % block:
        block = 1
    kept = [(0, float(draw.integers(1, 8)))]
    if draw.random() < 0.4:
        kept.append((int(draw.integers(5, 80)), float(draw.integers(1, 8))))
    policy = Policy(int(draw.choice([3, 16, 64, 500])), int(draw.choice([1, 2, 8, 64])), block, 1.0, tuple(kept))
    longest = max(policy.footprint(int(total)) for total in workload.input + workload.output)
    return Policy(
        policy.token_budget, policy.max_num_seqs, block, longest * float(draw.choice([0.7, 1, 1.3, 2, 5, 50])), tuple(kept),
        prefill_first=bool(draw.random() < 0.3), prefix_cache=bool(draw.random() < 0.8), admission_delay=float(draw.choice([0, 2**-8])),
    )  # fmt: skip
