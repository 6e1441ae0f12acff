"""Errors of predictions on the terminal: by set and metric beside the baselines, by load, of decisions, and what could not be predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.report import formats

METRICS = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "itl": "ITL",
    "e2e": "E2E",
    "output_tokens_per_second": "output tok/s",
    "total_tokens_per_second": "total tok/s",
    "input_tokens_per_second": "input tok/s",
    "requests_per_second": "requests/s",
    "output_tokens_per_second_per_user": "tok/s per user",
}
_FIGURES = {
    "median_error": "median",
    "p90_error": "p90",
    "bias": "bias",
    "coverage": "in band",
    "datasheet": "sheet",
    "nearest": "nearest",
}
_TYPICAL = {"groups": "groups", "rows": "rows", "median_error": "median", "coverage": "in band", "half_width": "±"}
_BY_LOAD = ("ttft", "tpot", "e2e", "output_tokens_per_second")
MOST_REASONS = 12
_BESIDE = (("e2e", "mean"), ("itl", "mean"), ("ttft", "mean"), ("e2e", "p99"), ("ttft", "p99"))


def tables(validation: Mapping[str, Any], console: Console) -> None:
    """Print what `validate --json` prints, for people."""
    shares = [f"{quality} {row['predicted']} of {row['rows']}" for quality, row in validation["by_quality"].items()]
    console.print(Text(f"{validation['predicted']} of {validation['rows']} numbers predicted ({', '.join(shares)})", "bold"))
    console.print(Text(f"constants: {validation['constants']}", "bold"))
    console.print(Text("errors in %: |predicted / measured - 1|; sheet and nearest: medians of the two baselines", "dim"))
    console.print(_by_set(validation["by_set"]))
    console.print()
    console.print(Text("what a chip and model typically has: medians over groups of both; ±: half width of the 90 % band", "dim"))
    console.print(_typical(validation["typical"]))
    console.print()
    console.print(_by_load(validation["by_load"]))
    console.print()
    _peers(validation["peers"], console)
    if validation["decisions"]["decisions"]:
        console.print(*_decisions(validation["decisions"]), sep="\n")
        console.print()
    if validation["skipped"]:
        console.print(_reasons(validation["skipped"]))
    for line in validation["assumptions"]:
        console.print(Text(f"- {line}", "dim"))


def name_of(group: Mapping[str, Any]) -> str:
    """Metric and statistic of a group, in words."""
    metric = str(group["metric"])
    return f"{METRICS.get(metric, metric)} {group.get('statistic', '')}".strip()


def _by_set(groups: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("set", "metric", "rows", *_FIGURES.values())
    before = ""
    for group in groups:
        figures = [_percent(group[name]) for name in _FIGURES]
        shown = str(group["set"])
        table.add_row(shown if shown != before else "", name_of(group), formats.count(group["rows"]), *figures)
        before = shown
    return table


def _typical(kinds: Sequence[Mapping[str, Any]]) -> Table:
    """Medians over chips and models, below a line for each set and kind of serving."""
    table = _table("metric", *_TYPICAL.values())
    before = ""
    for kind in kinds:
        above = f"{kind['set']}, {kind['serving']}"
        if above != before:
            table.add_row(Text(above, "bold"))
        counts = (formats.count(kind[name]) for name in ("groups", "rows"))
        table.add_row(f"  {name_of(kind)}", *counts, *(_percent(kind[name]) for name in ("median_error", "coverage", "half_width")))
        before = above
    return table


def _by_load(groups: Sequence[Mapping[str, Any]]) -> Table:
    """Median errors: a row for each load, a column for each of some metrics."""
    table = _table("load", *(METRICS[metric] for metric in _BY_LOAD))
    found = {(group["load"], group["metric"]): group["median_error"] for group in groups}
    for load in dict.fromkeys(str(group["load"]) for group in groups):
        table.add_row(load, *(_percent(found.get((load, metric))) for metric in _BY_LOAD))
    return table


def beside(peers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of other simulators' errors on the same numbers those on the main metrics, these in turn."""
    return [row for kind in _BESIDE for row in peers.get("same_rows", ()) if (row["metric"], row["statistic"]) == kind]


def _peers(peers: Mapping[str, Any], console: Console) -> None:
    """Median errors of other simulators beside ours; nothing where none are known."""
    for rows, count, said in (
        (beside(peers), "rows", "other simulators: median errors of theirs and ours on the same numbers"),
        (peers["stated"], "points", "stated of other simulators, of points that are not known one by one; ours is over all runs alike"),
    ):
        if rows:
            table = _table("metric", "simulator", count, "theirs", "ours")
            for row in rows:
                table.add_row(name_of(row), simulator(row), formats.count(row[count]), _percent(row["error"]), _percent(row["ours"]))
            console.print(Text(said, "dim"))
            console.print(table)
            console.print()


def simulator(row: Mapping[str, Any]) -> str:
    """Another simulator, and what it was told."""
    return f"{row['tool']}, told {row['told']}" if row.get("told") else str(row["tool"])


def _decisions(told: Mapping[str, Any]) -> list[Text]:
    """How often the chip that was picked was the cheapest, and what following it costs; where, at which prices, and by the data sheet."""
    cost = "" if told["mean_regret"] is None else f"; following them costs {_loss(told)}"
    loads = ", ".join(f"{row['load']} {formats.percent(row['right'])} of {row['decisions']}" for row in told["by_load"])
    sheet = told["datasheet"]
    said = (
        f"by load {loads}",
        f"{told['failed']} fail",
        f"rank correlation of chips {formats.digits(told['rank_correlation'], 2)}",
        f"the data sheet alone {formats.percent(sheet['right'])}, {_loss(sheet)}",
        f"prices: {told['basis']}" + (f", none for {', '.join(told['left_out'])}" if told["left_out"] else ""),
    )
    head = f"{formats.percent(told['right'])} of {told['decisions']} choices pick the chip that is cheapest per token{cost}"
    return [Text(head, "bold"), Text("; ".join(said), "dim")]


def _loss(told: Mapping[str, Any]) -> str:
    more = f"{formats.percent(told['mean_regret'])} more in the mean (p90 {formats.percent(told['p90_regret'])})"
    return f"{more}, {formats.dollars(told['lost'])} per million output tokens"


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for head in heads:
        words = head in ("set", "metric", "load", "simulator")
        table.add_column(head, justify="left" if words else "right", no_wrap=True, overflow="ellipsis")
    return table


def _percent(share: float | None) -> str:
    """A share in percent, without the sign."""
    return formats.MISSING if share is None else f"{share * 100:.0f}"


def _reasons(skipped: Mapping[str, int]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("rows", justify="right")
    table.add_column("not predicted, because", overflow="fold")
    shown = list(skipped.items())[:MOST_REASONS]
    for reason, rows in shown:
        table.add_row(formats.count(rows), Text(reason))
    others = list(skipped.values())[MOST_REASONS:]
    if others:
        table.add_row(formats.count(sum(others)), f"{len(others)} other reasons")
    return table
