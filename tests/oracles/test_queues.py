"""Queueing theory as judge: with one sequence at a time, or in a pipeline, the simulator is a queue whose mean wait is known exactly.

Pollaczek and Khinchine: the mean wait of M/G/1 is W = rate E[S^2] / (2 (1 - rho)) with service S and rho = rate E[S].
"""

import math
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.simulate import Fleet, Outcome, Policy, run
from assay.simulate.policies import LEAST_LOADED, POWER_OF_TWO, ROUND_ROBIN
from assay.steptime import StepTime
from assay.workloads import Workload

STEP = 0.25  # seconds
ONE_TOKEN = StepTime.constant(STEP, most=1)
SEAT = Policy(1, 1, 1, 1e9, ((0, 1.0),))
WARM_UP = 500  # requests
ERRORS = 4.0  # standard errors that a mean may lie off

Floats = NDArray[np.float64]


def poisson(rate: float, count: int, seed: int, output: NDArray[np.int64] | int = 1) -> Workload:
    """Requests of one prompt token at Poisson arrivals."""
    gaps = np.random.default_rng((seed, count)).exponential(1 / rate, count)
    ones = np.ones(count, dtype=np.int64)
    return Workload(arrival=np.cumsum(gaps), input=ones, output=ones * output, name="poisson")


def one_at_a_time(workload: Workload) -> Outcome:
    """A single server: each step gives one token of one request."""
    return run(workload, Fleet.of(ONE_TOKEN, SEAT))


def assert_mean(values: Floats, expected: float) -> None:
    """The mean after warm-up is the expected one within the error of batch means; that error is itself small enough to tell."""
    means = np.array([batch.mean() for batch in np.array_split(values[WARM_UP:], 25)])
    error = means.std(ddof=1) / math.sqrt(len(means))
    assert error < 0.08 * expected
    assert means.mean() == pytest.approx(expected, abs=ERRORS * error)


@pytest.mark.parametrize(("load", "count"), [(0.3, 8_000), (0.6, 15_000), (0.8, 40_000)])
def test_a_constant_service_waits_as_m_d_1(load: float, count: int) -> None:
    """Requests of one token: W = rho S / (2 (1 - rho))."""
    outcome = one_at_a_time(poisson(load / STEP, count, seed=1))
    assert_mean(outcome.first_token - outcome.arrival - STEP, load * STEP / (2 * (1 - load)))


@pytest.mark.parametrize(("load", "count"), [(0.4, 8_000), (0.7, 20_000)])
def test_a_geometric_output_waits_as_m_g_1(load: float, count: int) -> None:
    """Outputs of mean m = 1 / p take a step per token: E[S^2] = (2 - p) / p^2 steps squared. Memoryless, as M/M/1 in steps."""
    p = 1 / 3
    rate = load * p / STEP
    output = np.random.default_rng(2).geometric(p, count)
    outcome = one_at_a_time(poisson(rate, count, 3, output))
    assert_mean(outcome.first_token - outcome.arrival - STEP, rate * STEP**2 * (2 - p) / p**2 / (2 * (1 - load)))


def test_a_prompt_in_chunks_is_a_service_of_so_many_steps() -> None:
    """Prompts of 1 or 5 chunks: a service of two values."""
    count, load, budget = 15_000, 0.6, 8
    chunks = np.random.default_rng(4).choice([1, 5], count)
    rate = load / (3 * STEP)
    workload = replace(poisson(rate, count, seed=5), input=chunks * budget - 3)
    outcome = run(workload, Fleet.of(StepTime.constant(STEP, most=budget), replace(SEAT, token_budget=budget)))
    assert_mean(outcome.first_token - outcome.arrival - chunks * STEP, rate * 13 * STEP**2 / (2 * (1 - load)))


def test_a_pipeline_is_a_server_at_its_interval() -> None:
    """Four stages take a prompt each interval: the wait is that of M/D/1 with the interval as service, and then comes the latency."""
    count, load, depth = 15_000, 0.6, 4
    stage, whole = StepTime.constant(STEP, most=64), StepTime.constant(depth * STEP, most=64)
    times = replace(stage, latency=whole.latency, depth=depth)
    outcome = run(poisson(load / STEP, count, seed=6), Fleet.of(times, replace(SEAT, max_num_seqs=10 * depth)))
    assert_mean(outcome.first_token - outcome.arrival - depth * STEP, load * STEP / (2 * (1 - load)))


