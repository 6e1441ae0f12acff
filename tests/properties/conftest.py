"""Runs of any kind, drawn at random, and the reference under watch: every step is checked while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay.simulate import Fleet, Outage, Outcome, Policy, Pool
from assay.simulate.policies import ALL, BATCHING, DECODE, PREFILL, ROUTING
from assay.simulate.reference import fleet as reference_fleet
from assay.simulate.reference import rank as reference_rank
from assay.simulate.reference.blocks import KvPool
from assay.simulate.reference.fleet import Simulation
from assay.simulate.reference.rank import Plan, Rank
from assay.simulate.reference.replica import Replica
from assay.simulate.reference.sequence import DECODING, FLYING, PROMPT
from assay.steptime import RESOURCES, Curve, StepTime
from assay.workloads import Workload

STEP = 2.0**-7  # arrivals and step times are multiples of a power of two, so that their sums are exact
MOST = 256  # tokens and sequences of the largest step
LONGEST = 200  # tokens of a prompt or an output


@dataclass(frozen=True)
class Case:
    """Everything a run needs; all pools have the same policy and draft alike."""

    workload: Workload
    fleet: Fleet
    seed: int = 0

    @property
    def policy(self) -> Policy:
        """Of all pools."""
        return self.fleet.pools[0].policy

    @property
    def alone(self) -> bool:
        """Whether there is one scheduler, at which requests come in the order of their rows and are of one class."""
        (pool, *others), asked = self.fleet.pools, self.workload
        return not (others or pool.replicas * pool.times.ranks > 1 or asked.priority.size or asked.session.size or self.fleet.outages)

    def could_run(self) -> NDArray[np.bool_]:
        """Which requests fit alone: the cache holds every token but the last, which nothing attends to, and drafts."""
        policy, lengths = self.policy, zip(self.workload.input.tolist(), self.workload.output.tolist(), strict=True)
        width = self.fleet.width
        return np.array([p + o <= policy.max_context and policy.most(p, o, width) <= policy.kv_capacity for p, o in lengths])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a failing example prints: all but long tables."""
        asked = self.workload
        rows = [*zip(asked.arrival.tolist(), asked.input.tolist(), asked.output.tolist(), strict=True)]
        prefixes = f"{asked.prefix_block=} {asked.prefix.tolist()} {asked.prefix_offsets.tolist()}"
        turns = f"{asked.priority.tolist()=} {asked.session.tolist()=} {asked.think.tolist()=} {asked.concurrency=} {asked.ramp=}"
        pools = [(pool.role, pool.replicas, repr_times(pool.times)) for pool in self.fleet.pools]
        rest = {field.name: getattr(self.fleet, field.name) for field in fields(Fleet) if field.name != "pools"}
        printer.text(f"Case({rows} {prefixes} {turns} {self.policy} {pools} {rest} {self.seed=})")


def repr_times(times: StepTime) -> str:
    """The numbers from which step times were made."""
    slopes = (times.interval.token_totals[0][1:3], times.interval.decode_totals, times.interval.prefill_lines)
    return f"{times.depth=} {times.ranks=} {times.width=} {times.reaches=} {times.spill=} {slopes}"


# The reference under watch


class CheckedPool(KvPool):
    """A pool that never holds more than it can."""

    def take(self, size: float) -> None:
        """Check after taking."""
        super().take(size)
        self._check()

    def publish(self, block: int) -> None:
        """Check after publishing."""
        super().publish(block)
        self._check()

    def _check(self) -> None:
        assert 0 <= self.busy <= self.used <= self.capacity
        assert self.busy <= self.peak


@dataclass
class Counts:
    """What all steps of a run did: tokens of prompts and of decodes, first tokens, contexts and pairs by reach, and when rows began."""

    prompt: int = 0
    decode: int = 0
    ended: int = 0
    contexts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    pairs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    began: dict[int, float] = field(default_factory=dict)


