"""The nearest published run as a baseline."""

from typing import Any

import pytest

from assay.points import Number, Point
from assay.validate.nearest import Known, nearest


def known(row: int, value: float | None, sheet: float, metric: str = "tpot", quality: str = "A", **conditions: Any) -> Known:
    """A published number of a run of its own."""
    number = Number(row, metric, "p50", "request", value, quality)
    return Known(Point({"chip": "h100-sxm", "model": "a", "load": "closed", "isl": 1000.0, **conditions}, (number,)), number, sheet)


def test_the_nearest_value_is_scaled_by_the_data_sheet() -> None:
    """A run on other chips counts by what the data sheet says of both."""
    rows = [known(0, 1.0, 0.1), known(1, 4.0, 0.2, chip="mi300x"), known(2, 9.0, 0.3, model="b", chip="mi300x")]
    assert nearest(rows)[0] == pytest.approx(4.0 * 0.1 / 0.2)


def test_lengths_and_load_tell_which_is_nearer() -> None:
    """Of two runs on the same chip that with the like load."""
    rows = [known(0, 1.0, 1.0, concurrency=8.0), known(1, 2.0, 1.0, concurrency=16.0), known(2, 3.0, 1.0, concurrency=512.0)]
    assert nearest(rows)[0] == 2.0


def test_a_run_is_no_neighbour_of_itself() -> None:
    """Nor are its other rows; a number without another run has none."""
    number = Number(1, "tpot", "p50", "request", 5.0, "A")
    one = known(0, 1.0, 1.0)
    same = Known(one.point, number, 1.0)
    assert nearest([one, same]) == {}


def test_other_metrics_and_doubtful_numbers_are_no_neighbours() -> None:
    """Quality D and rows without a value are scaled from nothing."""
    rows = [
        known(0, 1.0, 1.0),
        known(1, 2.0, 1.0, metric="ttft", isl=900.0),
        known(2, 3.0, 1.0, quality="D", isl=1100.0),
        known(3, None, 1.0, isl=1200.0),
    ]
    assert set(nearest(rows)) == {2, 3}
    assert nearest(rows)[2] == nearest(rows)[3] == 1.0
