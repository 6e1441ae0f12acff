"""Trace files: each format read, each fault named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay._base.errors import InputError
from assay.workloads import Workload


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str, str], Workload]:
    """Write a text under a name and load it."""

    def written(name: str, text: str) -> Workload:
        (tmp_path / name).write_text(text)
        return Workload.load(tmp_path / name)

    return written


def test_clock_times_count_from_the_earliest_with_all_their_digits(load: Callable[[str, str], Workload]) -> None:
    """Blank or T between date and time, UTC with or without saying so, unsorted rows."""
    text = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:04.0319601,3180,8
2023-11-16T18:17:03.9799600,4808,10
2023-11-16 18:17:05+00:00,110,27
"""
    read = load("clock.csv", text)
    assert read.arrival.tolist() == pytest.approx([0, 0.0520001, 1.02004], abs=1e-12)
    assert read.input.tolist() == [4808, 3180, 110]
    assert read.output.tolist() == [10, 8, 27]
    assert read.assumptions == ("arrivals were not in order: rows sorted by arrival",)


def test_hashed_blocks_are_prefixes_of_512_tokens(load: Callable[[str, str], Workload]) -> None:
    """Milliseconds become seconds; the last block may be cut."""
    text = """{"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [4, 9]}
{"timestamp": 250, "input_length": 512, "output_length": 1, "hash_ids": [4]}
{"timestamp": 500, "input_length": 10, "output_length": 1, "hash_ids": []}
"""
    read = load("hashed.jsonl", text)
    assert read.arrival.tolist() == [0, 0.25, 0.5]
    assert read.prefix_block == 512
    assert read.prefix.tolist() == [4, 9, 4]
    assert read.prefix_offsets.tolist() == [0, 2, 3, 3]
    assert read.prefix_share == pytest.approx(512 / 1122)


def test_plain_csv_with_prefixes(load: Callable[[str, str], Workload]) -> None:
    """Ids stand apart by blanks; no ids are an empty list; arrivals count from the first."""
    read = load("plain.csv", "arrival,input,output,prefix,prefix_block\n5,40,1,0 1 2,16\n6,20,2,,16\n7,20,2,0,16\n")
    assert read.prefix.tolist() == [0, 1, 2, 0]
    assert read.prefix_offsets.tolist() == [0, 3, 3, 4]
    assert read.prefix_block == 16
    assert read.arrival.tolist() == [0, 1, 2]
    assert read.assumptions == ("the first arrival, at 5 s, counts as 0",)


def test_answers_of_no_tokens_are_read(load: Callable[[str, str], Workload]) -> None:
    """A prompt may be all there is, in every format."""
    for name, text in (
        ("plain.csv", "arrival,input,output\n0,5,0\n"),
        ("clock.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,5,0\n"),
        ("hashed.jsonl", '{"timestamp": 0, "input_length": 5, "output_length": 0}'),
    ):
        assert load(name, text).output.tolist() == [0]


def test_sessions_and_priorities_are_read(load: Callable[[str, str], Workload]) -> None:
    """Three optional columns; those that a table lacks stay empty."""
    read = load("x.csv", "arrival,input,output,session,think,priority\n2,1,1,9,0,-1\n3,2,1,-1,0,4\n0,3,1,9,1.5,0\n")
    assert read.session.tolist() == [9, -1, 9]
    assert read.think.tolist() == [0, 0, 1.5]
    assert read.priority.tolist() == [-1, 4, 0]
    assert read.following().tolist() == [2, -1, -1]
    assert read.arrival[read.opens].tolist() == [0, 1]
    assert read.arrival.min() == 0
    plain = load("y.csv", "arrival,input,output\n2,1,1\n")
    assert (plain.session.size, plain.think.size, plain.priority.size) == (0, 0, 0)


def test_sorting_keeps_the_turns_of_a_session_in_their_order(load: Callable[[str, str], Workload]) -> None:
    """Sessions are sorted by their first turn; the arrival of a later turn does not count."""
    read = load("x.csv", "arrival,input,output,session,think\n7,1,1,1,0\n0,2,1,1,3\n5,3,1,0,0\n9,4,1,-1,0\n6,5,1,0,2\n")
    assert read.input.tolist() == [3, 5, 1, 2, 4]
    assert read.following().tolist() == [1, -1, 3, -1, -1]
    assert read.arrival[read.opens].tolist() == [0, 2, 4]
    assert "turns by that of the first turn" in read.assumptions[0]


