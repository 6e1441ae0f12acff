"""The parts of the page that are text and tables, as HTML. Every word that comes from data passes through `escape`."""

from collections.abc import Callable, Sequence
from html import escape

from assay.report import formats, wording
from assay.report.charts import View
from assay.report.fields import RESOURCES, Record, band, interactivity, main_bottleneck, number, quantile, rows, text
from assay.report.standings import Standing
from assay.report.styles import OUTLINES, RESOURCE_COLOURS, Style
from assay.report.verdict import notes, sentences

Cell = tuple[str, str]  # what a cell shows, as HTML, and its class


def facts(comparison: Record) -> str:
    """Traffic and targets, as one line."""
    work, goals = comparison.get("workload"), wording.goals(comparison.get("slo"))
    mean_in, mean_out = number(work, "input_mean"), number(work, "output_mean")
    lengths = f"{formats.count(mean_in)} tokens in, {formats.count(mean_out)} out" if mean_in and mean_out else ""
    requests = f"{formats.count(number(work, 'requests'))} requests simulated" if number(work, "requests") else ""
    found = (text(work, "name"), wording.load(work), lengths, requests, goals or "no latency target")
    return "".join(f"<span>{escape(fact)}</span>" for fact in dict.fromkeys(found) if fact)


def verdict(comparison: Record) -> str:
    """The two sentences."""
    return "\n".join(f"<p><b>{escape(one.lead)}:</b> {escape(one.rest)}</p>" for one in sentences(comparison))


def remarks(comparison: Record) -> str:
    """The notes under the first charts, empty when there are none."""
    said = notes(comparison)
    return f'<aside class="notes"><ul>{"".join(f"<li>{escape(note)}</li>" for note in said)}</ul></aside>' if said else ""


def key(view: View) -> str:
    """One button for each chip: its mark and name; pressing it hides the chip on the first chart."""
    return "".join(_key(standing, view.styles[standing.name]) for standing in view.standings)


def _key(standing: Standing, style: Style) -> str:
    state = "" if standing.feasible else f" <small>{'nothing fits' if standing.best is None else 'misses targets'}</small>"
    shown = f"{mark(style, standing.feasible)}{escape(standing.title)}{state}"
    return f'<button type="button" aria-pressed="true" data-chip="{escape(standing.name)}">{shown}</button>'


def mark(style: Style, filled: bool) -> str:
    """The chip's marker as on the charts, hollow where it misses the targets."""
    fill = style.colour if filled else "none"
    path = f'<path d="{OUTLINES[style.symbol]}" fill="{fill}" stroke="{style.colour}" stroke-width="1.6"/>'
    return f'<svg viewBox="0 0 16 16" aria-hidden="true">{path}</svg>'


def frontier_caption(view: View) -> str:
    """How to read the first chart, and which chips are priced at their worth."""
    unpriced = [standing for standing in view.drawn if number(standing.best, "cost_per_hour") is None]
    said = "Each mark is a deployment: filled meets the targets, hollow misses them. No filled one with a price lies beyond the line."
    for worth, how in ((True, "shown at the price it is worth (dotted marks)"), (False, "not shown")):
        titles = [standing.title for standing in unpriced if (standing.worth is not None) is worth]
        said += f" No offer for {', '.join(titles)}: {how}." if titles else ""
    return escape(said)


def latency_lead(comparison: Record) -> str:
    """How to read the latency charts."""
    tail = quantile(comparison.get("slo"))
    return escape(f"Ticks at p50 and p90, dot at {tail}, its 90 % error band behind it; dashed: the target. Best deployment of each chip.")


def resources() -> str:
    """Which colour is which resource."""
    return "".join(f'<span><i style="background:{RESOURCE_COLOURS[name]}"></i>{name}</span>' for name in RESOURCES)


Column = tuple[str, Callable[[Record], Cell]]


def deployments(view: View) -> str:
    """The best deployment of each chip, all figures."""
    tail = quantile(view.comparison.get("slo"))
    return _runs(view, _columns(tail), [(standing, standing.best or {}) for standing in view.standings])


def candidates(view: View) -> str:
    """Every candidate, and why it misses the targets."""
    columns = [*_columns(quantile(view.comparison.get("slo"))), ("Why not", lambda run: (escape(text(run, "why_not")), "wrap"))]
    every = [(standing, run) for standing in view.standings for run in standing.candidates or [{"why_not": standing.why_not}]]
    return _runs(view, columns, every)


def _runs(view: View, columns: Sequence[Column], shown: Sequence[tuple[Standing, Record]]) -> str:
    body = [(_name(standing, view.styles[standing.name], run), [column[1](run) for column in columns]) for standing, run in shown]
    return table(["Chip", *(column[0] for column in columns)], body)


def _name(standing: Standing, style: Style, run: Record) -> str:
    feasible = bool(run.get("feasible"))
    said = "meets targets" if feasible else "misses targets" if run.get("chips") else "no deployment"
    return f'{mark(style, feasible)}{escape(standing.title)}<small class="{"yes" if feasible else "no"}">{said}</small>'


