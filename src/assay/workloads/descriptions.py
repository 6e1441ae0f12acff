"""Description files of workloads: read, checked, drawn from, written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from assay._base.errors import InputError
from assay._base.schema import check, read
from assay.workloads.arrays import Floats, Ints
from assay.workloads.arrivals import ARRIVALS, INPUTS, Process, stream
from assay.workloads.columns import Columns
from assay.workloads.lengths import Histogram


@dataclass(frozen=True, eq=False)
class Description:
    """What requests are drawn from; `requests` is how many when nobody says."""

    source: str
    requests: int
    arrival: Process
    lengths: Histogram

    def at_rate(self, rate: float) -> Self:
        """The same, to be drawn at another mean rate, requests/s: segments and periods keep their seconds."""
        return replace(self, arrival=replace(self.arrival, rate=rate))

    def draw(self, requests: int | None, seed: int) -> Columns:
        """Columns of `requests` drawn requests, the same for the same seed."""
        count = self.requests if requests is None else requests
        prompts, outputs = self.lengths.draw(count, stream(seed, INPUTS))
        note = (f"{count} requests, as many as the description says",) if requests is None else ()
        return Columns(arrival=self.arrival.draw(count, stream(seed, ARRIVALS)), input=prompts, output=outputs, assumptions=note)


def read_description(path: Path) -> Description:
    """Read and check a description file; raises InputError naming the field that is wrong."""
    return parsed(read(path, "workload"), path)


def parsed(document: Mapping[str, Any], file: object) -> Description:
    """The description in a document that the schema has passed; raises InputError where its parts do not fit together."""
    lengths = document["lengths"]
    edges = [_edges(lengths[key], f"lengths.{key}", file, least) for key, least in (("input_edges", 1), ("output_edges", 0))]
    histogram = Histogram(edges[0], edges[1], _weights(lengths["weights"], (edges[0].size - 1, edges[1].size - 1), file))
    return Description(document["source"], document["requests"], _process(document["arrival"], file), histogram)


def _process(table: dict[str, Any], file: object) -> Process:
    needed = {"gamma": ("cv",), "modulated": ("cv", "segment"), "profile": ("period", "levels")}.get(table["kind"], ())
    for key in needed:
        if key not in table:
            raise InputError(file, f"arrival.{key}", "is missing", f"Arrivals of kind {table['kind']} need it")
    return Process(**table | ({"levels": _levels(table["levels"], file)} if "levels" in table else {}))


def _levels(values: list[float], file: object) -> tuple[float, ...]:
    if not all(math.isfinite(value) and value >= 0 for value in values) or not sum(values) > 0:
        remedy = "Give the rate at equally spaced times over the period, in proportion to one another"
        raise InputError(file, "arrival.levels", "must be finite, not negative and not all 0", remedy)
    return tuple(values)


def _edges(values: list[Any], field: str, file: object, least: int) -> Ints:
    whole = all(type(value) is int for value in values)
    if not whole or len(values) < 2 or values[0] < least or any(a >= b for a, b in pairwise(values)):
        remedy = "Give the first token count of each bin, then the first beyond the last bin"
        raise InputError(file, field, f"must be at least two increasing integers from {least} on", remedy)
    if values[0] == 0 and values[1] != 1:
        raise InputError(file, field, f"the bin from 0 ends at {values[1]}", "Give 0 a bin of its own, from 0 to 1")
    return np.array(values, np.int64)


def _weights(rows: list[Any], shape: tuple[int, int], file: object) -> Floats:
    remedy = f"Give {shape[0]} lists, one per input bin, of {shape[1]} weights, one per output bin"
    if len(rows) != shape[0] or any(not isinstance(row, list) or len(row) != shape[1] for row in rows):
        raise InputError(file, "lengths.weights", "does not fit the edges", remedy)
    if any(type(weight) not in (int, float) for row in rows for weight in row):
        raise InputError(file, "lengths.weights", "holds something that is not a number", remedy)
    weights = np.array(rows, np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise InputError(file, "lengths.weights", "must be finite, not negative and not all 0", remedy)
    return weights


def write_description(description: Mapping[str, Any], path: Path) -> None:
    """Check a description and write it as TOML; nothing is written when it is wrong."""
    parsed(check(description, "workload", path), path)
    text = _toml(description)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Name a file that can be written") from None


def _toml(description: Mapping[str, Any]) -> str:
    """Plain fields first, then one table after another."""
    tables = {key: value for key, value in description.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {_literal(value)}" for key, value in description.items() if key not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_literal(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    """JSON is TOML for text, numbers, booleans and lists; lists of lists or texts take a line per item."""
    if isinstance(value, list) and value and isinstance(value[0], list | str):
        return "[\n" + "".join(f"  {_literal(item)},\n" for item in value) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
