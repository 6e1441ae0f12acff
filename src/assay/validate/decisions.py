"""The error of the decision: how often the chip that was predicted to be cheapest per token was it, and what following it would cost."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from assay import offers
from assay.offers import Offer
from assay.validate.choice import FEWEST, Choice, chosen
from assay.validate.options import Option

LEVELS = (10.0, 20.0, 50.0, 100.0)  # output tokens per second of one user
BASIS = "rent"


@dataclass(frozen=True)
class Summary:
    """Some decisions together: how many, the share that picked a cheapest chip (`right`), and how many `failed`.

    A decision fails when nothing is predicted to reach the interactivity, or nothing of the chip that is picked does. Of the others the
    mean and 90th percentile of regret (fractions), and the mean of what was lost (dollars per million output tokens). `rank_correlation`
    is the mean of those that are defined. None where there is nothing to take the mean of.
    """

    decisions: int
    right: float | None
    mean_regret: float | None
    p90_regret: float | None
    lost: float | None
    failed: int
    rank_correlation: float | None

    @classmethod
    def of(cls, made: Sequence[Choice]) -> "Summary":
        """Of decisions in any order."""
        regrets = [each.regret for each in made if each.regret is not None]
        return cls(
            len(made),
            _mean(each.right for each in made),
            _mean(regrets),
            float(np.quantile(regrets, 0.9)) if regrets else None,
            _mean(each.lost for each in made),
            len(made) - len(regrets),
            _mean(each.rank_correlation for each in made),
        )


@dataclass(frozen=True)
class Decisions:
    """All decisions, and the same ones by the data sheet alone, at the offers of `prices`; chips `left_out` have runs and no such offer."""

    made: tuple[Choice, ...]
    datasheet: tuple[Choice, ...]
    prices: Mapping[str, Offer]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that the command line promises; regrets are fractions of the cheapest, prices dollars per chip-hour."""
        loads = sorted({each.traffic.load for each in self.made})
        return {
            **self._summaries(),
            "by_load": [{"load": load, **self._summaries(load)} for load in loads],
            "basis": BASIS,
            "prices": {chip: {"dollars": offer.dollars, "tier": offer.tier} for chip, offer in self.prices.items()},
            "left_out": list(self.left_out),
            "cells": [
                {**each.to_dict(), "datasheet": {name: getattr(sheet, name) for name in ("picked", "right", "paid", "regret")}}
                for each, sheet in zip(self.made, self.datasheet, strict=True)
            ],
        }

    def _summaries(self, load: str | None = None) -> dict[str, Any]:
        """Of one kind of load, or of all."""
        ours, sheet = ([each for each in made if load in (None, each.traffic.load)] for made in (self.made, self.datasheet))
        return {**vars(Summary.of(ours)), "datasheet": vars(Summary.of(sheet))}


def decided(options: Sequence[Option], listed: Iterable[Offer]) -> Decisions:
    """Decide for each traffic of which three or more chips have runs and a price, at each interactivity that one of them reaches.

    A chip-hour costs what the cheapest of the `listed` offers that rent it asks.
    """
    rents = [offer for offer in listed if offer.basis == BASIS]
    chips = sorted({option.chip for option in options})
    prices = {chip: offer for chip in chips if (offer := offers.choose(rents, chip))}
    cells = list(_cells([option for option in options if option.chip in prices]))
    made, sheet = (tuple(chosen(runs, level, attrgetter(view), prices) for level, runs in cells) for view in ("predicted", "sheet"))
    return Decisions(made, sheet, prices, tuple(chip for chip in chips if chip not in prices))


def _cells(options: Iterable[Option]) -> Iterator[tuple[float | None, Sequence[Option]]]:
    """An interactivity, and the runs of one traffic."""
    traffics: dict[Any, list[Option]] = {}
    for option in options:
        traffics.setdefault(option.traffic, []).append(option)
    for traffic, runs in sorted(traffics.items()):
        levels = LEVELS if traffic.load == "closed" else (None,)
        if len({run.chip for run in runs}) >= FEWEST:
            yield from ((level, runs) for level in levels if any(run.measured.reaches(level) for run in runs))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