def table(heads: Sequence[str], body: Sequence[tuple[str, Sequence[Cell]]]) -> str:
    """A table that scrolls inside its own box; `body` has the head of each row and its cells; a column is aligned as its first cell."""
    kinds = ["", *(cell[1] for cell in body[0][1])] if body else [""] * len(heads)
    head = "".join(f"<th{_class(kind)}>{escape(name)}</th>" for name, kind in zip(heads, kinds, strict=True))
    lines = "".join(f'<tr><th scope="row">{name}</th>{_cells(cells)}</tr>' for name, cells in body)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cells(cells: Sequence[Cell]) -> str:
    return "".join(f"<td{_class(kind)}>{cell}</td>" for cell, kind in cells)


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _columns(tail: str) -> list[Column]:
    return [
        ("Chips", lambda run: (formats.count(number(run, "chips")), "n")),
        ("$ per million tokens", _cost),
        ("Worth and offer, per hour", _worth),
        (f"{tail} TTFT", lambda run: _time(run, "ttft", tail)),
        (f"{tail} TPOT", lambda run: _time(run, "tpot", tail)),
        ("Tokens/s, one user", _speed),
        ("Energy, power", _energy),
        ("Parallelism", lambda run: (_parts(run, wording.parallelism, _copies), "")),
        ("Engine, limits", lambda run: (_parts(run, lambda part: text(part, "engine"), _limits), "")),
        ("Precision", lambda run: (_parts(run, *_PRECISION), "")),
        (f"{tail} E2E", lambda run: _time(run, "e2e", tail)),
        ("Bottleneck", _slowest),
        ("Evidence", lambda run: (_tag(wording.label(run)), "")),
    ]


_PRECISION = (lambda part: wording.precisions(part).partition(", ")[0], lambda part: wording.precisions(part).partition(", ")[2])


def _speed(run: Record) -> Cell:
    user, total = interactivity(run), number(run, "output_tokens_per_second")
    return _stack(formats.digits(user), f"{formats.scaled(total)} in all" if total else ""), "n"


def _energy(run: Record) -> Cell:
    power = number(run, "power")
    return _stack(formats.scaled(number(run, "joules_per_token"), "J"), formats.scaled(power, "W") if power else ""), "n"


def _parts(run: Record, main: Callable[[Record], str], below: Callable[[Record], str] | None = None) -> str:
    return "<br>".join(_stack(main(part), below(part) if below else "") for part in rows(run, "deployment", "parts")) or formats.MISSING


def _stack(main: str, below: str) -> str:
    return escape(main or formats.MISSING) + (f"<small>{escape(below)}</small>" if below else "")


def _copies(part: Record) -> str:
    replicas, role = number(part, "replicas") or 1, text(part, "role")
    words = (f"{replicas:.0f} replica{'s' if replicas > 1 else ''}", role if role != "all" else "")
    return ", ".join(filter(None, words))


def _limits(part: Record) -> str:
    limits = (("max_num_seqs", "seqs"), ("token_budget", "tokens"))
    return ", ".join(f"{formats.count(value)} {word}" for field, word in limits if (value := number(part, field)) is not None)


def _time(run: Record, metric: str, tail: str) -> Cell:
    value = number(run, metric, tail)
    return _stack(formats.seconds(value), formats.span(value, band(run, metric))), "n"


def _cost(run: Record) -> Cell:
    split = [number(run, "cost_split", part) for part in ("input", "cached_input", "output")]
    below = " / ".join(map(formats.dollars, split)) if any(part is not None for part in split) else ""
    return _stack(formats.dollars(number(run, "cost_per_million_tokens")), below or ("no offer" if run.get("chips") else "")), "n"


def _worth(run: Record) -> Cell:
    offer, tier = number(run, "offer"), text(run, "offer_tier")
    below = f"{formats.dollars(offer)} {tier}".strip() if offer is not None else "no offer" if run.get("chips") else ""
    return _stack(formats.dollars(number(run, "worth")), below), "n"


def _slowest(run: Record) -> Cell:
    found = main_bottleneck(run)
    return (f"{found[0]} {formats.percent(found[1])}" if found else formats.MISSING), ""


def _tag(label: str) -> str:
    return f'<span class="tag">{escape(label)}</span>' if label else formats.MISSING


def evidence(view: View) -> str:
    """The evidence of each chip and the error bands of its prediction."""
    body = [(_name(s, view.styles[s.name], s.best or {}), _evidence(s)) for s in view.standings]
    return table(["Chip", "Evidence", "Band: TPOT", "Band: tokens/s", "Why"], body)


def _evidence(standing: Standing) -> list[Cell]:
    run = standing.best or {}
    label = wording.label(run) or text(standing.info, "evidence")
    bands = [_factors(band(run, metric)) for metric in ("tpot", "output_tokens_per_second")]
    why = text(run, "evidence", "why") if standing.best else standing.why_not
    return [(_tag(label), ""), (bands[0], "n"), (bands[1], "n"), (escape(why), "wrap")]


def _factors(pair: tuple[float, float] | None) -> str:
    return formats.MISSING if pair is None else " to ".join(f"{(factor - 1) * 100:+.0f} %".replace("-", "\u2212") for factor in pair)


def assumptions(view: View) -> str:
    """What the user did not give: first what holds for all chips, then by chip."""
    shared = [str(line) for line in rows(view.comparison, "assumptions")]
    owners: dict[str, list[str]] = {}
    for standing in view.drawn:
        for line in rows(standing.best, "assumptions"):
            owners.setdefault(str(line), []).append(standing.title)
    lines = [(line, "") for line in dict.fromkeys(shared)]
    lines += [(line, "" if len(who) == len(view.drawn) else ", ".join(who)) for line, who in owners.items() if line not in shared]
    if not lines:
        return '<p class="none">None: everything was given.</p>'
    return f'<ul class="assumptions">{"".join(_assumption(*line) for line in lines)}</ul>'


def _assumption(line: str, who: str) -> str:
    return f"<li>{escape(line)}{f' <small>({escape(who)})</small>' if who else ''}</li>"