class Watched(Replica):
    """A replica that checks every step it issues and counts what is computed."""

    counts = Counts()

    def _issue(self, now: float, batch: int, plans: list[Plan]) -> None:
        for rank, plan in zip(self.ranks, plans, strict=True):
            self._check_limits(rank, plan)
            self._check_members(rank, plan)
            self._count(plan, now)
        super()._issue(now, batch, plans)
        for rank in self.ranks:
            self._check_memory(rank)

    def _check_limits(self, rank: Rank, plan: Plan) -> None:
        tokens = len(plan.decodes) * self.times.width + sum(chunk.tokens for chunk in plan.chunks)
        assert plan.empty or 0 < tokens <= min(self.policy.token_budget, self.times.most_tokens)
        assert len(rank.running) <= self.policy.max_num_seqs
        assert all(chunk.tokens > 0 for chunk in plan.chunks)

    def _check_members(self, rank: Rank, plan: Plan) -> None:
        """Each sequence of a step runs, is in it once, and waits for no token."""
        prompts = [chunk.sequence for chunk in plan.chunks]
        members = {id(sequence) for sequence in (*plan.decodes, *prompts)}
        assert len(members) == len(plan.decodes) + len(prompts)
        assert members <= {id(sequence) for sequence in rank.running}
        assert all(sequence.state == DECODING for sequence in plan.decodes)
        assert all(chunk.sequence.state == (FLYING if chunk.ends else PROMPT) for chunk in plan.chunks)

    def _count(self, plan: Plan, now: float) -> None:
        counts, step = self.counts, self._measure(plan, with_hits=True)
        counts.prompt += sum(chunk.tokens for chunk in plan.chunks)
        counts.decode += len(plan.decodes)
        counts.ended += len(plan.ending)
        for place in range(len(step.decode)):
            counts.contexts[place] += step.decode[place]
            counts.pairs[place] += step.pairs[place]
        for chunk in plan.chunks:
            counts.began.setdefault(chunk.sequence.row, now)

    def _check_memory(self, rank: Rank) -> None:
        """What is in use is what sequences hold for themselves, and each shared block once."""
        pool, holding = rank.cache, (*rank.running, *rank.handed)
        assert sum(sequence.private for sequence in holding) + pool.block_bytes * len(pool._users) == pool.used
        for sequence in holding:
            assert sequence.private >= 0
            assert sequence.private + sequence.shared * pool.block_bytes >= self.policy.footprint(sequence.computed)


@pytest.fixture(scope="session")
def watched() -> Callable[[Case], tuple[Outcome, Counts, Simulation]]:
    """`watched(case)`: a run of the reference, every step of it checked, in which exactly those requests were served that could be."""

    def finished(case: Case) -> tuple[Outcome, Counts, Simulation]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Watched, "counts", Counts())
            patch.setattr(reference_fleet, "Replica", Watched)
            patch.setattr(reference_rank, "KvPool", CheckedPool)
            simulation = Simulation(case.workload, case.fleet.within(), case.seed)
            outcome, counts = simulation.run(), Watched.counts
        assert np.array_equal(outcome.served, case.could_run())
        assert np.array_equal(np.isfinite(outcome.first_token), outcome.served)
        return outcome, counts, simulation

    return finished


# Runs of any kind


def curve(reaches: int, fixed: float, token: float, context: float, pair: float) -> Curve:
    """A step of `fixed + token n + context D + pair max(P, 2 R)` seconds."""
    tokens = np.zeros((2, len(RESOURCES), MOST + 1))
    tokens[:, 3, 1:] = fixed
    tokens[:, 0] = token * np.arange(MOST + 1)
    decode = np.zeros((reaches, len(RESOURCES)))
    decode[:, 1] = context
    prefill = np.tile(np.array([[pair, 0.0], [0.0, 2 * pair]]), (reaches, 1, 1))
    return Curve(tokens, np.zeros((len(RESOURCES), MOST + 1)), decode, prefill, (0, 1))


def drafting(made: Curve, ranks: int, width: int, each: float) -> Curve:
    """The same with a time for each sequence that drafts, and for each token of all ranks."""
    draft, joint = np.zeros((len(RESOURCES), MOST + 1 if width > 1 else 0)), np.zeros((2, len(RESOURCES), ranks * MOST + 1))
    draft[0] = each * np.arange(draft.shape[1])
    joint[:, 2] = each * np.arange(joint.shape[2]) if ranks > 1 else 0.0
    return replace(made, draft=draft, joint=joint)


