"""The charts of a validation, each a Plotly figure as a plain dict."""

import html
from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from assay.report import axes, formats
from assay.report.axes import Figure
from assay.report.errors import METRICS
from assay.report.fields import Record, number, text
from assay.report.misses import by, factor
from assay.report.styles import NEUTRAL, Style

# Who says so, in which field of a group of errors, and how it is drawn: name, field, symbol, colour.
MEDIANS = (
    ("the nearest published point, scaled", "nearest", "square-open", "#E69F00"),
    ("the data sheet alone", "datasheet", "diamond-open", NEUTRAL),
    ("Assay", "median_error", "circle", "#0072B2"),
)
_LEAST, _MOST = 0.01, 10.0  # errors beyond stand at the edge of their chart
_BANDS = ((2.0, 0.1), (1.25, 0.16))  # factors around the identity, and how dark they are
TIMES = ("ttft", "tpot", "itl", "e2e")


def against(metric: str, rows: Sequence[Record], styles: Mapping[str, Style]) -> Figure:
    """Predicted over measured, both logarithmic: a mark for each row of the metric, the identity, and bands around it."""
    shown = [row for row in rows if factor(row) is not None]
    values = [number(row, field) or 1.0 for row in shown for field in ("measured", "predicted")]
    ends = (min(values, default=1.0) / 1.3, max(values, default=1.0) * 1.3)
    clouds = [_cloud(metric, chip, styles[chip], mine) for (chip,), mine in by(shown, "chip").items()]
    layout = axes.layout(height=340)
    ticks = axes.log_ticks(*map(log10, ends))
    words = [_tick(metric, tick) for tick in ticks]
    scale = {"type": "log", "range": [log10(end) for end in ends], "tickvals": ticks, "tickangle": 0}
    layout["xaxis"] |= scale | {"ticktext": axes.sparse(words, axes.NARROW)}
    layout["yaxis"] |= scale | {"ticktext": words}
    layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"] = "measured", "predicted"
    return axes.figure([*_lines(*ends), *clouds] if clouds else [], layout)


def _tick(metric: str, value: float) -> str:
    """Short, and times above a second in seconds: minutes are no round numbers of a decimal scale."""
    if metric not in TIMES:
        return formats.scaled(value)
    return formats.scaled(value, "s") if value < 1 else f"{formats.digits(value)} s"


def _lines(low: float, high: float) -> list[dict[str, Any]]:
    base = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    bands = [
        base
        | {"x": [low, high, high, low], "y": [low / off, high / off, high * off, low * off]}
        | {"fill": "toself", "fillcolor": f"rgba(138,148,163,{dark})", "line": {"width": 1, "color": "rgba(138,148,163,0.45)"}}
        for off, dark in _BANDS
    ]
    return [*bands, base | {"x": [low, high], "y": [low, high], "line": {"color": NEUTRAL, "width": 1.5}}]


def _cloud(metric: str, chip: str, style: Style, rows: Sequence[Record]) -> dict[str, Any]:
    unit = "s" if metric in TIMES else "/s"
    lines = (
        f"<b>%{{customdata[1]}}</b> on {_plain(chip)}, %{{customdata[2]}}",
        "%{customdata[4]} · %{customdata[3]}",
        f"{_plain(METRICS.get(metric, metric))} %{{customdata[5]}} · %{{customdata[0]}}",
        f"measured %{{x:.3s}}{unit}, predicted %{{y:.3s}}{unit} (%{{customdata[6]:+.0%}})",
    )
    words = {"customdata": [_conditions(row) for row in rows], "hovertemplate": "<br>".join(lines) + "<extra></extra>"}
    points = {"x": [_short(row, "measured") for row in rows], "y": [_short(row, "predicted") for row in rows]}
    size, opacity = (6, 0.6) if len(rows) > 100 else (8, 0.85)
    marker = {"symbol": style.symbol, "size": size, "color": style.colour, "opacity": opacity}
    return {"type": "scatter", "mode": "markers", "name": html.escape(chip), "meta": chip, **points, **words, "marker": marker}


