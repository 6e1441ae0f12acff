"""A table of published numbers held against the chain: drawn, predicted in parallel, scored."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from assay import offers
from assay._base.parallel import finished
from assay.cost.constants import Calibration, shipped
from assay.points import SHIPPED, Number, Point, Points
from assay.search.comparison import Work
from assay.search.evidence import crowd
from assay.validate.decisions import Decisions, decided
from assay.validate.journal import Journal, fingerprint
from assay.validate.nearest import Known, nearest
from assay.validate.options import options
from assay.validate.peers import Peers, peers
from assay.validate.predict import Guess, Told, told
from assay.validate.scores import Group, Scored, grouped, typical

if TYPE_CHECKING:
    import polars as pl

GROUP = ("set", "chip", "model", "metric", "statistic")
LOTS = 24  # runs of one task: enough to share plants, few enough to show progress
ECHO = 0.05
RESIDENT = "resident-pipeline"
FITTED = "fitted to these numbers, which is in-sample; --folds leaves each run out of the fit"

Under = Callable[[Sequence[Point]], Sequence[Calibration]]


@dataclass(frozen=True, eq=False)
class Validation:
    """Published numbers beside their predictions.

    `points` are all rows; `chosen` the runs that were predicted, `told` what was said of each, in the same order. `complete` is False
    when the work was interrupted; `folds` the kind of what constants never saw of a run, "" where nothing was left out.
    """

    points: Points
    chosen: tuple[Point, ...]
    told: tuple[Told, ...]
    complete: bool = True
    folds: str = ""

    def rows(self) -> Iterator[tuple[Point, Number, Guess, Told]]:
        """Every number of the chosen runs with its guess."""
        for point, said in zip(self.chosen, self.told, strict=True):
            for number, guess in zip(point.numbers, said.guesses, strict=True):
                yield point, number, guess, said

    @cached_property
    def scored(self) -> tuple[Scored, ...]:
        """The numbers that predictions are held against."""
        rows = [(point, number, guess, said.execution) for point, number, guess, said in self.rows() if guess.predicted is not None]
        near = nearest(Known(point, number, guess.sheet or np.nan) for point, number, guess, _ in rows)
        return tuple(
            Scored(
                number.row,
                labels(point, number, execution),
                number.value or 0.0,
                guess.predicted or 0.0,
                guess.low or 0.0,
                guess.high or 0.0,
                guess.sheet,
                near.get(number.row),
            )
            for point, number, guess, execution in rows
            if number.scored and not stated(point, number)
        )

    @cached_property
    def decisions(self) -> Decisions:
        """The chips that predictions pick, held against those that were cheapest."""
        runs = ((point, said.guesses) for point, said in zip(self.chosen, self.told, strict=True))
        return decided(options(runs), offers.load())

    def listed(self) -> list[dict[str, Any]]:
        """Each scored number with its prediction, the baselines and the conditions of its run, for charts and lists."""
        by_row = {number.row: (point, said) for point, number, _, said in self.rows()}
        rows = []
        for each in self.scored:
            point, said = by_row[each.row]
            figures = {name: getattr(each, name) for name in ("measured", "predicted", "low", "high", "error")}
            told = {name: point.said(name) for name in ("chips", "weights", "isl", "osl", "concurrency", "batch", "rate")}
            baselines = {"datasheet": each.sheet, "nearest": each.nearest}
            rows.append({**each.labels, **figures, **baselines, **told, "layout": said.layout, "assumed": list(said.assumed)})
        return rows

    def groups(self, by: Sequence[str] = GROUP) -> list[Group]:
        """Errors by some of: set, chip, model, engine, metric, statistic, load."""
        return grouped(self.scored, by)

    @cached_property
    def skipped(self) -> dict[str, int]:
        """Rows without a prediction by reason, most first."""
        return dict(Counter(guess.reason for _, _, guess, _ in self.rows() if guess.reason).most_common())

    def reached(self) -> dict[str, tuple[int, int]]:
        """By quality the rows that were predicted, and all."""
        counts: dict[str, tuple[int, int]] = {}
        for _, number, guess, _ in self.rows():
            there, whole = counts.get(number.quality or "unmarked", (0, 0))
            counts[number.quality or "unmarked"] = (there + (guess.reason is None), whole + 1)
        return dict(sorted(counts.items()))

    @cached_property
    def peers(self) -> Peers:
        """Other simulators beside these predictions."""
        runs = {number.row: point for point, number, _, _ in self.rows()}
        return peers((runs[each.row], each) for each in self.scored)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that the command line promises; errors are fractions of the measured number."""
        rows = sum(len(point.numbers) for point in self.chosen)
        errors = [abs(each.error) for each in self.scored]
        return {
            "rows": rows,
            "predicted": rows - sum(self.skipped.values()),
            "skipped": self.skipped,
            "by_quality": {quality: {"predicted": there, "rows": whole} for quality, (there, whole) in self.reached().items()},
            "scored": len(self.scored),
            "stated": sum(number.scored and stated(point, number) for point, number, guess, _ in self.rows() if guess.reason is None),
            "median_error": float(np.median(errors)) if errors else None,
            "groups": [group.to_dict() for group in self.groups()],
            "by_set": [group.to_dict() for group in self.groups(("set", "metric", "statistic"))],
            "by_load": [group.to_dict() for group in self.groups(("load", "metric"))],
            "typical": [each.to_dict() for each in typical(self.scored)],
            "coverage": float(np.mean([each.within for each in self.scored])) if self.scored else None,
            "half_width": float(np.median([each.half_width for each in self.scored])) if self.scored else None,
            "peers": self.peers.to_dict(),
            "decisions": self.decisions.to_dict(),
            "complete": self.complete,
            "constants": self.constants,
            "assumptions": self.assumptions(),
        }

    def assumptions(self) -> list[str]:
        """What was assumed of runs, with how many of them it holds for."""
        counts = Counter(text for said in self.told for text in said.assumed)
        usual = [f"{text} ({count} runs)" for text, count in counts.most_common() if not text.startswith("parallelism")]
        chosen = sum(any(text.startswith("parallelism") for text in said.assumed) for said in self.told)
        own = ["no table is given: the published numbers that ship with Assay"] if self.points.files == (SHIPPED,) else []
        return [*own, *usual, *([f"parallelism is not stated: the best layout on the run's chips ({chosen} runs)"] if chosen else [])]

    @property
    def constants(self) -> str:
        """Whether constants saw what they predict, in words."""
        if self.folds:
            return f"each run by constants that never saw its {self.folds}"
        return FITTED if self.points.files == (SHIPPED,) else "by the shipped constants"

    def summary(self) -> str:
        """One line for people."""
        found = self.to_dict()
        error = "nothing scored" if found["median_error"] is None else f"median error {found['median_error']:.0%}"
        return f"{found['predicted']} of {found['rows']} numbers predicted, {error}"

    def frame(self) -> "pl.DataFrame":
        """The input rows, same order and number, with `predicted`, `low`, `high` in the row's own unit and `reason` (null if predicted)."""
        import polars as pl

        columns: dict[str, list[Any]] = {name: [None] * len(self.points.frame) for name in ("predicted", "low", "high", "reason")}
        columns["reason"] = ["not drawn"] * len(self.points.frame)
        for _, number, guess, _ in self.rows():
            for name, column in columns.items():
                column[number.row] = getattr(guess, name)
        kinds = {"predicted": pl.Float64, "low": pl.Float64, "high": pl.Float64, "reason": pl.String}
        return self.points.frame.with_columns(*(pl.Series(name, column, kinds[name]) for name, column in columns.items()))


