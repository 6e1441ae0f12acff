"""The charts of a trace beside a draw of its description, each a Plotly figure as a plain dict."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

from assay.report import formats
from assay.report.axes import Figure, figure, layout
from assay.report.fields import Record
from assay.report.styles import COLOURS

TRACE, DRAWN = COLOURS[0], COLOURS[1]
_SHADES = [[0, "rgba(0,114,178,0)"], [0.001, "rgba(0,114,178,0.08)"], [0.2, "rgba(0,114,178,0.45)"], [1, "rgba(0,114,178,1)"]]
_LINES = (("trace", "trace", TRACE, "solid"), ("drawn", "draw", DRAWN, "dot"))


def lengths(picture: Record, of: str) -> Figure:
    """Joint histogram of prompt and output tokens, of the `trace` or the `drawn`; both have one scale of shades."""
    joint = picture["lengths"]
    most = max(share for name in ("trace", "drawn") for row in joint[name] for share in row)
    columns, rows = _middles(joint["input"]), _middles(joint["output"])
    shares = [list(row) for row in zip(*joint[of], strict=True)]
    hover = [
        [f"{_count(x)} in, {_count(y)} out<br>{formats.percent(share)} of requests" for x, share in zip(columns, row, strict=True)]
        for y, row in zip(rows, shares, strict=True)
    ]
    # On an even grid of bins: a logarithmic axis would put the cells between edges of its own.
    grid = {"x": list(range(len(columns))), "y": list(range(len(rows))), "z": [[share**0.5 for share in row] for row in shares]}
    shades = {"zmin": 0, "zmax": most**0.5, "colorscale": _SHADES, "showscale": False, "xgap": 1, "ygap": 1}
    trace = {"type": "heatmap", **grid, **shades, "text": hover, "hovertemplate": "%{text}<extra></extra>"}
    made = layout(height=330)
    made["xaxis"] |= _bin_axis(joint["input"])
    made["yaxis"] |= _bin_axis(joint["output"])
    made["xaxis"]["title"]["text"], made["yaxis"]["title"]["text"] = "prompt tokens", "output tokens"
    made["margin"]["r"] = 30  # room for the last tick
    return figure([trace], made)


def _middles(edges: Sequence[float]) -> list[float]:
    return [(low * high) ** 0.5 for low, high in pairwise(edges)]


def _bin_axis(edges: Sequence[float]) -> dict[str, Any]:
    places = [round(i * (len(edges) - 1) / 4) for i in range(5)]
    labels = [_count(edges[place]) for place in places]
    return {"tickvals": [place - 0.5 for place in places], "ticktext": labels, "showgrid": False, "range": [-0.5, len(edges) - 1.5]}


def _count(value: float) -> str:
    return formats.scaled(value, "", 2) if value >= 1000 else formats.digits(value, 2)


def cumulative(picture: Record, name: str, axis: str, *, scale: str = "log") -> Figure:
    """Share of requests, sessions or turns up to each value: the trace as a line, the draw as a dotted one."""
    shown = picture[name]
    traces = [_line(shown["at"], shown[key], label, colour, dash) for key, label, colour, dash in _LINES]
    made = layout(height=280)
    made["xaxis"] |= (
        {"tickformat": ".0%"} if scale == "linear" else {"type": "log", "tickformat": "~g" if axis == "seconds" else "~s", "dtick": 1}
    )
    made["xaxis"]["title"]["text"] = axis
    made["yaxis"] |= {"tickformat": ".0%", "range": [0, 1.02]}
    return figure(traces, made)


def _line(xs: Sequence[float], ys: Sequence[float], label: str, colour: str, dash: str) -> dict[str, Any]:
    base = {"type": "scatter", "mode": "lines", "name": label, "x": list(xs), "y": list(ys)}
    return base | {"line": {"color": colour, "width": 2, "dash": dash}, "hovertemplate": f"{label}: %{{x:.3s}}, %{{y:.3~g}}<extra></extra>"}


def arrivals(picture: Record) -> Figure:
    """Requests per second over time: the trace above, the draw below, on one scale."""
    shown = picture["arrivals"]
    minutes = [(i + 0.5) * shown["seconds"] / 60 for i in range(len(shown["trace"]))]
    most = max(*shown["trace"], *shown["drawn"]) * 1.06
    traces = []
    for place, (key, label, colour, _) in enumerate(_LINES):
        base = _line(minutes, shown[key], label, colour, "solid") | {"line": {"color": colour, "width": 1.5, "shape": "hvh"}}
        area = {"fill": "tozeroy", "fillcolor": colour + "33", "hovertemplate": f"{label}: %{{y:.3~g}}/s<extra></extra>"}
        traces.append(base | area | {"yaxis": "y" if not place else "y2"})
    made = layout(height=300)
    made["yaxis2"] = deepcopy(made["yaxis"])
    for name, label, domain in (("yaxis", "trace", [0.54, 1]), ("yaxis2", "draw", [0, 0.46])):
        made[name] |= {"domain": domain, "range": [0, most]}
        made[name]["title"]["text"] = label
    made["xaxis"]["title"]["text"], made["xaxis"]["anchor"] = "minutes", "y2"
    return figure(traces, made)