def _plain(name: str) -> str:
    """A name inside a hover text, where markup and `%{...}`, which names a variable, would be read."""
    return html.escape(name).replace("%{", "% {")


def _conditions(row: Record) -> list[Any]:
    told = [html.escape(text(row, name)) for name in ("set", "model", "engine", "load", "layout", "statistic")]
    return [*told, _short(row, "error")]


def _short(row: Record, field: str) -> float | None:
    """The number to four figures: the page is smaller."""
    value = number(row, field)
    return None if value is None else float(f"{value:.4g}")


def by_set(groups: Sequence[Record]) -> Figure:
    """Errors of one metric by set and statistic, on a log scale: median and 90th percentile, and the medians of the baselines."""
    traces = [trace for row, group in enumerate(groups) for trace in _reach(row, group)]
    traces += [_dots(groups, *how) for how in MEDIANS]
    layout = axes.layout(height=max(len(groups) * 26 + 46, 120))
    ticks = {0.01: "1%", 0.03: "", 0.1: "10%", 0.3: "", 1.0: "100%", 3.0: "", 10.0: "1,000%"}
    ends = {"type": "log", "range": [log10(_LEAST) - 0.08, log10(_MOST) + 0.08], "tickangle": 0}
    layout["xaxis"] |= ends | {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    names = [_row_name(group) for group in groups]
    rows = {"tickvals": list(range(len(groups))), "ticktext": names, "range": [len(groups) - 0.5, -0.5], "ticklabelstandoff": 6}
    layout["yaxis"] |= rows | {"showgrid": False}
    return axes.figure(traces if groups else [], layout)


def _row_name(group: Record) -> str:
    said = f"{text(group, 'set')[:18]} {text(group, 'statistic')}".strip()
    return f'{html.escape(said)} <span style="color:{NEUTRAL}">{formats.count(number(group, "rows"))}</span>'


def _reach(row: int, group: Record) -> list[dict[str, Any]]:
    """A line from the median to the 90th percentile, with a tick at its end."""
    ends = [number(group, "median_error"), number(group, "p90_error")]
    if None in ends:
        return []
    colour = MEDIANS[-1][3]
    marker = {"symbol": ["line-ns-open"] * 2, "size": [0, 9], "color": colour, "line": {"width": 2, "color": colour}}
    line = {"type": "scatter", "mode": "lines+markers", "x": [_inside(end) for end in ends], "y": [row, row], "marker": marker}
    return [line | {"line": {"width": 2, "color": colour}, "hoverinfo": "skip"}]


def _dots(groups: Sequence[Record], name: str, field: str, symbol: str, colour: str) -> dict[str, Any]:
    known = [(row, group, value) for row, group in enumerate(groups) if (value := number(group, field)) is not None]
    points = {"x": [_inside(value) for *_, value in known], "y": [row for row, *_ in known]}
    marker = {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2, "color": colour}}
    words = {"text": [_hover(group) for _, group, _ in known], "hovertemplate": "%{text}<extra></extra>"}
    return {"type": "scatter", "mode": "markers", "name": name, **points, **words, "marker": marker, "cliponaxis": False}


def _inside(value: float | None) -> float:
    return min(max(value or 0.0, _LEAST), _MOST)


def _hover(group: Record) -> str:
    share = {name: formats.percent(number(group, name)) for name in ("median_error", "p90_error", "datasheet", "nearest")}
    head = f"<b>{html.escape(text(group, 'set'))}</b> {html.escape(text(group, 'statistic'))}, {formats.count(number(group, 'rows'))} rows"
    ours = f"median error {share['median_error']}, p90 {share['p90_error']}"
    return f"{head}<br>{ours}<br>data sheet {share['datasheet']}, nearest {share['nearest']}"
