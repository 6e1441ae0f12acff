"""The tables of a description file that hold bins and weights, checked."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints
from assay.workloads.columns import LONGEST
from assay.workloads.growth import Sessions
from assay.workloads.lengths import Histogram, LogNormal, LogNormals


def lengths_of(table: dict[str, Any], file: object) -> Histogram | LogNormals:
    """A joint histogram, or log-normal lengths."""
    names = [name for name in ("input", "output") if name in table]
    binned = [name for name in ("input_edges", "output_edges", "weights") if name in table]
    if bool(names) == bool(binned):
        raise InputError(file, "lengths", "holds bins and medians" if names else "is empty", "Give either bins and weights, or medians")
    if names:
        return LogNormals(_log_normal(table, "input", 1, file), _log_normal(table, "output", 0, file), table.get("correlation", 0.0))
    for name in ("input_edges", "output_edges", "weights"):
        if name not in table:
            raise InputError(file, f"lengths.{name}", "is missing", "A joint histogram needs it")
    edges = [_edges(table[key], f"lengths.{key}", file, least) for key, least in (("input_edges", 1), ("output_edges", 0))]
    return Histogram(edges[0], edges[1], _matrix(table["weights"], "lengths.weights", (edges[0].size - 1, edges[1].size - 1), file))


def _log_normal(table: dict[str, Any], name: str, least: int, file: object) -> LogNormal:
    given = table.get(name, {})
    for key in ("median", "sigma"):
        if key not in given:
            raise InputError(file, f"lengths.{name}.{key}", "is missing", "Log-normal lengths need the median and sigma of both")
    low, high = given.get("least", least), given.get("most", LONGEST)
    if not least <= low <= high:
        raise InputError(file, f"lengths.{name}.least", f"is {low} with most {high}", f"Give {least} <= least <= most")
    return LogNormal(given["median"], given["sigma"], low, high)


def sessions_of(table: dict[str, Any], lengths: Histogram, file: object) -> Sessions:
    """How sessions go on; `lengths` say how long first prompts and answers are."""
    stages = _edges([*table["stages"], LONGEST], "sessions.stages", file, 1)[:-1]
    if stages[0] != 1:
        raise InputError(file, "sessions.stages", f"begins at {stages[0]}", "Begin at 1, so that every prompt is in a stage")
    ends = _numbers(table["ends"], "sessions.ends", stages.size, file)
    if not ((ends > 0) & (ends <= 1)).all():
        raise InputError(
            file, "sessions.ends", "holds a share that is not above 0 and at most 1", "Give the share of prompts that end a session"
        )
    kept = _increasing(table["kept"], "sessions.kept", file, 1.0)
    new = _edges(table["new"], "sessions.new", file, 0)
    think = _increasing(table["think"], "sessions.think", file, math.inf)
    turns = _matrix(table["turns"], "sessions.turns", (stages.size * kept.size, new.size - 1), file)
    return Sessions(
        lengths=lengths,
        first=_weights(table["first"], "sessions.first", lengths.weights.shape[0], file),
        stages=stages,
        ends=ends,
        kept=kept,
        new=new,
        turns=turns.reshape(stages.size, kept.size, new.size - 1),
        think=think,
        think_weights=_weights(table["think_weights"], "sessions.think_weights", think.size - 1, file),
        block=table["block"],
        common=table.get("common", 0),
    )


def _edges(values: list[Any], field: str, file: object, least: int) -> Ints:
    whole = all(type(value) is int for value in values)
    if not whole or len(values) < 2 or values[0] < least or any(a >= b for a, b in pairwise(values)):
        remedy = "Give the first token count of each bin, then the first beyond the last bin"
        raise InputError(file, field, f"must be at least two increasing integers from {least} on", remedy)
    if values[0] == 0 and values[1] != 1:
        raise InputError(file, field, f"the bin from 0 ends at {values[1]}", "Give 0 a bin of its own, from 0 to 1")
    return np.array(values, np.int64)


def _increasing(values: list[float], field: str, file: object, most: float) -> Floats:
    if len(values) < 2 or not all(math.isfinite(value) for value in values) or values[0] < 0 or any(a >= b for a, b in pairwise(values)):
        raise InputError(file, field, "must be at least two increasing numbers from 0 on", "Give the edges of the bins")
    if values[-1] > most:
        raise InputError(file, field, f"ends at {values[-1]}", f"End at {most:g} or before")
    return np.array(values, np.float64)


def _numbers(values: list[float], field: str, size: int, file: object) -> Floats:
    if len(values) != size:
        raise InputError(file, field, f"holds {len(values)} numbers", f"Give {size}, one per bin")
    return np.array(values, np.float64)


def _weights(values: list[float], field: str, size: int, file: object) -> Floats:
    weights = _numbers(values, field, size, file)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise InputError(file, field, "must be finite, not negative and not all 0", f"Give {size} weights, one per bin")
    return weights


def _matrix(rows: list[Any], field: str, shape: tuple[int, int], file: object) -> Floats:
    remedy = f"Give {shape[0]} lists, one per input bin, of {shape[1]} weights, one per output bin"
    if field != "lengths.weights":
        remedy = f"Give {shape[0]} lists, one per stage and share kept, of {shape[1]} weights, one per bin of new tokens"
    if len(rows) != shape[0] or any(not isinstance(row, list) or len(row) != shape[1] for row in rows):
        raise InputError(file, field, "does not fit the edges", remedy)
    if any(type(weight) not in (int, float) for row in rows for weight in row):
        raise InputError(file, field, "holds something that is not a number", remedy)
    weights = np.array(rows, np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise InputError(file, field, "must be finite, not negative and not all 0", remedy)
    return weights
