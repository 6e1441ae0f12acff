"""The HTML report of a validation."""

import json
import re
from collections.abc import Sequence
from html import unescape
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from assay._base.errors import InputError
from assay.points import Points
from assay.report import accuracy, errors
from assay.validate.predict import Guess, Told
from assay.validate.validation import Validation

METRICS = {"ttft": "p50", "tpot": "mean", "e2e": "p99", "output_tokens_per_second": "", "itl": "mean"}
HEADS = (
    "Every number, by metric",
    "Error by set",
    "What a chip and model typically has",
    "Error by chip",
    "Error by load",
    "Which chip to choose",
    "All 40 groups",
    "The 30 worst points",
    "Not predicted",
    "Assumptions",
)


def validation(names: Sequence[str] = ("one", "two"), off: float = 3.0) -> Validation:
    """Made-up runs of two sets, two chips and two models; every second is predicted by a factor of `off` too high, and one not at all."""
    rows = [
        {"set": each, "chip": f"chip {chip}", "chips": 8, "model": f"model {model}", "engine": each, "weights": "fp8"}
        | {"isl": 1000.0, "osl": 500.0, "load": "closed", "concurrency": 16.0 + turn, "quality": "AB"[turn % 2]}
        | {"metric": metric, "statistic": statistic, "value": 0.1 * (1 + turn)}
        for each in names
        for chip in names
        for model in names
        for turn in range(4)
        for metric, statistic in METRICS.items()
    ]
    points = Points(pl.DataFrame(rows), ())
    told = [
        Told(tuple(_guess(number.row, number.value or 0.0, off if place % 2 else 1.1) for number in point.numbers), (names[0],), "1 x tp8")
        for place, point in enumerate(points.runs)
    ]
    reason = f"{names[0]}: no such thing"
    told[0] = Told(tuple(Guess(number.row, reason=reason) for number in points.runs[0].numbers))
    return Validation(points, points.runs, tuple(told))


def _guess(row: int, measured: float, off: float) -> Guess:
    predicted = measured * off
    return Guess(row, predicted, predicted / 2, predicted * 2, predicted / 7)


def document(found: Validation, **more: Any) -> str:
    """Its page."""
    result = found.to_dict() | {"assay_version": "1.2.3", "seed": 7, "command": "assay validate --data some.parquet"} | more
    return accuracy.render(json.loads(json.dumps(result)), json.loads(json.dumps(found.listed())))


def test_page_loads_nothing_from_elsewhere(reading: ModuleType) -> None:
    """No tag names an address on the network, and the page forbids it besides; scripts cannot make code from text either."""
    page = reading.read(document(validation()))
    assert page.loads() == []
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "eval" not in policy


def test_page_holds_every_part(reading: ModuleType) -> None:
    """All headings, the counts by quality, the command, the seed and the version."""
    words = " ".join(reading.read(document(validation())).words)
    assert all(head in words for head in HEADS)
    assert "155 of 160 published numbers predicted" in words
    assert "quality A: 75 of 80" in words
    assert "Assay 1.2.3 · seed 7" in words
    assert "assay validate --data some.parquet" in words
    assert "one: no such thing" in words
    assert "interrupted" not in words


def test_verdict_says_the_median_errors_and_who_is_nearer(reading: ModuleType) -> None:
    """Predictions all 10 % too high: 10 % on each metric, the data sheet is at a factor of 1.1 / 7."""
    words = " ".join(reading.read(document(validation(off=1.1))).words)
    assert "TPOT 10\u00a0% (data sheet 84\u00a0%, nearest published point " in words
    assert "nearer than the data sheet on all of these" in words


def test_verdict_speaks_of_other_metrics_where_the_main_ones_are_absent(reading: ModuleType) -> None:
    """A table of nothing but ITL has a verdict too."""
    found = validation(off=1.1)
    rows = [row for row in found.listed() if row["metric"] == "itl"]
    assert "ITL 10\u00a0% (data sheet " in " ".join(reading.read(accuracy.render(found.to_dict(), rows)).words)


