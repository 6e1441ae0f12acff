"""Constants in levels, pooled as far as the data say: a fit of all levels at once with priors on their logarithms.

The error of a number is robust (Cauchy), so that single runs that nothing explains do not bend constants; and the priors of levels have
heavy tails (Student's t), so that a system unlike all others is one, and does not bend those. The objective is minimised by
Levenberg-Marquardt steps; the intervals are those of the normal equations where they end.

What single systems have beyond that is fitted last, to what the wider levels leave. Fitted with them it took from these what systems have
in common, and models, chips and engines left out were predicted worse.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from assay._base.facts import Fact
from assay.calibrate.observe import Observation, Runs
from assay.calibrate.rows import Integers, Rows
from assay.calibrate.terms import CERTAIN, CLIENT, ENDLESS, LEVELS, QUARTER, SYSTEM, Terms, ignorance
from assay.cost.constants import Calibration, Constants, Level, Where, generic
from assay.steptime import Floats

NUDGE = 0.01  # of a logarithm, for slopes
SOLVES, STEPS = 8, 100  # at most
SMALL, NOTHING = 0.0005, 0.01  # share of the objective that a further step must gain or promise to gain, and how much beside it
FARTHEST = 1.0  # of a logarithm in one step: what is linear here is not there
DAMPING, FIRMER, FIRMEST = 1.0, 4.0, 1e4  # in units of a prior's precision
GOOD, POOR = 0.7, 0.2  # shares of what a step promised: beyond the first the next may be longer, below the second it is shorter
STILL = 1e-3  # of a prior's deviation: a step that moves no more is found
UNTOLD = 1e-2  # share of the prior's weight below which rows say nothing
SURE = 1.645  # standard deviations on each side: 90 %


class Key(NamedTuple):
    """The name of a level, the way of execution of its chips, and for what it holds."""

    level: str
    execution: str
    where: Where

    @property
    def unsaid(self) -> bool:
        """Whether it is the quarter of runs without a date, or the client of runs of no collection: of them wider levels say all."""
        return (self.level == QUARTER and not self.where.quarter) or (self.level == CLIENT and not self.where.client)


def keys(observation: Observation) -> list[Key]:
    """The levels that hold for a run, the widest first, but for that of its system."""
    engine, family, chip, quarter, client, _, _ = observation.where
    wide = Where(), Where(client=client), Where(engine), Where("", family)
    named = *wide, Where(engine, family), Where("", "", chip), Where(engine, family, "", quarter)
    return [Key(level, observation.execution, where) for level, where in zip(LEVELS[:-1], named, strict=True)]


def _system(observation: Observation) -> list[Key]:
    return [Key(SYSTEM, observation.execution, observation.where.system)]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Logarithms of the factors by level and constant, shape (K, J), their standard deviations, and the predicted logarithms of rows.

    `rest` is the step that was left when the fit ended.
    """

    factors: Floats
    deviations: Floats
    rest: Floats
    predicted: Floats
    slopes: Floats
    objective: float


@dataclass(frozen=True, eq=False)
class _Step:
    """A step of the factors (K, J), and the normal equations there of the free numbers that rows tell of."""

    step: Floats
    told: Integers
    normal: Floats


@dataclass(frozen=True)
class Levels:
    """Which levels hold for a run, the widest first; the constants that they multiply; and how far each may move them, shape (J,)."""

    holding: Callable[[Observation], Sequence[Key]]
    base: Callable[[Observation], Constants]
    spread: Callable[[Key], Floats]


def pooled(terms: Terms) -> Levels:
    """All levels, above generic physics; what is nothing there stays nothing."""

    def widths(key: Key) -> Floats:
        if key.unsaid:
            return np.full(len(terms.names), CERTAIN)
        if key.level != LEVELS[0]:
            return _widths(terms, key)
        return np.array([max(ignorance(name, key.execution), CERTAIN) for name in terms.names])

    return Levels(keys, _physics, widths)


def _above(base: Callable[[Observation], Constants], found: Mapping[Observation, Mapping[str, float]], each: Observation) -> Constants:
    return base(each).times(found[each])


def _widths(terms: Terms, key: Key) -> Floats:
    return np.where([_there(name, key.execution) for name in terms.names], terms.widths(key.level), CERTAIN)


def _there(name: str, execution: str) -> bool:
    """Whether a constant is anything in generic physics: factors of nothing tell nothing, and would only move with their table."""
    table, _, key = name.partition(".")
    return bool(getattr(generic(execution), table)[key])


