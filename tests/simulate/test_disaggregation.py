"""Prompts here, decodes there: caches go over a link in between. A step takes a second, a byte on the link a quarter."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Fleet, Outcome, Policy, Pool
from assay.simulate.policies import DECODE, PREFILL
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

SECOND = StepTime.constant(1.0, most=1000)
POLICY = Policy(token_budget=100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))
LATENCY, BANDWIDTH = 0.5, 4.0
TRANSFER = LATENCY + 8 / BANDWIDTH  # of a prompt of eight tokens, a byte each


def apart(prefill: Pool, *decode: Pool) -> Fleet:
    """Pools of either role, and the link into each decode rank."""
    pools = (replace(prefill, role=PREFILL), *(replace(pool, role=DECODE) for pool in decode))
    return Fleet(pools, link_bandwidth=BANDWIDTH, link_latency=LATENCY)


def test_the_time_to_first_token_includes_the_transfer(asked: Asked, serve: Serve) -> None:
    """A step, the link's latency and the bytes of the prompt over its bandwidth; then a token a step."""
    outcome = serve(asked((8, 3)), apart(Pool(SECOND, POLICY), Pool(SECOND, POLICY)))
    assert outcome.first_token[0] == 1 + TRANSFER
    assert outcome.finish[0] == 1 + TRANSFER + 2
    assert outcome.steps == 3


@pytest.mark.parametrize("output", [0, 1])
def test_a_request_of_one_token_ends_where_its_prompt_is_computed(asked: Asked, serve: Serve, output: int) -> None:
    """Nothing is sent."""
    assert serve(asked((8, output)), apart(Pool(SECOND, POLICY), Pool(SECOND, POLICY))).finish[0] == 1.0


def test_windowed_layers_send_their_window(asked: Asked, serve: Serve) -> None:
    """Eight tokens at a byte each, and two of them at three bytes."""
    policy = replace(POLICY, kv_bytes=((0, 1.0), (2, 3.0)))
    assert serve(asked((8, 2)), apart(Pool(SECOND, policy), Pool(SECOND, policy))).first_token[0] == 1 + LATENCY + 14 / BANDWIDTH


def test_caches_go_into_a_rank_one_after_the_other(asked: Asked, serve: Serve) -> None:
    """Both prompts end at 1; the bytes of the second wait for those of the first, but not for their being there."""
    outcome = serve(asked((8, 2), (8, 2)), apart(Pool(SECOND, POLICY), Pool(SECOND, POLICY)))
    assert outcome.first_token.tolist() == [1 + TRANSFER, 1 + TRANSFER + 8 / BANDWIDTH]


def test_each_decode_rank_has_a_link_of_its_own(asked: Asked, serve: Serve) -> None:
    """Two of them take two caches at once."""
    outcome = serve(asked((8, 2), (8, 2)), apart(Pool(SECOND, POLICY), Pool(SECOND, POLICY, replicas=2)))
    assert outcome.first_token.tolist() == [1 + TRANSFER, 1 + TRANSFER]


def test_decodes_do_not_wait_for_prompts(asked: Asked, serve: Serve) -> None:
    """A long prompt in chunks is no matter to a sequence that decodes elsewhere; beside it, each token would take longer."""
    times = StepTime.linear(0.5, 0.125, most=1000)
    workload = asked((8, 20), (400, 1), at=(0.0, 1.0))
    outcome = serve(workload, apart(Pool(times, POLICY), Pool(times, POLICY)))
    assert outcome.largest_gap[0] == 0.5 + 0.125
    assert serve(workload, Fleet.of(times, POLICY)).largest_gap[0] > 10


def test_a_full_decode_rank_holds_up_prefill(asked: Asked, serve: Serve) -> None:
    """Room for one sequence there and for two prompts here: the third prompt waits until the first cache was fetched.

    The first decodes until 5.5; only then is the cache of the second called for, and that of the third when the second is done.
    """
    prefill, decode = replace(POLICY, token_budget=8, kv_capacity=16.0), replace(POLICY, kv_capacity=12.0)
    outcome = serve(asked((8, 3), (8, 3), (8, 3)), apart(Pool(SECOND, prefill), Pool(SECOND, decode)))
    assert outcome.first_token.tolist() == [3.5, 5.5 + TRANSFER, 10.0 + TRANSFER]
    assert outcome.finish.tolist() == [5.5, 10.0, 14.5]
    assert outcome.kv_peak == 1.0


