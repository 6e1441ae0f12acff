"""What is fitted, and how far it may move."""

import math

import numpy as np
import pytest

from assay.calibrate.terms import CERTAIN, LEVELS, ignorance, terms
from assay.cost.constants import generic_facts
from assay.points import Number

EXECUTIONS = ("kernel-by-kernel", "resident-pipeline")


def number(metric: str, statistic: str = "", quality: str = "A") -> Number:
    """A measured number of a metric."""
    return Number(0, metric, statistic, "request", 1.0, quality)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_what_is_fitted_is_a_constant(execution: str) -> None:
    """Of either way of execution, with a spread above nothing."""
    known = {f"{table}.{key}" for table, facts in generic_facts(execution).items() for key in facts}
    assert set(terms().names) <= known
    assert len(set(terms().names)) == len(terms().names) == len(terms().spread)
    assert min(terms().spread) > 0


def test_every_level_above_generic_has_its_share() -> None:
    """None may take more than the spread."""
    assert set(terms().shares) == set(LEVELS[1:])
    assert all(0 < share <= 1 for share in terms().shares.values())


def test_a_load_generator_moves_its_constants_alone() -> None:
    """Those that fit.toml names, which go with no other."""
    what = terms()
    moved = {name for name, width in zip(what.names, what.widths("client"), strict=True) if width > CERTAIN}
    assert moved == set(what.of_client) > set()
    correlation = what.root @ what.root.T
    for name in what.unlike:
        place = what.names.index(name)
        assert np.delete(correlation[place], place) == pytest.approx(0)
    alike = what.names.index("host.step"), what.names.index("host.sequence")
    assert correlation[alike] == pytest.approx(what.likeness)


def test_noise_is_by_metric_and_wider_in_the_tail() -> None:
    """Percentiles above the 90th."""
    what = terms()
    assert what.sigma(number("ttft", "mean")) == what.sigma(number("ttft", "p90")) == what.noise["ttft"]
    assert what.sigma(number("tpot", "p50")) == what.sigma(number("output_tokens_per_second")) == what.noise["other"]
    for statistic in ("p95", "p99", "p999"):
        assert what.sigma(number("ttft", statistic)) == what.noise["ttft"] * what.noise["tail"] > what.noise["ttft"]


def test_numbers_of_lower_quality_are_noisier() -> None:
    """Unmarked ones, as a user's own, are as good as the best."""
    sigmas = [terms().sigma(number("tpot", "mean", quality)) for quality in ("", "A", "B", "C")]
    assert sigmas[0] == sigmas[1] < sigmas[2] < sigmas[3]
    assert terms().sigma(number("ttft", "p99", "B")) / terms().sigma(number("ttft", "p99")) == pytest.approx(sigmas[2] / sigmas[1])


def test_one_term_can_be_left_out() -> None:
    """The others keep their spread."""
    what = terms()
    for place, name in enumerate(what.names):
        fewer = what.without(name)
        assert fewer.names == what.names[:place] + what.names[place + 1 :]
        assert fewer.spread == what.spread[:place] + what.spread[place + 1 :]
        assert (fewer.shares, fewer.noise) == (what.shares, what.noise)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_ignorance_is_the_interval_of_a_generic_constant(execution: str) -> None:
    """That many standard deviations on each side of the geometric middle reach from low to high; without an interval there is none."""
    for name in terms().names:
        table, _, key = name.partition(".")
        fact, deviation = generic_facts(execution)[table][key], ignorance(name, execution)
        if fact.low and fact.high:
            assert math.sqrt(fact.low * fact.high) * math.exp(1.645 * deviation) == pytest.approx(fact.high)
        else:
            assert deviation == 0
