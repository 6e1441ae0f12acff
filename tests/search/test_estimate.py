"""The closed-form guess, on step times whose answers are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assay.deployments import Speculation
from assay.search.estimate import guess, prefill_seconds, prompt_latency
from assay.search.evaluate import Question
from assay.search.plant import Plant
from assay.search.price import Market
from assay.search.sizing import at
from assay.slo import Slo
from assay.steptime import RESOURCES, StepTime
from assay.workloads import Workload

MakePlant = Callable[..., Plant]


@pytest.mark.parametrize(("tokens", "chunks"), [(1, 1), (512, 1), (513, 2), (5000, 10)])
def test_a_prompt_is_taken_in_chunks(make_plant: MakePlant, tokens: int, chunks: int) -> None:
    """Each chunk of the budget takes the fixed time, each token its own."""
    plant = make_plant(0.5, 0.001)
    assert prefill_seconds(plant, tokens) == pytest.approx(chunks * 0.5 + tokens * 0.001)
    assert prompt_latency(plant, tokens) == pytest.approx(prefill_seconds(plant, tokens))


def test_in_a_pipeline_chunks_follow_each_other(make_plant: MakePlant) -> None:
    """All chunks but the last keep the next one waiting for an interval; the last passes through every stage."""
    plant = make_plant(0.5, 0.0)
    slow = StepTime.linear(2.0, 0.0, most=512)
    staged = replace(plant, times=replace(plant.times, latency=slow.latency, depth=4))
    assert prefill_seconds(staged, 2048) == pytest.approx(4 * 0.5)
    assert prompt_latency(staged, 2048) == pytest.approx(3 * 0.5 + 2.0)


def test_the_guess_fills_the_batch(make_plant: MakePlant) -> None:
    """Without a target: a prompt of one step of 20 ms, then 16 tokens in steps of 20 ms that eight requests share."""
    found = guess(make_plant(0.02, 0.0), Workload.draw(64, 16, requests=50, rate=1.0), Slo())
    assert found.in_flight == 8
    assert found.rate == pytest.approx(1 / (0.02 + 16 * 0.02 / 8))


def test_a_tight_target_shrinks_the_batch(make_plant: MakePlant) -> None:
    """Where each sequence lengthens the step, a target of time per token allows fewer of them, and so a lower rate."""
    plant, workload = make_plant(0.01, 0.005, sequences=64), Workload.draw(8, 64, requests=50, rate=1.0)
    loose, tight = (guess(plant, workload, Slo(tpot=target)) for target in (1.0, 0.05))
    assert tight.in_flight < loose.in_flight
    assert tight.rate <= loose.rate
    assert guess(plant, workload, Slo(tpot=1e-6)).in_flight == 1


def test_the_guess_is_near_what_is_simulated(make_plant: MakePlant, market: Market) -> None:
    """A replica keeps up with half of the guess, and not with twice as much."""
    plant = make_plant()
    workload = Workload.draw(64, 16, requests=400, rate=1.0)
    rate = guess(plant, workload, Slo()).rate
    for factor, holds in ((0.5, True), (2.0, False)):
        assert at(plant, 1, Question(workload.at_rate(factor * rate), Slo()), market).stable == holds


def ranked(plant: Plant, ranks: int, seconds: float) -> Plant:
    """The same with ranks in lock step, which together spend `seconds` on each token of any of them."""
    joint = np.zeros((2, len(RESOURCES), ranks * 512 + 1))
    joint[:, 0] = seconds * np.arange(joint.shape[2])
    curve = replace(plant.times.interval, joint=joint)
    times = replace(plant.times, interval=curve, latency=curve, joules=curve, ranks=ranks)
    return replace(plant, times=times, part=replace(plant.part, tp=ranks, dp=ranks))


def drafting(plant: Plant, tokens: int, acceptance: float) -> Plant:
    """The same with speculation that costs no time."""
    part = replace(plant.part, speculation=Speculation(tokens, acceptance))
    return replace(plant, times=replace(plant.times, width=tokens + 1), part=part)


def test_ranks_serve_at_the_same_time(make_plant: MakePlant) -> None:
    """Four ranks serve four times as much, less what they do together on the tokens of all."""
    workload = Workload.draw(64, 16, requests=50, rate=1.0)
    alone, four = guess(make_plant(0.02, 0.0), workload, Slo()), guess(ranked(make_plant(0.02, 0.0), 4, 0.0), workload, Slo())
    assert (four.rate, four.in_flight) == (pytest.approx(4 * alone.rate), 4 * alone.in_flight)
    joined = guess(ranked(make_plant(0.02, 0.0), 4, 1e-4), workload, Slo())
    assert joined.rate == pytest.approx(4 / (0.02 + 256e-4 + 16 * (0.02 + 32e-4) / 8))


def test_a_prompt_alone_on_ranks_shares_nothing(make_plant: MakePlant) -> None:
    """What ranks do together is counted for the tokens that there are."""
    assert prompt_latency(ranked(make_plant(0.5, 0.0), 4, 1e-3), 600) == pytest.approx(2 * 0.5 + 0.6)


def test_accepted_drafts_spare_steps(make_plant: MakePlant) -> None:
    """At one half 1.75 tokens come of a step of two drafts; a target of time per token is that of the tokens."""
    workload = Workload.draw(64, 16, requests=50, rate=1.0)
    plant = drafting(make_plant(0.02, 0.0), 2, 0.5)
    assert guess(plant, workload, Slo()).rate == pytest.approx(1 / (0.02 + 16 / 1.75 * 0.02 / 8))
    assert guess(plant, workload, Slo(tpot=0.014)).in_flight == 1
    assert guess(drafting(make_plant(0.02, 0.0), 2, 1.0), workload, Slo(tpot=0.014)).in_flight > 1


def test_prompts_without_output_can_be_guessed(make_plant: MakePlant) -> None:
    """What generates nothing takes its prefill alone."""
    found = guess(make_plant(0.02, 0.0), Workload.draw(64, 0, requests=50, rate=1.0), Slo(tpot=0.05))
    assert found.rate == pytest.approx(1 / 0.02)


@pytest.mark.parametrize("kind", ["ranks", "drafts", "no output"])
def test_such_guesses_are_near_what_is_simulated(make_plant: MakePlant, market: Market, kind: str) -> None:
    """A replica keeps up with half of the guess, and not with twice as much."""
    plain = make_plant()
    plant = ranked(plain, 4, 1e-5) if kind == "ranks" else drafting(plain, 3, 0.7) if kind == "drafts" else plain
    lengths = (512, 0) if kind == "no output" else (64, 16)
    workload = Workload.draw(*lengths, requests=1000, rate=1.0)
    rate = guess(plant, workload, Slo()).rate
    for factor, holds in ((0.5, True), (2.0, False)):
        assert at(plant, 1, Question(workload.at_rate(factor * rate), Slo()), market).stable == holds
