"""What holds for every run of the simulator, whatever the requests, the step times and the policy."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay.metrics import Columns
from assay.simulate import Policy, run
from assay.simulate.blocks import KvPool
from assay.simulate.records import gap_middles
from assay.simulate.reference import Replica
from assay.steptime import RESOURCES, Curve, StepTime
from assay.workloads import Workload

STEP = 2.0**-7  # arrivals and step times are multiples of a power of two, so that their sums are exact
MOST = 256  # tokens and sequences of the largest step
LONGEST = 200  # tokens of a prompt or an output
SLACK = 1e-9  # for what is not such a multiple

some = settings(max_examples=50)


@dataclass(frozen=True)
class Case:
    """Everything a run needs."""

    workload: Workload
    times: StepTime
    policy: Policy

    def could_run(self) -> NDArray[np.bool_]:
        """Which requests fit alone: the cache holds every token but the last, which nothing attends to."""
        lengths = (self.workload.input + self.workload.output).tolist()
        policy = self.policy
        return np.array([n <= policy.max_context and policy.footprint(n - 1) <= policy.kv_capacity for n in lengths])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a failing example prints: all but long tables."""
        asked, times = self.workload, self.times
        rows = [*zip(asked.arrival.tolist(), asked.input.tolist(), asked.output.tolist(), strict=True)]
        prefixes = f"{asked.prefix_block=} {asked.prefix.tolist()} {asked.prefix_offsets.tolist()}"
        slopes = (times.interval.token_totals[0][1:3], times.interval.decode_totals, times.interval.prefill_lines)
        printer.text(f"Case({rows} {asked.concurrency=} {prefixes} {self.policy} {times.depth=} {times.reaches=} {slopes})")


class CheckedPool(KvPool):
    """A pool that never holds more than it can."""

    def take(self, size: float) -> bool:
        """Check after taking."""
        taken = super().take(size)
        assert self.busy <= self.peak or not taken
        self._check()
        return taken

    def publish(self, block: int) -> None:
        """Check after publishing."""
        super().publish(block)
        self._check()

    def _check(self) -> None:
        assert -SLACK * self.capacity <= self.busy <= self.used + SLACK * self.capacity
        assert self.used <= self.capacity * (1 + SLACK)


