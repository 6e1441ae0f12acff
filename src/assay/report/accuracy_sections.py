"""The parts of a validation's page that are text and tables, as HTML. Every word that comes from data passes through `escape`."""

from collections.abc import Mapping, Sequence
from html import escape

from assay.report import formats
from assay.report.accuracy_charts import MEDIANS, TIMES
from assay.report.errors import METRICS, beside, name_of, simulator
from assay.report.fields import Record, at, number, rows, text
from assay.report.misses import MAIN, Misses, by, factor, misses
from assay.report.sections import Cell, mark, table
from assay.report.styles import Style

FEW = 3  # a group of fewer rows says little, and stands below the others
WORST = 30
_SHADES = (0.1, 0.2, 0.35, 0.6, 1.0)  # an error above the nth has the shade n


def facts(result: Record) -> str:
    """How much was predicted, in all and by quality, as one line."""
    said = [
        f"{formats.count(number(result, 'predicted'))} of {formats.count(number(result, 'rows'))} published numbers predicted",
        *(f"quality {quality}: {_of(reached)}" for quality, reached in (at(result, "by_quality") or {}).items()),
        f"{formats.count(number(result, 'scored'))} held against what was measured",
        f"constants: {text(result, 'constants')}",
    ]
    return "".join(f"<span>{escape(one)}</span>" for one in said)


def _of(reached: Record) -> str:
    return f"{formats.count(number(reached, 'predicted'))} of {formats.count(number(reached, 'rows'))}"


def verdict(points: Sequence[Record]) -> str:
    """The median errors of the main metrics in one sentence, and in a second where the baselines are nearer."""
    known = {metric: misses(mine) for (metric,), mine in by(points, "metric").items()}
    found = {metric: known[metric] for metric in MAIN if metric in known} or known
    if not found:
        return "<p><b>Nothing scored:</b> no number that was predicted has been measured.</p>"
    said = ", ".join(f"{_title(metric)} {_beside(one, first=not i)}" for i, (metric, one) in enumerate(found.items()))
    return f"<p><b>Median error:</b> {said}.</p>\n<p><b>Against the baselines:</b> {_rank(found)}.</p>"


def _beside(one: Misses, first: bool) -> str:
    sheet, near = formats.percent(one.datasheet), formats.percent(one.nearest)
    others = f"data sheet {sheet}, nearest published point {near}" if first else f"{sheet}, {near}"
    return f"{formats.percent(one.error)} ({others})".replace(" %", "\u00a0%")


def _title(metric: str) -> str:
    return escape(METRICS.get(metric, metric))


def _rank(found: Mapping[str, Misses]) -> str:
    baselines = (("the data sheet", "datasheet"), ("the nearest published point", "nearest"))
    return "; ".join(f"nearer than {name} on {_nearer(found, field)}" for name, field in baselines)


def _nearer(found: Mapping[str, Misses], baseline: str) -> str:
    """The metrics on which a prediction is nearer than a baseline."""
    pairs = {metric: (one.error, getattr(one, baseline)) for metric, one in found.items()}
    nearer = [_title(metric) for metric, (ours, other) in pairs.items() if ours is not None and other is not None and ours < other]
    return "all of these" if len(nearer) == len(found) else ", ".join(nearer) or "none of these"


def remarks(result: Record) -> str:
    """What a reader must know first; empty when there is nothing."""
    if result.get("complete", True):
        return ""
    return '<aside class="notes"><ul><li>The work was interrupted: only the runs that were done by then are here.</li></ul></aside>'


def key(points: Sequence[Record], styles: Mapping[str, Style]) -> str:
    """One button for each chip: its mark, name and rows; pressing it hides the chip on the charts."""
    return "".join(
        f'<button type="button" aria-pressed="true" data-chip="{escape(chip)}">{mark(styles[chip], True)}{escape(chip)}'
        f" <small>{formats.count(len(mine))}</small></button>"
        for (chip,), mine in by(points, "chip").items()
    )


