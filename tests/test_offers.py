"""Offers: which one prices a chip, and what it comes to by the hour."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay import offers
from assay._base.catalogue import names
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay.offers import Offer, Ownership, choose, dollars_per_hour

BASES = ("rent", "tco", "purchase")
OWNERSHIP = Ownership(
    life=Fact(4.0), hours_per_year=Fact(8760.0), power_usage_effectiveness=Fact(1.25), dollars_per_kilowatt_hour=Fact(0.08)
)
GOOD = """
[[offer]]
chip = "h100-sxm"
basis = "rent"
tier = "spot"
dollars = 1.0
source = "a price list"
date = 2026-11-01
"""


def _offer(basis: str = "rent", dollars: float = 2.0, tier: str = "t", chip: str = "c") -> Offer:
    return Offer(chip=chip, basis=basis, tier=tier, dollars=dollars, source="s", date="2026")


some_offers = st.lists(
    st.builds(_offer, st.sampled_from(BASES), st.floats(0.01, 1e6), st.sampled_from(["x", "y"]), st.sampled_from(["c", "d"])), max_size=8
)


@given(some_offers, st.sampled_from([None, "x", "y"]))
def test_the_chosen_offer_is_the_cheapest_of_the_first_basis(given_offers: list[Offer], tier: str | None) -> None:
    """Rent goes before tco before purchase, the cheapest within; a tier leaves only that tier; nothing gives None."""
    fitting = [offer for offer in given_offers if offer.chip == "c" and tier in (None, offer.tier)]
    best = choose(given_offers, "c", tier)
    if best is None:
        assert fitting == []
        return
    first = min(BASES.index(offer.basis) for offer in fitting)
    assert best in fitting
    assert BASES.index(best.basis) == first
    assert best.dollars == min(offer.dollars for offer in fitting if offer.basis == BASES[first])


@given(some_offers, st.randoms())
def test_the_choice_does_not_depend_on_the_order(given_offers: list[Offer], random: Random) -> None:
    """Shuffled offers give the same choice."""
    shuffled = list(given_offers)
    random.shuffle(shuffled)
    assert choose(shuffled, "c") == choose(given_offers, "c")


@given(st.sampled_from(["rent", "tco"]), st.floats(0.01, 1e3), st.none() | st.floats(0, 1e5))
def test_an_hourly_price_is_taken_as_it_is(basis: str, dollars: float, watts: float | None) -> None:
    """Rent and tco already cover power: watts change nothing."""
    assert dollars_per_hour(_offer(basis, dollars), OWNERSHIP, watts) == dollars


def test_a_purchase_is_written_off_and_powered() -> None:
    """35,040 dollars over four years are a dollar an hour; 1 kW at PUE 1.25 and 8 cents are ten cents more."""
    offer = _offer("purchase", 35040.0)
    assert dollars_per_hour(offer, OWNERSHIP, None) == pytest.approx(1.0)
    assert dollars_per_hour(offer, OWNERSHIP, 1000.0) == pytest.approx(1.1)


@given(st.floats(1, 1e7), st.floats(0, 1e5), st.floats(1, 1e5))
def test_owning_costs_more_with_more_watts(dollars: float, watts: float, more: float) -> None:
    """The hour of an owned chip grows with its power and never falls below the price part."""
    offer = _offer("purchase", dollars)
    price, low, high = (dollars_per_hour(offer, OWNERSHIP, value) for value in (None, watts, watts + more))
    assert price <= low < high


def test_shipped_offers_load_and_name_known_chips() -> None:
    """Every shipped offer names a catalogue chip by its catalogue name, with a source and a date."""
    shipped = offers.load()
    assert {offer.chip for offer in shipped} <= set(names("chips"))
    assert all(offer.source and offer.date for offer in shipped)


def test_no_shipped_offer_stands_twice() -> None:
    """Chip, basis and tier together are unique, so that a tier names one price."""
    keys = [(offer.chip, offer.basis, offer.tier) for offer in offers.load()]
    assert len(keys) == len(set(keys))


def test_shipped_ownership_is_sourced_and_bounded() -> None:
    """The four assumptions carry a source; where they have bounds, the value lies inside."""
    for fact in vars(Ownership.load()).values():
        assert fact.source
        assert fact.confidence
        assert (fact.low or fact.value) <= fact.value <= (fact.high or fact.value)


def test_an_extra_file_adds_offers_by_alias_or_chip_file(tmp_path: Path) -> None:
    """An alias becomes the catalogue name, a chip file its stem; a TOML date is taken as text."""
    path = tmp_path / "offers.toml"
    path.write_text(GOOD.replace("h100-sxm", "H100") + GOOD.replace("h100-sxm", "chips/mine.toml"), encoding="utf-8")
    added = offers.load([path])[-2:]
    assert [offer.chip for offer in added] == ["h100-sxm", "mine"]
    assert added[0].date == "2026-11-01"
    assert choose(added, "mine", "spot") == added[1]


def test_an_offer_becomes_json() -> None:
    """What is absent is left out."""
    assert _offer().to_dict() == {"chip": "c", "basis": "rent", "tier": "t", "dollars": 2.0, "source": "s", "date": "2026"}


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ('chip = "h100-sxm"', 'chip = "h100-smx"', "offer[0].chip", "no such entry"),
        ('basis = "rent"', 'basis = "lease"', "offer[0].basis", "is not known"),
        ("dollars = 1.0", "dollars = -1.0", "offer[0].dollars", "is -1.0, below 1e-06"),
        ("dollars = 1.0", 'dollars = "one"', "offer[0].dollars", "must be number"),
        ("dollars = 1.0\n", "", "offer[0].dollars", "is missing"),
        ("dollars = 1.0", "dollars = 1.0\nlow = 2.0", "offer[0].low", "where dollars is 1.0"),
        ("dollars = 1.0", "dollars = 1.0\nhigh = 0.5", "offer[0].high", "where dollars is 1.0"),
        ("tier =", "teir =", "offer[0].teir", "unknown field"),
        (GOOD, "", "offer", "is missing"),
    ],
)
def test_a_wrong_offers_file_is_named_with_field_and_remedy(tmp_path: Path, old: str, new: str, field: str, problem: str) -> None:
    """Each mistake raises one InputError that names file, field and remedy."""
    path = tmp_path / "offers.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        offers.load([path])
    assert (caught.value.file, caught.value.field) == (str(path), field)
    assert problem in str(caught.value)
    assert caught.value.remedy
