"""Tables of measured points: what is read, what is refused, and how rows become runs."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.points import Points, read_points

ROW = {
    "chip": "h100-sxm",
    "model": "llama-3.1-8b",
    "load": "closed",
    "concurrency": 8.0,
    "metric": "tpot",
    "statistic": "p50",
    "value": 0.01,
}


def table(folder: Path, *rows: dict[str, object], name: str = "points.parquet") -> Path:
    """A file with these rows, each over ROW."""
    file = folder / name
    frame = pl.DataFrame([{**ROW, **row} for row in rows], infer_schema_length=None)
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}[file.suffix](file)
    return file


@pytest.mark.parametrize("name", ["points.parquet", "points.csv", "points.jsonl"])
def test_rows_with_the_same_conditions_are_one_run(tmp_path: Path, name: str) -> None:
    """Whatever was measured, and in whatever order rows stand."""
    rows = [{"metric": "tpot"}, {"concurrency": 16.0}, {"metric": "ttft", "value": 0.2}]
    points = read_points([table(tmp_path, *rows, name=name)])
    assert [[number.row for number in run.numbers] for run in points.runs] == [[0, 2], [1]]
    assert points.runs[0].said("concurrency") == 8
    assert points.runs[0].numbers[1].metric == "ttft"


def test_what_is_not_stated_is_none(tmp_path: Path) -> None:
    """A column that is absent, and a value that is null, are the same."""
    (run,) = read_points([table(tmp_path, {"tp": None, "rate": None})]).runs
    assert run.said("tp") is None
    assert run.said("dp") is None
    assert "rate" not in run.conditions


def test_several_tables_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Rows are counted over all of them; a column that one lacks is null there."""
    files = [table(tmp_path, {}, name="a.csv"), table(tmp_path, {"tp": 2}, name="b.parquet")]
    points = read_points(files)
    assert [run.said("tp") for run in points.runs] == [None, 2]
    assert [run.numbers[0].row for run in points.runs] == [0, 1]


def test_other_columns_are_kept(tmp_path: Path) -> None:
    """They do not part runs."""
    points = read_points([table(tmp_path, {"notes": "a", "metric": "ttft"}, {"notes": "b"})])
    assert points.frame["notes"].to_list() == ["a", "b"]
    assert len(points.runs) == 1


def test_doubtful_rows_and_rows_without_a_value_are_not_scored(tmp_path: Path) -> None:
    """Quality D is never held against a prediction."""
    rows = [{"quality": "D"}, {"quality": "A", "value": None}, {"quality": "B", "metric": "e2e"}]
    (run,) = read_points([table(tmp_path, *rows)]).runs
    assert [number.scored for number in run.numbers] == [False, False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{}, {"concurrency": -1.0}], r"concurrency in row 2: -1\.0 is not above 0\. Give more than 0: Users"),
        ([{"load": "heavy"}], r"load in row 1: 'heavy' is not known\. Use one of closed, poisson, offline, static, single"),
        ([{"tp": 2.5}], r"tp in row 1: 2\.5 is not a whole number\. Give a whole number, or nothing"),
        ([{"tp": 0}], r"tp in row 1: 0 is below 1"),
        ([{"isl": float("inf")}], "isl in row 1: inf is not finite"),
        ([{"value": float("nan")}], "value in row 1: nan is not finite"),
        ([{"kv_memory_fraction": 1.5}], "kv_memory_fraction in row 1: 1.5 is above 1"),
        ([{"isl": "long"}], "isl in row 1: 'long' is not a number"),
        ([{"quality": "E"}], "quality in row 1: 'E' is not known"),
        ([{"metric": None}], "metric in row 1: is missing"),
    ],
)
def test_a_wrong_value_names_file_row_and_column(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    """One message, with what to give instead."""
    with pytest.raises(InputError, match=r"points\.parquet: " + message):
        read_points([table(tmp_path, *rows)])


def test_a_table_without_metrics_is_refused(tmp_path: Path) -> None:
    """The column is named."""
    file = tmp_path / "a.csv"
    file.write_text("chip,value\nh100-sxm,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv: metric: is missing\. Add the column"):
        read_points([file])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "x", "is not a table. Give one of .parquet, .csv"),
        ("a.parquet", "no parquet", "cannot be read"),
        ("a.csv", "", "cannot be read"),
        ("a.csv", "metric\n", "has no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    """With one message."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_points([tmp_path / name])


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """By name."""
    with pytest.raises(InputError, match=r"none\.parquet"):
        read_points([tmp_path / "none.parquet"])


@given(st.lists(st.tuples(st.sampled_from(["h100-sxm", "mi300x"]), st.sampled_from([1, 8]), st.sampled_from(["ttft", "e2e"])), min_size=1))
def test_every_row_is_in_one_run(rows: list[tuple[str, int, str]]) -> None:
    """And all rows of a run have its conditions."""
    frame = pl.DataFrame([{"chip": chip, "tp": tp, "metric": metric} for chip, tp, metric in rows])
    runs = Points(frame, ()).runs
    assert sorted(number.row for run in runs for number in run.numbers) == list(range(len(rows)))
    for run in runs:
        assert {(rows[number.row][0], rows[number.row][1]) for number in run.numbers} == {(run.said("chip"), run.said("tp"))}
    assert len({(run.said("chip"), run.said("tp")) for run in runs}) == len(runs)


def test_the_published_table_is_read_whole(shared: Path) -> None:
    """All its rows, each in a run."""
    points = read_points([shared / "published" / "published.parquet"])
    assert sum(len(run.numbers) for run in points.runs) == len(points.frame)
    assert len(points.runs) > 3_000
