"""The part of a validation's page on decisions: the chip that predictions pick beside the one that was cheapest, as HTML."""

from collections.abc import Iterable, Sequence
from html import escape

from assay.report import decision_charts, document, formats
from assay.report.decision_charts import BARS, CURVES
from assay.report.fields import Record, at, number, rows, text
from assay.report.sections import Cell, table

MOST = 20  # decisions that are listed


def section(result: Record) -> str:
    """Summary by load, charts, and the decisions that cost most; or why there are none."""
    told = at(result, "decisions")
    cells = rows(told, "cells")
    if not cells:
        return '<p class="none">None: no traffic has runs of three or more chips with a price.</p>'
    costs = _chart("What following them costs", reversed(CURVES), document.plot(decision_charts.regrets(cells), "regrets"))
    picks = _chart("How often a chip is cheapest, and how often picked", BARS, document.plot(decision_charts.picks(cells), "picks"))
    return f'{_summary(told)}{_prices(told)}<div class="pair">{costs}{picks}</div>{_worst(cells)}'


def _chart(title: str, drawn: Iterable[tuple[str, object, str]], plot: str) -> str:
    """With a key of names and colours."""
    key = "".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, _, colour in drawn)
    return f'<div><h3>{escape(title)}</h3><p class="unit legend">{key}</p>{plot}</div>'


def _summary(told: Record) -> str:
    heads = ["Load", "Decisions", "Right", "Mean regret", "p90 regret", "Lost per million tokens", "Failed", "Rank correlation"]
    lines = [("all", told), *((text(row, "load"), row) for row in rows(told, "by_load"))]
    body = [(escape(name), [*_figures(row), *_figures(at(row, "datasheet"))[1:4]]) for name, row in lines]
    return table([*heads, "Data sheet: right", "Data sheet: mean regret", "Data sheet: p90 regret"], body)


def _figures(row: Record) -> list[Cell]:
    shares = [formats.percent(number(row, name)) for name in ("right", "mean_regret", "p90_regret")]
    decisions, failed = (formats.count(number(row, name)) for name in ("decisions", "failed"))
    return [(said, "n") for said in (decisions, *shares, formats.dollars(number(row, "lost")), failed, _rank(row))]


def _rank(row: Record) -> str:
    return formats.digits(number(row, "rank_correlation"), 2).replace("-", "\u2212")


def _prices(told: Record) -> str:
    """Dollars per chip-hour, and the chips that have none."""
    prices = at(told, "prices") or {}
    asked = ", ".join(f"{chip} {formats.dollars(number(offer, 'dollars'))} ({text(offer, 'tier')})" for chip, offer in prices.items())
    lacking = ", ".join(map(str, rows(told, "left_out")))
    without = f" No such offer, so left out: {escape(lacking)}." if lacking else ""
    return f'<p class="caption lead">Chip-hours at {escape(text(told, "basis"))}: {escape(asked)}.{without}</p>'


def _worst(cells: Sequence[Record]) -> str:
    """The decisions that failed, and those with the largest regret."""
    found = sorted(cells, key=lambda cell: (number(cell, "regret") is not None, -(number(cell, "regret") or 0.0)))[:MOST]
    heads = ["Model", "In / out", "Load", "Cheapest", "Picked", "Regret", "As predicted", "By the data sheet", "Rank correlation", "Chips"]
    return f"<h3>The {len(found)} worst</h3>{table(heads, [(escape(text(cell, 'model')), _cell(cell)) for cell in found])}"


def _cell(cell: Record) -> list[Cell]:
    best, picked, level = text(cell, "best"), text(cell, "picked"), number(cell, "interactivity")
    said = [formats.dollars(number(cell, "chips", chip, "predicted")) for chip in dict.fromkeys((picked, best)) if chip]
    asked = f"{formats.digits(level)} tokens/s of a user" if level else ""
    sheet = at(cell, "datasheet")
    return [
        (" / ".join(formats.count(number(cell, name)) for name in ("isl", "osl")), "n"),
        (_stack(text(cell, "load"), asked), ""),
        (_stack(best, formats.dollars(number(cell, "chips", best, "measured"))), ""),
        (_stack(picked or "nothing predicted", formats.dollars(number(cell, "paid"))), ""),
        (formats.percent(number(cell, "regret")), "n"),
        (" against ".join(said) or formats.MISSING, "n"),
        (_stack(text(sheet, "picked"), formats.percent(number(sheet, "regret"))), ""),
        (_rank(cell), "n"),
        (escape(", ".join(at(cell, "chips") or ())), "narrow"),
    ]


def _stack(main: str, below: str) -> str:
    return escape(main or formats.MISSING) + (f"<small>{escape(below)}</small>" if below else "")
