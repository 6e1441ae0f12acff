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
