"""The least number of replicas that serves the traffic within its targets."""

from dataclasses import replace
from math import ceil

from assay.search.assembly import Assembly
from assay.search.estimate import guess
from assay.search.evaluate import Question, evaluate
from assay.search.plant import Plant
from assay.search.price import Market
from assay.search.runs import Run

SHORTEST = 2000  # requests of a sizing run at least; it is longer where more are in flight
RESIDENCES = 20  # a sizing run sends this many times what is in flight
MOST_RUNS = 12


def least(plant: Plant, question: Question, market: Market) -> Run:
    """The run of the fewest replicas that meet the targets; where none do, of the most that were tried, with what it missed.

    Starts at a closed-form guess, brackets the answer by simulating, then halves the bracket.
    """
    expected = guess(plant, question.workload, question.slo)
    offered = question.workload.rate
    replicas = max(1, ceil(offered / expected.rate)) if offered else 1
    enough: Run | None = None
    too_few, most = 0, min(64 * replicas, question.workload.concurrency or question.workload.requests)
    replicas = min(replicas, most)
    for _ in range(MOST_RUNS):
        run = at(plant, replicas, _shortened(question, expected.in_flight * replicas), market)
        if run.feasible:
            enough = run
        else:
            too_few = max(too_few, replicas)
        bound = enough.chips // plant.part.chips if enough else None
        if bound is not None and bound - too_few <= max(1, bound // 50):
            return run if run is enough or enough is None else enough
        replicas = _next(replicas, too_few, bound)
        if replicas > most:
            break
    return enough or run


def at(plant: Plant, replicas: int, question: Question, market: Market) -> Run:
    """The run of a fleet of this many replicas."""
    return evaluate(Assembly((plant.sized(replicas),)), question, (market,))


def confirmed(plant: Plant, run: Run, question: Question, market: Market) -> Run:
    """A sized run again with all requests; replicas are added while the longer run misses what the shorter one kept."""
    replicas = run.chips // plant.part.chips
    longer = at(plant, replicas, question, market)
    for _ in range(3):
        if longer.feasible or not run.feasible:
            break
        replicas += max(1, replicas // 20)
        longer = at(plant, replicas, question, market)
    return longer


def _shortened(question: Question, in_flight: float) -> Question:
    """The first requests, as many as sizing needs; sessions stay whole, and so does a workload that has any."""
    workload = question.workload
    wanted = max(SHORTEST, ceil(RESIDENCES * in_flight))
    if wanted >= workload.requests or not workload.rate or workload.session.size:
        return question
    rate = workload.rate
    return replace(question, workload=workload.first(wanted).at_rate(rate))


def _next(replicas: int, too_few: int, bound: int | None) -> int:
    if bound is None:
        return max(replicas + 1, ceil(replicas * 1.25))
    if too_few == 0:
        return max(1, min(bound - 1, int(bound * 0.8)))
    return (too_few + bound) // 2
