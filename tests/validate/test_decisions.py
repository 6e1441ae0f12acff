"""The choice of a chip by prediction, held against the cheapest as measured."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay import offers
from assay.offers import Offer
from assay.points import Points, read_points
from assay.validate.decisions import LEVELS, Decisions, Summary, decided
from assay.validate.options import Option, Service, Traffic
from assay.validate.predict import Guess, Told
from assay.validate.validation import Validation

CLOSED, OFFLINE = Traffic("m", "closed", 1000.0, 100.0), Traffic("m", "offline", 1000.0, 100.0)
CHIPS = ("a", "b", "c", "d")
DOLLARS = 3.6  # an hour, so a chip of 1,000 tokens/s asks 1 dollar per million


def rent(chip: str, dollars: float = DOLLARS, basis: str = "rent") -> Offer:
    """A price of a chip-hour."""
    return Offer(chip=chip, basis=basis, tier="on-demand", dollars=dollars, source="made up", date="2026")


RENTS = [rent(chip) for chip in CHIPS]


def option(chip: str, measured: Any, predicted: Any = None, traffic: Traffic = OFFLINE) -> Option:
    """A run with these tokens/s of a chip, or these and those of a user; the data sheet says ten times what was measured."""
    views = [Service(*(view if isinstance(view, tuple) else (view,))) if view else None for view in (measured, predicted)]
    assert views[0] is not None
    return Option(traffic, chip, "", views[0], views[1], replace(views[0], output=views[0].output * 10))


def decide(*runs: Option) -> Decisions:
    """Decisions at like prices."""
    return decided(runs, RENTS)


def test_a_right_choice_by_hand() -> None:
    """The order is predicted, every cost is twice what it was."""
    (made,) = decide(*(option(chip, rate, rate / 2) for chip, rate in zip("abc", (1000, 500, 250), strict=True))).made
    assert made.measured == pytest.approx({"a": 1.0, "b": 2.0, "c": 4.0})
    assert made.predicted == pytest.approx({"a": 2.0, "b": 4.0, "c": 8.0})
    assert (made.best, made.picked, made.right, made.regret, made.lost) == ("a", "a", True, 0.0, 0.0)
    assert made.rank_correlation == pytest.approx(1.0)
    assert made.interactivity is None


def test_a_wrong_choice_by_hand() -> None:
    """The second is picked: twice as dear, one dollar lost; of three ranks two are swapped."""
    (made,) = decide(option("a", 1000, 800), option("b", 500, 900), option("c", 250, 100)).made
    assert (made.best, made.picked, made.right) == ("a", "b", False)
    assert (made.regret, made.lost, made.paid) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(2.0))
    assert made.rank_correlation == pytest.approx(0.5)


def test_prices_decide() -> None:
    """A chip of half the throughput at a quarter of the price is cheapest; the cheapest rent counts, and nothing else does."""
    prices = [rent("a", 4.0), rent("b", 1.0), rent("b", 9.0), rent("b", 0.1, "tco"), rent("c", 4.0), rent("d", 1.0, "purchase")]
    runs = [option("a", 1000, 1000), option("b", 500, 500), option("c", 900, 900), option("d", 9000, 9000)]
    found = decided(runs, prices)
    assert found.made[0].best == "b"
    assert found.left_out == ("d",)
    assert {chip: offer.dollars for chip, offer in found.prices.items()} == {"a": 4.0, "b": 1.0, "c": 4.0}
    told = found.to_dict()
    assert (told["basis"], told["left_out"], told["prices"]["b"]) == ("rent", ["d"], {"dollars": 1.0, "tier": "on-demand"})


def test_the_right_chip_by_a_dearer_run_has_a_regret() -> None:
    """What following means is to do as the run did."""
    (made,) = decide(option("a", 1000, 100), option("a", 800, 900), option("b", 500, 500), option("c", 250, 250)).made
    assert made.right
    assert made.regret == pytest.approx(0.25)


def test_a_level_leaves_out_runs_that_miss_it() -> None:
    """At 10 and 20 tokens/s the batch of chip a is cheapest, at 50 its fast run is, at 100 chip b is alone."""
    runs = {"a": [(1000, 25), (200, 60)], "b": [(150, 120)], "c": [(100, 60)]}
    made = decide(*(option(chip, view, view, CLOSED) for chip, views in runs.items() for view in views)).made
    assert [each.interactivity for each in made] == list(LEVELS)
    assert [each.best for each in made] == ["a", "a", "a", "b"]
    assert [each.measured["a"] for each in made[:3]] == pytest.approx([1.0, 1.0, 5.0])
    assert list(made[3].measured) == ["b"]
    assert made[3].chips == ("a", "b", "c")
    assert made[3].rank_correlation is None


def test_a_pick_that_misses_the_level_is_paid_at_its_chips_cheapest_that_reaches_it() -> None:
    """At 50 tokens/s the batch of a is picked, which measures 40; the run of a that reaches 50 costs 4 dollars, b costs 2."""
    runs = [option("a", (1000, 40), (1000, 55), CLOSED), option("a", (250, 60), (100, 60), CLOSED)]
    runs += [option(chip, (500, 60), (500, 60), CLOSED) for chip in "bc"]
    made = {each.interactivity: each for each in decide(*runs).made}
    assert made[50.0].picked == "a"
    assert (made[50.0].paid, made[50.0].regret) == (pytest.approx(4.0), pytest.approx(1.0))
    assert made[20.0].paid == pytest.approx(1.0)


def test_failures_are_counted_apart() -> None:
    """The picked chip has no run that reaches the level, or nothing is predicted to reach it; neither has a regret."""
    runs = [option("a", (1000, 40), (1000, 55), CLOSED), *(option(chip, (500, 60), (500, 45), CLOSED) for chip in "bc")]
    made = {each.interactivity: each for each in decide(*runs).made}
    assert (made[50.0].picked, made[50.0].paid, made[50.0].regret, made[50.0].right) == ("a", None, None, False)
    (silent,) = decide(*(option(chip, 500) for chip in "abc")).made
    assert (silent.picked, silent.regret, silent.rank_correlation) == (None, None, None)
    found = Summary.of([*made.values(), silent])
    assert (found.decisions, found.failed) == (4, 2)
    assert found.right == pytest.approx(2 / 4)
    assert found.mean_regret == 0.0


def test_it_takes_three_chips() -> None:
    """Of one traffic, with a price."""
    assert decide(option("a", 1, 1), option("a", 2, 2), option("b", 1, 1)).made == ()
    assert decide(option("a", 1, 1), option("b", 1, 1), option("c", 1, 1, replace(OFFLINE, isl=2.0))).made == ()
    assert decide(option("a", 1, 1), option("b", 1, 1), option("nobody's", 1, 1)).made == ()
    assert decide().to_dict()["right"] is None
    assert Summary.of([]) == Summary(0, None, None, None, None, 0, None)


def test_summaries_by_hand() -> None:
    """Regrets of 0 and 1, losses of 0 and 1 dollar; by load, and the data sheet, which has the order right, beside each."""
    right = [option(chip, rate, rate) for chip, rate in zip("abc", (1000, 500, 250), strict=True)]
    wrong = [replace(run, traffic=replace(OFFLINE, load="static"), predicted=Service(1 / run.measured.output)) for run in right]
    wrong[2] = replace(wrong[2], predicted=Service(0.0001))
    told = decide(*right, *wrong).to_dict()
    assert (told["decisions"], told["right"], told["failed"]) == (2, 0.5, 0)
    assert (told["mean_regret"], told["p90_regret"], told["lost"]) == (pytest.approx(0.5), pytest.approx(0.9), pytest.approx(0.5))
    assert told["rank_correlation"] == pytest.approx((1 + 0.5) / 2)
    assert (told["datasheet"]["right"], told["datasheet"]["mean_regret"]) == (1.0, 0.0)
    assert [(row["load"], row["right"], row["datasheet"]["right"]) for row in told["by_load"]] == [
        ("offline", 1.0, 1.0),
        ("static", 0.0, 1.0),
    ]
    assert [cell["picked"] for cell in told["cells"]] == ["a", "b"]
    assert [cell["datasheet"]["picked"] for cell in told["cells"]] == ["a", "a"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_chips_that_cost_the_same_have_no_ranks_and_no_wrong_choice() -> None:
    """Whichever is picked."""
    (made,) = decide(option("a", 10, 10), option("b", 10, 20), option("c", 10, 5)).made
    assert (made.picked, made.right, made.regret, made.rank_correlation) == ("b", True, 0.0, None)


rates = st.floats(0.01, 1e5)
services = st.tuples(rates, st.floats(1, 300))
runs = st.lists(st.tuples(st.sampled_from(CHIPS), services, services), min_size=1, max_size=20)


@given(runs)
def test_a_perfect_prediction_is_right_and_regrets_nothing(drawn: list[tuple[str, Any, Any]]) -> None:
    """At every level, and ranks all chips as they are."""
    found = decide(*(option(chip, view, view, CLOSED) for chip, view, _ in drawn))
    assert all(each.right and each.regret == 0 for each in found.made)
    assert all(each.rank_correlation in (None, pytest.approx(1)) for each in found.made)
    assert Summary.of(found.made).failed == 0


@given(runs)
def test_regret_is_never_negative(drawn: list[tuple[str, Any, Any]]) -> None:
    """Nor a loss; and where the chip is wrong and costs more it is above zero."""
    for each in decide(*(option(chip, view, said, CLOSED) for chip, view, said in drawn)).made:
        if each.regret is not None and each.lost is not None:
            assert each.regret >= 0
            assert each.lost >= 0
            assert each.right or each.lost > 0
        assert set(each.measured) | set(each.predicted) <= set(each.chips)


@given(runs, st.integers(-20, 20))
def test_a_common_factor_changes_no_decision(drawn: list[tuple[str, Any, Any]], power: int) -> None:
    """Where no interactivity is asked for. A power of two, which rounds nothing."""
    plain = decide(*(option(chip, rate, said) for chip, (rate, _), (said, _) in drawn))
    scaled = decide(*(option(chip, rate, said * 2.0**power) for chip, (rate, _), (said, _) in drawn))
    for one, other in zip(plain.made, scaled.made, strict=True):
        assert (one.picked, one.paid, one.rank_correlation) == (other.picked, other.paid, other.rank_correlation)
    assert Summary.of(plain.made) == Summary.of(scaled.made)


@given(runs, st.randoms())
def test_the_order_of_rows_does_not_matter(drawn: list[tuple[str, Any, Any]], random: Any) -> None:
    """But where runs of a chip are predicted to cost the same."""
    made = [option(chip, view, said, CLOSED) for chip, view, said in {said: each for each in drawn for said in [each[2][0]]}.values()]
    shuffled = random.sample(made, len(made))
    assert decide(*made).to_dict() == decide(*shuffled).to_dict()


def test_a_validation_decides(tmp_path: Path) -> None:
    """From rows of a table to its JSON, at the shipped rents: the prediction swaps the throughputs of the first and the last chip."""
    rents = [offer for offer in offers.load() if offer.basis == "rent"]
    chips = ("h100-sxm", "h200-sxm", "mi300x")
    dollars = [found.dollars for chip in chips if (found := offers.choose(rents, chip))]
    measured, said = ([price * tokens for price, tokens in zip(dollars, each, strict=True)] for each in ((300, 200, 100), (100, 200, 300)))
    rows = [
        {"chip": chip, "chips": 1, "model": "llama-3.1-8b", "load": "offline", "isl": 100.0, "osl": 10.0}
        | {"metric": "output_tokens_per_second", "per": "chip", "value": value, "quality": "A"}
        for chip, value in zip(chips, measured, strict=True)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    points: Points = read_points([tmp_path / "t.parquet"])
    told = tuple(Told((Guess(row, value, value, value, value),)) for row, value in enumerate(said))
    found = Validation(points, points.runs, told).to_dict()["decisions"]
    (cell,) = found["cells"]
    assert (cell["best"], cell["picked"], cell["right"]) == ("h100-sxm", "mi300x", False)
    assert cell["regret"] == pytest.approx(2.0)
    assert cell["rank_correlation"] == pytest.approx(-1.0)
    assert cell["chips"]["h200-sxm"] == {"measured": pytest.approx(1e6 / 3600 / 200), "predicted": pytest.approx(1e6 / 3600 / 200)}
    assert (found["decisions"], found["right"], found["left_out"]) == (1, 0.0, [])
