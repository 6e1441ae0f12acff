"""When requests come: arrival processes, drawn at a given mean rate."""

from dataclasses import dataclass

import numpy as np

from assay._base.errors import InputError
from assay.workloads.columns import Floats

INPUTS, OUTPUTS, ARRIVALS = 0, 1, 2
"""Purposes of random streams: a change in one part of a draw leaves the others as they are."""


@dataclass(frozen=True)
class Process:
    """An arrival process of mean `rate` requests/s.

    `poisson`: independent exponential gaps. `gamma`: independent Gamma gaps with coefficient of variation `cv`. `modulated`: Poisson
    with a rate that changes every `segment` seconds to `rate` times a Gamma variate of mean 1 and coefficient of variation `cv`.
    """

    kind: str
    rate: float
    cv: float = 1.0
    segment: float = 0.0

    def draw(self, requests: int, random: np.random.Generator) -> Floats:
        """Arrival times, float64[requests], s; scaled so that the last is at exactly requests / rate."""
        if self.kind == "modulated":
            arrival = self._modulated(requests, random)
        else:
            shape = 1.0 if self.kind == "poisson" else self.cv**-2
            arrival = np.cumsum(random.gamma(shape, 1.0, requests))
        return scaled(arrival, self.rate)

    def _modulated(self, requests: int, random: np.random.Generator) -> Floats:
        """Unit Poisson arrivals sent through the inverse of the summed rate, which is linear within each segment."""
        events = np.cumsum(random.exponential(1.0, requests))
        mean = self.rate * self.segment
        reached = np.zeros(1)
        while reached[-1] < events[-1]:
            levels = random.gamma(self.cv**-2, self.cv**2, int(events[-1] / mean) + 1)
            reached = np.append(reached, reached[-1] + mean * np.cumsum(levels))
        return np.asarray(np.interp(events, reached, self.segment * np.arange(reached.size)), np.float64)


def scaled(arrival: Floats, rate: float) -> Floats:
    """Arrivals stretched to a mean rate (requests over the time of the last), requests/s."""
    if not (np.isfinite(rate) and rate > 0):
        raise InputError("workload", "rate", f"is {rate}", "Give requests per second, above 0")
    if not arrival[-1] > 0:
        raise InputError("workload", "rate", "all requests arrive at once, so there are no arrivals to rescale", "Leave the rate out")
    return np.asarray(arrival * (arrival.size / (rate * arrival[-1])), np.float64)


def stream(seed: int, purpose: int) -> np.random.Generator:
    """Random numbers of one purpose: the same seed gives other purposes other, independent numbers."""
    if seed < 0:
        raise InputError("workload", "seed", f"is {seed}", "Give 0 or more")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose))))
