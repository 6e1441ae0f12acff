"""Describing a trace, and the distance of the shipped descriptions from their traces."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from assay._base.catalogue import names
from assay._base.errors import InputError
from assay._base.schema import read
from assay.workloads import Workload, describe, distance, write_description
from assay.workloads.arrivals import Process, stream
from assay.workloads.turns import turns_of

SHIPPED = {
    "azure-conv-2023": "azure2023_conv.csv",
    "azure-code-2023": "azure2023_code.csv",
    "mooncake-conversation": "mooncake_conversation_trace.jsonl",
    "agentic-coding": "weka_agentic_coding.parquet",
}


@cache
def trace(file: Path) -> Workload:
    """A trace, read once for all tests."""
    return Workload.load(file)


def made(process: Process, requests: int = 20_000) -> Workload:
    """Requests with log-normal lengths that lean on one another, and arrivals of a process."""
    random = stream(7, 9)
    normal = random.normal(size=(2, requests))
    prompts = np.exp(6 + normal[0]).astype(np.int64) + 1
    outputs = np.exp(4 + 0.5 * normal[0] + normal[1]).astype(np.int64) + 1
    return Workload(name="made", source="made", arrival=process.draw(requests, stream(8, 9)), input=prompts, output=outputs)


@pytest.mark.parametrize(
    "process", [Process("poisson", 5.0), Process("gamma", 5.0, 0.3), Process("gamma", 5.0, 3.0), Process("modulated", 20.0, 1.0, 30.0)]
)
def test_a_process_is_recognised(process: Process) -> None:
    """The kind is found, and its numbers nearly."""
    found = describe(made(process), "x")["arrival"]
    assert found["kind"] == process.kind
    assert found["rate"] == pytest.approx(process.rate, rel=1e-5)
    if process.kind != "poisson":
        assert found["cv"] == pytest.approx(process.cv, rel=0.2)


def test_a_described_trace_is_drawn_alike(tmp_path: Path) -> None:
    """A description written, read and drawn from is near the trace it is from."""
    real = made(Process("poisson", 5.0))
    write_description(describe(real, "made"), tmp_path / "made.toml")
    apart = distance(Workload.load(tmp_path / "made.toml", requests=20_000, seed=5), real)
    assert max(apart[key] for key in ("input_ks", "output_ks", "total_ks")) < 0.02
    assert abs(apart["input_mean"]) < 0.05
    assert abs(apart["output_p99"]) < 0.1
    assert abs(apart["correlation"]) < 0.05


def test_a_trace_is_at_no_distance_from_itself() -> None:
    """All distances are 0."""
    real = made(Process("poisson", 5.0), 5000)
    assert set(distance(real, real).values()) == {0.0}


def test_distances_of_disjoint_lengths_are_one() -> None:
    """Kolmogorov-Smirnov of distributions that do not meet, and relative differences of double lengths."""
    short, long = (Workload.draw(size, size, requests=50, rate=1) for size in (10, 20))
    apart = distance(long, short)
    assert (apart["input_ks"], apart["total_ks"], apart["output_mean"], apart["correlation"]) == (1, 1, 1, 0)


@pytest.mark.parametrize("requests", [1, 2, 30])
def test_short_traces_are_described_as_poisson(requests: int) -> None:
    """Too few windows to tell bursts: it says so."""
    found = describe(Workload.draw(10, 10, requests=requests, rate=5), "x")
    assert found["arrival"]["kind"] == "poisson"
    assert "too short" in found["notes"][0]


def test_steady_arrivals_are_described() -> None:
    """Arrivals like a clock's have counts that hardly vary."""
    steady = Workload(name="x", arrival=np.arange(1, 1001) / 2, input=np.full(1000, 9), output=np.full(1000, 9))
    assert describe(steady, "x")["arrival"] == {"kind": "gamma", "rate": 2.0, "cv": 0.01}


def test_prefixes_that_are_left_out_are_noted() -> None:
    """A description has no prefixes; its notes say what was there."""
    notes = describe(Workload.draw(160, 10, requests=100, shared_prefix=160, rate=1), "x")["notes"]
    assert any("99%" in note and "prefix" in note for note in notes)


def test_outputs_of_0_tokens_are_described(tmp_path: Path) -> None:
    """Their share comes back in a draw; relative distances that would divide by 0 are left out."""
    trace = made(Process("poisson", 5.0), 5000)
    some = replace(trace, output=np.where(np.arange(5000) % 5 < 3, 0, trace.output))
    write_description(describe(some, "some"), tmp_path / "some.toml")
    drawn = Workload.load(tmp_path / "some.toml", requests=20_000)
    assert (drawn.output == 0).mean() == pytest.approx(0.6, abs=0.02)
    assert (drawn.output[drawn.output > 0]).mean() == pytest.approx(some.output[some.output > 0].mean(), rel=0.1)
    assert "output_p50" not in distance(drawn, some)
    none = replace(trace, output=np.zeros(5000, np.int64))
    assert describe(none, "none")["lengths"]["output_edges"] == [0, 1]


