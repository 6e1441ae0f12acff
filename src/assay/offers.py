"""Who sells which chip at what price, and what owning one costs by the hour."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay._base.schema import DATA, read

_BASES = ("rent", "tco", "purchase")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A price of one chip in dollars: per hour when `basis` is rent or tco, once when it is purchase.

    `chip` is a catalogue name, or the stem of a chip file. `low` and `high` bound the price where sources differ.
    """

    chip: str
    basis: str
    tier: str
    dollars: float
    low: float | None = None
    high: float | None = None
    includes: tuple[str, ...] = ()
    term: str = ""
    supply: int | None = None
    source: str
    date: str
    notes: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The offer as JSON knows it, what is absent left out."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items() if value not in (None, "", ())}


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """What turns a purchase price into dollars per hour: `life` in years, tariff in $/kWh, facility power over equipment power."""

    life: Fact[float]
    hours_per_year: Fact[float]
    power_usage_effectiveness: Fact[float]
    dollars_per_kilowatt_hour: Fact[float]

    @classmethod
    def load(cls, file: Path = DATA / "ownership.toml") -> "Ownership":
        """Read the assumptions from a file, by default the shipped ones; InputError when it is not one."""
        return cls(**read(file, "ownership"))


def load(extra: Sequence[Path] = ()) -> tuple[Offer, ...]:
    """The offers of the catalogue and of `extra` files, in file order.

    Raises InputError naming file, field and remedy when a file is wrong or an offer's chip is unknown.
    """
    files = [*sorted((DATA / "offers").glob("*.toml")), *extra]
    return tuple(offer for file in files for offer in _read(file))


def dollars_per_hour(offer: Offer, ownership: Ownership, watts: float | None) -> float:
    """Dollars per chip-hour: rent and tco as they are; purchase = price / (life x hours) + watts x PUE x tariff.

    `watts` is the provisioned power of the chip with its share of the rack; without it a purchase counts its price alone.
    """
    if offer.basis != "purchase":
        return offer.dollars
    price = offer.dollars / (ownership.life.value * ownership.hours_per_year.value)
    if watts is None:
        return price
    return price + watts / 1000 * ownership.power_usage_effectiveness.value * ownership.dollars_per_kilowatt_hour.value


def choose(offers: Sequence[Offer], chip_name: str, tier: str | None = None) -> Offer | None:
    """The offer that prices a chip: of `tier` when it is given, else rent before tco before purchase; the cheapest of its basis.

    None when nobody offers the chip so.
    """
    fitting = [offer for offer in offers if offer.chip == chip_name and tier in (None, offer.tier)]
    return min(fitting, key=lambda offer: (_BASES.index(offer.basis), offer.dollars, offer.tier, offer.source, offer.date), default=None)


def _read(file: Path) -> Iterator[Offer]:
    rows = read(file, "offer").get("offer", [])
    if not rows:
        raise InputError(file, "offer", "is missing", "Add at least one [[offer]]")
    for i, row in enumerate(rows):
        place = f"offer[{i}]"
        _check_bounds(row, file, place)
        yield Offer(**{**row, "chip": _chip_name(row["chip"], file, place), "includes": tuple(row.get("includes", ()))})


def _check_bounds(row: dict[str, Any], file: Path, place: str) -> None:
    for key, wrong in (("low", row.get("low", 0) > row["dollars"]), ("high", row.get("high", row["dollars"]) < row["dollars"])):
        if wrong:
            raise InputError(file, f"{place}.{key}", f"is {row[key]} where dollars is {row['dollars']}", "Give low <= dollars <= high")


def _chip_name(reference: str, file: Path, place: str) -> str:
    try:
        return find("chips", reference).stem
    except InputError as error:
        raise InputError(file, f"{place}.chip", f"{reference!r}: {error.problem}", error.remedy) from None