def stated(point: Point, number: Number) -> bool:
    """Whether a number only repeats a condition: the throughput of an open loop that served what came, to 5 %."""
    rate, tokens = point.said("rate"), {"output": point.said("osl"), "input": point.said("isl"), "requests": 1.0}
    kind = number.metric.partition("_")[0]
    offered = rate * (tokens.get(kind) or 0.0) if rate else 0.0
    if number.per == "chip":
        offered /= point.said("chips") or 1
    return offered > 0 and number.value is not None and abs(number.value / offered - 1) < ECHO


def labels(point: Point, number: Number, execution: str) -> dict[str, str]:
    """What a number is grouped by; `execution` is the chip's way of it."""
    kept = {name: str(point.said(name) or "not stated") for name in ("set", "chip", "model", "engine")}
    return {**kept, "metric": number.metric, "statistic": number.statistic, "load": regime(point), "serving": _serving(point, execution)}


def _serving(point: Point, execution: str) -> str:
    """Whether anything but one engine and its model's own steps made the tokens, and whether kernels did."""
    if execution == RESIDENT:
        return RESIDENT.replace("-", " ")
    if point.said("speculate") or point.said("disaggregated"):
        return "speculation or disaggregated"
    return str(point.said("load") or "not stated") if point.said("set") == "mlperf" else "aggregated"


