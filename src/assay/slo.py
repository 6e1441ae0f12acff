"""Latency targets: what a request must keep to count as served well."""

import math
from dataclasses import asdict, dataclass

from assay._base.errors import InputError

METRICS = ("ttft", "tpot", "e2e")


@dataclass(frozen=True)
class Slo:
    """Targets in seconds for time to first token, time per output token and end-to-end latency; None is no target.

    `percentile` (in percent) is the share of requests that must keep each target. Raises InputError naming the flag.
    """

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None
    percentile: float = 99.0

    def __post_init__(self) -> None:
        for metric, seconds in self.targets().items():
            if not (math.isfinite(seconds) and seconds > 0):
                raise InputError(f"--{metric}", "", f"is {seconds}, must be more than 0", "Give seconds, as 0.5")
        if not 0 < self.percentile < 100:
            raise InputError("--percentile", "", f"is {self.percentile}, must be between 0 and 100", "Give percent, as 99")

    @property
    def is_empty(self) -> bool:
        """Whether there is no target at all."""
        return not self.targets()

    def targets(self) -> dict[str, float]:
        """The targets that are given, seconds by metric name (ttft, tpot, e2e)."""
        given = {metric: getattr(self, metric) for metric in METRICS}
        return {metric: seconds for metric, seconds in given.items() if seconds is not None}

    def to_dict(self) -> dict[str, float | None]:
        """JSON form: every target, null where there is none, and the percentile."""
        return asdict(self)
