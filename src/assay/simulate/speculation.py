"""How many decode steps a request takes: one per token, or fewer when drafted tokens are accepted."""

import numpy as np

from assay.simulate.records import Floats, Integers

RATE_STEPS = 256  # tokens per step are rounded down to a multiple of 1 / this, so that sums of contexts are exact


def decode_steps(output: Integers, width: int, acceptance: float, seed: int) -> tuple[Integers, Floats]:
    """Steps after the first token of each request, and its mean tokens per step.

    A step verifies `width` - 1 drafts and gives the accepted ones, up to the first that is not, and one more. The steps of a request
    are drawn once, so that its tokens come evenly in all of them.
    """
    tokens = np.maximum(output - 1, 0)
    if width == 1:
        return tokens, np.ones(len(output))
    steps = _drawn(tokens.copy(), _chances(width, acceptance), np.random.default_rng(np.random.SeedSequence((seed, width))))
    rate = tokens / np.maximum(steps, 1)
    return steps, np.maximum(1.0, np.floor(rate * RATE_STEPS) / RATE_STEPS)


def _chances(width: int, acceptance: float) -> Floats:
    """Chance that a step gives 1, 2 ... `width` tokens."""
    reached = np.asarray(acceptance ** np.arange(width), np.float64)
    return np.append(-np.diff(reached), reached[-1])


def _drawn(missing: Integers, chances: Floats, random: np.random.Generator) -> Integers:
    """Steps until none of the `missing` tokens is; as many steps at once as cannot give more than are missing."""
    steps = np.zeros_like(missing)
    given = np.arange(1, len(chances) + 1)
    while (rows := np.flatnonzero(missing > 0)).size:
        several = np.maximum(missing[rows] // len(chances), 1)
        missing[rows] -= random.multinomial(several, chances) @ given
        steps[rows] += several
    return steps
