"""Which replica serves a request: each of them takes its own time for a step, which tells who did."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from assay.simulate import Fleet, Outcome, Policy, Pool
from assay.simulate.policies import DECODE, LEAST_LOADED, POWER_OF_TWO, PREFILL, PREFIX_AFFINITY, ROUND_ROBIN
from assay.simulate.reference.router import MIXER
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Routed = Callable[..., list[int]]

POLICY = Policy(token_budget=1000, max_num_seqs=100, block_size=1, kv_capacity=1e6, kv_bytes=((0, 1.0),), prefix_cache=True)
LONG, SHORT = (24, 1000), (24, 1)


def replicas(count: int, routing: int, **more: float) -> Fleet:
    """Replica r takes r + 1 seconds for a step."""
    pools = tuple(Pool(StepTime.constant(float(1 + index), most=1000), POLICY) for index in range(count))
    return replace(Fleet(pools, routing=routing), **more)


@pytest.fixture(scope="module")
def routed(serve: Serve) -> Routed:
    """Replica by request, of those that find their replica between two steps or idle."""

    def found(workload: Workload, fleet: Fleet) -> list[int]:
        outcome = serve(workload, fleet)
        return [round(seconds) - 1 for seconds in (outcome.first_token - outcome.arrival).tolist()]

    return found


def apart(count: int) -> list[float]:
    """Moments so far apart that all short requests have ended in between."""
    return [100.0 * row for row in range(count)]


# In turn


def test_round_robin_goes_by_number(asked: Asked, routed: Routed) -> None:
    """Whoever is idle."""
    assert routed(asked(*[SHORT] * 7, at=apart(7)), replicas(3, ROUND_ROBIN)) == [0, 1, 2, 0, 1, 2, 0]


def test_round_robin_gives_a_rejected_request_its_turn(asked: Asked, routed: Routed, serve: Serve) -> None:
    """It is rejected by the replica to which it would go."""
    workload = asked(SHORT, (10**7, 1), SHORT, at=apart(3))
    seconds = serve(workload, replicas(3, ROUND_ROBIN)).first_token - workload.arrival
    assert seconds[[0, 2]].tolist() == [1.0, 3.0]


# By load


def test_least_loaded_goes_to_the_fewest_requests(asked: Asked, routed: Routed) -> None:
    """Waiting and running ones count; of equals the first is taken."""
    assert routed(asked(*[LONG] * 7), replicas(3, LEAST_LOADED)) == [0, 1, 2, 0, 1, 2, 0]
    assert routed(asked(*[SHORT] * 3, at=apart(3)), replicas(3, LEAST_LOADED)) == [0, 0, 0]


def test_a_request_that_ended_is_no_load(asked: Asked, routed: Routed) -> None:
    """The first replica keeps a long request; short ones go to the second, as long as they have ended before the next comes."""
    assert routed(asked(LONG, *[SHORT] * 3, at=(0.0, 100.0, 200.0, 300.0)), replicas(2, LEAST_LOADED)) == [0, 1, 1, 1]


def test_a_request_that_ends_at_an_instant_is_no_load_at_that_instant(asked: Asked, routed: Routed) -> None:
    """Steps end before requests are routed."""
    assert routed(asked(SHORT, SHORT, at=(0.0, 1.0)), replicas(2, LEAST_LOADED)) == [0, 0]


# By two draws


def drawn(row: int, count: int) -> tuple[int, int]:
    """The two replicas that a request draws: two digits of its hash."""
    number = row * MIXER % 2**32
    number = (number ^ number >> 16) * MIXER % 2**32 >> 8
    return number % count, number // count % count


def test_power_of_two_takes_the_less_loaded_of_its_two(asked: Asked, routed: Routed) -> None:
    """Replica by replica as counted by hand; of equals the one drawn first."""
    load = [0] * 5
    expected = []
    for row in range(60):
        chosen = min(drawn(row, 5), key=load.__getitem__)
        load[chosen] += 1
        expected.append(chosen)
    assert routed(asked(*[LONG] * 60), replicas(5, POWER_OF_TWO)) == expected


@pytest.mark.parametrize("count", [2, 3, 5, 8, 16])
def test_the_two_draws_are_spread_evenly(count: int) -> None:
    """Over many requests each pair comes as often as any other, within five standard deviations of independent draws."""
    rows = 2000 * count
    pairs = Counter(drawn(row, count) for row in range(rows))
    assert len(pairs) == count**2
    expected = rows / count**2
    assert max(abs(times - expected) for times in pairs.values()) < 5 * expected**0.5


@pytest.mark.parametrize("count", [2, 3, 8, 16])
def test_the_draws_of_one_request_say_little_about_those_of_the_next(count: int) -> None:
    """Each pair of first draws in a row comes up: replicas are not simply taken in turn."""
    firsts = [drawn(row, count)[0] for row in range(2000 * count)]
    assert len(set(pairwise(firsts))) == count**2


# By prefix


def families(*names: int) -> list[list[int]]:
    """Ids of prompts of three blocks: requests of one family share the first two."""
    return [[10 * name, 10 * name + 1, 1000 + row] for row, name in enumerate(names)]


def test_a_prefix_goes_where_it_went_before(asked: Asked, routed: Routed) -> None:
    """Three families find their own replica each, by least load, and stay there."""
    names = (0, 1, 2, 1, 2, 0, 2)
    workload = asked(*[LONG] * 3, *[SHORT] * 4, at=(0.0, 0.0, 0.0, 60.0, 120.0, 180.0, 240.0), ids=families(*names), block=8)
    assert routed(workload, replicas(3, PREFIX_AFFINITY, load_bound=9.0)) == list(names)


def test_the_longest_part_of_a_prefix_decides(asked: Asked, routed: Routed) -> None:
    """The third request passes the first block on to the second replica; who shares two blocks goes where the second of them went."""
    ids = [[0, 1, 2], [0, 3, 4], [0, 5, 6], [0, 1, 10], [0, 5, 11], [0, 8, 12]]
    workload = asked(*[LONG] * 3, *[SHORT] * 3, at=(0.0, 0.0, 0.0, 60.0, 120.0, 180.0), ids=ids, block=8)
    assert routed(workload, replicas(2, PREFIX_AFFINITY, load_bound=1.0)) == [0, 0, 1, 0, 1, 1]


def test_an_unknown_prefix_goes_to_the_least_loaded(asked: Asked, routed: Routed) -> None:
    """As do requests without one."""
    workload = asked(LONG, LONG, LONG, SHORT, at=(0.0, 0.0, 0.0, 60.0), ids=[[0, 1, 2], [5, 6, 7], [], []], block=8)
    assert routed(workload, replicas(4, PREFIX_AFFINITY)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(1.0, [0, 0, 1, 1, 1, 1, 0]), (1.5, [0, 0, 0, 0, 1, 1, 1]), (100.0, [0] * 7)],
)
def test_a_replica_with_more_than_its_share_passes_a_prefix_on(asked: Asked, routed: Routed, bound: float, expected: list[int]) -> None:
    """Of n requests and the one at hand the share of two replicas is (n + 1) / 2; the prefix then follows to its new home."""
    workload = asked(*[LONG] * 7, ids=families(*[0] * 7), block=8)
    assert routed(workload, replicas(2, PREFIX_AFFINITY, load_bound=bound)) == expected


def test_prefix_affinity_finds_more_in_the_caches(asked: Asked, serve: Serve) -> None:
    """Two families in turn over three replicas: each goes back to where its two blocks are, instead of where they may not be."""
    workload = asked(*[SHORT] * 8, at=apart(8), ids=families(0, 1, 0, 1, 0, 1, 0, 1), block=8)
    hits = [int(serve(workload, replicas(3, routing)).prefix_hit.sum()) for routing in (ROUND_ROBIN, PREFIX_AFFINITY)]
    assert hits == [2 * 16, 6 * 16]


def test_caches_that_are_handed_over_go_to_the_least_loaded(asked: Asked, serve: Serve) -> None:
    """Prefix affinity is for prompts; two decode replicas of one and two seconds a step share what comes."""
    quick, slow = StepTime.constant(1.0, most=1000), StepTime.constant(2.0, most=1000)
    policy = replace(POLICY, prefix_cache=False)
    pools = (Pool(quick, POLICY, role=PREFILL), Pool(quick, policy, role=DECODE), Pool(slow, policy, role=DECODE))
    outcome = serve(asked(*[(24, 11)] * 4, ids=families(0, 0, 0, 0), block=8), Fleet(pools, routing=PREFIX_AFFINITY))
    assert (outcome.finish - outcome.first_token).tolist() == [10.0, 20.0, 10.0, 20.0]
