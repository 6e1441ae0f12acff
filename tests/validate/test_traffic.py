"""Workloads of published runs."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from assay.points import Point
from assay.validate.traffic import BLOCK, Unpredicted, traffic
from assay.validate.unstated import drafting, of_dataset, prompts, unstated

MODEL = "llama-3.1-8b"


def run(**conditions: Any) -> Point:
    """A run with these conditions."""
    return Point(conditions, ())


def test_a_closed_loop_has_its_users_and_ten_requests_of_each() -> None:
    """Lengths are drawn around those asked for where a spread is stated."""
    point = run(load="closed", concurrency=4.0, isl=922.0, osl=92.0, isl_nominal=1024.0, osl_nominal=100.0, spread_low=0.8, spread_high=1.0)
    found, said = traffic(point, MODEL)
    assert (found.concurrency, found.requests, said) == (4, 40, [])
    assert found.input.min() >= 819
    assert found.input.max() <= 1024


def test_without_a_spread_all_requests_have_the_mean_length() -> None:
    """That of those used, not that asked for."""
    found, _ = traffic(run(load="static", batch=16.0, isl=100.4, osl=20.0, isl_nominal=90.0), MODEL)
    assert set(found.input.tolist()) == {100}
    assert found.at_once
    assert found.requests == 16


def test_requests_at_random_come_for_as_long_as_stated() -> None:
    """Else for as long as the rules of such runs ask."""
    found, _ = traffic(run(load="poisson", rate=2.0, duration=100.0, isl=10.0, osl=5.0), MODEL)
    assert found.requests == 200
    assert found.rate == pytest.approx(2.0, rel=0.25)
    longer, _ = traffic(run(load="poisson", rate=2.0, isl=10.0, osl=5.0), MODEL)
    assert longer.requests == 2 * unstated("requests", "seconds")


def test_prompts_without_a_stated_length_are_longer_than_asked_for() -> None:
    """By the chat template, which is said."""
    found, said = traffic(run(load="poisson", rate=1.0, isl_nominal=500.0, osl=10.0), MODEL)
    assert int(found.input[0]) == round(500 * unstated("lengths", "template"))
    assert said == ["prompts are longer than asked for, by the chat template"]


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"load": "closed", "concurrency": 4.0, "osl": 9.0}, "isl is not stated"),
        ({"load": "closed", "isl": 9.0, "osl": 9.0}, "concurrency is not stated"),
        ({"load": "poisson", "isl": 9.0, "osl": 9.0}, "rate is not stated"),
        ({"isl": 9.0, "osl": 9.0}, "how requests came is not stated"),
    ],
)
def test_what_cannot_be_left_out_is_named(conditions: dict[str, Any], reason: str) -> None:
    """A short reason, to be counted."""
    with pytest.raises(Unpredicted, match=reason):
        traffic(run(**conditions), MODEL)


def test_one_stream_may_leave_out_its_lengths() -> None:
    """They are assumed, and said."""
    found, said = traffic(run(load="single"), MODEL)
    assert found.concurrency == 1
    assert len(said) == 2


def test_prompts_that_repeat_share_their_blocks() -> None:
    """Of three distinct prompts with a common start the same ids come again; the start is that of all."""
    point = run(load="poisson", rate=5.0, duration=40.0, isl=160.0, osl=4.0, distinct_prompts=3, shared_prefix=32)
    found, _ = traffic(point, MODEL)
    prompts = [found.prefix[a:b].tolist() for a, b in zip(found.prefix_offsets, found.prefix_offsets[1:], strict=False)]
    assert len({tuple(ids) for ids in prompts}) == 3
    assert {tuple(ids[: 32 // BLOCK]) for ids in prompts} == {(0, 1)}
    assert len({ids[32 // BLOCK] for ids in prompts}) == 3
    assert all(len(set(ids)) == 160 // BLOCK for ids in prompts)


def test_prompts_repeat_where_those_of_the_other_runs_of_a_set_do() -> None:
    """A run that does not state how many prompts there are has as many as they; of other sets all are new."""
    conditions = {"load": "poisson", "rate": 5.0, "duration": 40.0, "isl": 160.0, "osl": 4.0, "shared_prefix": 32}
    workload, said = traffic(run(**conditions, set="serving"), "llama-2-7b")
    drawn = {tuple(workload.prefix[first:last]) for first, last in pairwise(workload.prefix_offsets)}
    assert prompts("serving") == 45
    assert 40 <= len(drawn) <= 45
    assert any("45 prompts" in each for each in said)
    others, _ = traffic(run(**conditions, set="mine"), "llama-2-7b")
    assert len({tuple(others.prefix[first:last]) for first, last in pairwise(others.prefix_offsets)}) == others.requests
    assert prompts("mine") is None


def test_a_common_start_alone_parts_after_it() -> None:
    """No two prompts share what comes after."""
    found, _ = traffic(run(load="offline", requests=20.0, isl=64.0, osl=4.0, shared_prefix=16), MODEL)
    ids, counts = np.unique(found.prefix, return_counts=True)
    assert counts[ids == 0] == [20]
    assert set(counts[ids != 0].tolist()) == {1}


def test_data_sets_are_looked_up_by_collection_and_model() -> None:
    """Nothing is known of others."""
    assert of_dataset("nobody", MODEL, "input") is None


@pytest.mark.parametrize(
    ("family", "date", "drafts"),
    [
        ("sambanova-rdu", "2024-08", False), ("sambanova-rdu", "2024-09-10", True), ("sambanova-rdu", "2024-12-31", True),
        ("sambanova-rdu", "2026", False), ("cerebras-wafer", "2024-09", False), ("cerebras-wafer", "2026", True),
        ("groq-lpu", "2026", False), ("cerebras-wafer", None, False),
    ],
)  # fmt: skip
def test_shared_endpoints_draft_from_one_month_to_another(family: str, date: str | None, drafts: bool) -> None:
    """Days count by their month; where no end is known they go on, and without a date none does."""
    assert drafting(family, date) is drafts
