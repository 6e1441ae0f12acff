"""Step times: the total, its split by resource, and the doubles for tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Step, StepTime, split, together, total

MOST, REACHES = 6, 2


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """A curve of any slopes, with two reaches and two competing lines; some draft, some have what ranks do together."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    resources = len(RESOURCES)
    drafting, ranks = draw(st.booleans()), draw(st.sampled_from((0, 2)))
    return Curve(
        tokens=random.random((2, resources, MOST + 1)),
        sampled=random.random((resources, MOST + 1)),
        decode=random.random((REACHES, resources)),
        prefill=random.random((REACHES, 2, 2)),
        lines=(0, 1),
        draft=random.random((resources, MOST + 1 if drafting else 0)),
        joint=random.random((2, resources, ranks * MOST + 1 if ranks else 0)),
    )


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Any step that the curve's tables hold."""
    sums = st.lists(st.floats(0, 1e6), min_size=REACHES, max_size=REACHES)
    sizes = st.integers(0, MOST)
    return Step(draw(st.sampled_from((DECODE, MIXED))), draw(sizes), draw(sizes), draw(sums), draw(sums), draw(sums), draw(sizes))


@given(curves(), steps())
def test_the_split_sums_to_the_total(curve: Curve, step: Step) -> None:
    """Time by resource adds up to the time."""
    assert split(curve, step).sum() == pytest.approx(total(curve, step), rel=1e-12)


@given(curves(), steps())
def test_the_total_is_its_formula(curve: Curve, step: Step) -> None:
    """Tables by kind and size, slopes per context, and of each reach's prefill lines the slower; drafting where there is any."""
    expected = curve.tokens[step.kind, :, step.tokens].sum() + curve.sampled[:, step.sampled].sum()
    if curve.draft.size:
        expected += curve.draft[:, step.drafting].sum()
    expected += sum(curve.decode[w].sum() * step.decode[w] for w in range(REACHES))
    if step.kind == MIXED:
        for w in range(REACHES):
            expected += max(curve.prefill[w, line] @ (step.pairs[w], step.reread[w]) for line in range(2))
    assert total(curve, step) == pytest.approx(expected, rel=1e-12)


@given(curves(), steps())
def test_a_decode_step_ignores_prefill(curve: Curve, step: Step) -> None:
    """Prefill sums count in mixed steps alone."""
    decode = Step(DECODE, step.tokens, step.sampled, step.decode, step.pairs, step.reread, step.drafting)
    without = Step(DECODE, step.tokens, step.sampled, step.decode, [0.0] * REACHES, [0.0] * REACHES, step.drafting)
    assert total(curve, decode) == total(curve, without)


@given(curves(), st.sampled_from((DECODE, MIXED)), st.integers(0, MOST))
def test_ranks_share_what_they_do_together(curve: Curve, kind: int, tokens: int) -> None:
    """It depends on the kind and on the tokens of all ranks; a rank that is alone has none."""
    expected = curve.joint[kind, :, tokens].sum() if curve.joint.size else 0.0
    assert together(curve, kind, tokens) == pytest.approx(expected, rel=1e-12)


def test_the_slower_line_sets_the_resource() -> None:
    """Prefill attention counts as compute where pairs prevail, as memory where the cache read again does."""
    zeros = np.zeros((2, len(RESOURCES), 2)), np.zeros((len(RESOURCES), 2)), np.zeros((1, len(RESOURCES)))
    curve = Curve(*zeros, np.array([[[2.0, 0.0], [0.0, 3.0]]]), (0, 1))
    assert split(curve, Step(MIXED, 1, 0, [0.0], [6.0], [3.0])).tolist() == [12.0, 0, 0, 0, 0]
    assert split(curve, Step(MIXED, 1, 0, [0.0], [3.0], [6.0])).tolist() == [0, 18.0, 0, 0, 0]


def test_linear_is_what_it_says() -> None:
    """Fixed time, time per token and time per context; an empty step takes none."""
    times = StepTime.linear(0.5, 0.25, 0.125, most=8)
    assert (times.most_tokens, times.most_sampled, times.depth, times.reaches) == (8, 8, 1, (0,))
    assert total(times.interval, Step(DECODE, 4, 4, [8.0], [0.0], [0.0])) == 0.5 + 1.0 + 1.0
    assert total(times.latency, Step(MIXED, 4, 1, [0.0], [10.0], [0.0])) == 0.5 + 1.0
    assert total(times.interval, Step(DECODE, 0, 0, [0.0], [0.0], [0.0])) == 0.0


def test_constant_is_what_it_says() -> None:
    """Every step that does something takes the same time."""
    times = StepTime.constant(0.25, most=8)
    for tokens in (1, 8):
        assert total(times.interval, Step(MIXED, tokens, tokens, [1e6], [1e6], [1e6])) == 0.25


def test_nothing_spills_unless_said() -> None:
    """A step time has no second cache tier by default."""
    times = StepTime.constant(1.0)
    assert times.spill_after == float("inf")
    assert times.spill == 0.0
    assert (times.ranks, times.width) == (1, 1)
