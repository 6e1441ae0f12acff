"""What the simulator is timed on: requests, the fleet that serves them, and 80 % of what that fleet can do as their rate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assay import Chip, Deployment, Model, Workload, api
from assay.deployments import Router
from assay.search.assembly import Assembly
from assay.search.plant import Plant
from assay.simulate import Fleet, run
from assay.workloads.arrivals import ARRIVALS, Process, stream

TRACES = Path(__file__).parents[2] / "shared" / "traces"
REQUESTS = 1_000_000
LOAD = 0.8
FIRST = 20_000  # requests, for each replica, that are sent at once to see what a fleet can do
TURNS, THINK = 5, 30.0  # of a session in the mean; seconds between two turns in the mean
WINDOW, BLOCK = 5000, 512  # requests within which conversations share prefixes; tokens of a prefix block


@dataclass(frozen=True, eq=False)
class Case:
    """A workload at its rate, the fleet, and requests/s of the simulator that are asked for."""

    name: str
    workload: Workload
    fleet: Fleet
    mark: float | None = None


def conversation(requests: int = REQUESTS) -> Workload:
    """Lengths as in the shipped description of a conversation trace."""
    return Workload.load("azure-conv-2023", requests=requests)


@cache
def plant(model: str = "llama-3.1-8b", chip: str = "h100-sxm", **asked: Any) -> Plant:
    """A model on the fewest chips that hold it, or as asked; without a prefix cache unless asked."""
    return api.plan_one(Model.load(model), Deployment.of(Chip.load(chip), **{"prefix_cache": False, **asked}))


def fleet(one: Plant, replicas: int = 1, routing: str = "round robin") -> Fleet:
    """Like replicas behind a router."""
    return Assembly((one.sized(replicas),), Router(routing)).fleet()


def capacity(workload: Workload, serving: Fleet) -> float:
    """Requests/s of simulated time that a fleet serves when many are sent at once."""
    count = min(FIRST * sum(pool.replicas for pool in serving.pools), workload.requests)
    return count / run(replace(workload.first(count), arrival=np.zeros(count)), serving).duration


def loaded(workload: Workload, serving: Fleet) -> Workload:
    """Poisson arrivals at 80 % of what the fleet can do."""
    process = Process("poisson", LOAD * capacity(workload, serving))
    return replace(workload, arrival=process.draw(workload.requests, stream(0, ARRIVALS)))


def of_fleet(name: str, serving: Fleet, mark: float | None = None, requests: int = REQUESTS) -> Case:
    """The conversation on a fleet."""
    return Case(name, loaded(conversation(requests), serving), serving, mark)


def plain(requests: int = REQUESTS) -> Case:
    """One replica, nothing else."""
    return of_fleet("plain", fleet(plant()), 1_000_000, requests)


def sessions() -> Case:
    """The same requests as turns of sessions, in the order in which they would come if answers took no time."""
    single, random = plain().workload, np.random.default_rng(0)
    ids = np.repeat(np.arange(REQUESTS), 1 + random.poisson(TURNS - 1, REQUESTS))[:REQUESTS]
    think = np.where(np.diff(ids, prepend=-1) > 0, 0.0, random.exponential(THINK, REQUESTS))
    waited, first = np.cumsum(think), np.searchsorted(ids, ids)
    starts = Process("poisson", single.requests / single.last_start / TURNS).draw(ids[-1] + 1, random)
    times = starts[ids] + waited - waited[first]
    order = np.argsort(times, kind="stable")
    come = replace(single, arrival=times[order], session=ids[order], think=think[order])
    return Case("sessions of about 5 turns", come, fleet(plant()))


def affine() -> Case:
    """Conversations that share prefixes with one another for a while, kept together by the router."""
    single, random = conversation(), np.random.default_rng(0)
    talk = np.arange(REQUESTS) // WINDOW * (WINDOW // TURNS) + random.integers(0, WINDOW // TURNS, REQUESTS)
    counts = single.input // BLOCK
    offsets = np.append(0, np.cumsum(counts))
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    ids = np.unique(np.repeat(talk * (counts.max() + 1), counts) + within, return_inverse=True)[1]
    shared = replace(single, prefix=ids, prefix_offsets=offsets, prefix_block=BLOCK)
    serving = fleet(plant(prefix_cache=True), 16, "prefix affinity")
    return Case("16 replicas, prefix affinity, cache", loaded(shared, serving), serving, 300_000)


def split(prefill: int, decode: int) -> Fleet:
    """Replicas that compute prompts, and replicas that decode, over the chip's own link."""
    roles = (("prefill", prefill), ("decode", decode))
    return Assembly(tuple(replace(plant(), part=replace(plant().part, role=role, replicas=count)) for role, count in roles)).fleet()


def disaggregated() -> Case:
    """The ratio, of a few, that serves most with each of its replicas."""
    drawn = conversation(4 * FIRST)
    pairs = ((1, 1), (1, 2), (1, 3), (2, 1), (3, 1))
    best = max(pairs, key=lambda pair: capacity(drawn, split(*pair)) / sum(pair))
    return of_fleet("prefill:decode {}:{}".format(*best), split(*best), 200_000)


def prefixes() -> Case | None:
    """A trace of long conversations, again and again, with a prefix cache; None where the trace is absent."""
    file = TRACES / "mooncake_conversation_trace.jsonl"
    if not file.exists():
        return None
    trace, serving = Workload.load(file), fleet(plant(prefix_cache=True))
    tiled = trace.tiled(-(-REQUESTS // trace.requests)).first(REQUESTS)
    return Case("prefix cache, a trace repeated", tiled.at_rate(LOAD * capacity(tiled, serving)), serving, 500_000)


def lock_step(requests: int = REQUESTS) -> Case:
    """Eight attention ranks, each with requests of its own."""
    serving = fleet(plant("deepseek-r1", "h200-sxm", tp=8, dp=8, ep=8))
    return of_fleet("8 ranks in lock step", serving, 50_000, requests)


def pipeline() -> Case:
    """A pipeline of many stages; a tenth of the requests."""
    return of_fleet("pipeline, 100,000 requests", fleet(plant("llama-3.3-70b", "groq-lpu-v1")), None, REQUESTS // 10)


FEATURES: tuple[Callable[[], Case | None], ...] = (
    plain,
    sessions,
    lambda: of_fleet("16 replicas, least loaded", fleet(plant(), 16, "least loaded"), 300_000),
    affine,
    disaggregated,
    lambda: of_fleet("speculation, width 4, acceptance 0.7", fleet(plant(speculate="3:0.7")), 200_000),
    lock_step,
    pipeline,
    prefixes,
)


def features() -> Iterator[Case | None]:
    """One case after the other, so that only one is held; None where a trace is absent."""
    for make in FEATURES:
        yield make()