def test_later_turns_out_of_order_are_left_where_they_are(load: Callable[[str, str], Workload]) -> None:
    """Only arrivals of first turns must be in order."""
    read = load("x.csv", "arrival,input,output,session\n0,1,1,1\n8,2,1,1\n5,3,1,2\n")
    assert read.input.tolist() == [1, 2, 3]
    assert read.assumptions == ("no think times are given: a turn comes as soon as the one before it has ended",)


def test_plain_parquet_round_trip(tmp_path: Path) -> None:
    """Written as columns and read back, a workload is the same."""
    import polars as pl

    drawn = Workload.draw(64, 9, requests=20, spread=(0.3, 1), shared_prefix=48, rate=2)
    rows = pl.DataFrame({"arrival": drawn.arrival - drawn.arrival[0], "input": drawn.input, "output": drawn.output})
    ids = [part.tolist() for part in np.split(drawn.prefix, drawn.prefix_offsets[1:-1])]
    turns = {"session": np.arange(20) % 7 - 1, "think": np.arange(20) / 4, "priority": np.arange(20) % 3}
    rows.with_columns(prefix=pl.Series(ids), prefix_block=pl.lit(16), **turns).write_parquet(tmp_path / "x.parquet")
    read = Workload.load(tmp_path / "x.parquet")
    for name in ("input", "output", "prefix", "prefix_offsets", "prefix_block"):
        assert np.array_equal(getattr(read, name), getattr(drawn, name)), name
    assert all(np.array_equal(getattr(read, name), values) for name, values in turns.items())
    assert np.array_equal(read.arrival, rows["arrival"].to_numpy())


def test_rows_at_one_time_keep_their_order_when_sorted(load: Callable[[str, str], Workload]) -> None:
    """Sorting is stable and takes prefixes along."""
    read = load("x.csv", "arrival,input,output,prefix,prefix_block\n1,1,1,5,1\n0,2,1,,1\n1,3,1,6 7,1\n0,4,1,8,1\n")
    assert read.input.tolist() == [2, 4, 1, 3]
    assert read.prefix.tolist() == [8, 5, 6, 7]
    assert read.prefix_offsets.tolist() == [0, 0, 1, 2, 4]


