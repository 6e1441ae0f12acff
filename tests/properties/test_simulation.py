"""What holds for every run of the simulator, whatever the requests, the step times, the policies and the fleet."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.metrics import Columns
from assay.simulate import Outcome, run
from assay.simulate.records import gap_middles

Watch = Callable[[Any], tuple[Outcome, Any, Any]]
Cases = st.SearchStrategy[Any]

LONGEST = 200  # tokens of a prompt or an output
SLACK = 1e-9  # for sums that are not exact

some = settings(max_examples=25)


@some
@given(data=st.data())
def test_every_request_that_fits_finishes_with_exactly_its_tokens(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """First tokens and gaps add up to the steps of the requests that were served; without drafts a step is a token."""
    case = data.draw(cases)
    outcome, counts, simulation = watched(case)
    moments = (1 + simulation.steps)[outcome.served].sum()
    assert outcome.served.sum() + outcome.gaps.sum() == moments
    if case.fleet.width == 1:
        assert moments == np.maximum(case.workload.output, 1)[outcome.served].sum()
    if not case.fleet.outages:  # of a step that was lost with its replica nobody got a token
        assert counts.ended + counts.decode == moments


@some
@given(data=st.data())
def test_memory_is_never_above_the_capacity_and_all_given_back(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """At the end nothing but shared blocks without users is left."""
    case = data.draw(cases)
    outcome, _, simulation = watched(case)
    for rank in simulation.ranks:
        assert rank.cache.busy == 0.0
        assert not any(rank.cache._users.values())
        assert not (rank.running)
        assert not (rank.handed)
        assert not (rank.prompts)
        assert not (rank.ready)
        assert not (rank.requests)
        assert not (any(rank.batches))
    assert outcome.kv_peak <= 1
    assert not outcome.prefix_hit.any() or case.policy.prefix_cache


@some
@given(data=st.data())
def test_tokens_are_conserved(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Each token of a prompt is computed once without preemption, less those found in the cache; decodes are as many as their steps."""
    case = data.draw(cases)
    outcome, counts, simulation = watched(case)
    needed = int(case.workload.input[outcome.served].sum())
    if case.fleet.outages:
        return
    if not outcome.preemptions.any():
        assert counts.prompt == needed - outcome.prefix_hit.sum()
        assert counts.decode == simulation.steps[outcome.served].sum()
    elif not case.policy.prefix_cache:
        assert counts.prompt > needed


