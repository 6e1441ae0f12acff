"""A few measured points of one's own, which beat any prior: the constants of an engine on a chip, updated by them.

The prior is what is known without them: the shipped constants, and how far chips, families and engines of which nothing is known have
been seen to differ. The update is Bayesian, with the noise of the fit to published runs, but hardly robust: few numbers that agree with
each other are no outliers, however far they are from what others measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from assay._base.catalogue import find, names
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay.calibrate.observe import Observation, observe
from assay.calibrate.pooling import Key, Levels, Pool
from assay.calibrate.rows import rows
from assay.calibrate.terms import SYSTEM, Terms, terms
from assay.chips import Chip
from assay.cost.constants import Calibration, Constants, Level, Where, own_level, shipped
from assay.engines import Engine
from assay.points import Point, Points
from assay.search.evidence import known
from assay.steptime import Floats

ROUNDS = 2  # of simulation and update
BELIEVED = 10.0  # times their noise: a system may be far from all others, and its owner's numbers are few
OWN = ("pair", "chip", "quarter", SYSTEM)  # what a system of one's own may have otherwise: its build of the engine, chips, time and model
UNKNOWN: Mapping[str, Sequence[str]] = {
    "chip": OWN,
    "model": OWN,
    "sibling": OWN,
    "relative": ("family", *OWN),
    "nothing": ("engine", "family", *OWN),
}  # levels of which nothing is known, by what is


@dataclass(frozen=True, eq=False)
class Update:
    """An engine's constants on a chip after some runs: factors on the shipped ones, and median errors of the runs' numbers.

    `before` is under the shipped constants but those of systems, `after` that of each run under constants updated by the others (None for
    a single run).
    """

    chip: Chip
    engines: tuple[str, ...]
    runs: int
    numbers: int
    levels: tuple[Level, ...]
    before: float
    after: float | None
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        factors = {level.where.engine: {name: fact.to_dict() for name, fact in level.factors.items()} for level in self.levels}
        same = ("runs", "numbers", "before", "after", "skipped")
        return {"chip": self.chip.name, "engines": list(self.engines), **{name: getattr(self, name) for name in same}, "factors": factors}

    def summary(self) -> str:
        """One line for people."""
        after = "one run: no other to test it on" if self.after is None else f"{self.after:.0%} after, each run left out in turn"
        numbers = f"{self.numbers} numbers of {self.runs} run{'s' * (self.runs > 1)}"
        return f"{self.chip.name}: {numbers}, median error {self.before:.0%} before, {after}"


def updated(points: Points, chip: Chip, filled: Mapping[str, Any]) -> Update:
    """Update a chip's constants by measured runs on it; `filled` are conditions of runs that their table leaves out.

    Raises InputError when the runs are of other chips or of unknown engines, or when none of them can be predicted.
    """
    chip.check_published()
    _check_chips(points, chip)
    given = [_completed(point, chip, filled) for point in points.runs]
    _check_engines(points, given, chip)
    calibration = shipped().wide  # the chip's file has another name, and stands in the place of systems
    pool = own(_observed(given, calibration), calibration)
    if not len(pool.rows.run):
        remedy = "Give rows with chip, model, engine, load, lengths and a measured value; `assay validate --data FILE` says what is lacking"
        raise InputError(points.files[0], "", "no run in it can be predicted and held against a number", remedy)
    before = float(np.median(_errors(pool, pool.predict(np.zeros_like(pool.prior))[0])))
    for turn in range(1, ROUNDS + 1):
        fitted = pool.fit()
        made = Calibration((*calibration.levels, *pool.calibration(fitted.factors).levels))
        if turn < ROUNDS:
            pool = own(_observed(given, made), calibration)
    after = _left_out(pool, fitted.factors) if len(set(pool.rows.run.tolist())) > 1 else None
    engines = tuple(dict.fromkeys(key.where.engine for key in pool.keys))
    found_levels = pool.calibration(fitted.factors, fitted.deviations).levels
    levels = tuple(_whole(level, _before(chip, level.where.engine, calibration)) for level in found_levels)
    runs = len(set(pool.rows.run.tolist()))
    return Update(chip, engines, runs, len(pool.rows.run), levels, before, after, len(given) - runs)


def _completed(point: Point, chip: Chip, filled: Mapping[str, Any]) -> Point:
    """The run on this chip, with what its table leaves out."""
    stated = {name: value for name, value in filled.items() if value is not None}
    return replace(point, conditions={**stated, **point.conditions, "chip": str(chip.file)})


def _check_chips(points: Points, chip: Chip) -> None:
    """The runs are of one chip: the one named, or where a file is named, whichever its owner calls so."""
    stated = {str(point.said("chip")) for point in points.runs if point.said("chip")}
    known = names("chips").values()
    leads = {_file(name) or name for name in stated}
    if len(leads) > 1 or (chip.file in known and leads & set(known) - {chip.file}):
        problem = f"names {', '.join(sorted(stated))}, and {chip.name} is to be calibrated"
        raise InputError(points.files[0], "chip", problem, "Give the runs of that chip alone")


def _file(name: str) -> Path | None:
    try:
        return find("chips", name)
    except InputError:
        return None


def _check_engines(points: Points, given: Sequence[Point], chip: Chip) -> None:
    """Runs of an engine of which nothing is known would teach constants that its name never leads to."""
    for name in dict.fromkeys(point.said("engine") for point in given):
        if name is None:
            raise InputError(points.files[0], "engine", "is not stated", "Add the column, or give --engine")
        engine = Engine.load(name)
        if not engine.runs(chip.family):
            problem = f"{name} does not run on {chip.name} (family {chip.family})"
            raise InputError(points.files[0], "engine", problem, f"It runs on: {', '.join(engine.runs_on)}")


def _observed(given: Sequence[Point], calibration: Calibration) -> list[Observation]:
    return [each for each in (observe(point, calibration) for point in given) if each]


def own(found: Sequence[Observation], calibration: Calibration) -> Pool:
    """Runs of one's own with one level, of their engine on their chip, whose factors multiply the constants of a calibration.

    Its prior is as wide as what the calibration does not know of them.
    """
    what = replace(terms().wide, robust=BELIEVED)
    shares = {each.where.engine: _unknown(each, calibration, what) for each in found}
    spread = np.array(what.spread)
    return Pool(found, rows(found, what), what, Levels(_keys, partial(_base, calibration), lambda key: spread * shares[key.where.engine]))


def _unknown(observation: Observation, calibration: Calibration, what: Terms) -> float:
    """Share of the spread that levels of which nothing is known leave open."""
    part = observation.stages[0].plant.part
    return float(np.hypot.reduce([what.shares[level] for level in UNKNOWN[known(part.chip, part.engine, calibration)]]))


def _keys(observation: Observation) -> list[Key]:
    where = observation.where
    return [Key("chip", observation.execution, Where(where.engine, "", where.chip))]


def _base(calibration: Calibration, observation: Observation) -> Constants:
    part = observation.stages[0].plant.part
    return calibration.seen_by(observation.where.client).constants(part.chip, part.engine)


def _errors(pool: Pool, predicted: Floats) -> Floats:
    ratios: Floats = np.exp(predicted - pool.rows.measured)
    return np.abs(ratios - 1)


def _left_out(pool: Pool, factors: Floats) -> float:
    """Median error of runs, each under constants fitted to the others."""
    errors = []
    for run in sorted(set(pool.rows.run.tolist())):
        out = pool.rows.run == run
        predicted, _ = pool.predict(pool.fit(factors, (~out).astype(np.float64)).factors)
        errors += _errors(pool, predicted)[out].tolist()
    return float(np.median(errors))


def _before(chip: Chip, engine: str, calibration: Calibration) -> Level | None:
    """The level whose place the update takes in the chip's file: the one there, else the shipped one of the chip, without its runs."""
    shipped_levels = [replace(level, runs=0) for level in calibration.levels if level.where == Where("", "", chip.name)]
    return own_level(chip, engine) or next(iter(shipped_levels), None)


def _whole(level: Level, before: Level | None) -> Level:
    """The level with the factors and runs of the one whose place it takes."""
    if before is None:
        return level
    factors = {name: _product(fact, before.factors.get(name)) for name, fact in level.factors.items()}
    return Level(level.execution, level.where, {**before.factors, **factors}, level.runs + before.runs)


def _product(fact: Fact[float], other: Fact[float] | None) -> Fact[float]:
    if other is None:
        return fact
    low, high = (other.value * float(side if side is not None else fact.value) for side in (fact.low, fact.high))
    return Fact(other.value * fact.value, low, high)
