"""The frontier and the worth of chips, against their definitions."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.search.frontier import frontier, worth, worths
from assay.search.runs import Price, Run

MakeRun = Callable[..., Run]
steady = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

drawn = st.fixed_dictionaries(
    {
        "chip": st.sampled_from("abc"),
        "chips": st.integers(1, 64),
        "tokens": st.sampled_from((100.0, 400.0, 1000.0, 5000.0)) | st.floats(1, 1e6),
        "tpot": st.sampled_from((0.01, 0.02, 0.04)) | st.floats(1e-4, 1.0) | st.none(),
        "dollars": st.sampled_from((1.0, 2.0)) | st.floats(0.1, 100) | st.none(),
        "feasible": st.booleans(),
    }
)


@steady
@given(rows=st.lists(drawn, max_size=12))
def test_the_frontier_is_what_nobody_beats(make_run: MakeRun, rows: list[dict]) -> None:
    """Point by point: no feasible, priced run is as good in both measures and better in one."""
    runs = [make_run(**row) for row in rows]
    for one, on in zip(runs, frontier(runs), strict=True):
        assert on == (counts(one) and not any(counts(other) and beats(other, one) for other in runs))


def counts(run: Run) -> bool:
    """Whether a run can be on the frontier at all."""
    return run.feasible and run.price.per_hour is not None and run.latencies["tpot"].values["mean"] is not None


def beats(other: Run, run: Run) -> bool:
    """Whether another run is at least as good in tokens per dollar and in speed, and better in one of them."""
    better = [(each.output_tokens_per_second / each.price.per_hour, 1 / each.latencies["tpot"].values["mean"]) for each in (other, run)]
    return all(x >= y for x, y in zip(*better, strict=True)) and better[0] != better[1]


def test_equal_runs_stand_together(make_run: MakeRun) -> None:
    """Of two runs that are alike neither beats the other."""
    assert frontier([make_run("a"), make_run("b")]) == [True, True]
    assert frontier([]) == []


@steady
@given(rows=st.lists(drawn.map(lambda row: {**row, "feasible": True}), min_size=2, max_size=8))
def test_a_chip_offered_at_its_worth_ties_the_best(make_run: MakeRun, rows: list[dict]) -> None:
    """At its worth a chip serves a million tokens for exactly what the cheapest other chip asks."""
    runs = [make_run(**row) for row in rows]
    for place, run in enumerate(runs):
        others = [other.price.blended for other in runs if other.chip != run.chip and other.price.blended is not None]
        found = worth(run, runs)
        if not others:
            assert found is None
            continue
        tied = make_run(**{**rows[place], "dollars": found})
        assert tied.price.blended == pytest.approx(min(others), rel=1e-12)


@steady
@given(rows=st.lists(drawn, max_size=8))
def test_who_has_a_worth(make_run: MakeRun, rows: list[dict]) -> None:
    """Every feasible run beside another chip that is feasible and offered, whether or not it is offered itself."""
    runs = [make_run(**row) for row in rows]
    for run, found in zip(runs, worths(runs), strict=True):
        rivals = [other for other in runs if other.chip != run.chip and other.feasible and other.price.blended is not None]
        assert (found is not None) == (run.feasible and bool(rivals))
        assert found is None or found > 0


@steady
@given(row=drawn, factor=st.floats(0.1, 10))
def test_worth_does_not_follow_the_own_price(make_run: MakeRun, row: dict, factor: float) -> None:
    """What a chip is offered for says nothing of its worth; what it serves does, in proportion."""
    row = {**row, "chip": "a", "feasible": True}
    rival = make_run("b")
    one = worth(make_run(**row), [rival])
    assert worth(make_run(**{**row, "dollars": 7.0}), [rival]) == one
    assert worth(make_run(**{**row, "tokens": factor * row["tokens"]}), [rival]) == pytest.approx(factor * one)
    assert worth(make_run(**row), [replace(rival, price=Price(why="no offer"))]) is None


def test_worth_by_hand(make_run: MakeRun) -> None:
    """The rival asks 4 $/h for 2,000 tokens/s; eight chips that serve 8,000 tokens/s may cost 2 $/h each."""
    rival, own = make_run("b", tokens=2000.0, dollars=4.0), make_run("a", chips=8, tokens=8000.0, dollars=None)
    assert worths([own, rival]) == [pytest.approx(2.0), None]
