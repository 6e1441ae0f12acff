"""Runs and plants for the tests of the search."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.chips import Chip
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.metrics import Distribution
from assay.models import Model
from assay.offers import Offer, Ownership
from assay.search.plant import Plant, build
from assay.search.price import Market
from assay.search.runs import Evidence, Price, Run
from assay.simulate import Policy
from assay.steptime import StepTime

MakeRun = Callable[..., Run]
MakePlant = Callable[..., Plant]


def _distribution(mean: float | None) -> Distribution:
    values = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "p999"), mean)
    return Distribution(values, dict.fromkeys(values))


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """A run by chip, chips, tokens/s, mean TPOT in seconds and dollars per chip-hour (None: nobody offers it)."""

    def make(
        chip: str = "a",
        *,
        chips: int = 1,
        tokens: float = 1000.0,
        tpot: float | None = 0.02,
        dollars: float | None = 2.0,
        feasible: bool = True,
    ) -> Run:
        hour = None if dollars is None else dollars * chips
        price = Price(why="no offer") if hour is None else Price(hour, hour / 3600 / tokens * 1e6, offer=dollars, basis="rent")
        latencies = {name: _distribution(tpot if name == "tpot" else 0.1) for name in ("ttft", "tpot", "itl", "e2e")}
        return Run(
            model="m", chip=chip, family="f", chips=chips, engine="e", deployment={}, workload={}, requests=1, completed=1, rejected=0,
            judged=1, stable=True, duration=1.0, wall_time=0.0, latencies=latencies, output_tokens_per_second=tokens / 2,
            total_tokens_per_second=tokens, requests_per_second=1.0, goodput=1.0, preemptions=0, prefix_hit_rate=0.0, kv_peak=0.1,
            joules_per_token=1.0, power=None, price=price, bottleneck={}, error_band={}, evidence=Evidence("spec-only", ""), assumptions=(),
            feasible=feasible, why_not=None if feasible else "too slow",
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_plant() -> MakePlant:
    """A toy replica: steps of `fixed + per_token n` seconds, at most `sequences` at once, no limit of memory that matters."""
    model, chip = Model.load("llama-3.1-8b"), Chip.load("h100-sxm")
    limits = Asked(tp=1, token_budget=512, max_num_seqs=64, prefix_cache=False)
    base = build(model, resolve(model, chip, Engine.load("generic"), limits))

    def make(fixed: float = 0.02, per_token: float = 1e-5, *, sequences: int = 8, budget: int = 512) -> Plant:
        times = StepTime.linear(fixed, per_token, most=512)
        policy = Policy(budget, sequences, 16, kv_capacity=1e9, kv_bytes=((0, 1.0),))
        return replace(base, times=times, policy=policy)

    return make


@pytest.fixture(scope="session")
def market() -> Market:
    """Somebody rents the chip out for two dollars an hour."""
    return Market(Offer(chip="h100-sxm", basis="rent", tier="cloud", dollars=2.0, source="test", date="2026"), Ownership.load())
