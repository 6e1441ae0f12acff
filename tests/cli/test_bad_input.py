"""Bad input ends with exit code 2 and one message that says where, what and how to mend it; the same command unbroken ends with 0."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assay._base.schema import DATA

PREDICT = "predict llama-3.1-8b --decode 2 --context 100"
ON_H100 = f"{PREDICT} --chip h100-sxm"
ON_MI300X = f"{PREDICT} --chip mi300x"
SIMULATE = "simulate llama-3.1-8b --chip h100-sxm"
DRAWN = f"{SIMULATE} --isl 50 --osl 5 --requests 10"
LLAMA = tomllib.loads((DATA / "models" / "llama-3.1-8b.toml").read_text(encoding="utf-8"))["config"]
ROWS = "arrival,input,output\n0,10,5\n1,20,5\n"
PART = '[[part]]\nchip = "h100-sxm"\ntp = 2\n'
SCENARIO = """
chips = ["h100-sxm"]
[[traffic]]
model = "llama-3.1-8b"
workload = "azure-conv-2023"
rate = 1.0
requests = 20
"""


def config(**changes: Any) -> str:
    """A config.json with some fields changed; None takes a field out."""
    return json.dumps({key: value for key, value in {**LLAMA, **changes}.items() if value is not None})


def chip(old: str, new: str) -> str:
    """A chip file with one piece of text changed."""
    text = (DATA / "chips" / "h100-sxm.toml").read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, 1)


def without(line_start: str) -> str:
    """The chip file without the line that starts so."""
    lines = (DATA / "chips" / "h100-sxm.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(line_start))


@dataclass(frozen=True)
class Bad:
    """A wrong command, what its message must name, and its right twin; `files` are written first, for the twin `mended`."""

    wrong: str
    says: tuple[str, ...]
    right: str = ""
    files: dict[str, str] = field(default_factory=dict)
    mended: dict[str, str] = field(default_factory=dict)


def filed(command: str, name: str, wrong: str, right: str, *says: str) -> Bad:
    """One file is wrong; with the right text in its place the same command works."""
    return Bad(command, (name, *says), command, {name: wrong}, {name: right})


OWN_MODEL = "predict config.json --chip h100-sxm --decode 2 --context 100"
OWN_CHIP = f"{PREDICT} --chip own.toml"
OWN_TRACE = f"{SIMULATE} --workload own.csv"
OWN_PARTS = f"{PREDICT} --deployment own.toml"
OWN_SCENARIO = "compare --scenario s.toml --tp 1 --engine vllm --weights fp8"
COMPARE = "compare llama-3.1-8b --chips h100-sxm --tp 1 --engine vllm --weights fp8 --isl 50 --osl 5 --rate 1 --requests 200"

CASES = {
    "broken JSON": filed(OWN_MODEL, "config.json", '{"model_type": ', config(), "not valid JSON", "Mend"),
    "JSON that is no object": filed(OWN_MODEL, "config.json", "[1, 2]", config(), "JSON object"),
    "missing config field": filed(OWN_MODEL, "config.json", config(hidden_size=None), config(), "hidden_size", "missing", "Add it"),
    "mistyped config field": filed(OWN_MODEL, "config.json", config(hidden_size="4k"), config(), "hidden_size", "'4k'", "integer"),
    "negative config field": filed(OWN_MODEL, "config.json", config(vocab_size=-1), config(), "vocab_size", "-1", "at least 1"),
    "unknown model type": filed(OWN_MODEL, "config.json", config(model_type="lama"), config(), "model_type", "'lama'", "llama"),
    "heads that do not divide": filed(OWN_MODEL, "config.json", config(num_key_value_heads=3), config(), "num_key_value_heads", "divisor"),
    "unknown model": Bad("predict llama-3.1-8 --chip h100-sxm --prefill 5", ("llama-3.1-8", "models", "Did you mean llama-3.1-8b")),
    "missing config.json": Bad("predict there/config.json --chip h100-sxm --prefill 5", ("there/config.json", "No such file", "Give")),
    "no model": Bad("predict --chip h100-sxm --prefill 5", ("MODEL",)),
    "no model to compare": Bad("compare --chips h100-sxm --isl 50 --osl 5", ("MODEL", "missing", "--scenario")),
    "unknown chip": Bad(f"{PREDICT} --chip h100-sxn", ("h100-sxn", "chips", "Did you mean h100-sxm"), ON_H100),
    "no chip": Bad(PREDICT, ("--chip", "missing", "assay chips"), ON_H100),
    "chip without numbers, one step": Bad(
        f"{PREDICT} --chip openai-titan", ("openai-titan.toml", "unpublished", "no numbers", "Copy the file"), ON_H100
    ),
    "chip without numbers, simulated": Bad(
        "simulate llama-3.1-8b --chip openai-titan --tp 2 --isl 5 --osl 5 --requests 2",
        ("openai-titan.toml", "unpublished", "no numbers", "Copy the file"),
        "simulate llama-3.1-8b --chip h100-sxm --tp 2 --isl 5 --osl 5 --requests 2",
    ),
    "missing chip file": Bad(f"{PREDICT} --chip there.toml", ("there.toml", "No such file", "Give"), f"{PREDICT} --chip chip.toml"),
    "broken TOML": filed(OWN_CHIP, "own.toml", "vendor = ", without("?"), "not valid TOML", "Mend"),
    "typo in a chip": filed(OWN_CHIP, "own.toml", chip("vendor", "vendr"), without("?"), "vendr", "Did you mean vendor"),
    "negative rate in a chip": filed(OWN_CHIP, "own.toml", chip("9.89e14", "-1"), without("?"), "peak.bf16", "-1", "at least 1e+09 FLOP/s"),
    "no number in a chip": filed(OWN_CHIP, "own.toml", chip("3.35e12", "nan"), without("?"), "memory[0].bandwidth", "nan", "finite"),
    "text for a number in a chip": filed(OWN_CHIP, "own.toml", chip("9.89e14", '"fast"'), without("?"), "peak.bf16", "'fast'", "FLOP/s"),
    "missing field of a chip": filed(OWN_CHIP, "own.toml", without("execution"), without("?"), "execution", "missing", "Add it"),
    "missing field of a link": filed(OWN_CHIP, "own.toml", without("topology"), without("?"), "link[0].topology", "missing", "Add it"),
    "unknown topology": filed(OWN_CHIP, "own.toml", chip('"switched"', '"star"'), without("?"), "link[0].topology", "star", "switched"),
    "negative length": filed(OWN_TRACE, "own.csv", ROWS.replace("20,5", "20,-5"), ROWS, "output", "-5 in row 2", "0 tokens or more"),
    "length that is no number": filed(OWN_TRACE, "own.csv", ROWS.replace("20", "nan"), ROWS, "input", "nan", "row 2", "whole tokens"),
    "length that is not whole": filed(OWN_TRACE, "own.csv", ROWS.replace("20", "2.5"), ROWS, "input", "2.5", "row 2", "whole"),
    "negative arrival": filed(OWN_TRACE, "own.csv", ROWS.replace("1,", "-1,", 1), ROWS, "arrival", "-1", "row 2", "from 0"),
    "empty trace": filed(OWN_TRACE, "own.csv", "", ROWS, "empty", "at least one request"),
    "trace without rows": filed(OWN_TRACE, "own.csv", "arrival,input,output\n", ROWS, "no requests", "at least one row"),
    "trace of unknown columns": filed(OWN_TRACE, "own.csv", "a,b\n1,2\n", ROWS, "a, b", "Name them"),
    "missing trace": Bad(f"{SIMULATE} --workload there.csv", ("there.csv", "No such file", "Give")),
    "unknown workload": Bad(f"{SIMULATE} --workload azure", ("azure", "workloads", "azure-conv-2023")),
    "no workload": Bad(SIMULATE, ("--workload", "missing", "--isl"), DRAWN),
    "TP that does not divide": Bad(f"{ON_H100} --tp 3", ("--tp", "3", "32", "divisor"), f"{ON_H100} --tp 4"),
    "TP of nothing": Bad(f"{ON_H100} --tp 0", ("--tp", "0", "at least 1"), f"{ON_H100} --tp 1"),
    "block of nothing": Bad(f"{ON_H100} --block-size 0", ("--block-size", "0", "at least 1"), f"{ON_H100} --block-size 16"),
    "negative budget": Bad(f"{ON_H100} --token-budget -4", ("--token-budget", "-4", "at least 1"), f"{ON_H100} --token-budget 64"),
    "more memory than there is": Bad(
        f"{ON_H100} --kv-memory-fraction 1.5", ("--kv-memory-fraction", "1.5", "at most 1"), f"{ON_H100} --kv-memory-fraction 0.5"
    ),
    "model that does not fit, one step": Bad(
        "predict llama-3.1-70b --chip h100-sxm --tp 1 --prefill 5",
        ("--tp 1", "h100-sxm", "GB short", "Use more chips"),
        "predict llama-3.1-70b --chip h100-sxm --tp 4 --prefill 5",
    ),
    "model that does not fit, simulated": Bad(
        "simulate llama-3.1-70b --chip h100-sxm --tp 1 --isl 5 --osl 5 --requests 2",
        ("--tp 1", "h100-sxm", "GB short", "Use more chips"),
        "simulate llama-3.1-70b --chip h100-sxm --tp 4 --isl 5 --osl 5 --requests 2",
    ),
    "rate and concurrency": Bad(f"{DRAWN} --rate 1 --concurrency 2", ("rate", "concurrency", "or"), f"{DRAWN} --concurrency 2"),
    "input without output": Bad(f"{SIMULATE} --isl 50 --requests 9", ("--isl", "--osl"), f"{SIMULATE} --isl 50 --osl 5 --requests 9"),
    "output without input": Bad(f"{SIMULATE} --osl 5 --requests 9", ("--isl", "--osl"), f"{SIMULATE} --isl 50 --osl 5 --requests 9"),
    "negative rate": Bad(f"{DRAWN} --rate -1", ("rate", "-1", "above 0"), f"{DRAWN} --rate 1"),
    "rate that is no number": Bad(f"{DRAWN} --rate nan", ("rate", "nan", "above 0"), f"{DRAWN} --rate 1"),
    "no requests": Bad(f"{SIMULATE} --isl 50 --osl 5 --requests 0", ("requests", "0", "1 or more"), DRAWN),
    "more requests than rows": filed(f"{OWN_TRACE} --requests 2", "own.csv", ROWS[:-7], ROWS, "requests", "at most 1"),
    "no users": Bad(f"{DRAWN} --concurrency 0", ("concurrency", "0", "1 or more"), f"{DRAWN} --concurrency 1"),
    "negative seed": Bad(f"{DRAWN} --seed -1", ("seed", "-1", "0 or more"), f"{DRAWN} --seed 1"),
    "percentile 100": Bad(f"{DRAWN} --ttft 1 --percentile 100", ("--percentile", "100", "99"), f"{DRAWN} --ttft 1 --percentile 99.9"),
    "target of nothing": Bad(f"{DRAWN} --ttft 0", ("--ttft", "more than 0", "seconds"), f"{DRAWN} --ttft 0.1"),
    "unknown tier": Bad(f"{DRAWN} --tier gold", ("--tier", "'gold'", "neocloud"), f"{DRAWN} --tier neocloud"),
    "missing offers": Bad(f"{DRAWN} --offers there.toml", ("there.toml", "No such file", "Give")),
    "spread without a colon": Bad(f"{DRAWN} --spread 2", ("--spread", "'2'", "LOW:HIGH"), f"{DRAWN} --spread 0.5:1"),
    "spread upside down": Bad(f"{DRAWN} --spread 2:1", ("spread", "2:1", "LOW <= HIGH"), f"{DRAWN} --spread 1:2"),
    "workload with lengths": Bad(f"{SIMULATE} --workload azure-conv-2023 --requests 5 --isl 5", ("--workload", "--isl")),
    "workload with a spread": Bad(f"{SIMULATE} --workload azure-conv-2023 --requests 5 --spread 1:2", ("--workload", "--spread")),
    "prefix longer than prompts": Bad(f"{DRAWN} --shared-prefix 99", ("shared_prefix", "99", "0 to 50"), f"{DRAWN} --shared-prefix 16"),
    "deployment file and flags": Bad(
        f"{OWN_PARTS} --tp 2", ("--deployment", "--tp", "file"), OWN_PARTS, {"own.toml": PART}, {"own.toml": PART}
    ),
    "typo in a deployment": filed(OWN_PARTS, "own.toml", PART.replace("tp", "tpp"), PART, "part[0].tpp", "Did you mean tp"),
    "deployment without a chip": filed(OWN_PARTS, "own.toml", "[[part]]\ntp = 2", PART, "part[0].chip", "missing", "--chip"),
    "two parts": filed(OWN_PARTS, "own.toml", PART * 2, PART, "part", "2 parts", "one [[part]]"),
    "typo in a scenario": filed(
        OWN_SCENARIO, "s.toml", SCENARIO.replace("rate", "rat"), SCENARIO, "traffic[0].rat", "mean rate"
    ),
    "unknown model in a scenario": filed(
        OWN_SCENARIO, "s.toml", SCENARIO.replace("llama-3.1-8b", "llama"), SCENARIO, "traffic[0].model", "'llama'", "Did you mean"
    ),
    "scenario without traffic": Bad("compare --scenario s.toml", ("s.toml", "traffic", "Add"), files={"s.toml": "traffic = []"}),
    "scenario and model": Bad("compare llama-3.1-8b --scenario s.toml", ("--scenario", "MODEL"), files={"s.toml": SCENARIO}),
    "scenario and rate": Bad("compare --scenario s.toml --rate 2", ("--scenario", "--rate"), files={"s.toml": SCENARIO}),
    "unknown chip in a scenario": filed(
        OWN_SCENARIO, "s.toml", SCENARIO.replace("h100-sxm", "h100-sxn"), SCENARIO, "chips", "'h100-sxn'", "Did you mean"
    ),
    "missing scenario": Bad("compare --scenario there.toml", ("there.toml", "No such file", "Give")),
    "unknown engine": Bad(f"{ON_H100} --engine vlmm", ("vlmm", "engines", "Did you mean vllm"), f"{ON_H100} --engine vllm"),
    "engine that does not run there": Bad(
        f"{ON_MI300X} --engine tensorrt-llm", ("--engine", "tensorrt-llm", "mi300x", "hopper"), f"{ON_MI300X} --engine vllm"
    ),
    "unknown precision": Bad(f"{ON_H100} --weights fp9", ("--weights", "'fp9'", "fp8"), f"{ON_H100} --weights fp8"),
    "unknown KV precision": Bad(f"{ON_H100} --kv fp9", ("--kv", "'fp9'", "fp8"), f"{ON_H100} --kv fp8"),
    "report in place of a folder": Bad(f"{COMPARE} --out .", ("--out", "not a file", "Give"), f"{COMPARE} --out new/report.html"),
    "no chips": Bad("compare llama-3.1-8b --chips , --isl 5 --osl 5", ("--chips", "no chip", "names"), COMPARE),
    "step that does nothing": Bad("predict llama-3.1-8b --chip h100-sxm", ("--prefill", "--decode"), ON_H100),
    "decode without context": Bad("predict llama-3.1-8b --chip h100-sxm --decode 2", ("--context",), ON_H100),
    "negative prefill": Bad("predict llama-3.1-8b --chip h100-sxm --prefill -1", ("--prefill", "-1")),
    "unknown command": Bad("comparison", ("comparison",)),
    "unknown flag": Bad(f"{ON_H100} --tensor-parallel 2", ("--tensor-parallel",), f"{ON_H100} --tp 2"),
    "unknown entry of each catalogue": Bad("engines vlm", ("vlm", "engines", "vllm"), "engines vllm"),
}  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def messages(err: str) -> list[str]:
    """The lines that say what is wrong; a usage line and a hint may stand before them."""
    lines = [line for line in err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert all(line.startswith(("assay: ", "Error: ")) for line in lines), err
    return lines


@each_case
def test_bad_input_ends_with_one_message(case: Bad, assay: Callable[..., Any], place: Path) -> None:
    """Exit code 2, nothing on stdout, one message with where, what and remedy."""
    for name, text in case.files.items():
        (place / name).write_text(text, encoding="utf-8")
    ended = assay(case.wrong)
    assert ended.code == 2
    assert ended.out == ""
    (message,) = messages(ended.err)
    for word in case.says:
        assert word in message


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.right], ids=[name for name, case in CASES.items() if case.right])
def test_the_same_command_unbroken_works(case: Bad, assay: Callable[..., Any], place: Path) -> None:
    """What was refused was refused for its fault alone."""
    for name, text in case.mended.items():
        (place / name).write_text(text, encoding="utf-8")
    ended = assay(case.right)
    assert ended.code == 0
    assert ended.out


def test_no_report_is_half_written(assay: Callable[..., Any], place: Path) -> None:
    """A comparison that is refused leaves no file behind."""
    assert assay(f"{COMPARE} --tier gold --out report.html").code == 2
    assert not (place / "report.html").exists()
