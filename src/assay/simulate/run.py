"""Runs a workload on the replicas of a deployment, compiled or by the reference, and joins what they saw."""

import time
from collections.abc import Sequence

import numpy as np

from assay.simulate.policies import Policy
from assay.simulate.records import Outcome
from assay.simulate.reference import Replica
from assay.steptime import StepTime
from assay.workloads import Workload


def run(workload: Workload, times: StepTime, policy: Policy, replicas: int = 1, *, reference: bool = False) -> Outcome:
    """Serve the workload on like replicas, to which requests go round robin; `wall_time` is the time of the simulator alone.

    `reference` takes every step in plain Python instead of leaping in compiled code; both give the same figures.
    """
    from assay.simulate.compiled import serve  # compiling takes time: not before it is needed

    policy = policy.within(times)
    shares = [share for share in (workload.split(replicas) if replicas > 1 else [workload]) if share.requests]
    start = time.perf_counter()
    outcomes = [Replica(share, times, policy).run() if reference else serve(share, times, policy) for share in shares]
    outcome = outcomes[0] if replicas == 1 else _joined(workload, outcomes, replicas)
    outcome.wall_time = time.perf_counter() - start
    return outcome


def _joined(workload: Workload, outcomes: Sequence[Outcome], replicas: int) -> Outcome:
    whole = Outcome.empty(workload.arrival)
    for offset, part in enumerate(outcomes):
        for column in ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap"):
            getattr(whole, column)[offset::replicas] = getattr(part, column)
        for total in (
            "gaps", "resource_seconds", "joules", "steps", "busy_seconds", "prefill_seconds", "cached_seconds", "batch_seconds",
        ):  # fmt: skip
            setattr(whole, total, getattr(whole, total) + getattr(part, total))
    whole.kv_peak = float(np.max([part.kv_peak for part in outcomes]))
    return whole
