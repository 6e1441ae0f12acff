"""The verdict in two sentences, and the notes under it; the page and the terminal say the same."""

from dataclasses import dataclass

from assay.report import formats, wording
from assay.report.fields import Record, interactivity, number, quantile, targets, text
from assay.report.standings import Standing, chosen, standings


@dataclass(frozen=True)
class Sentence:
    """One sentence: its first words, which name what it is about, and the rest."""

    lead: str
    rest: str

    def __str__(self) -> str:
        """The sentence as one line."""
        return f"{self.lead}: {self.rest}"


def sentences(comparison: Record) -> tuple[Sentence, Sentence]:
    """Which chip is cheapest and which fastest; or that nothing meets the targets, and what comes nearest."""
    found = standings(comparison)
    served = [standing for standing in found if standing.feasible]
    if not served:
        return _nothing(comparison, found)
    cheapest = _named(found, chosen(comparison, "cost"), served[0].best)
    quickest = max((standing.fastest or {} for standing in served), key=lambda run: interactivity(run) or 0.0)
    fastest = _named(found, chosen(comparison, "latency"), quickest)
    if cheapest[0] is not fastest[0]:
        return _cheapest(*cheapest, comparison), Sentence("Fastest", f"{_what(*fastest)} {_speed(fastest[1])}, {_price(fastest[1])}.")
    first = _cheapest(*cheapest, comparison)
    both = "Cheapest and fastest" if first.lead == "Cheapest" else "Fewest chips and fastest"
    second = next((s for s in served if s is not cheapest[0]), None)
    return Sentence(both, first.rest), _next(second, cheapest[1]) if second else _alone(cheapest[1])


def _named(found: list[Standing], named: Record | None, otherwise: Record | None) -> tuple[Standing, Record]:
    run = named or otherwise or {}
    return next(standing for standing in found if standing.name == text(run, "chip")), run


def _what(standing: Standing, run: Record) -> str:
    engine, parts = wording.engine(run), wording.deployment(run)
    return f"{formats.count(number(run, 'chips'))} × {standing.title}{f' under {engine}' if engine else ''}{f' ({parts})' if parts else ''}"


def _cheapest(standing: Standing, run: Record, comparison: Record) -> Sentence:
    goals = wording.goals(comparison.get("slo"))
    within = f"within {goals}" if goals else "with no latency target"
    cost = number(run, "cost_per_million_tokens")
    if cost is None:
        return Sentence("Fewest chips", f"{_what(standing, run)} {within}; nothing that meets the targets has a price.")
    return Sentence("Cheapest", f"{_what(standing, run)} at {formats.dollars(cost)} per million tokens {within}.")


def _speed(run: Record) -> str:
    return f"at {formats.digits(interactivity(run))} tokens/s per user"


def _price(run: Record) -> str:
    cost, worth = number(run, "cost_per_million_tokens"), number(run, "worth")
    if cost is not None:
        return f"{formats.dollars(cost)} per million tokens"
    return "without an offer" + (f"; worth {formats.dollars(worth)} per chip-hour" if worth is not None else "")


def _next(standing: Standing, first: Record) -> Sentence:
    run = standing.best or {}
    cost, least = number(run, "cost_per_million_tokens"), number(first, "cost_per_million_tokens")
    more = f" ({(cost / least - 1) * 100:+.0f} %)" if cost is not None and least else ""
    return Sentence("Next", f"{_what(standing, run)} {_speed(run)}, {_price(run)}{more}.")


def _alone(run: Record) -> Sentence:
    power, joules = formats.scaled(number(run, "power"), "W"), formats.scaled(number(run, "joules_per_token"), "J")
    return Sentence("It gives", f"{formats.digits(interactivity(run))} tokens/s per user, {joules} per output token, {power} provisioned.")


def _nothing(comparison: Record, found: list[Standing]) -> tuple[Sentence, Sentence]:
    goals = wording.goals(comparison.get("slo"))
    chips = f"none of the {len(found)} compared chips serves" if len(found) > 1 else "the chip does not serve"
    traffic = wording.load(comparison.get("workload"))
    first = Sentence("Nothing meets the targets", f"{chips} {traffic}{f' within {goals}' if goals else ''}.")
    if not found or found[0].best is None:
        reasons = "; ".join(f"{standing.title}, {standing.why_not}" for standing in found[:1] if standing.why_not)
        return first, Sentence("Why", f"{reasons or 'nothing was compared'}.")
    return first, Sentence("Closest", f"{_what(found[0], found[0].best)}: {_shortfall(found[0], comparison)}.")


def _shortfall(standing: Standing, comparison: Record) -> str:
    if standing.why_not:
        return standing.why_not.rstrip(".")
    tail, missed = quantile(comparison.get("slo")), []
    for metric, target in targets(comparison.get("slo")).items():
        value = number(standing.best, metric, tail)
        if value is not None and value > target:
            missed.append(f"{tail} {wording.TITLES[metric]} {formats.seconds(value)} against {formats.seconds(target)}")
    return ", ".join(missed) or "the backlog grows"


def notes(comparison: Record) -> list[str]:
    """What a reader must know beside the verdict: how sure it is, chips left out and why, chips without an offer, bases, thin evidence."""
    found = standings(comparison)
    doubt = number(comparison, "doubt", "cost")
    said = (
        []
        if doubt is None
        else [f"By the error bands of both, the likeliest rival is cheaper in truth with a chance of {formats.percent(doubt)}."]
    )
    said += [f"{s.title} does not meet the targets{_because(s.why_not)}" for s in found if s.best is not None and not s.feasible]
    said += [f"{s.title} has no deployment{_because(s.why_not)}" for s in found if s.best is None]
    unpriced = [s.title for s in found if s.feasible and number(s.best, "cost_per_hour") is None]
    if unpriced:
        said.append(f"No offer for {', '.join(unpriced)}: ranked by worth, the price at which it would tie the cheapest other chip.")
    bases = sorted({text(s.best, "cost_basis") for s in found if s.feasible} - {""})
    if len(bases) > 1:
        said.append(f"Prices are on different bases ({', '.join(bases)}); compare them with care.")
    thin = [s.title for s in found if s.feasible and wording.label(s.best or {}) == "spec-only"]
    if thin:
        said.append(f"Predicted from specifications alone, with a wide error band: {', '.join(thin)}.")
    return said


def _because(reason: str) -> str:
    return f": {reason.rstrip('.')}." if reason else "."
