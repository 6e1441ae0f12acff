"""Runs a workload on a fleet, compiled or by the reference."""

import time
from collections.abc import Callable

from assay.simulate.fleet import Fleet
from assay.simulate.records import Outcome
from assay.workloads import Workload

Progress = Callable[[int, int], None]


def run(workload: Workload, fleet: Fleet, *, reference: bool = False, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Serve the workload; `wall_time` is the time of the simulator alone.

    `reference` takes every step in plain Python instead of leaping in compiled code; both give the same figures. `seed` draws how many
    steps speculation takes. `progress` hears now and then how many requests have ended, of how many.
    """
    fleet = fleet.within()
    if reference:
        from assay.simulate.reference import serve as specified

        start = time.perf_counter()
        outcome = specified(workload, fleet, seed)
    else:
        from assay.simulate.compiled import serve, warm_up  # loading compiled code takes time: not before it is needed

        warm_up()
        start = time.perf_counter()
        outcome = serve(workload, fleet, seed, progress)
    outcome.wall_time = time.perf_counter() - start
    return outcome
