"""Runs a workload on the replicas of a deployment and joins what they saw."""

import time
from collections.abc import Sequence

import numpy as np

from assay.simulate.policies import Policy
from assay.simulate.records import Outcome
from assay.simulate.reference import Replica
from assay.steptime import StepTime
from assay.workloads import Workload


def run(workload: Workload, times: StepTime, policy: Policy, replicas: int = 1) -> Outcome:
    """Serve the workload on like replicas, to which requests go round robin; `wall_time` is the time of the simulator alone."""
    start = time.perf_counter()
    shares = workload.split(replicas) if replicas > 1 else [workload]
    outcomes = [Replica(share, times, policy).run() for share in shares if share.requests]
    outcome = outcomes[0] if replicas == 1 else _joined(workload, outcomes, replicas)
    outcome.wall_time = time.perf_counter() - start
    return outcome


def _joined(workload: Workload, outcomes: Sequence[Outcome], replicas: int) -> Outcome:
    whole = Outcome.empty(workload.arrival)
    for offset, part in enumerate(outcomes):
        for column in ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap"):
            getattr(whole, column)[offset::replicas] = getattr(part, column)
        for total in ("gaps", "resource_seconds", "joules", "steps", "busy_seconds", "prefill_seconds", "cached_seconds", "batch_seconds"):
            setattr(whole, total, getattr(whole, total) + getattr(part, total))
    whole.kv_peak = float(np.max([part.kv_peak for part in outcomes]))
    return whole
