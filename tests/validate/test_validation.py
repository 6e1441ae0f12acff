"""Tables held against the chain: drawn, predicted, scored, interrupted and gone on with."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay import InputError, validate
from assay.points import SHIPPED, Number, Point, Points, read_points
from assay.search.comparison import Work
from assay.validate import journal, validation
from assay.validate.validation import drawn, regime

ROWS: list[dict[str, Any]] = [
    {"set": kind, "chip": chip, "model": "llama-3.1-8b", "engine": "vllm", "tp": 1, "load": "closed", "concurrency": users, "isl": 200.0,
     "osl": 20.0, "metric": metric, "statistic": "p50", "value": 0.02, "quality": "A"}
    for kind, chip in (("a", "h100-sxm"), ("a", "mi300x"), ("b", "h100-sxm"))
    for users in (1.0, 4.0, 16.0)
    for metric in ("tpot", "ttft")
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table: nine runs, two numbers each."""
    pl.DataFrame(ROWS).write_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal of each test's own; the compiled simulator stays where it is."""
    monkeypatch.setattr(journal, "folder", lambda: tmp_path / "cache")


def test_every_number_is_predicted_and_scored(table: Path) -> None:
    """Groups, counts and rows agree."""
    found = validate([table])
    told = found.to_dict()
    assert (told["rows"], told["predicted"], told["scored"], told["skipped"]) == (18, 18, 18, {})
    assert sum(group["rows"] for group in told["groups"]) == 18
    assert {group["metric"] for group in told["groups"]} == {"tpot", "ttft"}
    assert {"set", "chip", "model", "metric", "statistic", "rows", "median_error", "p90_error", "bias", "coverage"} <= set(
        told["groups"][0]
    )
    assert told["by_quality"] == {"A": {"predicted": 18, "rows": 18}}
    assert len(found.listed()) == 18
    assert "18 of 18" in found.summary()
    assert told["constants"] == "by the shipped constants"


def test_it_says_whether_constants_saw_the_numbers() -> None:
    """Those that ship taught the constants that ship; with folds nothing is predicted by constants that saw it."""
    ours = validation.Validation(Points(None, (SHIPPED,)), (), ())
    assert ours.to_dict()["constants"].startswith("fitted to these numbers")
    assert "never saw its chip" in replace(ours, folds="chip").to_dict()["constants"]


def test_the_frame_has_the_rows_as_they_came(table: Path) -> None:
    """Same order and number, with predictions in the row's own unit within their band, and no reason."""
    frame = validate([table]).frame()
    assert frame.select(ROWS[0].keys()).equals(pl.DataFrame(ROWS))
    assert frame["reason"].null_count() == 18
    assert (frame["low"] <= frame["predicted"]).all()
    assert (frame["predicted"] <= frame["high"]).all()


def test_rows_that_cannot_be_predicted_say_why(tmp_path: Path) -> None:
    """An unknown model, an unknown metric, a chip that is not stated."""
    rows = [{**ROWS[0], "model": "nobody-7b"}, {**ROWS[0], "metric": "colour"}, {**ROWS[0], "chip": None}, ROWS[0]]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    frame = validate([tmp_path / "t.parquet"]).frame()
    assert frame["predicted"].is_null().to_list() == [True, True, True, False]
    assert [reason.split(":")[0] for reason in frame["reason"][:3]] == [
        "nobody-7b",
        "p50 colour is not predicted",
        "the chip is not stated",
    ]


def test_chips_without_kernels_stand_apart(tmp_path: Path) -> None:
    """A resident pipeline's errors are not those of chips that run kernels, whatever collection both are in."""
    rows = [ROWS[0], {**ROWS[0], "chip": "cerebras-wse3", "engine": None, "tp": None}]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    assert [each.labels["serving"] for each in validate([tmp_path / "t.parquet"]).scored] == ["aggregated", "resident pipeline"]


def test_values_are_not_needed(tmp_path: Path) -> None:
    """A table without them is predicted and not scored."""
    pl.DataFrame(ROWS[:4]).drop("value").write_csv(tmp_path / "t.csv")
    found = validate([tmp_path / "t.csv"])
    assert found.frame()["predicted"].null_count() == 0
    assert found.to_dict()["scored"] == 0
    assert found.to_dict()["median_error"] is None


