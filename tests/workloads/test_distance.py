"""Distances between workloads, against plain computations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.workloads import Workload, distance
from assay.workloads.distance import arrivals, kolmogorov_smirnov, repeated, spread, tick, variation

numbers = st.lists(st.integers(1, 50), min_size=1, max_size=30)


def of_lengths(prompts: list[int]) -> Workload:
    """Requests with the given prompts, one a second."""
    size = len(prompts)
    return Workload(name="x", arrival=np.arange(1.0, size + 1), input=np.array(prompts), output=np.full(size, 7))


@given(numbers, numbers)
def test_kolmogorov_smirnov_is_the_largest_gap_between_the_shares_up_to_a_value(ours: list[int], theirs: list[int]) -> None:
    """Over all values."""
    gap = max(abs(sum(a <= x for a in ours) / len(ours) - sum(b <= x for b in theirs) / len(theirs)) for x in range(51))
    assert kolmogorov_smirnov(np.array(ours), np.array(theirs)) == pytest.approx(gap)


@given(numbers, numbers)
def test_wasserstein_is_the_area_between_the_shares(ours: list[int], theirs: list[int]) -> None:
    """Over the mean of the trace."""
    area = sum(abs(sum(a <= x for a in ours) / len(ours) - sum(b <= x for b in theirs) / len(theirs)) for x in range(51))
    apart = distance(of_lengths(ours), of_lengths(theirs))
    assert apart["input_wasserstein"] == pytest.approx(area / np.mean(theirs))


def test_a_trace_with_everything_is_at_no_distance_from_itself() -> None:
    """Lengths, arrivals, prefixes, turns and think times."""
    trace = Workload.load("mooncake-conversation", requests=3000)
    apart = distance(trace, trace)
    assert {"gaps_ks", "arrivals_60s", "prefix_share", "prefix_ks", "turns_ks", "think_ks"} <= set(apart)
    assert set(apart.values()) == {0.0}


def test_what_a_trace_lacks_is_left_out() -> None:
    """No arrivals, no prefixes, no sessions."""
    bare = Workload.draw(10, 10, requests=50, spread=(0.5, 1))
    assert not [key for key in distance(bare, bare) if key.startswith(("arrivals", "gaps", "prefix", "turns", "think"))]


def test_bursts_are_far_from_even_arrivals() -> None:
    """A renewal process of gaps that vary twice as much is told apart by its gaps and its counts, whatever the rate."""
    even = Workload.draw(10, 10, requests=20_000, rate=5)
    doubled = replace(even, arrival=np.cumsum(np.random.default_rng(0).gamma(0.25, 0.8, 20_000)))
    apart = distance(doubled, even)
    assert apart["gaps_ks"] > 0.2
    assert apart["arrivals_10s"] == pytest.approx(1, abs=0.15)
    faster = distance(even.at_rate(50), even)
    assert faster["gaps_ks"] < 1e-3


@given(st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), min_size=1, max_size=10))
def test_what_a_prompt_repeats_adds_up_to_the_share_of_the_workload(prefixes: list[list[int]]) -> None:
    """When ids are chained, as hashes of prefixes are: an id tells all that stands before it."""
    chained = [[hash(tuple(ids[: i + 1])) % 10**9 for i in range(len(ids))] for ids in prefixes]
    counts = np.array([len(ids) for ids in chained])
    trace = Workload(
        name="x",
        arrival=np.arange(len(chained), dtype=np.float64),
        input=np.maximum(counts * 16, 1),
        output=np.ones(len(chained), np.int64),
        prefix=np.array([one for ids in chained for one in ids], np.int64),
        prefix_offsets=np.concatenate(([0], np.cumsum(counts))),
        prefix_block=16,
    )
    assert (repeated(trace) * trace.input).sum() / trace.input.sum() == pytest.approx(trace.prefix_share)


def test_arrivals_on_a_coarse_clock_are_spread_within_its_ticks() -> None:
    """Three in the first, one in the second, four in the last tick of 2 s; times that are no ticks stay as they are."""
    coarse = np.array([0.0, 0, 0, 2, 4, 4, 4, 4])
    assert tick(coarse) == 2
    assert spread(coarse) == pytest.approx([0, 2 / 3, 4 / 3, 2, 4, 4.5, 5, 5.5])
    bursts = np.array([0.0, 0, 0, 1, 1, 1, 90, 90, 90, 91, 91, 91])
    assert tick(bursts) == 0
    assert np.array_equal(spread(bursts), bursts)


def test_arrivals_of_sessions_are_counted_once_they_overlap() -> None:
    """The rate over the counted time is that of the workload, though it begins with no session under way."""
    drawn = Workload.load("mooncake-conversation", requests=20_000)
    came = arrivals(drawn)
    assert (np.diff(came) >= 0).all()
    assert came.size / came[-1] == pytest.approx(drawn.rate, rel=0.05)


@given(st.lists(st.floats(0, 500), min_size=2, max_size=60))
def test_windows_without_arrivals_count(times: list[float]) -> None:
    """The variation is that of the counts of all windows laid out, though only those with arrivals are kept."""
    arrival = np.sort(times)
    for window, found in variation(arrival, (1, 10)).items():
        counts = np.bincount((arrival // window).astype(np.int64))[: int(arrival[-1] // window)]
        assert found == pytest.approx(counts.std() / counts.mean() if counts.any() else 0.0)


def test_silences_of_years_take_no_memory() -> None:
    """Two requests 3,000 years apart."""
    assert variation(np.array([0.0, 1e11]), (1,))[1] > 1e5
