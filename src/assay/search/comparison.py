"""Many deployments sized to the same traffic, in parallel, and set beside each other."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay._base.parallel import finished
from assay.chips import Chip
from assay.deployments import Part
from assay.models import Model
from assay.search.doubt import doubt
from assay.search.evaluate import Question
from assay.search.evidence import evidence_of
from assay.search.frontier import frontier, worths
from assay.search.plant import build
from assay.search.price import Market
from assay.search.runs import LATENCIES, Run
from assay.search.sizing import confirmed, least

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Work:
    """How much at once: any executor (None: one after the other), and who hears of progress (done, of, what)."""

    executor: Executor | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Case:
    """One deployment to size: everything a worker needs."""

    model: Model
    part: Part
    question: Question
    market: Market


def size(case: Case) -> Run:
    """The least replicas of a case."""
    return least(build(case.model, case.part), case.question, case.market)


def confirm(case: Case, run: Run) -> Run:
    """A sized run again with all requests."""
    return confirmed(build(case.model, case.part), run, case.question, case.market)


def sized(cases: Sequence[Case], work: Work) -> tuple[list[Run], bool]:
    """Size every case, then run each chip's cheapest and fastest again at full length, until the cheapest and fastest are such runs.

    Returns the runs and whether all were done: Ctrl-C ends the work and keeps what is finished.
    """
    runs: dict[int, Run] = {}
    checked: set[int] = set()
    try:
        _gather(runs, [(index, size, (case,)) for index, case in enumerate(cases)], cases, work)
        while best := [index for index in _leaders(runs) if index not in checked]:
            _gather(runs, [(index, confirm, (cases[index], runs[index])) for index in best], cases, work)
            checked.update(best)
    except KeyboardInterrupt:
        return [runs[index] for index in sorted(runs)], False
    return [runs[index] for index in sorted(runs)], True


Task = tuple[int, Callable[..., Run], tuple[Any, ...]]


def _gather(runs: dict[int, Run], tasks: Sequence[Task], cases: Sequence[Case], work: Work) -> None:
    for done, (place, run) in enumerate(finished(_call, tasks, work.executor), 1):
        index = tasks[place][0]
        runs[index] = run
        if work.progress:
            work.progress(done, len(tasks), cases[index].part.chip.name)


def _call(task: Task) -> Run:
    _, function, arguments = task
    return function(*arguments)


def _leaders(runs: Mapping[int, Run]) -> list[int]:
    """Each chip's cheapest and fastest feasible case, or its nearest miss."""
    leaders: set[int] = set()
    for chip in {run.chip for run in runs.values()}:
        own = {index: runs[index] for index in sorted(runs) if runs[index].chip == chip}  # in whatever order they ended
        feasible = {index: run for index, run in own.items() if run.feasible} or own
        leaders.add(min(feasible, key=lambda index: expense(feasible[index])))
        leaders.add(min(feasible, key=lambda index: pace(feasible[index])))
    return sorted(leaders)


def expense(run: Run) -> tuple[float, float]:
    """What a cheapest run has least of: dollars per token, else chips per token per second."""
    served = run.total_tokens_per_second or 1e-12
    return (run.price.blended if run.price.blended is not None else float("inf"), run.chips / served)


def pace(run: Run) -> float:
    """What a fastest run has least of: mean time per output token."""
    return run.latencies["tpot"].values["mean"] or float("inf")


