"""What is said of a simulated deployment: of several parts the sums, of what cannot be measured nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from assay.chips import Chip
from assay.cost.energy import provisioned_watts
from assay.deployments import Router, Speculation
from assay.report import table
from assay.search.assembly import Assembly
from assay.search.evaluate import Question, evaluate
from assay.search.plant import Plant
from assay.search.price import Market
from assay.search.runs import Run
from assay.slo import Slo
from assay.workloads import Workload

MakePlant = Callable[..., Plant]


@pytest.fixture
def apart(make_plant: MakePlant) -> Assembly:
    """Two replicas that compute prompts, and three on another chip that decode."""
    plain = make_plant(0.01)
    other = replace(Chip.load("mi300x"), name="other", family="f")
    prefill = replace(plain, part=replace(plain.part, role="prefill", replicas=2))
    return Assembly((prefill, replace(plain, part=replace(plain.part, role="decode", replicas=3, chip=other))))


def served(assembly: Assembly, workload: Workload, market: Market, slo: Slo | None = None) -> Run:
    """The run of a workload, every part in the same market."""
    return evaluate(assembly, Question(workload, slo or Slo()), [market] * len(assembly.plants))


def test_parts_add_up(apart: Assembly, market: Market) -> None:
    """Chips, power and dollars of both; each name once, in order."""
    run = served(apart, Workload.draw(64, 16, requests=300, rate=20.0), market)
    first, second = (plant.part for plant in apart.plants)
    assert run.completed == 300
    assert (run.chip, run.family, run.engine) == ("h100-sxm + other", "hopper + f", "generic")
    assert run.chips == 2 * first.chips + 3 * second.chips == 5
    assert run.power == pytest.approx(2 * provisioned_watts(first.chip) + 3 * provisioned_watts(second.chip))
    assert run.price.per_hour == pytest.approx(5 * 2.0)
    assert [part["role"] for part in run.deployment["parts"]] == ["prefill", "decode"]
    assert run.output_tokens_per_second == pytest.approx(16 * 20.0)
    assert "other" in run.evidence.why
    json.dumps(run.to_dict(), allow_nan=False)


def test_a_part_that_nobody_sells_leaves_no_price(apart: Assembly, market: Market) -> None:
    """No price, and which chip lacks one."""
    workload = Workload.draw(64, 16, requests=50, rate=20.0)
    run = evaluate(apart, Question(workload, Slo()), [market, replace(market, offer=None)])
    assert (run.price.per_hour, run.price.blended, run.price.why) == (None, None, "other: no offer for this chip")
    assert run.to_dict()["why_no_cost"] == "other: no offer for this chip"


def test_idle_power_is_that_of_all(apart: Assembly, market: Market) -> None:
    """Watts of waiting for as long as the run lasts, over the tokens, beside the work."""
    workload = Workload.draw(64, 16, requests=50, rate=20.0)
    warm, cold = (
        served(Assembly(tuple(replace(plant, times=replace(plant.times, idle_watts=watts)) for plant in apart.plants)), workload, market)
        for watts in (100.0, 0.0)
    )
    assert warm.joules_per_token - cold.joules_per_token == pytest.approx(5 * 100.0 * warm.duration / (50 * 16))


def test_without_output_there_is_no_energy_per_token(make_plant: MakePlant, market: Market) -> None:
    """Null in JSON, a dash or nothing for people; TTFT is still told."""
    run = served(Assembly((make_plant(),)), Workload.draw(64, 0, requests=50, rate=20.0), market)
    assert run.joules_per_token is None
    assert run.to_dict()["joules_per_token"] is None
    assert "p99 TTFT" in run.summary()
    assert "TPOT" not in run.summary()
    text = StringIO()
    table.run(run.to_dict(), Console(file=text, width=80))
    assert "energy" not in text.getvalue()
    assert "TTFT" in text.getvalue()


def test_the_seed_of_the_workload_draws_speculation(make_plant: MakePlant, market: Market) -> None:
    """The same seed the same steps; another others, of requests that are all alike."""
    plain = make_plant()
    part = replace(plain.part, speculation=Speculation(3, 0.5))
    assembly = Assembly((replace(plain, part=part, times=replace(plain.times, width=4)),))
    workloads = [Workload.draw(64, 200, requests=30, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (served(assembly, workload, market).latencies["e2e"].values["mean"] for workload in workloads)
    assert first == again != other


def test_failures_are_told(make_plant: MakePlant, market: Market) -> None:
    """Where no replica is ever up nothing is served, and the reason says that this may be so."""
    plain = make_plant()
    run = served(Assembly((plain,), Router(outages=((0.0, 0, False),))), Workload.draw(64, 16, requests=50, rate=20.0), market)
    assert run.completed == 0
    assert run.why_not
    assert run.why_not.endswith("or found no replica up")
    late = served(Assembly((plain.sized(2),), Router(outages=((1.0, 1, True),))), Workload.draw(64, 16, requests=50, rate=20.0), market)
    assert late.completed == 50


def test_percentiles_go_by_the_order_of_sending(make_plant: MakePlant, market: Market) -> None:
    """Users of a closed loop with sessions: the first and the last to be sent are not judged, whatever their rows."""
    workload = replace(Workload.draw(64, 16, requests=90, concurrency=3), session=np.arange(90) // 10)
    run = served(Assembly((make_plant(),)), workload, market)
    assert run.each
    sent = run.each.times.arrival
    assert not np.array_equal(sent, np.sort(sent))
    judged = np.sort(sent[run.each.judged])
    assert np.array_equal(judged, np.sort(sent)[3:-3])
