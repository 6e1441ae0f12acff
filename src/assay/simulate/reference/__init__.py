"""The specification of a serving engine's scheduler, in plain Python: it takes every step and favours clarity over speed."""

from assay.simulate.fleet import Fleet
from assay.simulate.records import Outcome
from assay.simulate.reference.fleet import Simulation
from assay.simulate.reference.replica import attended
from assay.workloads import Workload

__all__ = ["attended", "serve"]


def serve(workload: Workload, fleet: Fleet, seed: int = 0) -> Outcome:
    """Serve a workload on a fleet whose policies are within its step times."""
    return Simulation(workload, fleet, seed).run()
