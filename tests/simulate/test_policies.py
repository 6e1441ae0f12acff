"""How much cache a sequence takes, and what step times allow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.simulate import Policy
from assay.steptime import StepTime


def policy(block_size: int, *kv_bytes: tuple[int, float]) -> Policy:
    """A policy of which only the memory matters."""
    return Policy(1, 1, block_size, 1.0, kv_bytes)


@pytest.mark.parametrize(("context", "tokens"), [(1, 16), (16, 16), (17, 32), (160, 160)])
def test_cache_comes_in_whole_blocks(context: int, tokens: int) -> None:
    """Tokens are rounded up to the block size."""
    assert policy(16, (0, 2.0)).footprint(context) == 2.0 * tokens


@pytest.mark.parametrize(("context", "tokens"), [(4, 4), (9, 12), (10, 12), (1000, 12)])
def test_a_window_bounds_the_cache(context: int, tokens: int) -> None:
    """Layers that see no further than 10 tokens keep no more than those, in whole blocks."""
    assert policy(4, (10, 1.0)).footprint(context) == tokens


def test_kinds_of_attention_add_up() -> None:
    """Some layers keep all, others a window."""
    assert policy(1, (0, 2.0), (10, 3.0)).footprint(100) == 2 * 100 + 3 * 10


def test_prefixes_share_only_what_reaches_back_to_the_start() -> None:
    """The bytes of windowed layers are each sequence's own."""
    assert policy(1, (0, 2.0), (10, 3.0)).unbounded_bytes == 2.0
    assert policy(1, (10, 3.0)).unbounded_bytes == 0.0


def test_bytes_are_whole() -> None:
    """The memory is rounded down and what a token takes up, so that sums are exact and never too much fits."""
    rounded = Policy(1, 1, 1, 10.9, ((0, 0.1), (8, 2.5), (0, 3.0)))
    assert rounded.kv_capacity == 10.0
    assert rounded.kv_bytes == ((0, 1.0), (8, 3.0), (0, 3.0))


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(0, 500))
def test_more_context_never_takes_less(context: int, block: int, window: int) -> None:
    """The footprint grows with the context, and in finer blocks it is no larger."""
    kept = policy(block, (window, 1.0), (0, 1.0))
    assert kept.footprint(context) <= kept.footprint(context + 1)
    assert policy(1, *kept.kv_bytes).footprint(context) <= kept.footprint(context)


@pytest.mark.parametrize(("output", "tokens"), [(0, 10), (1, 10), (2, 11), (7, 16)])
def test_the_last_token_takes_no_cache(output: int, tokens: int) -> None:
    """Nothing attends to it."""
    assert policy(1, (0, 2.0)).most(10, output, 1) == 2.0 * tokens


def test_drafts_take_cache_beside_the_tokens() -> None:
    """Those of two steps of four tokens, and a block, since what is accepted does not come in whole blocks; of windowed layers too."""
    kept = policy(4, (0, 1.0), (8, 3.0))
    assert kept.most(10, 7, 4) == kept.footprint(10 + 6) + (2 * 4 + 4) * (1 + 3)


@pytest.mark.parametrize(
    ("depth", "width", "most", "budget", "seats"),
    [(1, 1, 1000, 100, 64), (1, 1, 50, 50, 50), (4, 1, 10, 10, 40), (1, 4, 50, 50, 12), (2, 4, 50, 50, 24)],
)
def test_no_more_run_than_the_steps_have_tokens_for(depth: int, width: int, most: int, budget: int, seats: int) -> None:
    """A step holds `width` tokens of each sequence of one micro-batch, and no more than its time is known for."""
    times = replace(StepTime.constant(1.0, most), depth=depth, width=width)
    found = Policy(100, 64, 1, 1.0, ((0, 1.0),)).within(times)
    assert (found.token_budget, found.max_num_seqs) == (budget, seats)


def test_a_step_without_room_for_what_speculation_verifies_is_refused() -> None:
    """Five tokens of each sequence do not go into steps of four."""
    times = replace(StepTime.constant(1.0, 100), width=5)
    with pytest.raises(InputError, match="room for 4 tokens, and speculation verifies 5"):
        Policy(4, 64, 1, 1.0, ((0, 1.0),)).within(times)


@pytest.mark.parametrize(("reserve", "bytes_"), [(0.0, 0.0), (0.5, 15.0), (1.0, 20.0)])
def test_a_share_of_the_output_is_reserved(reserve: float, bytes_: float) -> None:
    """Beside the ten tokens of the prompt; never less than what is there."""
    policy = Policy(64, 8, 1, 1000.0, ((0, 1.0),), reserve=reserve)
    assert policy.promise(10, 10, 10) == bytes_
    assert policy.promise(18, 10, 10) == max(bytes_, 18.0 if reserve else 0.0)
