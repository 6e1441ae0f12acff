"""Levels of constants as a data file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from assay._base.facts import Fact
from assay.chips import Chip
from assay.cost.constants import Calibration, Level, named

NOTHING = 0.005  # a factor this near to 1 is left out


def document(calibration: Calibration, source: str) -> str:
    """The text of data/calibration/fitted.toml; `source` says what the factors were fitted to."""
    head = [
        "# Constants fitted to measured runs, written by `make calibrate`: not to be edited by hand.",
        f"# Fitted to {source}.",
        "# value is a factor on the level above; low and high hold it with a chance of 90 %.",
    ]
    return "\n".join([*head, *(line for level in calibration.levels for line in _level(level))]) + "\n"


def chip_document(chip: Chip, levels: Sequence[Level]) -> str:
    """The chip's file with the levels in it, in the place of earlier ones of the same engines."""
    text = chip.file.read_text(encoding="utf-8")
    head = text.partition("\n[[calibration]]")[0].rstrip()
    kept = [row for row in chip.calibration if row["engine"] not in {level.where.engine for level in levels}]
    lines = [line for row in kept for line in _own(row["engine"], row["runs"], named(row))]
    lines += [line for level in levels for line in _own(level.where.engine, level.runs, level.factors)]
    return "\n".join([head, *lines]) + "\n"


def _own(engine: str, runs: int, factors_by_name: Mapping[str, Fact[Any]]) -> Iterator[str]:
    yield from ("", "[[calibration]]", f'engine = "{engine}"', f"runs = {runs}")
    yield from factors(factors_by_name.items())


def _level(level: Level) -> Iterator[str]:
    kept = {name: fact for name, fact in level.factors.items() if abs(fact.value - 1) > NOTHING}
    if not (kept or level.runs):
        return
    yield ""
    yield "[[level]]"
    yield f'execution = "{level.execution}"'
    yield from (f'{key} = "{name}"' for key, name in level.where._asdict().items() if name)
    yield f"runs = {level.runs}"
    yield from factors(kept.items())


def factors(named: Iterable[tuple[str, Fact[Any]]]) -> Iterator[str]:
    """Lines of factors by `table.key`."""
    for name, fact in named:
        yield f"factor.{name} = {{ value = {fact.value:.4g}, low = {fact.low:.4g}, high = {fact.high:.4g} }}"
