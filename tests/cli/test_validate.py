"""`assay validate`: JSON, terminal, files, errors."""

import json
from pathlib import Path

import polars as pl
import pytest

from assay.cli import main

ROW = {
    "set": "a", "chip": "h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "tp": 1, "load": "closed", "concurrency": 2.0, "isl": 200.0,
    "osl": 20.0, "metric": "tpot", "statistic": "p50", "value": 0.02, "quality": "A",
}  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two rows, one of which cannot be predicted."""
    pl.DataFrame([ROW, {**ROW, "model": "nobody-7b"}]).write_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_json_and_predictions(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with the promised names, and the input rows with their predictions."""
    main(["validate", "--data", str(table), "--predictions", str(tmp_path / "p.parquet"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"assay_version", "seed", "command", "assumptions", "rows", "predicted", "skipped", "median_error", "groups"} <= set(told)
    assert (told["rows"], told["predicted"]) == (2, 1)
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame["predicted"].is_null().to_list() == [False, True]
    assert frame.columns[-4:] == ["predicted", "low", "high", "reason"]


def test_the_terminal_shows_errors_and_reasons(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By set, what is typical, by load, and why rows are missing; the files that were written."""
    main(["validate", "--data", str(table), "--out", str(tmp_path / "r.html")])
    told = capsys.readouterr().out
    for text in ("1 of 2 numbers predicted", "TPOT p50", "a, aggregated", "closed, light", "nobody-7b", "r.html"):
        assert text in told
    assert (tmp_path / "r.html").read_text(encoding="utf-8").lstrip().startswith("<!")


def test_folds_are_told_and_scored(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many numbers as without them, under other constants."""
    main(["validate", "--data", str(table), "--folds", "configuration", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["predicted"], told["scored"]) == (2, 1, 1)
    assert "--folds configuration" in told["command"]


@pytest.mark.parametrize("wrong", [{"model": "nobody-7b"}, {"quality": "D"}], ids=["not predicted", "not scored"])
def test_folds_of_runs_that_teach_nothing(wrong: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Are no error: what can be predicted is."""
    pl.DataFrame([{**ROW, **wrong}]).write_parquet(tmp_path / "t.parquet")
    main(["validate", "--data", str(tmp_path / "t.parquet"), "--folds", "chip", "--json"])
    assert json.loads(capsys.readouterr().out)["rows"] == 1


def test_without_a_table_the_published_numbers_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """And that is said."""
    main(["validate", "--sample", "1", "--seed", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] >= 1
    assert told["assumptions"][0] == "no table is given: the published numbers that ship with Assay"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "none.parquet"], "none.parquet"),
        (["--data", "{table}", "--predictions", "p.csv"], "is no .parquet file"),
        (["--data", "{table}", "--out", "r.txt"], "is no .html file"),
        (["--data", "{table}", "--sample", "0"], "--sample"),
        (["--data", "{table}", "--folds", "vendor"], "--folds"),
    ],
)
def test_bad_input_is_one_message(table: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, nothing on stdout."""
    with pytest.raises(SystemExit) as stopped:
        main(["validate", *(flag.format(table=table) for flag in flags)])
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in shown.err
    assert not shown.out
