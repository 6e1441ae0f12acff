"""Error bands by conformal prediction: what left-out runs were measured to do over what was predicted of them.

Each residual counts where the prediction knew as much and the load was alike, so that a band is as wide as such predictions have earned.
The shortest conformal interval (Vovk, Gammerman and Shafer 2005; Lei, Robins and Wasserman 2013) is meant to hold nine in ten numbers
of configurations that it never saw.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from assay._base.facts import Fact
from assay.calibrate.folds import block
from assay.points import Number
from assay.search.evidence import ANY, ANYONE, KNOWN, METRICS, Pair, Table, band
from assay.validate.predict import Guess, Told, kind, turned
from assay.validate.validation import Validation, stated

WITHIN = 0.93  # of the numbers, which are of few configurations: of the numbers of a new one 0.89 lie within
PAIRED = ("chip", "model", "sibling")  # what is known where runs of an engine on a family were seen
FEW = 30  # numbers: with fewer a load has no band of its own
VARIED = 4  # configurations, whose numbers go together: of 3, 4 and 6 the fewest with which bands still held a new one
SEVERAL = 2  # engines and families: what is seen of one alone under a load says nothing of the others
FEWEST = 3  # numbers, and configurations: with fewer not even any load has one, and that of what is known less well holds
SET_WITHIN, SET_FEW = 0.80, 10  # of each collection of so many numbers


@dataclass(frozen=True)
class Residual:
    """Logarithm of measured over predicted, and what it is told apart by."""

    execution: str
    known: str
    load: str
    metric: str
    collection: str
    value: float
    pair: Pair = ANYONE
    block: str = ""


def residuals(validation: Validation) -> Iterator[Residual]:
    """Those of a validation's scored numbers."""
    for point, number, guess, said in validation.rows():
        if guess.predicted and number.scored and number.value and not stated(point, number):
            told = said.execution, said.known, said.load, kind(number), str(point.said("set"))
            yield Residual(*told, _log(number, guess.predicted), said.pair, block(point, "configuration"))


def _log(number: Number, predicted: float) -> float:
    ratio = math.log((number.value or 1.0) / predicted)
    return -ratio if number.metric.endswith("per_user") else ratio


@dataclass(frozen=True)
class Band:
    """Factors by metric that hold 90 % of `rows` numbers, for one execution, knowledge and load, of one pair or all."""

    execution: str
    known: str
    load: str
    rows: int
    factors: dict[str, Fact[float]]
    pair: Pair = ANYONE


def banded(found: Iterable[Residual]) -> list[Band]:
    """A band for each load under which there are enough numbers, and one for any load; what is known less well is never surer.

    An engine on a family has its own where its numbers are enough, and of enough configurations. What one of them alone tells of a load
    does not hold for others: they have the band of any load.
    """
    rows = sorted(found, key=lambda row: (row.execution, KNOWN.index(row.known), row.load, row.metric, row.collection, row.value))
    bands: list[Band] = []
    for execution, known in dict.fromkeys((row.execution, row.known) for row in rows):
        alike = [row for row in rows if (row.execution, row.known) == (execution, known)]
        pairs = sorted({row.pair for row in alike} - {ANYONE}) if known in PAIRED else []
        for load, pair in product((*sorted({row.load for row in alike}), ANY), (ANYONE, *pairs)):
            under = [row for row in alike if load in (row.load, ANY) and pair in (row.pair, ANYONE)]
            everyone = pair == ANYONE
            last = everyone and load == ANY
            if everyone and not last and len({row.pair for row in under}) < SEVERAL:
                continue
            factors = dict(_factors(under, FEWEST if last else FEW, FEWEST if last else 1 if everyone else VARIED))
            if factors:
                surer = [each for each in bands if (each.execution, each.load, each.pair) == (execution, load, pair)]
                bands.append(_no_surer(Band(execution, known, load, len(under), factors, pair), surer))
    return [*bands, *(_last(execution, bands) for execution in dict.fromkeys(each.execution for each in bands))]


def _no_surer(found: Band, better: Sequence[Band]) -> Band:
    """The band, as wide as those of what is known better under the same load."""
    factors = dict(found.factors)
    for metric, fact in found.factors.items():
        every = [fact, *(each.factors[metric] for each in better if metric in each.factors)]
        factors[metric] = Fact(fact.value, min(each.low or 1.0 for each in every), max(each.high or 1.0 for each in every))
    return replace(found, factors=factors)


