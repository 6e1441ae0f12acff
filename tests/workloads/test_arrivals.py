"""Arrivals whose rate follows a profile: shares, means and order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.workloads.arrivals import Process, stream

LEVELS = st.lists(st.floats(0, 5), min_size=1, max_size=24).filter(lambda levels: sum(levels) > 0.01)


def drawn(rate: float, period: float, levels: list[float], requests: int, seed: int = 1) -> np.ndarray:
    """Arrivals of a profile."""
    return Process("profile", rate, period=period, levels=tuple(levels)).draw(requests, stream(seed, 2))


@given(LEVELS, st.floats(0.01, 100), st.floats(1, 1e5), st.integers(1, 300))
def test_arrivals_come_in_order_from_0(levels: list[float], rate: float, period: float, requests: int) -> None:
    """Whatever the levels, zeros included, times are finite, never negative and never decrease."""
    arrival = drawn(rate, period, levels, requests)
    assert arrival.size == requests
    assert np.isfinite(arrival).all()
    assert arrival[0] >= 0
    assert (np.diff(arrival) >= 0).all()


@given(LEVELS, st.integers(0, 100))
def test_counts_of_each_part_of_a_period_are_those_of_the_levels(levels: list[float], seed: int) -> None:
    """Over 100 whole periods, arrivals between two levels are as many as the area below the line, within 5 standard deviations."""
    arrival = drawn(200.0, 1.0, levels, 24_000, seed)
    arrival = arrival[arrival < 100]
    assert arrival.size < 24_000
    counts = np.histogram(arrival % 1, bins=len(levels), range=(0, 1))[0]
    expected = 100 * 200 * (np.array(levels) + np.roll(levels, -1)) / 2 / sum(levels)
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected) + 1).all()


def test_the_mean_over_whole_periods_is_the_rate_and_the_peak_comes_when_it_should() -> None:
    """A day with a quiet night and a busy noon, 10 times."""
    day = 86_400.0
    arrival = drawn(2.0, day, [0.4, 0.4, 1.8, 1.4], 1_700_000)
    arrival = arrival[arrival < 9 * day]
    assert arrival.size / (9 * day) == pytest.approx(2.0, rel=0.005)
    hour = arrival % day / 3600
    assert ((hour >= 0) & (hour < 6)).mean() == pytest.approx(0.1, abs=0.002)
    assert ((hour >= 12) & (hour < 18)).mean() == pytest.approx(0.4, abs=0.002)
    around_noon = (np.abs(hour - 12) < 0.25).sum() / (9 * 1800)
    assert around_noon == pytest.approx(2 * 1.8, rel=0.03)


def test_a_flat_profile_is_poisson() -> None:
    """Gaps are as long as their standard deviation."""
    gaps = np.diff(drawn(3.0, 10.0, [2.0, 2.0, 2.0], 200_000))
    assert gaps.mean() == pytest.approx(1 / 3, rel=0.01)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.01)


def test_a_draw_shorter_than_a_period_has_the_rate_of_that_part() -> None:
    """Nothing is stretched to the mean rate."""
    arrival = drawn(10.0, 1e6, [0.5, 1.5], 2000)
    assert arrival[-1] == pytest.approx(2000 / 5, rel=0.1)


def test_a_rate_of_0_is_refused() -> None:
    """As for the other kinds."""
    with pytest.raises(InputError, match="above 0"):
        drawn(0.0, 10.0, [1.0], 5)
