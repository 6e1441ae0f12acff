"""The charts of a comparison, each a Plotly figure as a plain dict.

Chips stand in the order of `standings` on every chart.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from assay.report import axes, formats, wording
from assay.report.axes import Figure, Form
from assay.report.fields import RESOURCES, Record, band, interactivity, number, quantile, targets, text, tokens_per_dollar
from assay.report.standings import Standing
from assay.report.styles import NEUTRAL, RESOURCE_COLOURS, TARGET, Style


@dataclass(frozen=True)
class View:
    """What every chart is drawn from: the comparison, how its chips stand, and how each is drawn."""

    comparison: Record
    standings: Sequence[Standing]
    styles: Mapping[str, Style]

    @property
    def drawn(self) -> list[Standing]:
        """The chips that have figures."""
        return [standing for standing in self.standings if standing.best is not None]


def frontier(view: View) -> Figure:
    """Output tokens per dollar over tokens per second per user: every deployment, and the line that none of them beats."""
    points = [(standing, run, _point(run)) for standing in view.drawn for run in standing.candidates]
    known = [(standing, run, point) for standing, run, point in points if point is not None]
    traces = [_frontier_line([(standing, point) for standing, run, point in known if run.get("feasible") and point[2]])]
    for standing in view.drawn:
        for feasible in (False, True):
            mine = [(run, point) for other, run, point in known if other is standing and bool(run.get("feasible")) is feasible]
            if mine:
                traces.append(_cloud(standing, view.styles[standing.name], feasible, mine))
    xs, ys = [point[0] for *_, point in known], [point[1] for *_, point in known]
    # As tall as the chart of worths, which stands beside it.
    layout = axes.layout(height=min(max(_pairs_height(len(view.drawn)), 400), 680))
    layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"] = "tokens per second per user", "output tokens per dollar"
    layout["xaxis"] |= {"tickformat": "~s", **axes.scale(xs, 0.12, formats.scaled)}
    layout["yaxis"] |= {"tickformat": "~s", **axes.scale(ys, 0.12, formats.scaled)}
    return axes.figure(traces, layout)


def _point(run: Record) -> tuple[float, float, bool] | None:
    x, y = interactivity(run), tokens_per_dollar(run)
    return None if x is None or y is None else (x, *y)


def _frontier_line(points: list[tuple[Standing, tuple[float, float, bool]]]) -> dict[str, Any]:
    best: list[tuple[float, float, str]] = []
    for standing, (x, y, _) in sorted(points, key=lambda item: item[1], reverse=True):
        if not best or y > best[-1][1]:
            best.append((x, y, "\u2002" + html.escape(standing.title) + "\u2002"))
    line = {"type": "scatter", "mode": "lines+text", "name": "frontier", "x": [row[0] for row in best], "y": [row[1] for row in best]}
    sides = ["top left" if x > best[0][0] / 3 else "top right" for x, _, _ in best]
    words = {"text": _names(best), "textposition": sides, "cliponaxis": False, "hoverinfo": "skip"}
    return line | words | {"line": {"color": NEUTRAL, "width": 2}}


def _names(best: list[tuple[float, float, str]]) -> list[str]:
    """Each chip's name once along the line, and none where it would stand on another."""
    shown: list[tuple[float, float, str]] = []
    names = []
    for x, y, title in best:
        crowded = any(title == other or (abs(log10(x / u)) < 0.6 and abs(log10(y / v)) < 0.15) for u, v, other in shown)
        names.append("" if crowded else title)
        shown += [] if crowded else [(x, y, title)]
    return names


def _cloud(standing: Standing, style: Style, feasible: bool, mine: list[tuple[Record, tuple[float, float, bool]]]) -> dict[str, Any]:
    symbols = [style.symbol + ("" if feasible and offered else "-open" if offered else "-open-dot") for _, (_, _, offered) in mine]
    marker = {"symbol": symbols, "size": 11 if feasible else 9, "color": style.colour, "opacity": 0.95 if feasible else 0.5}
    words = {"text": [_hover(standing, run) for run, _ in mine], "hovertemplate": "%{text}<extra></extra>"}
    xs, ys = [point[0] for _, point in mine], [point[1] for _, point in mine]
    base = {"type": "scatter", "mode": "markers", "name": html.escape(standing.title), "meta": standing.name, "x": xs, "y": ys}
    return base | words | {"marker": marker | {"line": {"width": 1.5, "color": style.colour}}}


