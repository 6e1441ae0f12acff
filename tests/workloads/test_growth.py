"""Sessions whose prompts grow, as they are drawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.workloads.columns import Columns
from assay.workloads.distance import repeated
from assay.workloads.growth import Sessions
from assay.workloads.lengths import Histogram

SMALL = Sessions(
    lengths=Histogram(np.array([40, 80, 4000]), np.array([0, 1, 50]), np.array([[1.0, 3], [0, 1]])),
    first=np.array([1.0, 0]),
    stages=np.array([1, 300]),
    ends=np.array([0.2, 0.5]),
    kept=np.array([0.5, 1.0]),
    new=np.array([10, 30]),
    turns=np.array([[[0.0], [1.0]], [[1.0], [1.0]]]),
    think=np.array([0.0, 2.0, 8.0]),
    think_weights=np.array([1.0, 3.0]),
    block=16,
    common=32,
)
"""Sessions that open with 40 to 79 tokens, keep all until 300 tokens, and then all or half to all; each turn adds 10 to 29."""


def rows(columns: Columns) -> list[list[int]]:
    """Prefix ids of each request."""
    return [part.tolist() for part in np.split(columns.prefix, columns.prefix_offsets[1:-1])]


def test_prompts_grow_by_what_is_new() -> None:
    """Below 300 tokens a turn is the one before and 10 to 29 tokens more; first prompts and think times are from their bins."""
    drawn = SMALL.draw(5000, 0)
    later = ~drawn.opens
    grown = np.diff(drawn.input)[later[1:]]
    short = drawn.input[:-1][later[1:]] < 300
    assert set(grown[short].tolist()) <= set(range(10, 30))
    assert (grown[~short] < 0).any()
    assert drawn.input[drawn.opens].min() >= 40
    assert drawn.input[drawn.opens].max() < 80
    assert (drawn.think[drawn.opens] == 0).all()
    assert drawn.think[later].max() < 8
    assert (drawn.think[later] < 2).mean() == pytest.approx(0.25, abs=0.03)


def test_turns_share_what_they_keep_and_sessions_only_what_all_have() -> None:
    """Ids of a later turn begin with those of the turn before; first turns begin with the common block ids and nothing else."""
    drawn = SMALL.draw(3000, 1)
    ids = rows(drawn)
    for row in range(1, drawn.requests):
        same = next(
            (i for i, (a, b) in enumerate(zip(ids[row - 1], ids[row], strict=False)) if a != b), min(map(len, ids[row - 1 : row + 1]))
        )
        if drawn.opens[row]:
            assert same == 2
        elif drawn.input[row - 1] < 300:
            assert same == drawn.input[row - 1] // 16
        assert len(ids[row]) == drawn.input[row] // 16
    assert repeated(drawn)[drawn.opens][1:] == pytest.approx(32 / drawn.input[drawn.opens][1:])


def test_sessions_end_as_often_as_they_are_told() -> None:
    """The share of prompts that are the last of their session, by stage, over whole sessions."""
    drawn = SMALL.draw(300_000, 2)
    whole = drawn.session < drawn.session[-1]
    last = np.append(drawn.opens[1:], True)
    for stage, share in ((drawn.input < 300, 0.2), (drawn.input >= 300, 0.5)):
        assert last[whole & stage].mean() == pytest.approx(share, abs=0.02)


def test_answers_follow_the_prompt() -> None:
    """Prompts below 80 tokens get no answer in a quarter of all cases, longer ones always get one."""
    drawn = SMALL.draw(20_000, 3)
    assert (drawn.output[drawn.input < 80] == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (drawn.output[drawn.input >= 80] > 0).all()


@given(st.integers(1, 2000), st.integers(0, 100))
def test_a_longer_draw_begins_like_a_shorter_one(requests: int, seed: int) -> None:
    """Sessions are drawn one after the other, however many there will be."""
    few, many = SMALL.draw(requests, seed), SMALL.draw(2000, seed)
    assert few.requests == requests
    for name in ("input", "output", "session", "think", "arrival"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:requests]), name
    assert rows(few) == rows(many)[:requests]


def test_sessions_that_hardly_end_are_cut() -> None:
    """A single session of as many turns as were asked for."""
    endless = replace(SMALL, ends=np.array([1e-9, 1e-9]))
    drawn = endless.draw(300, 0)
    assert (drawn.requests, int(drawn.opens.sum())) == (300, 1)
    assert drawn.input.max() < 4000
