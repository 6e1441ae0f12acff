"""Replicas that start and fail: what becomes of their requests. A step takes a second."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assay.simulate import Fleet, Outage, Outcome, Policy, Pool
from assay.simulate.policies import DECODE, PREFILL, PREFIX_AFFINITY
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

SECOND = StepTime.constant(1.0, most=1000)
POLICY = Policy(token_budget=100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))
DOWN, UP = False, True


def fleet(replicas: int, *outages: tuple[float, int, bool], policy: Policy = POLICY) -> Fleet:
    """Replicas in turn, and when which of them fails or starts."""
    return replace(Fleet.of(SECOND, policy, replicas), outages=tuple(Outage(*outage) for outage in outages))


# Failures


def test_requests_of_a_failed_replica_go_on_elsewhere_with_the_tokens_they_have(asked: Asked, serve: Serve) -> None:
    """It had three of six when the step at hand was lost: prompt and tokens are computed again, which gives the fourth."""
    outcome = serve(asked((4, 6)), fleet(2, (3.5, 0, DOWN)))
    assert outcome.first_token[0] == 1.0
    assert outcome.finish[0] == 3.5 + 3
    assert outcome.preemptions.tolist() == [1]
    assert outcome.largest_gap[0] == 1.5
    assert outcome.gaps.sum() == 5


def test_all_that_was_known_is_computed_again(asked: Asked, serve: Serve) -> None:
    """A second per token: four of the prompt and three that were generated."""
    times = StepTime.linear(0.0, 1.0, most=1000)
    failing = replace(Fleet.of(times, POLICY, 2), outages=(Outage(6.5, 0, DOWN),))
    outcome = serve(asked((4, 6)), failing)
    assert outcome.finish[0] == 6.5 + 7 + 2


def test_who_waited_is_not_preempted(asked: Asked, serve: Serve) -> None:
    """Of three on the failed replica one ran; it goes first, then those who waited."""
    policy = replace(POLICY, max_num_seqs=1)
    workload = asked((4, 5), (4, 1), (4, 1), (4, 1), (4, 1), at=(0.0, 0.0, 1.5, 1.5, 1.5))
    outcome = serve(workload, fleet(2, (2.5, 0, DOWN), policy=policy))
    assert outcome.preemptions.tolist() == [1, 0, 0, 0, 0]
    assert outcome.finish.tolist() == [5.5, 1.0, 6.5, 2.5, 7.5]


def test_who_waited_goes_on_by_class(asked: Asked, serve: Serve) -> None:
    """Of two that wait at the failed replica the better class goes first, though the scheduler had not seen it yet."""
    workload = asked(*[(1, 5)] * 3, *[(1, 1)] * 4, at=(0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 1.5), priority=[0, 0, 0, 2, 0, 0, 0])
    outcome = serve(workload, fleet(3, (1.75, 0, DOWN), policy=replace(POLICY, max_num_seqs=1)))
    assert outcome.finish.tolist() == [10.0, 5.0, 5.0, 11.0, 6.0, 6.0, 7.0]


@pytest.mark.parametrize("output", [3, 6])
def test_tokens_of_the_instant_of_a_failure_are_given(asked: Asked, serve: Serve, output: int) -> None:
    """Steps end before replicas fail: the third token counts, and the fourth, if there is one, takes a step elsewhere."""
    outcome = serve(asked((4, output)), fleet(2, (3.0, 0, DOWN)))
    assert outcome.finish[0] == output
    assert outcome.preemptions[0] == (output > 3)
    assert outcome.steps == output


def test_the_failed_replica_gets_no_more_requests(asked: Asked, serve: Serve) -> None:
    """All go to the other one, one seat at a time."""
    workload = asked(*[(4, 1)] * 4, at=(5.0, 5.0, 5.0, 5.0))
    outcome = serve(workload, fleet(2, (0.0, 0, DOWN), policy=replace(POLICY, max_num_seqs=1)))
    assert outcome.finish.tolist() == [6.0, 7.0, 8.0, 9.0]


def test_a_failed_replica_forgets_its_prefixes(asked: Asked, serve: Serve) -> None:
    """After it is up again nothing is found."""
    workload = asked(*[(17, 1)] * 3, at=(0.0, 5.0, 20.0), ids=[[0, 1, 2]] * 3, block=8)
    policy = replace(POLICY, prefix_cache=True)
    assert serve(workload, fleet(1, policy=policy)).prefix_hit.tolist() == [0, 16, 16]
    assert serve(workload, fleet(1, (10.0, 0, DOWN), (11.0, 0, UP), policy=policy)).prefix_hit.tolist() == [0, 16, 0]


def test_a_prefix_finds_another_home_when_its_own_is_down(asked: Asked, serve: Serve) -> None:
    """The third request goes to the second replica, and so does the fourth, though the first is up again."""
    workload = asked(*[(17, 1)] * 4, at=(0.0, 5.0, 20.0, 40.0), ids=[[0, 1, 2]] * 4, block=8)
    nearest = replace(fleet(2, (10.0, 0, DOWN), (30.0, 0, UP), policy=replace(POLICY, prefix_cache=True)), routing=PREFIX_AFFINITY)
    assert serve(workload, nearest).prefix_hit.tolist() == [0, 16, 0, 16]


# Nobody up


def test_requests_are_held_while_nobody_is_up(asked: Asked, serve: Serve) -> None:
    """The one that ran and the one that came meanwhile are served from 10 on; the first had one token."""
    outcome = serve(asked((4, 3), (4, 2), at=(0.0, 5.0)), fleet(1, (1.5, 0, DOWN), (10.0, 0, UP)))
    assert outcome.first_token.tolist() == [1.0, 11.0]
    assert outcome.finish.tolist() == [12.0, 12.0]
    assert outcome.preemptions.tolist() == [1, 0]
    assert outcome.largest_gap[0] == 10.0


def test_held_requests_go_in_the_order_in_which_they_came(asked: Asked, serve: Serve) -> None:
    """By arrival, at one instant by index."""
    workload = asked(*[(4, 1)] * 4, at=(1.0, 1.0, 2.0, 3.0))
    outcome = serve(workload, fleet(1, (0.0, 0, DOWN), (10.0, 0, UP), policy=replace(POLICY, max_num_seqs=1)))
    assert outcome.finish.tolist() == [11.0, 12.0, 13.0, 14.0]


def test_requests_are_never_served_when_nobody_comes_back(asked: Asked, serve: Serve) -> None:
    """Their finish is not known, that of others is; the run ends."""
    outcome = serve(asked((4, 2), (4, 9), (4, 1), at=(0.0, 3.0, 50.0)), fleet(1, (5.5, 0, DOWN)))
    assert outcome.served.tolist() == [True, False, False]
    assert outcome.first_token[1] == 4.0
    assert np.isnan(outcome.first_token[2])
    assert outcome.preemptions.tolist() == [0, 1, 0]


# Starts


def test_a_replica_may_start_later(asked: Asked, serve: Serve) -> None:
    """One whose first entry is a start is down before."""
    assert serve(asked((4, 1)), fleet(1, (7.0, 0, UP))).finish[0] == 8.0


def test_a_replica_that_started_takes_its_turn(asked: Asked, serve: Serve) -> None:
    """Until 5 one replica serves all, one by one; then there are two."""
    policy = replace(POLICY, max_num_seqs=1)
    workload = asked(*[(4, 1)] * 4, at=(0.0, 0.0, 6.0, 6.0))
    assert serve(workload, fleet(2, (5.0, 1, UP), policy=policy)).finish.tolist() == [1.0, 2.0, 7.0, 7.0]


@pytest.mark.parametrize("twice", [DOWN, UP])
def test_to_be_told_twice_changes_nothing(asked: Asked, serve: Serve, twice: bool) -> None:
    """A replica that is up starts no more, one that is down fails no more."""
    once = fleet(1, (1.5, 0, DOWN), (3.5, 0, UP))
    again = replace(once, outages=(*once.outages, Outage(2.5 if twice is DOWN else 4.0, 0, twice)))
    assert serve(asked((4, 4)), again).finish[0] == serve(asked((4, 4)), once).finish[0] == 6.5


def test_outages_after_the_last_request_do_not_matter(asked: Asked, serve: Serve) -> None:
    """Nor does their order in the list."""
    outcome = serve(asked((4, 2)), fleet(1, (100.0, 0, UP), (50.0, 0, DOWN)))
    assert outcome.finish[0] == 2.0
    assert not outcome.preemptions.any()


# Prefill and decode apart


def apart(*outages: Outage, prefill: int = 2, decode: int = 2) -> Fleet:
    """Replicas that compute prompts, then those that decode; a cache of four bytes takes a second."""
    pools = (Pool(SECOND, POLICY, prefill, PREFILL), Pool(SECOND, POLICY, decode, DECODE))
    return Fleet(pools, link_bandwidth=4.0, outages=outages)


def test_who_loses_its_cache_while_it_decodes_starts_over_at_a_prompt_rank(asked: Asked, serve: Serve) -> None:
    """It has two tokens at 3.5: six are computed, which takes a step, and sent, which takes 1.5 seconds; that gives the third."""
    outcome = serve(asked((4, 4)), apart(Outage(3.5, 2, DOWN)))
    assert outcome.first_token[0] == 2.0
    assert outcome.finish[0] == 3.5 + 1 + 1.5 + 1
    assert outcome.preemptions.tolist() == [1]


def test_a_cache_on_its_way_to_a_failed_rank_is_sent_to_another(asked: Asked, serve: Serve) -> None:
    """It is still where it was computed: no prompt is computed again."""
    outcome = serve(asked((4, 2)), apart(Outage(1.5, 2, DOWN)))
    assert outcome.first_token[0] == 1.5 + 1
    assert outcome.steps == 2


def test_a_cache_lost_at_its_source_is_computed_again(asked: Asked, serve: Serve) -> None:
    """The rank that waited for it notices when it should have come, at 2."""
    outcome = serve(asked((4, 2)), apart(Outage(1.5, 0, DOWN)))
    assert outcome.first_token[0] == 2 + 1 + 1
    assert outcome.served.all()


def test_who_waits_for_a_cache_that_is_lost_is_sent_away_with_the_next_step(asked: Asked, serve: Serve) -> None:
    """The only seat is taken from 2 to 11: the prompt is computed again from 4 to 5, in time for the seat, and its cache sent at 11."""
    one_seat = replace(POLICY, max_num_seqs=1)
    pools = (Pool(SECOND, POLICY, 2, PREFILL), Pool(SECOND, one_seat, 1, DECODE))
    outcome = serve(asked((4, 10), (4, 2)), Fleet(pools, link_bandwidth=4.0, outages=(Outage(3.5, 1, DOWN),)))
    assert outcome.finish.tolist() == [11.0, 13.0]
    assert outcome.first_token[1] == 12.0


def test_caches_are_held_while_no_decode_replica_is_up(asked: Asked, serve: Serve) -> None:
    """The prompt is computed at 1, sent from 10 on."""
    outcome = serve(asked((4, 2)), apart(Outage(0.0, 2, DOWN), Outage(10.0, 2, UP), decode=1))
    assert outcome.first_token[0] == 11.0
    assert outcome.steps == 2
