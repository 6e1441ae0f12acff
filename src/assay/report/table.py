"""Tables for the terminal. Each function prints to a Rich console; names that come from data are never read as markup."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from assay.report import formats, wording
from assay.report.entries import entry, listing
from assay.report.fields import RESOURCES, Record, at, interactivity, main_bottleneck, number, quantile, rows, text
from assay.report.standings import Standing, standings
from assay.report.verdict import notes, sentences

__all__ = ["comparison", "entry", "listing", "run", "step"]


@dataclass(frozen=True)
class Column:
    """One column: its cells, how they are aligned, and how soon it goes when the terminal is narrow (0 never, the highest first)."""

    head: str
    cells: Sequence[str | Text]
    right: bool = False
    drop: int = 0


def comparison(comparison: Record, console: Console) -> None:
    """Print one row for each chip, then the verdict and what must be known beside it."""
    found = standings(comparison)
    goals = wording.goals(comparison.get("slo")) or "no latency target"
    _say(console, f"{text(comparison, 'model')} · {wording.load(comparison.get('workload'))} · {goals}", "bold")
    console.print(_fitting(_columns(found, quantile(comparison.get("slo"))), console))
    console.print()
    for sentence in sentences(comparison):
        console.print(Text.assemble((f"{sentence.lead}: ", "bold"), sentence.rest))
    _bullets(console, notes(comparison))


def _columns(found: Sequence[Standing], tail: str) -> list[Column]:
    def cells(form: Callable[[Record], str]) -> list[str]:
        return [form(standing.best or {}) for standing in found]

    return [
        Column("chip", [standing.title for standing in found]),
        Column("chips", cells(lambda run: formats.count(number(run, "chips"))), right=True),
        Column("deployment", [wording.brief(s.best) if s.best else formats.MISSING for s in found], drop=3),
        Column(f"{tail} TTFT", cells(lambda run: formats.seconds(number(run, "ttft", tail))), right=True, drop=1),
        Column(f"{tail} TPOT", cells(lambda run: formats.seconds(number(run, "tpot", tail))), right=True, drop=2),
        Column("tok/s/user", cells(lambda run: formats.digits(interactivity(run))), right=True, drop=4),
        Column("$/Mtok", cells(lambda run: formats.dollars(number(run, "cost_per_million_tokens"))), right=True),
        Column("worth", [formats.dollars(standing.worth) for standing in found], right=True),
        Column("offer $/h", [formats.dollars(standing.offer) for standing in found], right=True),
        Column("J/tok", cells(lambda run: formats.digits(number(run, "joules_per_token"))), right=True, drop=5),
        Column("bound by", cells(lambda run: (main_bottleneck(run) or (formats.MISSING, 0))[0]), drop=7),
        Column("evidence", cells(lambda run: wording.label(run) or formats.MISSING), drop=6),
        Column("SLO", [_meets(standing) for standing in found]),
    ]


def _meets(standing: Standing) -> Text:
    if standing.best is None:
        return Text(formats.MISSING, "red")
    return Text("yes", "green") if standing.feasible else Text("no", "red")


def _fitting(columns: Sequence[Column], console: Console) -> Table:
    """The table with as many columns as the console has room for, those that matter most first."""
    room = console.options.update(max_width=10_000)
    kept = {id(column) for column in columns if column.drop == 0}
    for column in sorted(columns, key=lambda column: column.drop):
        wider = kept | {id(column)}
        table = _table([one for one in columns if id(one) in wider])
        if Measurement.get(console, room, table).maximum <= console.width:
            kept = wider
    return _table([one for one in columns if id(one) in kept])


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, collapse_padding=True, header_style="dim")
    for column in columns:
        table.add_column(column.head, justify="right" if column.right else "left", overflow="fold")
    for line in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in line))
    return table


def run(run: Record, console: Console, chart: Sequence[Text] = ()) -> None:
    """Print what a simulation found: latency percentiles, under them a chart, rates, memory, energy, cost, how sure they are."""
    title = f"{text(run, 'model')} · {formats.count(number(run, 'chips'))} × {text(run, 'chip')} · {wording.brief(run)}"
    _say(console, title, "bold")
    keys = ("mean", "p50", "p90", "p95", "p99", "p999")
    metrics = [metric for metric in wording.TITLES if at(run, metric)]
    latency = [Column(key, [formats.seconds(number(run, metric, key)) for metric in metrics], right=True) for key in keys]
    console.print(_table([Column("", [wording.TITLES[metric] for metric in metrics]), *latency]))
    console.print()
    if chart:
        console.print(*chart, sep="\n", no_wrap=True)
        console.print()
    console.print(_pairs([(name, value) for name, value in _figures(run) if value not in ("", formats.MISSING)]))
    _bullets(console, [str(line) for line in rows(run, "assumptions")])


def _figures(run: Record) -> list[tuple[str, str]]:
    served = f"{formats.count(number(run, 'completed'))} of {formats.count(number(run, 'requests'))}"
    rejected = number(run, "rejected")
    rates = [formats.scaled(number(run, f"{kind}_tokens_per_second")) for kind in ("output", "total")]
    stable = at(run, "stable")
    return [
        ("deployment", wording.deployment(run)),
        ("requests served", served + (f", {formats.count(rejected)} rejected" if rejected else "")),
        ("stable", "" if stable is None else "yes" if stable else "no: the backlog grows"),
        ("tokens/s", f"{rates[0]} output, {rates[1]} in all"),
        ("tokens/s per user", formats.digits(interactivity(run))),
        ("requests/s", formats.scaled(number(run, "requests_per_second"))),
        ("goodput", _unit(formats.scaled(number(run, "goodput")), "requests/s within the targets")),
        ("KV in use, peak", formats.percent(number(run, "kv_peak"))),
        ("prefix hits", formats.percent(number(run, "prefix_hit_rate"))),
        ("preemptions", formats.count(number(run, "preemptions"))),
        ("energy", _unit(formats.scaled(number(run, "joules_per_token"), "J"), "per output token")),
        ("power", formats.scaled(number(run, "power"), "W")),
        ("cost", _cost(run)),
        ("time goes to", _shares(run)),
        ("error band", _bands(run)),
        ("evidence", ": ".join(filter(None, (wording.label(run), text(run, "evidence", "why"))))),
        ("simulated", _simulated(run)),
    ]


def _unit(shown: str, unit: str) -> str:
    return shown if shown == formats.MISSING else f"{shown} {unit}"


def _cost(run: Record) -> str:
    cost = number(run, "cost_per_million_tokens")
    if cost is None:
        return f"unknown: {text(run, 'why_no_cost')}" if text(run, "why_no_cost") else ""
    words = (("input", "input"), ("cached_input", "cached input"), ("output", "output"))
    split = ", ".join(f"{word} {formats.dollars(value)}" for key, word in words if (value := number(run, "cost_split", key)) is not None)
    basis = text(run, "cost_basis")
    return f"{formats.dollars(cost)} per million tokens{f' ({split})' if split else ''}{f', basis {basis}' if basis else ''}"


def _shares(record: Record) -> str:
    shares = [(name, number(record, "bottleneck", name) or 0.0) for name in RESOURCES]
    return ", ".join(f"{name} {formats.percent(share)}" for name, share in sorted(shares, key=lambda row: -row[1]) if share >= 0.005)


def _bands(record: Record) -> str:
    bands = at(record, "error_band")
    if not isinstance(bands, dict):
        return ""
    return ", ".join(f"{metric} × {formats.digits(pair[0], 2)} to {formats.digits(pair[1], 2)}" for metric, pair in bands.items() if pair)


def _simulated(run: Record) -> str:
    duration, wall = number(run, "duration"), number(run, "wall_time")
    return "" if duration is None or wall is None else f"{formats.seconds(duration)} in {formats.seconds(wall)}"


def step(prediction: Record, console: Console) -> None:
    """Print one predicted step: its time, and its operations with their share of it."""
    head = f"{formats.seconds(number(prediction, 'seconds'))} per step"
    latency, joules = number(prediction, "latency"), number(prediction, "joules")
    known = [head, *([f"latency {formats.seconds(latency)}"] if latency else []), *([formats.scaled(joules, "J")] if joules else [])]
    _say(console, " · ".join(known), "bold")
    console.print(_fitting(_operations(rows(prediction, "ops")), console))
    found = [("time goes to", _shares(prediction)), ("error band", _bands(prediction)), ("evidence", wording.label(prediction))]
    console.print(_pairs([(name, value) for name, value in found if value]))
    _bullets(console, [str(line) for line in rows(prediction, "assumptions")])


def _operations(ops: Sequence[Record]) -> list[Column]:
    total = sum(number(op, "seconds") or 0.0 for op in ops)
    shares = [(number(op, "seconds") or 0.0) / total if total else 0.0 for op in ops]
    return [
        Column("operation", [text(op, "name") for op in ops]),
        Column("time", [formats.seconds(number(op, "seconds")) for op in ops], right=True),
        Column("share", [formats.percent(share) for share in shares], right=True),
        Column("", [Text("█" * round(share * 20), "cyan") for share in shares], drop=3),
        Column("FLOP", [formats.scaled(number(op, "flops")) for op in ops], right=True, drop=2),
        Column("bytes", [formats.scaled(number(op, "bytes"), "B") for op in ops], right=True, drop=1),
        Column("bound by", [text(op, "bound") for op in ops]),
    ]


def _pairs(pairs: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), Text(value))
    return table


def _bullets(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text(f"- {line}", "dim"))


def _say(console: Console, words: str, style: str) -> None:
    console.print(Text(words, style))
