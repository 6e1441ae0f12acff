"""An HTML file that opens offline: the frame around the articles of a report, and the charts in it."""

import json
from html import escape
from importlib import import_module
from pathlib import Path
from string import Template

from assay.report.axes import Figure
from assay.report.files import whole

_TEMPLATES = Path(__file__).parent / "templates"


def write(document: str, path: Path) -> None:
    """Write a document whole or not at all. Raises InputError when it cannot be written."""
    with whole(path) as draft:
        draft.write_text(document, encoding="utf-8")


def framed(title: str, body: str, navigation: str = "") -> str:
    """A whole document: `title` is text, the rest HTML."""
    return template("page.html").substitute(
        title=escape(title),
        css=_read("page.css"),
        js=_read("page.js"),
        plotly=import_module("plotly.offline").get_plotlyjs(),
        navigation=navigation,
        body=body,
    )


def plot(figure: Figure, kind: str) -> str:
    """The place of a chart, and its data for the script that draws it; `kind` is a class of the place."""
    if not any(trace.get("x") for trace in figure["data"]):
        return '<p class="none">No figures to draw.</p>'
    # "<" is written as an escape so that no text in the data can end the script element.
    data = json.dumps(figure, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    height = figure["layout"]["height"]
    return f'<div class="plot {kind}" style="height:{height}px"></div><script type="application/json">{data}</script>'


def template(name: str) -> Template:
    """One of the files in templates/."""
    return Template(_read(name))


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
