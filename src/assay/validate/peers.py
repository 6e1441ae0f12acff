"""Other simulators beside ours: on the same numbers where their predictions are known, else by the errors that are stated of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from assay._base.schema import DATA, read
from assay.points import Point
from assay.validate.scores import Scored

PREDICTED = DATA / "published" / "peers.parquet"
STATED = DATA / "published" / "stated.toml"
ALL = "all"


@dataclass(frozen=True)
class Beside:
    """Median errors of a tool and of ours on the same numbers, as fractions of what was measured; metric `all`: on all of them."""

    tool: str
    metric: str
    statistic: str
    rows: int
    error: float
    ours: float


@dataclass(frozen=True)
class Stated:
    """The median error that is stated of a tool for `points` points, as a fraction, and ours over `rows` numbers of all runs alike.

    Alike: of the same collection, model and chips, aggregated and without speculation. `told` is what the tool was told of each run where
    it would have assumed something else, empty where nothing.
    """

    tool: str
    told: str
    metric: str
    statistic: str
    points: int
    error: float
    rows: int
    ours: float
    source: str


@dataclass(frozen=True)
class Peers:
    """Other simulators beside ours; empty where no number of the table is one of theirs."""

    same_rows: tuple[Beside, ...] = ()
    stated: tuple[Stated, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"same_rows": [asdict(each) for each in self.same_rows], "stated": [asdict(each) for each in self.stated]}


def peers(scored: Iterable[tuple[Point, Scored]]) -> Peers:
    """What is known of other simulators on these numbers, each with its run."""
    rows = list(scored)
    return Peers(_beside(rows), tuple(found for stated in read(STATED, "stated")["stated"] for found in _stated(stated, rows)))


def _beside(rows: Iterable[tuple[Point, Scored]]) -> tuple[Beside, ...]:
    """By metric, statistic and tool, and last over all metrics."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for point, each in rows:
        metric, statistic = each.labels["metric"], each.labels["statistic"]
        for tool, predicted in _predicted().get((point.said("point"), metric, statistic), {}).items():
            errors = (predicted / each.measured - 1, each.error)
            groups.setdefault((metric, statistic, tool), []).append(errors)
            groups.setdefault((ALL, "", tool), []).append(errors)
    order = sorted(groups, key=lambda key: (key[0] == ALL, key))
    return tuple(Beside(tool, metric, statistic, *_medians(groups[metric, statistic, tool])) for metric, statistic, tool in order)


def _medians(errors: Sequence[tuple[float, float]]) -> tuple[int, float, float]:
    theirs, ours = np.median(np.abs(errors), axis=0)
    return len(errors), float(theirs), float(ours)


@cache
def _predicted() -> dict[tuple[str, str, str], dict[str, float]]:
    """Predictions in seconds by tool, of each point, metric and statistic."""
    import polars as pl

    found: dict[tuple[str, str, str], dict[str, float]] = {}
    names = ("point", "metric", "statistic", "tool", "predicted")
    for point, metric, statistic, tool, predicted in pl.read_parquet(PREDICTED).select(names).iter_rows():
        found.setdefault((point, metric, statistic), {})[tool] = predicted
    return found


def _stated(stated: Mapping[str, Any], rows: Iterable[tuple[Point, Scored]]) -> Iterator[Stated]:
    """The errors of one statement beside ours on the numbers that they may be of, without those of which the table has none."""
    alike = [each for point, each in rows if _alike(point, stated)]
    for error in stated["error"]:
        kind = (error["metric"], error.get("statistic", ""))
        ours = [abs(each.error) for each in alike if (each.labels["metric"], each.labels["statistic"]) == kind]
        if ours:
            tool, told, points, source = stated["tool"], stated.get("told", ""), stated["points"], stated["source"]
            yield Stated(tool, told, *kind, points, error["median"], len(ours), float(np.median(ours)), source)


def _alike(point: Point, stated: Mapping[str, Any]) -> bool:
    if point.said("disaggregated") or point.said("speculate"):
        return False
    return point.said("set") == stated["set"] and point.said("model") == stated["model"] and point.said("chip") in stated["chips"]
