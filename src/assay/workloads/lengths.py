"""How long requests are: token counts drawn around a nominal length or from a joint histogram, and prefixes that prompts share."""

import math
from dataclasses import dataclass

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints, starts_of

MOST_SPREAD = 1e6
"""Times its nominal length that a drawn one may be."""
SHARED_BLOCK = 16
"""Tokens per prefix id of drawn prompts: the smallest block in which engines commonly keep prefixes."""
MOST_IDS = 50_000_000
"""Prefix ids of all requests of a draw: some gigabytes while they are drawn and served."""


def uniform(name: str, nominal: int, spread: tuple[float, float], requests: int, random: np.random.Generator) -> Ints:
    """Lengths int64[requests] uniform on the integers from floor(low x nominal) to floor(high x nominal), both ends included.

    Only a nominal length of 0 draws lengths of 0.
    """
    low, high = spread
    if not 0 < low <= high <= MOST_SPREAD:
        remedy = f"Give LOW:HIGH, shares of the nominal length with 0 < LOW <= HIGH <= {MOST_SPREAD:g}"
        raise InputError("workload", "spread", f"is {low:g}:{high:g}", remedy)
    least, most = _floor(low * nominal), _floor(high * nominal)
    if least < min(1, nominal):
        raise InputError("workload", name, f"is {nominal} with a spread from {low:g}, so below 1 token", "Give longer requests")
    return random.integers(least, most, requests, np.int64, endpoint=True)


def _floor(tokens: float) -> int:
    """Floor that forgives the rounding of a product such as 0.29 x 100."""
    return math.floor(tokens + 1e-9)


def refuse_many(field: str, ids: int) -> None:
    """InputError naming the field when prompts that are drawn begin with so many prefix blocks that memory would not hold their ids."""
    if ids > MOST_IDS:
        raise InputError("workload", field, f"gives {ids:.3g} prefix blocks in all", f"Give shorter prompts or fewer: at most {MOST_IDS:g}")


def shared_ids(shared: int, prompts: Ints) -> tuple[Ints, Ints]:
    """Prefix ids and offsets of prompts that begin with the same `shared` tokens, in whole blocks of SHARED_BLOCK tokens."""
    counts = np.minimum(prompts, shared) // SHARED_BLOCK
    refuse_many("shared_prefix", int(counts.sum()))
    offsets = starts_of(counts)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts), offsets


@dataclass(frozen=True, eq=False)
class Histogram:
    """Joint histogram of input and output tokens.

    Bin i holds the integers from edges[i] up to, not including, edges[i + 1]; 0 is in no bin with others. `weights`
    float64[inputs, outputs] need not sum to 1.
    """

    input_edges: Ints
    output_edges: Ints
    weights: Floats

    def draw(self, requests: int, random: np.random.Generator) -> tuple[Ints, Ints]:
        """Input and output tokens, int64[requests] each: a cell by weight, then log-uniform integers within it."""
        chance = random.random((requests, 3))
        row, column = np.divmod(_picked(self.weights.ravel(), chance[:, 0]), self.weights.shape[1])
        return log_uniform(self.input_edges, row, chance[:, 1]), log_uniform(self.output_edges, column, chance[:, 2])

    def prompts(self, weights: Floats, chance: Floats) -> Ints:
        """Input tokens int64[n], bins by other weights; `chance` float64[n, 2] are uniform numbers below 1."""
        return log_uniform(self.input_edges, _picked(weights, chance[:, 0]), chance[:, 1])

    def answers(self, prompts: Ints, chance: Floats) -> Ints:
        """Output tokens int64[n] by the bin of the prompt; `chance` float64[n, 2] are uniform numbers below 1."""
        bins = np.clip(np.searchsorted(self.input_edges, prompts, side="right") - 1, 0, self.weights.shape[0] - 1)
        return log_uniform(self.output_edges, picked_in_rows(self.weights, bins, chance[:, 0]), chance[:, 1])


@dataclass(frozen=True)
class LogNormal:
    """Token counts whose logarithm is normal: `median`, `sigma` of the natural logarithm, cut to `least` and `most`."""

    median: float
    sigma: float
    least: int
    most: int

    def of(self, normal: Floats) -> Ints:
        """Token counts int64[n] of standard normal numbers, rounded."""
        return np.clip(np.rint(self.median * np.exp(self.sigma * normal)), self.least, self.most).astype(np.int64)


@dataclass(frozen=True)
class LogNormals:
    """Log-normal input and output tokens, the logarithms of which have the given Pearson coefficient."""

    input: LogNormal
    output: LogNormal
    correlation: float = 0.0

    def draw(self, requests: int, random: np.random.Generator) -> tuple[Ints, Ints]:
        """Input and output tokens, int64[requests] each."""
        normal = random.normal(size=(requests, 2))
        leaning = self.correlation * normal[:, 0] + math.sqrt(1 - self.correlation**2) * normal[:, 1]
        return self.input.of(normal[:, 0]), self.output.of(leaning)


def _picked(weights: Floats, chance: Floats) -> Ints:
    """Indices int64[n] by weight."""
    summed = np.cumsum(weights)
    return np.asarray(np.searchsorted(summed, chance * summed[-1], side="right"), np.int64)


def picked_in_rows(weights: Floats, rows: Ints, chance: Floats) -> Ints:
    """A column by weight in each of the given rows of weights float64[rows, columns]; a row of zeros is replaced by the sum of all."""
    usable = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, weights.sum(axis=0))
    summed = np.cumsum(usable.ravel())
    ends = summed[usable.shape[1] - 1 :: usable.shape[1]]
    begins = np.concatenate(([0.0], ends[:-1]))
    cell = np.searchsorted(summed, begins[rows] + chance * (ends - begins)[rows], side="right")
    return np.asarray(np.clip(cell - rows * usable.shape[1], 0, usable.shape[1] - 1), np.int64)


def log_uniform(edges: Ints, bins: Ints, chance: Floats) -> Ints:
    """Integers within bins, int64[n], log-uniform; 0 has a bin of its own."""
    low, high = edges[bins], edges[bins + 1]
    begin = np.maximum(low, 1)  # the clip brings 0 back
    drawn = np.floor(begin * (high / begin) ** chance).astype(np.int64)
    return np.clip(drawn, low, high - 1)
