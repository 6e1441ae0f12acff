"""What users feel, from columns of times, and how far to trust it: percentiles, errors, the judged window, stability."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay import metrics
from assay.metrics import PERCENTILES, Columns
from assay.simulate import Fleet, Policy, run
from assay.simulate.records import GAP_BINS, GAP_SMALLEST, gap_bin, gap_middles
from assay.steptime import StepTime
from assay.workloads import Workload

Floats = NDArray[np.float64]

NAN = float("nan")

times = st.floats(1e-6, 1e6)


def columns(*rows: tuple[float, float, float, int]) -> Columns:
    """Rows of arrival, first token, finish and output tokens."""
    arrival, first, finish, output = zip(*rows, strict=True)
    return Columns(np.array(arrival), np.array(first), np.array(finish), np.array(output))


def staying(arrival: Floats, residence: float) -> Columns:
    """Requests of two tokens that all stay for the same time."""
    return Columns(arrival, arrival + residence / 2, arrival + residence, np.full(len(arrival), 2))


# Definitions


def test_the_latencies_of_a_request() -> None:
    """Sent at 1, first token at 3, five tokens by 11: TTFT 2, E2E 10, TPOT (10 - 2) / 4."""
    seen = columns((1.0, 3.0, 11.0, 5))
    assert [seen.column(metric)[0] for metric in ("ttft", "e2e", "tpot")] == [2.0, 10.0, 2.0]


def test_one_token_has_no_time_per_token() -> None:
    """Nothing follows the first."""
    assert np.isnan(columns((1.0, 3.0, 3.0, 1)).tpot[0])


def test_a_request_that_was_not_served_counts_in_no_distribution() -> None:
    """Its latencies are not known."""
    seen = columns((0.0, 1.0, 3.0, 2), (0.0, NAN, NAN, 2))
    assert [metrics.distribution(seen.column(metric)).values["mean"] for metric in ("ttft", "tpot", "e2e")] == [1.0, 2.0, 3.0]


# Distributions


@given(st.lists(times, min_size=1, max_size=300))
def test_percentiles_are_those_of_numpy(values: list[float]) -> None:
    """Mean and percentiles of the sample, between neighbours in proportion."""
    found = metrics.distribution(np.array(values)).values
    assert found["mean"] == pytest.approx(np.mean(values))
    for name, percent in PERCENTILES.items():
        assert found[name] == pytest.approx(np.percentile(values, percent))


@given(st.lists(times, max_size=100))
def test_missing_values_change_nothing(values: list[float]) -> None:
    """As if their rows were not there, in the errors too."""
    holed = np.array([each for value in values for each in (NAN, value)])
    assert metrics.distribution(holed).to_dict() == metrics.distribution(np.array(values)).to_dict()


def test_nothing_seen_is_nothing_known() -> None:
    """No values, no numbers."""
    empty = metrics.distribution(np.array([NAN, NAN]))
    assert set(empty.values) == set(empty.errors) == {"mean", *PERCENTILES}
    assert set(empty.values.values()) == set(empty.errors.values()) == {None}


def test_the_json_form_has_an_error_beside_each_value() -> None:
    """Under `standard_error`, by the same names."""
    shown = metrics.distribution(np.arange(50.0)).to_dict()
    errors = shown.pop("standard_error")
    assert isinstance(errors, dict)
    assert set(errors) == set(shown)
    assert shown["p50"] == 24.5


@given(st.lists(times, min_size=1, max_size=300))
def test_errors_are_never_negative_and_none_where_all_are_equal(values: list[float]) -> None:
    """Equal values leave no doubt."""
    assert all(error is not None and error >= 0 for error in metrics.distribution(np.array(values)).errors.values())
    assert set(metrics.distribution(np.full(len(values), 0.25)).errors.values()) == {0.0}


# Histograms


@given(st.lists(st.floats(GAP_SMALLEST, 2e4), min_size=1, max_size=300))
def test_a_histogram_tells_the_same_within_the_width_of_a_bin(gaps: list[float]) -> None:
    """Mean and percentiles against numpy on the gaps themselves; a percentile is one of the values that were seen."""
    counts = np.bincount([gap_bin(gap) for gap in gaps], minlength=GAP_BINS)
    found = metrics.weighted(gap_middles(), counts)
    assert found.values["mean"] == pytest.approx(np.mean(gaps), rel=0.01)
    for name, percent in PERCENTILES.items():
        assert found.values[name] == pytest.approx(np.percentile(gaps, percent, method="inverted_cdf"), rel=0.01)


def test_a_large_histogram_tells_what_numpy_tells_of_it_expanded() -> None:
    """Among many gaps it does not matter how percentiles lie between neighbours."""
    gaps = np.random.default_rng(0).lognormal(-3, 0.8, 200_000)
    counts = np.bincount([gap_bin(gap) for gap in gaps.tolist()], minlength=GAP_BINS)
    expanded = np.repeat(gap_middles(), counts)
    found = metrics.weighted(gap_middles(), counts)
    for name, percent in PERCENTILES.items():
        assert found.values[name] == pytest.approx(np.percentile(expanded, percent), rel=1e-9)
        assert found.values[name] == pytest.approx(np.percentile(gaps, percent), rel=0.01)
    assert set(found.errors.values()) == {None}


def test_an_empty_histogram_tells_nothing() -> None:
    """Requests of one token have no gaps."""
    assert metrics.weighted(gap_middles(), np.zeros(GAP_BINS, dtype=np.int64)).values["mean"] is None


# Standard errors


def samples(count: int, correlation: float = 0.0) -> list[Floats]:
    """200 samples of standard normal values, each correlated so much with the one before."""
    noise = np.random.default_rng(1).normal(0, math.sqrt(1 - correlation**2), (200, count))
    noise[:, 0] /= math.sqrt(1 - correlation**2)
    for place in range(1, count):
        noise[:, place] += correlation * noise[:, place - 1]
    return list(noise)


def covered(drawn: list[Floats], name: str) -> float:
    """Share of samples whose value lies within two of its errors of the true one."""
    true = 0.0 if name == "mean" else NormalDist().inv_cdf(PERCENTILES[name] / 100)
    found = [metrics.distribution(values) for values in drawn]
    return float(np.mean([abs(each.values[name] - true) <= 2 * each.errors[name] for each in found]))


def test_the_error_of_a_mean_is_right_for_independent_values() -> None:
    """Sigma / sqrt(n), within 4 % in the mean of 200 samples, and within 40 % in nearly all."""
    scaled = np.array([metrics.distribution(values).errors["mean"] for values in samples(1000)]) * math.sqrt(1000)
    assert scaled.mean() == pytest.approx(1.0, abs=0.04)
    assert np.mean(np.abs(scaled - 1) < 0.4) > 0.85


@pytest.mark.parametrize("name", ["mean", "p50", "p90", "p95", "p99"])
def test_two_errors_cover_the_truth(name: str) -> None:
    """In at least 85 of 100 samples of 1000 independent values."""
    assert covered(samples(1000), name) >= 0.85


@pytest.mark.parametrize("name", ["mean", "p50", "p90", "p99"])
def test_two_errors_cover_the_truth_though_neighbours_wait_together(name: str) -> None:
    """Correlated values say less; errors that took them for independent would cover less than half for the mean."""
    assert covered(samples(4000, 0.95), name) >= 0.85


def test_few_values_are_taken_as_independent() -> None:
    """Below twenty there are no batches."""
    values = np.arange(16.0)
    assert metrics.distribution(values).errors["mean"] == pytest.approx(values.std() / 4)


# The judged window


def test_warm_up_and_drain_are_not_judged() -> None:
    """Arrivals over 100 s that stay for 2 s: judged from 4 s to 98 s."""
    arrival = np.arange(0.0, 100.5, 0.5)
    judged = metrics.judged(staying(arrival, 2.0), 0)
    assert arrival[judged][[0, -1]].tolist() == [4.0, 98.0]
    assert judged.sum() == 2 * (98 - 4) + 1


def test_a_short_run_keeps_its_middle() -> None:
    """However long requests stay, no more than the first third and the last sixth are left out."""
    arrival = np.arange(0.0, 61.0)
    judged = metrics.judged(staying(arrival, 500.0), 0)
    assert arrival[judged][[0, -1]].tolist() == [20.0, 50.0]


def test_a_closed_loop_leaves_out_the_first_and_last_of_each_user() -> None:
    """By number, since a user sends when the last request ends."""
    assert np.flatnonzero(metrics.judged(staying(np.arange(40.0), 4.0), 4)).tolist() == list(range(4, 36))


def test_in_a_closed_loop_the_first_and_last_sent_are_not_judged() -> None:
    """Rows of sessions are not in order of sending: turns of one stand together."""
    arrival = np.arange(40.0).reshape(4, 10).T.ravel()
    judged = metrics.judged(staying(arrival, 4.0), 4)
    assert sorted(arrival[judged].tolist()) == list(np.arange(4.0, 36.0))


@pytest.mark.parametrize(
    ("arrival", "users"),
    [([0.0] * 50, 0), ([0.0], 0), (list(range(11)), 4), ([0.0, 1.0, 1.1], 0)],
    ids=["at once", "one", "closed and short", "three"],
)
def test_where_a_window_would_be_empty_all_are_judged(arrival: list[float], users: int) -> None:
    """All at once, or too few."""
    assert metrics.judged(staying(np.array(arrival), 5.0), users).all()


def test_nobody_served_leaves_all_judged() -> None:
    """There is no residence time to go by."""
    assert metrics.judged(columns(*[(float(row), NAN, NAN, 2) for row in range(30)]), 0).all()


# Is it long enough?


@pytest.mark.parametrize(("percentile", "wanted"), [(50, 200), (90, 1000), (95, 2000), (99, 10_000), (99.9, 100_000)])
def test_a_percentile_asks_for_100_requests_beyond_it(percentile: float, wanted: int) -> None:
    """100 / (1 - p), to the request."""
    seen = staying(np.arange(float(wanted)), 1.0)
    everyone = np.ones(wanted, dtype=np.bool_)
    assert metrics.enough(seen, everyone, percentile) == []
    everyone[0] = False
    assert metrics.enough(seen, everyone, percentile) == [f"{wanted - 1} requests judged, p{percentile:g} asks for {wanted}"]


def test_the_window_must_last_20_residence_times() -> None:
    """A thousand requests in ten seconds that stay for one second each."""
    seen = staying(np.linspace(0.0, 10.0, 1000), 1.0)
    message = "the judged window lasts 10.0 mean residence times, 20 are asked"
    assert metrics.enough(seen, np.ones(1000, dtype=np.bool_), 90) == [message]
    seen = staying(np.linspace(0.0, 20.1, 1000), 1.0)
    assert metrics.enough(seen, np.ones(1000, dtype=np.bool_), 90) == []


def test_a_run_may_be_short_in_both() -> None:
    """Each shortcoming is said."""
    assert len(metrics.enough(staying(np.linspace(0.0, 5.0, 50), 1.0), np.ones(50, dtype=np.bool_), 99)) == 2


# Stability


def queued(load: float, seed: int, requests: int = 1500, lost: int = 0) -> Columns:
    """Poisson arrivals at a server of one second; every `lost`-th request is rejected, so that fewer are served."""
    random = np.random.default_rng(seed)
    prompts = np.ones(requests, dtype=np.int64)
    if lost:
        prompts[::lost] = 100
    arrival = np.cumsum(random.exponential(1 / load, requests))
    workload = Workload(arrival=arrival, input=prompts, output=np.ones(requests, dtype=np.int64), name="queue")
    outcome = run(workload, Fleet.of(StepTime.constant(1.0, most=1), Policy(1, 1, 1, 10.0, ((0, 1.0),))))
    return Columns(outcome.arrival, outcome.first_token, outcome.finish, workload.output)


@pytest.mark.parametrize("seed", range(8))
def test_a_queue_below_its_capacity_is_stable_and_above_is_not(seed: int) -> None:
    """Loads of 0.6 and 1.3 of what can be served."""
    assert metrics.stable(queued(0.6, seed))
    assert not metrics.stable(queued(1.3, seed))


@pytest.mark.parametrize("lost", [3, 10])
def test_rejected_requests_are_no_backlog(lost: int) -> None:
    """They arrive and never wait: those that are served decide."""
    assert metrics.stable(queued(0.6, 1, lost=lost))
    assert not metrics.stable(queued(2.2, 1, lost=lost))


def test_a_large_steady_backlog_is_stable() -> None:
    """A thousand in the system at any time is no growth."""
    arrival = np.cumsum(np.random.default_rng(3).exponential(0.001, 20_000))
    assert metrics.stable(staying(arrival, 1.0))


def test_a_backlog_that_fills_up_and_then_stays_is_stable() -> None:
    """What happens in the first two thirds of the arrivals does not count."""
    assert metrics.stable(staying(np.linspace(0.0, 30.0, 900), 15.0))
    assert not metrics.stable(staying(np.linspace(0.0, 30.0, 900), 60.0))


def test_all_at_once_is_not_judged_unstable() -> None:
    """There is no rate that could be too high; neither can a handful of requests tell."""
    assert metrics.stable(staying(np.zeros(100), 5.0))
    assert metrics.stable(staying(np.arange(8.0), 500.0))


def test_a_run_in_which_nothing_was_served_has_no_backlog() -> None:
    """Everything was rejected."""
    assert metrics.stable(columns(*[(float(row), NAN, NAN, 2) for row in range(30)]))


# Goodput


SEEN = columns((0.0, 1.0, 5.0, 5), (0.0, 3.0, 4.0, 2), (0.0, 1.0, 9.0, 5), (0.0, 2.0, 2.0, 1), (0.0, NAN, NAN, 4))
ALL = np.ones(5, dtype=np.bool_)


@pytest.mark.parametrize(
    ("targets", "kept"),
    [
        ({}, [True, True, True, True, False]),
        ({"ttft": 2.0}, [True, False, True, True, False]),
        ({"tpot": 1.0}, [True, True, False, True, False]),
        ({"e2e": 4.0}, [False, True, False, True, False]),
        ({"ttft": 2.0, "tpot": 1.0}, [True, False, False, True, False]),
        ({"ttft": 2.0, "tpot": 1.0, "e2e": 4.0}, [False, False, False, True, False]),
    ],
    ids=str,
)
def test_a_request_is_good_when_it_keeps_every_target(targets: dict[str, float], kept: list[bool]) -> None:
    """A target that is just met is kept, one token keeps any time per token, and who was not served keeps nothing."""
    assert metrics.met(SEEN, ALL, targets).tolist() == kept


def test_only_judged_requests_are_counted() -> None:
    """Good ones outside the window do not add to goodput."""
    judged = np.array([True, False, True, False, True])
    assert metrics.met(SEEN, judged, {"ttft": 2.0}).tolist() == [True, False, True, False, False]
    assert judged.tolist() == [True, False, True, False, True]
