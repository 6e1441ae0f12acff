"""How much cache a sequence takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate import Policy


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


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(0, 500))
def test_more_context_never_takes_less(context: int, block: int, window: int) -> None:
    """The footprint grows with the context, and in finer blocks it is no larger."""
    kept = policy(block, (window, 1.0), (0, 1.0))
    assert kept.footprint(context) <= kept.footprint(context + 1)
    assert policy(1, *kept.kv_bytes).footprint(context) <= kept.footprint(context)