def test_every_scored_number_is_drawn_once(reading: ModuleType) -> None:
    """Each of the four panels has as many marks as its metric has rows, in one trace a chip."""
    found = validation()
    drawn = reading.read(document(found)).figures()
    for metric, figure in zip(("tpot", "output_tokens_per_second", "e2e", "ttft"), drawn[:4], strict=True):
        clouds = [trace for trace in figure["data"] if "meta" in trace]
        assert {trace["meta"] for trace in clouds} == {"chip one", "chip two"}
        marks = sorted(pair for trace in clouds for pair in zip(trace["x"], trace["y"], strict=True))
        rows = [each for each in found.scored if each.labels["metric"] == metric]
        assert marks == sorted((_short(each.measured), _short(each.predicted)) for each in rows)


def _short(value: float) -> float:
    """The page keeps four figures."""
    return float(f"{value:.4g}")


def test_errors_by_set_are_those_of_the_json(reading: ModuleType) -> None:
    """A chart for each metric, with a dot for each set at the median that `validate --json` prints."""
    found = validation()
    drawn = reading.read(document(found)).figures()[4:]
    groups = [group for group in found.to_dict()["by_set"] if group["metric"] == "tpot"]
    assert len(drawn) == len(METRICS)
    ours = next(trace for trace in drawn[0]["data"] if trace.get("name") == "Assay")
    assert ours["x"] == [group["median_error"] for group in groups]


def test_what_is_typical_is_that_of_the_json() -> None:
    """On the page a row for each set, serving, metric and statistic, with the median over chips and models."""
    found = validation()
    table = re.search(r"What a chip and model typically has</h2>(.*?)</section>", document(found), re.DOTALL)
    assert table is not None
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table.group(1), re.DOTALL)][1:]
    kinds = found.to_dict()["typical"]
    assert [(row[0], row[1]) for row in cells] == [(kind["set"], kind["serving"]) for kind in kinds]
    assert [row[3:6] for row in cells] == [
        [str(kind["groups"]), str(kind["rows"]), f"{kind['median_error']:.0%}".replace("%", " %")] for kind in kinds
    ]


def test_groups_stand_worst_first_and_small_ones_last() -> None:
    """By median error; a group of two rows comes after all of three and more."""
    found = validation()
    groups = [*found.to_dict()["groups"], {"chip": "tiny", "model": "m", "set": "s", "metric": "tpot", "rows": 2, "median_error": 99.0}]
    table = re.search(r'<div class="sorted">(.*?)</div>\s*</section>', document(found, groups=groups), re.DOTALL)
    assert table is not None
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>.*?</tr>', table.group(1))
    assert rows[-1] == "tiny"
    medians = [
        float(share.replace(",", "")) for share in re.findall(r'<td class="n">\d+</td><td class="n">([\d,]+) %</td>', table.group(1))
    ]
    assert medians[:-1] == sorted(medians[:-1], reverse=True)


def test_the_worst_points_are_off_by_the_largest_factor(reading: ModuleType) -> None:
    """A prediction that is far too low counts as much as one that is far too high."""
    found = validation()
    rows = found.listed()
    rows[5] |= {"predicted": rows[5]["measured"] / 1000, "error": -0.999, "assumed": ["a lone assumption"]}
    page = accuracy.render(found.to_dict(), rows)
    worst = page[page.index("worst points") : page.index("Not predicted")]
    assert worst.count('scope="row"') == 30
    assert worst.index("÷1,000") < worst.index("×3")
    assert "a lone assumption" in " ".join(reading.read(page).words)


def test_hostile_names_stay_text(reading: ModuleType) -> None:
    """Sets, chips, models, engines, reasons, assumptions and commands that look like markup are shown, never run."""
    hostile = reading.HOSTILE
    page = reading.read(document(validation((hostile, "two")), command=hostile, assay_version=hostile, seed=hostile))
    assert page.runs_nothing_of("alert(")
    # By `meta` buttons find the traces of their chip; it is shown nowhere.
    texts = json.dumps(
        [{name: what for name, what in trace.items() if name != "meta"} for each in page.figures() for trace in each["data"]]
    )
    assert "<script" not in texts
    assert "<img" not in texts
    assert hostile in unescape(texts.replace('\\"', '"'))
    assert f"{hostile}: no such thing" in " ".join(page.words)


