"""Reads a page as a browser would: its words, its attributes, its scripts."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest

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

    def figures(self) -> list[dict[str, Any]]:
        """The figures of the page; a NaN or an infinity is not JSON."""

        def refuse(constant: str) -> None:
            pytest.fail(f"{constant} in a figure")

        return [json.loads(text, parse_constant=refuse) for kind, text in self.scripts if kind == "application/json"]

    def loads(self) -> list[str]:
        """The addresses that a tag of the page would fetch or go to."""
        return [value for _, name, value in self.attributes if name in ("src", "href", "srcset", "data", "action", "poster")]

    def runs_nothing_of(self, text: str) -> bool:
        """Whether some text stands in no script, no handler, and makes no picture."""
        handlers = [name for _, name, _ in self.attributes if name.startswith("on")]
        pictures = [tag for tag, _, _ in self.attributes if tag == "img"]
        return not handlers and not pictures and all(text not in script for kind, script in self.scripts if not kind)


def read(page: str) -> Reader:
    """Parse a page; all its tags are closed."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader
