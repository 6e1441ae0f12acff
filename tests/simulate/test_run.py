"""Replicas side by side, and what the time of steps depends on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.simulate import Fleet, Outcome, Policy, run
from assay.simulate.reference import attended
from assay.steptime import RESOURCES, Curve, StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]

POLICY = Policy(token_budget=100, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))
COLUMNS = ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap")
TOTALS = ("gaps", "resource_seconds", "joules", "steps", "busy_seconds", "prefill_seconds", "cached_seconds", "batch_seconds")


def test_replicas_take_turns(serve: Serve) -> None:
    """Round robin in an open loop: each serves its share as if alone; columns interleave, totals add up, the fullest cache counts."""
    workload = Workload.draw(50, 40, requests=100, spread=(0.2, 1.2), shared_prefix=32, rate=2.0)
    policy = replace(POLICY, kv_capacity=110.0, prefix_cache=True)
    times = StepTime.linear(0.125, 2**-10, 2**-13)
    whole = serve(workload, Fleet.of(times, policy, replicas=3))
    parts = [serve(share, Fleet.of(times, policy)) for share in workload.split(3)]
    for name in COLUMNS:
        for offset, part in enumerate(parts):
            np.testing.assert_array_equal(getattr(whole, name)[offset::3], getattr(part, name))
    for name in TOTALS:
        np.testing.assert_allclose(getattr(whole, name), sum(getattr(part, name) for part in parts), rtol=1e-12)
    assert whole.kv_peak == max(part.kv_peak for part in parts)
    assert whole.preemptions.any()
    assert whole.prefix_hit.any()


def test_a_replica_without_a_request_idles(asked: Asked, serve: Serve) -> None:
    """More replicas than requests change nothing."""
    one, many = (serve(asked((1, 5)), Fleet.of(StepTime.constant(1.0), POLICY, replicas)) for replicas in (1, 9))
    assert many.finish.tolist() == one.finish.tolist() == [5.0]
    assert many.steps == one.steps


@pytest.mark.parametrize("reference", [True, False])
def test_the_run_says_how_long_the_simulator_took(asked: Asked, reference: bool) -> None:
    """Seconds of the machine that runs it, not of the run."""
    fleet = Fleet.of(StepTime.constant(1000.0), replace(POLICY, kv_capacity=1e6))
    assert 0 < run(asked((1, 1000)), fleet, reference=reference).wall_time < 100


def test_progress_is_heard_of() -> None:
    """A long run tells now and then how many requests have ended."""
    heard: list[tuple[int, int]] = []
    workload = Workload.draw(50, 40, requests=100_000, rate=2.0)
    run(workload, Fleet.of(StepTime.constant(0.125), POLICY), progress=lambda ended, of: heard.append((ended, of)))
    assert heard
    assert heard == sorted(heard)
    assert {of for _, of in heard} == {100_000}


# What the time of a step depends on


def sloped(context: float, pair: float, again: float, reach: int = 0) -> StepTime:
    """A second a step, `context` per token attended to in decode, `pair` per pair and `again` per re-read token in prefill."""
    tokens = np.zeros((2, len(RESOURCES), 101))
    tokens[:, 0, 1:] = 1.0
    decode = np.zeros((1, len(RESOURCES)))
    decode[0, 1] = context
    curve = Curve(tokens, np.zeros((len(RESOURCES), 101)), decode, np.array([[[pair, 0.0], [0.0, again]]]), (0, 1))
    joules = replace(curve, prefill=curve.prefill[:, :1], lines=(0,))  # energy adds up: of it there is one line
    return StepTime(curve, curve, joules, idle_watts=0.0, reaches=(reach,))


def test_a_decode_attends_to_all_before_it(asked: Asked, serve: Serve) -> None:
    """The second token of a request attends to its prompt and its first token, the third to one more."""
    outcome = serve(asked((10, 3)), Fleet.of(sloped(1.0, 0.0, 0.0), POLICY))
    assert outcome.first_token[0] == 1.0
    assert outcome.finish[0] == 1.0 + (1 + 11) + (1 + 12)


def test_a_decode_attends_to_its_window(asked: Asked, serve: Serve) -> None:
    """Of 11 and 12 tokens the last four."""
    assert serve(asked((10, 3)), Fleet.of(sloped(1.0, 0.0, 0.0, reach=4), POLICY)).finish[0] == 1.0 + (1 + 4) + (1 + 4)


def test_a_prompt_attends_to_itself(asked: Asked, serve: Serve) -> None:
    """Ten tokens make 1 + 2 + ... + 10 pairs, in one chunk or in three."""
    assert serve(asked((10, 1)), Fleet.of(sloped(0.0, 1.0, 0.0), POLICY)).finish[0] == 1 + 55
    assert serve(asked((10, 1)), Fleet.of(sloped(0.0, 1.0, 0.0), replace(POLICY, token_budget=4))).finish[0] == 3 + 55


def test_a_chunk_reads_again_what_came_before(asked: Asked, serve: Serve) -> None:
    """Chunks of 4, 4 and 2 tokens read 0, 4 and 8."""
    assert serve(asked((10, 1)), Fleet.of(sloped(0.0, 0.0, 1.0), replace(POLICY, token_budget=4))).finish[0] == 3 + 12


def test_a_chunk_reads_again_no_more_than_its_window(asked: Asked, serve: Serve) -> None:
    """Of 4 and 8 tokens before it the last three."""
    assert serve(asked((10, 1)), Fleet.of(sloped(0.0, 0.0, 1.0, reach=3), replace(POLICY, token_budget=4))).finish[0] == 3 + 6


def test_the_slower_of_computing_and_reading_counts(asked: Asked, serve: Serve) -> None:
    """Chunks have 10, 26 and 19 pairs and read 0, 4 and 8 tokens again at 4 s each."""
    outcome = serve(asked((10, 1)), Fleet.of(sloped(0.0, 1.0, 4.0), replace(POLICY, token_budget=4)))
    assert outcome.finish[0] == 3 + 10 + 26 + 32
    assert outcome.resource_seconds[:2].tolist() == [3 + 10 + 26, 32]


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 40))
def test_pairs_are_those_of_each_token(before: int, chunk: int, reach: int) -> None:
    """Each token of a chunk attends to all up to itself, within the reach."""
    positions = range(before + 1, before + chunk + 1)
    assert attended(before, chunk, reach) == sum(min(position, reach) if reach else position for position in positions)


def test_cache_beyond_the_fast_memory_slows_steps(asked: Asked, serve: Serve) -> None:
    """Each byte in use above 12 adds half a second: the prompt of ten none, decodes at 11, 12, 13 and 14 tokens in use up to one."""
    times = replace(StepTime.constant(1.0), spill_after=12.0, spill=0.5)
    outcome = serve(asked((10, 5)), Fleet.of(times, POLICY))
    assert outcome.finish[0] == 5 + 0.5 + 1.0


def test_a_prompt_slows_all_its_chunks(asked: Asked, serve: Serve) -> None:
    """Its twenty bytes are held from the first of five chunks on, eight of them in the slower tier."""
    times = replace(StepTime.constant(1.0), spill_after=12.0, spill=0.5)
    outcome = serve(asked((20, 1)), Fleet.of(times, replace(POLICY, token_budget=4)))
    assert outcome.finish[0] == outcome.busy_seconds == 5 * (1 + 4.0)


# Who the time is charged to


def test_prefill_is_charged_what_it_adds(asked: Asked, serve: Serve) -> None:
    """A step with nothing but prefill counts whole; beside a decode, what it takes longer than the decode alone."""
    outcome = serve(asked((10, 3), (20, 1), at=(0.0, 0.5)), Fleet.of(StepTime.linear(1.0, 0.25), POLICY))
    # Steps: 10 tokens of prompt; 20 of prompt beside a decode; a decode.
    assert outcome.busy_seconds == 3 + 0.25 * (10 + 21 + 1)
    assert outcome.prefill_seconds == (1 + 0.25 * 10) + 0.25 * 20
    assert outcome.batch_seconds == 3.5 * 1 + 6.25 * 2 + 1.25 * 1


def test_cached_prefixes_are_charged_what_attending_to_them_adds(asked: Asked, serve: Serve) -> None:
    """A prompt of 20 finds 16: its 4 tokens make 74 pairs instead of the 10 among themselves."""
    workload = asked((20, 1), (20, 1), at=(0.0, 500.0), ids=[[0, 1], [0, 1]], block=8)
    outcome = serve(workload, Fleet.of(sloped(0.0, 1.0, 0.0), replace(POLICY, prefix_cache=True)))
    assert outcome.finish.tolist() == [211.0, 575.0]
    assert outcome.cached_seconds == 74 - 10
    assert outcome.prefill_seconds == outcome.busy_seconds == 211 + 75


def test_energy_is_that_of_each_step(asked: Asked, serve: Serve) -> None:
    """A StepTime for tests takes one joule a second."""
    outcome = serve(asked((10, 5), (7, 3)), Fleet.of(StepTime.linear(0.5, 0.25, 0.125), POLICY))
    assert outcome.joules == pytest.approx(outcome.busy_seconds, rel=1e-12)
    assert outcome.joules == pytest.approx(outcome.resource_seconds.sum(), rel=1e-12)
