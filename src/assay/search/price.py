"""What a run costs: dollars per hour, and per million tokens of each kind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.offers import Offer, Ownership, dollars_per_hour
from assay.search.runs import Price
from assay.simulate import Outcome

MILLION = 1e6


@dataclass(frozen=True)
class Market:
    """The offer that prices a chip, if there is one, and what owning costs."""

    offer: Offer | None
    ownership: Ownership
    reason: str = "no offer for this chip"


@dataclass(frozen=True)
class Lot:
    """Like chips of a deployment: how many, how they are sold, and the watts that a site provides for each (None: unknown)."""

    chip: str
    chips: int
    watts: float | None
    market: Market


@dataclass(frozen=True)
class Flow:
    """Tokens per second of a deployment, by kind."""

    input: float
    cached: float
    output: float


def price(lots: Sequence[Lot], outcome: Outcome, flow: Flow) -> Price:
    """Dollars per hour of all lots, each at its own offer, blended over the tokens, and split.

    The split follows the time of steps: cached input pays for attending to what was found in the prefix cache, input for the rest of
    the time that would not have passed without prefill, output for what is left; idle time is shared in the same proportion.
    """
    lacking = [_reason(lot, lots) for lot in lots if lot.market.offer is None]
    if lacking:
        return Price(why="; ".join(dict.fromkeys(lacking)))
    held = _held(lots)
    assert held.per_hour is not None
    second, total = held.per_hour / 3600, flow.input + flow.cached + flow.output
    if not total or not outcome.busy_seconds:
        return replace(held, why="nothing was served")
    cached = outcome.cached_seconds / outcome.busy_seconds
    fresh = outcome.prefill_seconds / outcome.busy_seconds - cached
    return replace(
        held,
        blended=second / total * MILLION,
        input=second * fresh / flow.input * MILLION if flow.input else None,
        cached_input=second * cached / flow.cached * MILLION if flow.cached else None,
        output=second * (1 - fresh - cached) / flow.output * MILLION if flow.output else None,
    )


def _held(lots: Sequence[Lot]) -> Price:
    """What it costs to have the chips, by the hour."""
    offers = [(lot.market.offer, lot) for lot in lots if lot.market.offer]
    each = [dollars_per_hour(offer, lot.market.ownership, lot.watts) for offer, lot in offers]
    return Price(
        per_hour=sum(dollars * lot.chips for dollars, lot in zip(each, lots, strict=True)),
        offer=each[0] if len(set(each)) == 1 else None,
        basis=" + ".join(dict.fromkeys(offer.basis for offer, _ in offers)),
        tier=" + ".join(dict.fromkeys(offer.tier for offer, _ in offers)),
    )


def _reason(lot: Lot, lots: Sequence[Lot]) -> str:
    several = len({other.chip for other in lots}) > 1
    return f"{lot.chip}: {lot.market.reason}" if several else lot.market.reason
