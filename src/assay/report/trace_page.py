"""One HTML file that opens offline: a trace, a draw of its description, and how far they are apart."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from assay.report import document, entries, formats, trace_charts
from assay.report.fields import number, text

_STYLES = (("trace", trace_charts.TRACE), ("draw", trace_charts.DRAWN))
KEY = "".join(("<span>", *(f'<i style="background:{colour}"></i>{name} ' for name, colour in _STYLES), "</span>"))
_MEASURES = ("ks", "wasserstein", "mean", "p50", "p90", "p99")
_HEADS = ("KS", "Wasserstein", "mean", "p50", "p90", "p99")
_OTHERS = {
    "gaps_ks": "Times between arrivals, each over its mean, KS",
    "prefix_share": "Share of prompt tokens that an unbounded cache would spare, drawn less real",
    "prefix_ks": "The same share of each request, KS",
    "turns_ks": "Turns of a session, KS",
    "think_ks": "Think times, KS",
    "correlation": "Correlation of prompt and output length, drawn less real",
}


def write(found: Mapping[str, Any], path: Path) -> None:
    """Write the page of a trace, a dict as `workloads FILE --json` prints it. Raises InputError when it cannot be written."""
    document.write(render(found), path)


def render(found: Mapping[str, Any]) -> str:
    """The page as text."""
    picture = found["picture"]
    body = document.template("trace.html").substitute(
        name=escape(text(found, "name")),
        facts="".join(f"<span>{escape(fact)}</span>" for fact in _facts(found)),
        key=KEY,
        trace_lengths=document.plot(trace_charts.lengths(picture, "trace"), "lengths"),
        drawn_lengths=document.plot(trace_charts.lengths(picture, "drawn"), "lengths"),
        input=document.plot(trace_charts.cumulative(picture, "input", "prompt tokens"), "input"),
        output=document.plot(trace_charts.cumulative(picture, "output", "output tokens"), "output"),
        more="".join(_more(picture)),
        lengths=_lengths(found["distance"]),
        others=_others(found["distance"]),
        notes=_listed(found["description"]["notes"]),
        assumptions=_listed(found["assumptions"] or ["none"]),
        version=escape(text(found, "assay_version")),
        command=escape(text(found, "command")),
    )
    return document.framed(f"{text(found, 'name')} · Assay", body)


def _facts(found: Mapping[str, Any]) -> list[str]:
    rate = number(found, "rate")
    said = [f"{formats.count(number(found, 'requests'))} requests"]
    if number(found, "sessions"):
        said.append(f"{formats.count(number(found, 'sessions'))} sessions")
    said.append("no arrivals" if rate is None else f"{formats.digits(rate)} requests/s")
    prompt, answer = (formats.digits(number(found, name, "mean"), 4) for name in ("input", "output"))
    said.append(f"prompts of {prompt} and answers of {answer} tokens in the mean")
    if number(found, "prefix_share"):
        said.append(f"{formats.percent(number(found, 'prefix_share'))} of prompt tokens seen before")
    return said


def _more(picture: Mapping[str, Any]) -> list[str]:
    """The cards of what not every trace has."""
    cards = []
    if picture["arrivals"]:
        lead = f"requests per second in windows of {formats.seconds(picture['arrivals']['seconds'])}"
        cards.append(_card("Arrivals", lead, document.plot(trace_charts.arrivals(picture), "arrivals")))
    if picture["prefixes"]:
        lead = "share of requests that begin with at most so much of an earlier prompt"
        drawn = trace_charts.cumulative(picture, "prefixes", "share of the prompt", scale="linear")
        cards.append(_card("Prefix sharing", lead, document.plot(drawn, "prefixes")))
    if picture["turns"]:
        turns = trace_charts.cumulative(picture, "turns", "turns")
        cards.append(_card("Turns of a session", "share of sessions up to so many", document.plot(turns, "turns")))
        think = trace_charts.cumulative(picture, "think", "seconds")
        cards.append(_card("Think times", "share of later turns that come within so long", document.plot(think, "think")))
    return cards


def _card(title: str, lead: str, plot: str) -> str:
    return f'<section class="card"><h2>{title}</h2><p class="unit legend"><span>{lead}</span>{KEY}</p>{plot}</section>'


def _lengths(distance: Mapping[str, float]) -> str:
    head = "".join(f'<th class="n">{name}</th>' for name in _HEADS)
    lines = []
    for name, title in (("input", "Prompt tokens"), ("output", "Output tokens"), ("total", "Both together")):
        cells = "".join(f'<td class="n">{_shown(distance.get(f"{name}_{measure}"), measure)}</td>' for measure in _MEASURES)
        lines.append(f"<tr><th>{title}</th>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _others(distance: Mapping[str, float]) -> str:
    windows = {key: f"Variation of the arrivals per {key.split('_')[1].rstrip('s')} s" for key in distance if key.startswith("arrivals_")}
    lines = [
        f'<tr><th>{escape(title)}</th><td class="n">{_shown(distance[key], "cv" if key in windows else key)}</td></tr>'
        for key, title in (windows | _OTHERS).items()
        if key in distance
    ]
    return f'<div class="scroll"><table class="plain"><tbody>{"".join(lines)}</tbody></table></div>'


def _shown(value: float | None, measure: str) -> str:
    """Distances without a sign, differences with one."""
    if value is None:
        return formats.MISSING
    if measure.endswith("ks"):
        return f"{value:.3f}"
    if measure == "wasserstein":
        return f"{value:.1%}"
    return (f"{value:+.3f}" if measure in ("correlation", "prefix_share") else f"{value:+.1%}").replace("-", "−")


def _listed(lines: list[str]) -> str:
    return f'<ul class="assumptions">{"".join(f"<li>{escape(entries.plain(line))}</li>" for line in lines)}</ul>'
