"""Classes of priority, the lower the sooner: who is admitted and who gives way. A step is (who decodes, {whose prompt: tokens})."""

from collections.abc import Callable
from dataclasses import replace

from assay.simulate import Fleet, Outcome, Policy
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Schedule = Callable[..., tuple[list[tuple[list[int], dict[int, int]]], Outcome]]

SECOND = StepTime.constant(1.0, most=1000)
POLICY = Policy(token_budget=8, max_num_seqs=1, block_size=1, kv_capacity=1000.0, kv_bytes=((0, 1.0),))


def test_the_class_decides_who_is_admitted_and_then_the_order_of_arrival(schedule: Schedule, asked: Asked) -> None:
    """One at a time; any integers may name classes."""
    _, outcome = schedule(asked(*[(1, 1)] * 5, priority=[7, -1, 7, 0, -1]), POLICY)
    assert outcome.first_token.tolist() == [4.0, 1.0, 5.0, 3.0, 2.0]


def test_equal_classes_are_no_classes(schedule: Schedule, asked: Asked) -> None:
    """First come, first served."""
    _, outcome = schedule(asked(*[(1, 1)] * 4, priority=[3] * 4), POLICY)
    assert outcome.first_token.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_who_runs_is_not_stopped_by_who_comes(schedule: Schedule, asked: Asked) -> None:
    """A better class waits for a seat as all do."""
    _, outcome = schedule(asked((1, 5), (1, 1), at=(0.0, 0.5), priority=[1, 0]), POLICY)
    assert outcome.finish.tolist() == [5.0, 6.0]


def test_nobody_passes_a_better_class_that_does_not_fit(schedule: Schedule, asked: Asked) -> None:
    """The second request waits for memory, and the third, which would fit, behind it."""
    policy = replace(POLICY, max_num_seqs=8, kv_capacity=12.0)
    _, outcome = schedule(asked((7, 3), (7, 1), (1, 1), at=(0.0, 0.5, 0.5), priority=[1, 0, 1]), policy)
    assert outcome.first_token.tolist() == [1.0, 4.0, 4.0]


def test_the_lowest_class_gives_way_first(schedule: Schedule, asked: Asked) -> None:
    """Not the one admitted last: that is of a better class."""
    policy = replace(POLICY, max_num_seqs=8, kv_capacity=12.0)
    steps, outcome = schedule(asked((4, 6), (4, 6), at=(0.0, 0.5), priority=[1, 0]), policy)
    assert steps[:4] == [([], {0: 4}), ([0], {1: 4}), ([0, 1], {}), ([1], {})]
    assert outcome.preemptions.tolist() == [1, 0]
    assert outcome.finish[1] < outcome.finish[0]


def test_of_the_lowest_class_the_one_admitted_last_gives_way(schedule: Schedule, asked: Asked) -> None:
    """All three grow by a token a step until 15 are held."""
    policy = replace(POLICY, token_budget=16, max_num_seqs=8, kv_capacity=15.0)
    _, outcome = schedule(asked((4, 4), (4, 4), (4, 4), priority=[1, 0, 1]), policy)
    assert outcome.preemptions.tolist() == [0, 0, 1]


def test_who_gave_way_goes_first_of_its_class_but_after_better_ones(schedule: Schedule, asked: Asked) -> None:
    """While it waits the fourth is admitted; the third, of its own class, follows it."""
    policy = replace(POLICY, max_num_seqs=2, kv_capacity=12.0)
    workload = asked((4, 6), (4, 6), (4, 1), (4, 1), at=(0.0, 0.0, 2.5, 3.5), priority=[0, 1, 1, 0])
    steps, outcome = schedule(workload, policy)
    assert outcome.preemptions.tolist() == [0, 1, 0, 0]
    assert steps[4] == ([0], {3: 4})
    assert steps[6] == ([], {1: 7, 2: 1})


def test_the_lowest_class_starves_until_the_others_are_done(serve: Serve, asked: Asked) -> None:
    """As long as better ones keep all seats; then it is served, however long it waited."""
    better = 50
    workload = asked((1, 1), *[(1, 1)] * better, at=(0.0, *map(float, range(better))), priority=[1] + [0] * better)
    outcome = serve(workload, Fleet.of(SECOND, POLICY))
    assert outcome.first_token.tolist() == [better + 1.0, *(row + 1.0 for row in range(better))]


def test_classes_hold_on_every_replica(serve: Serve, asked: Asked) -> None:
    """Each has its own queue: requests are dealt out without a look at their class."""
    outcome = serve(asked(*[(1, 1)] * 6, priority=[1, 1, 1, 0, 0, 0]), Fleet.of(SECOND, POLICY, replicas=2))
    assert outcome.first_token[[4, 0, 2]].tolist() == outcome.first_token[[3, 5, 1]].tolist() == [1.0, 2.0, 3.0]
