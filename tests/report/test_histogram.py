"""The histogram that the terminal shows."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from assay.report import histogram

seconds = st.just(0.0) | st.floats(1e-5, 1e6)
samples = arrays(np.float64, st.integers(1, 200), elements=seconds)


def marked(values: histogram.Floats, target: float | None = None) -> list[str]:
    """All marks, in the order of their lines."""
    return [mark for one in histogram.bins(values, target) for mark in one.marks]


@given(values=samples, target=st.none() | seconds)
def test_counts_add_up(values: histogram.Floats, target: float | None) -> None:
    """Every finite value is in one bin, bins adjoin, and each percentile is marked once."""
    found = histogram.bins(np.append(values, [np.nan, np.inf]), target)
    assert sum(one.count for one in found) == len(values)
    assert len(found) <= histogram.LINES
    assert all(left.high == right.low for left, right in pairwise(found))
    assert sorted(set(marked(values, target)) - {"target"}) == ["p50", "p90", "p99"]
    assert len(marked(values, target)) - 3 == (target is not None and bool(values.min() <= target <= values.max()))


@given(values=samples, target=st.none() | seconds, width=st.integers(60, 200))
def test_no_line_is_too_wide(values: histogram.Floats, target: float | None, width: int) -> None:
    """Lines fit the terminal, are never wider than 80 columns, and the title is the first of at most 13."""
    drawn = histogram.lines("TTFT", values, target, width)
    assert len(drawn) <= histogram.LINES + 1
    assert all(line.cell_len <= min(width, histogram.WIDTH) for line in drawn)


def test_bins_hold_what_lies_between_their_edges() -> None:
    """Of values spread over three decades each bin has those from its low edge to below its high one."""
    values = np.random.default_rng(0).lognormal(-2, 1.5, 10_000)
    for one in histogram.bins(values)[1:-1]:
        assert one.count == ((values >= one.low) & (values < one.high)).sum()


def test_one_value_fills_one_line() -> None:
    """One request: its time, a full bar, all marks."""
    title, line = (line.plain for line in histogram.lines("TTFT", np.array([0.25]), 0.5))
    assert title == "TTFT of 1 request, 100 % within the target of 500 ms"
    assert line.startswith("250 ms ███")
    assert line.endswith("█ 1 p50 p90 p99")


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.02, 3600.0])
def test_equal_values_fill_one_line(value: float) -> None:
    """Bins need a width: where all values are the same there is one."""
    (only,) = histogram.bins(np.full(500, value), value)
    assert only.count == 500
    assert only.marks == ("p50", "p90", "p99", "target")


def test_nothing_served_draws_nothing() -> None:
    """Without a finite value there is no histogram, not even its title."""
    assert histogram.lines("TTFT", np.array([np.nan, np.nan]), 1.0) == []
    assert histogram.lines("TTFT", np.array([])) == []


def test_the_rarest_bin_is_seen_and_an_empty_one_is_not() -> None:
    """One request among thousands still has a sliver; a gap in the values has no bar."""
    values = np.concatenate([np.full(9000, 0.01), np.geomspace(0.01, 0.02, 900), [1.0]])
    lines = [line.plain for line in histogram.lines("TTFT", values)[1:]]
    assert "▏" in lines[-1]
    assert any("▏" not in line and "█" not in line for line in lines)


def test_late_bins_stand_out() -> None:
    """Bins that begin at or past the target are red, those before it are not; a target outside of all values has no mark."""
    values = np.geomspace(0.1, 10, 1000)
    styles = [str(line.spans[1].style) for line in histogram.lines("TTFT", values, 1.0)[1:]]
    assert styles == sorted(styles)
    assert set(styles) == {"cyan", "red"}
    assert "target" in marked(values, 1.0)
    assert "target" not in marked(values, 99.0)


def test_close_values_are_told_apart() -> None:
    """Edges that are printed differ, however narrow the range."""
    file = io.StringIO()
    Console(file=file, width=80).print(*histogram.lines("TTFT", np.linspace(0.02, 0.0206, 100)), sep="\n")
    heads = [line.split(" – ")[0] for line in file.getvalue().splitlines()[1:]]
    assert len(heads) == len(set(heads)) > 0