class Watched(Replica):
    """A replica that checks every step it issues and counts the tokens computed."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.workload, case.times, case.policy.within(case.times))
        self.pool = CheckedPool(self.pool.capacity, self.pool.block_bytes)
        self.prompt_tokens = self.decode_tokens = 0

    def _issue(self, batch: Any) -> None:
        chunks = [chunk for _, chunk, _ in batch.chunks]
        assert 0 < len(batch.decodes) + sum(chunks) <= min(self.policy.token_budget, self.times.most_tokens)
        assert len(self.running) <= self.policy.max_num_seqs
        assert all(chunk > 0 for chunk in chunks)
        self._check_members(batch)
        self.prompt_tokens += sum(chunks)
        self.decode_tokens += len(batch.decodes)
        super()._issue(batch)
        self._check_memory()

    def _check_members(self, batch: Any) -> None:
        """Each sequence of a step runs, is in it once, and waits for no token."""
        prompts = [sequence for sequence, _, _ in batch.chunks]
        members = {id(sequence) for sequence in (*batch.decodes, *prompts)}
        assert len(members) == len(batch.decodes) + len(prompts)
        assert members <= {id(sequence) for sequence in self.running}
        assert not any(sequence.flying for sequence in (*batch.decodes, *prompts))
        assert all(sequence.decoding for sequence in batch.decodes)
        assert not any(sequence.decoding for sequence in prompts)

    def _check_memory(self) -> None:
        """What is in use is what running sequences hold for themselves, and each shared block once."""
        block = self.pool.block_bytes
        held = sum(sequence.private for sequence in self.running) + block * len(self.pool._users)
        assert held == pytest.approx(self.pool.used, rel=SLACK, abs=SLACK)
        for sequence in self.running:
            assert sequence.private + sequence.shared * block >= self.policy.footprint(sequence.computed) * (1 - SLACK)


def curve(reaches: int, fixed: float, token: float, context: float, pair: float) -> Curve:
    """A step of `fixed + token n + context D + pair max(P, 2 R)` seconds."""
    tokens = np.zeros((2, len(RESOURCES), MOST + 1))
    tokens[:, 3, 1:] = fixed
    tokens[:, 0] = token * np.arange(MOST + 1)
    decode = np.zeros((reaches, len(RESOURCES)))
    decode[:, 1] = context
    prefill = np.tile(np.array([[pair, 0.0], [0.0, 2 * pair]]), (reaches, 1, 1))
    return Curve(tokens, np.zeros((len(RESOURCES), MOST + 1)), decode, prefill, (0, 1))


@st.composite
def step_times(draw: st.DrawFn) -> StepTime:
    """Constant, linear and attention-aware step times, on one stage or in pipelines of up to five."""
    reaches = draw(st.sampled_from([(0,), (0, 16), (8,)]))
    fixed = STEP * draw(st.integers(1, 64))
    slopes = [draw(st.sampled_from([0.0, STEP / 8, STEP])), *(draw(st.sampled_from([0.0, STEP / 64])) for _ in range(2))]
    depth = draw(st.sampled_from([1, 1, 2, 3, 5]))
    stage = curve(len(reaches), fixed, *slopes)
    whole = curve(len(reaches), depth * fixed, *(depth * slope for slope in slopes))
    return StepTime(stage, whole, stage, idle_watts=0.0, reaches=reaches, depth=depth)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Up to 60 requests, many of them at one instant, in an open or a closed loop, with or without prefixes that they share."""
    length = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(1, LONGEST))
    rows = draw(st.lists(st.tuples(length, length, st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60))
    prompts, outputs, gaps, families = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    block = draw(st.sampled_from([0, 1, 4, 16]))
    counts = -(-prompts // block) * (families > 0) if block else 0 * prompts
    # The prompts of a family begin alike: as far as both go, their ids are the same.
    ids = [1000 * family + np.arange(count) for family, count in zip(families.tolist(), counts.tolist(), strict=True)]
    return Workload(
        arrival=np.cumsum(np.maximum(gaps - 20, 0)) * STEP * draw(st.sampled_from([1, 64])),
        input=prompts,
        output=outputs,
        prefix=np.concatenate(ids).astype(np.int64),
        prefix_offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        prefix_block=block,
        concurrency=draw(st.sampled_from([0, 0, 1, 3, 100])),
        name="drawn",
    )


@st.composite
def policies(draw: st.DrawFn, workload: Workload) -> Policy:
    """Limits from one on, and memory from too little for some requests to plenty for all."""
    limit = st.one_of(st.integers(1, 8), st.integers(1, MOST))
    policy = Policy(
        token_budget=draw(limit),
        max_num_seqs=draw(limit),
        block_size=draw(st.sampled_from([1, 3, 16])),
        kv_capacity=0.0,
        kv_bytes=draw(st.sampled_from([((0, 1.0),), ((0, 2.0), (16, 1.0)), ((8, 1.0),), ((0, 0.1),), ((0, 0.7), (5, 0.3))])),
        prefill_first=draw(st.booleans()),
        prefix_cache=draw(st.booleans()),
        max_context=draw(st.sampled_from([2**62, 2**62, LONGEST])),
        admission_delay=draw(st.sampled_from([0.0, 16 * STEP])),
    )
    sizes = (workload.input + workload.output - 1).tolist()
    held = max(sizes) if draw(st.booleans()) else draw(st.sampled_from(sizes))
    return replace(policy, kv_capacity=policy.footprint(held) * draw(st.sampled_from([1.0, 1.0, 1.5, 4.0])))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A run of any kind."""
    workload = draw(workloads())
    return Case(workload, draw(step_times()), draw(policies(workload)))


def watched(case: Case) -> Watched:
    """A finished run in which exactly those requests were served that could be."""
    replica = Watched(case)
    outcome = replica.run()
    assert np.array_equal(outcome.served, case.could_run())
    assert np.array_equal(np.isfinite(outcome.first_token), outcome.served)
    return replica


def summed(counts: NDArray[np.int64]) -> int:
    """Sum of integers from how often each was seen."""
    return int(counts @ np.arange(len(counts)))


@some
@given(cases())
def test_every_request_that_fits_finishes_with_exactly_its_tokens(case: Case) -> None:
    """First tokens and gaps add up to the output of the requests that were served, and so do the sequences that sampled."""
    replica = watched(case)
    outcome = replica.outcome
    wanted = int(case.workload.output[outcome.served].sum())
    assert outcome.served.sum() + outcome.gaps.sum() == wanted
    assert summed(replica.tally.sampled) == wanted


@some
@given(cases())
def test_memory_is_never_above_the_capacity_and_all_given_back(case: Case) -> None:
    """At the end nothing but shared blocks without users is left."""
    replica = watched(case)
    assert replica.pool.busy == pytest.approx(0.0, abs=SLACK * case.policy.kv_capacity)
    assert replica.outcome.kv_peak <= 1 + SLACK
    assert not any(replica.pool._users.values())
    assert not replica.outcome.prefix_hit.any() or case.policy.prefix_cache


@some
@given(cases())
def test_tokens_are_conserved(case: Case) -> None:
    """Steps compute each token of a request but the last: once without preemption, and less those found in the prefix cache."""
    replica = watched(case)
    outcome, asked = replica.outcome, case.workload
    computed = summed(replica.tally.tokens.sum(axis=0))
    assert computed == replica.prompt_tokens + replica.decode_tokens
    needed = int((asked.input + asked.output - 1)[outcome.served].sum())
    if not outcome.preemptions.any():
        assert computed == needed - outcome.prefix_hit.sum()
        assert replica.decode_tokens == (asked.output - 1)[outcome.served].sum()
    elif not case.policy.prefix_cache:
        assert computed > needed


@some
@given(cases())
def test_attention_does_not_depend_on_the_schedule(case: Case) -> None:
    """Without preemption and hits, decode contexts and prefill pairs add up to what each request needs by itself."""
    replica = watched(replace(case, policy=replace(case.policy, prefix_cache=False)))
    if replica.outcome.preemptions.any():
        return
    served = replica.outcome.served
    prompts, outputs = case.workload.input[served], case.workload.output[served]
    for place, reach in enumerate(case.times.reaches):
        contexts = np.arange(2 * LONGEST + 1)
        upto = np.cumsum(np.minimum(contexts, reach) if reach else contexts)
        assert replica.tally.pairs[place] == upto[prompts].sum()
        assert replica.tally.decode[place] == (upto[prompts + outputs - 1] - upto[prompts]).sum()


@some
@given(cases())
def test_times_come_in_order(case: Case) -> None:
    """Arrival, first token, finish; gaps lie between the last two: the largest is no less than their mean, and they add up."""
    outcome = watched(case).outcome
    kept = outcome.served
    assert (outcome.first_token[kept] > outcome.arrival[kept] + case.policy.admission_delay).all()
    assert (outcome.finish[kept] >= outcome.first_token[kept]).all()
    tpot = np.nan_to_num(Columns(outcome.arrival, outcome.first_token, outcome.finish, case.workload.output).tpot)
    assert (outcome.largest_gap[kept] >= tpot[kept] * (1 - SLACK)).all()
    spans = (outcome.finish - outcome.first_token)[kept]
    assert (outcome.largest_gap[kept] <= spans + SLACK).all()
    assert outcome.gaps @ gap_middles() == pytest.approx(spans.sum(), rel=0.005)


@some
@given(cases())
def test_nobody_overtakes(case: Case) -> None:
    """First tokens come in order of arrival, at one instant by index."""
    outcome = watched(case).outcome
    order = np.lexsort((np.arange(case.workload.requests), outcome.arrival))
    first = outcome.first_token[order]
    assert (np.diff(first[np.isfinite(first)]) >= 0).all()


@some
@given(cases())
def test_the_time_of_steps_adds_up(case: Case) -> None:
    """Time by resource is that of the steps, over all stages; prefill and cached prefixes are parts of it, and it fits into the run."""
    outcome = watched(case).outcome
    busy = outcome.busy_seconds
    assert outcome.resource_seconds.sum() == pytest.approx(case.times.depth * busy)
    assert 0 <= outcome.cached_seconds <= busy * (1 + SLACK)
    assert 0 <= outcome.prefill_seconds <= busy * (1 + SLACK)
    assert busy <= outcome.batch_seconds * (1 + SLACK)
    assert busy <= outcome.duration * (1 + SLACK)


@some
@given(cases())
def test_a_closed_loop_keeps_its_users_busy(case: Case) -> None:
    """After the first request of each user, one is sent exactly when another ends: the number in the system stays the same."""
    users = 1 + case.workload.requests // 3
    roomy = replace(case.policy, kv_capacity=case.policy.footprint(2 * LONGEST), max_context=2 * LONGEST)
    outcome = watched(Case(case.workload.closed(users), case.times, roomy)).outcome
    assert not outcome.arrival[:users].any()
    assert np.array_equal(outcome.arrival[users:], np.sort(outcome.finish)[: case.workload.requests - users])


@settings(max_examples=150)
@given(cases(), st.sampled_from([0.0, 0.0, STEP / 8]))
def test_a_run_can_be_repeated(case: Case, spill: float) -> None:
    """The same question has the same answer, bit for bit, but for the time it took; so it has for the reference, under watch."""
    case = replace(case, times=replace(case.times, spill=spill, spill_after=0.5 * case.policy.kv_capacity))
    outcomes = (run(case.workload, case.times, case.policy), run(case.workload, case.times, case.policy), watched(case).outcome)
    assert outcomes[2].kv_peak == pytest.approx(outcomes[0].kv_peak, rel=SLACK)  # bytes are not all multiples of a power of two
    for name in {field.name for field in fields(outcomes[0])} - {"wall_time", "kv_peak"}:
        first, *others = (getattr(outcome, name) for outcome in outcomes)
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=name)


@some
@given(cases())
def test_a_delay_before_the_scheduler_is_a_later_arrival(case: Case) -> None:
    """In an open loop tokens come as if each request had been sent later by the delay."""
    asked, delay = replace(case.workload, concurrency=0), case.policy.admission_delay
    delayed = run(asked, case.times, case.policy)
    later = run(replace(asked, arrival=asked.arrival + delay), case.times, replace(case.policy, admission_delay=0.0))
    for name in ("first_token", "finish", "largest_gap", "preemptions"):
        np.testing.assert_array_equal(getattr(later, name), getattr(delayed, name), err_msg=name)
    np.testing.assert_array_equal(later.arrival, delayed.arrival + delay)
