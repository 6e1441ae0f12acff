"""The constants of the cost model: generic physics, and what fits to measured runs have found above it, level by level.

A level holds for an engine, a chip family, both, a chip, or both in a quarter of a year, since engines change as they are developed;
for a system, which is an engine that serves one model in one precision on one chip; or for the load generator of a collection of runs,
whose own time is in the TTFT that it measures.
It multiplies constants of all levels that hold more widely (data/calibration/generic.toml and fitted.toml). Where nothing was measured
no level holds, and generic physics is left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

from assay._base.catalogue import names
from assay._base.facts import Fact
from assay._base.schema import DATA, read
from assay.chips import Chip
from assay.engines import Engine
from assay.models import Model
from assay.models.shapes import Architecture

Table = dict[str, float]

TAUGHT = 20  # runs, by judgement: two sweeps; one tells of its own system more than of what an engine is today
MOST_ACCEPTED = 0.98  # of drafted tokens: text holds surprises for any draft


@dataclass(frozen=True)
class Constants:
    """Constants of one way of execution, as plain numbers: tables of data/schema/calibration.toml.

    While constants are fitted a number may be a column of numbers, shape (P, 1), and times then come as rows.
    """

    compute_share: Table
    bandwidth_share: Table
    fixed: Table
    collective: Table
    host: Table
    experts: Table
    speculation: Table

    def times(self, factors: Mapping[str, Any]) -> "Constants":
        """The same with some constants, named as `table.key`, multiplied; shares stay within their physical limits."""
        tables = {name: dict(table) for name, table in vars(self).items()}
        for name, factor in factors.items():
            table, _, key = name.partition(".")
            tables[table][key] = _limited(name, tables[table][key] * factor)
        return Constants(**tables)


class Where(NamedTuple):
    """For what a level holds: engine, chip family, chip, quarter of a year, client (a collection of runs), model, weights; "" for any."""

    engine: str = ""
    family: str = ""
    chip: str = ""
    quarter: str = ""
    client: str = ""
    model: str = ""
    weights: str = ""

    @property
    def system(self) -> "Where":
        """The engine that serves this model in these weights on this chip."""
        return Where(self.engine, chip=self.chip, model=self.model, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Level:
    """Factors on constants by `table.key`, for chips of one way of execution, and the measured runs that they were fitted to.

    `models` are those of the runs, told of levels of an engine on a family alone.
    """

    execution: str
    where: Where
    factors: Mapping[str, Fact[float]]
    runs: int = 0
    models: tuple[str, ...] = ()

    def holds(self, chip: Chip, engine: str) -> bool:
        """Whether it is, in its quarter, for this chip under this engine, whatever model it serves and whoever asks."""
        there = Where(engine, chip.family, chip.name, self.where.quarter)
        return self.execution == chip.execution and all(wanted in ("", said) for wanted, said in zip(self.where, there, strict=True))

    def seen_by(self, client: str) -> "Level":
        """The level, for anyone if it is this client's."""
        return replace(self, where=self.where._replace(client="")) if self.where.client == client else self


