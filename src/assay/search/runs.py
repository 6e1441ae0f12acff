"""The result of a run: what users feel, what it costs, and how far each number can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assay.metrics import Columns, Distribution, Floats, Mask

if TYPE_CHECKING:
    import polars as pl

LATENCIES = ("ttft", "tpot", "itl", "e2e")


@dataclass(frozen=True)
class Evidence:
    """How far a number can be trusted: `label` is measured, calibrated or spec-only; `why` says what was known and what not."""

    label: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """JSON form."""
        return {"label": self.label, "why": self.why}


@dataclass(frozen=True)
class Price:
    """Dollars: per hour for all chips, per million tokens blended (input and output), and by kind of token.

    Each is None where nothing is known, `why` says why. `offer` is the price of one chip-hour (None where chips differ in it), `basis`
    how it is sold.
    """

    per_hour: float | None = None
    blended: float | None = None
    input: float | None = None
    cached_input: float | None = None
    output: float | None = None
    offer: float | None = None
    basis: str | None = None
    tier: str | None = None
    why: str | None = None


@dataclass(frozen=True, eq=False)
class Requests:
    """What became of each of n requests, in order of arrival.

    `input` are prompt tokens, `prefix_hit` those of them found in the cache, `largest_gap` the longest wait in seconds between two
    tokens, `preemptions` how often it lost its place; `judged` says which count for percentiles and targets.
    """

    times: Columns
    input: NDArray[np.int64]
    largest_gap: Floats
    preemptions: NDArray[np.int64]
    prefix_hit: NDArray[np.int64]
    judged: Mask

    def frame(self) -> "pl.DataFrame":
        """A row for each request; nulls where it was rejected, and where a single token leaves no gap to measure."""
        import polars as pl

        times = self.times
        gap = np.where(times.output > 1, self.largest_gap, np.nan)
        seen = {name: getattr(times, name) for name in ("first_token", "finish", "ttft", "tpot", "e2e")}
        fate = {**seen, "largest_gap": gap, "preemptions": self.preemptions, "prefix_hit": self.prefix_hit}
        rows = pl.DataFrame({"arrival": times.arrival, "input": self.input, "output": times.output, "judged": self.judged, **fate})
        known = pl.when(pl.Series(np.isfinite(times.finish))).then(pl.col(*fate))
        return rows.with_columns(known.name.keep()).fill_nan(None).select(REQUEST_COLUMNS)


REQUEST_COLUMNS = (
    "arrival", "first_token", "finish", "input", "output", "ttft", "tpot", "e2e", "largest_gap", "preemptions", "prefix_hit", "judged",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One deployment under one load. Times in seconds, rates per second over the whole deployment, power in watts.

    Of a deployment of several parts `chips` are those of all, and `chip`, `family` and `engine` name each once, with + between.
    `latencies` holds ttft, tpot, itl and e2e over the judged requests; `each` what became of each request. `feasible` says whether
    the run was stable and kept its targets, `why_not` what failed.
    """

    model: str
    chip: str
    family: str
    chips: int
    engine: str
    deployment: Mapping[str, Any]
    workload: Mapping[str, Any]
    requests: int
    completed: int
    rejected: int
    judged: int
    stable: bool
    duration: float
    wall_time: float
    latencies: Mapping[str, Distribution]
    output_tokens_per_second: float
    total_tokens_per_second: float
    requests_per_second: float
    goodput: float
    preemptions: int
    prefix_hit_rate: float
    kv_peak: float
    joules_per_token: float | None
    power: float | None
    price: Price
    bottleneck: Mapping[str, float]
    error_band: Mapping[str, tuple[float, float]]
    evidence: Evidence
    assumptions: tuple[str, ...]
    feasible: bool
    why_not: str | None
    each: Requests | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that the command line promises."""
        same = (
            "model chip family chips engine deployment workload requests completed rejected judged stable duration wall_time "
            "output_tokens_per_second total_tokens_per_second requests_per_second goodput preemptions prefix_hit_rate kv_peak "
            "joules_per_token power feasible why_not"
        )
        price = self.price
        return {
            **{name: getattr(self, name) for name in same.split()},
            **{name: self.latencies[name].to_dict() for name in LATENCIES},
            "cost_per_million_tokens": price.blended,
            "why_no_cost": price.why,
            "cost_split": {"input": price.input, "cached_input": price.cached_input, "output": price.output},
            "cost_basis": price.basis,
            "cost_per_hour": price.per_hour,
            "offer": price.offer,
            "offer_tier": price.tier,
            "bottleneck": dict(self.bottleneck),
            "error_band": {metric: list(band) for metric, band in self.error_band.items()},
            "evidence": self.evidence.to_dict(),
            "assumptions": list(self.assumptions),
        }

    def summary(self) -> str:
        """One line for people."""
        ttft, tpot = (self.latencies[name].values["p99"] for name in ("ttft", "tpot"))
        felt = [f"p99 TTFT {ttft:.3g} s"] if ttft is not None else ["nothing served"]
        felt += [f"p99 TPOT {tpot * 1e3:.3g} ms"] if tpot is not None else []
        cost = "no offer" if self.price.blended is None else f"${self.price.blended:.3g} per million tokens"
        return f"{self.model} on {self.chips} x {self.chip}: {', '.join(felt)}, {self.output_tokens_per_second:.4g} output tokens/s, {cost}"

    def frame(self) -> "pl.DataFrame":
        """One row per request (see REQUEST_COLUMNS; times in seconds, lengths in tokens), nulls where it was rejected."""
        import polars as pl

        return pl.DataFrame() if self.each is None else self.each.frame()
