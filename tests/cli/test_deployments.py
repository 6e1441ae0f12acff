"""Deployment flags: speculation, prefill and decode apart, and files of several parts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = "simulate llama-3.1-8b --chip h100-sxm --tp 1 --isl 300 --osl 30 --requests 60 --rate 2 --token-budget 512 --max-num-seqs 64"
LOAD = "--isl 300 --osl 30 --requests 60 --rate 2"
SMALL = "tp = 1\ntoken_budget = 512\nmax_num_seqs = 64\n"
UNLIKE = f"""routing = "least loaded"
link_bandwidth = 1e10
[[part]]
role = "prefill"
chip = "mi300x"
host_memory = 1e11
host_bandwidth = 5e10
{SMALL}
[[part]]
role = "decode"
replicas = 2
{SMALL}
[[outage]]
time = 5
replica = 2
up = false
"""


def answer(ended: Any) -> dict[str, Any]:
    """The JSON of a command that ended well."""
    assert ended.code == 0, ended.err
    found = json.loads(ended.out, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


def test_prefill_and_decode_apart(assay: Callable[..., Any]) -> None:
    """PREFILL:DECODE replicas of each role, on as many chips; the link is among the assumptions."""
    run = answer(assay(f"{RUN} --disaggregate 1:2 --json"))
    assert (run["chips"], run["chip"], run["completed"]) == (3, "h100-sxm", 60)
    parts = run["deployment"]["parts"]
    assert [(part["role"], part["replicas"], part["prefix_cache"]) for part in parts] == [("prefill", 1, True), ("decode", 2, False)]
    assert run["deployment"]["link_bandwidth"] == 5e10
    assert run["deployment"]["routing"] == "round robin"
    assert any("at 50 GB/s" in text for text in run["assumptions"])
    assert "prefill: tp1" in assay(f"{RUN} --disaggregate 1:2").out


@pytest.mark.parametrize("ratio", ["2", "2:", ":3", "0:1", "1:0", "-1:2", "a:b", "1:2:3", "1.5:2", ""])
def test_a_ratio_that_is_none_is_refused(ratio: str, assay: Callable[..., Any]) -> None:
    """Exit code 2, and one message that names the flag and shows how it is said."""
    ended = assay(*RUN.split(), "--disaggregate", ratio)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"assay: --disaggregate: is {ratio!r}. Give PREFILL:DECODE, the replicas of each, as 2:3.\n"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--disaggregate 1:2 --replicas 2", "--disaggregate: given together with --replicas"),
        ("--disaggregate 1:2 --deployment own.toml", "--deployment: given together with --tp"),
        ("--speculate 3", "--speculate: is '3'"),
        ("--engine plain.toml --disaggregate 1:2", "--disaggregate: plain: cannot serve prefill and decode apart"),
        ("--engine plain.toml --speculate 3:0.7", "--speculate: plain: cannot speculate"),
    ],
)
def test_flags_that_do_not_go_together(flags: str, says: str, assay: Callable[..., Any], place: Path) -> None:
    """Exit code 2, and one message that names the flag."""
    generic = answer(assay("engines generic --json"))
    engine = """version = "0"\nruns_on = ["*"]\nweights = ["bf16"]\n[features]\nchunked_prefill = true\n[defaults]\n""" + "\n".join(
        f"{key} = {json.dumps(fact['value'])}" for key, fact in generic["defaults"].items()
    )
    (place / "plain.toml").write_text(engine, encoding="utf-8")
    ended = assay(f"{RUN} {flags}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"assay: {says}")
    assert ended.err.count("\n") == 1


def test_a_ratio_beside_a_file_is_refused(assay: Callable[..., Any], place: Path) -> None:
    """What the file says is not said twice."""
    (place / "own.toml").write_text(UNLIKE, encoding="utf-8")
    ended = assay(f"simulate llama-3.1-8b {LOAD} --deployment own.toml --disaggregate 1:1")
    assert ended.code == 2
    assert ended.err.startswith("assay: --deployment: given together with --disaggregate")


def test_a_file_of_unlike_parts(assay: Callable[..., Any], place: Path) -> None:
    """Chips of both vendors, one of which the command line names; what the file says comes through."""
    (place / "own.toml").write_text(UNLIKE, encoding="utf-8")
    run = answer(assay(f"simulate llama-3.1-8b --chip h100-sxm {LOAD} --deployment own.toml --json"))
    assert (run["chip"], run["chips"], run["completed"]) == ("mi300x + h100-sxm", 3, 60)
    said = run["deployment"]
    assert (said["routing"], said["link_bandwidth"]) == ("least loaded", 1e10)
    assert said["outage"] == [{"time": 5.0, "replica": 2, "up": False}]
    assert said["parts"][0]["host_memory"] == 1e11
    assert run["cost_per_million_tokens"] > 0
    assert "mi300x" in run["evidence"]["why"]


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('role = "decode"', 'role = "all"', "part[1].role"),
        ('role = "decode"', 'role = "prefill"', "part[0].role"),
        ("replicas = 2", 'speculate = "x"', "part[1].speculate"),
        ("host_bandwidth = 5e10", "", "part[0].host_bandwidth"),
        ("replica = 2", "replica = 3", "outage[0].replica"),
        ("least loaded", "least", "routing"),
        ("link_bandwidth = 1e10", "load_bound = 2", "load_bound"),
    ],
)
def test_a_file_that_is_wrong_is_named(before: str, after: str, field: str, assay: Callable[..., Any], place: Path) -> None:
    """Exit code 2, and one message with file and field."""
    assert UNLIKE.count(before) == 1
    (place / "own.toml").write_text(UNLIKE.replace(before, after), encoding="utf-8")
    ended = assay(f"simulate llama-3.1-8b --chip h100-sxm {LOAD} --deployment own.toml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"assay: own.toml: {field}: ")
    assert ended.err.count("\n") == 1


def test_speculation_reaches_every_command(assay: Callable[..., Any]) -> None:
    """A step verifies drafts, a run takes fewer steps, and every candidate drafts."""
    plain, drafts = (answer(assay(f"{RUN} {flag} --json")) for flag in ("", "--speculate 3:0.7"))
    assert drafts["deployment"]["parts"][0]["speculate"] == "3:0.7"
    assert drafts["tpot"]["mean"] < plain["tpot"]["mean"] < drafts["itl"]["mean"] * 1.01
    step = answer(assay("predict llama-3.1-8b --chip h100-sxm --tp 1 --decode 4 --context 100 --speculate 3:0.7 --json"))
    assert any("acceptance 0.7" in text for text in step["assumptions"])
    compared = answer(
        assay(f"compare llama-3.1-8b --chips h100-sxm --tp 1 --weights fp8 --engine vllm {LOAD} --speculate 2:0.5:llama-3.1-8b --json")
    )
    assert {run["deployment"]["parts"][0]["speculate"] for run in compared["candidates"]} == {"2:0.5:llama-3.1-8b"}


def test_the_seed_draws_speculation(assay: Callable[..., Any]) -> None:
    """The same requests at the same times, other steps."""
    command = "simulate llama-3.1-8b --chip h100-sxm --tp 1 --isl 100 --osl 100 --requests 20 --speculate 3:0.5 --json"
    first, again, other = (answer(assay(f"{command} --seed {seed}"))["e2e"] for seed in (1, 1, 2))
    assert first == again != other


def test_a_ramp_is_told_by_the_scenario(assay: Callable[..., Any], place: Path) -> None:
    """Beside a scenario a ramp would be ignored: it is refused."""
    (place / "s.toml").write_text('[[traffic]]\nmodel = "llama-3.1-8b"\nworkload = "azure-conv-2023"\n', encoding="utf-8")
    ended = assay("compare --scenario s.toml --ramp 3")
    assert ended.code == 2
    assert ended.err.startswith("assay: --scenario: given together with --ramp")


def test_output_of_nothing_has_no_energy(assay: Callable[..., Any]) -> None:
    """No output tokens: null, and the rest is told."""
    run = answer(assay("simulate llama-3.1-8b --chip h100-sxm --tp 1 --isl 300 --osl 0 --requests 60 --rate 2 --json"))
    assert run["joules_per_token"] is None
    assert run["ttft"]["p99"] > 0
    compared = answer(assay("compare llama-3.1-8b --chips h100-sxm --tp 1 --engine vllm --isl 300 --osl 0 --requests 60 --rate 2 --json"))
    assert compared["best"]["energy"] is None