def _last(execution: str, bands: Sequence[Band]) -> Band:
    """For whom nothing at all is known, metrics of which no such run tells: the widest band of those that are known better."""
    there = [each for each in bands if each.execution == execution and each.pair == ANYONE]
    said = {metric for each in there if (each.known, each.load) == (KNOWN[-1], ANY) for metric in each.factors}
    factors = {}
    for metric in (metric for metric in METRICS if metric not in said):
        like = [each.factors[name] for name in (metric, metric.removesuffix("_tail"), "tpot") for each in there if name in each.factors]
        every = [each.factors[metric] for each in there if metric in each.factors] or like
        lows, highs = ([float(getattr(fact, side) or fact.value) for fact in every] for side in ("low", "high"))
        factors[metric] = Fact(every[0].value, min(lows), max(highs))
    return Band(execution, KNOWN[-1], ANY, 0, factors)


def _factors(rows: Sequence[Residual], least: int, varied: int) -> Iterator[tuple[str, Fact[float]]]:
    for metric in sorted({row.metric for row in rows}):
        of_metric = [row for row in rows if row.metric == metric]
        if len(of_metric) >= least and len({row.block for row in of_metric}) >= varied:
            yield metric, _holding(of_metric)


def _holding(rows: Sequence[Residual]) -> Fact[float]:
    """The interval that holds WITHIN of the numbers, wider where it would leave out a collection; with no error at all in it."""
    low, high = _shortest(np.array([row.value for row in rows]), WITHIN)
    for name in sorted({row.collection for row in rows}):
        own = np.array([row.value for row in rows if row.collection == name])
        if len(own) >= SET_FEW:
            lower, higher = _shortest(own, SET_WITHIN)
            low, high = min(low, lower), max(high, higher)
    middle = float(np.median([row.value for row in rows]))
    low, high = min(low, 0.0), max(high, 0.0)
    value = min(max(middle, low), high)
    return Fact(math.exp(value), math.exp(low), math.exp(high))


def _shortest(values: np.ndarray[tuple[int], np.dtype[np.float64]], within: float) -> tuple[float, float]:
    """The shortest interval with a share of n + 1 numbers, these n and the next: from the least to the greatest where n is too small."""
    ordered, count = np.sort(values), len(values)
    held = min(math.ceil(within * (count + 1)), count)
    widths = ordered[held - 1 :] - ordered[: count - held + 1]
    first = int(widths.argmin())
    return float(ordered[first]), float(ordered[first + held - 1])


def rebanded(validation: Validation, tables: Mapping[str, Table]) -> Validation:
    """The same predictions within other bands."""
    told = []
    for point, said in zip(validation.chosen, validation.told, strict=True):
        guesses = said.guesses
        if said.known:
            table = tables[said.execution]
            guesses = tuple(_within(table, said, number, guess) for number, guess in zip(point.numbers, said.guesses, strict=True))
        told.append(replace(said, guesses=guesses))
    return replace(validation, told=tuple(told))


def _within(table: Table, said: Told, number: Number, guess: Guess) -> Guess:
    if guess.predicted is None:
        return guess
    low, high = turned(number, band(table, said.known, said.load, kind(number), said.pair))
    return replace(guess, low=guess.predicted * low, high=guess.predicted * high)


def document(bands: Sequence[Band], source: str) -> str:
    """The text of data/calibration/bands.toml."""
    lines = [
        "# Error bands, written by `make calibrate`: not to be edited by hand.",
        f"# Measured over predicted, of runs left out of the fit: {source}.",
        f"# value is the median; low and high hold {WITHIN:.0%} of the numbers, and {SET_WITHIN:.0%} of those of each collection.",
    ]
    for each in bands:
        told = {"execution": each.execution, "known": each.known, "engine": each.pair[0], "family": each.pair[1], "load": each.load}
        lines += ["", "[[band]]", *(f'{key} = "{value}"' for key, value in told.items() if value), f"rows = {each.rows}"]
        for metric, fact in each.factors.items():
            lines.append(f"factor.{metric} = {{ value = {fact.value:.4g}, low = {fact.low:.4g}, high = {fact.high:.4g} }}")
    return "\n".join(lines) + "\n"
