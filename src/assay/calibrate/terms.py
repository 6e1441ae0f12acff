"""What is fitted: the constants that may move, how far they may at each level, and the noise of what they are fitted to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from assay._base.schema import DATA, read
from assay.cost.constants import generic_facts
from assay.points import Number
from assay.steptime import Floats

CLIENT = "client"
CERTAIN = 1e-3  # of a logarithm: a constant that does not move
ENDLESS = 1e9  # degrees of freedom: a normal distribution
WIDER = 3.0  # normal priors are so much wider than the scale of those with heavy tails
QUARTER, SYSTEM = "quarter", "system"
LEVELS = ("generic", CLIENT, "engine", "family", "pair", "chip", QUARTER, SYSTEM)


@dataclass(frozen=True)
class Terms:
    """Constants by `table.key` with the spread of their logarithm, and the share of it that each level may take.

    A level's factors follow Student's t of `freedom` degrees, scaled by the spread; those of one table are correlated by `likeness`.
    """

    names: tuple[str, ...]
    spread: tuple[float, ...]
    shares: Mapping[str, float]
    noise: Mapping[str, float]
    likeness: float
    freedom: float
    software: Mapping[str, float] = field(default_factory=dict)
    of_software: tuple[str, ...] = ()
    of_client: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    robust: float = 1.5  # errors beyond so many times their noise count less and less

    def widths(self, level: str) -> Floats:
        """Standard deviation of the logarithm of each constant at a level above the generic one, (J,)."""
        if level == CLIENT:
            return np.where(np.isin(self.names, self.of_client), self.shares[level] * np.array(self.spread), CERTAIN)
        share = np.full(len(self.names), self.shares[level])
        for place, name in enumerate(self.names):
            if name.partition(".")[0] in self.of_software:
                share[place] = self.software.get(level, share[place])
        widths: Floats = np.maximum(share * np.array(self.spread), CERTAIN)
        return widths

    @property
    def root(self) -> Floats:
        """A root of the correlation of what a level does to constants, (J, J): `likeness` within a table, none of `unlike`."""
        tables = np.array([name if name in self.unlike else name.partition(".")[0] for name in self.names])
        alike = np.where(tables[:, None] == tables[None, :], self.likeness, 0.0)
        np.fill_diagonal(alike, 1.0)
        return np.linalg.cholesky(alike)

    def sigma(self, number: Number) -> float:
        """Standard deviation of the logarithm of a measured number."""
        tail = number.statistic in ("p95", "p99", "p999")
        sigma = self.noise["ttft" if number.metric == "ttft" else "other"] * self.noise.get(number.quality, 1.0)
        return sigma * (self.noise["tail"] if tail else 1.0)

    @property
    def wide(self) -> "Terms":
        """The same with normal priors that hold little back, by which a fit from nothing begins."""
        return replace(self, spread=tuple(WIDER * each for each in self.spread), freedom=ENDLESS)

    def without(self, name: str) -> "Terms":
        """The same with one constant left at its generic value."""
        kept = [place for place, other in enumerate(self.names) if other != name]
        return replace(self, names=tuple(self.names[place] for place in kept), spread=tuple(self.spread[place] for place in kept))


@cache
def terms() -> Terms:
    """The terms of data/calibration/fit.toml."""
    found: dict[str, Any] = read(DATA / "calibration" / "fit.toml", "fit")
    spread = {f"{table}.{key}": float(fact.value) for table, facts in found["spread"].items() for key, fact in facts.items()}
    shares, noise = ({key: float(fact.value) for key, fact in found[name].items()} for name in ("level", "noise"))
    software = dict(found["software"])
    of_software = tuple(software.pop("tables"))
    shared = {key: float(fact.value) for key, fact in software.items()}
    likeness, freedom = (float(found[name].value) for name in ("likeness", "freedom"))
    of_client, unlike = tuple(found["client"]["constants"]), tuple(found.get("unlike", ()))
    return Terms(tuple(spread), tuple(spread.values()), shares, noise, likeness, freedom, shared, of_software, of_client, unlike)


def ignorance(name: str, execution: str) -> float:
    """Standard deviation of the logarithm of a generic constant: its interval holds it with a chance of 90 %."""
    table, _, key = name.partition(".")
    fact = generic_facts(execution)[table][key]
    if not (fact.low and fact.high):
        return 0.0
    return math.log(fact.high / fact.low) / (2 * 1.645)