def test_a_prompt_waits_while_its_place_holds_a_cache_that_nobody_fetched(asked: Asked, serve: Serve) -> None:
    """A last request of one token shows when prefill has room again: it is computed when the cache of the second is fetched, at 8."""
    prefill, decode = replace(POLICY, token_budget=8, kv_capacity=16.0), replace(POLICY, kv_capacity=12.0)
    outcome = serve(asked((8, 3), (8, 3), (8, 3), (8, 1)), apart(Pool(SECOND, prefill), Pool(SECOND, decode)))
    assert outcome.finish[3] == 8.0 + 1


def test_a_seat_of_a_decode_rank_is_taken_from_the_transfer_on(asked: Asked, serve: Serve) -> None:
    """With one seat the second cache is fetched when the first sequence has ended."""
    fleet = apart(Pool(SECOND, POLICY), Pool(SECOND, replace(POLICY, max_num_seqs=1)))
    assert serve(asked((8, 3), (8, 3)), fleet).first_token.tolist() == [3.5, 5.5 + TRANSFER]


@pytest.mark.parametrize(("prefill", "decode"), [(1, 1), (1, 3), (3, 1), (2, 5)])
def test_any_ratio_serves_all(serve: Serve, prefill: int, decode: int) -> None:
    """Every request gets its tokens, and after the first one of them for each step."""
    workload = Workload.draw(8, 20, requests=60, spread=(0.2, 1.8)).closed(7)
    outcome = serve(workload, apart(Pool(SECOND, POLICY, prefill), Pool(SECOND, POLICY, decode)))
    assert outcome.served.all()
    assert outcome.gaps.sum() == (workload.output - 1).sum()


def test_unlike_pools_take_their_own_time(asked: Asked, serve: Serve) -> None:
    """Slow prompts, fast decodes."""
    quick = StepTime.constant(0.125, most=1000)
    outcome = serve(asked((8, 9)), apart(Pool(SECOND, POLICY), Pool(quick, POLICY)))
    assert outcome.first_token[0] == 1 + TRANSFER
    assert outcome.finish[0] == 1 + TRANSFER + 1


def test_decode_pools_may_be_unlike_too(asked: Asked, serve: Serve) -> None:
    """Round robin sends the first cache to the quick ones and the second to the slow ones."""
    quick = StepTime.constant(0.125, most=1000)
    outcome = serve(asked((8, 9), (8, 9)), apart(Pool(SECOND, POLICY), Pool(quick, POLICY), Pool(SECOND, POLICY)))
    assert (outcome.finish - outcome.first_token).tolist() == [1.0, 8.0]


def test_a_hit_spares_computing_but_no_transfer(asked: Asked, serve: Serve) -> None:
    """The second prompt has one token to compute and all to send."""
    times = StepTime.linear(0.0, 1.0, most=1000)
    workload = asked((9, 2), (9, 2), at=(0.0, 100.0), ids=[[0, 1]] * 2, block=8)
    outcome = serve(workload, apart(Pool(times, replace(POLICY, prefix_cache=True)), Pool(times, POLICY)))
    assert outcome.prefix_hit.tolist() == [0, 8]
    assert (outcome.first_token - outcome.arrival).tolist() == [9 + LATENCY + 9 / BANDWIDTH, 1 + LATENCY + 9 / BANDWIDTH]


def test_who_gives_way_is_computed_again_where_it_decodes(asked: Asked, serve: Serve) -> None:
    """Two sequences grow until the memory is full; the second starts over there, and nothing is sent again."""
    fleet = apart(Pool(SECOND, POLICY), Pool(SECOND, replace(POLICY, kv_capacity=12.0)))
    outcome = serve(asked((4, 6), (4, 6)), replace(fleet, link_bandwidth=float("inf"), link_latency=0.0))
    assert outcome.preemptions.tolist() == [0, 1]
    assert outcome.finish.tolist() == [6.0, 9.0]


def test_who_could_not_run_at_both_places_is_rejected(asked: Asked, serve: Serve) -> None:
    """Though its prompt would fit where it is computed."""
    fleet = apart(Pool(SECOND, POLICY), Pool(SECOND, replace(POLICY, kv_capacity=12.0)))
    assert serve(asked((8, 5), (8, 6)), fleet).served.tolist() == [True, False]


def test_turns_and_users_go_on_when_the_decode_ends(asked: Asked, serve: Serve) -> None:
    """The next request of a user is sent when the last has all its tokens."""
    outcome = serve(asked((8, 3), (8, 3)).closed(1), apart(Pool(SECOND, POLICY), Pool(SECOND, POLICY)))
    assert outcome.arrival.tolist() == [0.0, 5.5]
