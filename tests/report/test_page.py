"""The HTML report."""

import copy
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from assay._base.errors import InputError
from assay.report import page

Read = Callable[..., Any]


@pytest.fixture
def read(reading: ModuleType) -> Read:
    """Renders comparisons and parses the page."""
    return lambda *comparisons: reading.read(page.render(list(comparisons)))


def test_page_loads_nothing_from_elsewhere(sample: ModuleType, read: Read) -> None:
    """No tag names an address on the network, no style imports one, and the page forbids it besides."""
    reader = read(sample.comparison())
    assert all(value.startswith("#") for value in reader.loads())
    style = (Path(page.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in value for _, _, value in reader.attributes)


def test_page_names_every_chip_and_the_verdict(sample: ModuleType, read: Read) -> None:
    """Each compared chip is on the page, the one where nothing fits too, and so is the verdict."""
    words = " ".join(read(sample.comparison()).words)
    assert all(part.title in words for part in sample.PARTS)
    assert "Cheapest:" in words
    assert "Fastest:" in words
    assert "142 chips are needed" in words


def test_page_draws_all_charts(sample: ModuleType, read: Read) -> None:
    """Eight charts, each with rows; the frontier has a trace for every chip that has figures."""
    drawn = read(sample.comparison()).figures()
    assert len(drawn) == 8
    assert all(any(trace.get("x") for trace in figure["data"]) for figure in drawn)
    assert {trace.get("meta") for trace in drawn[0]["data"]} - {None} == {part.name for part in sample.PARTS if part.step}


def test_plotly_is_inlined_once_for_several_models(sample: ModuleType) -> None:
    """Two models share one copy of the drawing code; the first comparison stands first."""
    both = page.render([sample.comparison(), sample.comparison("gpt-oss-120b", 0.5)])
    one = page.render([sample.comparison()])
    assert len(both) < len(one) + 500_000
    assert both.index("<h1>llama-3.3-70b</h1>") < both.index("<h1>gpt-oss-120b</h1>")
    assert 'href="#model-1"' in both


def test_hostile_names_stay_text(sample: ModuleType, read: Read, reading: ModuleType) -> None:
    """Names, reasons and commands that look like markup are shown, never run."""
    document, hostile = sample.comparison(), reading.HOSTILE
    document |= {"model": hostile, "command": hostile, "assay_version": hostile, "assumptions": [hostile]}
    document["workload"]["name"] = hostile
    for info in document["chips"]:
        info["title"] = hostile
    for row in document["candidates"]:
        row |= {"engine": hostile, "why_not": hostile, "evidence": {"label": hostile, "why": hostile}, "offer_tier": hostile}
        if row["deployment"]:
            row["deployment"]["parts"][0] |= {"engine": hostile, "weights": hostile, "role": hostile}
    reader = read(document)
    assert reader.runs_nothing_of("alert(")
    texts = json.dumps(reader.figures())
    assert "<script" not in texts
    assert "<img" not in texts
    assert hostile in unescape(texts.replace('\\"', '"'))


def test_chip_names_cannot_leave_an_attribute(sample: ModuleType, read: Read) -> None:
    """A quote in a chip's name does not end the attribute that holds it."""
    document = sample.comparison()
    name = 'x" onclick="alert(1)'
    document["chips"][0]["name"] = name
    for row in document["candidates"]:
        row["chip"] = name if row["chip"] == sample.PARTS[0].name else row["chip"]
    attributes = read(document).attributes
    assert ("button", "data-chip", name) in attributes
    assert not [one for one in attributes if one[1] == "onclick"]


def _nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nulls(item) for key, item in value.items()}
    return None if isinstance(value, float | int) else value


def test_nulls_everywhere_make_a_page(sample: ModuleType, read: Read) -> None:
    """Numbers that are null leave dashes, not errors."""
    document = sample.comparison()
    document["candidates"] = [{**_nulls(row), "feasible": False} for row in document["candidates"]]
    document["best"] = {"cost": None, "latency": None, "energy": None}
    assert "Nothing meets the targets:" in read(document).words


def test_numbers_that_are_not_finite_are_not_drawn(sample: ModuleType, read: Read) -> None:
    """A NaN or an infinity is treated as missing."""
    document = sample.comparison()
    for row in document["candidates"][:4]:
        row |= {"cost_per_million_tokens": float("nan"), "joules_per_token": float("inf"), "worth": float("nan")}
        row["tpot"] = dict.fromkeys(row["tpot"], float("nan"))
    reader = read(document)
    assert reader.figures()
    assert not re.search(r"\b(nan|inf)\b", " ".join(reader.words))


def test_all_infeasible_says_what_comes_nearest(sample: ModuleType, read: Read) -> None:
    """When nothing meets the targets the page says so, and why."""
    words = " ".join(read(sample.infeasible()).words)
    assert "none of the 8 compared chips serves 60 requests/s within p99 TTFT 2 s and TPOT 500 µs" in words
    assert "p99 TPOT 3.1 ms is above the target of 0.5 ms" in words


@pytest.mark.parametrize("slo", [{}, None, {"ttft": None, "tpot": None, "e2e": None, "percentile": None}])
def test_no_targets(sample: ModuleType, read: Read, slo: dict[str, Any] | None) -> None:
    """Without targets there is no target line and the page says that there is none."""
    document = sample.comparison() | {"slo": slo}
    reader = read(document)
    assert "with no latency target" in " ".join(reader.words)
    assert all(not figure["layout"].get("shapes") for figure in reader.figures())


def test_single_candidate(sample: ModuleType, read: Read) -> None:
    """One chip with one deployment makes a page."""
    document = sample.comparison()
    document["candidates"], document["chips"] = [document["candidates"][4]], document["chips"][:1]
    document["best"] = {"cost": 0, "latency": 0, "energy": 0}
    assert "Cheapest and fastest:" in read(document).words


def test_empty_comparison(read: Read) -> None:
    """Even an empty dict makes a page, with no charts."""
    assert read({}).figures() == []


def test_write_replaces_whole_files(sample: ModuleType, tmp_path: Path) -> None:
    """The parent folder is made, an older file is replaced, nothing else is left behind, the input is not changed."""
    path, document = tmp_path / "new" / "report.html", sample.comparison()
    before = copy.deepcopy(document)
    page.write([document], path)
    page.write([document], path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]
    assert document == before


def test_write_to_an_impossible_path_is_one_clear_error(sample: ModuleType, tmp_path: Path) -> None:
    """A parent that is a file raises InputError and names the path."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"report\.html"):
        page.write([sample.comparison()], tmp_path / "file" / "report.html")


def test_write_onto_a_folder_leaves_nothing_behind(sample: ModuleType, tmp_path: Path) -> None:
    """A path that is a folder raises InputError, and the temporary file is gone."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError):
        page.write([sample.comparison()], tmp_path / "report.html")
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
