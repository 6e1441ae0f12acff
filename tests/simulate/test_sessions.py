"""Turns of sessions, users of a closed loop, and who starts when. A step takes a second."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

POLICY = Policy(token_budget=100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))
SECOND = Fleet.of(StepTime.constant(1.0, most=1000), POLICY)


def test_a_turn_comes_some_time_after_the_one_before_it_ended(asked: Asked, serve: Serve) -> None:
    """Two tokens end at 2, then the user thinks for 3 seconds; another request of its own does not wait for either."""
    workload = asked((1, 2), (1, 4), (1, 1), at=(0.0, 0.0, 1.0), session=[5, 5, -1], think=[9.0, 3.0, 9.0])
    outcome = serve(workload, SECOND)
    assert outcome.arrival.tolist() == [0.0, 5.0, 1.0]
    assert outcome.finish.tolist() == [2.0, 9.0, 2.0]


def test_the_first_turn_comes_at_its_arrival_and_later_ones_whatever_theirs(asked: Asked, serve: Serve) -> None:
    """A think time before the first turn does not count, nor does the arrival of a later one."""
    workload = asked((1, 2), (1, 2), at=(3.0, 100.0), session=[0, 0], think=[50.0, 0.5])
    assert serve(workload, SECOND).arrival.tolist() == [3.0, 5.5]


def test_without_think_times_turns_follow_at_once(asked: Asked, serve: Serve) -> None:
    """The next is sent when the last has ended."""
    assert serve(asked(*[(1, 2)] * 3, session=[0, 0, 0]), SECOND).arrival.tolist() == [0.0, 2.0, 4.0]


def test_sessions_go_on_side_by_side(asked: Asked, serve: Serve) -> None:
    """Rows of one session are its turns in order, whatever stands between them."""
    workload = asked((1, 1), (1, 5), (1, 1), (1, 5), (1, 1), session=[0, 1, 0, 1, 0])
    assert serve(workload, SECOND).arrival.tolist() == [0.0, 0.0, 1.0, 5.0, 2.0]


def test_a_rejected_turn_does_not_end_its_session(asked: Asked, serve: Serve) -> None:
    """It ends when it is rejected, and the user thinks as ever."""
    outcome = serve(asked((1, 1), (5000, 1), (1, 1), session=[0, 0, 0], think=[0.0, 2.0, 4.0]), SECOND)
    assert outcome.served.tolist() == [True, False, True]
    assert outcome.arrival.tolist() == [0.0, 3.0, 7.0]


def test_a_later_turn_finds_its_own_history(asked: Asked, serve: Serve) -> None:
    """The prompt of the second turn begins with that of the first."""
    workload = asked((16, 1), (33, 1), ids=[[0, 1], [0, 1, 2, 3]], block=8, session=[0, 0], think=[0.0, 60.0])
    fleet = Fleet.of(StepTime.constant(1.0, most=1000), replace(POLICY, prefix_cache=True))
    assert serve(workload, fleet).prefix_hit.tolist() == [0, 16]


def test_a_user_takes_a_session_at_a_time(asked: Asked, serve: Serve) -> None:
    """With one user the second session begins when the last turn of the first has ended, without thinking."""
    workload = asked(*[(1, 2)] * 5, session=[0, 1, 0, 1, -1], think=[0.0, 0.0, 3.0, 5.0, 7.0]).closed(1)
    assert serve(workload, SECOND).arrival.tolist() == [0.0, 7.0, 5.0, 14.0, 16.0]


def test_users_start_one_by_one_over_the_ramp(asked: Asked, serve: Serve) -> None:
    """Four users over eight seconds start two seconds apart; then each sends when the last has ended."""
    workload = asked(*[(1, 3)] * 8).closed(4, ramp=8.0)
    assert serve(workload, SECOND).arrival.tolist() == [0.0, 2.0, 4.0, 6.0, 3.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("users", [1, 3])
def test_without_a_ramp_all_users_start_at_once(asked: Asked, serve: Serve, users: int) -> None:
    """At time 0."""
    assert serve(asked(*[(1, 3)] * users).closed(users), SECOND).arrival.tolist() == [0.0] * users


def test_a_turn_is_seen_after_the_admission_delay(asked: Asked, serve: Serve) -> None:
    """Each turn waits for it anew."""
    fleet = Fleet.of(StepTime.constant(1.0, most=1000), replace(POLICY, admission_delay=0.25))
    outcome = serve(asked((1, 1), (1, 1), session=[0, 0], think=[0.0, 2.0]), fleet)
    assert outcome.arrival.tolist() == [0.0, 3.25]
    assert outcome.first_token.tolist() == [1.25, 4.5]
