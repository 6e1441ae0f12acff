"""Description files of workloads: read, checked, drawn from, written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from assay._base.errors import InputError
from assay._base.schema import check, read
from assay.workloads.arrays import Floats
from assay.workloads.arrivals import ARRIVALS, INPUTS, ONCE, Process, stream
from assay.workloads.columns import Columns
from assay.workloads.growth import Sessions
from assay.workloads.lengths import Histogram, LogNormals
from assay.workloads.parts import lengths_of, sessions_of


@dataclass(frozen=True, eq=False)
class Description:
    """What requests are drawn from; `requests` is how many when nobody says. With `sessions`, it is those that arrive."""

    source: str
    requests: int
    arrival: Process
    lengths: Histogram | LogNormals
    sessions: Sessions | None = None

    def at_rate(self, rate: float) -> Self:
        """The same, to be drawn at another mean rate, requests/s: segments and periods keep their seconds."""
        return replace(self, arrival=replace(self.arrival, rate=rate))

    def draw(self, requests: int | None, seed: int) -> Columns:
        """Columns of `requests` drawn requests, the same for the same seed."""
        count = self.requests if requests is None else requests
        if self.sessions:
            columns = self._started(self.sessions.draw(count, seed), seed)
        else:
            prompts, outputs = self.lengths.draw(count, stream(seed, INPUTS))
            columns = Columns(arrival=self._arrivals(count, count, seed), input=prompts, output=outputs)
        note = (f"{count} requests, as many as the description says",) if requests is None else ()
        return replace(columns, assumptions=note)

    def _started(self, columns: Columns, seed: int) -> Columns:
        starts = self._arrivals(int(columns.opens.sum()), columns.requests, seed)
        return replace(columns, arrival=columns.arrival + starts[np.cumsum(columns.opens) - 1])

    def _arrivals(self, count: int, requests: int, seed: int) -> Floats:
        """When `count` sessions or requests come that hold `requests` requests."""
        if self.arrival.kind == ONCE:
            return np.zeros(count)
        return replace(self.arrival, rate=self.arrival.rate * count / requests).draw(count, stream(seed, ARRIVALS))


def read_description(path: Path) -> Description:
    """Read and check a description file; raises InputError naming the field that is wrong."""
    return parsed(read(path, "workload"), path)


def parsed(document: Mapping[str, Any], file: object) -> Description:
    """The description in a document that the schema has passed; raises InputError where its parts do not fit together."""
    for name in ("arrival", "lengths"):
        if name not in document:
            raise InputError(file, name, "is missing", f"Add a table [{name}]")
    lengths = lengths_of(document["lengths"], file)
    sessions = None
    if "sessions" in document:
        if not isinstance(lengths, Histogram):
            raise InputError(file, "sessions", "given with log-normal lengths", "Give lengths.input_edges, output_edges and weights")
        sessions = sessions_of(document["sessions"], lengths, file)
    return Description(document["source"], document["requests"], _process(document["arrival"], file), lengths, sessions)


def _process(table: dict[str, Any], file: object) -> Process:
    needed = {"gamma": ("rate", "cv"), "modulated": ("rate", "cv", "segment"), "profile": ("rate", "period", "levels"), ONCE: ()}
    for key in needed.get(table["kind"], ("rate",)):
        if key not in table:
            raise InputError(file, f"arrival.{key}", "is missing", f"Arrivals of kind {table['kind']} need it")
    return Process(**{"rate": 0.0} | table | ({"levels": _levels(table["levels"], file)} if "levels" in table else {}))


def _levels(values: list[float], file: object) -> tuple[float, ...]:
    if not all(math.isfinite(value) and value >= 0 for value in values) or not sum(values) > 0:
        remedy = "Give the rate at equally spaced times over the period, in proportion to one another"
        raise InputError(file, "arrival.levels", "must be finite, not negative and not all 0", remedy)
    return tuple(values)


def write_description(description: Mapping[str, Any], path: Path) -> None:
    """Check a description and write it as TOML; nothing is written when it is wrong."""
    parsed(check(description, "workload", path), path)
    text = _toml(description)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Name a file that can be written") from None


def _toml(table: Mapping[str, Any], name: str = "") -> str:
    """Plain fields first, then one table after another."""
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = [f"{key} = {_literal(value)}\n" for key, value in table.items() if key not in tables]
    head = f"\n[{name}]\n" if name and plain else ""
    return head + "".join(plain) + "".join(_toml(value, f"{name}.{key}" if name else key) for key, value in tables.items())


def _literal(value: Any) -> str:
    """JSON is TOML for text, numbers, booleans and lists; lists of lists or texts take a line per item."""
    if isinstance(value, list) and value and isinstance(value[0], list | str):
        return "[\n" + "".join(f"  {_literal(item)},\n" for item in value) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
