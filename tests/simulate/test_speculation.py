"""How many decode steps a request takes when drafted tokens are accepted, and what that does to a run."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate import Fleet, Outcome, Policy
from assay.simulate.records import gap_bin
from assay.simulate.speculation import decode_steps
from assay.steptime import RESOURCES, StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

POLICY = Policy(token_budget=100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))

outputs = st.lists(st.integers(0, 500), min_size=1, max_size=50).map(np.array)
widths = st.integers(2, 9)
chances = st.floats(0, 1)


def speculative(times: StepTime, width: int, acceptance: float, policy: Policy = POLICY) -> Fleet:
    """Each decode step verifies `width` tokens of a sequence."""
    return replace(Fleet.of(replace(times, width=width), policy), acceptance=acceptance)


# How many steps


@given(outputs, chances)
def test_without_drafts_each_step_gives_a_token(output: np.ndarray, acceptance: float) -> None:
    """The first token is that of the prompt."""
    steps, rate = decode_steps(output, 1, acceptance, 0)
    assert steps.tolist() == np.maximum(output - 1, 0).tolist()
    assert (rate == 1.0).all()


@given(outputs, widths)
def test_drafts_that_are_never_accepted_give_a_token_a_step(output: np.ndarray, width: int) -> None:
    """The one that the verifying step itself gives."""
    steps, rate = decode_steps(output, width, 0.0, 0)
    assert steps.tolist() == np.maximum(output - 1, 0).tolist()
    assert (rate == 1.0).all()


@given(outputs, widths)
def test_drafts_that_are_always_accepted_give_the_whole_width(output: np.ndarray, width: int) -> None:
    """In every step but the last, of which the rest is not needed."""
    steps, _ = decode_steps(output, width, 1.0, 0)
    assert steps.tolist() == [math.ceil(max(tokens - 1, 0) / width) for tokens in output.tolist()]


@given(outputs, widths, chances, st.integers(0, 9))
def test_steps_give_all_tokens_at_no_more_than_the_width(output: np.ndarray, width: int, acceptance: float, seed: int) -> None:
    """At least one a step, in the mean over a request no more than it wants, and as many steps as tokens at most."""
    steps, rate = decode_steps(output, width, acceptance, seed)
    tokens = np.maximum(output - 1, 0)
    assert (steps <= tokens).all()
    assert (steps * width >= tokens).all()
    assert (rate >= 1).all()
    assert (rate <= width).all()
    assert (steps * rate <= tokens).all()
    assert (tokens < (rate + 1 / 256) * np.maximum(steps, 1) + (tokens == 0)).all()


@given(outputs, widths, chances, st.integers(0, 9))
def test_a_seed_draws_the_same_steps(output: np.ndarray, width: int, acceptance: float, seed: int) -> None:
    """Each time."""
    (steps, rate), (again, rate_again) = (decode_steps(output, width, acceptance, seed) for _ in range(2))
    assert steps.tolist() == again.tolist()
    assert rate.tolist() == rate_again.tolist()


def test_another_seed_draws_other_steps() -> None:
    """A hundred requests do not all take the same number twice."""
    one, other = (decode_steps(np.full(100, 200), 4, 0.5, seed)[0] for seed in (0, 1))
    assert (one != other).any()


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("acceptance", [0.1, 0.5, 0.8, 0.95])
def test_the_mean_tokens_of_a_step(width: int, acceptance: float) -> None:
    """With k drafts (1 - a^(k + 1)) / (1 - a), within four standard errors of the steps that were drawn."""
    tokens = 400_000
    steps = int(decode_steps(np.array([tokens + 1]), width, acceptance, 3)[0][0])
    expected = (1 - acceptance**width) / (1 - acceptance)
    accepted = np.arange(width)
    chance = np.append(acceptance ** accepted[:-1] * (1 - acceptance), acceptance ** (width - 1))
    spread = math.sqrt(chance @ (1 + accepted) ** 2 - expected**2)
    assert tokens / steps == pytest.approx(expected, abs=4 * spread / math.sqrt(steps))


# What that does to a run


def test_accepted_drafts_come_together(asked: Asked, serve: Serve) -> None:
    """Nine tokens: one at the end of the prompt, eight more in two steps of four; a gap lies between steps."""
    outcome = serve(asked((10, 9)), speculative(StepTime.constant(1.0, most=100), 4, 1.0))
    assert outcome.first_token[0] == 1.0
    assert outcome.finish[0] == 3.0
    assert outcome.gaps.sum() == outcome.gaps[gap_bin(1.0)] == 2


def test_a_step_verifies_all_drafts(asked: Asked, serve: Serve) -> None:
    """A second per token: a prompt of ten takes ten, a step of four tokens four, accepted or not."""
    outcome = serve(asked((10, 3)), speculative(StepTime.linear(0.0, 1.0, most=100), 4, 0.0))
    assert outcome.finish[0] == 10 + 2 * 4


def test_all_drafts_are_sampled(asked: Asked, serve: Serve) -> None:
    """Half a second per token that the head sees: the last of the prompt, then four in each step."""
    times = StepTime.constant(1.0, most=100)
    sampled = np.zeros((len(RESOURCES), 101))
    sampled[0] = 0.5 * np.arange(101)
    curve = replace(times.interval, sampled=sampled)
    outcome = serve(asked((10, 3)), speculative(replace(times, interval=curve, latency=curve), 4, 0.0))
    assert outcome.finish[0] == 1.5 + 2 * 3.0


def test_sequences_draft_before_they_are_verified(asked: Asked, serve: Serve) -> None:
    """A quarter of a second for each that decodes; prompts draft nothing."""
    times = StepTime.constant(1.0, most=100)
    draft = np.zeros((len(RESOURCES), 101))
    draft[2] = 0.25 * np.arange(101)
    curve = replace(times.interval, draft=draft)
    outcome = serve(asked((10, 9), (10, 9)), speculative(replace(times, interval=curve, latency=curve, joules=curve), 4, 1.0))
    assert outcome.first_token.tolist() == [1.0, 1.0]
    assert outcome.finish.tolist() == [1 + 2 * 1.5] * 2
    assert outcome.joules == outcome.resource_seconds.sum() == 4.0


def test_drafts_count_against_the_budget(asked: Asked, serve: Serve) -> None:
    """Of ten tokens a step two sequences take eight: the third waits for one of them to end."""
    policy = replace(POLICY, token_budget=10)
    outcome = serve(asked((1, 9), (1, 9), (1, 9)), speculative(StepTime.constant(1.0, most=100), 4, 1.0, policy))
    assert outcome.first_token.tolist() == [1.0, 1.0, 4.0]


def test_decodes_attend_to_what_was_accepted(asked: Asked, serve: Serve) -> None:
    """A second per token of context: eleven are known after the prompt, fifteen a step later."""
    outcome = serve(asked((10, 9)), speculative(StepTime.linear(0.0, 0.0, 1.0, most=100), 4, 1.0))
    assert outcome.finish[0] == 11 + 15


def test_accepted_tokens_and_drafts_take_cache(asked: Asked, serve: Serve) -> None:
    """The prompt and three drafts, then four more with each of two steps."""
    assert serve(asked((10, 9)), speculative(StepTime.constant(1.0, most=100), 4, 1.0)).kv_peak == (10 + 3 + 2 * 4) / 1000


def test_who_gave_way_goes_on_with_the_steps_it_has_left(asked: Asked, serve: Serve) -> None:
    """No token is given twice, none is lost: the gaps of both are as many as their steps."""
    workload = asked((10, 41), (10, 41))
    outcome = serve(workload, speculative(StepTime.constant(1.0, most=100), 4, 1.0, replace(POLICY, kv_capacity=80.0)))
    assert outcome.preemptions.sum() > 0
    assert outcome.gaps.sum() == 2 * 10


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("window", [0, 16])
def test_who_fits_alone_is_never_preempted_alone(asked: Asked, serve: Serve, window: int, block: int) -> None:
    """The most that a request is said to take is what it takes."""
    policy = replace(POLICY, block_size=block, kv_bytes=((window, 1.0),))
    policy = replace(policy, kv_capacity=policy.most(1, 41, 4))
    outcome = serve(asked((1, 41)), speculative(StepTime.constant(1.0, most=100), 4, 1.0, policy))
    assert outcome.served.all()
    assert outcome.kv_peak <= 1.0
    assert not outcome.preemptions.any()


def test_one_seed_one_run(serve: Serve) -> None:
    """The same seed gives the same times, another seed others."""
    workload = Workload.draw(20, 50, requests=40).closed(4)
    fleet = speculative(StepTime.constant(0.25, most=100), 4, 0.6)
    first, again, other = (serve(workload, fleet, seed=seed).finish.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