@dataclass(frozen=True)
class Comparison:
    """Every chip's deployments for one question, and which are best.

    `unfit` says of each chip on which nothing fits why; `frontier` and `worths` go with `runs`. `complete` is False when the work was
    interrupted.
    """

    model: str
    question: Question
    chips: tuple[Chip, ...]
    runs: tuple[Run, ...]
    unfit: Mapping[str, str]
    complete: bool

    @property
    def best(self) -> dict[str, int | None]:
        """Index among the candidates of the feasible run of least cost, latency (mean TPOT) and energy; None where there is none."""
        feasible = [index for index, run in enumerate(self.runs) if run.feasible]
        priced = [index for index in feasible if self.runs[index].price.blended is not None]
        energy = {index: joules for index in feasible if (joules := self.runs[index].joules_per_token) is not None}
        return {
            "cost": min(priced, key=lambda index: expense(self.runs[index]), default=None),
            "latency": min(feasible, key=lambda index: pace(self.runs[index]), default=None),
            "energy": min(energy, key=energy.__getitem__, default=None),
        }

    @property
    def doubt(self) -> dict[str, float | None]:
        """For each best run the chance that a feasible one on other chips beats it in truth; None where there is no other."""
        feasible = [run for run in self.runs if run.feasible]
        asked: dict[str, tuple[str, Callable[[Run], float | None]]] = {
            "cost": ("cost_per_million_tokens", lambda run: run.price.blended),
            "latency": ("tpot", lambda run: run.latencies["tpot"].values["mean"]),
            "energy": ("joules_per_token", lambda run: run.joules_per_token),
        }
        best = {name: self.runs[index] for name, index in self.best.items() if index is not None}
        return {name: doubt(best[name], feasible, *how) if name in best else None for name, how in asked.items()}

    def assumptions(self) -> list[str]:
        """What holds for all candidates."""
        workload, slo = self.question.workload, self.question.slo
        bases = sorted({run.price.basis for run in self.runs if run.price.basis})
        said = [*workload.assumptions]
        if slo.is_empty:
            said.append("no latency target given: every stable deployment counts as feasible")
        if len(bases) > 1:
            said.append(f"prices rank on different bases ({', '.join(bases)}); --tier keeps one kind of seller")
        if not self.complete:
            said.append("interrupted: deployments that were not finished are missing")
        said.append(
            "cost split by the time of steps: prefill pays for input, attending to cached prefixes for cached input, the rest is output"
        )
        return said

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that the command line promises."""
        seen = {run.chip for run in self.runs}
        marks = zip(self.runs, frontier(self.runs), worths(self.runs), strict=True)
        rows = [{**run.to_dict(), "frontier": on, "worth": worth} for run, on, worth in marks]
        return {
            "model": self.model,
            "workload": self.question.workload.to_dict(),
            "slo": self.question.slo.to_dict(),
            "chips": [_entry(chip) for chip in self.chips],
            "candidates": [*rows, *(self._nothing(chip) for chip in self.chips if chip.name not in seen)],
            "best": self.best,
            "doubt": self.doubt,
            "assumptions": self.assumptions(),
        }

    def _nothing(self, chip: Chip) -> dict[str, Any]:
        """The candidate of a chip on which nothing fits, or that was not reached: every figure is null."""
        why_not = self.unfit.get(chip.name, "interrupted before its deployments were sized")
        empty: dict[str, Any] = dict.fromkeys(_FIGURES)
        nothing = {name: dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "p999")) for name in LATENCIES}
        return {
            **empty, **nothing, "model": self.model, "chip": chip.name, "family": chip.family, "feasible": False, "frontier": False,
            "why_not": why_not, "why_no_cost": "nothing was served", "evidence": evidence_of(chip).to_dict(), "assumptions": [],
        }  # fmt: skip

    def summary(self) -> str:
        """One line per best run."""
        lines = [f"{name}: {self.runs[index].summary()}" for name, index in self.best.items() if index is not None]
        return "\n".join(lines) or f"{self.model}: no chip meets the targets"

    def frame(self) -> "pl.DataFrame":
        """One row per candidate with its plain figures."""
        import polars as pl

        rows = self.to_dict()["candidates"]
        plain = [{key: value for key, value in row.items() if not isinstance(value, dict | list)} for row in rows]
        return pl.DataFrame(plain, infer_schema_length=None)


def _entry(chip: Chip) -> dict[str, Any]:
    keys = ("name", "title", "vendor", "family", "unit", "status", "execution")
    return {**{key: getattr(chip, key) for key in keys}, "evidence": evidence_of(chip).to_dict()}


_FIGURES = (
    "chips", "engine", "deployment", "workload", "requests", "completed", "rejected", "judged", "stable", "duration", "wall_time",
    "output_tokens_per_second", "total_tokens_per_second", "requests_per_second", "goodput", "preemptions", "prefix_hit_rate", "kv_peak",
    "joules_per_token", "power", "cost_per_million_tokens", "cost_split", "cost_basis", "cost_per_hour", "offer", "offer_tier",
    "bottleneck", "error_band", "worth",
)  # fmt: skip
