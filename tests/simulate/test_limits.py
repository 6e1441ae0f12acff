"""What becomes of requests at the limits: each has a defined outcome, the same in both simulators."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

POLICY = Policy(token_budget=8, max_num_seqs=8, block_size=1, kv_capacity=100.0, kv_bytes=((0, 1.0),))


def second(policy: Policy = POLICY, replicas: int = 1) -> Fleet:
    """Steps of a second."""
    return Fleet.of(StepTime.constant(1.0, most=1000), policy, replicas)


def test_a_thousand_arrivals_at_one_instant(asked: Asked, serve: Serve) -> None:
    """They are served by index, a step of eight prompts after the other."""
    outcome = serve(asked(*[(1, 1)] * 1000), second())
    assert outcome.finish.tolist() == [1.0 + row // 8 for row in range(1000)]


def test_a_thousand_arrivals_at_one_instant_on_many_replicas(asked: Asked, serve: Serve) -> None:
    """Dealt out in turn, they are done in as many steps as one replica needs for its hundred."""
    outcome = serve(asked(*[(1, 1)] * 1000), second(replicas=10))
    assert outcome.finish.tolist() == [1.0 + row // 10 // 8 for row in range(1000)]


def test_a_cache_smaller_than_one_prompt_serves_nobody(asked: Asked, serve: Serve) -> None:
    """All are rejected, no step runs, and no time is known."""
    outcome = serve(asked((10, 1), (10, 5)), second(replace(POLICY, kv_capacity=9.0)))
    assert not outcome.served.any()
    assert np.isnan(outcome.first_token).all()
    assert outcome.steps == 0
    assert outcome.duration == outcome.kv_peak == outcome.busy_seconds == 0.0
    assert not outcome.preemptions.any()


def test_a_cache_of_exactly_one_prompt_serves_one_at_a_time(asked: Asked, serve: Serve) -> None:
    """Nothing is left for another."""
    outcome = serve(asked((10, 1), (10, 1)), second(replace(POLICY, kv_capacity=10.0)))
    assert outcome.finish.tolist() == [2.0, 4.0]
    assert outcome.kv_peak == 1.0


def test_with_reserved_outputs_nobody_gives_way(asked: Asked, serve: Serve) -> None:
    """Two of ten and sixty tokens: without reservation both start and one is computed again; with it the second waits for the first."""
    two = asked((4, 60), (4, 60))
    eager = serve(two, second())
    assert eager.preemptions.sum() == 1
    careful = serve(two, second(replace(POLICY, reserve=1.0)))
    assert not careful.preemptions.any()
    assert careful.finish.tolist() == [60.0, 120.0]


def test_a_request_longer_than_the_memory_is_rejected(asked: Asked, serve: Serve) -> None:
    """Its prompt would fit, its output would not; who comes after it is served as if it had not been there."""
    outcome = serve(asked((10, 100), (10, 91), (8, 1), at=(0.0, 0.0, 200.0)), second())
    assert outcome.served.tolist() == [False, True, True]
    assert outcome.finish.tolist()[1:] == [2.0 + 90, 201.0]


def test_a_request_longer_than_the_context_is_rejected(asked: Asked, serve: Serve) -> None:
    """Prompt and output together count, also where nothing is generated."""
    outcome = serve(asked((21, 0), (20, 0), (20, 1), (10, 10)), second(replace(POLICY, max_context=20)))
    assert outcome.served.tolist() == [False, True, False, True]


def test_zero_output_ends_with_the_prompt(asked: Asked, serve: Serve) -> None:
    """First token and finish are the moment at which the prompt is computed, and there is no gap."""
    outcome = serve(asked((20, 0), (4, 3)), second())
    assert outcome.first_token.tolist() == [3.0, 3.0]
    assert outcome.finish.tolist() == [3.0, 5.0]
    assert outcome.gaps.sum() == 2


def test_zero_output_leaves_its_prompt_in_the_cache(asked: Asked, serve: Serve) -> None:
    """As any other request."""
    workload = asked((17, 0), (17, 1), at=(0.0, 10.0), ids=[[0, 1, 2]] * 2, block=8)
    assert serve(workload, second(replace(POLICY, prefix_cache=True))).prefix_hit.tolist() == [0, 16]


def test_zero_output_does_not_stop_its_user(asked: Asked, serve: Serve) -> None:
    """The next request is sent when the prompt is computed."""
    assert serve(asked((4, 0), (4, 0), (4, 2)).closed(1), second()).arrival.tolist() == [0.0, 1.0, 2.0]


def test_one_token_has_no_gap(asked: Asked, serve: Serve) -> None:
    """Its first token is its last."""
    outcome = serve(asked((4, 1)), second())
    assert outcome.first_token[0] == outcome.finish[0] == 1.0
    assert outcome.gaps.sum() == outcome.largest_gap[0] == 0.0


def test_a_budget_of_one_token(asked: Asked, serve: Serve) -> None:
    """One sequence runs at a time, token by token."""
    outcome = serve(asked((3, 3), (3, 3)), second(replace(POLICY, token_budget=1)))
    assert outcome.first_token.tolist() == [3.0, 8.0]
    assert outcome.finish.tolist() == [5.0, 10.0]