BAD_TEXTS = [
    ("x.csv", "", "", "is empty"),
    ("x.csv", "arrival,input,output\n", "", "no requests"),
    ("x.csv", "when,input,output\n1,2,3\n", "", "when, input, output are of no known format.*TIMESTAMP"),
    ("x.csv", "arrival,input,output\n0,1,1\n1,0,1\n", "input", "is 0 in row 2"),
    ("x.csv", "arrival,input,output\n0,1,-4\n", "output", "is -4 in row 1"),
    ("x.csv", "arrival,input,output\n0,1,1\nnan,1,1\n", "arrival", "'nan' in row 2"),
    ("x.csv", "arrival,input,output\n0,1,1\n1,many,1\n", "input", "'many' in row 2"),
    ("x.csv", "arrival,input,output\n0,1,1\n1,,1\n", "input", "empty in row 2"),
    ("x.csv", "arrival,input,output\n0,1.5,1\n", "input", "'1.5' in row 1"),
    ("x.csv", "arrival,input,output\n0,1e30,1\n", "input", "'1e30' in row 1"),
    ("x.csv", "arrival,input,output\n-1,1,1\n", "arrival", "is -1.0 in row 1"),
    ("x.csv", "arrival,input,output\n0,1,1,1\n", "", "cannot be read as csv"),
    ("x.csv", "arrival,input,output,prefix\n0,9,1,3\n", "prefix_block", "is missing"),
    ("x.csv", "arrival,input,output,think\n0,9,1,3\n", "session", "is missing"),
    ("x.csv", "arrival,input,output,session,think\n0,9,1,3,0\n0,9,1,3,-2\n", "think", "is -2.0 in row 2.*0 or more"),
    ("x.csv", "arrival,input,output,session,think\n0,9,1,3,0\n0,9,1,3,nan\n", "think", "'nan' in row 2.*0 for first turns"),
    ("x.csv", "arrival,input,output,session,think\n0,9,1,3,\n", "think", "empty in row 1.*0 for first turns"),
    ("x.csv", "arrival,input,output,session\n0,9,1,\n", "session", "empty in row 1.*-1 where"),
    ("x.csv", "arrival,input,output,session\n0,9,1,ann\n", "session", "'ann' in row 1.*-1 where"),
    ("x.csv", "arrival,input,output,priority\n0,9,1,1.5\n", "priority", "'1.5' in row 1.*the sooner"),
    ("x.csv", "arrival,input,output,prefix,prefix_block\n0,9,1,3,4\n0,9,1,3,5\n", "prefix_block", "holds 4 and 5"),
    ("x.csv", "arrival,input,output,prefix,prefix_block\n0,9,1,3,0\n", "prefix_block", "is 0"),
    ("x.csv", "arrival,input,output,prefix,prefix_block\n0,9,1,3,4\n0,9,1,1 2 3 4,4\n", "prefix", "has 4 ids for 9 tokens in row 2"),
    ("x.csv", "arrival,input,output,prefix,prefix_block\n0,9,1,,4\n0,9,1,1 b,4\n", "prefix", "no whole number from 0 on in row 2"),
    ("x.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,1\nnoon,1,1\n", "TIMESTAMP", "'noon' in row 2"),
    ("x.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,-1\n", "GeneratedTokens", "is -1 in row 1"),
    ("x.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n", "", "no requests"),
    ("x.jsonl", "", "", "is empty"),
    ("x.jsonl", '{"timestamp": 0, "input_length"', "", "cannot be read as jsonl"),
    ("x.jsonl", '{"timestamp": 0, "input_length": 3, "output_length": -1}', "output_length", "is -1 in row 1"),
    ("x.jsonl", '{"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [1, 2]}', "hash_ids", "has 2 ids for 3 tokens"),
    ("x.jsonl", '{"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [-2]}', "hash_ids", "in row 1"),
    ("x.jsonl", '{"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [1.5]}', "hash_ids", "not lists of ids"),
    ("x.jsonl", '{"timestamp": 0, "input_length": [3], "output_length": 1}', "input_length", "not numbers"),
    ("x.jsonl", '{"session": 1, "t": 0, "in": 3, "out": 1}', "session", "clock of each session is its own"),
    ("x.parquet", "nothing of the kind", "", "cannot be read as parquet"),
    ("x.txt", "arrival,input,output\n", "", "unknown kind of file .txt"),
]


@pytest.mark.parametrize(("name", "text", "field", "problem"), BAD_TEXTS)
def test_bad_files_are_named(name: str, text: str, field: str, problem: str, load: Callable[[str, str], Workload]) -> None:
    """The error names the file, the column, the first bad row and a remedy."""
    with pytest.raises(InputError, match=problem) as raised:
        load(name, text)
    assert raised.value.field == field
    assert raised.value.file.endswith(name)
    assert raised.value.remedy


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.parquet", "nowhere.toml", "nowhere.jsonl"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    """A file that is not there, and a folder in its place."""
    with pytest.raises(InputError, match=name):
        Workload.load(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=name):
        Workload.load(tmp_path / name)


PUBLIC = [
    ("azure2023_conv.csv", 19366, False),
    ("azure2023_code.csv", 8819, False),
    ("mooncake_conversation_trace.jsonl", 12031, True),
    ("mooncake_synthetic_trace.jsonl", 3993, True),
]


@pytest.mark.parametrize(("name", "rows", "prefixes"), PUBLIC)
def test_public_traces_read(name: str, rows: int, prefixes: bool, shared: Path) -> None:
    """All rows, and prefixes where the format has them; the Parquet form reads the same."""
    traces = shared / "traces"
    read = Workload.load(traces / name)
    assert read.requests == rows
    assert bool(read.prefix.size) == prefixes
    assert read.arrival[0] == 0
    short = Workload.load(traces / f"{name.partition('.')[0].removesuffix('_trace')}.parquet")
    assert np.array_equal(read.input, short.input)
    assert np.array_equal(read.output, short.output)
    assert np.array_equal(read.prefix, short.prefix)
    assert np.allclose(read.arrival, short.arrival, atol=1e-6)
