"""Formats of public traces and of load generators: each read from a small sample in its terms, each fault named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay._base.errors import InputError
from assay.workloads import Workload

Load = Callable[[str, Any], Workload]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a text, or objects as JSON, under a name and load it."""

    def written(name: str, content: Any) -> Workload:
        if name.endswith(".jsonl") and not isinstance(content, str):
            content = "".join(json.dumps(each) + "\n" for each in content)
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return Workload.load(tmp_path / name)

    return written


def record(start: int, end: int, *, conversation: str = "", turn: int = 0, **changed: Any) -> dict[str, Any]:
    """A request of a load generator, times in ms."""
    base = 1_759_813_207_000_000_000
    metadata = {"request_start_ns": base + start * 10**6, "request_end_ns": base + end * 10**6, "benchmark_phase": "profiling"}
    metadata |= {"x_correlation_id": conversation or f"alone at {start}", "turn_index": turn}
    metrics = {"input_sequence_length": {"value": 550 + turn, "unit": "tokens"}, "output_sequence_length": {"value": 9, "unit": "tokens"}}
    return {"metadata": metadata, "metrics": metrics, "error": None} | changed


def request(start: float, end: float, **changed: Any) -> dict[str, Any]:
    """A request of a report of benchmarks."""
    return {"request_start_time": 1.7e9 + start, "request_end_time": 1.7e9 + end, "prompt_tokens": 100, "output_tokens": 20} | changed


def report(*benchmarks: list[dict[str, Any]], errored: int = 0) -> dict[str, Any]:
    """A report with the answered requests of each benchmark."""
    return {"benchmarks": [{"requests": {"successful": each, "errored": [{}] * errored, "incomplete": []}} for each in benchmarks]}


