"""Ranks in lock step: each has requests of its own, and all wait for the slowest.

A step is, by rank, (who decodes, {whose prompt: tokens}).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import RESOURCES, StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Watch = Callable[..., tuple[list[tuple[tuple[list[int], dict[int, int]], ...]], Outcome]]

POLICY = Policy(token_budget=16, max_num_seqs=8, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))
NOTHING: tuple[list[int], dict[int, int]] = ([], {})
MOST = 1000


def ranks(count: int, times: StepTime, joint: float = 0.0) -> StepTime:
    """So many ranks, each of whose steps takes such a time, and `joint` seconds for each token of all of them."""
    together = np.zeros((2, len(RESOURCES), count * MOST + 1))
    together[:, 2] = joint * np.arange(count * MOST + 1)
    curve = replace(times.interval, joint=together)
    return replace(times, interval=curve, latency=curve, joules=curve, ranks=count)


def test_a_step_lasts_as_long_as_its_slowest_rank_and_what_all_do_together(asked: Asked, serve: Serve) -> None:
    """Prompts of four and ten tokens: ten seconds of the second rank, and half a second for each of fourteen tokens."""
    outcome = serve(asked((4, 1), (10, 1)), Fleet.of(ranks(2, StepTime.linear(0.0, 1.0, most=MOST), joint=0.5), POLICY))
    assert outcome.finish.tolist() == [17.0, 17.0]
    assert outcome.resource_seconds[:3].tolist() == [10.0, 0.0, 7.0]


def test_energy_is_that_of_all_ranks(asked: Asked, serve: Serve) -> None:
    """Here a joule for each second of each rank, and for each second together."""
    outcome = serve(asked((4, 1), (10, 1)), Fleet.of(ranks(2, StepTime.linear(0.0, 1.0, most=MOST), joint=0.5), POLICY))
    assert outcome.joules == 4 + 10 + 7


def test_a_rank_without_work_does_not_lengthen_a_step(asked: Asked, serve: Serve) -> None:
    """Not even by the fixed time of its steps."""
    assert serve(asked((4, 3)), Fleet.of(ranks(4, StepTime.linear(1.0, 1.0, most=MOST)), POLICY)).finish[0] == 5 + 2 + 2


def test_requests_go_to_ranks_in_turn(asked: Asked, watch: Watch) -> None:
    """The router sees ranks: of three requests the third is the second of the first rank."""
    steps, _ = watch(asked((4, 1), (3, 1), (2, 1)), Fleet.of(ranks(2, StepTime.constant(1.0, most=MOST)), POLICY))
    assert steps == [(([], {0: 4, 2: 2}), ([], {1: 3}))]


def test_each_rank_has_its_own_budget_seats_and_cache(asked: Asked, serve: Serve) -> None:
    """Two prompts that fill one rank are computed at once by two."""
    tight = replace(POLICY, token_budget=4, max_num_seqs=1, kv_capacity=4.0)
    times = StepTime.constant(1.0, most=MOST)
    assert serve(asked((4, 1), (4, 1)), Fleet.of(ranks(2, times), tight)).finish.tolist() == [1.0, 1.0]
    assert serve(asked((4, 1), (4, 1)), Fleet.of(times, tight)).finish.tolist() == [1.0, 2.0]


def test_decodes_wait_for_prompts_of_other_ranks(asked: Asked, serve: Serve) -> None:
    """While the second rank computes ten tokens, the first has one token less in all that time."""
    outcome = serve(asked((1, 3), (10, 1), at=(0.0, 0.5)), Fleet.of(ranks(2, StepTime.linear(0.0, 1.0, most=MOST)), POLICY))
    assert outcome.largest_gap[0] == 10.0


def test_all_ranks_land_together(asked: Asked, watch: Watch) -> None:
    """A request that comes to an idle rank during a step of another is seen at its end."""
    steps, outcome = watch(asked((4, 2), (1, 1), at=(0.0, 0.5)), Fleet.of(ranks(2, StepTime.linear(0.0, 1.0, most=MOST)), POLICY))
    assert steps == [(([], {0: 4}), NOTHING), (([0], {}), ([], {1: 1}))]
    assert outcome.finish.tolist() == [5.0, 5.0]


# Prompts that wait for ranks without any


WAITING = replace(POLICY, prefill_wait=3)
SECOND = StepTime.constant(1.0, most=MOST)


@pytest.mark.parametrize(("wait", "first_token"), [(0, 2.0), (1, 3.0), (3, 5.0)])
def test_a_prompt_waits_for_ranks_that_have_none(asked: Asked, serve: Serve, wait: int, first_token: float) -> None:
    """For so many decode steps from the moment it is seen, at 1."""
    outcome = serve(asked((1, 10), (1, 1), at=(0.0, 0.5)), Fleet.of(ranks(2, SECOND), replace(POLICY, prefill_wait=wait)))
    assert outcome.first_token[1] == first_token


def test_prompts_go_when_all_ranks_have_one(asked: Asked, serve: Serve) -> None:
    """The third request, for the first rank, comes at 1.5: both prompts are computed from 2 on."""
    outcome = serve(asked((1, 10), (1, 1), (1, 1), at=(0.0, 0.5, 1.5)), Fleet.of(ranks(2, SECOND), WAITING))
    assert outcome.first_token[1:].tolist() == [3.0, 3.0]


def test_a_prompt_that_joins_those_that_wait_does_not_begin_the_count_anew(asked: Asked, serve: Serve) -> None:
    """Of three ranks the second has a prompt from 3 on and the third from 4 on: after two steps both go, at 5."""
    fleet = Fleet.of(ranks(3, SECOND), replace(POLICY, prefill_wait=2))
    assert serve(asked((1, 6), (1, 1), (1, 1), at=(0.0, 3.0, 4.0)), fleet).first_token.tolist() == [1.0, 6.0, 6.0]


def test_prompts_do_not_wait_when_nobody_decodes(asked: Asked, serve: Serve) -> None:
    """There is nothing to do in between."""
    assert serve(asked((1, 1)), Fleet.of(ranks(2, SECOND), WAITING)).first_token[0] == 1.0


def test_prompts_do_not_wait_for_a_decode_that_gives_way(asked: Asked, watch: Watch) -> None:
    """At 4 the third request has half its prompt and the first, of a lower class, no room to go on: nobody decodes any more."""
    policy = replace(POLICY, token_budget=5, kv_capacity=15.0, prefill_wait=2)
    workload = asked((4, 10), (1, 1), (8, 1), at=(0.0, 0.0, 0.5), priority=[1, 0, 0])
    steps, outcome = watch(workload, Fleet.of(ranks(2, SECOND), policy))
    assert [first for first, _ in steps[:5]] == [([], {0: 4}), ([0], {}), ([0], {}), ([0], {2: 4}), ([], {2: 4})]
    assert outcome.preemptions.tolist() == [1, 0, 0]
    assert outcome.served.all()


def test_each_chunk_of_a_prompt_waits(asked: Asked, serve: Serve) -> None:
    """The count starts over after each step with prompts: three decodes, a chunk, three decodes, a chunk."""
    outcome = serve(asked((1, 20), (32, 1), at=(0.0, 0.5)), Fleet.of(ranks(2, SECOND), WAITING))
    assert outcome.first_token[1] == 1 + 2 * (3 + 1)


def test_one_rank_has_nobody_to_wait_for(asked: Asked, serve: Serve) -> None:
    """The limit does not matter."""
    assert serve(asked((1, 10), (1, 1), at=(0.0, 0.5)), Fleet.of(SECOND, WAITING)).first_token[1] == 2.0
