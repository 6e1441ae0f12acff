"""What a run costs: dollars per hour, and per million tokens of each kind."""

from dataclasses import dataclass

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
class Flow:
    """Tokens per second of a deployment, by kind."""

    input: float
    cached: float
    output: float


def price(market: Market, chips: int, watts: float | None, outcome: Outcome, flow: Flow) -> Price:
    """Dollars per hour, blended, and split.

    The split follows the time of steps: cached input pays for attending to what was found in the prefix cache, input for the rest of
    the time that would not have passed without prefill, output for what is left; idle time is shared in the same proportion.
    """
    if market.offer is None:
        return Price(why=market.reason)
    each = dollars_per_hour(market.offer, market.ownership, watts)
    hour = each * chips
    basis = market.offer.basis
    second, total = hour / 3600, flow.input + flow.cached + flow.output
    if not total or not outcome.busy_seconds:
        return Price(hour, offer=each, basis=basis, tier=market.offer.tier, why="nothing was served")
    cached = outcome.cached_seconds / outcome.busy_seconds
    fresh = outcome.prefill_seconds / outcome.busy_seconds - cached
    return Price(
        per_hour=hour,
        blended=second / total * MILLION,
        input=second * fresh / flow.input * MILLION if flow.input else None,
        cached_input=second * cached / flow.cached * MILLION if flow.cached else None,
        output=second * (1 - fresh - cached) / flow.output * MILLION if flow.output else None,
        offer=each,
        basis=basis,
        tier=market.offer.tier,
    )
