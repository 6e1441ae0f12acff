"""What `compare` is asked: one question from flags, or several from a scenario file; and their answers, with progress."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from assay import api
from assay._base import catalogue
from assay._base.errors import InputError
from assay._base.schema import read as read_toml
from assay.chips import Chip
from assay.cli import options
from assay.models import Model
from assay.search.comparison import Comparison, Work
from assay.slo import Slo
from assay.workloads import Workload


@dataclass(frozen=True)
class Asking:
    """One comparison to make."""

    model: Model
    chips: tuple[Chip, ...]
    workload: Workload
    slo: Slo
    seed: int


def read(model: str | None, chips: str | None, scenario: Path | None, flags: Mapping[str, Any]) -> list[Asking]:
    """The questions of a command, all read and checked before the first is answered."""
    if scenario is None:
        if model is None:
            raise InputError("MODEL", "", "is missing", "Give a catalogue name (see `assay models`), a config.json, or --scenario")
        return [Asking(Model.load(model), _chips(chips), options.drawn(flags), options.targets(flags), flags["seed"])]
    if model is not None or flags["workload"]:
        raise InputError("--scenario", "", "given together with MODEL or --workload", "Say them in the scenario's [[traffic]]")
    return _scenario(scenario, chips)


def _chips(names: str | None) -> tuple[Chip, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else list(catalogue.names("chips"))
    if not wanted:
        raise InputError("--chips", "", "names no chip", "Give names with commas between")
    return tuple(Chip.load(name) for name in dict.fromkeys(wanted))


def _scenario(path: Path, chips: str | None) -> list[Asking]:
    document = read_toml(path, "scenario")
    listed = ",".join(_beside(path, name) for name in document.get("chips", ())) or None
    found = _chips(chips or listed)
    return [_traffic(path, row, found) for row in document["traffic"]]


def _traffic(path: Path, row: Mapping[str, Any], chips: tuple[Chip, ...]) -> Asking:
    seed = row.get("seed", 0)
    rate = row["rate"] * row.get("weight", 1.0) if "rate" in row else None
    workload = Workload.load(_beside(path, row["workload"]), requests=row.get("requests"), rate=rate, seed=seed)
    return Asking(Model.load(_beside(path, row["model"])), chips, workload, Slo(**row.get("slo", {})), seed)


def _beside(path: Path, name: str) -> str:
    """A file that a scenario names is looked for beside it; other names are the catalogue's."""
    near = path.parent / name
    return str(near) if near.exists() else name


def answered(questions: Sequence[Asking], flags: Mapping[str, Any]) -> Iterator[tuple[Asking, Comparison]]:
    """Each question with its answer. Work runs on all cores; progress goes to stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[chip]}"))
    prices, asked = options.prices(flags), options.asked(flags)
    with Progress(*columns, console=Console(stderr=True)) as bar, _executor() as executor:
        for question in questions:
            work = Work(executor, _Reporter(bar, question.model.name))
            answer = api.compare(question.model, question.chips, question.workload, question.slo, asked=asked, prices=prices, work=work)
            yield question, answer
            if not answer.complete:
                return


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver"))


class _Reporter:
    """Progress of one comparison: sizing every deployment, then confirming the best at full length."""

    def __init__(self, bar: Progress, model: str) -> None:
        self.bar, self.model = bar, model
        self.tasks: list[TaskID] = []

    def __call__(self, done: int, total: int, chip: str) -> None:
        """Show that `done` of `total` are finished, the last on `chip`."""
        if done == 1:
            stage = "confirming" if self.tasks else "sizing"
            self.tasks.append(self.bar.add_task(f"{self.model}: {stage}", total=total, chip=chip))
        self.bar.update(self.tasks[-1], completed=done, chip=chip)
