"""What `compare` is asked: one question from flags, or several from a scenario file; and their answers, with progress."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

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
from assay.simulate.compiled import warm_up
from assay.slo import Slo
from assay.workloads import Workload

Named = TypeVar("Named")

_LOAD = ("rate", "concurrency", "ramp", "requests", "seed")
_TOLD_BY_SCENARIO = ("workload", *options.LENGTHS, *_LOAD, "ttft", "tpot", "e2e", "percentile")
_IN_FILE = "Say it in the scenario's [[traffic]]"


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
    if model is not None:
        raise InputError("--scenario", "", "given together with MODEL", _IN_FILE)
    options.refuse_beside("--scenario", _TOLD_BY_SCENARIO, _IN_FILE)
    return _scenario(scenario, chips)


def _chips(names: str | None) -> tuple[Chip, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else list(catalogue.names("chips"))
    if not wanted:
        raise InputError("--chips", "", "names no chip", "Give names with commas between")
    return tuple(Chip.load(name) for name in dict.fromkeys(wanted))


def _scenario(path: Path, chips: str | None) -> list[Asking]:
    document = read_toml(path, "scenario")
    if not document["traffic"]:
        raise InputError(path, "traffic", "is empty", "Add at least one [[traffic]] with model and workload")
    listed = document.get("chips", ())
    found = _chips(chips) if chips or not listed else tuple(_named(Chip.load, name, path, "chips") for name in dict.fromkeys(listed))
    return [_traffic(path, f"traffic[{i}]", row, found) for i, row in enumerate(document["traffic"])]


def _traffic(path: Path, place: str, row: Mapping[str, Any], chips: tuple[Chip, ...]) -> Asking:
    seed = row.get("seed", 0)
    rate = row["rate"] * row.get("weight", 1.0) if "rate" in row else None
    load = partial(Workload.load, requests=row.get("requests"), rate=rate, seed=seed)
    workload = _named(load, row["workload"], path, f"{place}.workload")
    model = _named(Model.load, row["model"], path, f"{place}.model")
    return Asking(model, chips, workload, Slo(**row.get("slo", {})), seed)


def _named(load: Callable[[str], Named], name: str, path: Path, place: str) -> Named:
    """What a scenario names; where no catalogue knows it, InputError says at which place of the scenario it stands."""
    try:
        return load(_beside(path, name))
    except InputError as error:
        if error.file != name:
            raise
        raise InputError(path, place, f"{name!r}: {error.problem}", error.remedy) from None


def _beside(path: Path, name: str) -> str:
    """A file that a scenario names is looked for beside it; other names are the catalogue's."""
    near = path.parent / name
    return str(near) if near.exists() else name


def answered(questions: Sequence[Asking], flags: Mapping[str, Any]) -> Iterator[tuple[Asking, Comparison]]:
    """Each question with its answer. Work runs on all cores; progress goes to stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[chip]}"))
    prices, asked = options.prices(flags), options.asked(flags)
    with Progress(*columns, console=Console(stderr=True)) as bar, executor() as workers:
        _compile(bar)
        for question in questions:
            work = Work(workers, _Reporter(bar, question.model.name))
            answer = api.compare(question.model, question.chips, question.workload, question.slo, asked=asked, prices=prices, work=work)
            yield question, answer
            if not answer.complete:
                return


def _compile(bar: Progress) -> None:
    """The simulator is compiled on its first use after an installation, and kept on disk."""
    task = bar.add_task("compiling the simulator (once)", total=1, chip="")
    warm_up()
    bar.update(task, completed=1, visible=False)


def executor() -> ProcessPoolExecutor:
    """Workers on all cores; Ctrl-C is for the one that waits for them, who would wait for ever on a pool that it broke."""
    return ProcessPoolExecutor(os.cpu_count(), get_context("forkserver"), signal.signal, (signal.SIGINT, signal.SIG_IGN))


class _Reporter:
    """Progress of one comparison: sizing every deployment, then confirming the best at full length."""

    def __init__(self, bar: Progress, model: str) -> None:
        self.bar, self.model = bar, model
        self.tasks: list[TaskID] = []
        self.before = 0  # confirmed in earlier rounds

    def __call__(self, done: int, total: int, chip: str) -> None:
        """Show that `done` of `total` of this round are finished, the last on `chip`."""
        if done == 1 and len(self.tasks) < 2:
            stage = "confirming" if self.tasks else "sizing"
            self.tasks.append(self.bar.add_task(f"{self.model}: {stage}", total=total, chip=chip))
        self.bar.update(self.tasks[-1], completed=self.before + done, total=self.before + total, chip=chip)
        if done == total and len(self.tasks) == 2:
            self.before += total
