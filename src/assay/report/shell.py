"""The frame of every page: one HTML file that holds its styles, its scripts and its figures, and loads nothing."""

import json
from html import escape
from importlib import import_module
from pathlib import Path
from string import Template

from assay.report.figures import Figure

_TEMPLATES = Path(__file__).parent / "templates"


def page(title: str, navigation: str, body: str) -> str:
    """The page as text; `navigation` and `body` are HTML, the title is not."""
    return template("page.html").substitute(
        title=escape(title),
        css=_read("page.css"),
        js=_read("page.js"),
        plotly=import_module("plotly.offline").get_plotlyjs(),
        navigation=navigation,
        body=body,
    )


def template(name: str) -> Template:
    """A file of the folder `templates`, in which `$NAME` is replaced."""
    return Template(_read(name))


def plot(figure: Figure, kind: str) -> str:
    """Where a figure is drawn, and the figure, as HTML; `kind` is its class."""
    if not any(trace.get("x") for trace in figure["data"]):
        return '<p class="none">No figures to draw.</p>'
    # "<" is written as an escape so that no text in the data can end the script element.
    data = json.dumps(figure, allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")
    height = figure["layout"]["height"]
    return f'<div class="plot {kind}" style="height:{height}px"></div><script type="application/json">{data}</script>'


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
