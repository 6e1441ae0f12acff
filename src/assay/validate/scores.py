"""Errors by group: how far predictions are from what was measured, and how far the two baselines are."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scored:
    """One published number beside its prediction, its band and the baselines (None where they say nothing)."""

    row: int
    labels: Mapping[str, str]
    measured: float
    predicted: float
    low: float
    high: float
    sheet: float | None
    nearest: float | None

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1

    @property
    def within(self) -> bool:
        """Whether the band holds what was measured."""
        return self.low <= self.measured <= self.high

    @property
    def half_width(self) -> float:
        """How far the band reaches on one side, as a share."""
        return math.sqrt(self.high / self.low) - 1 if self.low else math.inf


@dataclass(frozen=True)
class Group:
    """Errors of the rows that share `labels`, as fractions: median and 90th percentile of their size, and the median with its sign (bias).

    `coverage` is the share of measured numbers within the band; `datasheet` and `nearest` are the median errors of the baselines on the
    same rows, None where they say nothing.
    """

    labels: Mapping[str, str]
    rows: int
    median_error: float
    p90_error: float
    bias: float
    coverage: float
    datasheet: float | None
    nearest: float | None

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        figures = ("rows", "median_error", "p90_error", "bias", "coverage", "datasheet", "nearest")
        return {**self.labels, **{name: getattr(self, name) for name in figures}}


@dataclass(frozen=True)
class Typical:
    """What a chip and model of a kind of run typically has: medians, over its `groups` of set, chip and model, of their median errors.

    `coverage` is the share of all its `rows` within their bands, `half_width` the median of how far a band reaches on one side: the root
    of high over low, less one.
    """

    labels: Mapping[str, str]
    groups: int
    rows: int
    median_error: float
    coverage: float
    half_width: float

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {**self.labels, **{name: getattr(self, name) for name in ("groups", "rows", "median_error", "coverage", "half_width")}}


def typical(scored: Iterable[Scored]) -> list[Typical]:
    """By set, kind of serving, metric and statistic, sorted."""
    kinds = ("set", "serving", "metric", "statistic")
    found: dict[tuple[str, ...], list[Scored]] = {}
    for each in scored:
        found.setdefault(tuple(each.labels[name] for name in kinds), []).append(each)
    return [_typical(dict(zip(kinds, key, strict=True)), found[key]) for key in sorted(found)]


def _typical(labels: Mapping[str, str], rows: Sequence[Scored]) -> Typical:
    groups: dict[tuple[str, str], list[float]] = {}
    for each in rows:
        groups.setdefault((each.labels["chip"], each.labels["model"]), []).append(abs(each.error))
    return Typical(
        labels,
        len(groups),
        len(rows),
        float(np.median([np.median(errors) for errors in groups.values()])),
        float(np.mean([each.within for each in rows])),
        float(np.median([each.half_width for each in rows])),
    )


def grouped(scored: Iterable[Scored], by: Sequence[str]) -> list[Group]:
    """Groups by some of the labels, sorted."""
    groups: dict[tuple[str, ...], list[Scored]] = {}
    for each in scored:
        groups.setdefault(tuple(each.labels[name] for name in by), []).append(each)
    return [_group(dict(zip(by, key, strict=True)), groups[key]) for key in sorted(groups)]


def _group(labels: Mapping[str, str], rows: Sequence[Scored]) -> Group:
    errors = np.array([each.error for each in rows])
    within = [each.within for each in rows]
    return Group(
        labels,
        len(rows),
        float(np.median(np.abs(errors))),
        float(np.quantile(np.abs(errors), 0.9)),
        float(np.median(errors)),
        float(np.mean(within)),
        _baseline([(each.sheet, each.measured) for each in rows]),
        _baseline([(each.nearest, each.measured) for each in rows]),
    )


def _baseline(pairs: Sequence[tuple[float | None, float]]) -> float | None:
    errors = [abs(said / measured - 1) for said, measured in pairs if said is not None]
    return float(np.median(errors)) if errors else None
