"""Static batching: a batch is admitted together and runs until the last of it is done. A step is (who decodes, {whose prompt: tokens})."""

from collections.abc import Callable
from dataclasses import replace

from assay.simulate import Outcome, Policy
from assay.simulate.policies import STATIC
from assay.workloads import Workload

Asked = Callable[..., Workload]
Schedule = Callable[..., tuple[list[tuple[list[int], dict[int, int]]], Outcome]]

POLICY = Policy(token_budget=4, max_num_seqs=2, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),), batching=STATIC)


def test_nobody_joins_until_all_are_done(schedule: Schedule, asked: Asked) -> None:
    """The seat of who finished first stays empty."""
    steps, outcome = schedule(asked((1, 2), (1, 4), (1, 2)), POLICY)
    assert steps == [([], {0: 1, 1: 1}), ([0, 1], {}), ([1], {}), ([1], {}), ([], {2: 1}), ([2], {})]
    assert outcome.first_token.tolist() == [1.0, 1.0, 5.0]


def test_prompts_of_a_batch_come_before_its_decodes(schedule: Schedule, asked: Asked) -> None:
    """Decoding begins when all prompts are computed."""
    steps, _ = schedule(asked((6, 2), (6, 2)), POLICY)
    assert steps == [([], {0: 4}), ([], {0: 2, 1: 2}), ([], {1: 4}), ([0, 1], {})]


def test_a_batch_takes_who_comes_before_it_decodes(schedule: Schedule, asked: Asked) -> None:
    """The second comes while the prompt of the first is computed; the third, a moment after decoding began, waits."""
    steps, _ = schedule(asked((6, 3), (2, 2), (1, 1), at=(0.0, 0.5, 2.5)), replace(POLICY, max_num_seqs=8))
    assert steps == [([], {0: 4}), ([], {0: 2, 1: 2}), ([0, 1], {}), ([0], {}), ([], {2: 1})]


def test_a_batch_does_not_wait_to_be_full(schedule: Schedule, asked: Asked) -> None:
    """It takes those that are there."""
    steps, _ = schedule(asked((1, 3), (1, 3), at=(0.0, 1.5)), POLICY)
    assert steps == [([], {0: 1}), ([0], {}), ([0], {}), ([], {1: 1}), ([1], {}), ([1], {})]


def test_a_batch_is_bounded_by_the_memory(schedule: Schedule, asked: Asked) -> None:
    """The third prompt does not fit beside the others."""
    _, outcome = schedule(asked(*[(4, 1)] * 3), replace(POLICY, token_budget=100, max_num_seqs=8, kv_capacity=10.0))
    assert outcome.first_token.tolist() == [1.0, 1.0, 2.0]


def test_who_gives_way_joins_the_next_batch(schedule: Schedule, asked: Asked) -> None:
    """Room for 12 tokens: the second leaves with three of its six, and comes back when the first is done."""
    steps, outcome = schedule(asked((4, 6), (4, 6)), replace(POLICY, token_budget=8, kv_capacity=12.0))
    both, alone = [([0, 1], {})] * 2, [([0], {})] * 3
    assert steps == [([], {0: 4, 1: 4}), *both, *alone, ([], {1: 7}), ([1], {}), ([1], {})]
    assert outcome.preemptions.tolist() == [0, 1]
