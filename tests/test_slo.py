"""Latency targets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.slo import METRICS, Slo


def test_no_target_is_empty() -> None:
    """Without a target there is nothing to keep, and the percentile is 99."""
    assert Slo().is_empty
    assert Slo().targets() == {}
    assert Slo().to_dict() == {"ttft": None, "tpot": None, "e2e": None, "percentile": 99.0}


@given(st.dictionaries(st.sampled_from(METRICS), st.floats(1e-6, 1e6), min_size=1))
def test_targets_are_those_given(given_targets: dict[str, float]) -> None:
    """Only the given targets come back, and an Slo can be made again from its JSON."""
    slo = Slo(**given_targets)
    assert slo.targets() == given_targets
    assert not slo.is_empty
    assert Slo(**slo.to_dict()) == slo


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_target_is_a_positive_time(metric: str, seconds: float) -> None:
    """Zero, negative and endless targets are refused, and the flag is named."""
    with pytest.raises(InputError, match=f"^--{metric}: "):
        Slo(**{metric: seconds})


@pytest.mark.parametrize("percentile", [0, 100, -5, 101, math.nan])
def test_a_percentile_lies_between_0_and_100(percentile: float) -> None:
    """No request or every request is not a percentile."""
    with pytest.raises(InputError, match=r"^--percentile: .*between 0 and 100"):
        Slo(ttft=1, percentile=percentile)
