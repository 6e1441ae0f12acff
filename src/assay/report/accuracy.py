"""The page of a validation: predicted against measured, errors by group beside two baselines, decisions, what was not predicted."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from assay.report import accuracy_charts as charts
from assay.report import accuracy_decisions, document
from assay.report import accuracy_sections as sections
from assay.report.errors import METRICS
from assay.report.fields import Record, text
from assay.report.fields import rows as listed
from assay.report.misses import MAIN, by
from assay.report.styles import Style, styles


def write(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the report of a validation: `result` as `validate --json` prints it, `rows` the scored numbers with their conditions.

    The file appears whole or not at all. Raises InputError when it cannot be written.
    """
    document.write(render(result, rows), path)


def render(result: Record, rows: Sequence[Record]) -> str:
    """The page as text."""
    drawn_as = styles([chip for (chip,) in by(rows, "chip")])
    body = document.template("validation.html").substitute(
        facts=sections.facts(result),
        verdict=sections.verdict(rows),
        notes=sections.remarks(result),
        key=sections.key(rows, drawn_as),
        against="".join(_against(metric, rows, drawn_as) for metric in MAIN),
        medians=sections.medians(),
        by_set="".join(_by_set(metric, result) for metric in (*MAIN, *(other for other in METRICS if other not in MAIN))),
        typical=sections.typical(result),
        by_chip=sections.heat(rows, "chip"),
        by_load=sections.heat(rows, "load"),
        decisions=accuracy_decisions.section(result),
        count=len(listed(result, "groups")),
        few=sections.FEW,
        groups=sections.groups(result),
        most=sections.WORST,
        worst=sections.worst(rows),
        peers=sections.peers(result),
        reasons=sections.reasons(result),
        assumptions=sections.assumptions(result),
        version=escape(text(result, "assay_version")),
        seed=escape(text(result, "seed")),
        command=escape(text(result, "command")),
    )
    return document.framed("Predicted against measured · Assay", body)


def _against(metric: str, rows: Sequence[Record], drawn_as: Mapping[str, Style]) -> str:
    mine = [row for row in rows if text(row, "metric") == metric]
    return f"<div>{sections.panel_head(metric, mine)}{document.plot(charts.against(metric, mine, drawn_as), 'against')}</div>"


def _by_set(metric: str, result: Record) -> str:
    groups = [group for group in listed(result, "by_set") if text(group, "metric") == metric]
    if not groups:
        return ""
    return f"<div><h3>{escape(METRICS[metric])}</h3>{document.plot(charts.by_set(groups), 'by-set')}</div>"
