"""What each step does: these tests read as the rules of the scheduler. A step is (who decodes, {whose prompt: tokens})."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.simulate import Outcome, Policy, run
from assay.simulate.reference import Replica
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Steps = list[tuple[list[int], dict[int, int]]]

SECOND = StepTime.constant(1.0, most=1000)
POLICY = Policy(token_budget=4, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))


class Recorder(Replica):
    """A replica that writes down its steps."""

    def __init__(self, workload: Workload, policy: Policy) -> None:
        super().__init__(workload, SECOND, policy.within(SECOND))
        self.steps: Steps = []

    def _issue(self, batch: Any) -> None:
        self.steps.append(([each.index for each in batch.decodes], {each.index: chunk for each, chunk, _ in batch.chunks}))
        super()._issue(batch)


def schedule(workload: Workload, policy: Policy = POLICY) -> tuple[Steps, Outcome]:
    """The steps of a run in which each takes a second, and its outcome."""
    recorder = Recorder(workload, policy)
    outcome = recorder.run()
    return recorder.steps, outcome


# Prompts


def test_a_prompt_is_split_by_the_token_budget(asked: Asked) -> None:
    """Ten tokens at four a step take three; the last gives the first token of the output."""
    steps, outcome = schedule(asked((10, 2)))
    assert steps == [([], {0: 4}), ([], {0: 4}), ([], {0: 2}), ([0], {})]
    assert outcome.first_token.tolist() == [3.0]
    assert outcome.finish.tolist() == [4.0]


def test_what_is_left_of_the_budget_goes_to_the_next_prompt(asked: Asked) -> None:
    """First come, first served."""
    steps, _ = schedule(asked((6, 1), (6, 1)))
    assert steps == [([], {0: 4}), ([], {0: 2, 1: 2}), ([], {1: 4})]


def test_a_step_is_no_larger_than_its_time_is_known_for(asked: Asked) -> None:
    """The tables of a StepTime bound the budget too."""
    assert run(asked((10, 1)), StepTime.constant(1.0, most=5), replace(POLICY, token_budget=100)).steps == 2


def test_requests_of_one_instant_come_by_index(asked: Asked) -> None:
    """Equal arrivals are served in the order of their rows."""
    _, outcome = schedule(asked((4, 1), (4, 1), (4, 1), at=(2.0, 2.0, 2.0)))
    assert outcome.first_token.tolist() == [3.0, 4.0, 5.0]


def test_an_arrival_during_a_step_is_seen_at_its_end(asked: Asked) -> None:
    """A step that has begun cannot be joined; at its end arrivals of that very instant are seen too."""
    _, outcome = schedule(asked((1, 1), (1, 1), (1, 1), at=(0.0, 0.5, 1.0)))
    assert outcome.first_token.tolist() == [1.0, 2.0, 2.0]


def test_an_idle_replica_waits_for_the_next_arrival(asked: Asked) -> None:
    """No step runs in between."""
    steps, outcome = schedule(asked((1, 1), (1, 1), at=(0.0, 100.0)))
    assert len(steps) == 2
    assert outcome.first_token.tolist() == [1.0, 101.0]
    assert outcome.busy_seconds == 2.0


# Decodes beside prompts


def test_decodes_share_steps_with_chunks(asked: Asked) -> None:
    """A sequence that decodes goes on; a prompt gets what the budget leaves."""
    steps, outcome = schedule(asked((2, 4), (6, 1), at=(0.0, 0.5)), replace(POLICY, token_budget=3))
    assert steps == [([], {0: 2}), ([0], {1: 2}), ([0], {1: 2}), ([0], {1: 2})]
    assert outcome.largest_gap.tolist() == [1.0, 0.0]


def test_prefill_first_lets_decodes_wait(asked: Asked) -> None:
    """Waiting prompts have whole steps to themselves, at the cost of a gap for who decodes."""
    policy = replace(POLICY, token_budget=3, prefill_first=True)
    steps, outcome = schedule(asked((2, 4), (6, 1), at=(0.0, 0.5)), policy)
    assert steps == [([], {0: 2}), ([], {1: 3}), ([], {1: 3}), ([0], {}), ([0], {}), ([0], {})]
    assert outcome.largest_gap.tolist() == [3.0, 0.0]


def test_no_more_run_together_than_a_step_has_tokens_for(asked: Asked) -> None:
    """Decodes count against the budget, one token each: nobody is admitted who would wait in turn."""
    steps, _ = schedule(asked((1, 3), (1, 3), (1, 2)), replace(POLICY, token_budget=2))
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([0, 1], {}), ([], {2: 1}), ([2], {})]


def test_no_more_than_max_num_seqs_run_together(asked: Asked) -> None:
    """The third of three waits until one of the first two has finished."""
    steps, outcome = schedule(asked((1, 2), (1, 4), (1, 2)), replace(POLICY, max_num_seqs=2))
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([1], {2: 1}), ([1, 2], {})]
    assert outcome.batch_seconds == 8.0


# Memory


def test_a_request_waits_for_memory(asked: Asked) -> None:
    """Twelve tokens do not hold two prompts of seven, though the budget would."""
    policy = replace(POLICY, token_budget=100, kv_capacity=12.0)
    _, outcome = schedule(asked((7, 2), (7, 2)), policy)
    assert outcome.first_token.tolist() == [1.0, 3.0]
    assert not outcome.preemptions.any()


def test_nobody_passes_who_waits_for_memory(asked: Asked) -> None:
    """A short request behind a long one that does not fit waits as well."""
    policy = replace(POLICY, token_budget=100, kv_capacity=12.0)
    _, outcome = schedule(asked((7, 3), (7, 1), (1, 1)), policy)
    assert outcome.first_token.tolist() == [1.0, 4.0, 4.0]


def test_the_sequence_admitted_last_gives_way_and_is_recomputed(asked: Asked) -> None:
    """Two sequences grow by a token a step until twelve are held; then the second leaves, and starts over when the first is done.

    The second had 3 of its 6 tokens: it computes its prompt of 4 and those 3 again, and goes on with the fourth.
    """
    steps, outcome = schedule(asked((4, 6), (4, 6)), replace(POLICY, token_budget=8, kv_capacity=12.0))
    both, alone = [([0, 1], {})] * 2, [([0], {})] * 3
    assert steps == [([], {0: 4, 1: 4}), *both, *alone, ([], {1: 7}), ([1], {}), ([1], {})]
    assert outcome.preemptions.tolist() == [0, 1]
    assert outcome.finish.tolist() == [6.0, 9.0]
    assert outcome.largest_gap.tolist() == [1.0, 4.0]
    assert outcome.gaps.sum() == 10


def test_who_gave_way_goes_before_who_waits(asked: Asked) -> None:
    """A preempted sequence returns to the head of the queue."""
    _, outcome = schedule(asked((4, 6), (4, 6), (4, 1)), replace(POLICY, token_budget=8, kv_capacity=12.0, max_num_seqs=2))
    assert outcome.preemptions.tolist() == [0, 1, 0]
    assert outcome.first_token.tolist() == [1.0, 1.0, 8.0]


def test_a_request_that_could_not_run_alone_is_rejected(asked: Asked) -> None:
    """The last token is never put into the cache: 12 tokens of room hold a request of 13, not of 14; others are served."""
    policy = replace(POLICY, kv_capacity=12.0)
    _, outcome = schedule(asked((8, 5), (8, 6), (13, 1), (1, 1)), policy)
    assert outcome.served.tolist() == [True, False, False, True]
    assert np.isnan(outcome.first_token).tolist() == [False, True, True, False]
    assert outcome.kv_peak == 1.0


def test_a_request_longer_than_the_models_context_is_rejected(asked: Asked) -> None:
    """Prompt and output together count."""
    _, outcome = schedule(asked((8, 5), (8, 6)), replace(POLICY, max_context=13))
    assert outcome.served.tolist() == [True, False]


# Prefixes


def shared(tokens: int) -> list[int]:
    """Ids of a prompt of so many tokens in blocks of 8, begun blocks included."""
    return list(range(-(-tokens // 8)))


CACHING = replace(POLICY, token_budget=100, prefix_cache=True)


@pytest.mark.parametrize(("tokens", "hit"), [(7, 0), (8, 0), (9, 8), (32, 24), (33, 32), (39, 32)])
def test_a_second_identical_prompt_computes_little_but_its_last_token(asked: Asked, tokens: int, hit: int) -> None:
    """Whole blocks are found in the cache, but for the block with the last token: it is computed for its logits."""
    steps, outcome = schedule(asked((tokens, 1), (tokens, 1), at=(0.0, 5.0), ids=[shared(tokens)] * 2, block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, hit]
    assert steps == [([], {0: tokens}), ([], {1: tokens - hit})]


def test_without_a_prefix_cache_nothing_is_found(asked: Asked) -> None:
    """Ids are ignored."""
    workload = asked((32, 1), (32, 1), at=(0.0, 5.0), ids=[shared(32)] * 2, block=8)
    _, outcome = schedule(workload, replace(CACHING, prefix_cache=False))
    assert not outcome.prefix_hit.any()


def test_prompts_share_as_far_as_they_begin_alike(asked: Asked) -> None:
    """The third block differs, so that two are found."""
    _, outcome = schedule(asked((32, 1), (32, 1), at=(0.0, 5.0), ids=[[0, 1, 2, 3], [0, 1, 8, 9]], block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, 16]


def test_blocks_are_shared_from_the_step_that_computes_them(asked: Asked) -> None:
    """Of two prompts in one step both are computed; in the next step the first blocks are there."""
    ids = [shared(32)] * 3
    _, outcome = schedule(asked((32, 1), (32, 1), (32, 1), at=(0.0, 0.0, 0.5), ids=ids, block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, 0, 24]


def test_a_block_of_two_running_requests_is_held_once(asked: Asked) -> None:
    """24 tokens in common, 8 of each prompt its own, and what they generate."""
    ids = [[0, 1, 2, 3], [0, 1, 2, 9]]
    workload = asked((32, 3), (32, 2), at=(0.0, 0.5), ids=ids, block=8)
    assert schedule(workload, CACHING)[1].kv_peak == (24 + (8 + 2) + (8 + 1)) / 1000
    assert schedule(workload, replace(CACHING, prefix_cache=False))[1].kv_peak == (34 + 33) / 1000


def test_equal_prompts_of_one_step_end_with_one_copy(asked: Asked) -> None:
    """While the step runs both take room; then the copy of the whole blocks is freed."""
    _, outcome = schedule(asked((32, 4), (32, 4), ids=[shared(32)] * 2, block=8), CACHING)
    assert outcome.kv_peak == 64 / 1000


def test_the_prefix_used_least_recently_makes_room(asked: Asked) -> None:
    """Room for two of three prompts: the first, used again, stays, and the second goes when the third comes."""
    first, second, third = [0, 1], [10, 11], [20, 21]
    ids = [first, second, first, third, first, second]
    workload = asked(*[(17, 1)] * 6, at=[5.0 * row for row in range(6)], ids=ids, block=8)
    _, outcome = schedule(workload, replace(CACHING, kv_capacity=33.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 16, 0, 16, 0]


def test_windowed_layers_share_nothing(asked: Asked) -> None:
    """A hit spares the computing; of the bytes only those kept to the start are held in common."""
    policy = replace(CACHING, kv_bytes=((0, 1.0), (4, 10.0)))
    _, outcome = schedule(asked((33, 3), (33, 2), at=(0.0, 0.5), ids=[shared(33)] * 2, block=8), policy)
    assert outcome.prefix_hit.tolist() == [0, 32]
    assert outcome.kv_peak == (32 + (1 + 2) + (1 + 1) + 2 * 40) / 1000


def test_a_prefix_hit_outlives_the_request_that_made_it(asked: Asked) -> None:
    """After both are gone the blocks are still there, as long as nobody needs the room."""
    workload = asked((33, 1), (33, 1), at=(0.0, 1000.0), ids=[shared(33)] * 2, block=8)
    assert schedule(workload, CACHING)[1].prefix_hit.tolist() == [0, 32]


def test_hits_are_counted_when_a_request_is_first_admitted(asked: Asked) -> None:
    """Who gave way finds the blocks of its own prompt again: that spares computing, but is no prompt token that was cached before."""
    workload = asked((16, 7), (17, 9), ids=[[0, 1], [8, 9]], block=8)
    steps, outcome = schedule(workload, replace(CACHING, kv_capacity=38.0))
    assert outcome.preemptions.tolist() == [0, 1]
    assert outcome.prefix_hit.tolist() == [0, 0]
    assert ([], {1: 17 + 3 - 16}) in steps


# Closed loop


def test_each_user_sends_when_the_last_request_ended(asked: Asked) -> None:
    """Two users; the request that is sent at an instant is served from that instant on."""
    steps, outcome = schedule(asked((1, 2), (1, 3), (1, 1), (1, 1)).closed(2))
    assert outcome.arrival.tolist() == [0.0, 0.0, 2.0, 3.0]
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([1], {2: 1}), ([], {3: 1})]


def test_a_rejected_request_does_not_stop_its_user(asked: Asked) -> None:
    """The next one is sent at once."""
    _, outcome = schedule(asked((1, 1), (5000, 1), (1, 1)).closed(1))
    assert outcome.served.tolist() == [True, False, True]
    assert outcome.arrival.tolist() == [0.0, 1.0, 1.0]


def test_more_users_than_requests_send_all_at_once(asked: Asked) -> None:
    """Arrival times of the workload do not matter in a closed loop."""
    _, outcome = schedule(asked((1, 1), (1, 1), at=(0.0, 9.0)).closed(5))
    assert not outcome.arrival.any()


@pytest.mark.parametrize("users", [0, 1])
def test_a_request_is_seen_after_the_admission_delay(asked: Asked, users: int) -> None:
    """The delay is part of the time to first token, not of the time per token."""
    workload = replace(asked((1, 3), (1, 3), at=(0.0, 7.0)), concurrency=users)
    _, outcome = schedule(workload, replace(POLICY, admission_delay=0.25))
    assert (outcome.first_token - outcome.arrival).tolist() == [1.25, 1.25]
    assert (outcome.finish - outcome.first_token).tolist() == [2.0, 2.0]
    assert outcome.arrival.tolist() == [0.0, 3.25 if users else 7.0]
