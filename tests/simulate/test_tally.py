"""Totals over steps equal the sums of the steps, though no step was kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate.tally import Tally
from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Step, StepTime, split, total

MOST = 20
NUMBERS = np.random.default_rng(1)


def curve(lines: int) -> Curve:
    """Made-up times in every term, for two reaches."""
    rows = len(RESOURCES)
    return Curve(
        tokens=NUMBERS.random((2, rows, MOST + 1)),
        sampled=NUMBERS.random((rows, MOST + 1)),
        decode=NUMBERS.random((2, rows)),
        prefill=NUMBERS.random((2, lines, 2)),
        lines=tuple(range(lines)),
    )


TIMES = StepTime(curve(2), curve(2), curve(1), idle_watts=0.0, reaches=(0, 8))

tokens = st.integers(1, MOST)
sums = st.lists(st.integers(0, 1000).map(float), min_size=2, max_size=2)
decodes = st.builds(Step, st.just(DECODE), tokens, tokens, sums, st.just([0.0, 0.0]), st.just([0.0, 0.0]))
mixed = st.builds(Step, st.just(MIXED), tokens, st.integers(0, MOST), sums, sums, sums)


@given(st.lists(st.one_of(decodes, mixed), max_size=20))
def test_totals_are_sums_of_steps(steps: list[Step]) -> None:
    """Seconds by resource are those of the latency of each step, and joules those of each step."""
    tally = Tally(TIMES)
    for step in steps:
        tally.add(step)
    expected = sum((split(TIMES.latency, step) for step in steps), np.zeros(len(RESOURCES)))
    assert tally.steps == len(steps)
    assert tally.resource_seconds() == pytest.approx(expected)
    assert tally.joules() == pytest.approx(sum(total(TIMES.joules, step) for step in steps))