def test_priorities_are_noted() -> None:
    """A description has none."""
    drawn = Workload.draw(10, 10, requests=50, rate=5)
    assert "Priorities are left out" in describe(replace(drawn, priority=np.ones(50, np.int64)), "x")["notes"]


def test_requests_all_at_once_are_described_without_arrivals(tmp_path: Path) -> None:
    """The draw is at once too, or comes at the rate that is asked for."""
    document = describe(Workload.draw(100, 10, requests=500, spread=(0.5, 1)), "x")
    assert document["arrival"] == {"kind": "once"}
    assert "gaps_ks" not in document["distance"]
    assert any("no arrivals" in note for note in document["notes"])
    write_description(document, tmp_path / "x.toml")
    assert Workload.load(tmp_path / "x.toml", requests=50).at_once
    at_rate = Workload.load(tmp_path / "x.toml", requests=50, rate=4.0)
    assert at_rate.rate == pytest.approx(4)
    assert any("Poisson" in note for note in at_rate.assumptions)


def test_a_closed_loop_is_refused() -> None:
    """Its arrivals follow from what serves it."""
    with pytest.raises(InputError, match="no arrivals"):
        describe(Workload.draw(10, 10, requests=5, concurrency=2), "x")


def test_a_drawn_session_workload_is_described_and_drawn_alike(tmp_path: Path) -> None:
    """What describe tells of a draw of a shipped description is near that description: the fit recovers what was put in."""
    put_in = read(names("workloads")["mooncake-conversation"], "workload")
    drawn = Workload.load("mooncake-conversation", requests=20_000, seed=3)
    found = describe(drawn, "again")
    assert found["sessions"]["common"] == put_in["sessions"]["common"]
    assert found["sessions"]["ends"] == pytest.approx(put_in["sessions"]["ends"], abs=0.06)
    apart = found["distance"]
    assert max(apart[key] for key in ("input_ks", "output_ks", "prefix_ks", "turns_ks", "think_ks")) < 0.04
    assert abs(apart["prefix_share"]) < 0.01


def test_sessions_told_from_prefixes_are_those_that_were_drawn() -> None:
    """Of a draw without its session column nearly all links are found again, and no others."""
    drawn = Workload.load("mooncake-conversation", requests=5000, seed=1)
    order = np.argsort(drawn.arrival, kind="stable")
    given = turns_of(drawn.take(order))
    told = turns_of(replace(drawn.take(order), session=np.zeros(0, np.int64), think=np.zeros(0)))
    real = set(zip(given.before.tolist(), given.row.tolist(), strict=True))
    found = set(zip(told.before.tolist(), told.row.tolist(), strict=True))
    assert len(found & real) > 0.9 * len(real)
    assert len(found - real) < 0.02 * len(real)


@pytest.mark.parametrize("name", names("workloads"))
def test_shipped_descriptions_load_and_say_how_far_they_are(name: str) -> None:
    """Each reads, draws its default count, is small, and states its distances and source."""
    path = names("workloads")[name]
    document = read(path, "workload")
    assert Workload.load(name).requests == document["requests"]
    assert path.stat().st_size < 40_000
    assert document["distance"]
    assert document["source"]
    assert document["date"]
    far = max(value for key, value in document["distance"].items() if key in ("input_ks", "output_ks", "total_ks"))
    assert far <= (0.06 if "sessions" in document else 0.02)


@pytest.mark.parametrize(("name", "file"), SHIPPED.items())
def test_draws_are_as_far_from_their_trace_as_the_description_says(name: str, file: str, shared: Path) -> None:
    """The stated distances are those of 20,000 requests with seed 0."""
    stated = read(names("workloads")[name], "workload")["distance"]
    measured = distance(Workload.load(name, requests=20_000, seed=0), trace(shared / "traces" / file))
    assert measured == pytest.approx(stated, abs=1e-3)


@pytest.mark.parametrize(("name", "file"), SHIPPED.items())
def test_shipped_descriptions_are_what_describe_makes(name: str, file: str, shared: Path) -> None:
    """Lengths, arrivals and distances come from the code, not from a hand."""
    shipped = read(names("workloads")[name], "workload")
    made_now = describe(trace(shared / "traces" / file), name)
    assert all(made_now[key] == shipped[key] for key in ("rows", "requests", "lengths"))
    assert set(made_now["notes"]) <= set(shipped["notes"])
    assert made_now["arrival"] == pytest.approx(shipped["arrival"])
    assert made_now.get("sessions") == shipped.get("sessions")
