"""How far predictions lie from what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.report.misses import by, factor, misses
from assay.validate.scores import Scored, grouped

some = st.floats(1e-6, 1e9)
maybe = st.one_of(st.none(), some)


@given(st.lists(st.tuples(some, some, maybe, maybe), min_size=1, max_size=30))
def test_pooled_errors_are_those_of_the_scores(figures: list[tuple[float, float, float | None, float | None]]) -> None:
    """The page pools rows as `validate` does its groups: the same medians, for us and for the baselines."""
    scored = [Scored(row, {"metric": "tpot"}, *pair, 0.0, 0.0, *others) for row, (*pair, others) in enumerate(map(_split, figures))]
    names = ("measured", "predicted", "datasheet", "nearest")
    found, group = misses([dict(zip(names, row, strict=True)) for row in figures]), grouped(scored, ["metric"])[0]
    assert found.rows == group.rows
    assert found.error == pytest.approx(group.median_error)
    assert found.datasheet == (None if group.datasheet is None else pytest.approx(group.datasheet))
    assert found.nearest == (None if group.nearest is None else pytest.approx(group.nearest))


def _split(row: tuple[float, float, float | None, float | None]) -> tuple[float, float, tuple[float | None, float | None]]:
    return row[0], row[1], (row[2], row[3])


@given(some, some)
def test_a_factor_is_the_same_up_and_down(measured: float, predicted: float) -> None:
    """Half and double are equally far off, and nothing is nearer than 1."""
    off = factor({"measured": measured, "predicted": predicted})
    assert off == factor({"measured": predicted, "predicted": measured})
    assert off is not None
    assert off >= 1


@pytest.mark.parametrize("row", [{}, {"measured": 0.0, "predicted": 1.0}, {"measured": 1.0, "predicted": float("nan")}, {"measured": 1.0}])
def test_no_factor_without_two_numbers_above_zero(row: dict[str, float]) -> None:
    """What cannot stand on a log scale has none, and no rows have no errors."""
    assert factor(row) is None
    assert misses([]).error is None
    assert misses([]).within is None


def test_within_counts_a_factor_of_two() -> None:
    """Of four rows, three are off by less than two."""
    rows = [{"measured": 10.0, "predicted": predicted} for predicted in (6.0, 10.0, 19.0, 4.0)]
    assert misses(rows).within == 0.75


def test_the_largest_group_comes_first() -> None:
    """Groups are sorted by their rows, then by name."""
    rows = [{"chip": chip} for chip in ("b", "a", "c", "c")]
    assert list(by(rows, "chip")) == [("c",), ("a",), ("b",)]
