"""The page of a trace."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assay import api
from assay._base.errors import InputError
from assay.report import trace_page
from assay.workloads import Workload, describe, drawn, picture

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def found(workload: Workload) -> dict[str, Any]:
    """What `workloads FILE --json` prints."""
    description = describe(workload, workload.name)
    parts = {"distance": description["distance"], "description": description, "picture": picture(workload, drawn(description))}
    return {**workload.to_dict(), **parts, "assay_version": "1", "command": "assay workloads x.csv"}


@pytest.fixture(scope="module")
def sessions() -> dict[str, Any]:
    """A trace with everything."""
    return found(Workload.load("mooncake-conversation", requests=8000))


@pytest.fixture(scope="module")
def bare() -> dict[str, Any]:
    """A trace of lengths alone."""
    return found(Workload.draw(500, 50, requests=300, spread=(0.2, 1)))


class Tags(HTMLParser):
    """Attributes of all tags, and whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The tag that closes is the one that was opened last."""
        assert self.open.pop() == tag


def figures(page: str) -> list[dict[str, Any]]:
    """The figures of a page."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]


def test_the_page_is_whole_and_loads_nothing(sessions: dict[str, Any]) -> None:
    """Tags close, and none names an address."""
    tags = Tags()
    tags.feed(trace_page.render(sessions))
    assert tags.open == []
    assert not [value for name, value in tags.attributes if name in ("src", "href", "action")]
    assert any("default-src 'none'" in value for _, value in tags.attributes)


def test_all_pictures_are_drawn(sessions: dict[str, Any], bare: dict[str, Any]) -> None:
    """Two of joint lengths, two of each length; of sessions also arrivals, prefixes, turns and think times."""
    assert len(figures(trace_page.render(sessions))) == 8
    assert len(figures(trace_page.render(bare))) == 4


def test_pictures_show_what_the_trace_is(sessions: dict[str, Any]) -> None:
    """Shares of a joint histogram sum to one, cumulative ones rise to one, arrivals have the mean of the rate."""
    shown = sessions["picture"]
    for name in ("trace", "drawn"):
        assert sum(map(sum, shown["lengths"][name])) == pytest.approx(1, abs=1e-3)
        for each in ("input", "output", "prefixes", "turns", "think"):
            shares = shown[each][name]
            assert shares == sorted(shares)
            assert shares[-1] == pytest.approx(1)
        mean = sum(shown["arrivals"][name]) / len(shown["arrivals"][name])
        assert mean == pytest.approx(sessions["rate"], rel=0.1)


def test_the_distances_stand_in_the_table(sessions: dict[str, Any], bare: dict[str, Any]) -> None:
    """With a sign where they have one; what is not there has no row."""
    page = trace_page.render(sessions)
    assert f"{sessions['distance']['input_ks']:.3f}" in page
    assert "Think times, KS" in page
    assert "Think times, KS" not in trace_page.render(bare)


def test_hostile_names_stay_text(bare: dict[str, Any]) -> None:
    """Names, notes and commands that look like markup are shown, never run."""
    hostile = {**bare, "name": HOSTILE, "command": HOSTILE, "assumptions": [HOSTILE]}
    hostile["description"] = {**bare["description"], "notes": [HOSTILE]}
    tags = Tags()
    tags.feed(trace_page.render(hostile))
    assert not [name for name, _ in tags.attributes if name.startswith("on")]


def test_the_page_appears_whole_or_not_at_all(bare: dict[str, Any], tmp_path: Path) -> None:
    """Written beside and renamed; a place that cannot be written is named."""
    trace_page.write(bare, tmp_path / "new" / "page.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    with pytest.raises(InputError, match="page"):
        trace_page.write(bare, tmp_path / "new" / "page.html" / "x.html")


def test_lengths_of_one_value_are_drawn(tmp_path: Path) -> None:
    """All prompts and answers alike, and a single request."""
    for rows in (1, 5):
        (tmp_path / "x.csv").write_text("arrival,input,output\n" + "".join(f"{row},7,0\n" for row in range(rows)))
        trace, _ = api.trace(str(tmp_path / "x.csv"))
        assert figures(trace_page.render({**trace, "assay_version": "1", "command": "x"}))
