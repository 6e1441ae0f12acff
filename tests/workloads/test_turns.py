"""Turns told from sessions or from prefixes, against plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.workloads.columns import Columns
from assay.workloads.turns import seen_blocks, turns_of


def columns(*prefixes: list[int], **more: list[float]) -> Columns:
    """Requests of full blocks of 10 tokens, a second apart, and whatever else is given."""
    counts = np.array([len(ids) for ids in prefixes])
    return Columns(
        arrival=np.arange(len(prefixes), dtype=np.float64),
        input=np.maximum(counts * 10, 1),
        output=np.ones(len(prefixes), np.int64),
        prefix=np.array([one for ids in prefixes for one in ids], np.int64),
        prefix_offsets=np.concatenate(([0], np.cumsum(counts))),
        prefix_block=10,
        **{name: np.array(values) for name, values in more.items()},
    )


def test_a_prompt_that_repeats_half_of_another_goes_on_with_it() -> None:
    """The common first block does not count; a prompt is gone on with once, and what repeats little begins anew."""
    alone = [[0, 20], [0, 21], [0, 22]]
    told = turns_of(columns([0, 1, 2], [0, 5], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 9], [0, 5, 6, 7, 8], [0, 5, 11, 12], *alone))
    assert told.common == 10
    assert not told.given
    assert list(zip(told.before.tolist(), told.row.tolist(), strict=True)) == [(0, 2), (2, 3), (1, 5)]
    assert told.kept.tolist() == [30, 40, 20]
    assert told.whole.all()
    assert told.think.tolist() == [2, 1, 4]
    assert sorted(told.sizes(10).tolist()) == [1, 1, 1, 1, 1, 2, 3]


def test_sessions_that_are_given_are_kept() -> None:
    """Also where nothing is shared; think times are those of the trace, and what is kept may be a part."""
    told = turns_of(columns([1, 2, 3], [7], [1, 9], session=[4, -1, 4], think=[0.0, 0, 2.5]))
    assert told.given
    assert (told.before.tolist(), told.row.tolist(), told.think.tolist()) == ([0], [2], [2.5])
    assert (told.kept.tolist(), told.whole.tolist(), told.common) == ([10], [False], 0)


def test_requests_without_prefixes_or_sessions_have_no_turns() -> None:
    """Nothing tells them."""
    bare = Columns(arrival=np.arange(3.0), input=np.full(3, 5), output=np.full(3, 5))
    assert turns_of(bare).row.size == 0


@given(st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=12))
def test_seen_blocks_are_those_that_a_plain_loop_finds(prefixes: list[list[int]]) -> None:
    """Leading ids that occurred in an earlier prompt; the row is the latest that held the last of them."""
    seen, before = seen_blocks(columns(*prefixes))
    held: dict[int, int] = {}
    for row, ids in enumerate(prefixes):
        count, latest = 0, -1
        for place, one in enumerate(ids):
            if one not in held or one in ids[:place]:
                break
            count, latest = count + 1, held[one]
        assert (seen[row], before[row]) == (count, latest)
        held |= dict.fromkeys(ids, row)
