"""Sessions: which turn follows which, and what cutting, splitting and repeating keep of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.workloads import Workload

IDS = st.lists(st.sampled_from([-5, -1, 0, 3, 4, 900, 2**40]), min_size=1, max_size=40)


def made(ids: list[int], **more: object) -> Workload:
    """A request per second, the first of them at 2 s, with sessions, think times, priorities and a prefix of two own ids each."""
    rows = len(ids)
    columns = {
        "arrival": np.arange(rows) + 2.0,
        "input": np.arange(rows) + 10,
        "output": np.arange(rows),
        "prefix": np.repeat(np.arange(rows) * 7, 2) + np.tile([0, 3], rows),
        "prefix_offsets": np.arange(rows + 1) * 2,
        "prefix_block": 4,
        "session": np.array(ids, np.int64),
        "think": np.arange(rows) / 8,
        "priority": np.arange(rows) % 3,
    }
    return Workload(name="made", **{**columns, **more})


def chains(workload: Workload) -> list[list[int]]:
    """The prompt lengths of each session, or request of its own, followed from its first turn on."""
    after = workload.following().tolist()
    found = []
    for row in np.flatnonzero(workload.opens).tolist():
        turns = [row]
        while after[turns[-1]] >= 0:
            turns.append(after[turns[-1]])
        found.append(workload.input[turns].tolist())
    return found


def grouped(workload: Workload) -> list[list[int]]:
    """The same, found row by row."""
    sessions: dict[object, list[int]] = {}
    for row, (session, prompt) in enumerate(zip(workload.session.tolist(), workload.input.tolist(), strict=True)):
        sessions.setdefault(session if session >= 0 else (row, "alone"), []).append(prompt)
    return list(sessions.values())


@given(IDS)
def test_following_leads_through_each_session_in_row_order(ids: list[int]) -> None:
    """Every row is reached once, from the first turn of its session."""
    whole = made(ids)
    assert whole.following().dtype == np.int32
    assert chains(whole) == grouped(whole)
    assert (whole.session[whole.openings()] == whole.session).all()


def test_without_sessions_nothing_follows_and_every_row_opens() -> None:
    """No memory is spent on what is not used."""
    plain = Workload.draw(8, 8, requests=3, rate=1)
    assert plain.following().size == 0
    assert plain.following().dtype == np.int32
    assert plain.opens.tolist() == [True] * 3
    assert plain.openings().tolist() == [0, 1, 2]
    assert plain.first(2).session.size == 0
    assert plain.tiled(2).session.size == plain.tiled(2).think.size == plain.tiled(2).priority.size == 0
    assert "sessions" not in plain.to_dict()


@given(IDS, st.data())
def test_take_keeps_the_columns_of_a_row_together(ids: list[int], data: st.DataObject) -> None:
    """A session that is cut begins with the first of its rows that is left."""
    whole = made(ids)
    rows = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1, unique=True)))
    part = whole.take(rows)
    for name in ("arrival", "input", "output", "session", "think", "priority"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[rows]), name
    assert part.prefix.tolist() == [whole.prefix[2 * row + each] for row in rows for each in (0, 1)]
    assert chains(part) == grouped(part)


@given(IDS, st.integers(1, 5))
def test_split_deals_whole_sessions(ids: list[int], parts: int) -> None:
    """Each part has every parts-th session, turn for turn."""
    whole = made(ids)
    sessions = grouped(whole)
    if parts > len(sessions):
        with pytest.raises(InputError, match="sessions"):
            whole.split(parts)
        return
    assert [chains(part) for part in whole.split(parts)] == [sessions[part::parts] for part in range(parts)]


@given(IDS)
def test_only_first_turns_count_for_the_rate(ids: list[int]) -> None:
    """The arrivals of later turns may be anything: rate, at_rate and at_once do not look at them."""
    whole = made(ids)
    odd = replace(whole, arrival=np.where(whole.opens, whole.arrival, 1e9))
    last = whole.arrival[whole.opens].max()
    assert odd.rate == whole.rate == len(ids) / last
    assert odd.at_rate(7).rate == pytest.approx(7)
    assert np.array_equal(odd.at_rate(7).think, whole.think)
    assert replace(odd, arrival=np.where(odd.opens, 0, odd.arrival)).at_once


@given(IDS, st.integers(1, 4))
def test_tiled_repeats_everything_with_ids_of_its_own(ids: list[int], times: int) -> None:
    """Each copy has the rows of the whole, its sessions and prefixes renamed; ids are dense from 0."""
    whole = made(ids)
    tiled = whole.tiled(times)
    copies = [tiled.take(np.arange(at * len(ids), (at + 1) * len(ids))) for at in range(times)]
    starts = whole.arrival[whole.opens]
    apart = (starts[-1] - starts[0]) * (1 + 1 / max(1, starts.size - 1))
    for number, copy in enumerate(copies):
        for name in ("input", "output", "think", "priority"):
            assert np.array_equal(getattr(copy, name), getattr(whole, name)), name
        assert np.allclose(copy.arrival, whole.arrival + number * apart)
        assert np.array_equal(copy.following(), whole.following())
    assert chains(tiled) == chains(whole) * times
    assert (np.diff(tiled.arrival[tiled.opens]) >= 0).all()
    distinct = np.unique(whole.prefix).size
    assert np.unique(tiled.prefix).tolist() == list(range(distinct * times))
    assert tiled.prefix.dtype == tiled.session.dtype == np.int64
    assert set(tiled.session.tolist()) - {-1} == set(range(whole.sessions * times))
    assert tiled.prefix_share == pytest.approx(whole.prefix_share)


def test_tiled_goes_on_at_the_same_rate() -> None:
    """A copy begins a mean gap after the last arrival, and the repeated prefixes stay shared within a copy alone."""
    drawn = Workload.draw(64, 9, requests=500, shared_prefix=32, rate=4)
    tiled = drawn.tiled(20)
    assert tiled.requests == 10_000
    assert tiled.rate == pytest.approx(4, rel=0.01)
    assert np.unique(tiled.prefix).tolist() == list(range(40))
    assert tiled.name == drawn.name
    assert "repeated 20 times" in tiled.assumptions[-1]
    assert Workload.draw(8, 8, requests=3).tiled(4).at_once
    with pytest.raises(InputError, match="times"):
        drawn.tiled(0)


def test_sessions_are_counted_and_shown() -> None:
    """Those without one are not counted."""
    whole = made([4, -1, 4, 9, -1])
    assert whole.sessions == 2
    assert whole.to_dict()["sessions"] == 2
    assert "5 requests in 2 sessions" in whole.summary()
    assert whole.closed(2).to_dict()["sessions"] == 2


def test_a_million_rows_are_quick() -> None:
    """Turns are found by sorting, not row by row."""
    ids = np.random.Generator(np.random.PCG64(1)).integers(-1, 100_000, 10**6)
    whole = made([0]).tiled(10**6)
    whole = replace(whole, session=ids)
    after = whole.following()
    assert (after >= 0).sum() == 10**6 - whole.opens.sum()
    assert (ids[after[after >= 0]] == ids[np.flatnonzero(after >= 0)]).all()
