"""`assay workloads FILE`: what it prints, what it writes, and what it refuses."""

import io
import json
import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay._base.schema import check
from assay.cli import progress
from assay.workloads import Workload


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """Progress is shown."""
        return True


@pytest.fixture
def trace(place: Path) -> Path:
    """A trace with prefixes that grow, trace.jsonl in the working directory."""
    import polars as pl

    drawn = Workload.load("mooncake-conversation", requests=3000)
    order = np.argsort(drawn.arrival, kind="stable")
    rows = drawn.take(order)
    ids = [part.tolist() for part in np.split(rows.prefix, rows.prefix_offsets[1:-1])]
    columns = {
        "timestamp": np.round(rows.arrival * 1e3),
        "input_length": rows.input,
        "output_length": rows.output,
        "hash_ids": pl.Series(ids),
    }
    pl.DataFrame(columns).write_ndjson(place / "trace.jsonl")
    return place / "trace.jsonl"


def test_a_trace_is_described_in_text(trace: Path, assay: Callable[..., Any]) -> None:
    """The summary as of any workload, and the distance of a draw."""
    ended = assay("workloads", "trace.jsonl")
    assert ended.code == 0
    for word in ("requests", "3,000", "prefix_share", "input_ks", "gaps_ks", "think_ks"):
        assert word in ended.out


def test_a_trace_is_described_in_json_with_all_there_is(trace: Path, assay: Callable[..., Any]) -> None:
    """One object: figures, distance, description, picture; and the description draws what the distance says."""
    ended = assay("workloads", "trace.jsonl", "--json")
    found = json.loads(ended.out)
    assert {"name", "requests", "distance", "description", "picture", "assumptions", "assay_version", "command"} <= set(found)
    check(found["description"], "workload", "described")
    assert found["distance"] == found["description"]["distance"]
    assert found["distance"]["input_ks"] < 0.05
    assert abs(found["distance"]["prefix_share"]) < 0.03
    assert np.array(found["picture"]["lengths"]["trace"]).sum() == pytest.approx(1, abs=1e-3)


def test_a_description_and_a_page_are_written(trace: Path, assay: Callable[..., Any]) -> None:
    """Both in one go, by their suffix; the description can be simulated and names its source."""
    ended = assay("workloads", "trace.jsonl", "--out", "like.toml", "--out", "deep/page.html")
    assert ended.code == 0, ended.err
    assert "description: like.toml" in ended.out
    assert "report: deep/page.html" in ended.out
    assert tomllib.loads(Path("like.toml").read_text())["source"] == "trace.jsonl"
    assert Path("deep/page.html").read_text().startswith("<!doctype html>")
    run = assay("simulate llama-3.1-8b --chip h100-sxm --workload like.toml --rate 1 --requests 200 --json")
    assert json.loads(run.out)["completed"] == 200
    assert not [path for path in Path().rglob(".*") if path.is_file()]


def test_a_shipped_description_shows_its_distance(assay: Callable[..., Any]) -> None:
    """As its file states it."""
    found = json.loads(assay("workloads agentic-coding --json").out)
    assert found["distance"]["input_ks"] < 0.06
    assert found["notes"]
    assert found["rate"] is None
    assert found["sessions"] > 300


BAD = [
    (["workloads", "--out", "x.toml"], "--out: given without a trace"),
    (["workloads", "azure-conv-2023", "--out", "x.toml"], "given with azure-conv-2023, which is no trace"),
    (["workloads", "x.csv", "--out", "x.txt"], "x.txt is no .toml or .html file"),
    (["workloads", "nowhere.csv"], "nowhere.csv: No such file"),
    (["workloads", "empty.csv"], "empty.csv: is empty"),
    (["workloads", "x.csv"], "x.csv: input: is -5 in row 2"),
    (["workloads", "short.csv"], "short.csv: its columns arrival, input are of no known format"),
    (["workloads", "broken.jsonl"], "broken.jsonl: cannot be read as jsonl: row 2 is no JSON object"),
    (["workloads", "mixed.jsonl"], "mixed.jsonl: arrival: is empty in row 2"),
    (["workloads", "turns.csv"], "turns.csv: session: in this format the clock of each session is its own"),
    (["workloads", "long.jsonl"], "long.jsonl: hash_ids: has 3 ids for 600 tokens in row 1"),
    (["simulate", "llama-3.1-8b", "--chip", "h100-sxm", "--workload", "x.csv"], "x.csv: input: is -5 in row 2"),
]
FILES = {
    "empty.csv": "",
    "x.csv": "arrival,input,output\n0,5,5\n1,-5,5\n",
    "short.csv": "arrival,input\n0,5\n",
    "broken.jsonl": '{"arrival": 0, "input": 5, "output": 5}\n{"arrival": 1, "inp\n',
    "mixed.jsonl": '{"arrival": 0, "input": 5, "output": 5}\n{"timestamp": 1, "input_length": 5, "output_length": 5}\n',
    "turns.csv": "session,t,in,out\n0,0,5,5\n",
    "long.jsonl": '{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2, 3]}\n',
}


@pytest.mark.parametrize(("words", "problem"), BAD)
def test_bad_input_ends_with_one_message(words: list[str], problem: str, place: Path, assay: Callable[..., Any]) -> None:
    """Exit 2, one line that names the file, the row or field and a remedy, and nothing written."""
    for name, text in FILES.items():
        (place / name).write_text(text)
    before = sorted(place.rglob("*"))
    ended = assay(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("assay: ")
    assert problem in ended.err
    assert ended.err.count("\n") == 1
    assert ended.err.rstrip()[-1] in ".?"
    assert sorted(place.rglob("*")) == before


def test_unsorted_arrivals_are_sorted_and_it_says_so(place: Path, assay: Callable[..., Any]) -> None:
    """No error: an assumption."""
    (place / "x.csv").write_text("arrival,input,output\n" + "".join(f"{100 - row},5,5\n" for row in range(100)))
    assert "arrivals were not in order: rows sorted by arrival" in json.loads(assay("workloads x.csv --json").out)["assumptions"]


@pytest.mark.parametrize("where", ["reading", "description", "page"])
def test_an_interrupt_leaves_nothing_half_written(
    where: str, trace: Path, assay: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a trace is read, or while a file is written: exit 130, and no file beside the trace but what was whole before."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def half_written(_: object, path: Path) -> None:
        path.write_text("title = ")
        raise KeyboardInterrupt

    if where == "reading":
        monkeypatch.setattr(progress, "bar", lambda *_, **__: nullcontext(interrupted))
    elif where == "description":
        monkeypatch.setattr("assay.workloads.write_description", half_written)
    else:
        monkeypatch.setattr("assay.report.trace_page.render", interrupted)
    before = sorted(trace.parent.iterdir())
    ended = assay("workloads", "trace.jsonl", "--out", "x.html", "--out", "x.toml")
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "assay: interrupted")
    assert [path.name for path in sorted(trace.parent.iterdir()) if path not in before] == (["x.html"] if where == "description" else [])


def test_progress_of_reading_is_shown_as_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, once it has lasted; bytes are not counted out."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE", 0)
    with progress.bar("reading", counted=False) as told:
        assert told
        told(1_000_000, 4_000_000)
    assert "reading" in terminal.getvalue()
    assert "25%" in terminal.getvalue()
    assert "1000000" not in terminal.getvalue()