def panel_head(metric: str, points: Sequence[Record]) -> str:
    """What a chart of predictions shows, with its figures."""
    one = misses(points)
    figures = f"median error {formats.percent(one.error)}, {formats.percent(one.within)} within ×2"
    return f"<h3>{_title(metric)} <small>{formats.count(one.rows)} rows · {figures}</small></h3>"


def medians() -> str:
    """Which mark is whose median."""
    return "".join(f"<span>{_like(symbol, colour)} {escape(name)}</span>" for name, _, symbol, colour in reversed(MEDIANS))


def _like(symbol: str, colour: str) -> str:
    shape = symbol.removesuffix("-open")
    return mark(Style(colour, shape), filled=symbol == shape)


def heat(points: Sequence[Record], by_what: str) -> str:
    """Median errors, a row for each chip or load, a column for each metric: the darker, the larger; below each the number of rows."""
    cells = by(points, by_what, "metric")
    metrics = [metric for metric in (*MAIN, *(other for other in METRICS if other not in MAIN)) if any(key[1] == metric for key in cells)]
    heads = sorted({key[0] for key in cells}, key=lambda head: (-sum(len(mine) for key, mine in cells.items() if key[0] == head), head))
    body = [(escape(head), [_shaded(cells.get((head, metric), ())) for metric in metrics]) for head in heads]
    return f'<div class="heat">{table([by_what.capitalize(), *(METRICS[metric] for metric in metrics)], body)}</div>'


def _shaded(points: Sequence[Record]) -> Cell:
    error = misses(points).error
    if error is None:
        return "", "none"
    return f"{formats.percent(error)}<small>{formats.count(len(points))}</small>", f"shade-{sum(error > limit for limit in _SHADES)}"


def typical(result: Record) -> str:
    """What a chip and model of a set and kind of serving typically has."""
    heads = ["Set", "Serving", "Metric", "Groups", "Rows", "Median", "In band", "±"]
    return table(heads, [(escape(text(kind, "set")), _kind(kind)) for kind in rows(result, "typical")])


def _kind(kind: Record) -> list[Cell]:
    words = [(escape(said), "") for said in (text(kind, "serving"), name_of(kind))]
    counts = [(formats.count(number(kind, name)), "n") for name in ("groups", "rows")]
    return [*words, *counts, *((formats.percent(number(kind, name)), "n") for name in ("median_error", "coverage", "half_width"))]


def groups(result: Record) -> str:
    """Every group, the worst first; those of few rows last."""
    found = sorted(rows(result, "groups"), key=lambda group: ((number(group, "rows") or 0) < FEW, -(number(group, "median_error") or 0.0)))
    heads = ["Chip", "Model", "Set", "Metric", "Rows", "Median", "p90", "Bias", "In band", "Data sheet", "Nearest"]
    return table(heads, [(escape(text(group, "chip")), _group(group)) for group in found])


def _group(group: Record) -> list[Cell]:
    words = [(escape(said), "") for said in (text(group, "model"), text(group, "set"), name_of(group))]
    shares = [(name, number(group, name)) for name in ("median_error", "p90_error", "bias", "coverage", "datasheet", "nearest")]
    return [
        *words,
        (formats.count(number(group, "rows")), "n"),
        *((_signed(value) if name == "bias" else formats.percent(value), "n") for name, value in shares),
    ]


def _signed(share: float | None) -> str:
    return formats.MISSING if share is None else f"{share * 100:+,.0f} %".replace("-", "\u2212")


def worst(points: Sequence[Record]) -> str:
    """The rows whose prediction is off by the largest factor, with the conditions of their runs."""
    found = sorted(points, key=lambda row: -(factor(row) or 0.0))[:WORST]
    heads = ["Chip", "Model", "Metric", "Off", "Measured", "Predicted", "Engine, set", "Layout", "Load", "In / out", "Assumed"]
    return table(heads, [(f"{formats.count(number(row, 'chips'))} × {escape(text(row, 'chip'))}", _point(row)) for row in found])


