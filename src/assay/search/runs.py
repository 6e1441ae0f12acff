"""The result of a run: what users feel, what it costs, and how far each number can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assay.metrics import Columns, Distribution

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

    Each is None where nothing is known, `why` says why. `offer` is the price of one chip-hour, `basis` how it is sold.
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


@dataclass(frozen=True)
class Run:
    """One deployment under one load. Times in seconds, rates per second over the whole deployment, power in watts.

    `latencies` holds ttft, tpot, itl and e2e over the judged requests; `columns` the times of each request. `feasible` says whether
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
    joules_per_token: float
    power: float | None
    price: Price
    bottleneck: Mapping[str, float]
    error_band: Mapping[str, tuple[float, float]]
    evidence: Evidence
    assumptions: tuple[str, ...]
    feasible: bool
    why_not: str | None
    columns: Columns | None = field(default=None, repr=False, compare=False)

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
        felt = f"p99 TTFT {ttft:.3g} s, p99 TPOT {tpot * 1e3:.3g} ms" if ttft is not None and tpot is not None else "nothing served"
        cost = "no offer" if self.price.blended is None else f"${self.price.blended:.3g} per million tokens"
        return f"{self.model} on {self.chips} x {self.chip}: {felt}, {self.output_tokens_per_second:.4g} output tokens/s, {cost}"

    def frame(self) -> "pl.DataFrame":
        """One row per request: arrival, first_token, finish (s), output, ttft, tpot, e2e; nan where it was not served."""
        import polars as pl

        columns = self.columns
        if columns is None:
            return pl.DataFrame()
        names = ("arrival", "first_token", "finish", "output", "ttft", "tpot", "e2e")
        return pl.DataFrame({name: getattr(columns, name) for name in names})
