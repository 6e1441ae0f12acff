"""While it decodes, a rank looks for new requests only every few steps. A step takes a second."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

POLICY = Policy(token_budget=16, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))


def looking(every: int) -> Fleet:
    """One replica that looks so often."""
    return Fleet.of(StepTime.constant(1.0, most=1000), replace(POLICY, look_interval=every))


@pytest.mark.parametrize(("every", "seen"), [(1, 2.0), (2, 3.0), (4, 5.0), (8, 9.0)])
def test_a_request_is_seen_at_the_next_look(asked: Asked, serve: Serve, every: int, seen: float) -> None:
    """The first decode begins at 1 with a look; who comes at 1.5 is seen so many steps later."""
    assert serve(asked((1, 20), (1, 1), at=(0.0, 1.5)), looking(every)).first_token[1] == seen + 1


def test_after_a_step_with_prompts_it_looks_again(asked: Asked, serve: Serve) -> None:
    """The third comes while the second is computed, and is seen right after that."""
    outcome = serve(asked((1, 20), (1, 1), (1, 1), at=(0.0, 1.5, 5.5)), looking(4))
    assert outcome.first_token[1:].tolist() == [6.0, 7.0]


def test_an_idle_rank_sees_a_request_at_once(asked: Asked, serve: Serve) -> None:
    """Also in the middle of what would have been its pause."""
    assert serve(asked((1, 4), (1, 1), at=(0.0, 4.5)), looking(100)).first_token.tolist() == [1.0, 5.5]


def test_when_all_have_ended_it_looks_at_once(asked: Asked, serve: Serve) -> None:
    """The first is done at 4, long before the next look was due."""
    assert serve(asked((1, 4), (1, 1), at=(0.0, 1.5)), looking(100)).first_token[1] == 5.0


def test_who_was_seen_does_not_wait_for_a_look(asked: Asked, serve: Serve) -> None:
    """A request that waits for a seat takes it when it is free."""
    fleet = Fleet.of(StepTime.constant(1.0, most=1000), replace(POLICY, look_interval=4, max_num_seqs=2))
    assert serve(asked((1, 20), (1, 3), (1, 1)), fleet).first_token[2] == 4.0


def planning_ahead(**limits: int) -> Fleet:
    """One replica that plans each step while the one before runs."""
    return Fleet.of(StepTime.constant(1.0, most=1000), replace(POLICY, overlap=True, **limits))


@pytest.mark.parametrize(("at", "first"), [(0.5, 3.0), (1.5, 4.0), (2.0, 4.0), (2.5, 5.0)])
def test_with_overlap_a_request_joins_the_step_after_the_next(asked: Asked, serve: Serve, at: float, first: float) -> None:
    """The next one is planned already when it comes, unless it comes with the start of a step."""
    assert serve(asked((1, 20), (1, 1), at=(0.0, at)), planning_ahead()).first_token[1] == first


def test_with_overlap_an_idle_rank_sees_a_request_at_once(asked: Asked, serve: Serve) -> None:
    """Nothing was planned."""
    assert serve(asked((1, 4), (1, 1), (1, 1), at=(0.0, 3.5, 7.5)), planning_ahead()).first_token.tolist() == [1.0, 5.0, 8.5]


def test_with_overlap_looks_are_as_rare(asked: Asked, serve: Serve) -> None:
    """Who comes in the step before a look is seen at the one after."""
    outcome = serve(asked((1, 20), (1, 1), (1, 1), at=(0.0, 2.5, 4.5)), planning_ahead(look_interval=4))
    assert outcome.first_token[1:].tolist() == [6.0, 7.0]
