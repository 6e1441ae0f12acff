"""What `assay simulate` writes and shows beside its figures."""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay import api
from assay.cli import progress
from assay.search.runs import REQUEST_COLUMNS

RUN = "simulate llama-3.1-8b --chip h100-sxm --isl 300 --osl 30 --spread 0.1:1.5 --requests 60 --rate 2"
TRACE = "arrival,input,output\n0,100,5\n1,200,1\n2,900000,5\n3,100,5\n"  # the third is longer than the model's context


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """Progress is shown."""
        return True


def test_requests_are_written(assay: Callable[..., Any], place: Path) -> None:
    """A row for each request, in order of arrival; the times add up, and stdout says where the rows are."""
    ended = assay(f"{RUN} --requests-out new/rows.parquet")
    assert ended.code == 0
    assert ended.out.rstrip().endswith("requests: new/rows.parquet")
    rows = pl.read_parquet(place / "new" / "rows.parquet")
    assert tuple(rows.columns) == REQUEST_COLUMNS
    assert rows.height == 60
    assert rows["arrival"].is_sorted()
    assert rows["judged"].dtype == pl.Boolean
    for metric, end in (("ttft", "first_token"), ("e2e", "finish")):
        assert (rows[metric] == rows[end] - rows["arrival"]).all()
    spoken = rows.filter(pl.col("output") > 1)
    assert ((spoken["tpot"] * (spoken["output"] - 1) - (spoken["finish"] - spoken["first_token"])).abs() < 1e-9).all()
    assert (spoken["largest_gap"] >= spoken["tpot"] * (1 - 1e-9)).all()


def test_rejected_requests_have_nulls(assay: Callable[..., Any], place: Path) -> None:
    """What never happened is null, not nan; one token leaves no gap to measure."""
    (place / "own.csv").write_text(TRACE, encoding="utf-8")
    assert assay("simulate llama-3.1-8b --chip h100-sxm --workload own.csv --requests-out rows.parquet").code == 0
    rows = pl.read_parquet(place / "rows.parquet")
    asked, fate = ["arrival", "input", "output", "judged"], ["first_token", "finish", "ttft", "e2e", "preemptions", "prefix_hit"]
    assert rows.select(asked).null_count().sum_horizontal().item() == 0
    assert all(rows[name].is_null().to_list() == [False, False, True, False] for name in fate)
    assert all(rows[name].is_null().to_list() == [False, True, True, False] for name in ("tpot", "largest_gap"))
    assert not rows.select(pl.selectors.float().is_nan().any()).sum_horizontal().item()


@pytest.mark.parametrize("out", ["rows.csv", "rows", ".", "chip.toml/rows.parquet", "folder.parquet"])
def test_a_place_that_cannot_be_written_is_refused_first(
    out: str, assay: Callable[..., Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is simulated: exit code 2, and one message that names the flag."""
    (place / "folder.parquet").mkdir()
    monkeypatch.setattr(api, "simulate", None)
    ended = assay(f"{RUN} --requests-out {out}")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("assay: --requests-out: ")
    assert ended.err.count("\n") == 1


def test_the_histogram_is_for_terminals(assay: Callable[..., Any]) -> None:
    """It stands under the latencies, says how many keep the target, and no line is wider than 80 columns; JSON has none."""
    ended = assay(f"{RUN} --ttft 0.5")
    assert "TTFT of " in ended.out
    assert "within the target of 500 ms" in ended.out
    chart = ended.out[ended.out.index("TTFT of ") : ended.out.index("deployment")]
    assert chart.count("█")
    assert all(len(line) <= 80 for line in chart.splitlines())
    assert "█" not in assay(f"{RUN} --ttft 0.5 --json").out


def test_progress_is_silent_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told, and nothing is printed."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar("simulating") as tell:
        assert tell is None


def test_progress_waits_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs print nothing; once a second has passed there is a bar with what is done and of how much."""
    terminal, now = Terminal(), 0.0
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        with progress.bar("simulating") as tell:
            assert tell
            tell(10, 4000)
            assert terminal.getvalue() == ""
            now = 1.5
            tell(1234, 4000)
    assert "simulating" in terminal.getvalue()
    assert "1234/4000" in terminal.getvalue()


def test_interrupted_runs_end_with_130(assay: Callable[..., Any], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: one line, no traceback, no file."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "simulate", interrupted)
    ended = assay(f"{RUN} --requests-out rows.parquet")
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "assay: interrupted")
    assert not (place / "rows.parquet").exists()
