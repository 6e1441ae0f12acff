"""Decisions on the page of a validation, and on the terminal."""

import io
import json
from types import ModuleType
from typing import Any

from rich.console import Console

from assay.offers import Offer
from assay.report import accuracy, errors
from assay.report.decision_charts import picks, regrets
from assay.validate.decisions import decided
from assay.validate.options import Option, Service, Traffic


def told(chips: tuple[str, str, str] = ("one", "two", "three"), model: str = "some model") -> dict[str, Any]:
    """Four decisions on chips of 4, 2 and 1 dollars: two right, one that costs twice as much, one in which nothing is predicted."""
    rates = (250.0, 500.0, 1000.0)
    said = {"closed": ((2.0, 3.0, 4.0), 10.0), "offline": ((1.0, 3.0, 2.0), None), "static": (None, None)}
    options = [
        Option(Traffic(model, load, 1000.0, 100.0), chip, "", Service(rate, pace), Service(guesses[i], pace) if guesses else None, None)
        for load, (guesses, pace) in said.items()
        for i, (chip, rate) in enumerate(zip(chips, rates, strict=True))
    ]
    options += [
        Option(Traffic(model, "offline", 7.0, 7.0), chip, "", Service(1.0 + i), Service(1.0 + i), None) for i, chip in enumerate(chips)
    ]
    rents = [Offer(chip=chip, basis="rent", tier=f"{chip} tier", dollars=3.6, source="made up", date="2026") for chip in chips]
    unpriced = Option(Traffic(model, "offline", 1.0, 1.0), f"{chips[0]} unpriced", "", Service(1.0), None, None)
    found: dict[str, Any] = json.loads(json.dumps(decided([*options, unpriced], rents).to_dict(), allow_nan=False))
    return found


def test_the_page_says_how_often_and_at_what_cost(reading: ModuleType) -> None:
    """The summary, prices, chips without one, and each decision, those that failed first."""
    decisions = told()
    page = reading.read(accuracy.render({"decisions": decisions}, []))
    words = " ".join(page.words)
    assert (decisions["decisions"], decisions["right"], decisions["failed"]) == (4, 0.5, 1)
    for text in ("50 %", "33 %", "$0.33", "one $3.60 (one tier)", "left out: one unpriced", "10 tokens/s of a user", "The 4 worst"):
        assert text in words
    assert words.index("nothing predicted") < words.index("100 %", words.index("The 4 worst"))
    assert len(page.figures()) == 2


def test_the_curve_ends_at_the_share_that_did_not_fail() -> None:
    """Half of four regret nothing, three quarters at most 100 %; the data sheet says nothing."""
    sheet, ours = regrets(told()["cells"])["data"]
    assert (list(ours["x"]), list(ours["y"])) == ([1.0, 2.0], [0.5, 0.75])
    assert set(sheet["y"]) == {0.0}


def test_the_bars_count_decisions() -> None:
    """Each decision has a cheapest chip, each but the one that failed a picked one."""
    best, picked = picks(told()["cells"])["data"]
    assert (sum(best["x"]), sum(picked["x"])) == (4, 3)
    assert (list(best["x"]), list(picked["x"])) == ([4, 0], [2, 1])


def test_without_decisions_the_page_says_so(reading: ModuleType) -> None:
    """And draws nothing."""
    page = reading.read(accuracy.render({"decisions": decided([], []).to_dict()}, []))
    assert "three or more chips with a price" in " ".join(page.words)
    assert page.figures() == []


def test_hostile_names_stay_text(reading: ModuleType) -> None:
    """Chips and models that look like markup are shown, never run."""
    hostile = reading.HOSTILE
    page = reading.read(accuracy.render({"decisions": told((hostile, "two", f"{hostile}3"), hostile)}, []))
    assert page.runs_nothing_of("alert(")
    assert hostile in " ".join(page.words)
    assert all(tag not in json.dumps(page.figures()) for tag in ("<script", "<img"))


def test_the_terminal_says_it_in_two_lines() -> None:
    """The share, the cost, and by load."""
    empty: dict[str, Any] = {
        "by_quality": {},
        "predicted": 0,
        "rows": 0,
        "by_set": [],
        "by_load": [],
        "typical": [],
        "skipped": {},
        "assumptions": [],
        "constants": "as shipped",
    }
    empty["peers"] = {"same_rows": [], "stated": []}
    for decisions, lines in ((told(), 2), (decided([], []).to_dict(), 0)):
        shown = io.StringIO()
        errors.tables({**empty, "decisions": decisions}, Console(file=shown, width=1000))
        mine = [line for line in shown.getvalue().splitlines() if "cheapest per token" in line or "rank correlation" in line]
        assert len(mine) == lines
        if mine:
            assert "50 % of 4 choices" in mine[0]
            assert "33 % more in the mean (p90 80 %), $0.33 per million output tokens" in mine[0]
            assert "closed 100 % of 1, offline 50 % of 2, static 0 % of 1; 1 fail" in mine[1]
            assert "none for one unpriced" in mine[1]
