"""Other simulators beside ours: the same numbers, the same measure, and nothing where they are not known."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.points import Points
from assay.validate import peers as module
from assay.validate.peers import ALL, PREDICTED, STATED, Beside, Peers
from assay.validate.predict import Guess, Told
from assay.validate.validation import Validation

RUN = {"set": "a", "chip": "c", "model": "m", "load": "closed", "concurrency": 1.0, "disaggregated": False, "speculate": False}
STATEMENT = """
[[stated]]
tool = "other 2"
told = "the cache"
points = 7
set = "a"
model = "m"
chips = ["c", "d"]
source = "a page"
date = "2026"
error = [{ metric = "tpot", statistic = "p50", median = 0.2 }, { metric = "ttft", median = 0.3 }]
"""


def number(point: str | None, measured: float, predicted: float | None, **more: Any) -> dict[str, Any]:
    """A row with our prediction beside it."""
    row = {"point": point, **RUN, "metric": "e2e", "statistic": "mean", "value": measured, "quality": "A", "ours": predicted}
    return row | more


def held(*rows: dict[str, Any]) -> Validation:
    """Rows as a validation."""
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    ours = frame["ours"].to_list()
    points = Points(frame.drop("ours"), ())
    guesses = {row: Guess(row, said, said / 2, said * 2) if said else Guess(row, reason="why not") for row, said in enumerate(ours)}
    return Validation(points, points.runs, tuple(Told(tuple(guesses[each.row] for each in run.numbers)) for run in points.runs))


@pytest.fixture(autouse=True)
def _known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tools that predicted some of the points, and one statement."""
    rows = [("p1", "one", 2.0), ("p2", "one", 1.0), ("p3", "one", 9.0), ("p4", "one", 5.0), ("p1", "two", 0.5), ("elsewhere", "two", 1.0)]
    table = [{"point": point, "metric": "e2e", "statistic": "mean", "tool": tool, "predicted": said} for point, tool, said in rows]
    table.append({"point": "p1", "metric": "ttft", "statistic": "p99", "tool": "one", "predicted": 4.0})
    pl.DataFrame(table).write_parquet(tmp_path / "peers.parquet")
    (tmp_path / "stated.toml").write_text(STATEMENT, encoding="utf-8")
    monkeypatch.setattr(module, "PREDICTED", tmp_path / "peers.parquet")
    monkeypatch.setattr(module, "STATED", tmp_path / "stated.toml")
    monkeypatch.setattr(module, "_predicted", module._predicted.__wrapped__)


def test_both_are_held_against_the_same_numbers() -> None:
    """Errors of one: 100 %, 0 and 300 %; ours there 10 %, 50 % and 20 %. Two predicted one of them; a fourth point is nobody's."""
    found = held(
        number("p1", 1.0, 1.1),
        number("p2", 1.0, 0.5),
        number("p1", 1.0, 1.2, metric="ttft", statistic="p99"),
        number("nobody", 1.0, 3.0),
    ).peers
    rounded = [(each.tool, each.metric, each.statistic, each.rows, round(each.error, 9), round(each.ours, 9)) for each in found.same_rows]
    assert rounded == [
        ("one", "e2e", "mean", 2, 0.5, 0.3),
        ("two", "e2e", "mean", 1, 0.5, 0.1),
        ("one", "ttft", "p99", 1, 3.0, 0.2),
        ("one", ALL, "", 3, 1.0, 0.2),
        ("two", ALL, "", 1, 0.5, 0.1),
    ]


def test_doubtful_numbers_and_those_that_we_do_not_predict_are_left_out() -> None:
    """Quality D, no prediction of ours, no value, another statistic, no name: none of them is in common."""
    found = held(
        number("p1", 1.0, 1.1, quality="D"),
        number("p2", 1.0, None),
        number("p3", 1.0, 1.1, value=None),
        number("p4", 1.0, 1.1, statistic="p90"),
        number(None, 1.0, 1.1),
    )
    assert len(found.scored) == 2
    assert found.peers == Peers()
    assert found.to_dict()["peers"] == {"same_rows": [], "stated": []}


def test_ours_as_their_predictions_has_their_error() -> None:
    """Whoever predicts the same has the same error."""
    found = held(*(number(point, 3.0, said) for point, said in (("p1", 2.0), ("p2", 1.0), ("p3", 9.0), ("p4", 5.0)))).peers
    assert found.same_rows[0] == Beside("one", "e2e", "mean", 4, found.same_rows[0].ours, found.same_rows[0].ours)


def test_a_statement_stands_beside_ours_over_runs_alike() -> None:
    """Of the same set, model and chips, aggregated, without speculation: here 10 % and 30 %."""
    alike: list[dict[str, Any]] = [{}, {"chip": "d"}]
    unlike: list[dict[str, Any]] = [{"set": "b"}, {"chip": "e"}, {"model": "n"}, {"statistic": "mean"}, {"speculate": True}]
    unlike.append({"disaggregated": True})
    tpot = {"metric": "tpot", "statistic": "p50"}
    rows = [number(f"q{i}", 1.0, 1.1 + 0.2 * i, **(tpot | each)) for i, each in enumerate(alike)]
    rows += [number(f"r{i}", 1.0, 9.0, **(tpot | each)) for i, each in enumerate(unlike)]
    (found,) = held(*rows).peers.stated
    assert (found.tool, found.told, found.source, found.points, found.error) == ("other 2", "the cache", "a page", 7, 0.2)
    assert (found.metric, found.statistic, found.rows, found.ours) == ("tpot", "p50", 2, pytest.approx(0.2))


def test_what_ships_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that somebody predicted, and one that somebody has an error on."""
    monkeypatch.setattr(module, "PREDICTED", PREDICTED)
    monkeypatch.setattr(module, "STATED", STATED)
    first = pl.read_parquet(PREDICTED).row(0, named=True)
    other = {"set": "inferencex", "chip": "h200-sxm", "model": "deepseek-r1", "metric": "tpot", "statistic": "p50"}
    rows = [number(first["point"], 1.0, 1.1, metric=first["metric"], statistic=first["statistic"]), number("x", 1.0, 1.1, **other)]
    found = held(*rows).peers
    assert first["tool"] in {each.tool for each in found.same_rows}
    assert [each.metric for each in found.stated] == ["tpot", "tpot"]
