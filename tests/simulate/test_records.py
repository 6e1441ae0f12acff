"""What comes out of a run: the histogram of gaps, and what was served when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate import Outcome
from assay.simulate.records import GAP_BINS, GAP_SMALLEST, GAP_STEPS, gap_bin, gap_middles


@given(st.floats(GAP_SMALLEST, 6e4))
def test_a_gap_lies_within_half_a_percent_of_the_middle_of_its_bin(seconds: float) -> None:
    """Bins are less than 1 % wide."""
    assert gap_middles()[gap_bin(seconds)] == pytest.approx(seconds, rel=0.00501)


@pytest.mark.parametrize("octave", range(-20, 15))
def test_each_octave_has_bins_of_its_own(octave: int) -> None:
    """A power of two begins a bin, and what is just below it lies in the bin before."""
    place = gap_bin(2.0**octave)
    assert place == (octave + 20) * GAP_STEPS
    assert gap_bin(np.nextafter(2.0**octave, 0)) == max(0, place - 1)


@pytest.mark.parametrize(("seconds", "place"), [(0.0, 0), (1e-12, 0), (1e9, GAP_BINS - 1)])
def test_gaps_out_of_range_count_in_the_outermost_bins(seconds: float, place: int) -> None:
    """No gap is lost."""
    assert gap_bin(seconds) == place


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_longer_gaps_lie_in_later_bins(one: float, other: float) -> None:
    """Bins are in order."""
    assert gap_bin(min(one, other)) <= gap_bin(max(one, other))


def test_a_run_lasts_from_the_first_arrival_to_the_last_finish() -> None:
    """Requests that were not served do not count."""
    outcome = Outcome.empty(np.array([1.0, 2.0, 3.0]))
    assert outcome.duration == 0.0
    assert not outcome.served.any()
    outcome.finish[:2] = (9.0, 5.0)
    assert outcome.served.tolist() == [True, True, False]
    assert outcome.duration == 8.0


def test_an_empty_outcome_has_its_own_columns() -> None:
    """Nothing is shared with the workload or between columns."""
    arrival = np.zeros(2)
    outcome = Outcome.empty(arrival)
    outcome.arrival[0] = outcome.first_token[0] = outcome.preemptions[0] = 1
    assert arrival[0] == 0.0
    assert np.isnan(outcome.finish).all()
    assert not outcome.prefix_hit.any()