def test_two_replicas_halve_the_arrivals_but_not_their_spread() -> None:
    """Round robin makes gaps Erlang-2: Lindley's recursion on every other arrival gives each wait exactly."""
    workload = poisson(1.5 / STEP, 4_000, seed=7)
    outcome = run(workload, Fleet.of(ONE_TOKEN, SEAT, replicas=2))
    waits = outcome.first_token - workload.arrival - STEP
    for part in range(2):
        wait = 0.0
        for gap, seen in zip(np.diff(workload.arrival[part::2]), waits[part::2][1:], strict=True):
            wait = max(0.0, wait + STEP - gap)
            assert seen == pytest.approx(wait, abs=1e-9)


BATCHING = StepTime.linear(0.05, 0.005, 1e-4, most=64)
ROOMY = Policy(64, 32, 1, 1e9, ((0, 1.0),))
LONGEST_STEP = 0.05 + 0.005 * 64 + 1e-4 * 32 * 21


@pytest.fixture(scope="module")
def requests() -> Workload:
    """3,000 requests of up to 20 tokens."""
    return poisson(3.0, 3_000, 9, np.random.default_rng(8).integers(1, 21, 3_000))


@pytest.fixture(scope="module")
def batched(requests: Workload) -> Outcome:
    """A batch that grows and shrinks, in which nobody waits for more than a step."""
    return run(requests, Fleet.of(BATCHING, ROOMY))


def time_average(outcome: Outcome) -> float:
    """Mean number of requests in the system over the run, by sweeping over arrivals and finishes."""
    moments = np.concatenate((outcome.arrival, outcome.finish))
    order = np.argsort(moments, kind="stable")
    inside = np.cumsum(np.repeat([1, -1], len(outcome.arrival))[order])
    spans = np.diff(moments[order])
    return float((inside[:-1] * spans).sum() / spans.sum())


def test_littles_law(batched: Outcome) -> None:
    """Requests in the system, averaged over time, are the rate times the mean time in the system."""
    rate = len(batched.arrival) / batched.duration
    assert time_average(batched) == pytest.approx(rate * float((batched.finish - batched.arrival).mean()), rel=1e-9)


def test_littles_law_of_the_batch(batched: Outcome) -> None:
    """Sequences in the batch, averaged over time, are the rate times the mean time from admission, at the end of a step, to finish."""
    inside = batched.batch_seconds / batched.duration
    rate = len(batched.arrival) / batched.duration
    residence = float((batched.finish - batched.arrival).mean())
    assert rate * (residence - LONGEST_STEP) <= inside <= rate * residence


def test_poisson_arrivals_see_time_averages(batched: Outcome) -> None:
    """The number that an arrival finds in the system is, in the mean, the number over time."""
    finish = np.sort(batched.finish)
    found = np.arange(len(batched.arrival)) - np.searchsorted(finish, batched.arrival, side="right")
    assert_mean(found.astype(np.float64), time_average(batched))


def test_a_closed_loop_serves_users_over_residence(requests: Workload) -> None:
    """The interactive law without thinking: throughput x mean time in the system = users, but for the last requests."""
    users = 16
    outcome = run(requests.closed(users), Fleet.of(BATCHING, ROOMY))
    throughput = requests.requests / outcome.duration
    assert throughput * float((outcome.finish - outcome.arrival).mean()) == pytest.approx(users, rel=0.01)


# Processor sharing: all that decode share the steps, whose time is proportional to how many they are

SHARE = 2.0**-8  # seconds a token
SHARING = StepTime.linear(0.0, SHARE, most=512)
CROWD = Policy(512, 512, 1, 1e9, ((0, 1.0),))


def drawn(values: list[int], chances: list[float], count: int, seed: int) -> NDArray[np.int64]:
    """Sizes in tokens from a distribution of few values."""
    return np.random.default_rng(seed).choice(np.array(values), count, p=chances)


@pytest.mark.parametrize(("values", "chances"), [([200], [1.0]), ([100, 1100], [0.9, 0.1])], ids=["equal", "unequal"])
@pytest.mark.parametrize("load", [0.5, 0.7])
def test_decoding_shares_the_processor(values: list[int], chances: list[float], load: float) -> None:
    """M/G/1-PS: a request that alone takes s stays s / (1 - rho) in the mean, whatever the sizes of the others. The mean is 200 tokens."""
    count = 200_000
    sizes = drawn(values, chances, count, seed=11)
    outcome = run(poisson(load / (200 * SHARE), count, 12, sizes), Fleet.of(SHARING, CROWD))
    slowdown = (outcome.finish - outcome.arrival) / (sizes * SHARE)
    for size in values:
        assert_mean(slowdown[sizes == size], 1 / (1 - load))


