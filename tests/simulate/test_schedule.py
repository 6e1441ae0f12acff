"""What each step does: these tests read as the rules of the scheduler. A step is (who decodes, {whose prompt: tokens})."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assay.simulate import Fleet, Outcome, Policy
from assay.simulate.policies import PREFILL_FIRST
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Steps = list[tuple[list[int], dict[int, int]]]
Schedule = Callable[..., tuple[Steps, Outcome]]

POLICY = Policy(token_budget=4, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))


# Prompts


def test_a_prompt_is_split_by_the_token_budget(schedule: Schedule, asked: Asked) -> None:
    """Ten tokens at four a step take three; the last gives the first token of the output."""
    steps, outcome = schedule(asked((10, 2)), POLICY)
    assert steps == [([], {0: 4}), ([], {0: 4}), ([], {0: 2}), ([0], {})]
    assert outcome.first_token.tolist() == [3.0]
    assert outcome.finish.tolist() == [4.0]


def test_what_is_left_of_the_budget_goes_to_the_next_prompt(schedule: Schedule, asked: Asked) -> None:
    """First come, first served."""
    steps, _ = schedule(asked((6, 1), (6, 1)), POLICY)
    assert steps == [([], {0: 4}), ([], {0: 2, 1: 2}), ([], {1: 4})]


def test_a_step_is_no_larger_than_its_time_is_known_for(serve: Serve, asked: Asked) -> None:
    """The tables of a StepTime bound the budget too."""
    assert serve(asked((10, 1)), Fleet.of(StepTime.constant(1.0, most=5), replace(POLICY, token_budget=100))).steps == 2


def test_requests_of_one_instant_come_by_index(schedule: Schedule, asked: Asked) -> None:
    """Equal arrivals are served in the order of their rows."""
    _, outcome = schedule(asked((4, 1), (4, 1), (4, 1), at=(2.0, 2.0, 2.0)), POLICY)
    assert outcome.first_token.tolist() == [3.0, 4.0, 5.0]


def test_an_arrival_during_a_step_is_seen_at_its_end(schedule: Schedule, asked: Asked) -> None:
    """A step that has begun cannot be joined; at its end arrivals of that very instant are seen too."""
    _, outcome = schedule(asked((1, 1), (1, 1), (1, 1), at=(0.0, 0.5, 1.0)), POLICY)
    assert outcome.first_token.tolist() == [1.0, 2.0, 2.0]


def test_an_idle_replica_waits_for_the_next_arrival(schedule: Schedule, asked: Asked) -> None:
    """No step runs in between."""
    steps, outcome = schedule(asked((1, 1), (1, 1), at=(0.0, 100.0)), POLICY)
    assert len(steps) == 2
    assert outcome.first_token.tolist() == [1.0, 101.0]
    assert outcome.busy_seconds == 2.0


# Decodes beside prompts


def test_decodes_share_steps_with_chunks(schedule: Schedule, asked: Asked) -> None:
    """A sequence that decodes goes on; a prompt gets what the budget leaves."""
    steps, outcome = schedule(asked((2, 4), (6, 1), at=(0.0, 0.5)), replace(POLICY, token_budget=3))
    assert steps == [([], {0: 2}), ([0], {1: 2}), ([0], {1: 2}), ([0], {1: 2})]
    assert outcome.largest_gap.tolist() == [1.0, 0.0]


def test_prefill_first_lets_decodes_wait(schedule: Schedule, asked: Asked) -> None:
    """Waiting prompts have whole steps to themselves, at the cost of a gap for who decodes."""
    policy = replace(POLICY, token_budget=3, batching=PREFILL_FIRST)
    steps, outcome = schedule(asked((2, 4), (6, 1), at=(0.0, 0.5)), policy)
    assert steps == [([], {0: 2}), ([], {1: 3}), ([], {1: 3}), ([0], {}), ([0], {}), ([0], {})]
    assert outcome.largest_gap.tolist() == [3.0, 0.0]


def test_no_more_run_together_than_a_step_has_tokens_for(schedule: Schedule, asked: Asked) -> None:
    """Decodes count against the budget, one token each: nobody is admitted who would wait in turn."""
    steps, _ = schedule(asked((1, 3), (1, 3), (1, 2)), replace(POLICY, token_budget=2))
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([0, 1], {}), ([], {2: 1}), ([2], {})]


def test_no_more_than_max_num_seqs_run_together(schedule: Schedule, asked: Asked) -> None:
    """The third of three waits until one of the first two has finished."""
    steps, outcome = schedule(asked((1, 2), (1, 4), (1, 2)), replace(POLICY, max_num_seqs=2))
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([1], {2: 1}), ([1, 2], {})]
    assert outcome.batch_seconds == 8.0


# Memory


def test_a_request_waits_for_memory(schedule: Schedule, asked: Asked) -> None:
    """Twelve tokens do not hold two prompts of seven, though the budget would."""
    policy = replace(POLICY, token_budget=100, kv_capacity=12.0)
    _, outcome = schedule(asked((7, 2), (7, 2)), policy)
    assert outcome.first_token.tolist() == [1.0, 3.0]
    assert not outcome.preemptions.any()


def test_a_prompt_takes_room_as_a_whole(schedule: Schedule, asked: Asked) -> None:
    """Though its first chunk would fit, it waits until all of it does: chunks never need memory later."""
    steps, outcome = schedule(asked((7, 1), (7, 1)), replace(POLICY, kv_capacity=12.0))
    assert steps == [([], {0: 4}), ([], {0: 3}), ([], {1: 4}), ([], {1: 3})]
    assert outcome.kv_peak == 7 / 12


def test_nobody_passes_who_waits_for_memory(schedule: Schedule, asked: Asked) -> None:
    """A short request behind a long one that does not fit waits as well."""
    policy = replace(POLICY, token_budget=100, kv_capacity=12.0)
    _, outcome = schedule(asked((7, 3), (7, 1), (1, 1)), policy)
    assert outcome.first_token.tolist() == [1.0, 4.0, 4.0]


def test_the_sequence_admitted_last_gives_way_and_is_recomputed(schedule: Schedule, asked: Asked) -> None:
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


def test_nobody_is_admitted_in_a_step_for_which_another_gave_way(schedule: Schedule, asked: Asked) -> None:
    """The third request would fit into what the second left, but memory is short: the second comes first, when it fits."""
    steps, outcome = schedule(asked((4, 6), (4, 6), (1, 1), at=(0.0, 0.0, 2.5)), replace(POLICY, token_budget=8, kv_capacity=12.0))
    assert steps[3] == ([0], {})
    assert outcome.preemptions.tolist() == [0, 1, 0]
    assert outcome.first_token[2] > outcome.finish[0]


def test_who_gave_way_goes_before_who_waits(schedule: Schedule, asked: Asked) -> None:
    """A preempted sequence returns to the head of the queue."""
    _, outcome = schedule(asked((4, 6), (4, 6), (4, 1)), replace(POLICY, token_budget=8, kv_capacity=12.0, max_num_seqs=2))
    assert outcome.preemptions.tolist() == [0, 1, 0]
    assert outcome.first_token.tolist() == [1.0, 1.0, 8.0]


def test_a_request_that_could_not_run_alone_is_rejected(schedule: Schedule, asked: Asked) -> None:
    """The last token is never put into the cache: 12 tokens of room hold a request of 13, not of 14; others are served."""
    policy = replace(POLICY, kv_capacity=12.0)
    _, outcome = schedule(asked((8, 5), (8, 6), (13, 1), (1, 1)), policy)
    assert outcome.served.tolist() == [True, False, False, True]
    assert np.isnan(outcome.first_token).tolist() == [False, True, True, False]
    assert outcome.kv_peak == 1.0


def test_a_request_longer_than_the_models_context_is_rejected(schedule: Schedule, asked: Asked) -> None:
    """Prompt and output together count."""
    _, outcome = schedule(asked((8, 5), (8, 6)), replace(POLICY, max_context=13))
    assert outcome.served.tolist() == [True, False]


# Closed loop


def test_each_user_sends_when_the_last_request_ended(schedule: Schedule, asked: Asked) -> None:
    """Two users; the request that is sent at an instant is served from that instant on."""
    steps, outcome = schedule(asked((1, 2), (1, 3), (1, 1), (1, 1)).closed(2), POLICY)
    assert outcome.arrival.tolist() == [0.0, 0.0, 2.0, 3.0]
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([1], {2: 1}), ([], {3: 1})]


def test_a_rejected_request_does_not_stop_its_user(schedule: Schedule, asked: Asked) -> None:
    """The next one is sent at once."""
    _, outcome = schedule(asked((1, 1), (5000, 1), (1, 1)).closed(1), POLICY)
    assert outcome.served.tolist() == [True, False, True]
    assert outcome.arrival.tolist() == [0.0, 1.0, 1.0]


def test_more_users_than_requests_send_all_at_once(schedule: Schedule, asked: Asked) -> None:
    """Arrival times of the workload do not matter in a closed loop."""
    _, outcome = schedule(asked((1, 1), (1, 1), at=(0.0, 9.0)).closed(5), POLICY)
    assert not outcome.arrival.any()


@pytest.mark.parametrize("users", [0, 1])
def test_a_request_is_seen_after_the_admission_delay(schedule: Schedule, asked: Asked, users: int) -> None:
    """The delay is part of the time to first token, not of the time per token."""
    workload = replace(asked((1, 3), (1, 3), at=(0.0, 7.0)), concurrency=users)
    _, outcome = schedule(workload, replace(POLICY, admission_delay=0.25))
    assert (outcome.first_token - outcome.arrival).tolist() == [1.25, 1.25]
    assert (outcome.finish - outcome.first_token).tolist() == [2.0, 2.0]
    assert outcome.arrival.tolist() == [0.0, 3.25 if users else 7.0]
