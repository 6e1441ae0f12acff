"""What a run costs, and that the split gives away neither more nor less."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.offers import Offer, Ownership, dollars_per_hour
from assay.search.price import Flow, Market, price
from assay.simulate import Outcome

OWNERSHIP = Ownership.load()


def offered(dollars: float, basis: str = "rent") -> Market:
    """A market in which the chip is sold so."""
    return Market(Offer(chip="h100-sxm", basis=basis, tier="cloud", dollars=dollars, source="test", date="2026"), OWNERSHIP)


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
    found = price(offered(dollars), chips, None, outcome(busy, prefill, cached), flow)
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
    found = price(offered(3.6), 10, None, outcome(100.0, 50.0, 10.0), Flow(1000.0, 4000.0, 500.0))
    assert (found.per_hour, found.offer, found.basis, found.tier) == (36.0, 3.6, "rent", "cloud")
    assert found.input == pytest.approx(0.01 * 0.4 / 1000 * 1e6)
    assert found.cached_input == pytest.approx(0.01 * 0.1 / 4000 * 1e6)
    assert found.output == pytest.approx(0.01 * 0.5 / 500 * 1e6)
    assert found.blended == pytest.approx(0.01 / 5500 * 1e6)
    assert found.why is None


def test_no_offer_no_price() -> None:
    """Without an offer every price is unknown and the reason is told."""
    found = price(Market(None, OWNERSHIP, "no offer of tier x for this chip"), 8, 1000.0, outcome(1.0), Flow(1, 1, 1))
    assert found.why == "no offer of tier x for this chip"
    assert {value for key, value in vars(found).items() if key != "why"} == {None}


@pytest.mark.parametrize(("busy", "flow"), [(0.0, Flow(1, 0, 1)), (1.0, Flow(0, 0, 0))])
def test_nothing_served_costs_by_the_hour_alone(busy: float, flow: Flow) -> None:
    """Chips that served nothing cost dollars per hour and no price per token."""
    found = price(offered(2.0), 4, None, outcome(busy), flow)
    assert (found.per_hour, found.offer, found.basis, found.why) == (8.0, 2.0, "rent", "nothing was served")
    assert found.blended is found.input is found.cached_input is found.output is None


def test_owned_chips_cost_price_and_power() -> None:
    """A purchase costs its price over its life and its power, as the offer says of one chip-hour."""
    market = offered(30_000.0, "purchase")
    found = price(market, 8, 1500.0, outcome(1.0, 0.5), Flow(10, 0, 10))
    assert found.offer == dollars_per_hour(market.offer, OWNERSHIP, 1500.0)
    assert found.per_hour == pytest.approx(8 * found.offer)
    assert found.basis == "purchase"
