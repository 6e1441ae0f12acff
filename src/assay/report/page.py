"""One HTML file that opens offline: the verdict, the charts, the tables, the assumptions."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from assay._base.errors import InputError
from assay.report import charts, formats, sections, shell, wording
from assay.report.charts import View
from assay.report.fields import METRICS, rows, targets, text
from assay.report.standings import standings
from assay.report.styles import Style, styles


def write(comparisons: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the report of one or more comparisons (dicts as `compare --json` prints them), the first one first.

    The file appears whole or not at all. Raises InputError when it cannot be written.
    """
    page = render(comparisons)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a path that can be written") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise InputError(path, "", error.strerror or str(error), "Give a path that can be written") from None


def render(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    drawn_as = styles(list(dict.fromkeys(name for one in comparisons for name in _names(one))))
    models = [text(comparison, "model") or "model" for comparison in comparisons]
    links = [f'<a href="#model-{i}">{escape(model)}</a>' for i, model in enumerate(models)]
    return shell.page(
        title=f"{', '.join(models)}: which chips? · Assay",
        navigation=f"<nav>{''.join(links)}</nav>" if len(links) > 1 else "",
        body="\n".join(_article(comparison, i, drawn_as) for i, comparison in enumerate(comparisons)),
    )


def _names(comparison: Mapping[str, Any]) -> list[str]:
    return [text(info, "name") for info in rows(comparison, "chips")] + [text(row, "chip") for row in rows(comparison, "candidates")]


def _article(comparison: Mapping[str, Any], index: int, drawn_as: Mapping[str, Style]) -> str:
    view = View(comparison, standings(comparison), drawn_as)
    return shell.template("comparison.html").substitute(
        _plots(view),
        anchor=f"model-{index}",
        model=escape(text(comparison, "model")),
        facts=sections.facts(comparison),
        verdict=sections.verdict(comparison),
        key=sections.key(view),
        frontier_caption=sections.frontier_caption(view),
        notes=sections.remarks(comparison),
        latency_lead=sections.latency_lead(comparison),
        resources=sections.resources(),
        evidence=sections.evidence(view),
        deployments=sections.deployments(view),
        count=len(rows(comparison, "candidates")),
        candidates=sections.candidates(view),
        assumptions=sections.assumptions(view),
        version=escape(text(comparison, "assay_version")),
        seed=escape(text(comparison, "seed")),
        command=escape(text(comparison, "command")),
    )


def _plots(view: View) -> dict[str, str]:
    made = {name: shell.plot(getattr(charts, name)(view), name) for name in ("frontier", "worth", "bottleneck", "cost", "energy")}
    return made | {"latency": "".join(_latency(view, metric) for metric in METRICS)}


def _latency(view: View, metric: str) -> str:
    target = targets(view.comparison.get("slo")).get(metric)
    said = f"target {formats.seconds(target)}" if target is not None else "no target"
    return f"<div><h3>{wording.TITLES[metric]} <small>{said}</small></h3>{shell.plot(charts.latency(view, metric), 'latency')}</div>"