@st.composite
def step_times(draw: st.DrawFn, width: int) -> StepTime:
    """Constant, linear and attention-aware step times, in pipelines of up to five stages or of up to three ranks in lock step."""
    reaches = draw(st.sampled_from([(0,), (0, 16), (8,)]))
    fixed, each = STEP * draw(st.integers(1, 64)), STEP * draw(st.integers(0, 2))
    slopes = [draw(st.sampled_from([0.0, STEP / 8, STEP])), *(draw(st.sampled_from([0.0, STEP / 64])) for _ in range(2))]
    depth, ranks = draw(st.sampled_from([1, 1, 2, 3, 5])), draw(st.sampled_from([1, 1, 1, 2, 3]))
    stage = drafting(curve(len(reaches), fixed, *slopes), ranks, width, each)
    whole = drafting(curve(len(reaches), depth * fixed, *(depth * slope for slope in slopes)), ranks, width, depth * each)
    joules = replace(stage, prefill=stage.prefill[:, :1], lines=(0,))
    return StepTime(stage, whole, joules, idle_watts=0.0, reaches=reaches, depth=depth, ranks=ranks, width=width)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Up to 60 requests, many of them at one instant, by the clock, by users or by turns, with or without prefixes and classes."""
    length = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(1, LONGEST))
    output = st.one_of(st.integers(0, 12), st.integers(1, 12), st.integers(1, LONGEST))
    rows = draw(st.lists(st.tuples(length, output, st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60))
    prompts, outputs, gaps, families = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    block = draw(st.sampled_from([0, 1, 4, 16]))
    counts = -(-prompts // block) * (families > 0) if block else 0 * prompts
    # The prompts of a family begin alike: as far as both go, their ids are the same.
    ids = [1000 * family + np.arange(count) for family, count in zip(families.tolist(), counts.tolist(), strict=True)]
    users = draw(st.sampled_from([0, 0, 1, 4, 128]))
    more: dict[str, Any] = {}
    if draw(st.sampled_from([False, False, True])):
        more["priority"] = families - 1
    if draw(st.sampled_from([False, False, True])):
        more |= {"session": families * 3 + gaps % 3 - 3, "think": gaps * STEP}
    return Workload(
        arrival=np.cumsum(np.maximum(gaps - 20, 0)) * STEP * draw(st.sampled_from([1, 64])),
        input=prompts,
        output=outputs,
        prefix=np.concatenate(ids).astype(np.int64),
        prefix_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        prefix_block=block,
        concurrency=users,
        ramp=draw(st.sampled_from([0.0, 128 * STEP])) if users else 0.0,
        name="drawn",
        **more,
    )


@st.composite
def policies(draw: st.DrawFn, workload: Workload, width: int) -> Policy:
    """Limits from one sequence on, and memory from too little for some requests to plenty for all."""
    limit = st.one_of(st.integers(1, 8), st.integers(1, MOST))
    policy = Policy(
        token_budget=max(width, draw(limit)),
        max_num_seqs=draw(limit),
        block_size=draw(st.sampled_from([1, 3, 16])),
        kv_capacity=0.0,
        kv_bytes=draw(st.sampled_from([((0, 1.0),), ((0, 2.0), (16, 1.0)), ((8, 1.0),), ((0, 0.1),), ((0, 0.7), (5, 0.3))])),
        batching=draw(st.sampled_from(sorted(BATCHING.values()))),
        prefix_cache=draw(st.booleans()),
        max_context=draw(st.sampled_from([2**62, 2**62, LONGEST])),
        admission_delay=draw(st.sampled_from([0.0, 16 * STEP])),
        host_capacity=draw(st.sampled_from([0.0, 0.0, 20.0, 200.0])),
        host_bandwidth=draw(st.sampled_from([8.0, 128.0, float("inf")])),
        look_interval=draw(st.sampled_from([1, 1, 3])),
        prefill_wait=draw(st.sampled_from([0, 0, 2, 20])),
    )
    sizes = [policy.most(*lengths, width) for lengths in zip(workload.input.tolist(), workload.output.tolist(), strict=True)]
    held = max(sizes) if draw(st.booleans()) else draw(st.sampled_from(sizes))
    return replace(policy, kv_capacity=held * draw(st.sampled_from([1.0, 1.0, 1.5, 4.0])))


@st.composite
def outages(draw: st.DrawFn, replicas: int) -> tuple[Outage, ...]:
    """Replicas that fail and come back, each once."""
    failing = draw(st.lists(st.integers(0, replicas - 1), max_size=2, unique=True))
    moments = [sorted(draw(st.lists(st.integers(0, 2000), min_size=2, max_size=2))) for _ in failing]
    pairs = zip(failing, moments, strict=True)
    return tuple(Outage(moment * STEP, each, up) for each, both in pairs for moment, up in zip(both, (False, True), strict=True))


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    """A run of any kind: half of them of one replica."""
    workload, width = draw(workloads()), draw(st.sampled_from([1, 1, 1, 2, 4]))
    policy = draw(policies(workload, width))
    roles = draw(st.sampled_from([(ALL,), (ALL,), (ALL,), (ALL, ALL), (PREFILL, DECODE), (PREFILL, DECODE, DECODE)]))
    many = st.sampled_from([1, 2, 3]) if draw(st.booleans()) else st.just(1)
    pools = tuple(Pool(draw(step_times(width)), policy, draw(many), role) for role in roles)
    fleet = Fleet(
        pools,
        routing=draw(st.sampled_from(sorted(ROUTING.values()))),
        load_bound=draw(st.sampled_from([1.0, 1.5, 9.0])),
        link_bandwidth=draw(st.sampled_from([8.0, 128.0, float("inf")])),
        link_latency=draw(st.sampled_from([0.0, 4 * STEP])),
        acceptance=draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
        outages=draw(outages(sum(pool.replicas for pool in pools))) if draw(st.sampled_from([False, False, True])) else (),
    )
    return Case(workload, fleet, draw(st.integers(0, 3)))


@pytest.fixture(scope="session")
def cases() -> st.SearchStrategy[Case]:
    """Runs of any kind, to draw from."""
    return _cases()
