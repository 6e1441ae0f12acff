"""Figures in the terms in which results are published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.points import Number
from assay.simulate import Fleet, Policy
from assay.simulate.run import run
from assay.steptime import StepTime
from assay.validate.figures import Figures
from assay.workloads import Workload

POLICY = Policy(token_budget=8192, max_num_seqs=64, block_size=1, kv_capacity=1e9, kv_bytes=((0, 1.0),))


def number(metric: str, statistic: str = "", per: str = "system") -> Number:
    """A row to predict."""
    return Number(0, metric, statistic, per, None, "A")


def simulated(workload: Workload, chips: int = 2) -> Figures:
    """Figures of a run in which every step takes a second."""
    return Figures.of(run(workload, Fleet.of(StepTime.constant(1.0), POLICY)), workload, chips)


def test_one_batch_by_hand() -> None:
    """Four requests of ten tokens at once: a token each second."""
    figures = simulated(Workload.draw(5, 10, requests=4))
    assert figures.value(number("ttft")) == 1.0
    assert figures.value(number("e2e")) == 10.0
    assert figures.value(number("tpot", "p99")) == pytest.approx(1.0)
    assert figures.value(number("itl", "mean")) == pytest.approx(1.0, rel=0.01)
    assert figures.value(number("output_tokens_per_second")) == 4.0
    assert figures.value(number("output_tokens_per_second", per="chip")) == 2.0
    assert figures.value(number("total_tokens_per_second")) == 6.0
    assert figures.value(number("input_tokens_per_second")) == 2.0
    assert figures.value(number("requests_per_second")) == pytest.approx(0.4)
    assert figures.value(number("output_tokens_per_second_per_user")) == pytest.approx(1.0)


@pytest.mark.parametrize("row", [number("colour"), number("ttft", "p75"), number("watts_per_second"), number("cost_tokens_per_second")])
def test_what_is_not_predicted_has_no_value(row: Number) -> None:
    """Other metrics and statistics."""
    assert simulated(Workload.draw(5, 10, requests=4)).value(row) is None


def test_a_steady_open_loop_serves_what_comes() -> None:
    """Its last requests take long to end, which counts for nothing."""
    workload = Workload.draw(5, 30, requests=300, rate=0.5)
    assert simulated(workload).value(number("requests_per_second")) == pytest.approx(workload.rate)


@given(st.floats(0.01, 10), st.floats(1, 5), st.integers(2, 500), st.floats(0.1, 100))
def test_requests_that_fare_alike_agree_with_themselves(ttft: float, factor: float, osl: int, rate: float) -> None:
    """E2E = TTFT + TPOT x (tokens - 1), whatever the statistic."""
    figures = Figures.alike(ttft, ttft * factor, rate, (100.0, float(osl)), 4)
    tpot, e2e = figures.value(number("tpot", "p50")), figures.value(number("e2e", "p99"))
    assert tpot is not None
    assert e2e == pytest.approx(ttft + tpot * (osl - 1))
    assert figures.value(number("output_tokens_per_second", per="chip")) == pytest.approx(rate * osl / 4)
