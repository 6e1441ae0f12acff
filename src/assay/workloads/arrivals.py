"""When requests come: arrival processes, drawn at a given mean rate."""

from dataclasses import dataclass

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats

ONCE = "once"
"""The kind of arrivals of which nothing is known: all are there from the start."""

RATES = (1e-9, 1e9)
"""The lowest and the highest mean rate, requests/s: one in 30 years, and more than anybody serves."""
SEGMENTS = 10_000_000
"""Segments of a modulated rate that a draw may pass through."""

INPUTS, OUTPUTS, ARRIVALS = 0, 1, 2
"""Purposes of random streams: a change in one part of a draw leaves the others as they are."""


@dataclass(frozen=True)
class Process:
    """An arrival process of mean `rate` requests/s.

    `poisson`: independent exponential gaps. `gamma`: independent Gamma gaps with coefficient of variation `cv`. `modulated`: Poisson
    with a rate that changes every `segment` seconds to `rate` times a Gamma variate of mean 1 and coefficient of variation `cv`.
    `profile`: Poisson with a rate that goes through the same course every `period` seconds from 0 on: in proportion to `levels` at
    equally spaced times, linear in between and from the last back to the first; its mean over a period is `rate`.
    """

    kind: str
    rate: float
    cv: float = 1.0
    segment: float = 0.0
    period: float = 0.0
    levels: tuple[float, ...] = ()

    def draw(self, requests: int, random: np.random.Generator) -> Floats:
        """Arrival times, float64[requests], s; stretched so that the last is at exactly requests / rate.

        A profile is not stretched, since its period is one of the clock: where its last arrival falls is left to chance and to the
        part of the period that the draw reaches.
        """
        _above_zero(self.rate)
        if self.kind == "profile":
            return self._profile(requests, random)
        if self.kind == "modulated":
            arrival = self._modulated(requests, random)
        else:
            shape = 1.0 if self.kind == "poisson" else self.cv**-2
            arrival = np.cumsum(random.gamma(shape, 1.0, requests))
        return arrival * stretch(requests, float(arrival[-1]), self.rate)

    def _modulated(self, requests: int, random: np.random.Generator) -> Floats:
        """Unit Poisson arrivals sent through the inverse of the summed rate, which is linear within each segment."""
        events = np.cumsum(random.exponential(1.0, requests))
        mean = self.rate * self.segment
        if requests > SEGMENTS * mean:
            problem = f"is {self.segment:g} s, in which {mean:g} requests come: a draw of {requests} passes through too many"
            raise InputError("workload", "arrival.segment", problem, f"Give at least {requests / SEGMENTS / self.rate:.3g} s")
        reached = np.zeros(1)
        while reached[-1] < events[-1]:
            levels = random.gamma(self.cv**-2, self.cv**2, int(events[-1] / mean) + 1)
            reached = np.append(reached, reached[-1] + mean * np.cumsum(levels))
        return np.asarray(np.interp(events, reached, self.segment * np.arange(reached.size)), np.float64)

    def _profile(self, requests: int, random: np.random.Generator) -> Floats:
        """Unit Poisson arrivals sent through the inverse of the summed rate."""
        periods, share = np.divmod(np.cumsum(random.exponential(1.0, requests)) / (self.rate * self.period), 1.0)
        return self.period * (periods + _reached(np.array(self.levels, np.float64), share))


def _reached(levels: Floats, share: Floats) -> Floats:
    """Part of a period, from 0 to 1, by the end of which a share of its arrivals has come.

    Between two levels the rate goes from a to b, so that s of the way a s + (b - a) s^2 / 2 arrivals have come; its root is taken in
    the form that loses no digits where a = b.
    """
    begin = levels / levels.sum()
    end = np.roll(begin, -1)
    before = np.concatenate(([0.0], np.cumsum((begin + end) / 2)))
    piece = np.searchsorted(before[1:-1], share, side="right")
    left = share - before[piece]
    begin, end = begin[piece], end[piece]
    both = begin + np.sqrt(np.maximum(begin**2 + 2 * (end - begin) * left, 0.0))
    way = np.divide(2 * left, both, out=np.zeros_like(left), where=both > 0)
    return np.asarray((piece + np.minimum(way, 1.0)) / levels.size, np.float64)


def stretch(requests: int, last: float, rate: float) -> float:
    """By what to multiply arrivals, the last of which is at `last` seconds, for a mean of `rate` requests/s until then."""
    _above_zero(rate)
    if not last > 0:
        raise InputError("workload", "rate", "all requests arrive at once, so there are no arrivals to rescale", "Leave the rate out")
    return requests / (rate * last)


def _above_zero(rate: float) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError("workload", "rate", f"is {rate}", f"Give requests per second, above 0: from {RATES[0]:g} to {RATES[1]:g}")


def stream(seed: int, purpose: int) -> np.random.Generator:
    """Random numbers of one purpose: the same seed gives other purposes other, independent numbers."""
    if not 0 <= seed < 2**63:
        raise InputError("workload", "seed", f"is {seed}", "Give 0 or more, below 2**63")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose))))
