"""Totals over steps equal the sums of the steps, though no step was kept."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate.tally import Tally
from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Step, StepTime, split

MOST = 20
NUMBERS = np.random.default_rng(1)


def curve(lines: int) -> Curve:
    """Made-up times in every term, for two reaches and two ranks."""
    rows = len(RESOURCES)
    return Curve(
        tokens=NUMBERS.random((2, rows, MOST + 1)),
        sampled=NUMBERS.random((rows, MOST + 1)),
        decode=NUMBERS.random((2, rows)),
        prefill=NUMBERS.random((2, lines, 2)),
        lines=tuple(range(lines)),
        draft=NUMBERS.random((rows, MOST + 1)),
        joint=NUMBERS.random((2, rows, 2 * MOST + 1)),
    )


TIMES = StepTime(curve(2), curve(2), curve(1), idle_watts=0.0, reaches=(0, 8), ranks=2, width=2)


@dataclass(frozen=True)
class Taken:
    """A step of the slowest rank, and the kind and tokens of all ranks."""

    step: Step
    kind: int
    tokens: int


tokens = st.integers(1, MOST)
sums = st.lists(st.integers(0, 1000).map(float), min_size=2, max_size=2)
none = st.just([0.0, 0.0])
decodes = st.builds(Step, st.just(DECODE), tokens, tokens, sums, none, none, tokens)
mixed = st.builds(Step, st.just(MIXED), tokens, st.integers(0, MOST), sums, sums, sums, st.integers(0, MOST))
taken = st.one_of(
    st.builds(Taken, decodes, st.sampled_from([DECODE, MIXED]), st.integers(1, 2 * MOST)),
    st.builds(Taken, mixed, st.just(MIXED), st.integers(1, 2 * MOST)),
)


@given(st.lists(taken, max_size=20))
def test_totals_are_sums_of_steps(steps: list[Taken]) -> None:
    """Seconds by resource are those of the latency of each step: of the slowest rank, and of what all ranks do together."""
    tally = Tally(TIMES)
    for each in steps:
        tally.add(each.step, each.kind, each.tokens)
    together = sum((TIMES.latency.joint[each.kind, :, each.tokens] for each in steps), np.zeros(len(RESOURCES)))
    expected = sum((split(TIMES.latency, each.step) for each in steps), together)
    assert tally.resource_seconds() == pytest.approx(expected)
