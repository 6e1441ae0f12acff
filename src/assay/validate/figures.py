"""What is predicted of a run, in the terms in which results are published."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.metrics import PERCENTILES, Columns, stable, weighted
from assay.points import Number
from assay.simulate import Outcome
from assay.simulate.records import gap_middles
from assay.workloads import Workload

LATENCIES = ("ttft", "tpot", "itl", "e2e")
PER_USER = "output_tokens_per_second_per_user"


@dataclass(frozen=True)
class Figures:
    """Times in seconds by metric and statistic, requests per second of all `chips`, and mean tokens of a request, in and out."""

    latencies: Mapping[str, Mapping[str, float]]
    requests: float
    input: float
    output: float
    chips: int

    @classmethod
    def alike(cls, ttft: float, e2e: float, requests: float, lengths: tuple[float, float], chips: int) -> "Figures":
        """Of requests that all fare alike."""
        isl, osl = lengths
        tpot = (e2e - ttft) / max(osl - 1, 1)
        times = {"ttft": ttft, "tpot": tpot, "itl": tpot, "e2e": e2e}
        every = {name: dict.fromkeys(("mean", *PERCENTILES), value) for name, value in times.items()}
        return cls(every, requests, isl, osl, chips)

    @classmethod
    def of(cls, outcome: Outcome, workload: Workload, chips: int) -> "Figures":
        """Of all requests of a simulated run of which some were served."""
        columns = Columns(outcome.arrival, outcome.first_token, outcome.finish, workload.output)
        times = {name: _statistics(columns.column(name)[outcome.served]) for name in ("ttft", "tpot", "e2e")}
        gaps = weighted(gap_middles(), outcome.gaps).values
        times["itl"] = {name: value for name, value in gaps.items() if value is not None}
        isl, osl = (float(lengths[outcome.served].mean()) for lengths in (workload.input, workload.output))
        return cls(times, _rate(outcome, workload, columns), isl, osl, chips)

    def value(self, number: Number) -> float | None:
        """The figure that a published number is; None where no such figure is predicted."""
        statistic = number.statistic or "mean"
        if number.metric in LATENCIES:
            return self.latencies[number.metric].get(statistic)
        pace = self.latencies["tpot"].get(statistic)
        if number.metric == PER_USER or (number.metric == "output_tokens_per_second" and number.per == "request"):
            return 1 / pace if pace else None
        tokens = {"output": self.output, "input": self.input, "total": self.input + self.output, "requests": 1.0}
        kind, _, unit = number.metric.partition("_")
        if kind not in tokens or unit not in ("tokens_per_second", "per_second"):
            return None
        return self.requests * tokens[kind] / (self.chips if number.per == "chip" else 1) or None


def _rate(outcome: Outcome, workload: Workload, columns: Columns) -> float:
    """Requests per second as benchmarks count them: to the last that ended; of a steady open loop those that came."""
    served = int(outcome.served.sum())
    if workload.rate and stable(columns):
        return workload.rate * served / workload.requests
    return served / outcome.duration if outcome.duration else 0.0


def _statistics(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float]:
    """Mean and percentiles of the finite values; nothing when there are none."""
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    percentiles = np.percentile(values, [*PERCENTILES.values()]).tolist()
    return {"mean": float(values.mean()), **dict(zip(PERCENTILES, percentiles, strict=True))}