@pytest.mark.parametrize(("values", "chances"), [([1, 21], [0.9, 0.1]), ([2, 4], [0.5, 0.5]), ([1, 2, 60], [0.5, 0.49, 0.01])])
def test_random_sizes_one_at_a_time_wait_as_m_g_1(values: list[int], chances: list[float]) -> None:
    """Pollaczek and Khinchine, from the first two moments of the sizes alone."""
    count, load = 60_000, 0.5
    mean, square = (float(np.array(chances) @ np.array(values, dtype=float) ** power) for power in (1, 2))
    rate = load / (mean * STEP)
    outcome = one_at_a_time(poisson(rate, count, 13, drawn(values, chances, count, seed=14)))
    assert_mean(outcome.first_token - outcome.arrival - STEP, rate * square * STEP**2 / (2 * (1 - load)))


# Many servers

SERVERS, CROWDED = 8, 0.9


@pytest.fixture(scope="module")
def memoryless() -> Workload:
    """Geometric sizes of 20 tokens in the mean, for eight servers that are busy nine tenths of the time."""
    count = 60_000
    return poisson(CROWDED * SERVERS / (20 * STEP), count, 15, np.random.default_rng(16).geometric(1 / 20, count))


def waits(workload: Workload, routing: int) -> Floats:
    """Seconds from arrival to the first step, with one seat at each replica."""
    outcome = run(workload, Fleet.of(ONE_TOKEN, SEAT, SERVERS, routing))
    return outcome.first_token - workload.arrival - STEP


def shortest_queue(workload: Workload) -> Floats:
    """The same from a queue with nothing but arrivals and services: each joins the queue with the fewest in it."""
    free, ends = [0.0] * SERVERS, [deque[float]() for _ in range(SERVERS)]
    found = []
    for moment, service in zip(workload.arrival.tolist(), (workload.output * STEP).tolist(), strict=True):
        for queue in ends:
            while queue and queue[0] <= moment:
                queue.popleft()
        chosen = min(range(SERVERS), key=lambda server: len(ends[server]))
        start = max(moment, free[chosen])
        free[chosen] = start + service
        ends[chosen].append(free[chosen])
        found.append(start - moment)
    return np.array(found)


def erlang_c(servers: int, load: float) -> float:
    """Mean wait in one queue before all servers, in services: M/M/c."""
    offered = servers * load
    terms = [offered**each / math.factorial(each) for each in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - load)
    return last / (sum(terms) + last) / (servers * (1 - load))


def test_least_loaded_joins_the_shortest_queue(memoryless: Workload) -> None:
    """Request by request, as counted by a queue that knows no steps."""
    few = memoryless.first(10_000)
    np.testing.assert_allclose(waits(few, LEAST_LOADED), shortest_queue(few), atol=1e-6)


def test_who_knows_more_waits_less(memoryless: Workload) -> None:
    """One common queue, the shortest of all queues, the shorter of two, any in turn: each clearly better than the next."""
    common = erlang_c(SERVERS, CROWDED) * 20 * STEP
    means = [waits(memoryless, routing)[WARM_UP:].mean() for routing in (LEAST_LOADED, POWER_OF_TWO, ROUND_ROBIN)]
    assert common < means[0]
    assert 1.2 * means[0] < means[1]
    assert 1.2 * means[1] < means[2]


def test_two_draws_wait_no_less_than_in_the_limit_of_many_servers() -> None:
    """With ever more servers the mean time there, in services, falls to the sum of rho^(2^i - 2) for i from 1 on."""
    count, servers = 200_000, 32
    sizes = np.random.default_rng(17).geometric(1 / 20, count)
    outcome = run(poisson(CROWDED * servers / (20 * STEP), count, 18, sizes), Fleet.of(ONE_TOKEN, SEAT, servers, POWER_OF_TWO))
    limit = sum(CROWDED ** (2**power - 2) for power in range(1, 12))
    stay = float((outcome.finish - outcome.arrival)[count // 10 :].mean()) / (20 * STEP)
    assert limit < stay < 1.2 * limit
