"""The charts of decisions: what following each costs above the cheapest chip, and which chips are cheapest and which are picked."""

import html
from collections import Counter
from collections.abc import Sequence
from math import log10
from typing import Any

from assay.report import axes, formats
from assay.report.axes import Figure
from assay.report.fields import Record, number, text
from assay.report.styles import NEUTRAL

OURS, CHEAPEST = "#0072B2", "#E69F00"
CURVES = (("the data sheet alone", ("datasheet", "regret"), NEUTRAL), ("Assay", ("regret",), OURS))
BARS = (("cheapest as measured", "best", CHEAPEST), ("picked", "picked", OURS))
_TICKS = (0.0, 0.5, 1.5, 4.0, 9.0, 99.0)  # even steps on the scale
_LEAST = 0.5  # the axis of regret reaches at least so far


def regrets(cells: Sequence[Record]) -> Figure:
    """The share of decisions whose regret is at most so large; what failed is in no share. Regret on the scale of log(1 + regret)."""
    far = max([_LEAST, *(value for cell in cells for _, path, _ in CURVES if (value := number(cell, *path)) is not None)])
    layout = axes.layout(height=300)
    ticks = [tick for tick in _TICKS if tick <= far * 1.1]
    words = [formats.percent(tick) for tick in ticks]
    places = {"tickvals": [1 + tick for tick in ticks], "ticktext": words, "tickangle": 0}
    layout["xaxis"] |= {"type": "log", "range": [-0.008, log10(1 + far) + 0.02], **places}
    layout["yaxis"] |= {"range": [0, 1.02], "tickformat": ".0%"}
    layout["xaxis"]["title"]["text"] = "dearer than the cheapest by at most"
    return axes.figure([_curve(cells, far, *curve) for curve in CURVES], layout)


def _curve(cells: Sequence[Record], far: float, name: str, path: tuple[str, ...], colour: str) -> dict[str, Any]:
    known = sorted(value for cell in cells if (value := number(cell, *path)) is not None)
    shares = {value: place / len(cells) for place, value in enumerate(known, 1)}  # of equal values the last
    steps = {0.0: 0.0, **shares}
    steps[far] = len(known) / len(cells)
    hover = [f"<b>{name}</b><br>{formats.percent(share)} within {formats.percent(value)}" for value, share in steps.items()]
    line = {"type": "scatter", "mode": "lines", "line": {"shape": "hv", "width": 2.5, "color": colour}, "name": name}
    points = {"x": [1 + value for value in steps], "y": list(steps.values())}
    return {**line, **points, "text": hover, "hovertemplate": "%{text}<extra></extra>"}


def picks(cells: Sequence[Record]) -> Figure:
    """For each chip how often it was the cheapest, and how often it was picked."""
    counts = {name: Counter(text(cell, field) for cell in cells) for name, field, _ in BARS}
    chips = sorted({chip for found in counts.values() for chip in found if chip}, key=lambda chip: (-counts[BARS[0][0]][chip], chip))
    rows = list(range(len(chips)))
    traces = [
        {"type": "bar", "orientation": "h", "name": name, "x": [counts[name][chip] for chip in chips], "y": rows}
        | {"marker": {"color": colour}, "hovertemplate": f"%{{x}} times {name}<extra></extra>"}
        for name, _, colour in BARS
    ]
    layout = axes.layout(height=max(len(chips) * 30 + 50, 120), barmode="group", bargap=0.3, bargroupgap=0.05)
    names = [html.escape(chip) for chip in chips]
    layout["yaxis"] |= {"tickvals": rows, "ticktext": names, "range": [len(chips) - 0.5, -0.5], "showgrid": False}
    layout["yaxis"] |= {"ticklabelstandoff": 6}
    layout["xaxis"]["title"]["text"] = "decisions"
    return axes.figure(traces, layout)