def _physics(observation: Observation) -> Constants:
    return generic(observation.execution)


class Pool:
    """Runs with their levels, and the rows that they are fitted to."""

    def __init__(self, observations: Sequence[Observation], rows: Rows, terms: Terms, levels: Levels) -> None:
        self.observations, self.rows, self.terms, self.base = observations, rows, terms, levels.base
        every = {key for each in observations for key in levels.holding(each)}
        self.keys: tuple[Key, ...] = tuple(sorted(every, key=lambda key: (LEVELS.index(key.level), key)))
        place = {key: at for at, key in enumerate(self.keys)}
        self.levels = np.array([[place[key] for key in levels.holding(each)] for each in observations], np.int64)
        widths = np.array([levels.spread(key) for key in self.keys]).reshape(-1, len(terms.names))
        self.prior = widths  # deviations of logarithms before anything is measured, (K, J)
        alone = [key.level == LEVELS[0] for key in self.keys]
        self.roots = widths[:, :, None] * np.where(np.array(alone)[:, None, None], np.eye(len(terms.names)), terms.root)
        self.freedom = np.where(alone, ENDLESS, terms.freedom)[:, None]  # of the Student's t of each level's free numbers

    def systems(self, factors: Floats) -> "Pool":
        """The same runs and rows with a level for each system alone, above what these levels' factors make of the constants."""
        moved = np.exp(factors[self.levels].sum(axis=1)).tolist()
        found = {each: dict(zip(self.terms.names, row, strict=True)) for each, row in zip(self.observations, moved, strict=True)}
        return Pool(
            self.observations, self.rows, self.terms, Levels(_system, partial(_above, self.base, found), partial(_widths, self.terms))
        )

    def fit(self, start: Floats | None = None, mask: Floats | None = None) -> Fitted:
        """The most likely factors; `mask` (R,) leaves rows out where it is 0."""
        factors = np.zeros((len(self.keys), len(self.terms.names))) if start is None else start
        weight = self.rows.weight if mask is None else self.rows.weight * mask
        (predicted, slopes), damping = self.predict(factors), DAMPING
        best = self._objective(factors, predicted, weight)
        for _ in range(STEPS):
            step = self._step(factors, predicted, slopes, weight, damping).step
            tried = factors + step
            promised = best - self._objective(tried, predicted + self.along(slopes, step), weight)
            there = self.predict(tried)  # with slopes, which nearly every step needs: they are cheap beside the sums
            objective = self._objective(tried, there[0], weight)
            gained = best - objective
            if gained > 0:
                (predicted, slopes), factors, best = there, tried, objective
            little = max(gained, promised) < SMALL * best + NOTHING
            if damping > FIRMEST or (little and damping <= DAMPING):  # a short step may gain little far from the minimum
                break
            damping *= FIRMER if gained < POOR * promised else 1 / FIRMER if little or gained > GOOD * promised else 1.0
        return self._ended(factors, predicted, slopes, weight, best)

    def at(self, factors: Floats) -> Fitted:
        """Factors as they are, where a fit to the same rows has ended."""
        predicted, slopes = self.predict(factors)
        return self._ended(factors, predicted, slopes, self.rows.weight, self._objective(factors, predicted, self.rows.weight))

    def _ended(self, factors: Floats, predicted: Floats, slopes: Floats, weight: Floats, objective: float) -> Fitted:
        last = self._step(factors, predicted, slopes, weight)
        return Fitted(factors, self._deviations(last), last.step, predicted, slopes, objective)

    def refit(self, fitted: Fitted, mask: Floats, moved: Floats | float = 0.0) -> Floats:
        """Factors without some rows, by one step of the same normal equations from those of all: what it has beyond that of all rows.

        `moved` (R,) is how far the logarithms of rows have gone for other reasons.
        """
        step = self._step(fitted.factors, fitted.predicted + moved, fitted.slopes, self.rows.weight * mask).step
        return fitted.factors + step - fitted.rest

    @cached_property
    def alike(self) -> list[tuple[list[int], Runs]]:
        """Places of the observations that have rows, those whose steps cost the same together."""
        found: dict[Hashable, list[int]] = {}
        for run in np.unique(self.rows.run).tolist():
            found.setdefault(self.observations[run].like, []).append(run)
        return [(places, Runs([self.observations[place] for place in places])) for places in found.values()]

    def predict(self, factors: Floats) -> tuple[Floats, Floats]:
        """Logarithm of each row (R,) and its slope to the logarithm of each constant (R, J)."""
        moved = self._under(factors, np.vstack([np.zeros(len(self.terms.names)), NUDGE * np.eye(len(self.terms.names))]))
        return moved[0], ((moved[1:] - moved[0]) / NUDGE).T

    def _under(self, factors: Floats, nudges: Floats) -> Floats:
        """Logarithm of each row under each nudge (N, J) of the constants: (N, R)."""
        names, rows, found = self.terms.names, self.rows, np.zeros((len(nudges), len(self.rows.run)))
        starts = np.searchsorted(rows.run, np.arange(len(self.observations) + 1))
        for places, runs in self.alike:
            columns = np.exp(factors[self.levels[places[0]]].sum(axis=0) + nudges)
            constants = self.base(runs.observations[0]).times({name: columns[:, [at]] for at, name in enumerate(names)})
            for run, each in zip(places, runs.under(constants), strict=True):
                here = slice(starts[run], starts[run + 1])
                found[:, here] = each[:, rows.place[here]]
        return found

    def along(self, slopes: Floats, step: Floats) -> Floats:
        """How far a step moves each row where slopes hold, (R,)."""
        if not len(slopes):
            return np.zeros(0)
        moved: Floats = (slopes * step[self.levels[self.rows.run]].sum(axis=1)).sum(axis=1)
        return moved

    def _objective(self, factors: Floats, predicted: Floats, weight: Floats) -> float:
        wide = self.terms.robust * self.rows.sigma
        misfit = 0.5 * weight * wide**2 * np.log1p(((self.rows.measured - predicted) / wide) ** 2)
        freedom = self.freedom
        unlikely = 0.5 * (freedom + 1) * np.log1p(self._free(factors) ** 2 / freedom)
        return float(misfit.sum() + unlikely.sum())

    def _free(self, factors: Floats) -> Floats:
        """The factors as numbers that are independent and of unit deviation before anything is measured, shape (K, J)."""
        return np.linalg.solve(self.roots, factors[:, :, None])[:, :, 0]

    def _step(self, factors: Floats, predicted: Floats, slopes: Floats, weight: Floats, damping: float = 0.0) -> "_Step":
        """The step to the minimum of the objective as it is nearby; with damping, shorter."""
        from scipy.linalg import cho_factor, cho_solve

        if not len(predicted):
            return _Step(-factors, np.zeros(0, np.int64), np.zeros((0, 0)))
        values = np.zeros((len(slopes), self.levels.shape[1] * len(self.terms.names)))
        for here, _ in self._blocks:
            roots = self.roots[self.levels[self.rows.run[here[0]]]]
            values[here] = np.einsum("rj,ljf->rlf", slopes[here], roots, optimize=True).reshape(len(here), -1)
        design, wide, now = _Design(values, self._blocks, factors.size), self.terms.robust * self.rows.sigma, self._free(factors).ravel()
        told = np.flatnonzero(design.squares(weight) > UNTOLD)  # of the others the rows say nothing: they go back to 0
        error, every = self.rows.measured - predicted, np.repeat(self.freedom, len(self.terms.names))
        firm = (every + 1) / (every + now**2)
        found, freedom = -now * firm / (firm + damping), every[told]
        found[told] = 0.0
        normal = np.zeros((len(told), len(told)))
        for _ in range(SOLVES):
            trust = weight / (1 + ((error - design.times(found)) / wide) ** 2)
            held = (freedom + 1) / (freedom + (now + found)[told] ** 2)
            normal = design.normal(trust, told)
            normal[np.diag_indices(len(told))] += held + damping
            back = design.back(trust * error)[told] - held * now[told]
            step = cho_solve(cho_factor(normal, check_finite=False), back, check_finite=False)
            moved, found[told] = float(np.abs(step - found[told]).max(initial=0.0)), step
            if moved < STILL:
                break
        return _Step(self._factors(found).clip(-FARTHEST, FARTHEST), told, normal)

    @cached_property
    def _blocks(self) -> list[tuple[Integers, Integers]]:
        """Rows for which the same levels hold, and the places of the free numbers of these levels."""
        names, (levels, kind) = len(self.terms.names), np.unique(self.levels[self.rows.run], axis=0, return_inverse=True)
        order, starts = np.argsort(kind, kind="stable"), np.searchsorted(np.sort(kind), np.arange(len(levels) + 1))
        columns = (levels[:, :, None] * names + np.arange(names)).reshape(len(levels), levels.shape[1] * names)
        return [(order[starts[at] : starts[at + 1]], columns[at]) for at in range(len(levels))]

    def _factors(self, free: Floats) -> Floats:
        found: Floats = np.einsum("kjf,kf->kj", self.roots, free.reshape(len(self.keys), -1))
        return found

    def _deviations(self, there: "_Step") -> Floats:
        """Standard deviations of the factors' logarithms, from the covariance of the free numbers that rows tell of; shape (K, J)."""
        names, found, told, covariance = len(self.terms.names), np.zeros_like(self.prior), there.told, np.linalg.inv(there.normal)
        for at, root in enumerate(self.roots):
            here = np.flatnonzero(told // names == at)
            own = np.eye(names)
            own[np.ix_(told[here] % names, told[here] % names)] = covariance[np.ix_(here, here)]
            found[at] = np.sqrt(np.diag(root @ own @ root.T))
        return found

    def factors(self, calibration: Calibration) -> Floats:
        """The logarithms of a calibration's factors, shape (K, J); nothing where it has no such level."""
        levels = {(level.execution, level.where): level.factors for level in calibration.levels}
        found = np.zeros((len(self.keys), len(self.terms.names)))
        for at, key in ((at, key) for at, key in enumerate(self.keys) if not key.unsaid):
            for to, name in enumerate(self.terms.names):
                fact = levels.get((key.execution, key.where), {}).get(name)
                found[at, to] = math.log(fact.value) if fact and self.prior[at, to] > CERTAIN else 0.0
        return found

    def calibration(self, factors: Floats, deviations: Floats | None = None, mask: Floats | None = None) -> Calibration:
        """The factors as levels of constants, each with the runs that taught it: those with rows that `mask` leaves in."""
        taught = np.unique(self.rows.run if mask is None else self.rows.run[mask > 0])
        runs = np.bincount(self.levels[taught].ravel(), minlength=len(self.keys))
        wide = np.zeros_like(factors) if deviations is None else SURE * deviations
        found = []
        for at, key in ((at, key) for at, key in enumerate(self.keys) if not key.unsaid):
            each = {
                name: Fact(_short(factors[at, to]), _short(factors[at, to] - wide[at, to]), _short(factors[at, to] + wide[at, to]))
                for to, name in enumerate(self.terms.names)
            }
            models = self._models(at, taught) if key.level == "pair" else ()
            found.append(Level(key.execution, key.where, each, int(runs[at]), models))
        return Calibration(tuple(found))

    def _models(self, at: int, taught: Integers) -> tuple[str, ...]:
        """Models of the runs that taught a level."""
        here = taught[(self.levels[taught] == at).any(axis=1)]
        return tuple(sorted({self.observations[run].stages[0].plant.model.name for run in here.tolist()}))


def _short(logarithm: float) -> float:
    """The factor, to four digits: what is written to disk is what was used."""
    return float(f"{np.exp(logarithm):.4g}")


@dataclass(frozen=True, eq=False)
class _Design:
    """The slopes of rows (R, C) to free numbers, of which `size` there are; each block of rows knows the places of its C among these."""

    values: Floats
    blocks: Sequence[tuple[Integers, Integers]]
    size: int

    def squares(self, weight: Floats) -> Floats:
        """Of each free number the weighted sum of squares."""
        return self._gathered(self.values**2, weight)

    def back(self, each: Floats) -> Floats:
        """Of each free number the sum over rows, these times some numbers."""
        return self._gathered(self.values, each)

    def _gathered(self, values: Floats, each: Floats) -> Floats:
        found = np.zeros(self.size)
        for rows, columns in self.blocks:
            found[columns] += each[rows] @ values[rows]
        return found

    def times(self, free: Floats) -> Floats:
        """Of each row what the free numbers come to."""
        found = np.zeros(len(self.values))
        for rows, columns in self.blocks:
            found[rows] = self.values[rows] @ free[columns]
        return found

    def normal(self, trust: Floats, told: Integers) -> Floats:
        """The normal equations of those free numbers of which rows tell."""
        place, found = np.full(self.size, -1), np.zeros((len(told), len(told)))
        place[told] = np.arange(len(told))
        for rows, columns in self.blocks:
            here = np.flatnonzero(place[columns] >= 0)
            values, at = self.values[np.ix_(rows, here)], place[columns[here]]
            found[np.ix_(at, at)] += values.T @ (trust[rows, None] * values)
        return found
