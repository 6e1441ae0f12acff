"""The cache memory of a replica: private bytes, shared blocks, and which of those goes first."""

import pytest

from assay.simulate.blocks import KvPool


def holding(pool: KvPool, *blocks: int) -> None:
    """Compute blocks privately, share them, and let go."""
    for block in blocks:
        assert pool.take(pool.block_bytes)
        pool.publish(block)
    pool.release(blocks)


def test_private_bytes_are_taken_up_to_the_capacity() -> None:
    """What does not fit is refused and leaves everything as it was."""
    pool = KvPool(10.0, 2.0)
    assert pool.take(7.0)
    assert not pool.take(4.0)
    assert pool.used == pool.busy == pool.peak == 7.0
    assert pool.take(3.0)


def test_bytes_given_back_can_be_taken_again() -> None:
    """The peak remembers the most that was in use."""
    pool = KvPool(10.0, 2.0)
    pool.take(9.0)
    pool.give(9.0)
    assert pool.busy == 0.0
    assert pool.peak == 9.0
    assert pool.take(10.0)


def test_a_block_without_users_stays_until_room_is_needed() -> None:
    """It counts as used but not as busy, and gives way."""
    pool = KvPool(10.0, 2.0)
    holding(pool, 1, 2)
    assert (pool.used, pool.busy) == (4.0, 0.0)
    assert pool.leading([1, 2, 3]) == 2
    assert pool.take(6.0)
    assert pool.leading([1, 2]) == 2
    assert pool.take(4.0)
    assert pool.leading([1, 2]) == 0


def test_the_least_recently_used_block_goes_first() -> None:
    """Blocks go in the order in which their last users left; using one again moves it to the end."""
    pool = KvPool(6.0, 2.0)
    for block in (1, 2, 3):
        holding(pool, block)
    pool.acquire([1])
    pool.release([1])
    gone = []
    for _ in range(3):
        assert pool.take(2.0)
        gone += [block for block in (1, 2, 3) if not pool.leading([block]) and block not in gone]
    assert gone == [2, 3, 1]


def test_of_one_prompt_the_last_block_goes_first() -> None:
    """A prefix is of use only from its start."""
    pool = KvPool(6.0, 2.0)
    holding(pool, 1, 2, 3)
    assert pool.take(2.0)
    assert pool.leading([1, 2, 3]) == 2
    assert pool.take(2.0)
    assert pool.leading([1, 2, 3]) == 1


def test_a_block_in_use_is_never_evicted() -> None:
    """Only blocks without users give way."""
    pool = KvPool(6.0, 2.0)
    holding(pool, 1, 2)
    pool.acquire([1])
    assert not pool.take(5.0)
    assert pool.take(4.0)
    assert pool.leading([1]) == 1


def test_a_block_that_is_here_already_is_not_kept_twice() -> None:
    """The copy just computed is freed, and the block has two users."""
    pool = KvPool(10.0, 2.0)
    pool.take(2.0)
    pool.publish(1)
    pool.take(2.0)
    pool.publish(1)
    assert pool.used == pool.busy == 2.0
    pool.release([1])
    assert pool.busy == 2.0
    pool.release([1])
    assert pool.busy == 0.0


def test_only_an_unbroken_run_from_the_start_counts() -> None:
    """A block that is missing hides those after it."""
    pool = KvPool(10.0, 2.0)
    holding(pool, 1, 3)
    assert pool.leading([1, 2, 3]) == 1
    assert pool.leading([2, 3]) == 0
    assert pool.leading([]) == 0


def test_rounding_does_not_refuse_the_last_byte() -> None:
    """Ten tenths fit into one."""
    pool = KvPool(1.0, 0.1)
    assert all(pool.take(0.1) for _ in range(10))
    assert pool.used == pytest.approx(1.0)
