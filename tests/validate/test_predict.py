"""Which band holds for a number."""

import pytest

from assay.points import Number
from assay.search.evidence import METRICS
from assay.validate.predict import kind, turned


def number(metric: str, statistic: str) -> Number:
    """A measured number."""
    return Number(0, metric, statistic, "system", 1.0, "A")


@pytest.mark.parametrize(
    ("metric", "statistic", "expected"),
    [
        ("ttft", "p50", "ttft"),
        ("ttft", "mean", "ttft_mean"),
        ("ttft", "p99", "ttft_tail"),
        ("tpot", "mean", "tpot"),
        ("tpot", "p95", "tpot_tail"),
        ("itl", "p99", "itl"),
        ("e2e", "p99", "e2e_tail"),
        ("requests_per_second", "", "output_tokens_per_second"),
        ("output_tokens_per_second_per_user", "p50", "tpot"),
    ],
)
def test_kind(metric: str, statistic: str, expected: str) -> None:
    """Tails have their own, the mean of TTFT too; rates have that of throughput, and the speed of a user that of TPOT."""
    assert kind(number(metric, statistic)) == expected
    assert expected in METRICS


def test_the_band_of_a_speed_is_that_of_time_turned_round() -> None:
    """Twice as long is half as fast."""
    assert turned(number("tpot", "p50"), (0.5, 4.0)) == (0.5, 4.0)
    assert turned(number("output_tokens_per_second_per_user", ""), (0.5, 4.0)) == (0.25, 2.0)
