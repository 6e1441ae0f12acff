"""A closed-form guess of what a replica can serve, to start the search near its answer; every answer is then simulated."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.search.plant import Plant
from assay.simulate.reference import attended
from assay.slo import Slo
from assay.steptime import DECODE, MIXED, Curve, Step, together, total
from assay.workloads import Workload


@dataclass(frozen=True)
class Guess:
    """Requests per second of one replica at the largest batch that keeps the TPOT target, and how many requests it then holds."""

    rate: float
    in_flight: float


def guess(plant: Plant, workload: Workload, slo: Slo, users: int | None = None) -> Guess:
    """The best of a ladder of batch sizes, none larger than the `users` of a closed loop that each rank serves.

    With prefill taking t_p of a request, b sequences in each of the pipeline's stages and o decode steps, a rank serves
    1 / (t_p + o x interval(b) / b) requests a second, and TPOT is the latency of the steps of a token, stretched by the share of time
    that prefill takes. Ranks in lock step do alike at the same time. A request takes as many steps as it has output tokens, fewer with
    speculation.
    """
    inputs, outputs, ranks = float(workload.input.mean()), float(workload.output.mean()), plant.times.ranks
    steps, context = outputs / _tokens_per_step(plant), inputs + outputs / 2
    alone = prefill_seconds(plant, round(inputs), ranks)
    policy = plant.policy.within(plant.times)
    room = max(1.0, min(policy.max_num_seqs, policy.kv_capacity / policy.footprint(round(context)), users or math.inf))
    best = Guess(1e-9, 1.0)
    for batch in np.unique(np.geomspace(1, room, 24).astype(int)):
        stage = max(1, round(batch / plant.times.depth))
        step = _decode(plant, stage, context)
        interval, latency = (_seconds(curve, step, ranks) for curve in (plant.times.interval, plant.times.latency))
        rate = 1 / max(alone + steps * interval / stage, steps * latency / batch)
        tpot = latency * (steps / outputs if outputs else 0.0) / max(1 - rate * alone, 0.05)
        if slo.tpot is None or tpot <= 0.9 * slo.tpot or batch == 1:
            best = max(best, Guess(rate * ranks, float(batch * ranks)), key=lambda one: one.rate)
    return best


def _tokens_per_step(plant: Plant) -> float:
    """Mean tokens that a decode step gives a sequence."""
    return plant.part.speculation.tokens_per_step if plant.part.speculation else 1.0


def _seconds(curve: Curve, step: Step, ranks: int = 1) -> float:
    """A step that `ranks` ranks take in lock step, all alike."""
    return total(curve, step) + together(curve, step.kind, step.tokens * ranks)


def _decode(plant: Plant, batch: int, context: float) -> Step:
    times, width = plant.times, plant.times.width
    batch = max(1, min(batch, min(times.most_sampled, times.most_tokens) // width))
    decode = [batch * min(context, reach) if reach else batch * context for reach in times.reaches]
    nothing = [0.0] * len(decode)
    return Step(DECODE, batch * width, batch * width, decode, nothing, nothing, batch if width > 1 else 0)


def prefill_seconds(plant: Plant, tokens: int, ranks: int = 1) -> float:
    """Time that the replica is kept from other work by one prompt on each of `ranks` ranks, in chunks of the token budget."""
    return sum(_seconds(plant.times.interval, step, ranks) for step in _chunks(plant, tokens))


def prompt_latency(plant: Plant, tokens: int) -> float:
    """Time of the prefill of one prompt on an idle replica: its chunks follow each other through the stages."""
    steps = list(_chunks(plant, tokens))
    return sum(_seconds(plant.times.interval, step) for step in steps[:-1]) + _seconds(plant.times.latency, steps[-1])


def _chunks(plant: Plant, tokens: int) -> Iterator[Step]:
    before, nothing = 0, [0.0] * len(plant.times.reaches)
    while before < tokens:
        chunk = min(tokens - before, plant.policy.token_budget, plant.times.most_tokens)
        pairs = [attended(before, chunk, reach) for reach in plant.times.reaches]
        reread = [float(min(before, reach) if reach else before) for reach in plant.times.reaches]
        yield Step(MIXED, chunk, int(before + chunk == tokens), nothing, pairs, reread)
        before += chunk
