"""Prefix blocks that the cache had no room for come back from host memory. A step takes a second."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Outcome, Policy
from assay.workloads import Workload

Asked = Callable[..., Workload]
Schedule = Callable[..., tuple[list[tuple[list[int], dict[int, int]]], Outcome]]

BANDWIDTH = 4.0  # bytes a second: a block of 8 tokens, a byte each, takes two
POLICY = Policy(
    token_budget=100,
    max_num_seqs=8,
    block_size=1,
    kv_capacity=17.0,
    kv_bytes=((0, 1.0),),
    prefix_cache=True,
    host_capacity=16.0,
    host_bandwidth=BANDWIDTH,
)
ONE, OTHER = [0, 1], [10, 11]


@pytest.fixture(scope="module")
def thrice(asked: Asked) -> Workload:
    """A prompt of two blocks and a token, another that needs all the room, and the first again."""
    return asked(*[(17, 1)] * 3, at=(0.0, 5.0, 10.0), ids=[ONE, OTHER, ONE], block=8)


def test_without_host_memory_evicted_blocks_are_computed_again(schedule: Schedule, thrice: Workload) -> None:
    """Nothing is found."""
    steps, outcome = schedule(thrice, replace(POLICY, host_capacity=0.0))
    assert steps == [([], {row: 17}) for row in range(3)]
    assert outcome.prefix_hit.tolist() == [0, 0, 0]
    assert outcome.first_token[2] == 11.0


def test_evicted_blocks_come_back_at_the_bandwidth_of_host_memory(schedule: Schedule, thrice: Workload) -> None:
    """Sixteen bytes take four seconds, then the last token is computed; they count as found."""
    steps, outcome = schedule(thrice, POLICY)
    assert steps[2] == ([], {2: 1})
    assert outcome.prefix_hit.tolist() == [0, 0, 16]
    assert outcome.first_token[2] == 10.0 + 16 / BANDWIDTH + 1


def test_blocks_that_are_still_here_are_not_fetched(schedule: Schedule, thrice: Workload) -> None:
    """With room for one block more only the second was evicted."""
    _, outcome = schedule(thrice, replace(POLICY, kv_capacity=25.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 16]
    assert outcome.first_token[2] == 10.0 + 8 / BANDWIDTH + 1


def test_full_host_memory_forgets(schedule: Schedule, thrice: Workload) -> None:
    """With room for one block the first stays, since of one prompt the last goes first; the second is computed again."""
    steps, outcome = schedule(thrice, replace(POLICY, host_capacity=15.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 8]
    assert steps[2] == ([], {2: 9})
    assert outcome.first_token[2] == 10.0 + 8 / BANDWIDTH + 1


def test_host_memory_smaller_than_a_block_holds_none(schedule: Schedule, thrice: Workload) -> None:
    """As if there were none."""
    assert not schedule(thrice, replace(POLICY, host_capacity=7.0))[1].prefix_hit.any()


def test_others_go_on_while_blocks_come_back(schedule: Schedule, asked: Asked) -> None:
    """A sequence decodes step by step during the four seconds."""
    workload = asked((17, 1), (17, 1), (1, 6), (17, 1), at=(0.0, 5.0, 9.5, 10.0), ids=[ONE, OTHER, [], ONE], block=8)
    steps, outcome = schedule(workload, replace(POLICY, kv_capacity=24.0))
    assert outcome.prefix_hit[3] == 16
    assert outcome.largest_gap[2] == 1.0
    assert [decodes for decodes, _ in steps[3:]] == [[2]] * 5


def test_blocks_of_several_prompts_come_one_after_the_other(schedule: Schedule, asked: Asked) -> None:
    """There is one link to host memory."""
    workload = asked(*[(9, 1)] * 2, (33, 1), *[(9, 1)] * 2, at=(0.0, 0.0, 5.0, 10.0, 10.0), ids=[[0], [10], [], [0], [10]], block=8)
    _, outcome = schedule(workload, replace(POLICY, kv_capacity=33.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 0, 8, 8]
    assert outcome.first_token[3:].tolist() == [10.0 + 2 + 1, 10.0 + 4 + 1]


def test_a_prompt_on_its_way_has_a_seat_and_room(schedule: Schedule, asked: Asked) -> None:
    """While its blocks come back, another that would fit otherwise waits."""
    workload = asked((17, 1), (17, 1), (17, 1), (2, 1), at=(0.0, 5.0, 10.0, 10.0), ids=[ONE, OTHER, ONE, []], block=8)
    _, outcome = schedule(workload, POLICY)
    assert outcome.first_token[2:].tolist() == [15.0, 16.0]
    _, outcome = schedule(workload, replace(POLICY, max_num_seqs=1, kv_capacity=100.0))
    assert outcome.prefix_hit[2] == 16
    assert outcome.first_token[2:].tolist() == [11.0, 12.0]


def test_a_block_shared_on_its_way_has_to_arrive_first(schedule: Schedule, asked: Asked) -> None:
    """Two prompts with the same blocks wait for the same transfer."""
    workload = asked((17, 1), (17, 1), (17, 1), (17, 1), at=(0.0, 5.0, 10.0, 10.0), ids=[ONE, OTHER, ONE, ONE], block=8)
    _, outcome = schedule(workload, replace(POLICY, kv_capacity=18.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 16, 16]
    assert outcome.first_token[3] >= 10.0 + 16 / BANDWIDTH + 1