def _point(row: Record) -> list[Cell]:
    off, form = factor(row), formats.seconds if text(row, "metric") in TIMES else formats.scaled
    below = (number(row, "error") or 0.0) < 0
    lengths = " / ".join(formats.count(number(row, name)) for name in ("isl", "osl"))
    return [
        (_stack(text(row, "model"), text(row, "weights")), ""),
        (escape(name_of(row)), ""),
        (_stack(f"{'÷' if below else '×'}{formats.digits(off)}" if off else "", _signed(number(row, "error"))), "n"),
        (form(number(row, "measured")), "n"),
        (form(number(row, "predicted")), "n"),
        (_stack(text(row, "engine"), text(row, "set")), ""),
        (escape(text(row, "layout")).replace(" + ", " +<br>"), ""),
        (_stack(text(row, "load"), _level(row)), "narrow"),
        (lengths, "n"),
        (escape("; ".join(map(str, rows(row, "assumed")))) or formats.MISSING, "narrow"),
    ]


def _stack(main: str, below: str) -> str:
    return escape(main or formats.MISSING) + (f"<small>{escape(below)}</small>" if below else "")


def _level(row: Record) -> str:
    """How many users, how large a batch, or how many requests a second."""
    units = (("concurrency", "users"), ("batch", "in the batch"), ("rate", "requests/s"))
    return ", ".join(f"{formats.digits(value, 6)} {unit}" for field, unit in units if (value := number(row, field)) is not None)


def peers(result: Record) -> str:
    """Other simulators beside ours, as a section; empty where none is known to have predicted these numbers."""
    found = at(result, "peers") or {}
    same, stated = beside(found), rows(found, "stated")
    parts = [_SAME + table(_HEADS, [_peer(row, "rows") for row in same])] if same else []
    parts += [_STATED + table([*_HEADS, "Ours over"], [_peer(row, "points", "rows") for row in stated])] if stated else []
    return f'<section class="band">\n<h2>Beside other simulators</h2>\n{"".join(parts)}\n</section>' if parts else ""


_HEADS = ["Metric", "Simulator", "Numbers", "Theirs", "Ours"]
_SAME = '<p class="lead">Median errors on the same numbers: those that the other simulator is known to have predicted.</p>'
_STATED = (
    '<p class="lead">Median errors that are stated of other simulators. The points are not known one by one, so ours is over all runs of'
    " the same set, model and chips, aggregated and without speculation.</p>"
)


def _peer(row: Record, *counts: str) -> tuple[str, list[Cell]]:
    theirs, *ours = ((formats.count(number(row, count)), "n") for count in counts)
    errors = ((formats.percent(number(row, name)), "n") for name in ("error", "ours"))
    return escape(name_of(row)), [(escape(simulator(row)), ""), theirs, *errors, *ours]


def reasons(result: Record) -> str:
    """Why rows have no prediction; where one thing is wrong with several, all of these after it."""
    found: dict[str, dict[str, int]] = {}
    for reason, count in (at(result, "skipped") or {}).items():
        where, _, what = str(reason).rpartition(": ")
        found.setdefault(what, {})[where] = count
    ordered = sorted(found.items(), key=lambda item: -sum(item[1].values()))
    if not ordered:
        return '<p class="none">None: every number was predicted.</p>'
    return f'<ul class="assumptions">{"".join(_reason(what, whose) for what, whose in ordered)}</ul>'


def _reason(what: str, whose: Mapping[str, int]) -> str:
    several = len(whose) > 1
    said = what if several else ": ".join(filter(None, (*whose, what)))
    listed = ", ".join(f"{where} {formats.count(count)}" for where, count in whose.items() if where)
    below = f" <small>({escape(listed)})</small>" if several else ""
    return f"<li><b>{formats.count(sum(whose.values()))}</b> {escape(said)}{below}</li>"


def assumptions(result: Record) -> str:
    """What runs did not state."""
    lines = "".join(f"<li>{escape(str(line))}</li>" for line in rows(result, "assumptions"))
    return f'<ul class="assumptions">{lines}</ul>' if lines else '<p class="none">None: every run states all it needs.</p>'
