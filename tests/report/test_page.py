"""The HTML report."""

import copy
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from assay._base.errors import InputError
from assay.report import page

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
VOID = {"meta", "br", "img", "link", "input", "hr", "path"}


class Reader(HTMLParser):
    """Collects the attributes, the text and the scripts of a page, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The tag that closes is the one that was opened last."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep scripts and words apart."""
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)


def read(*comparisons: dict[str, Any]) -> Reader:
    """Render and parse."""
    reader = Reader()
    reader.feed(page.render(list(comparisons)))
    reader.close()
    assert reader.open == []
    return reader


def figures(reader: Reader) -> list[dict[str, Any]]:
    """The figures of the page; a NaN or an infinity is not JSON."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} in a figure")

    return [json.loads(text, parse_constant=refuse) for kind, text in reader.scripts if kind == "application/json"]


def test_page_loads_nothing_from_elsewhere(sample: ModuleType) -> None:
    """No tag names an address on the network, no style imports one, and the page forbids it besides."""
    reader = read(sample.comparison())
    loads = [value for _, name, value in reader.attributes if name in ("src", "href", "srcset", "data", "action", "poster")]
    assert all(value.startswith("#") for value in loads)
    style = (Path(page.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in value for _, _, value in reader.attributes)


def test_page_names_every_chip_and_the_verdict(sample: ModuleType) -> None:
    """Each compared chip is on the page, the one where nothing fits too, and so is the verdict."""
    words = " ".join(read(sample.comparison()).words)
    assert all(part.title in words for part in sample.PARTS)
    assert "Cheapest:" in words
    assert "Fastest:" in words
    assert "142 chips are needed" in words


def test_page_draws_all_charts(sample: ModuleType) -> None:
    """Eight charts, each with rows; the frontier has a trace for every chip that has figures."""
    drawn = figures(read(sample.comparison()))
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


def test_hostile_names_stay_text(sample: ModuleType) -> None:
    """Names, reasons and commands that look like markup are shown, never run."""
    document = sample.comparison()
    document |= {"model": HOSTILE, "command": HOSTILE, "assay_version": HOSTILE, "assumptions": [HOSTILE]}
    document["workload"]["name"] = HOSTILE
    for info in document["chips"]:
        info["title"] = HOSTILE
    for row in document["candidates"]:
        row |= {"engine": HOSTILE, "why_not": HOSTILE, "evidence": {"label": HOSTILE, "why": HOSTILE}, "offer_tier": HOSTILE}
        if row["deployment"]:
            row["deployment"]["parts"][0] |= {"engine": HOSTILE, "weights": HOSTILE, "role": HOSTILE}
    reader = read(document)
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    assert not [tag for tag, _, _ in reader.attributes if tag == "img"]
    assert all("alert(" not in text for kind, text in reader.scripts if not kind)
    texts = json.dumps(figures(reader))
    assert "<script" not in texts
    assert "<img" not in texts
    assert HOSTILE in unescape(texts.replace('\\"', '"'))


def test_chip_names_cannot_leave_an_attribute(sample: ModuleType) -> None:
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


def test_nulls_everywhere_make_a_page(sample: ModuleType) -> None:
    """Numbers that are null leave dashes, not errors."""
    document = sample.comparison()
    document["candidates"] = [{**_nulls(row), "feasible": False} for row in document["candidates"]]
    document["best"] = {"cost": None, "latency": None, "energy": None}
    assert "Nothing meets the targets:" in read(document).words


def test_numbers_that_are_not_finite_are_not_drawn(sample: ModuleType) -> None:
    """A NaN or an infinity is treated as missing."""
    document = sample.comparison()
    for row in document["candidates"][:4]:
        row |= {"cost_per_million_tokens": float("nan"), "joules_per_token": float("inf"), "worth": float("nan")}
        row["tpot"] = dict.fromkeys(row["tpot"], float("nan"))
    reader = read(document)
    assert figures(reader)
    assert not re.search(r"\b(nan|inf)\b", " ".join(reader.words))


def test_all_infeasible_says_what_comes_nearest(sample: ModuleType) -> None:
    """When nothing meets the targets the page says so, and why."""
    words = " ".join(read(sample.infeasible()).words)
    assert "none of the 8 compared chips serves 60 requests/s within p99 TTFT 2 s and TPOT 500 µs" in words
    assert "p99 TPOT 3.1 ms is above the target of 0.5 ms" in words


@pytest.mark.parametrize("slo", [{}, None, {"ttft": None, "tpot": None, "e2e": None, "percentile": None}])
def test_no_targets(sample: ModuleType, slo: dict[str, Any] | None) -> None:
    """Without targets there is no target line and the page says that there is none."""
    document = sample.comparison() | {"slo": slo}
    reader = read(document)
    assert "with no latency target" in " ".join(reader.words)
    assert all(not figure["layout"].get("shapes") for figure in figures(reader))


def test_single_candidate(sample: ModuleType) -> None:
    """One chip with one deployment makes a page."""
    document = sample.comparison()
    document["candidates"], document["chips"] = [document["candidates"][4]], document["chips"][:1]
    document["best"] = {"cost": 0, "latency": 0, "energy": 0}
    assert "Cheapest and fastest:" in read(document).words


def test_empty_comparison() -> None:
    """Even an empty dict makes a page, with no charts."""
    assert figures(read({})) == []


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
