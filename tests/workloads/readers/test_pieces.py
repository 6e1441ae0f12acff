"""Tables read piece by piece: the same columns however small the pieces, rows counted through, memory bounded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.workloads import Workload
from assay.workloads.readers import pieces, records


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, so that short files have many."""
    monkeypatch.setattr(pieces, "PIECE", 40)
    monkeypatch.setattr(pieces, "SLICE", 1)
    monkeypatch.setattr(pieces, "FEWEST", 3)
    monkeypatch.setattr(pieces, "LOOKS", 3)
    monkeypatch.setattr(pieces, "MOST", 4)
    monkeypatch.setattr(records, "BLOCK", 40)


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(0, 99), st.lists(st.integers(0, 9), max_size=1)), min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_pieces_give_the_same_columns(small_pieces: None, tmp_path: Path, rows: list[tuple[int, int, list[int]]]) -> None:
    """In every kind of file, prefixes and times of day included."""
    import polars as pl

    table = pl.DataFrame(
        {
            "arrival": np.arange(len(rows)) / 4,
            "input": [row[0] for row in rows],
            "output": [row[1] for row in rows],
            "prefix": pl.Series([row[2] for row in rows], dtype=pl.List(pl.Int64)),
            "prefix_block": [512] * len(rows),
        }
    )
    table.write_ndjson(tmp_path / "x.jsonl")
    table.write_parquet(tmp_path / "x.parquet")
    table.with_columns(pl.col("prefix").cast(pl.List(pl.String)).list.join(" ")).write_csv(tmp_path / "x.csv")
    (tmp_path / "x.json").write_text("[" + ",\n".join((tmp_path / "x.jsonl").read_text().splitlines()) + "]")
    for name in ("x.jsonl", "x.parquet", "x.csv", "x.json"):
        read = Workload.load(tmp_path / name)
        assert read.input.tolist() == [row[0] for row in rows]
        assert read.output.tolist() == [row[1] for row in rows]
        assert np.array_equal(read.arrival, table["arrival"].to_numpy())
        assert read.prefix.tolist() == [one for row in rows for one in row[2]]


def test_rows_are_counted_through_all_pieces(small_pieces: None, tmp_path: Path) -> None:
    """The row that is named is that of the file, not of the piece."""
    good = [f"{row},5,5" for row in range(30)]
    for bad, problem in (("7,0,5", "is 0 in row 31"), ("7,x,5", "'x' in row 31"), ("7,5,5,5", "row 31 has 4 cells")):
        (tmp_path / "x.csv").write_text("\n".join(["arrival,input,output", *good, bad, *good]))
        with pytest.raises(InputError, match=problem):
            Workload.load(tmp_path / "x.csv")
    line = '{"arrival": 1, "input": 5, "output": 5}'
    for bad, problem in (
        ('{"arrival"', "row 31 is no JSON"),
        ('{"arrival": 1, "input": 5}', "output: is (empty in|missing from) row 31"),
    ):
        (tmp_path / "x.jsonl").write_text("\n".join([line] * 30 + [bad]))
        with pytest.raises(InputError, match=problem):
            Workload.load(tmp_path / "x.jsonl")


def test_times_before_the_first_piece_are_kept(small_pieces: None, tmp_path: Path) -> None:
    """Rows may be out of order across pieces."""
    times = [f"2023-11-16 18:{minute:02}:00,5,5" for minute in (30, 40, 20, 10, 50)]
    (tmp_path / "x.csv").write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *times]))
    assert Workload.load(tmp_path / "x.csv").arrival.tolist() == [0, 600, 1200, 1800, 2400]


def test_think_times_do_not_depend_on_pieces(small_pieces: None, tmp_path: Path) -> None:
    """Where they are told from the turn before, also when that stands in the piece before."""
    rows = [f"a,{10 * row},600,5,,{row % 3}" for row in range(30)]
    (tmp_path / "x.csv").write_text("\n".join(["session,t,in,out,think_time,api_time", *rows]))
    assert Workload.load(tmp_path / "x.csv").think.tolist() == [0, *(10 - row % 3 for row in range(29))]


def test_a_line_break_within_quotes_is_no_end_of_a_row(small_pieces: None, tmp_path: Path) -> None:
    """A piece never ends there."""
    rows = [f'{row},5,5,"a\nlong\nname, with a comma {row}"' for row in range(9)]
    (tmp_path / "x.csv").write_text("\n".join(["arrival,input,output,name", *rows]))
    assert Workload.load(tmp_path / "x.csv").requests == 9


def test_columns_that_come_and_go_are_refused(small_pieces: None, tmp_path: Path) -> None:
    """Rows of two formats in one file."""
    one, other = '{"arrival": 1, "input": 5, "output": 5, "session": 1}', '{"arrival": 1, "input": 5, "output": 5}'
    for lines in ([one] * 9 + [other] * 9, [other] * 9 + [one] * 9):
        (tmp_path / "x.jsonl").write_text("\n".join(lines))
        with pytest.raises(InputError, match="session"):
            Workload.load(tmp_path / "x.jsonl")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_progress_is_told_to_the_end(small_pieces: None, tmp_path: Path, suffix: str) -> None:
    """Never more than there is, never back, and all of it at last."""
    import polars as pl

    table = pl.DataFrame({"arrival": np.arange(99) / 4, "input": np.full(99, 5), "output": np.full(99, 5)})
    path = tmp_path / f"x.{suffix}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "json": table.write_json, "parquet": table.write_parquet}[suffix](path)
    told: list[tuple[int, int]] = []
    Workload.load(path, progress=lambda done, total: told.append((done, total)))
    done = [each for each, _ in told]
    assert len(told) > 3
    assert done == sorted(done)
    assert len({total for _, total in told}) == 1
    assert done[-1] <= told[-1][1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_million_rows_are_read_in_little_memory(tmp_path: Path, suffix: str) -> None:
    """Beyond what Python and the libraries take, at most 200 MB: the columns alone are 24 MB, and are held up to four times over."""
    import polars as pl

    random, rows = np.random.default_rng(0), 1_000_000
    arrival = np.cumsum(random.exponential(0.1, rows))
    table = pl.DataFrame({"arrival": arrival, "input": random.integers(1, 5000, rows), "output": random.integers(1, 500, rows)})
    path = tmp_path / f"x.{suffix}"
    (table.write_csv if suffix == "csv" else table.write_ndjson)(path)
    script = (
        "import resource, sys, polars\n"
        "from assay.workloads import Workload\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "read = Workload.load(sys.argv[1])\n"
        "print(read.requests, peak() - before)\n"
    )
    said = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert int(said[0]) == rows
    assert float(said[1]) < 200