def session(*turns: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A session of a coding agent."""
    return {"id": "one", "block_size": 64, "hash_id_scope": "local", "requests": list(turns)} | changed


def turn(t: float, prompt: int, **changed: Any) -> dict[str, Any]:
    """A turn of one, with as many hashes as fit."""
    return {"t": t, "type": "n", "in": prompt, "out": 7, "hash_ids": list(range(prompt // 64 + 1))} | changed


def said(*texts: str, who: tuple[str, str] = ("human", "gpt")) -> dict[str, Any]:
    """A conversation in which two speak in turns."""
    return {"id": "x", "conversations": [{"from": who[i % 2], "value": text} for i, text in enumerate(texts)]}


def test_calls_of_a_gateway_without_an_answer_are_left_out(load: Load) -> None:
    """Seconds from the first day on, token counts, and no response tokens where the call failed."""
    text = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,API log
118.5,GPT-4,417,276,693,Conversation log
"""
    read = load("log.csv", text)
    assert (read.arrival - read.arrival[0]).tolist() == [0, 113.5]
    assert read.input.tolist() == [472, 417]
    assert read.output.tolist() == [18, 276]
    assert any("1 of 3 calls" in note for note in read.assumptions)


def test_conversations_become_sessions_with_growing_prompts(load: Load) -> None:
    """A request per answer; its prompt is all that was said; four characters count as a token."""
    read = load("chats.json", [said("a" * 400, "b" * 100, "c" * 300, "d" * 8), said("only a question"), said("x" * 4, "y" * 4)])
    assert read.input.tolist() == [100, 200, 1]
    assert read.output.tolist() == [25, 2, 1]
    assert read.session.tolist() == [0, 0, 2]
    assert read.at_once
    assert read.prefix_offsets.tolist() == [0, 1, 4, 4]
    assert read.prefix[0] == read.prefix[1]
    assert {"4 characters count as one token", "1 conversations without an answer to a question are left out"} <= set(read.assumptions)


def test_conversations_are_read_in_both_spellings_and_by_line(load: Load) -> None:
    """`role` and `content`; an answer to nothing is only something said before."""
    other = {
        "conversations": [
            {"role": "assistant", "content": "hi there"},
            {"role": "user", "content": "12345678"},
            {"role": "assistant", "content": "1234"},
        ]
    }
    read = load("chats.jsonl", [other, said("system says", "abcd", who=("system", "gpt"))])
    assert read.input.tolist() == [4, 3]
    assert read.output.tolist() == [1, 1]


def test_arrays_of_a_serving_benchmark_are_read(load: Load) -> None:
    """Start times count from the first; requests that failed are left out."""
    result = {
        "input_lens": [10, 20, 30],
        "output_lens": [1, 0, 3],
        "start_times": [50.5, 50.0, 52.0],
        "errors": ["", "refused", ""],
        "ttfts": [1, 2, 3],
    }
    read = load("bench.json", result)
    assert read.input.tolist() == [10, 30]
    assert read.arrival.tolist() == [0, 1.5]
    assert any("1 of 3 requests failed" in note for note in read.assumptions)
    without = load("short.json", {"input_lens": [10], "output_lens": [1]})
    assert without.at_once
    assert any("no start_times" in note for note in without.assumptions)


def test_sessions_of_agents_are_read_from_objects(load: Load) -> None:
    """Think times where given, else what lies between turns less the answer; hashes in eights; sub-agents in their place."""
    one = session(
        turn(0, 1024, api_time=4.0),
        turn(10, 1100, think_time=3.5),
        {"type": "subagent", "requests": [turn(20, 640, hash_ids=[900 + i for i in range(10)])]},
    )
    read = load("agents.jsonl", [one, session(turn(0, 1024), turn(9, 2048))])
    assert read.session.tolist() == [0, 0, 0, 1, 1]
    assert read.think.tolist() == [0, 3.5, 10, 0, 9]
    assert read.input.tolist() == [1024, 1100, 640, 1024, 2048]
    assert read.prefix_block == 512
    assert np.diff(read.prefix_offsets).tolist() == [2, 2, 1, 2, 4]
    assert read.prefix[:2].tolist() == read.prefix[2:4].tolist()
    assert len(set(read.prefix[:2].tolist()) & set(read.prefix[5:7].tolist())) == 0
    assert read.at_once
    assert load("agents.json", one).requests == 3


def test_sessions_of_agents_are_read_from_rows(load: Load) -> None:
    """The same, a row per turn, with names for sessions."""
    text = """session,t,in,out,think_time,api_time,hash_ids
a,0,600,5,0,2,1 2 3 4 5 6 7 8 9
a,9,700,5,,1,1 2 3 4 5 6 7 8 9 10
b,0,600,5,0,1,1 2
"""
    read = load("agents.csv", text)
    assert read.session.tolist() == [0, 0, 1]
    assert read.think.tolist() == [0, 7, 0]
    assert read.prefix.tolist() == [8, 8]


def test_records_of_a_load_generator_are_read_in_order_of_their_start(load: Load) -> None:
    """Rows are written when requests end; those that failed, were cancelled or warmed up are left out and counted."""
    cancelled = record(3, 4)
    cancelled["metadata"]["was_cancelled"] = True
    warm = record(4, 5)
    warm["metadata"]["benchmark_phase"] = "warmup"
    read = load("records.jsonl", [record(500, 600), record(100, 900), record(2, 3, error={"code": 500}, metrics={}), cancelled, warm])
    assert read.arrival == pytest.approx([0, 0.4])
    assert read.input.tolist() == [550, 550]
    assert read.output.tolist() == [9, 9]
    assert not read.session.size
    assert {"2 requests failed and are left out", "1 requests were of the warm-up and are left out"} <= set(read.assumptions)


def test_turns_of_a_load_generator_are_linked(load: Load) -> None:
    """By their conversation, in the order of their turns; think times from the end of one to the start of the next."""
    turns = [record(900, 950, conversation="c", turn=1), record(0, 400, conversation="c"), record(100, 200)]
    for name in ("records.jsonl", "records.json"):
        read = load(name, turns)
        assert read.input.tolist() == [550, 551, 550]
        assert read.think == pytest.approx([0, 0.5, 0])
        assert read.following().tolist() == [1, -1, -1]


def test_reports_of_benchmarks_are_read(load: Load) -> None:
    """All benchmarks in the order in which they ran; the older names of start and end too."""
    old = {"start_time": 1.7e9 + 9, "end_time": 1.7e9 + 10, "prompt_tokens": 5, "output_tokens": 6}
    read = load("report.json", report([request(1, 2), request(0, 3)], [old], errored=2))
    assert read.arrival == pytest.approx([0, 1, 9])
    assert read.input.tolist() == [100, 100, 5]
    assert {"4 requests failed and are left out", "2 benchmarks of one report, as they ran one after the other"} <= set(read.assumptions)
    linked = load("turns.json", report([request(0, 2, info={"conversation_id": "a", "turn_index": i}) for i in (0, 1)]))
    assert linked.sessions == 1


def test_plain_rows_may_stand_in_a_json_array(load: Load) -> None:
    """Whatever a table may hold."""
    read = load("rows.json", [{"arrival": 0, "input": 5, "output": 1}, {"arrival": 2, "input": 6, "output": 1}])
    assert read.input.tolist() == [5, 6]


NO_PROMPT = {"input_sequence_length": {"value": 0}}
BROKEN = [
    ("x.json", "", "", "is empty"),
    ("x.json", "[]", "", "holds no requests"),
    ("x.jsonl", "\n \n", "", "holds no requests"),
    ("x.json", "[1]", "", "row 1 is no JSON object: 1"),
    ("x.json", '[{"conversations": []}, {"conver', "", "row 2 is no JSON object"),
    ("x.json", '[{"conversations": []} {}]', "", "row 2 is no JSON object: { in place of a comma"),
    ("x.json", "{", "", "row 1 is no JSON object"),
    ("x.json", "[" * 100_000, "", "row 1 is no JSON object"),
    ("x.json", '{"a": 1}', "", "columns a are of no known format"),
    ("x.jsonl", '{"arrival": 0, "input": 5, "output": 1}\n{"arrival": 1, "input"\n', "", "row 2 is no JSON object"),
    ("x.jsonl", '{"arrival": 0, "input": 5, "output": 1}\n[1]\n', "", r"row 2 is no JSON object: \[1\]"),
    ("x.jsonl", '{"arrival": 0, "input": 5, "output": 1}\n{"timestamp": 0, "input_length": 5}\n', "arrival", "is empty in row 2"),
    ("x.jsonl", [record(0, 1), said("a", "b")], "metadata.request_start_ns", "is missing in row 2"),
    ("x.csv", "arrival,input,output\n0,5,1\n1,6,1,9\n", "", "row 2 has 4 cells for 3 columns"),
    ("x.csv", "\n1,2\n", "", "no header"),
    ("x.csv", "Timestamp,Request tokens,Response tokens\n1,-5,1\n", "Request tokens", "is -5 in row 1"),
    ("x.csv", "Timestamp,Request tokens,Response tokens\n1,5,1\n2,5,many\n", "Response tokens", "'many' in row 2"),
    ("x.csv", "session,t,in,out\na,0,5,1\n", "session", "no column think_time"),
    ("x.csv", "session,t,in,out,think_time\na,0,5,1,soon\n", "think_time", "'soon' in row 1"),
    ("x.csv", "session,t,in,out,think_time\na,0,5,1,0\na,1,5,1,-3\n", "think", "is -3.0 in row 2"),
    ("x.json", session(turn(0, 64, out=-1)), "out", "is -1 in row 1"),
    ("x.json", session(turn(0, 64, hash_ids=["a"])), "hash_ids", "no whole number from 0 on in row 1"),
    ("x.json", session(turn(0, 64), block_size=100), "block_size", "is 100"),
    ("x.json", session(turn(0, 64, hash_ids=list(range(64)))), "hash_ids", "has 8 ids for 64 tokens in row 1"),
    ("x.json", session(3), "", "row 1 holds 3 in place of an object"),
    ("x.json", session() | {"requests": 7}, "requests", "is 7 in row 1"),
    ("x.json", [said("a")], "conversations", "holds no answer"),
    ("x.json", [said("a", "b"), {"conversations": [{"from": "human"}]}], "conversations", "a turn without text in row 2"),
    ("x.json", [{"conversations": [{"value": "a"}]}], "conversations", "a turn without a speaker in row 1"),
    ("x.json", {"input_lens": [1, 2], "output_lens": [1]}, "input_lens", "2 input_lens, 1 output_lens"),
    ("x.json", {"input_lens": [1.5], "output_lens": [1]}, "input_lens", "is 1.5 in item 1"),
    ("x.json", {"input_lens": [1], "output_lens": [-1]}, "output_lens", "is -1 in row 1"),
    ("x.json", {"input_lens": [], "output_lens": []}, "", "holds no requests"),
    (
        "x.jsonl",
        [record(0, 1), record(0, 1, metrics={"input_sequence_length": {"value": 0}})],
        "metrics.input_sequence_length.value",
        "is 0 in row 2",
    ),
    ("x.jsonl", [record(0, 1, error="yes")], "metrics.input_sequence_length.value", "no request that was answered"),
    ("x.json", report([request(0, 1, prompt_tokens=None)]), "prompt_tokens", "is missing in row 1"),
    ("x.json", report([request(0, 1, output_tokens=-2)]), "output_tokens", "is -2 in row 1"),
    ("x.json", {"benchmarks": [{}]}, "requests.successful", "is missing in row 1"),
]


@pytest.mark.parametrize(("name", "content", "field", "problem"), BROKEN)
def test_bad_files_are_named(name: str, content: Any, field: str, problem: str, load: Load) -> None:
    """The error names the file, the field, the first bad row and a remedy."""
    with pytest.raises(InputError, match=problem) as raised:
        load(name, content)
    assert raised.value.field == field
    assert raised.value.file.endswith(name)
    assert raised.value.remedy


def test_text_in_another_encoding_is_named(tmp_path: Path) -> None:
    """In each kind of text file."""
    for name in ("x.csv", "x.jsonl", "x.json"):
        (tmp_path / name).write_bytes(b"arrival,input,output\n\xff\xfe,1,1\n" if name == "x.csv" else b'{"arrival": "\xff"}')
        with pytest.raises(InputError, match=name):
            Workload.load(tmp_path / name)


def test_the_public_sessions_of_agents_are_read(shared: Path) -> None:
    """All turns, their sessions and think times; without hashes too."""
    read = Workload.load(shared / "traces" / "weka_agentic_coding.parquet", seed=1, rate=2.0)
    assert (read.requests, read.sessions) == (49334, 773)
    assert read.prefix_share == pytest.approx(0.961, abs=0.001)
    assert read.rate == pytest.approx(2)
    assert np.median(read.think[~read.opens]) == 10
    bare = Workload.load(shared / "traces" / "weka_agentic_coding_nohash.parquet")
    assert np.array_equal(bare.input, read.input)
    assert not bare.prefix.size