@some
@given(data=st.data())
def test_attention_does_not_depend_on_the_schedule(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Without preemption, hits and drafts, decode contexts and prefill pairs add up to what each request needs by itself."""
    case = data.draw(cases)
    reaches = case.fleet.pools[0].times.reaches
    pools = tuple(
        replace(pool, times=replace(pool.times, width=1), policy=replace(pool.policy, prefix_cache=False)) for pool in case.fleet.pools
    )
    if any(pool.times.reaches != reaches for pool in pools):
        return
    outcome, counts, _ = watched(replace(case, fleet=replace(case.fleet, pools=pools)))
    if outcome.preemptions.any() or case.fleet.outages:
        return
    prompts, outputs = case.workload.input[outcome.served], np.maximum(case.workload.output, 1)[outcome.served]
    for place, reach in enumerate(reaches):
        contexts = np.arange(2 * LONGEST + 1)
        upto = np.cumsum(np.minimum(contexts, reach) if reach else contexts)
        assert counts.pairs[place] == upto[prompts].sum()
        assert counts.contexts[place] == (upto[prompts + outputs - 1] - upto[prompts]).sum()


@some
@given(data=st.data())
def test_times_come_in_order(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Arrival, first token, finish; gaps lie between the last two: the largest is no less than their mean, and they add up."""
    case = data.draw(cases)
    outcome, _, simulation = watched(case)
    kept = outcome.served
    assert (outcome.first_token[kept] > outcome.arrival[kept] + case.policy.admission_delay).all()
    assert (outcome.finish[kept] >= outcome.first_token[kept]).all()
    times = Columns(outcome.arrival, outcome.first_token, outcome.finish, 1 + simulation.steps)
    assert (outcome.largest_gap[kept] >= np.nan_to_num(times.tpot)[kept] * (1 - SLACK)).all()
    spans = (outcome.finish - outcome.first_token)[kept]
    assert (outcome.largest_gap[kept] <= spans).all()
    assert outcome.gaps @ gap_middles() == pytest.approx(spans.sum(), rel=0.005)


@some
@given(data=st.data())
def test_nobody_overtakes_at_one_scheduler(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """First tokens of one class come in order of arrival, at one instant by index, unless a prefix comes from host memory."""
    case = data.draw(cases)
    if not case.alone or case.policy.host_capacity:
        return
    outcome, _, _ = watched(case)
    order = np.lexsort((np.arange(case.workload.requests), outcome.arrival))
    first = outcome.first_token[order]
    assert (np.diff(first[np.isfinite(first)]) >= 0).all()


@some
@given(data=st.data())
def test_the_time_of_steps_adds_up(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Time by resource is that of the steps, over all stages; prefill and cached prefixes are parts of it, and it fits into the run."""
    case = data.draw(cases)
    outcome, _, simulation = watched(case)
    busy, depths = outcome.busy_seconds, [pool.times.depth for pool in case.fleet.pools]
    assert min(depths) * busy * (1 - SLACK) <= outcome.resource_seconds.sum() <= max(depths) * busy * (1 + SLACK)
    assert 0 <= outcome.cached_seconds <= busy * (1 + SLACK)
    assert 0 <= outcome.prefill_seconds <= busy * (1 + SLACK)
    assert busy <= outcome.batch_seconds * (1 + SLACK)
    if not case.fleet.outages:  # a step that is lost was still begun
        assert busy <= len(simulation.replicas) * outcome.duration * (1 + SLACK)


@some
@given(data=st.data())
def test_the_batch_is_the_integral_of_who_runs(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Little's law, exactly: sequences x time is the sum of the times from admission to finish, where no step waits for anything."""
    case = data.draw(cases)
    (pool, *others), host = case.fleet.pools, case.policy.host_capacity
    if others or host or pool.replicas * pool.times.depth > 1 or case.fleet.outages:
        return
    outcome, counts, _ = watched(case)
    if not outcome.preemptions.any():
        ran = sum(outcome.finish[row] - moment for row, moment in counts.began.items())
        assert outcome.batch_seconds == pytest.approx(ran, rel=SLACK)


@some
@given(data=st.data())
def test_a_closed_loop_keeps_its_users_busy(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """After the first request of each user, one is sent exactly when another ends: the number in the system stays the same."""
    case = data.draw(cases)
    asked, users = case.workload, 1 + case.workload.requests // 3
    asked = replace(asked.closed(users), session=asked.session[:0], think=asked.think[:0])
    roomy = replace(case.policy, kv_capacity=case.policy.most(LONGEST, LONGEST, case.fleet.width), max_context=2 * LONGEST)
    pools = tuple(replace(pool, policy=roomy) for pool in case.fleet.pools)
    outcome, _, _ = watched(replace(case, workload=asked, fleet=replace(case.fleet, pools=pools)))
    assert not outcome.arrival[:users].any()
    assert np.array_equal(outcome.arrival[users:], np.sort(outcome.finish)[: asked.requests - users])


@some
@given(data=st.data())
def test_turns_come_when_the_user_has_thought(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """Each a think time after the one before it ended, or at once where that was rejected."""
    case = data.draw(cases)
    asked = case.workload
    outcome, _, _ = watched(case)
    if not asked.session.size:
        return
    following = asked.following()
    before = np.flatnonzero((following >= 0) & outcome.served)
    later = following[before]
    assert np.array_equal(outcome.arrival[later], outcome.finish[before] + asked.think[later])


@settings(max_examples=60)
@given(data=st.data(), spill=st.sampled_from([0.0, 0.0, 2.0**-10]))
def test_a_run_can_be_repeated(watched: Watch, cases: Cases, data: st.DataObject, spill: float) -> None:
    """The same question has the same answer, bit for bit, but for the time it took; so it has for the reference, under watch."""
    case = data.draw(cases)
    after = 0.5 * case.policy.kv_capacity // 1
    pools = tuple(replace(pool, times=replace(pool.times, spill=spill, spill_after=after)) for pool in case.fleet.pools)
    case = replace(case, fleet=replace(case.fleet, pools=pools))
    compiled = [run(case.workload, case.fleet, seed=case.seed) for _ in range(2)]
    outcomes = (*compiled, watched(case)[0])
    for name in {field.name for field in fields(Outcome)} - {"wall_time", "tallies"}:
        first, *others = (getattr(outcome, name) for outcome in outcomes)
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=name)
    for first, *others in zip(*(outcome.tallies for outcome in outcomes), strict=True):
        for name, other in ((name, other) for name in set(vars(first)) - {"times"} for other in others):
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name), err_msg=name)


@some
@given(data=st.data())
def test_a_delay_before_the_scheduler_is_a_later_arrival(watched: Watch, cases: Cases, data: st.DataObject) -> None:
    """In an open loop tokens come as if each request had been sent later by the delay."""
    case = data.draw(cases)
    asked, delay = replace(case.workload, concurrency=0, ramp=0.0, session=case.workload.session[:0]), case.policy.admission_delay
    prompt = tuple(replace(pool, policy=replace(pool.policy, admission_delay=0.0)) for pool in case.fleet.pools)
    delayed = run(asked, case.fleet, seed=case.seed)
    later = run(replace(asked, arrival=asked.arrival + delay), replace(case.fleet, pools=prompt), seed=case.seed)
    for name in ("first_token", "finish", "largest_gap", "preemptions"):
        np.testing.assert_array_equal(getattr(later, name), getattr(delayed, name), err_msg=name)
    np.testing.assert_array_equal(later.arrival, delayed.arrival + delay)
