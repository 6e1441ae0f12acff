"""How each chip of a comparison stands: its best and its fastest deployment."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from assay.report.fields import Record, number, quantile, rows, targets, text


@dataclass(frozen=True)
class Standing:
    """One chip.

    `best` is its cheapest deployment that meets the targets (the fewest chips where it has no price), else the one that comes nearest,
    None where nothing fits; `fastest` likewise by mean TPOT. `candidates` are all of its deployments that have figures.
    """

    name: str
    title: str
    info: Record
    candidates: Sequence[Record]
    best: Record | None
    fastest: Record | None
    why_not: str

    @property
    def feasible(self) -> bool:
        """Whether a deployment meets the targets."""
        return self.best is not None and bool(self.best.get("feasible"))

    @property
    def offer(self) -> float | None:
        """Dollars per chip-hour that it is offered for."""
        return number(self.best, "offer")

    @property
    def worth(self) -> float | None:
        """Dollars per chip-hour at which its best deployment ties the cheapest other way; the most that any of its deployments is worth."""
        known = [value for row in self.candidates if (value := number(row, "worth")) is not None]
        return max(known, default=None)


def standings(comparison: Record) -> list[Standing]:
    """Every chip, best first: those that meet the targets by cost, then those without a price, then the rest, nearest first."""
    infos = {text(info, "name"): info for info in rows(comparison, "chips")}
    names = dict.fromkeys([*infos, *(text(row, "chip") for row in rows(comparison, "candidates"))])
    slo = comparison.get("slo")
    found = [_standing(name, infos.get(name, {}), comparison) for name in names]
    return sorted(found, key=lambda standing: order(standing.best, slo))


def _standing(name: str, info: Record, comparison: Record) -> Standing:
    mine = [row for row in rows(comparison, "candidates") if text(row, "chip") == name]
    fits = [row for row in mine if number(row, "tpot", "mean") is not None or number(row, "chips") is not None]
    served = [row for row in fits if row.get("feasible")]
    best = min(fits, key=lambda row: order(row, comparison.get("slo")), default=None)
    fastest = min(served or fits, key=lambda row: _or_inf(number(row, "tpot", "mean")), default=None)
    best, fastest = _named(served, chosen(comparison, "cost"), best), _named(served, chosen(comparison, "latency"), fastest)
    why = text(best, "why_not") if best else next(filter(None, (text(row, "why_not") for row in mine)), "")
    return Standing(name, text(info, "title") or name, info, tuple(fits), best, fastest, why)


def _named(served: Sequence[Record], named: Record | None, own: Record | None) -> Record | None:
    """The one that the comparison names best of all, if it is among `served`: so ties go to the one it names."""
    return next((row for row in served if row is named), own)


def order(run: Record | None, slo: Record | None) -> tuple[float, ...]:
    """Sort key of a deployment: meets the targets, then has a price and is cheap, then few chips, then fast; else how far it is off."""
    if run is None:
        return (3.0,)
    cost, chips, mean = number(run, "cost_per_million_tokens"), number(run, "chips"), number(run, "tpot", "mean")
    if run.get("feasible"):
        return (0.0 if cost is not None else 1.0, _or_inf(cost if cost is not None else chips), _or_inf(mean))
    return (2.0, _excess(run, slo), _or_inf(cost))


def _excess(run: Record, slo: Record | None) -> float:
    """How many times over its target the worst metric is; an unstable run is worse than any that is stable."""
    over = [(number(run, metric, quantile(slo)) or inf) / target for metric, target in targets(slo).items() if target > 0]
    return max(over, default=1.0) * (1.0 if run.get("stable") else 1e6)


def _or_inf(value: float | None) -> float:
    return inf if value is None else value


def chosen(comparison: Record, by: str) -> Record | None:
    """The candidate that the comparison itself names best by `cost`, `latency` or `energy`, None unless it meets the targets."""
    index, candidates = number(comparison, "best", by), rows(comparison, "candidates")
    run = candidates[int(index)] if index is not None and 0 <= index < len(candidates) else {}
    return run if run.get("feasible") else None