def regime(point: Point) -> str:
    """How a run was loaded, in words: the kind of load, in closed loops with how crowded a chip is."""
    load = str(point.said("load") or "not stated")
    if point.said("speculate"):
        load += ", speculation"
    if point.said("disaggregated"):
        load += ", disaggregated"
    users = point.said("concurrency") or point.said("batch")
    if users is None or load.startswith("single"):
        return load
    return f"{load}, {crowd(users / (point.said('chips') or 1))}"


def drawn(points: Points, count: int | None, seed: int) -> tuple[Point, ...]:
    """`count` runs (all when None), one after the other of each set, chip and model in turn, shuffled within these by the seed."""
    runs = points.runs
    if count is None or count >= len(runs):
        return runs
    random = np.random.default_rng(seed)
    strata: dict[tuple[Any, ...], list[int]] = {}
    for place in random.permutation(len(runs)).tolist():
        strata.setdefault(tuple(str(runs[place].said(name)) for name in ("set", "chip", "model")), []).append(place)
    turns = sorted((turn, key, place) for key, places in strata.items() for turn, place in enumerate(places))
    return tuple(runs[place] for place in sorted(place for _, _, place in turns[:count]))


def validated(points: Points, count: int | None, seed: int, work: Work, under: Under | None = None) -> Validation:
    """Predict the runs of a table, `count` of them where given. Ctrl-C ends the work; the next call goes on from what is done.

    `under` gives the constants for each run, the shipped ones when None.
    """
    chosen = drawn(points, count, seed)
    calibrations = under(chosen) if under else [shipped()] * len(chosen)
    journal = Journal(fingerprint(points.files, count, seed, [each.fingerprint for each in dict.fromkeys(calibrations)]))
    try:
        _predict(chosen, calibrations, journal, work)
    except KeyboardInterrupt:
        done = [place for place in range(len(chosen)) if place in journal.told]
        return Validation(points, tuple(chosen[place] for place in done), tuple(journal.told[place] for place in done), complete=False)
    journal.done()
    return Validation(points, chosen, tuple(journal.told[place] for place in range(len(chosen))))


def _predict(chosen: Sequence[Point], calibrations: Sequence[Calibration], journal: Journal, work: Work) -> None:
    left: dict[Calibration, list[int]] = {}
    for place, calibration in enumerate(calibrations):
        if place not in journal.told:
            left.setdefault(calibration, []).append(place)
    lots = [(calibration, lot) for calibration, places in left.items() for lot in in_lots(chosen, places)]
    done = len(chosen) - sum(map(len, left.values()))
    for at, said in finished(_told_all, [(calibration, [chosen[place] for place in lot]) for calibration, lot in lots], work.executor):
        lot = lots[at][1]
        journal.add(lot, said)
        done += len(lot)
        if work.progress:
            work.progress(done, len(chosen), str(chosen[lot[0]].said("chip")))


def in_lots(points: Sequence[Point], places: Sequence[int]) -> list[list[int]]:
    """Places of runs in small lots, like layouts on like chips next to each other, since what runs share is built once."""
    order = ("model", "chip", "engine", "weights", "kv", "tp", "dp", "ep", "chips", "prefill_tp", "decode_tp")
    ordered = sorted(places, key=lambda place: [str(points[place].said(name)) for name in order])
    return [ordered[first : first + LOTS] for first in range(0, len(ordered), LOTS)]


def _told_all(job: tuple[Calibration, Sequence[Point]]) -> list[Told]:
    calibration, points = job
    return [told(point, calibration) for point in points]
