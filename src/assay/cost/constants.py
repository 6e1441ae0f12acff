"""The calibrated constants of the cost model, read from data/calibration."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from assay._base.facts import Fact
from assay._base.schema import DATA, read


@dataclass(frozen=True)
class Constants:
    """Constants of one way of execution, as plain numbers: tables of data/schema/calibration.toml."""

    compute_share: dict[str, float]
    bandwidth_share: dict[str, float]
    fixed: dict[str, float]
    collective: dict[str, float]
    host: dict[str, float]
    experts: dict[str, float]


@cache
def constants(execution: str) -> Constants:
    """The generic constants for `execution` (kernel-by-kernel or resident-pipeline)."""
    table = read(DATA / "calibration" / "generic.toml", "calibration")[execution]
    return Constants(**{name: _values(facts) for name, facts in table.items()})


@cache
def energy_constants() -> dict[str, float]:
    """Constants of the energy model: keys as in data/calibration/energy.toml."""
    return _values(read(DATA / "calibration" / "energy.toml", "energy"))


def _values(facts: dict[str, Fact[Any]]) -> dict[str, float]:
    return {key: float(fact.value) for key, fact in facts.items()}
