"""What users feel, from columns of times; whether it can be trusted: percentiles, errors, the judged window, stability."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay import metrics
from assay.metrics import PERCENTILES, Columns
from assay.simulate import Policy, run
from assay.simulate.records import GAP_SMALLEST, gap_bin, gap_middles
from assay.steptime import StepTime
from assay.workloads import Workload

Floats = NDArray[np.float64]

NAN = float("nan")


def columns(*rows: tuple[float, float, float, int]) -> Columns:
    """Rows of arrival, first token, finish and output tokens."""
    arrival, first, finish, output = zip(*rows, strict=True)
    return Columns(np.array(arrival), np.array(first), np.array(finish), np.array(output))


def constant_residence(arrival: Floats, residence: float) -> Columns:
    """Requests that all stay for the same time."""
    return Columns(arrival, arrival + residence / 2, arrival + residence, np.full(len(arrival), 2))


# Definitions


def test_latencies_of_a_request() -> None:
    """Sent at 1, first token at 3, five tokens by 11: TTFT 2, E2E 10, TPOT (10 - 2) / 4."""
    seen = columns((1.0, 3.0, 11.0, 5))
    assert (seen.ttft[0], seen.e2e[0], seen.tpot[0]) == (2.0, 10.0, 2.0)


def test_one_token_has_no_time_per_token() -> None:
    """Nothing follows the first."""
    assert np.isnan(columns((1.0, 3.0, 3.0, 1)).tpot[0])


def test_a_request_that_was_not_served_has_no_latency() -> None:
    """It counts in no distribution."""
    seen = columns((0.0, 1.0, 2.0, 2), (0.0, NAN, NAN, 2))
    for metric in ("ttft", "tpot", "e2e"):
        assert np.isfinite(seen.column(metric)).tolist() == [True, False]
        assert metrics.distribution(seen.column(metric)).values["mean"] == seen.column(metric)[0]


# Distributions


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=300))
def test_percentiles_are_those_of_numpy(values: list[float]) -> None:
    """Mean and percentiles of the sample, between neighbours in proportion."""
    found = metrics.distribution(np.array(values)).values
    assert found["mean"] == pytest.approx(np.mean(values))
    for name, percent in PERCENTILES.items():
        assert found[name] == pytest.approx(np.percentile(values, percent))


@given(st.lists(st.floats(1e-6, 1e6), max_size=100), st.randoms(use_true_random=False))
def test_values_that_are_missing_change_nothing(values: list[float], random: object) -> None:
    """As if their rows were not there, for the errors too."""
    mixed: list[float] = []
    for value in values:
        mixed += [NAN, value]
    assert metrics.distribution(np.array(mixed)).to_dict() == metrics.distribution(np.array(values)).to_dict()


def test_nothing_seen_is_nothing_known() -> None:
    """No values, no numbers."""
    empty = metrics.distribution(np.array([NAN, NAN]))
    assert set(empty.values) == {"mean", *PERCENTILES}
    assert not [value for value in (*empty.values.values(), *empty.errors.values()) if value is not None]


def test_the_json_form_has_an_error_beside_each_value() -> None:
    """Under `standard_error`, by the same names."""
    shown = metrics.distribution(np.arange(50.0)).to_dict()
    assert set(shown["standard_error"]) == set(shown) - {"standard_error"}  # type: ignore[call-overload]
    assert shown["p50"] == 24.5
