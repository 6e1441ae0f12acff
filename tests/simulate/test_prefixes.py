"""What prompts find in the prefix cache. A step is (who decodes, {whose prompt: tokens})."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Outcome, Policy
from assay.workloads import Workload

Asked = Callable[..., Workload]
Steps = list[tuple[list[int], dict[int, int]]]
Schedule = Callable[..., tuple[Steps, Outcome]]

CACHING = Policy(100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),), prefix_cache=True)


def shared(tokens: int) -> list[int]:
    """Ids of a prompt of so many tokens in blocks of 8, begun blocks included."""
    return list(range(-(-tokens // 8)))


@pytest.mark.parametrize(("tokens", "hit"), [(7, 0), (8, 0), (9, 8), (32, 24), (33, 32), (39, 32)])
def test_a_second_identical_prompt_computes_little_but_its_last_token(schedule: Schedule, asked: Asked, tokens: int, hit: int) -> None:
    """Whole blocks are found in the cache, but for the block with the last token: it is computed for its logits."""
    steps, outcome = schedule(asked((tokens, 1), (tokens, 1), at=(0.0, 5.0), ids=[shared(tokens)] * 2, block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, hit]
    assert steps == [([], {0: tokens}), ([], {1: tokens - hit})]


def test_without_a_prefix_cache_nothing_is_found(schedule: Schedule, asked: Asked) -> None:
    """Ids are ignored."""
    workload = asked((32, 1), (32, 1), at=(0.0, 5.0), ids=[shared(32)] * 2, block=8)
    _, outcome = schedule(workload, replace(CACHING, prefix_cache=False))
    assert not outcome.prefix_hit.any()


def test_prompts_share_as_far_as_they_begin_alike(schedule: Schedule, asked: Asked) -> None:
    """The third block differs, so that two are found."""
    _, outcome = schedule(asked((32, 1), (32, 1), at=(0.0, 5.0), ids=[[0, 1, 2, 3], [0, 1, 8, 9]], block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, 16]


def test_blocks_are_shared_from_the_step_that_computes_them(schedule: Schedule, asked: Asked) -> None:
    """Of equal prompts in one step the second finds what the first computes in it, as the third does later."""
    ids = [shared(32)] * 3
    steps, outcome = schedule(asked((32, 1), (32, 1), (32, 1), at=(0.0, 0.0, 0.5), ids=ids, block=8), CACHING)
    assert outcome.prefix_hit.tolist() == [0, 24, 24]
    assert steps == [([], {0: 32, 1: 8}), ([], {2: 8})]


def test_a_chunk_shares_its_whole_blocks(schedule: Schedule, asked: Asked) -> None:
    """After the first 20 tokens of a prompt two blocks of eight are there; of the second chunk the rest of the budget is left."""
    workload = asked((33, 1), (33, 1), at=(0.0, 0.5), ids=[shared(33)] * 2, block=8)
    steps, outcome = schedule(workload, replace(CACHING, token_budget=20))
    assert steps == [([], {0: 20}), ([], {0: 13, 1: 1})]
    assert outcome.prefix_hit.tolist() == [0, 32]
    steps, outcome = schedule(replace(workload, arrival=workload.arrival * 0), replace(CACHING, token_budget=40))
    assert steps == [([], {0: 33, 1: 1})]


def test_a_block_of_two_running_requests_is_held_once(schedule: Schedule, asked: Asked) -> None:
    """24 tokens in common, 8 of each prompt its own, and what they generate."""
    ids = [[0, 1, 2, 3], [0, 1, 2, 9]]
    workload = asked((32, 3), (32, 2), at=(0.0, 0.5), ids=ids, block=8)
    assert schedule(workload, CACHING)[1].kv_peak == (24 + (8 + 2) + (8 + 1)) / 1000
    assert schedule(workload, replace(CACHING, prefix_cache=False))[1].kv_peak == (34 + 33) / 1000


def test_a_block_that_was_computed_twice_is_kept_once(schedule: Schedule, asked: Asked) -> None:
    """The last block of a prompt is computed in any case: until then the second has eight tokens of its own, and then none."""
    _, outcome = schedule(asked((32, 4), (32, 4), ids=[shared(32)] * 2, block=8), CACHING)
    assert outcome.kv_peak == (32 + 8) / 1000


def test_the_prefix_used_least_recently_makes_room(schedule: Schedule, asked: Asked) -> None:
    """Room for two of three prompts: the first, used again, stays, and the second goes when the third comes."""
    first, second, third = [0, 1], [10, 11], [20, 21]
    ids = [first, second, first, third, first, second]
    workload = asked(*[(17, 1)] * 6, at=[5.0 * row for row in range(6)], ids=ids, block=8)
    _, outcome = schedule(workload, replace(CACHING, kv_capacity=33.0))
    assert outcome.prefix_hit.tolist() == [0, 0, 16, 0, 16, 0]


def test_windowed_layers_share_nothing(schedule: Schedule, asked: Asked) -> None:
    """A hit spares the computing; of the bytes only those kept to the start are held in common."""
    policy = replace(CACHING, kv_bytes=((0, 1.0), (4, 10.0)))
    _, outcome = schedule(asked((33, 3), (33, 2), at=(0.0, 0.5), ids=[shared(33)] * 2, block=8), policy)
    assert outcome.prefix_hit.tolist() == [0, 32]
    assert outcome.kv_peak == (32 + (1 + 2) + (1 + 1) + 2 * 40) / 1000


def test_a_prefix_hit_outlives_the_request_that_made_it(schedule: Schedule, asked: Asked) -> None:
    """After both are gone the blocks are still there, as long as nobody needs the room."""
    workload = asked((33, 1), (33, 1), at=(0.0, 1000.0), ids=[shared(33)] * 2, block=8)
    assert schedule(workload, CACHING)[1].prefix_hit.tolist() == [0, 32]


def test_hits_are_counted_when_a_request_is_first_admitted(schedule: Schedule, asked: Asked) -> None:
    """Who gave way finds the blocks of its own prompt again: that spares computing, but is no prompt token that was cached before."""
    workload = asked((16, 7), (17, 9), ids=[[0, 1], [8, 9]], block=8)
    steps, outcome = schedule(workload, replace(CACHING, kv_capacity=38.0))
    assert outcome.preemptions.tolist() == [0, 1]
    assert outcome.prefix_hit.tolist() == [0, 0]
    assert ([], {1: 17 + 3 - 16}) in steps
