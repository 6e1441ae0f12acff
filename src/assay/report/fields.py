"""Reading the promised dicts, in which any number may be null."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

METRICS = ("ttft", "tpot", "e2e")
QUANTILES = {50.0: "p50", 90.0: "p90", 95.0: "p95", 99.0: "p99", 99.9: "p999"}
RESOURCES = ("compute", "memory", "network", "latency", "host")


def number(record: Record | None, *path: str) -> float | None:
    """The finite number at `path`, None where there is none."""
    value = at(record, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def text(record: Record | None, *path: str) -> str:
    """The text at `path`, empty where there is none."""
    value = at(record, *path)
    return "" if value is None else str(value)


def at(record: Record | None, *path: str) -> Any:
    """Whatever stands at `path`, None where the path ends early."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def rows(record: Record | None, *path: str) -> Sequence[Any]:
    """The list at `path`, empty where there is none."""
    value = at(record, *path)
    return value if isinstance(value, list | tuple) else ()


def quantile(slo: Record | None) -> str:
    """The key (p50 to p999) under which a latency object holds the percentile that the targets speak of; p99 without one."""
    asked = number(slo, "percentile")
    return QUANTILES[min(QUANTILES, key=lambda known: abs(known - asked))] if asked is not None else "p99"


def targets(slo: Record | None) -> dict[str, float]:
    """Latency targets in seconds by metric, only those that were set."""
    found = {metric: number(slo, metric) for metric in METRICS}
    return {metric: value for metric, value in found.items() if value is not None}


def band(run: Record, metric: str) -> tuple[float, float] | None:
    """Low and high factor of the error band of a metric, None where it has none."""
    pair = at(run, "error_band", metric)
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    low, high = number({"low": pair[0]}, "low"), number({"high": pair[1]}, "high")
    return None if low is None or high is None else (low, high)


def interactivity(run: Record) -> float | None:
    """Output tokens per second that one user sees: 1 / mean TPOT."""
    mean = number(run, "tpot", "mean")
    return 1 / mean if mean else None


def tokens_per_dollar(run: Record) -> tuple[float, bool] | None:
    """Output tokens per dollar, and whether the price is an offer; without an offer the chips are priced at their worth."""
    tokens, hourly, chips = number(run, "output_tokens_per_second"), number(run, "cost_per_hour"), number(run, "chips")
    if tokens and hourly:
        return tokens * 3600 / hourly, True
    worth = number(run, "worth")
    return (tokens * 3600 / (worth * chips), False) if tokens and worth and chips else None


def main_bottleneck(run: Record) -> tuple[str, float] | None:
    """The resource with the largest share of time, and its share."""
    shares = {name: number(run, "bottleneck", name) or 0.0 for name in RESOURCES}
    name = max(shares, key=lambda key: shares[key])
    return (name, shares[name]) if shares[name] > 0 else None
