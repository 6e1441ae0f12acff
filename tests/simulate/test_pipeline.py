"""A pipeline takes a step each interval and gives its tokens after the latency."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Watch = Callable[..., tuple[list[tuple[tuple[list[int], dict[int, int]], ...]], Outcome]]

LATENCY = 1.0
ROOMY = Policy(token_budget=64, max_num_seqs=256, block_size=1, kv_capacity=1e9, kv_bytes=((0, 1.0),))


def pipeline(depth: int, most: int = 256) -> StepTime:
    """So many stages, each of which takes its part of the latency, whatever the step does."""
    return replace(StepTime.constant(LATENCY / depth, most), latency=StepTime.constant(LATENCY, most).latency, depth=depth)


@pytest.mark.parametrize("depth", [1, 2, 8, 32])
def test_a_single_request_has_a_token_each_latency(serve: Serve, asked: Asked, depth: int) -> None:
    """Stages do not help one sequence: its next token needs the last one."""
    outcome = serve(asked((1, 100)), Fleet.of(pipeline(depth), ROOMY))
    assert outcome.first_token[0] == LATENCY
    assert (outcome.finish - outcome.first_token)[0] / 99 == LATENCY
    assert outcome.largest_gap[0] == LATENCY


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_as_many_requests_as_stages_multiply_the_throughput(serve: Serve, asked: Asked, depth: int) -> None:
    """Each is in another stage, and each has a token each latency: they end one interval after the other."""
    tokens = 200
    outcome = serve(asked(*[(1, tokens)] * depth), Fleet.of(pipeline(depth), replace(ROOMY, token_budget=1)))
    throughput = depth * tokens / outcome.duration
    assert throughput == pytest.approx(depth / LATENCY, rel=1 / tokens)
    assert outcome.largest_gap.tolist() == [LATENCY] * depth


@pytest.mark.parametrize("depth", [2, 8])
def test_requests_of_one_instant_are_spread_over_the_stages(serve: Serve, asked: Asked, depth: int) -> None:
    """Though all prompts fit into one step, each micro-batch takes its part of them: they start one interval after the other."""
    outcome = serve(asked(*[(1, 50)] * (4 * depth)), Fleet.of(pipeline(depth), ROOMY))
    assert outcome.first_token.tolist() == [LATENCY + row // 4 * LATENCY / depth for row in range(4 * depth)]
    assert outcome.largest_gap.tolist() == [LATENCY] * (4 * depth)
    assert outcome.steps == 50 * depth


def test_a_micro_batch_takes_its_part_rounded_up(watch: Watch, asked: Asked) -> None:
    """Of five sequences two stages take three and two; each decodes in the micro-batch in which its prompt ended."""
    steps, _ = watch(asked(*[(1, 3)] * 5), Fleet.of(pipeline(2), ROOMY))
    first, second = [0, 1, 2], [3, 4]
    assert [step for (step,) in steps] == [
        ([], {0: 1, 1: 1, 2: 1}),
        ([], {3: 1, 4: 1}),
        (first, {}),
        (second, {}),
        (first, {}),
        (second, {}),
    ]


def test_a_place_left_in_a_micro_batch_is_for_the_next_request(watch: Watch, asked: Asked) -> None:
    """Nobody moves to another micro-batch when one has become smaller: who comes later fills it up."""
    steps, _ = watch(asked((1, 2), (1, 6), (1, 6), (1, 2), at=(0.0, 0.0, 0.0, 2.5)), Fleet.of(pipeline(2), ROOMY))
    assert [step for (step,) in steps][:7] == [
        ([], {0: 1, 1: 1}),
        ([], {2: 1}),
        ([0, 1], {}),
        ([2], {}),
        ([1], {}),
        ([2], {3: 1}),
        ([1], {}),
    ]


def test_a_micro_batch_with_more_than_its_part_takes_nobody(serve: Serve, asked: Asked) -> None:
    """It took two of eight; when only these are left, the last chunk of a ninth, which it could compute at 4.75, waits for another."""
    workload = asked(*[(1, 20)] * 2, *[(1, 2)] * 6, (64 * 3 + 1, 1), at=(*[0.0] * 8, 4.0))
    assert serve(workload, Fleet.of(pipeline(4), ROOMY)).first_token[8] == 6.0


def test_seats_are_shared_among_micro_batches(serve: Serve, asked: Asked) -> None:
    """Of eight requests four may run, two in each of two stages: the others follow when these are done."""
    outcome = serve(asked(*[(1, 4)] * 8), Fleet.of(pipeline(2), replace(ROOMY, max_num_seqs=4)))
    assert outcome.first_token.tolist() == [1.0, 1.0, 1.5, 1.5, 5.0, 5.0, 5.5, 5.5]


@pytest.mark.parametrize(("depth", "chunks"), [(1, 1), (1, 5), (4, 1), (4, 3), (4, 10)])
def test_chunks_of_one_prompt_follow_one_another(serve: Serve, asked: Asked, depth: int, chunks: int) -> None:
    """Each is issued an interval after the last; the first token comes a latency after the last chunk."""
    outcome = serve(asked((64 * chunks - 5, 2)), Fleet.of(pipeline(depth), ROOMY))
    assert outcome.first_token[0] == (chunks - 1) * LATENCY / depth + LATENCY


def test_a_pipeline_decodes_beside_a_long_prompt(serve: Serve, asked: Asked) -> None:
    """Micro-batches take turns: a sequence waits once for a chunk that was first, and then has a token each latency."""
    outcome = serve(asked((1, 20), (64 * 12, 1), at=(0.0, 0.5)), Fleet.of(pipeline(4), ROOMY))
    assert outcome.largest_gap[0] == LATENCY + LATENCY / 4
    assert outcome.finish[0] == 20 * LATENCY + LATENCY / 4


def test_steps_do_not_overtake(serve: Serve, asked: Asked) -> None:
    """A short step behind a long one gives its token no sooner than that."""
    stage = StepTime.linear(0.25, 0.0, most=64)
    times = replace(stage, latency=StepTime.linear(0.0, 1.0, most=64).latency, depth=4)
    outcome = serve(asked((10, 1), (1, 1), at=(0.0, 0.1)), Fleet.of(times, ROOMY))
    assert outcome.first_token.tolist() == [10.0, 10.0]


def test_depth_one_does_not_look_at_the_latency(serve: Serve, asked: Asked) -> None:
    """Kernel by kernel, interval and latency are one and the same."""
    times = replace(StepTime.constant(LATENCY), latency=StepTime.constant(9 * LATENCY).latency)
    assert serve(asked((5, 7)), Fleet.of(times, ROOMY)).finish[0] == 7 * LATENCY


def test_time_by_resource_is_summed_over_stages(serve: Serve, asked: Asked) -> None:
    """Busy seconds are those of the first stage: the interval of each step."""
    outcome = serve(asked((1, 9)), Fleet.of(pipeline(4), ROOMY))
    assert outcome.busy_seconds == 9 * LATENCY / 4
    assert outcome.resource_seconds.sum() == 9 * LATENCY