def worth(view: View) -> Figure:
    """What each chip is worth per hour beside what it is offered for."""
    shown = [standing for standing in view.drawn if standing.worth is not None or standing.offer is not None]
    known = [value for standing in shown for value in (standing.worth, standing.offer) if value is not None]
    axis = axes.scale(known, 0.5, _tick_dollars, zero=True)
    # What is missing is a bar of no length, so that its label says so in its place.
    start = 10 ** axis["range"][0] if "type" in axis else 0.0
    colours, hover = [view.styles[standing.name].colour for standing in shown], [_worth_hover(standing) for standing in shown]
    traces = [
        _bars("worth", [_else(s.worth, start) for s in shown], colours, [_worth_label(s) for s in shown], hover),
        _bars("offer", [_else(s.offer, start) for s in shown], [NEUTRAL] * len(shown), [_offer_label(s) for s in shown], hover),
    ]
    traces[1]["marker"] |= {"opacity": 0.55}
    layout = axes.layout(height=_pairs_height(len(shown)), barmode="group", bargap=0.32, bargroupgap=0.08)
    layout["xaxis"] |= {"tickprefix": "$", "tickformat": "~r", **axis}
    return _by_chip(traces, layout, shown)


def _else(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _worth_label(standing: Standing) -> str:
    if standing.worth is None:
        return "" if standing.feasible else "misses targets"
    return f"<b>{formats.dollars(standing.worth)}</b> worth"


def _offer_label(standing: Standing) -> str:
    return "no offer" if standing.offer is None else f"{formats.dollars(standing.offer)} offered"


def _worth_hover(standing: Standing) -> str:
    tier = text(standing.best, "offer_tier")
    offer = _offer_label(standing) + (f" ({html.escape(tier)})" if tier else "")
    return f"<b>{html.escape(standing.title)}</b><br>worth {formats.dollars(standing.worth)} per chip-hour<br>{offer}"


def latency(view: View, metric: str) -> Figure:
    """p50, p90 and the target's percentile of one metric, for the best deployment of each chip; the target as a line."""
    tail = quantile(view.comparison.get("slo"))
    shown = [standing for standing in view.drawn if number(standing.best, metric, tail) is not None]
    values = [number(standing.best, metric, key) or 0.0 for standing in shown for key in ("p50", tail)]
    target = targets(view.comparison.get("slo")).get(metric)
    traces = [trace for row, standing in enumerate(shown) for trace in _range(standing, view.styles[standing.name], (metric, tail), row)]
    layout = axes.layout(height=_rows_height(len(shown), 34), showlegend=False)
    layout["xaxis"] |= {
        "tickformat": "~s",
        "ticksuffix": "s",
        **axes.scale([*values, *([target] if target else [])], 0.15, formats.seconds),
    }
    if target is not None:
        layout["shapes"] = [_vertical(target)]
    return _by_chip(traces, layout, shown)


def _range(standing: Standing, style: Style, shown: tuple[str, str], row: int) -> list[dict[str, Any]]:
    metric, tail = shown
    run = standing.best or {}
    keys = list(dict.fromkeys(("p50", "p90", tail)))
    xs = [number(run, metric, key) for key in keys]
    hover = [f"<b>{html.escape(standing.title)}</b><br>{key} {wording.TITLES[metric]} {_with_error(run, metric, key)}" for key in keys]
    symbols = ["line-ns-open", "line-ns-open", "circle" if standing.feasible else "circle-open"][-len(keys) :]
    marker = {"symbol": symbols, "size": [9, 9, 11][-len(keys) :], "color": style.colour, "line": {"width": 2, "color": style.colour}}
    base = {"type": "scatter", "y": [row] * len(keys), "x": xs, "mode": "lines+markers", "line": {"color": style.colour, "width": 2}}
    dots = base | {"marker": marker, "text": hover, "hovertemplate": "%{text}<extra></extra>", "cliponaxis": False}
    factors, last = band(run, metric), xs[-1]
    if factors is None or last is None:
        return [dots]
    reach = {"type": "scatter", "mode": "lines", "y": [row, row], "x": [last * factors[0], last * factors[1]], "hoverinfo": "skip"}
    return [reach | {"line": {"color": style.colour, "width": 10}, "opacity": 0.22}, dots]


def _with_error(run: Record, metric: str, key: str) -> str:
    value, error = number(run, metric, key), number(run, metric, "stderr", key)
    shown = formats.seconds(value) + (f" ± {formats.seconds(error)}" if error else "")
    reach = formats.span(value, band(run, metric))
    return f"{shown}<br>90 % band {reach}" if reach else shown


def bottleneck(view: View) -> Figure:
    """Where the time of a step goes: shares by resource."""
    shown = [s for s in view.drawn if any(number(s.best, "bottleneck", name) for name in RESOURCES)]
    traces = []
    for name in RESOURCES:
        shares = [number(standing.best, "bottleneck", name) or 0.0 for standing in shown]
        labels = [formats.percent(share) if share >= 0.07 else "" for share in shares]
        hover = [f"<b>{html.escape(s.title)}</b><br>{name} {formats.percent(share)}" for s, share in zip(shown, shares, strict=True)]
        trace = _bars(name, shares, [RESOURCE_COLOURS[name]] * len(shown), labels, hover)
        traces.append(trace | {"textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "insidetextfont": {"color": "#fff"}})
    layout = axes.layout(height=_rows_height(len(shown), 34), barmode="stack", bargap=0.3, uniformtext={"minsize": 10, "mode": "hide"})
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    return _by_chip(traces, layout, shown)


def cost(view: View) -> Figure:
    """Dollars per million input and output tokens."""
    shown = [standing for standing in view.drawn if number(standing.best, "cost_per_million_tokens") is not None]
    return _simple(view, shown, "cost_per_million_tokens", formats.dollars, {"tickprefix": "$", "tickformat": "~r"})


def energy(view: View) -> Figure:
    """Joules per output token."""
    shown = [standing for standing in view.drawn if number(standing.best, "joules_per_token") is not None]
    return _simple(view, shown, "joules_per_token", lambda value: formats.scaled(value, "J"), {"ticksuffix": "J", "tickformat": "~s"})


def _simple(view: View, shown: list[Standing], field: str, form: Form, axis: dict[str, Any]) -> Figure:
    values = [number(standing.best, field) for standing in shown]
    labels = [form(value) for value in values]
    trace = _bars(field, values, [view.styles[s.name].colour for s in shown], labels, [_hover(s, s.best or {}) for s in shown])
    trace["marker"]["opacity"] = [1.0 if standing.feasible else 0.4 for standing in shown]
    layout = axes.layout(height=_rows_height(len(shown), 34), bargap=0.4)
    ticks = _tick_dollars if form is formats.dollars else form
    scale = axes.scale([value for value in values if value is not None], 0.3, ticks, zero=True)
    if "ticktext" in scale:
        scale |= {"ticktext": axes.sparse(scale["ticktext"], axes.NARROW), "tickangle": 0}
    layout["xaxis"] |= axis | scale
    return _by_chip([trace], layout, shown)


def _hover(standing: Standing, run: Record) -> str:
    times = [f"{wording.TITLES[metric]} {formats.seconds(number(run, metric, 'p99'))}" for metric in ("ttft", "tpot")]
    rate, joules = formats.scaled(number(run, "output_tokens_per_second")), formats.scaled(number(run, "joules_per_token"), "J")
    lines = [
        f"<b>{formats.count(number(run, 'chips'))} × {html.escape(standing.title)}</b>",
        html.escape(f"{wording.engine(run)}, {wording.deployment(run)}"),
        f"{formats.digits(interactivity(run))} tokens/s per user · {rate} output tokens/s",
        f"p99 {' · '.join(times)}",
        _price(run),
        f"{joules} per output token · worth {formats.dollars(number(run, 'worth'))} per chip-hour",
        "meets the targets" if run.get("feasible") else html.escape(text(run, "why_not") or "misses the targets"),
    ]
    return "<br>".join(lines)


def _price(run: Record) -> str:
    cost = number(run, "cost_per_million_tokens")
    if cost is None:
        return "no offer"
    words = (("input", "input"), ("cached_input", "cached"), ("output", "output"))
    split = [f"{word} {formats.dollars(value)}" for key, word in words if (value := number(run, "cost_split", key)) is not None]
    return f"{formats.dollars(cost)} per million tokens" + (f" ({', '.join(split)})" if split else "")


def _bars(name: str, values: Sequence[float | None], colours: list[str], labels: list[str], hover: list[str]) -> dict[str, Any]:
    base = {"type": "bar", "orientation": "h", "name": name, "x": list(values), "y": list(range(len(values))), "marker": {"color": colours}}
    words = {"text": labels, "textposition": "outside", "cliponaxis": False}
    return base | words | {"hovertext": hover, "hovertemplate": "%{hovertext}<extra></extra>"}


def _by_chip(traces: list[dict[str, Any]], layout: dict[str, Any], shown: list[Standing]) -> Figure:
    names = [_tick(standing) for standing in shown]
    axis = {"tickvals": list(range(len(shown))), "ticktext": names, "range": [len(shown) - 0.5, -0.5]}
    layout["yaxis"] |= axis | {"showgrid": False, "ticklabelstandoff": 6}
    return axes.figure(traces, layout)


def _tick(standing: Standing) -> str:
    name = html.escape(standing.title if len(standing.title) <= 22 else standing.title[:21] + "…")
    return name if standing.feasible else f'<span style="color:{NEUTRAL}">{name}</span>'


def _vertical(value: float) -> dict[str, Any]:
    line = {"color": TARGET, "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": value, "x1": value, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _tick_dollars(value: float | None) -> str:
    return f"${formats.digits(value)}" if value else "$0"


def _rows_height(rows: int, each: int) -> int:
    return max(rows, 1) * each + 46


def _pairs_height(rows: int) -> int:
    return _rows_height(rows, 48 if rows <= 10 else 38)
