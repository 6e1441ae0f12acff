"""Levels of constants as a data file."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from assay._base.facts import Fact
from assay.chips import Chip
from assay.cost.constants import Calibration, Level

NOTHING = 0.005  # a factor this near to 1 is left out
TABLE = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")


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
    head = "\n".join(_without(chip, {level.where.engine for level in levels})).rstrip()
    return "\n".join([head, *(line for level in levels for line in _own(level))]) + "\n"


def _without(chip: Chip, engines: Collection[str]) -> Iterator[str]:
    """The lines of the chip's file but for what some engines were calibrated to."""
    rows, dropped = iter(chip.calibration), False
    for line in chip.file.read_text(encoding="utf-8").splitlines():
        table = TABLE.match(line)
        if table and table[1] == "[[" and table[2] == "calibration":
            dropped = next(rows)["engine"] in engines
        elif table and not table[2].startswith("calibration."):
            dropped = False
        if not dropped:
            yield line


def _own(level: Level) -> Iterator[str]:
    yield from ("", "[[calibration]]", f'engine = "{level.where.engine}"', f"runs = {level.runs}")
    yield from factors(level.factors.items())


def _level(level: Level) -> Iterator[str]:
    kept = {name: fact for name, fact in level.factors.items() if abs(fact.value - 1) > NOTHING}
    if not (kept or (level.runs and not level.where.client)):
        return
    yield ""
    yield "[[level]]"
    yield f'execution = "{level.execution}"'
    yield from (f'{key} = "{name}"' for key, name in level.where._asdict().items() if name)
    yield f"runs = {level.runs}"
    if level.models:
        yield f"models = {json.dumps(list(level.models))}"
    yield from factors(kept.items())


def factors(named: Iterable[tuple[str, Fact[Any]]]) -> Iterator[str]:
    """Lines of factors by `table.key`."""
    for name, fact in named:
        yield f"factor.{name} = {{ value = {fact.value:.4g}, low = {fact.low:.4g}, high = {fact.high:.4g} }}"
