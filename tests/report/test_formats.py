"""Numbers for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.report import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 s"), (8.5e-4, "850 µs"), (0.045, "45 ms"), (0.99999, "1 s"), (1.2, "1.2 s"), (204, "3.4 min"), (7200, "2 h")],
)
def test_seconds(value: float | None, shown: str) -> None:
    """Times take the unit that reads best."""
    assert formats.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "$0.00"), (0.31, "$0.31"), (0.0042, "$0.0042"), (0.0999, "$0.10"), (2.954, "$2.95"), (1240.2, "$1,240")],
)
def test_dollars(value: float | None, shown: str) -> None:
    """Cents from a dime up, two figures below."""
    assert formats.dollars(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(12_345, "12.3k"), (999_999, "1M"), (0.41, "410m"), (1.5, "1.5"), (0, "0")])
def test_scaled(value: float, shown: str) -> None:
    """Prefixes step at a thousand, after rounding."""
    assert formats.scaled(value) == shown


def test_band_spans_its_factors() -> None:
    """A band is shown around its value."""
    assert formats.span(0.04, (0.5, 1.5)) == "20 ms – 60 ms"
    assert formats.span(None, (0.5, 1.5)) == ""
    assert formats.span(1.0, None) == ""


@given(st.floats(min_value=1e-9, max_value=1e14))
def test_digits_keep_three_figures(value: float) -> None:
    """What is shown lies within half a unit of the third figure."""
    assert float(formats.digits(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)
