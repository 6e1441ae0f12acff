"""Errors by group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.validate.scores import Scored, grouped


def scored(predicted: float, measured: float = 1.0, name: str = "a", sheet: float | None = None) -> Scored:
    """A number beside its prediction, whose band is a tenth to either side."""
    return Scored(0, {"set": name}, measured, predicted, predicted * 0.9, predicted * 1.1, sheet, None)


def test_by_hand() -> None:
    """Errors of 10, 20 and 50 %, one of them low; one within its band."""
    (group,) = grouped([scored(1.1, sheet=2.0), scored(0.8), scored(1.5)], ("set",))
    assert group.rows == 3
    assert group.median_error == pytest.approx(0.2)
    assert group.bias == pytest.approx(0.1)
    assert group.p90_error == pytest.approx(0.44)
    assert group.coverage == pytest.approx(1 / 3)
    assert group.datasheet == 1.0
    assert group.nearest is None
    assert group.to_dict()["set"] == "a"


def test_groups_stand_by_their_labels() -> None:
    """Sorted."""
    groups = grouped([scored(1.0, name="b"), scored(1.0, name="a"), scored(2.0, name="b")], ("set",))
    assert [(group.labels["set"], group.rows) for group in groups] == [("a", 1), ("b", 2)]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50), st.floats(0.1, 10))
def test_units_do_not_matter(predicted: list[float], unit: float) -> None:
    """Both sides in another unit give the same errors; no median is above its 90th percentile."""
    (plain,) = grouped([scored(value) for value in predicted], ("set",))
    (other,) = grouped([scored(value * unit, unit) for value in predicted], ("set",))
    assert other.median_error == pytest.approx(plain.median_error, abs=1e-9)
    assert plain.median_error <= plain.p90_error + 1e-12
    assert abs(plain.bias) <= plain.p90_error + 1e-12 or len(predicted) < 10
