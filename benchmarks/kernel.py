"""The simulator by feature, beside its reference, and as the number of requests grows: processor seconds of whole runs on one core."""

import statistics
from dataclasses import replace

from cases import REQUESTS, Case, features, lock_step, plain
from table import at_least, at_most, cpu_seconds, heading, line, spread

from assay.simulate import run
from assay.simulate.compiled import warm_up

REPEATS = 3
COMPARED = 2000  # requests
GROWTH = {10_000: 9, 100_000: 5, 1_000_000: 3, 10_000_000: 2}  # requests, and how often


def seconds(case: Case, *, reference: bool = False) -> float:
    """Of one run, from columns to outcome; nothing that an earlier run worked out of the columns is there."""
    fresh = replace(case.workload)
    return cpu_seconds(lambda: run(fresh, case.fleet, reference=reference))


def by_feature() -> None:
    """The best of some runs for each feature."""
    warm_up()
    heading(f"Simulator by feature: {REQUESTS:,} requests at 80 % of what the fleet can serve, best of {REPEATS}, slowest over fastest")
    for case in features():
        if case is None:
            line("prefix cache", "left out: no ../shared/traces")
            continue
        took = [seconds(case) for _ in range(REPEATS)]
        rate = case.workload.requests / min(took)
        figures = f"{rate:12,.0f} requests/s {1e6 / rate:8.2f} us a request, spread {spread(took)}"
        line(case.name, figures, at_least(rate, case.mark))


def beside_reference() -> None:
    """How much faster than the plain Python that specifies it."""
    warm_up()
    heading(f"Simulator beside the reference in plain Python: {COMPARED:,} requests, best of {REPEATS} and one run")
    for case in (plain(COMPARED), lock_step(COMPARED)):
        best = min(seconds(case) for _ in range(REPEATS))
        specified = seconds(case, reference=True)
        figures = f"{COMPARED / best:12,.0f} requests/s, reference {COMPARED / specified:,.0f} requests/s"
        line(case.name, figures, f"ratio {specified / best:,.0f}")


def growth() -> None:
    """Microseconds of a request as they become many, in turns."""
    warm_up()
    heading("Growth: plain, at the same rate, medians")
    whole = plain(max(GROWTH))
    cases = {count: Case(whole.name, whole.workload.first(count), whole.fleet) for count in GROWTH}
    took: dict[int, list[float]] = {count: [] for count in GROWTH}
    for turn in range(max(GROWTH.values())):
        for count, case in cases.items():
            if turn < GROWTH[count]:
                took[count].append(seconds(case))
    each = {count: statistics.median(some) / count * 1e6 for count, some in took.items()}
    for count, microseconds in each.items():
        line(f"{count:,} requests", f"{microseconds:8.3f} us a request, {GROWTH[count]} runs, spread {spread(took[count])}")
    ratio = each[10_000_000] / each[100_000]
    line("10,000,000 over 100,000", f"{ratio:8.2f}", at_most(ratio, 1.3))
