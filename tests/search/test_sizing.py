"""The least number of replicas, against trying every number."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assay.search.evaluate import Question
from assay.search.plant import Plant
from assay.search.price import Market
from assay.search.sizing import at, confirmed, least
from assay.slo import Slo
from assay.workloads import Workload

MakePlant = Callable[..., Plant]

# One toy replica serves about 17 requests a second: eight at once, 17 steps of 20 ms each.
CASES = {
    "rate 5": (Workload.draw(64, 16, requests=200, rate=5.0), Slo(ttft=0.2)),
    "rate 60": (Workload.draw(64, 16, requests=200, rate=60.0), Slo(ttft=0.2)),
    "rate 60, no target": (Workload.draw(64, 16, requests=200, rate=60.0), Slo()),
    "rate 200": (Workload.draw(64, 16, requests=200, rate=200.0), Slo(ttft=0.1, tpot=0.05)),
    "spread": (Workload.draw(100, 20, requests=200, rate=100.0, spread=(0.2, 1.8)), Slo(ttft=0.3, percentile=95)),
    "20 users": (Workload.draw(64, 16, requests=200, concurrency=20), Slo(ttft=0.1)),
    "at once": (Workload.draw(64, 16, requests=60), Slo(ttft=0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_least_is_the_least(make_plant: MakePlant, market: Market, name: str) -> None:
    """As many replicas as the first number, counted up from one, that meets the targets."""
    plant, question = make_plant(), Question(*CASES[name])
    found = least(plant, question, market)
    brute = next(replicas for replicas in range(1, 100) if at(plant, replicas, question, market).feasible)
    assert found.feasible
    assert found.why_not is None
    assert found.chips // plant.part.chips == brute


@pytest.mark.parametrize("name", CASES)
def test_twice_what_is_enough_is_enough(make_plant: MakePlant, market: Market, name: str) -> None:
    """Where some replicas meet the targets, twice as many do, and users never wait longer in the mean.

    In a closed loop until the end: what comes in turn to a replica in the midst of a step waits for its end, and may find none to wait
    for on fewer replicas.
    """
    plant, question = make_plant(), Question(*CASES[name])
    metric = "e2e" if question.workload.concurrency else "ttft"
    for replicas in (1, 2, 3, 5, 8):
        few, many = (at(plant, count, question, market) for count in (replicas, 2 * replicas))
        assert many.feasible or not few.feasible
        # not exact: which requests meet on a replica, and which are judged, changes with their number
        assert many.latencies[metric].values["mean"] <= few.latencies[metric].values["mean"] * 1.03
        assert many.chips == 2 * few.chips


def test_the_flow_is_that_of_all_replicas(make_plant: MakePlant, market: Market) -> None:
    """However many replicas share a steady load, its tokens and requests per second are what is offered."""
    question = Question(Workload.draw(64, 16, requests=300, rate=20.0), Slo())
    for replicas in (2, 4, 8):
        run = at(make_plant(), replicas, question, market)
        assert run.requests_per_second == pytest.approx(20.0)
        assert run.output_tokens_per_second == pytest.approx(16 * 20.0)
        assert run.total_tokens_per_second == pytest.approx(80 * 20.0)
        assert run.workload["rate"] == pytest.approx(20.0)
        assert run.price.per_hour == pytest.approx(2.0 * replicas)


def test_targets_that_nothing_meets_are_said(make_plant: MakePlant, market: Market) -> None:
    """The run of the most replicas tried tells what it missed."""
    run = least(make_plant(), Question(Workload.draw(64, 16, requests=200, rate=20.0), Slo(ttft=0.001)), market)
    assert not run.feasible
    assert "p99 TTFT" in run.why_not
    assert "over the target of 0.001 s" in run.why_not


def test_a_closed_loop_has_no_more_replicas_than_users(make_plant: MakePlant, market: Market) -> None:
    """Two users can keep two replicas busy: more would serve nobody, and count users that are not there."""
    run = least(make_plant(), Question(Workload.draw(64, 16, requests=50, concurrency=2), Slo(ttft=0.001)), market)
    assert not run.feasible
    assert run.chips <= 2 * make_plant().part.chips
    assert run.workload["concurrency"] == 2


def test_sessions_are_not_cut_short(make_plant: MakePlant, market: Market) -> None:
    """Sizing takes the first of many requests, but all of those that come in sessions."""
    plant, slo = make_plant(), Slo(ttft=0.2)
    alone = Workload.draw(64, 16, requests=3000, rate=20.0)
    turns = replace(alone, session=np.arange(3000) // 3)
    assert least(plant, Question(alone, slo), market).requests == 2000
    assert least(plant, Question(turns, slo), market).requests == 3000


def test_a_confirmed_run_has_all_requests(make_plant: MakePlant, market: Market) -> None:
    """A sized run is repeated at full length, and gets more replicas only while that misses the targets."""
    plant, question = make_plant(), Question(Workload.draw(64, 16, requests=4000, rate=60.0), Slo(ttft=0.2))
    sized = least(plant, question, market)
    full = confirmed(plant, sized, question, market)
    assert sized.requests < full.requests == 4000
    assert full.feasible
    assert full.chips >= sized.chips
    hopeless = Question(question.workload, Slo(ttft=0.001))
    missed = least(plant, hopeless, market)
    assert confirmed(plant, missed, hopeless, market).chips == missed.chips
