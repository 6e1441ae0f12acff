"""One replica: ranks in lock step, and the micro-batches that are in its pipeline."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from assay.simulate.policies import MIXED as MIXED_BATCHING
from assay.simulate.reference.rank import Plan, Rank
from assay.simulate.reference.sequence import DECODING, Sequence
from assay.simulate.tally import Tally
from assay.steptime import DECODE, MIXED, Curve, Step, together, total

Deliver = Callable[[Rank, Sequence, float, int | None], None]
"""Told of each token: its rank, sequence and moment, and the micro-batch in which its prompt ended, if it did."""


@dataclass
class Flight:
    """A step that was issued: when its tokens exist, of which micro-batch it is, and by rank what it does and which prompts it ends."""

    moment: float
    batch: int
    plans: list[Plan]
    ending: list[list[Sequence]]


@dataclass
class Totals:
    """What the steps of all replicas add up to: see Outcome."""

    joules: float = 0.0
    steps: int = 0
    busy: float = 0.0
    prefill: float = 0.0
    cached: float = 0.0
    batch: float = 0.0


class Replica:
    """Ranks that step together. `idle` micro-batches wait for their next step, the one that waits longest first."""

    def __init__(self, ranks: list[Rank], role: int, tally: Tally, totals: Totals) -> None:
        self.ranks, self.role, self.tally, self.totals = ranks, role, tally, totals
        self.times, self.policy = ranks[0].times, ranks[0].policy
        self.up, self.awake = True, False
        self.clear(0.0)

    def clear(self, now: float) -> None:
        """Nothing is in the pipeline from `now` on."""
        self.idle = deque(range(self.times.depth))
        self.flights: deque[Flight] = deque()
        self.free_at = self.landing = now
        self.planned = now  # when the last step began, while which the next one is planned
        self.unseen_steps = self.policy.look_interval  # decode steps since it looked for new requests
        self.waited = 0  # steps that prompts waited for ranks without any

    def next_moment(self, now: float) -> float:
        """When it next does something by itself: tokens exist, or a step may follow."""
        landing = self.flights[0].moment if self.flights else math.inf
        return min(landing, self.free_at) if self.free_at > now else landing

    # A step begins.

    def schedule(self, now: float) -> None:
        """Start the next step when the first stage is free and there is something to do."""
        if self.free_at > now or not self.idle:
            return
        for rank in self.ranks:
            rank.now = now
        busy = any(rank.has_prompts or any(rank.batches) for rank in self.ranks)
        looked = self.unseen_steps >= self.policy.look_interval or not any(any(rank.batches) for rank in self.ranks)
        if looked:
            for rank in self.ranks:
                rank.look(self.planned if self.policy.overlap and busy else math.inf)
        waits = self._prompts_wait()
        if waits and self._start(now, looked=looked, held=True):
            return
        self._start(now, looked=looked, held=False)  # also when those that decoded gave way

    def _start(self, now: float, *, looked: bool, held: bool) -> bool:
        """Issue a step of the first micro-batch that has something to do; False when none has."""
        for batch in tuple(self.idle):
            plans = self._plans(batch, prompts=not held)
            if any(not plan.empty for plan in plans):
                self._issue(now, batch, plans)
                prompts = any(plan.chunks for plan in plans)
                self.waited = 0 if prompts else self.waited + held
                self.unseen_steps = self.policy.look_interval if prompts else 1 + (0 if looked else self.unseen_steps)
                return True
        return False

    def _prompts_wait(self) -> bool:
        """Whether ranks that have prompts wait for those that have none, while these decode."""
        having = sum(rank.has_prompts for rank in self.ranks)
        decoding = any(any(rank.batches) for rank in self.ranks)
        return 0 < having < len(self.ranks) and decoding and self.waited < self.policy.prefill_wait

    def _plans(self, batch: int, *, prompts: bool) -> list[Plan]:
        mixed = self.policy.batching == MIXED_BATCHING
        if prompts:
            plans = [rank.plan(batch, prompts=True, decodes=mixed) for rank in self.ranks]
            if mixed or any(plan.chunks for plan in plans):
                return plans
        return [rank.plan(batch, prompts=False, decodes=True) for rank in self.ranks]

    def _issue(self, now: float, batch: int, plans: list[Plan]) -> None:
        """Start a step: its tokens exist after the latency, the next step may start after the interval."""
        steps = [self._measure(plan, with_hits=True) for plan in plans]
        interval = self._seconds(self.times.interval, steps)
        latency = self._seconds(self.times.latency, steps) if self.times.depth > 1 else interval
        busy = max(rank.cache.busy for rank in self.ranks)
        spill = self.times.spill * max(0.0, busy - self.times.spill_after) if self.times.spill else 0.0
        self._account(plans, steps, interval + spill)
        ending = [plan.ending for plan in plans]
        for rank, plan in zip(self.ranks, plans, strict=True):
            rank.fly(plan)
        self.landing = max(now + (latency + spill), self.landing)  # no step overtakes another in the pipeline
        self.idle.remove(batch)
        self.planned = now
        self.flights.append(Flight(self.landing, batch, plans, ending))
        self.free_at = now + (interval + spill)

    def _measure(self, plan: Plan, *, with_hits: bool) -> Step:
        """What a rank does; without hits, as if the tokens found in the prefix cache were not attended to."""
        known = [sequence.known for sequence in plan.decodes]
        reaches, width = self.times.reaches, self.times.width
        decode = [float(sum([min(context, reach) for context in known] if reach else known)) for reach in reaches]
        pairs, reread = [0.0] * len(reaches), [0.0] * len(reaches)
        for chunk in plan.chunks:
            before = chunk.before if with_hits else chunk.before - chunk.hit
            for place, reach in enumerate(reaches):
                pairs[place] += attended(before, chunk.tokens, reach)
                reread[place] += min(before, reach) if reach else before
        tokens = width * len(known) + sum(chunk.tokens for chunk in plan.chunks)
        sampled = width * len(known) + len(plan.ending)
        return Step(MIXED if plan.chunks else DECODE, tokens, sampled, decode, pairs, reread, len(known))

    def _seconds(self, curve: Curve, steps: list[Step]) -> float:
        """The slowest rank, and what all do together."""
        kind, tokens = max(step.kind for step in steps), sum(step.tokens for step in steps)
        return max(self._own(curve, step) for step in steps) + (together(curve, kind, tokens) if tokens else 0.0)

    @staticmethod
    def _own(curve: Curve, step: Step) -> float:
        return total(curve, step) if step.tokens else 0.0

    def _account(self, plans: list[Plan], steps: list[Step], seconds: float) -> None:
        totals = self.totals
        kind, tokens = max(step.kind for step in steps), sum(step.tokens for step in steps)
        slowest = max(range(len(steps)), key=lambda rank: self._own(self.times.interval, steps[rank]))
        self.tally.add(steps[slowest], kind, tokens)
        totals.steps += 1
        totals.busy += seconds
        totals.batch += seconds * sum(len(rank.running) for rank in self.ranks)
        totals.joules += sum(self._own(self.times.joules, step) for step in steps) + together(self.times.joules, kind, tokens)
        if kind == MIXED:
            whole = self._seconds(self.times.interval, steps)
            decodes = [Plan(decodes=plan.decodes) for plan in plans]
            totals.prefill += whole - self._seconds(self.times.interval, [self._measure(plan, with_hits=True) for plan in decodes])
            totals.cached += whole - self._seconds(self.times.interval, [self._measure(plan, with_hits=False) for plan in plans])

    # A step ends.

    def land(self, now: float, deliver: Deliver) -> bool:
        """Steps whose latency has passed give their tokens, of all ranks first those of decodes; True when there were any."""
        landed = False
        while self.flights and self.flights[0].moment <= now:
            flight = self.flights.popleft()
            landed = True
            self.idle.append(flight.batch)
            for rank, plan in zip(self.ranks, flight.plans, strict=True):
                for sequence in plan.decodes:
                    sequence.state = DECODING
                    deliver(rank, sequence, flight.moment, None)
            for rank, ending in zip(self.ranks, flight.ending, strict=True):
                for sequence in ending:
                    deliver(rank, sequence, flight.moment, flight.batch)
        return landed


def attended(before: int, chunk: int, reach: int) -> float:
    """Pairs of a chunk after `before` cached tokens: each of its tokens attends to all up to itself, within `reach` (0: all)."""
    if not reach:
        return chunk * before + chunk * (chunk + 1) / 2
    growing = max(0, min(chunk, reach - before))
    return growing * before + growing * (growing + 1) / 2 + (chunk - growing) * reach
