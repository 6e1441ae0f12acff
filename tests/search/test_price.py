"""What a run costs, and that the split gives away neither more nor less."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.offers import Offer, Ownership, dollars_per_hour
from assay.search.price import Flow, Lot, Market, price
from assay.simulate import Outcome

OWNERSHIP = Ownership.load()


def offered(dollars: float, basis: str = "rent") -> Market:
    """A market in which the chip is sold so."""
    return Market(Offer(chip="h100-sxm", basis=basis, tier="cloud", dollars=dollars, source="test", date="2026"), OWNERSHIP)


NOBODY = Market(None, OWNERSHIP, "no offer of tier x for this chip")


def lot(dollars: float, chips: int, chip: str = "a") -> Lot:
    """Chips that are rented at so many dollars an hour each."""
    return Lot(chip, chips, None, offered(dollars))


def outcome(busy: float, prefill: float = 0.0, cached: float = 0.0) -> Outcome:
    """A simulation whose steps took so long."""
    return replace(Outcome.empty(np.zeros(1)), busy_seconds=busy, prefill_seconds=prefill, cached_seconds=cached)


@given(
    dollars=st.floats(0.1, 100),
    chips=st.integers(1, 512),
    busy=st.floats(1, 1e5),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    flows=st.tuples(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6)),
    hits=st.booleans(),
)
def test_the_split_pays_the_whole(
    dollars: float, chips: int, busy: float, shares: tuple[float, float], flows: tuple[float, float, float], hits: bool
) -> None:
    """Tokens of each kind times their prices are the dollars per second, and so are all tokens times the blended price."""
    prefill = busy * shares[0]
    cached = prefill * shares[1] if hits else 0.0
    flow = Flow(flows[0], flows[1] if hits else 0.0, flows[2])
    found = price([lot(dollars, chips)], outcome(busy, prefill, cached), flow)
    second = dollars * chips / 3600
    parts = ((flow.input, found.input), (flow.cached, found.cached_input), (flow.output, found.output))
    paid = sum(tokens * (each or 0.0) for tokens, each in parts) / 1e6
    assert paid == pytest.approx(second, rel=1e-9)
    assert found.blended * (flow.input + flow.cached + flow.output) / 1e6 == pytest.approx(second, rel=1e-9)
    assert (found.cached_input is None) == (not hits)
    assert all(each is None or each >= -1e-9 for _, each in parts)
    assert found.per_hour == pytest.approx(dollars * chips)


def test_a_price_by_hand() -> None:
    """Ten chips at 3.6 $/h are a cent a second: half of busy time is prefill, a tenth of it all attends to cached prefixes."""
    found = price([lot(3.6, 10)], outcome(100.0, 50.0, 10.0), Flow(1000.0, 4000.0, 500.0))
    assert (found.per_hour, found.offer, found.basis, found.tier) == (36.0, 3.6, "rent", "cloud")
    assert found.input == pytest.approx(0.01 * 0.4 / 1000 * 1e6)
    assert found.cached_input == pytest.approx(0.01 * 0.1 / 4000 * 1e6)
    assert found.output == pytest.approx(0.01 * 0.5 / 500 * 1e6)
    assert found.blended == pytest.approx(0.01 / 5500 * 1e6)
    assert found.why is None


def test_no_offer_no_price() -> None:
    """Without an offer every price is unknown and the reason is told."""
    found = price([Lot("a", 8, 1000.0, NOBODY)], outcome(1.0), Flow(1, 1, 1))
    assert found.why == "no offer of tier x for this chip"
    assert {value for key, value in vars(found).items() if key != "why"} == {None}


@pytest.mark.parametrize(("busy", "flow"), [(0.0, Flow(1, 0, 1)), (1.0, Flow(0, 0, 0))])
def test_nothing_served_costs_by_the_hour_alone(busy: float, flow: Flow) -> None:
    """Chips that served nothing cost dollars per hour and no price per token."""
    found = price([lot(2.0, 4)], outcome(busy), flow)
    assert (found.per_hour, found.offer, found.basis, found.why) == (8.0, 2.0, "rent", "nothing was served")
    assert found.blended is found.input is found.cached_input is found.output is None


def test_owned_chips_cost_price_and_power() -> None:
    """A purchase costs its price over its life and its power, as the offer says of one chip-hour."""
    market = offered(30_000.0, "purchase")
    found = price([Lot("a", 8, 1500.0, market)], outcome(1.0, 0.5), Flow(10, 0, 10))
    assert found.offer == dollars_per_hour(market.offer, OWNERSHIP, 1500.0)
    assert found.per_hour == pytest.approx(8 * found.offer)
    assert found.basis == "purchase"


def test_unlike_chips_cost_what_each_costs() -> None:
    """Dollars per hour add up over the lots; where they differ there is no one price of a chip-hour."""
    found = price([lot(2.0, 4, "a"), lot(3.0, 2, "b")], outcome(1.0, 0.5), Flow(500, 0, 500))
    assert (found.per_hour, found.offer, found.basis, found.tier) == (14.0, None, "rent", "cloud")
    assert found.blended == pytest.approx(14.0 / 3600 / 1000 * 1e6)
    assert price([lot(2.0, 4), lot(2.0, 2)], outcome(1.0), Flow(1, 0, 1)).offer == 2.0
    owned = Lot("b", 1, 1000.0, offered(30_000.0, "purchase"))
    assert price([lot(2.0, 1), owned], outcome(1.0), Flow(1, 0, 1)).basis == "rent + purchase"


def test_one_lot_without_an_offer_leaves_all_without_a_price() -> None:
    """The reason names the chip."""
    found = price([lot(2.0, 4), Lot("b", 8, None, NOBODY), Lot("b", 1, None, NOBODY)], outcome(1.0), Flow(1, 1, 1))
    assert (found.per_hour, found.blended, found.why) == (None, None, "b: no offer of tier x for this chip")
