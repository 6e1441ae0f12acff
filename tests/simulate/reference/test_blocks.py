"""The cache memory of a rank: private bytes, shared blocks, which of those goes first, and what of them is kept in host memory."""

from assay.simulate.reference.blocks import KvPool


def holding(pool: KvPool, *blocks: int) -> None:
    """Compute blocks privately, share them, and let go."""
    for block in blocks:
        pool.take(pool.block_bytes)
        pool.publish(block)
    pool.release(blocks)


def here(pool: KvPool, *blocks: int) -> int:
    """How many of the first of these blocks are there, on the chip or in host memory."""
    return pool.leading(blocks)[0]


def test_private_bytes_fit_up_to_the_capacity() -> None:
    """To the byte; asking takes nothing."""
    pool = KvPool(10.0, 2.0)
    pool.take(7.0)
    assert not pool.fits(4.0)
    assert pool.fits(3.0)
    assert pool.used == pool.busy == pool.peak == 7.0


def test_bytes_given_back_can_be_taken_again() -> None:
    """The peak remembers the most that was in use."""
    pool = KvPool(10.0, 2.0)
    pool.take(9.0)
    pool.give(9.0)
    assert pool.busy == 0.0
    assert pool.peak == 9.0
    assert pool.fits(10.0)


def test_a_block_without_users_stays_until_room_is_needed() -> None:
    """It counts as used but not as busy, and gives way."""
    pool = KvPool(10.0, 2.0)
    holding(pool, 1, 2)
    assert (pool.used, pool.busy) == (4.0, 0.0)
    assert here(pool, 1, 2, 3) == 2
    pool.take(6.0)
    assert here(pool, 1, 2) == 2
    assert pool.fits(4.0)
    pool.take(4.0)
    assert here(pool, 1, 2) == 0


def test_the_least_recently_used_block_goes_first() -> None:
    """Blocks go in the order in which their last users left; using one again moves it to the end."""
    pool = KvPool(6.0, 2.0)
    for block in (1, 2, 3):
        holding(pool, block)
    pool.acquire([1])
    pool.release([1])
    gone: list[int] = []
    for _ in range(3):
        pool.take(2.0)
        gone += [block for block in (1, 2, 3) if not here(pool, block) and block not in gone]
    assert gone == [2, 3, 1]


def test_of_one_prompt_the_last_block_goes_first() -> None:
    """A prefix is of use only from its start."""
    pool = KvPool(6.0, 2.0)
    holding(pool, 1, 2, 3)
    pool.take(2.0)
    assert here(pool, 1, 2, 3) == 2
    pool.take(2.0)
    assert here(pool, 1, 2, 3) == 1


def test_a_block_in_use_is_never_evicted() -> None:
    """Only blocks without users give way."""
    pool = KvPool(6.0, 2.0)
    holding(pool, 1, 2)
    pool.acquire([1])
    assert not pool.fits(5.0)
    pool.take(4.0)
    assert here(pool, 1) == 1
    assert pool.leading([1, 2]) == (1, 1, 0)


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
    assert here(pool, 1, 2, 3) == 1
    assert here(pool, 2, 3) == 0
    assert here(pool) == 0


def test_an_evicted_block_goes_to_host_memory_and_comes_back() -> None:
    """There it takes no room on the chip; it does again when it is used."""
    pool = KvPool(4.0, 2.0, host_blocks=2)
    holding(pool, 1, 2)
    pool.take(4.0)
    assert pool.leading([1, 2]) == (2, 0, 2)
    pool.give(4.0)
    assert pool.used == 0.0
    pool.acquire([1])
    assert pool.used == pool.busy == 2.0
    assert pool.leading([1, 2]) == (2, 1, 1)


def test_blocks_on_their_way_are_here_at_a_moment() -> None:
    """Who uses them next learns it too; of blocks that never left the moment is long past."""
    pool = KvPool(4.0, 2.0, host_blocks=2)
    holding(pool, 1, 2)
    pool.take(2.0)
    pool.give(2.0)
    assert pool.acquire([1], 5.0) == 0.0
    assert pool.acquire([2], 5.0) == 5.0
    assert pool.acquire([1, 2], 9.0) == 5.0


def test_full_host_memory_forgets_the_block_that_came_first() -> None:
    """Block 3, the last of its prompt, is the first to go to host memory, and the first to be forgotten there."""
    pool = KvPool(6.0, 2.0, host_blocks=2)
    holding(pool, 1, 2, 3)
    pool.take(6.0)
    assert pool.leading([1, 2, 3]) == (2, 0, 2)


def test_a_block_computed_anew_is_no_more_in_host_memory() -> None:
    """It is held in one place."""
    pool = KvPool(4.0, 2.0, host_blocks=2)
    holding(pool, 1)
    pool.take(4.0)
    pool.give(4.0)
    holding(pool, 1)
    assert pool.leading([1]) == (1, 0, 0)
