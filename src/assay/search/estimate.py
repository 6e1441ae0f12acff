"""A closed-form guess of what a replica can serve, to start the search near its answer; every answer is then simulated."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.search.plant import Plant
from assay.simulate.reference import attended
from assay.slo import Slo
from assay.steptime import DECODE, MIXED, Step, total
from assay.workloads import Workload


@dataclass(frozen=True)
class Guess:
    """Requests per second of one replica at the largest batch that keeps the TPOT target, and how many requests it then holds."""

    rate: float
    in_flight: float


def guess(plant: Plant, workload: Workload, slo: Slo) -> Guess:
    """The best of a ladder of batch sizes.

    With prefill taking t_p of a request, b sequences in each of the pipeline's stages and o output tokens, a replica serves
    1 / (t_p + o x interval(b) / b) requests a second, and TPOT is the latency stretched by the share of time that prefill takes.
    """
    inputs, outputs = float(workload.input.mean()), float(workload.output.mean())
    alone = prefill_seconds(plant, round(inputs))
    footprint = plant.policy.footprint(round(inputs + outputs / 2))
    room = max(1.0, min(plant.policy.max_num_seqs, plant.policy.kv_capacity / footprint))
    best = Guess(1e-9, 1.0)
    for batch in np.unique(np.geomspace(1, room, 24).astype(int)):
        stage = max(1, round(batch / plant.times.depth))
        interval, latency = (_decode_seconds(curve, plant, stage, inputs + outputs / 2) for curve in ("interval", "latency"))
        rate = min(1 / (alone + outputs * interval / stage), batch / (outputs * latency))
        tpot = latency / max(1 - rate * alone, 0.05)
        if slo.tpot is None or tpot <= 0.9 * slo.tpot or batch == 1:
            best = max(best, Guess(rate, float(batch)), key=lambda one: one.rate)
    return best


def _decode_seconds(curve: str, plant: Plant, batch: int, context: float) -> float:
    batch = min(batch, plant.times.most_sampled, plant.times.most_tokens)
    decode = [batch * min(context, reach) if reach else batch * context for reach in plant.times.reaches]
    nothing = [0.0] * len(decode)
    return total(getattr(plant.times, curve), Step(DECODE, batch, batch, decode, nothing, nothing))


def prefill_seconds(plant: Plant, tokens: int) -> float:
    """Time that the replica is kept from other work by the prefill of one prompt, in chunks of the token budget."""
    return sum(total(plant.times.interval, step) for step in _chunks(plant, tokens))


def prompt_latency(plant: Plant, tokens: int) -> float:
    """Time of the prefill of one prompt on an idle replica: its chunks follow each other through the stages."""
    steps = list(_chunks(plant, tokens))
    return sum(total(plant.times.interval, step) for step in steps[:-1]) + total(plant.times.latency, steps[-1])


def _chunks(plant: Plant, tokens: int) -> Iterator[Step]:
    before, nothing = 0, [0.0] * len(plant.times.reaches)
    while before < tokens:
        chunk = min(tokens - before, plant.policy.token_budget, plant.times.most_tokens)
        pairs = [attended(before, chunk, reach) for reach in plant.times.reaches]
        reread = [float(min(before, reach) if reach else before) for reach in plant.times.reaches]
        yield Step(MIXED, chunk, int(before + chunk == tokens), nothing, pairs, reread)
        before += chunk
