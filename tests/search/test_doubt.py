"""How likely the order of two deployments is to be wrong."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from assay.search.doubt import doubt
from assay.search.runs import Run

MakeRun = Callable[..., Run]


def tpot(run: Run) -> float | None:
    """What is least of the best."""
    return run.latencies["tpot"].values["mean"]


@pytest.fixture
def pair(make_run: MakeRun) -> tuple[Run, Run]:
    """A run and one that is a quarter slower, each within a factor of two on either side."""
    band = {"tpot": (0.5, 2.0)}
    return replace(make_run("a", tpot=0.02), error_band=band), replace(make_run("b", tpot=0.025), error_band=band)


def test_it_is_the_share_of_draws_in_which_the_other_wins(pair: tuple[Run, Run]) -> None:
    """Both true values drawn from their bands, independently."""
    best, other = pair
    random, spread = np.random.default_rng(1), math.log(2) / NormalDist().inv_cdf(0.95)
    here, there = (math.log(value) + spread * random.standard_normal(400_000) for value in (0.02, 0.025))
    assert doubt(best, pair, "tpot", tpot) == pytest.approx(float(np.mean(there < here)), abs=0.005)
    assert doubt(other, [best], "tpot", tpot) == pytest.approx(1 - (doubt(best, [other], "tpot", tpot) or 0.0))


def test_the_likeliest_rival_counts(pair: tuple[Run, Run]) -> None:
    """Of several; other deployments on the same chips are none, and alone there is no doubt to speak of."""
    best, other = pair
    slow = replace(other, chip="c", latencies={**other.latencies, "tpot": replace(other.latencies["tpot"], values={"mean": 1.0})})
    assert doubt(best, [slow, other], "tpot", tpot) == doubt(best, [other], "tpot", tpot)
    assert doubt(best, [best, replace(other, chip=best.chip)], "tpot", tpot) is None


def test_without_error_the_order_is_sure(pair: tuple[Run, Run]) -> None:
    """Bands of no width."""
    best, other = (replace(run, error_band={"tpot": (1.0, 1.0)}) for run in pair)
    assert doubt(best, [other], "tpot", tpot) == 0.0
    assert doubt(other, [best], "tpot", tpot) == 1.0
