"""What comes out of a simulation: columns by request, and totals over time."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from assay.simulate.tally import Tally
from assay.steptime import RESOURCES

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GAP_SMALLEST = 2.0**-20  # seconds; where the first bin of the gap histogram begins
GAP_STEPS = 128  # bins of equal width in each octave: none is wider than 0.8 %
GAP_BINS = 36 * GAP_STEPS  # up to 2^16 seconds


@dataclass(eq=False)
class Outcome:
    """Columns of n requests (nan where a request was rejected) and totals of the run.

    `arrival`, `first_token`, `finish` are seconds from the start; `largest_gap` is the longest wait between two tokens; `prefix_hit`
    counts prompt tokens found in the cache. `gaps` is the histogram of inter-token gaps. `resource_seconds` sums the time of steps by
    what set it, `joules` their energy above idle, `batch_seconds` sequences x time, `busy_seconds` the time in which steps ran, of which
    `prefill_seconds` would not have passed without prefill, `cached_seconds` not without attending to cached prefixes. `tallies` count the
    steps of each pool by size.
    """

    arrival: Floats
    first_token: Floats
    finish: Floats
    preemptions: Integers
    prefix_hit: Integers
    largest_gap: Floats
    gaps: Integers = field(default_factory=lambda: np.zeros(GAP_BINS, dtype=np.int64))
    resource_seconds: Floats = field(default_factory=lambda: np.zeros(len(RESOURCES)))
    joules: float = 0.0
    steps: int = 0
    busy_seconds: float = 0.0
    prefill_seconds: float = 0.0
    cached_seconds: float = 0.0
    batch_seconds: float = 0.0
    kv_peak: float = 0.0
    wall_time: float = 0.0
    tallies: tuple[Tally, ...] = ()

    @classmethod
    def empty(cls, arrival: Floats) -> "Outcome":
        """An outcome in which nothing has happened yet."""
        count = len(arrival)
        unknown = np.full(count, np.nan)
        zeros = np.zeros(count, dtype=np.int64)
        return cls(arrival.copy(), unknown.copy(), unknown.copy(), zeros.copy(), zeros.copy(), np.zeros(count))

    @property
    def served(self) -> NDArray[np.bool_]:
        """Which requests finished."""
        return np.isfinite(self.finish)

    @property
    def duration(self) -> float:
        """Seconds from the first arrival to the last finish."""
        ends = self.finish[self.served]
        return float(ends.max() - np.nanmin(self.arrival)) if len(ends) else 0.0


def gap_bin(seconds: float) -> int:
    """Bin of an inter-token gap: its octave, and where it lies in it."""
    if seconds < GAP_SMALLEST:
        return 0
    fraction, exponent = math.frexp(seconds)  # fraction from 0.5 to below 1
    return min((exponent + 19) * GAP_STEPS + int((fraction - 0.5) * 2 * GAP_STEPS), GAP_BINS - 1)


def gap_middles() -> Floats:
    """Middle of each bin of the gap histogram, in seconds."""
    octave, place = np.divmod(np.arange(GAP_BINS), GAP_STEPS)
    return np.asarray(GAP_SMALLEST * 2.0**octave * (1 + (place + 0.5) / GAP_STEPS), dtype=np.float64)
