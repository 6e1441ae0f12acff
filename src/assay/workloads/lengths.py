"""How long requests are: token counts drawn around a nominal length or from a joint histogram, and prefixes that prompts share."""

import math
from dataclasses import dataclass

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints, starts_of

SHARED_BLOCK = 16
"""Tokens per prefix id of drawn prompts: the smallest block in which engines commonly keep prefixes."""


def uniform(name: str, nominal: int, spread: tuple[float, float], requests: int, random: np.random.Generator) -> Ints:
    """Lengths int64[requests] uniform on the integers from floor(low x nominal) to floor(high x nominal), both ends included.

    Only a nominal length of 0 draws lengths of 0.
    """
    low, high = spread
    if not (0 < low <= high and math.isfinite(high)):
        raise InputError("workload", "spread", f"is {low:g}:{high:g}", "Give LOW:HIGH, shares of the nominal length with 0 < LOW <= HIGH")
    least, most = _floor(low * nominal), _floor(high * nominal)
    if least < min(1, nominal):
        raise InputError("workload", name, f"is {nominal} with a spread from {low:g}, so below 1 token", "Give longer requests")
    return random.integers(least, most, requests, np.int64, endpoint=True)


def _floor(tokens: float) -> int:
    """Floor that forgives the rounding of a product such as 0.29 x 100."""
    return math.floor(tokens + 1e-9)


def shared_ids(shared: int, prompts: Ints) -> tuple[Ints, Ints]:
    """Prefix ids and offsets of prompts that begin with the same `shared` tokens, in whole blocks of SHARED_BLOCK tokens."""
    counts = np.minimum(prompts, shared) // SHARED_BLOCK
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
        summed = np.cumsum(self.weights.ravel())
        cell = np.searchsorted(summed, chance[:, 0] * summed[-1], side="right")
        row, column = np.divmod(cell, self.weights.shape[1])
        return _within(self.input_edges, row, chance[:, 1]), _within(self.output_edges, column, chance[:, 2])


def _within(edges: Ints, bins: Ints, chance: Floats) -> Ints:
    low, high = edges[bins], edges[bins + 1]
    begin = np.maximum(low, 1)  # 0 has a bin of its own, to which the clip brings it back
    drawn = np.floor(begin * (high / begin) ** chance).astype(np.int64)
    return np.clip(drawn, low, high - 1)
