"""The baseline of anybody with a table of published results: the nearest other run, scaled by what the data sheet says of both."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.points import Number, Point

Floats = NDArray[np.float64]

# What makes runs unlike, in units of a factor of e in length or load.
UNLIKE = {"model": 4.0, "load": 4.0, "disaggregated": 2.0, "speculate": 2.0, "chip": 2.0, "engine": 1.0, "weights": 1.0}
SCALES = ("isl", "osl", "crowd", "chips")


@dataclass(frozen=True)
class Known:
    """A published number, its run, and what the data sheet says of it."""

    point: Point
    number: Number
    sheet: float


def nearest(known: Iterable[Known]) -> dict[int, float]:
    """For each row the value of the nearest run with the same metric, statistic and unit, times the ratio of their data sheet's figures.

    A row without such a run has none. The distance is the sum of UNLIKE and of the logarithms of lengths, users per chip and chips.
    """
    groups: dict[tuple[str, str, str], list[Known]] = {}
    for each in known:
        groups.setdefault((each.number.metric, each.number.statistic, each.number.per), []).append(each)
    found: dict[int, float] = {}
    for rows in groups.values():
        found.update(_within(rows))
    return found


def _within(rows: list[Known]) -> Mapping[int, float]:
    runs = {_conditions(each.point): place for place, each in enumerate(rows)}  # nor is the same run on another day a neighbour
    run = np.array([runs[_conditions(each.point)] for each in rows])
    likes = {name: np.unique([str(each.point.said(name)) for each in rows], return_inverse=True)[1] for name in UNLIKE}
    scales = {name: np.array([_scale(each.point, name) for each in rows]) for name in SCALES}
    value = np.array([each.number.value if each.number.scored else math.nan for each in rows], np.float64)
    sheet = np.array([each.sheet for each in rows])
    usable = np.isfinite(value) & np.isfinite(sheet) & (sheet > 0)
    found: dict[int, float] = {}
    for place, each in enumerate(rows):
        if not (math.isfinite(each.sheet) and each.sheet > 0):
            continue
        apart = np.sum([UNLIKE[name] * (column != column[place]) for name, column in likes.items()], axis=0)
        apart = apart + np.sum([np.abs(column - column[place]) for column in scales.values()], axis=0)
        apart[~usable | (run == run[place])] = math.inf
        other = int(np.argmin(apart))
        if math.isfinite(apart[other]):
            found[each.number.row] = float(value[other] * each.sheet / sheet[other])
    return found


def _conditions(point: Point) -> frozenset[tuple[str, object]]:
    """How a run was made, without its name, version and date."""
    return frozenset((name, value) for name, value in point.conditions.items() if name not in ("point", "engine_version", "source_date"))


def _scale(point: Point, name: str) -> float:
    """Logarithm of a length, of the chips, or of the requests on a chip; 0 where it is not stated."""
    chips = point.said("chips") or 1
    if name == "crowd":
        users = point.said("concurrency") or point.said("batch") or point.said("rate") or 1
        return math.log(users / chips)
    if name == "chips":
        return math.log(chips)
    return math.log(max(1.0, point.said(name) or point.said(f"{name}_nominal") or 1.0))