@dataclass(frozen=True, eq=False)
class Calibration:
    """Levels of constants, the widest first."""

    levels: tuple[Level, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any factor."""
        rows = [
            (each.execution, each.where, each.runs, sorted((name, fact.value) for name, fact in each.factors.items()))
            for each in self.levels
        ]
        return blake2b(repr(rows).encode(), digest_size=8).hexdigest()

    def seen_by(self, client: str) -> "Calibration":
        """The same with what the load generator of a collection of runs adds to its TTFT."""
        if client not in self._seen:
            seen = tuple(level.seen_by(client) for level in self.levels)
            self._seen[client] = self if seen == self.levels else Calibration(seen)
        return self._seen[client]

    @cached_property
    def _seen(self) -> dict[str, "Calibration"]:
        return {"": self}

    @cached_property
    def wide(self) -> "Calibration":
        """The same without what is of single systems."""
        return Calibration(tuple(level for level in self.levels if not level.where.model))

    @cached_property
    def _systems(self) -> dict[tuple[str, Where], dict[str, Level]]:
        """Levels of systems by model, and these by all else that tells systems apart."""
        found: dict[tuple[str, Where], dict[str, Level]] = {}
        for level in self.levels:
            if level.where.model:
                found.setdefault((level.execution, level.where._replace(model="")), {})[level.where.model] = level
        return found

    def system(self, chip: Chip, engine: Engine, model: Model, weights: str) -> Level | None:
        """The level of the model under its own name, else of one of the same architecture."""
        there = self._systems.get((chip.execution, Where(engine.name, chip=chip.name, weights=weights)), {})
        name = model.name if model.name in there else next((name for name in there if _alike(model, name)), "")
        return there.get(name)

    def holding(self, chip: Chip, engine: Engine, model: Model | None = None, weights: str = "") -> tuple[Level, ...]:
        """The levels that are for this chip under this engine, serving a model: of quarters the engine's, else the last before it.

        Today's engine has the last quarter that more than a few runs taught, one of which only the year is known has none. What the chip's
        own file was calibrated to comes last, in the place of the levels of the chip alone and of its systems.
        """
        levels = self._of_pair(chip, engine.name)
        now, least = (engine.period(chip.family), 0) if engine.since else ("9999", TAUGHT)
        passed = [level.where.quarter for level in levels if level.where.quarter <= now and level.runs >= least]
        holding = [level for level in levels if level.where.quarter in ("", max(passed, default=""))]
        own = own_level(chip, engine.name)
        system = self.system(chip, engine, model, weights) if model and not own else None
        holding = [level for level in holding if not own or level.where != Where("", "", chip.name)]
        return (*holding, *(level for level in (system, own) if level))

    def _of_pair(self, chip: Chip, engine: str) -> tuple[Level, ...]:
        """The wide levels that hold for the chip under the engine, of all quarters."""
        pair = chip.execution, engine, chip.family, chip.name
        if pair not in self._pairs:
            self._pairs[pair] = tuple(level for level in self.wide.levels if level.holds(chip, engine))
        return self._pairs[pair]

    @cached_property
    def _pairs(self) -> dict[tuple[str, ...], tuple[Level, ...]]:
        return {}

    def constants(self, chip: Chip, engine: Engine, model: Model | None = None, weights: str = "") -> Constants:
        """Generic physics times the factors of all levels that hold."""
        found = generic(chip.execution)
        for level in self.holding(chip, engine, model, weights):
            found = found.times({name: fact.value for name, fact in level.factors.items()})
        return found


def _alike(model: Model, name: str) -> bool:
    """Whether a model of the catalogue has the same architecture."""
    return _architecture(name) == model.architecture


@cache
def _architecture(name: str) -> Architecture | None:
    """That of a model of the catalogue; of another only its owner knows the file."""
    return Model.load(name).architecture if name in names("models") else None


@cache
def generic(execution: str) -> Constants:
    """Generic physics for `execution` (kernel-by-kernel or resident-pipeline)."""
    return Constants(**{name: _values(facts) for name, facts in generic_facts(execution).items()})


@cache
def generic_facts(execution: str) -> dict[str, dict[str, Fact[float]]]:
    """The same by table and key, each with its interval and source."""
    table: dict[str, dict[str, Fact[float]]] = read(DATA / "calibration" / "generic.toml", "calibration")[execution]
    return table


@cache
def shipped() -> Calibration:
    """The levels that the product ships."""
    return Calibration(tuple(levels(read(DATA / "calibration" / "fitted.toml", "fitted").get("level", ()))))


def levels(rows: Iterable[Mapping[str, Any]]) -> Iterable[Level]:
    """Levels from the rows of a document."""
    for row in rows:
        where = Where(*(row.get(key, "") for key in Where._fields))
        yield Level(row["execution"], where, named(row), row["runs"], tuple(row.get("models", ())))


def own_level(chip: Chip, engine: str) -> Level | None:
    """The level of an engine in the chip's own file; None where there is none."""
    rows = [row for row in chip.calibration if row["engine"] == engine]
    return Level(chip.execution, Where(engine, "", chip.name), named(rows[-1]), rows[-1]["runs"]) if rows else None


def named(row: Mapping[str, Any]) -> dict[str, Fact[float]]:
    """Factors of a row of a document by `table.key`."""
    return {f"{table}.{key}": fact for table, facts in row.get("factor", {}).items() for key, fact in facts.items()}


@cache
def energy_constants() -> dict[str, float]:
    """Constants of the energy model: keys as in data/calibration/energy.toml."""
    return _values(read(DATA / "calibration" / "energy.toml", "energy"))


def _limited(name: str, value: Any) -> Any:
    """Nothing computes or moves more than its peak, and the busiest of several does no less than their mean."""
    if ("_share." in name and name != "compute_share.experts") or name == "collective.bandwidth_share":
        return min(value, 1.0) if isinstance(value, float) else value.clip(max=1.0)
    if name == "speculation.acceptance":
        return min(value, MOST_ACCEPTED) if isinstance(value, float) else value.clip(max=MOST_ACCEPTED)
    if name == "experts.imbalance":
        return max(value, 1.0) if isinstance(value, float) else value.clip(min=1.0)
    return value


def _values(facts: dict[str, Fact[Any]]) -> dict[str, float]:
    return {key: float(fact.value) for key, fact in facts.items()}