def test_a_sample_is_even_and_repeatable(table: Path) -> None:
    """Of three strata each gives its share; another seed draws others; the rest is said to be not drawn."""
    points = read_points([table])
    sample = drawn(points, 6, seed=1)
    assert Counter((run.said("set"), run.said("chip")) for run in sample) == {
        ("a", "h100-sxm"): 2,
        ("a", "mi300x"): 2,
        ("b", "h100-sxm"): 2,
    }
    assert sample == drawn(points, 6, seed=1)
    assert any(sample != drawn(points, 6, seed=seed) for seed in range(2, 6))
    assert validate([table], sample=2).frame()["reason"].to_list().count("not drawn") == 14


def test_an_interrupted_validation_goes_on_where_it_stopped(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done is kept, and not done again."""
    monkeypatch.setattr(validation, "LOTS", 2)
    seen: list[int] = []

    def stop(done: int, total: int, chip: str) -> None:
        seen.append(done)
        if done >= 4:
            raise KeyboardInterrupt

    broken = validate([table], work=Work(progress=stop))
    assert not broken.complete
    assert len(broken.told) == 4
    assert broken.to_dict()["predicted"] == 8
    rest: list[int] = []
    whole = validate([table], work=Work(progress=lambda done, total, chip: rest.append(done)))
    assert (seen, rest) == ([2, 4], [6, 8, 9])
    assert whole.complete
    assert whole.frame().equals(validate([table]).frame())


def test_a_journal_that_was_cut_off_is_read_as_far_as_it_goes(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line, half written, is done again."""
    monkeypatch.setattr(validation, "LOTS", 1)

    def stop(done: int, total: int, chip: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    validate([table], work=Work(progress=stop))
    (kept,) = (tmp_path / "cache").glob("validate-*.jsonl")
    kept.write_text(kept.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert validate([table]).to_dict()["predicted"] == 18
    assert not kept.exists()


def test_parallel_work_says_the_same(table: Path) -> None:
    """Whatever the executor."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as workers:
        assert validate([table], work=Work(workers)).frame().equals(validate([table]).frame())


def test_loads_are_told_apart() -> None:
    """By kind and by how crowded a chip is."""
    points = read_points_of({"load": "closed", "concurrency": 512.0, "chips": 8}, {"load": "static", "batch": 2.0}, {"load": "poisson"})
    assert [regime(point) for point in points] == ["closed, crowded", "static, light", "poisson"]


def read_points_of(*conditions: dict[str, Any]) -> list[Point]:
    """Points with these conditions."""
    return [Point(each, ()) for each in conditions]


def test_the_table_must_be_there(tmp_path: Path) -> None:
    """A clear message."""
    with pytest.raises(InputError, match=r"none\.parquet"):
        validate([tmp_path / "none.parquet"])


def test_what_repeats_a_condition_is_not_scored() -> None:
    """The throughput of an open loop that served what came is its rate; of one that did not, it is a result."""
    (point,) = read_points_of({"load": "poisson", "rate": 5.0, "osl": 100.0, "chips": 4})

    def repeats(metric: str, per: str, value: float) -> bool:
        return validation.stated(point, Number(0, metric, "", per, value, "A"))

    assert repeats("requests_per_second", "system", 4.9)
    assert repeats("output_tokens_per_second", "chip", 125.0)
    assert not repeats("output_tokens_per_second", "system", 300.0)
    assert not repeats("ttft", "request", 5.0)
    (closed,) = read_points_of({"load": "closed", "concurrency": 5.0})
    assert not validation.stated(closed, Number(0, "requests_per_second", "", "system", 5.0, "A"))


def by_folds(folder: Path, *, h100: float, mi300x: float) -> list[float]:
    """Predictions of six runs by constants without their chip: TPOT of the first chip's, then of the other's."""
    rows = [row for row in ROWS if row["set"] == "a" and row["metric"] == "tpot"]
    rows = [{**row, "value": {"h100-sxm": h100, "mi300x": mi300x}[row["chip"]]} for row in rows]
    pl.DataFrame(rows).write_parquet(folder / "folds.parquet")
    return validate([folder / "folds.parquet"], folds="chip").frame()["predicted"].to_list()


def test_folds_are_predicted_by_what_the_others_taught(tmp_path: Path) -> None:
    """A chip's predictions follow what was measured on the other, and hardly what was measured on itself."""
    first, slower, own = (by_folds(tmp_path, h100=h100, mi300x=mi300x) for h100, mi300x in ((6e-3, 6e-3), (6e-3, 7e-3), (7e-3, 6e-3)))
    for place in range(3):
        assert slower[place] > 1.05 * first[place]
        assert own[place] == pytest.approx(first[place], rel=0.03)
