"""A pipeline takes a step each interval and gives its tokens after the latency."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Policy, run
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]

LATENCY = 1.0
ROOMY = Policy(token_budget=64, max_num_seqs=256, block_size=1, kv_capacity=1e9, kv_bytes=((0, 1.0),))


def pipeline(depth: int, most: int = 256) -> StepTime:
    """So many stages, each of which takes its part of the latency, whatever the step does."""
    return replace(StepTime.constant(LATENCY / depth, most), latency=StepTime.constant(LATENCY, most).latency, depth=depth)


@pytest.mark.parametrize("depth", [1, 2, 8, 32])
def test_a_single_request_has_a_token_each_latency(asked: Asked, depth: int) -> None:
    """Stages do not help one sequence: its next token needs the last one."""
    outcome = run(asked((1, 100)), pipeline(depth), ROOMY)
    assert outcome.first_token[0] == LATENCY
    assert (outcome.finish - outcome.first_token)[0] / 99 == LATENCY
    assert outcome.largest_gap[0] == LATENCY


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_as_many_requests_as_stages_multiply_the_throughput(asked: Asked, depth: int) -> None:
    """Each is in another stage, and each has a token each latency: they end one interval after the other."""
    tokens = 200
    outcome = run(asked(*[(1, tokens)] * depth), pipeline(depth), replace(ROOMY, token_budget=1))
    throughput = depth * tokens / outcome.duration
    assert throughput == pytest.approx(depth / LATENCY, rel=1 / tokens)
    assert outcome.largest_gap.tolist() == [LATENCY] * depth


@pytest.mark.parametrize("depth", [2, 8])
def test_requests_admitted_together_are_spread_over_the_stages(asked: Asked, depth: int) -> None:
    """Though all prompts share one step, decodes are dealt out evenly: as many steps at a time as there are stages."""
    outcome = run(asked(*[(1, 50)] * (4 * depth)), pipeline(depth), ROOMY)
    assert outcome.steps == 1 + 49 * depth
    assert outcome.duration < (1 + 49 + 1) * LATENCY


@pytest.mark.parametrize(("depth", "chunks"), [(1, 1), (1, 5), (4, 1), (4, 3), (4, 10)])
def test_chunks_of_one_prompt_follow_one_another(asked: Asked, depth: int, chunks: int) -> None:
    """Each is issued an interval after the last; the first token comes a latency after the last chunk."""
    outcome = run(asked((64 * chunks - 5, 2)), pipeline(depth), ROOMY)
    assert outcome.first_token[0] == (chunks - 1) * LATENCY / depth + LATENCY


def test_a_pipeline_decodes_behind_a_long_prompt(asked: Asked) -> None:
    """Between chunks of another prompt a sequence keeps its pace: chunks hold up a stage, not the pipeline."""
    outcome = run(asked((1, 20), (64 * 12, 1), at=(0.0, 0.5)), pipeline(4), ROOMY)
    assert outcome.largest_gap[0] == LATENCY


def test_steps_do_not_overtake(asked: Asked) -> None:
    """A short step behind a long one gives its token no sooner than that."""
    stage = StepTime.linear(0.25, 0.0, most=64)
    times = replace(stage, latency=StepTime.linear(0.0, 1.0, most=64).latency, depth=4)
    outcome = run(asked((10, 1), (1, 1), at=(0.0, 0.1)), times, ROOMY)
    assert outcome.first_token.tolist() == [10.0, 10.0]


def test_depth_one_does_not_look_at_the_latency(asked: Asked) -> None:
    """Kernel by kernel, interval and latency are one and the same."""
    assert run(asked((5, 7)), pipeline(1), ROOMY).finish[0] == run(asked((5, 7)), StepTime.constant(LATENCY), ROOMY).finish[0]


def test_time_by_resource_is_summed_over_stages(asked: Asked) -> None:
    """Busy seconds are those of the first stage: the interval of each step."""
    outcome = run(asked((1, 9)), pipeline(4), ROOMY)
    assert outcome.busy_seconds == 9 * LATENCY / 4
    assert outcome.resource_seconds.sum() == 9 * LATENCY