def test_nothing_scored_makes_a_page(reading: ModuleType) -> None:
    """No row could be predicted: no chart, and the page says so."""
    found = validation()
    reason = tuple(Told(tuple(Guess(number.row, reason="why not") for number in point.numbers)) for point in found.chosen)
    page = reading.read(document(Validation(found.points, found.chosen, reason, complete=False)))
    words = " ".join(page.words)
    assert page.figures() == []
    assert "Nothing scored:" in words
    assert "160 why not" in re.sub(r"\s+", " ", words)
    assert "The work was interrupted" in words


def test_numbers_that_no_log_scale_holds_are_not_drawn(reading: ModuleType) -> None:
    """Zeros and what is not finite are left out of the charts, and no `nan` is printed."""
    found = validation()
    rows = found.listed()
    for row, bad in zip(rows, (0.0, float("nan"), float("inf")), strict=False):
        row |= {"predicted": bad, "error": bad, "datasheet": bad}
    for row in [row for row in rows if row["metric"] == "ttft"]:
        row["predicted"] = None
    page = reading.read(accuracy.render(found.to_dict(), rows))
    assert page.figures()
    assert not re.search(r"\b(nan|inf)\b", " ".join(page.words))


PEERS = {
    "same_rows": [
        {"tool": "<one>", "metric": "e2e", "statistic": "p90", "rows": 9, "error": 0.99, "ours": 0.98},
        {"tool": "<one>", "metric": "ttft", "statistic": "p99", "rows": 1234, "error": 0.61, "ours": 0.72},
        {"tool": "two", "metric": "e2e", "statistic": "mean", "rows": 4, "error": 1.04, "ours": 0.22},
    ],
    "stated": [
        {"tool": "three", "told": "a secret", "metric": "tpot", "statistic": "p50", "points": 80, "error": 0.13, "rows": 375, "ours": 0.19}
    ],
}


def test_other_simulators_stand_beside_ours(reading: ModuleType) -> None:
    """The main metrics in turn, theirs before ours; no such section where nothing is known of them."""
    words = " ".join(reading.read(document(validation(), peers=PEERS)).words)
    said = re.sub(r"\s+", " ", words)
    assert "Beside other simulators" in said
    assert said.index("E2E mean two 4 104 % 22 %") < said.index("TTFT p99 <one> 1,234 61 % 72 %")
    assert "E2E p90 <one>" not in said
    assert "TPOT p50 three, told a secret 80 13 % 19 % 375" in said
    assert "Beside other simulators" not in " ".join(reading.read(document(validation())).words)


def test_the_terminal_shows_other_simulators() -> None:
    """The same rows, without the unit; nothing where there are none."""
    told = {}
    for name, peers in (("with", PEERS), ("without", {"same_rows": [], "stated": []})):
        shown = Console(file=StringIO(), width=100)
        errors.tables(validation().to_dict() | {"peers": peers}, shown)
        told[name] = re.sub(r" +", " ", shown.file.getvalue())  # type: ignore[attr-defined]
    assert "E2E mean two 4 104 22 \nTTFT p99 <one> 1,234 61 72" in told["with"]
    assert "TPOT p50 three, told a secret 80 13 19" in told["with"]
    assert "simulators" not in told["without"]


def test_empty_documents_make_a_page(reading: ModuleType) -> None:
    """Even without anything."""
    assert reading.read(accuracy.render({}, [])).figures() == []


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    """The folder is made, an older file is replaced, and nothing else is left behind."""
    path, found = tmp_path / "new" / "report.html", validation()
    for _ in range(2):
        accuracy.write(found.to_dict(), found.listed(), path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(path.parent.iterdir()) == [path]


def test_write_onto_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    """What cannot be written is one clear error that names the path."""
    path, found = tmp_path / "report.html", validation()
    path.mkdir()
    with pytest.raises(InputError, match=r"report\.html"):
        accuracy.write(found.to_dict(), found.listed(), path)
    assert list(tmp_path.iterdir()) == [path]


def test_twelve_thousand_rows_stay_below_eight_megabytes() -> None:
    """Numbers are rounded, and what a mark says when pointed at is put together by the page."""
    found = validation()
    rows = found.listed()
    many = (rows * (12_000 // len(rows) + 1))[:12_000]
    assert len(accuracy.render(found.to_dict(), many).encode()) < 8e6
