"""Bad input ends with exit code 2 and one message that says where, what and how to mend it; the same command unbroken ends with 0."""

import json
import re
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
PREFIXED = "arrival,input,output,prefix,prefix_block\n0,20,5,1 2,16\n1,20,5,1,16\n"
TURNS = "arrival,input,output,session,think\n0,10,5,7,0\n1,20,5,7,2.5\n"
POINTS = (
    "chip,model,engine,tp,load,concurrency,isl,osl,metric,statistic,value\nh100-sxm,llama-3.1-8b,vllm,1,closed,2,200,20,tpot,p50,0.02\n"
)
OFFER = '[[offer]]\nchip = "h100-sxm"\nbasis = "rent"\ntier = "quote"\ndollars = 2.1\nsource = "a quote"\ndate = "2026-11"\n'
EXAMPLES = Path(__file__).parents[2] / "examples"
ENGINE = (EXAMPLES / "05_engine.toml").read_text(encoding="utf-8")
ENTRY = (EXAMPLES / "07_model.toml").read_text(encoding="utf-8")
DESCRIPTION = (EXAMPLES / "02_workload.toml").read_text(encoding="utf-8")
WINDOWED = tomllib.loads((DATA / "models" / "gpt-oss-20b.toml").read_text(encoding="utf-8"))["config"]


def config(**changes: Any) -> str:
    """A config.json with some fields changed; None takes a field out."""
    return json.dumps({key: value for key, value in {**LLAMA, **changes}.items() if value is not None})


def listed(types: list[str]) -> str:
    """A config.json that tells layer by layer how far back it looks."""
    return json.dumps({**WINDOWED, "layer_types": types})


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


def broken(command: str, name: str, wrong: str, *says: str) -> Bad:
    """One file is wrong, and others show that the command works."""
    return Bad(command, says, files={name: wrong})


OWN_MODEL = "predict config.json --chip h100-sxm --decode 2 --context 100"
OWN_CHIP = f"{PREDICT} --chip own.toml"
OWN_TRACE = f"{SIMULATE} --workload own.csv"
OWN_ENTRY = "models own.toml"
OWN_ENGINE = f"{PREDICT} --chip h100-sxm --engine own.toml"
OWN_DESCRIPTION = "workloads own.toml"
OWN_OFFERS = f"{DRAWN} --offers own.toml"
SERVED_PARTS = f"{DRAWN.replace(' --chip h100-sxm', '')} --deployment own.toml"
VALIDATE = "validate --data own.csv"
CALIBRATE = "calibrate own.csv --chip h100-sxm"
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
    # config.json
    "no config field at all": filed(OWN_MODEL, "config.json", "{}", config(), "model_type", "missing", "Add it"),
    "brackets without end": filed(OWN_MODEL, "config.json", "[" * 100_000, config(), "not valid JSON", "Mend"),
    "number of many digits": filed(OWN_MODEL, "config.json", config(vocab_size=10**400), config(), "vocab_size", "above", "Give at most"),
    "layers beyond counting": filed(
        OWN_MODEL, "config.json", config(num_hidden_layers=10**9), config(), "num_hidden_layers", "above 10000", "Give at most",
    ),
    "layers that are nothing": filed(
        OWN_MODEL, "config.json", config(num_hidden_layers=0), config(), "num_hidden_layers", "below 1", "Give at least 1",
    ),
    "boolean for a number": filed(OWN_MODEL, "config.json", config(hidden_size=True), config(), "hidden_size", "True", "Give an integer"),
    "number for a boolean": filed(
        OWN_MODEL, "config.json", config(tie_word_embeddings="no"), config(), "tie_word_embeddings", "'no'", "Give true or false",
    ),
    "unknown structural field": filed(
        OWN_MODEL, "config.json", config(num_memory_heads=4), config(), "num_memory_heads", "changes the computation", "Take it out",
    ),
    "unknown quantisation": filed(
        OWN_MODEL, "config.json", config(quantization_config={"quant_method": "magic"}), config(), "quantization_config", "magic",
        "Known",
    ),
    "quantisation that is no table": filed(
        OWN_MODEL, "config.json", config(quantization_config="fp8"), config(), "quantization_config", "table", "Give",
    ),
    "unknown precision of a checkpoint": filed(
        OWN_MODEL, "config.json", config(torch_dtype="float12"), config(), "torch_dtype", "float12", "Use one of",
    ),
    "layer list of another length": filed(
        OWN_MODEL, "config.json", listed(["full_attention"] * 3), listed(["full_attention"] * 24), "layer_types", "3 items for 24 layers",
        "one for each layer",
    ),
    "layer list of unknown words": filed(
        OWN_MODEL, "config.json", listed(["attn"] * 24), listed(["full_attention"] * 24), "layer_types", "'attn'", "Use",
    ),
    # catalogue entries and engines
    "model entry without a count": filed(
        OWN_ENTRY, "own.toml", ENTRY.replace("\nparameters", "\n# parameters"), ENTRY, "parameters", "missing", "Add it",
    ),
    "engine without defaults": filed(OWN_ENGINE, "own.toml", ENGINE.split("[defaults]")[0], ENGINE, "defaults", "missing", "Add"),
    "engine with an unknown default": filed(
        OWN_ENGINE, "own.toml", ENGINE.replace("block_size", "block_sise"), ENGINE, "defaults.block_sise", "unknown",
        "Did you mean block_size",
    ),
    "engine with a share above all": filed(
        OWN_ENGINE, "own.toml", ENGINE.replace("0.92", "92"), ENGINE, "defaults.kv_memory_fraction", "92", "Give at most 1",
    ),
    "engine that serves unknown weights": filed(
        OWN_ENGINE, "own.toml", ENGINE.replace('"fp8"]', '"fp7"]'), ENGINE, "weights", "'fp7'", "Use one of",
    ),
    "engine whose host time is no number": filed(
        OWN_ENGINE, "own.toml", ENGINE.replace("2e-4", '"short"'), ENGINE, "host.step", "'short'", "Give s",
    ),
    # chips
    "rate given in TFLOP/s": filed(OWN_CHIP, "own.toml", chip("9.89e14", "989"), without("?"), "peak.bf16", "989", "at least 1e+09 FLOP/s"),
    "memory given in GB": filed(
        OWN_CHIP, "own.toml", chip("value = 85520809984, low = 8e10", "value = 80"), without("?"), "memory[0].bytes", "80",
        "at least 1e+06 B",
    ),
    "latency given in ns": filed(
        OWN_CHIP, "own.toml", chip("latency = {", "latency = 800 # {"), without("?"), "link[0].latency", "800", "Give at most 1 s",
    ),
    "value outside its bounds": filed(
        OWN_CHIP, "own.toml", chip("{ value = 3.35e12", "{ high = 1e12, value = 3.35e12"), without("?"), "memory[0].bandwidth",
        "not within", "low <= value <= high",
    ),
    "evidence that is no evidence": filed(
        OWN_CHIP, "own.toml", chip("{ value = 3.35e12", "{ sauce = \"x\", value = 3.35e12"), without("?"), "memory[0].bandwidth", "sauce",
        "Use value",
    ),
    "chip that is in no catalogue of a comparison": Bad(
        COMPARE.replace("h100-sxm", "h100-sxm,h100-sxn"), ("h100-sxn", "chips", "Did you mean"),
    ),
    # deployments
    "unknown role": filed(OWN_PARTS, "own.toml", f'{PART}role = "draft"\n', PART, "part[0].role", "'draft'", "Use one of"),
    "prefill without decode": filed(
        OWN_PARTS, "own.toml", f'{PART}role = "prefill"\n', PART, "part[0].role", "no part is decode", "Add a [[part]]",
    ),
    "all beside prefill": filed(
        SERVED_PARTS, "own.toml", f'{PART}{PART}role = "prefill"\n', PART, "part[0].role", "all beside", "Give all parts",
    ),
    "no part at all": filed(OWN_PARTS, "own.toml", "part = []", PART, "part", "empty", "Give at least one"),
    "link where no cache goes": filed(
        OWN_PARTS, "own.toml", f"link_bandwidth = 5e10\n{PART}", PART, "link_bandwidth", "no cache", "Leave it out",
    ),
    "load bound without affinity": filed(
        OWN_PARTS, "own.toml", f"load_bound = 2\n{PART}", PART, "load_bound", "without routing", "Leave it out",
    ),
    "outage of nobody": filed(
        SERVED_PARTS, "own.toml", f"{PART}[[outage]]\ntime = 1\nreplica = 4\nup = false\n", PART, "outage[0].replica", "4 of 1",
        "Count from 0",
    ),
    "host memory without its bandwidth": filed(
        OWN_PARTS, "own.toml", f"{PART}host_memory = 1e11\n", PART, "part[0].host_bandwidth", "missing", "Give it beside",
    ),
    "precision of a part": filed(OWN_PARTS, "own.toml", f'{PART}kv = "fp9"\n', PART, "part[0].kv", "'fp9'", "Use one of"),
    "parts that speculate apart": filed(
        SERVED_PARTS, "own.toml", f'{PART}engine = "vllm"\nspeculate = "2:0.5"\n{PART}', PART, "part[1].speculate", "missing",
        "Give all parts",
    ),
    "DP that does not divide": Bad(f"{ON_H100} --tp 4 --dp 3", ("--dp", "3", "divisor of 4"), f"{ON_H100} --tp 4 --dp 2"),
    "EP that does not divide": Bad(f"{ON_H100} --tp 4 --ep 3", ("--ep", "3", "divisor of 4"), f"{ON_H100} --tp 4 --ep 2"),
    "more stages than layers": Bad(f"{ON_H100} --pp 99", ("--pp", "99 stages for 32 layers", "at most one"), f"{ON_H100} --pp 2"),
    "more replicas than memory holds": Bad(
        f"{DRAWN} --replicas 1000000000", ("--replicas", "1000000000", "Give at most"), f"{DRAWN} --replicas 2",
    ),
    "tables that no memory holds": Bad(
        f"{DRAWN} --tp 1 --replicas 90000 --max-num-seqs 8192", ("replicas", "entries", "Give smaller"),
        f"{DRAWN} --tp 1 --replicas 9 --max-num-seqs 8192",
    ),
    "budget that no memory holds": Bad(
        f"{ON_H100} --token-budget 1000000000000", ("--token-budget", "above 1048576", "Give at most"), f"{ON_H100} --token-budget 4096",
    ),
    "prompt that no step holds": Bad(
        "predict llama-3.1-8b --chip h100-sxm --prefill 1000000000000", ("--prefill", "1000000000000", "Give 0 to"),
        "predict llama-3.1-8b --chip h100-sxm --prefill 1000",
    ),
    "speculation without a chance": Bad(
        f"{ON_H100} --speculate 3", ("--speculate", "'3'", "TOKENS:ACCEPTANCE"), f"{ON_H100} --speculate 3:0.7",
    ),
    "speculation too sure": Bad(f"{ON_H100} --speculate 3:1.7", ("--speculate", "'3:1.7'", "from 0 to 1"), f"{ON_H100} --speculate 3:0.7"),
    "speculation by nobody": Bad(
        f"{ON_H100} --speculate 3:0.7:lama-3.1-8b", ("lama-3.1-8b", "models", "Did you mean"),
        f"{ON_H100} --speculate 3:0.7:llama-3.2-1b",
    ),
    "ratio of nothing": Bad(f"{DRAWN} --disaggregate 1:0", ("--disaggregate", "'1:0'", "PREFILL:DECODE"), f"{DRAWN} --disaggregate 1:1"),
    # traces and descriptions
    "prefix longer than its prompt": filed(
        OWN_TRACE, "own.csv", PREFIXED.replace("1 2", "1 2 3 4"), PREFIXED, "prefix", "4 ids for 20 tokens", "at most one id per",
    ),
    "prefix without its block": filed(
        OWN_TRACE, "own.csv", PREFIXED.replace(",prefix_block", "").replace(",16", ""), PREFIXED, "prefix_block", "missing",
        "Add the tokens",
    ),
    "think time without a session": filed(
        OWN_TRACE, "own.csv", TURNS.replace("session", "sitting"), TURNS, "session", "missing", "Add the session",
    ),
    "session without a number": filed(OWN_TRACE, "own.csv", TURNS.replace(",7,", ",,"), TURNS, "session", "row 1", "Give a whole number"),
    "negative think time": filed(OWN_TRACE, "own.csv", TURNS.replace("2.5", "-2.5"), TURNS, "think", "-2.5 in row 2", "Give seconds"),
    "arrival that is no number": filed(OWN_TRACE, "own.csv", ROWS.replace("1,20", "nan,20"), ROWS, "arrival", "row 2", "Give"),
    "arrival in the far future": filed(OWN_TRACE, "own.csv", ROWS.replace("1,20", "1e15,20"), ROWS, "arrival", "row 2", "Give at most"),
    "length beyond counting": filed(OWN_TRACE, "own.csv", ROWS.replace("20", "9" * 13), ROWS, "input", "row 2", "Give at most"),
    "missing column": filed(OWN_TRACE, "own.csv", "arrival,input\n0,10\n", ROWS, "arrival, input", "Name them"),
    "trace of an unknown kind": Bad(f"{SIMULATE} --workload there.xlsx", ("there.xlsx", "workloads", "Known")),
    "broken JSON lines": filed(
        f"{SIMULATE} --workload own.jsonl", "own.jsonl", '{"arrival": 0,', '{"arrival": 0, "input": 9, "output": 2}\n', "JSON", "Mend",
    ),
    "broken Parquet": broken(f"{SIMULATE} --workload own.parquet", "own.parquet", "no table", "cannot be read", "Mend the file"),
    "more than 100 million requests": Bad(
        f"{SIMULATE} --isl 50 --osl 5 --requests 1000000000000", ("requests", "1000000000000", "Give 1 to"), DRAWN,
    ),
    "prefixes that no memory holds": Bad(
        f"{SIMULATE} --isl 1000000 --osl 5 --requests 10000 --shared-prefix 1000000", ("shared_prefix", "prefix blocks", "Give shorter"),
        DRAWN,
    ),
    "rate beyond all": Bad(f"{DRAWN} --rate 1e300", ("rate", "1e+300", "from 1e-09 to 1e+09"), f"{DRAWN} --rate 10"),
    "ramp of nobody": Bad(f"{DRAWN} --ramp 5", ("ramp", "without concurrency", "Give the users"), f"{DRAWN} --ramp 5 --concurrency 2"),
    "negative ramp": Bad(f"{DRAWN} --ramp -5 --concurrency 2", ("ramp", "-5", "Give seconds"), f"{DRAWN} --ramp 5 --concurrency 2"),
    "description of unknown arrivals": filed(
        OWN_DESCRIPTION, "own.toml", DESCRIPTION.replace("gamma", "gammma"), DESCRIPTION, "arrival.kind", "'gammma'", "Use one of",
    ),
    "description without a variation": filed(
        OWN_DESCRIPTION, "own.toml", DESCRIPTION.replace("cv =", "# cv ="), DESCRIPTION, "arrival.cv", "missing", "need it",
    ),
    "description whose bins fall": filed(
        OWN_DESCRIPTION, "own.toml", DESCRIPTION.replace("16, 64", "64, 16"), DESCRIPTION, "lengths.input_edges", "increasing",
        "Give the first token count",
    ),
    "description whose weights do not fit": filed(
        OWN_DESCRIPTION, "own.toml", DESCRIPTION.replace("[4, 2]", "[4]"), DESCRIPTION, "lengths.weights", "does not fit", "Give 3 lists",
    ),
    "description without lengths": filed(
        OWN_DESCRIPTION, "own.toml", DESCRIPTION.split("[lengths]")[0], DESCRIPTION, "lengths", "missing", "Add a table",
    ),
    # targets, offers, scenarios, tables of points, files to write
    "percentile of nothing": Bad(
        f"{DRAWN} --ttft 1 --percentile 0", ("--percentile", "0", "Give percent"), f"{DRAWN} --ttft 1 --percentile 50",
    ),
    "target that is no number": Bad(f"{DRAWN} --e2e nan", ("--e2e", "nan", "Give seconds"), f"{DRAWN} --e2e 9"),
    "offer on an unknown basis": filed(
        OWN_OFFERS, "own.toml", OFFER.replace("rent", "lease"), OFFER, "offer[0].basis", "'lease'", "Use one of",
    ),
    "offer of an unknown chip": filed(
        OWN_OFFERS, "own.toml", OFFER.replace("h100-sxm", "h100-sxn"), OFFER, "offer[0].chip", "'h100-sxn'", "Did you mean",
    ),
    "offer for nothing": filed(OWN_OFFERS, "own.toml", OFFER.replace("2.1", "0"), OFFER, "offer[0].dollars", "0", "Give at least"),
    "offers without an offer": filed(OWN_OFFERS, "own.toml", "", OFFER, "offer", "missing", "Add"),
    "unknown workload in a scenario": broken(
        OWN_SCENARIO, "s.toml", SCENARIO.replace("azure-conv-2023", "azure-conf-2023"), "traffic[0].workload", "azure-conf-2023",
        "Did you mean",
    ),
    "target of a scenario": broken(
        OWN_SCENARIO, "s.toml", f"{SCENARIO}slo = {{ ttft = 0 }}\n", "traffic[0].slo.ttft", "0", "Give more than 0",
    ),
    "rate of a scenario": broken(OWN_SCENARIO, "s.toml", SCENARIO.replace("1.0", "-1.0"), "traffic[0].rate", "-1.0", "Give at least"),
    "scenario without a model": broken(
        OWN_SCENARIO, "s.toml", SCENARIO.replace("model", "# model"), "traffic[0].model", "missing", "Add it",
    ),
    "points of nothing": filed(VALIDATE, "own.csv", "", POINTS, "cannot be read", "Mend the file"),
    "points without rows": broken(VALIDATE, "own.csv", "metric,value\n", "no rows", "at least one"),
    "points without a metric": broken(VALIDATE, "own.csv", POINTS.replace("metric", "measure"), "metric", "missing", "Add the column"),
    "points with a length that is none": broken(
        VALIDATE, "own.csv", POINTS.replace("200", "long"), "isl in row 1", "'long'", "Give a number",
    ),
    "points with half a chip": broken(VALIDATE, "own.csv", POINTS.replace(",1,", ",1.5,"), "tp in row 1", "1.5", "Give a whole number"),
    "points under an unknown load": broken(VALIDATE, "own.csv", POINTS.replace("closed", "shut"), "load in row 1", "'shut'", "Use one of"),
    "points with a negative value": broken(VALIDATE, "own.csv", POINTS.replace("0.02", "-1"), "value in row 1", "-1", "Give more than 0"),
    "points that are no table": Bad("validate --data there.xlsx", ("there.xlsx", "not a table", "Give one of")),
    "sample of nothing": broken(f"{VALIDATE} --sample 0", "own.csv", POINTS, "--sample", "0", "x>=1"),
    "folds of nothing": broken(f"{VALIDATE} --folds vendor", "own.csv", POINTS, "--folds", "'vendor'", "'configuration', 'chip'"),
    # points to calibrate a chip by
    "calibration of no chip": Bad(
        "calibrate own.csv", ("--chip", "missing", "Name the chip"), CALIBRATE, {"own.csv": POINTS}, {"own.csv": POINTS},
    ),
    "calibration of an unknown chip": broken(
        "calibrate own.csv --chip h100-sxn", "own.csv", POINTS, "h100-sxn", "chips", "Did you mean h100-sxm",
    ),
    "calibration of a chip without numbers": broken(
        "calibrate own.csv --chip openai-titan", "own.csv", POINTS, "unpublished", "no numbers", "Copy the file",
    ),
    "calibration of another chip": filed(
        "calibrate own.csv --chip mi300x", "own.csv", POINTS, POINTS.replace("h100-sxm", "mi300x"), "chip", "names h100-sxm",
        "Give the runs of that chip alone",
    ),
    "calibration by nothing": Bad("calibrate --chip h100-sxm", ("DATA",)),
    "calibration by a missing table": Bad("calibrate there.csv --chip h100-sxm", ("there.csv", "No such file", "Give")),
    "calibration by an empty table": filed(CALIBRATE, "own.csv", "", POINTS, "cannot be read", "Mend the file"),
    "calibration by a table without rows": filed(CALIBRATE, "own.csv", POINTS.splitlines()[0], POINTS, "no rows", "at least one"),
    "calibration by what cannot be predicted": filed(
        CALIBRATE, "own.csv", POINTS.replace("closed", "").replace(",2,", ",,"), POINTS, "no run", "predicted", "Give rows with chip",
    ),
    "calibration by what was not measured": filed(
        CALIBRATE, "own.csv", POINTS.replace("0.02", ""), POINTS, "no run", "held against a number", "a measured value",
    ),
    "calibration of no engine": filed(
        CALIBRATE, "own.csv", POINTS.replace("vllm", ""), POINTS, "engine", "not stated", "--engine",
    ),
    "calibration of an unknown engine": Bad(
        CALIBRATE, ("vlmm", "engines", "Did you mean vllm"), CALIBRATE, {"own.csv": POINTS.replace("vllm", "vlmm")}, {"own.csv": POINTS},
    ),
    "calibration under a wrong engine": broken(f"{CALIBRATE} --engine vlmm", "own.csv", POINTS, "vlmm", "engines", "Did you mean vllm"),
    "calibration under a wrong model": broken(f"{CALIBRATE} --model lama", "own.csv", POINTS, "lama", "models", "Did you mean"),
    "calibration under no parallelism": broken(f"{CALIBRATE} --tp 0", "own.csv", POINTS, "--tp", "0", "at least 1"),
    "calibration to a page": Bad(
        f"{CALIBRATE} --out own.html", ("--out", "own.html is no .toml file", "Give a path"), f"{CALIBRATE} --out new.toml",
        {"own.csv": POINTS}, {"own.csv": POINTS},
    ),
    "page of a trace of no known kind": broken("workloads own.csv --out page.pdf", "own.csv", ROWS, "--out", "page.pdf", "Give a path"),
    "page of what is no trace": Bad("workloads azure-conv-2023 --out page.html", ("--out", "no trace", "Give a .csv")),
    "page that cannot be written": Bad(f"{COMPARE} --out chip.toml/report.html", ("--out", "chip.toml/report.html", "Give")),
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
    assert message.startswith("Error: ") or re.fullmatch(r"assay: .+: .+\. .+[.?]", message)
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


@pytest.mark.parametrize("text", ["", POINTS.replace("0.02", ""), POINTS.replace("vllm", "vlmm"), POINTS.replace("h100-sxm", "mi300x")])
def test_no_chip_is_half_written(assay: Callable[..., Any], place: Path, text: str) -> None:
    """A calibration that is refused leaves no file behind, and the one that was there as it was."""
    (place / "own.csv").write_text(text, encoding="utf-8")
    before = (place / "chip.toml").read_text(encoding="utf-8")
    for name in ("new.toml", "chip.toml"):
        assert assay(f"{CALIBRATE} --out {name}").code == 2
    assert sorted(file.name for file in place.iterdir()) == ["chip.toml", "own.csv"]
    assert (place / "chip.toml").read_text(encoding="utf-8") == before


def test_targets_that_nothing_meets_are_no_error(assay: Callable[..., Any], place: Path) -> None:
    """A comparison tells the best there is, and why it is not enough."""
    ended = assay(f"{COMPARE} --ttft 0.000001 --json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["candidates"]
    assert not any(run["feasible"] for run in found["candidates"])
    assert all("TTFT" in run["why_not"] for run in found["candidates"])
    assert found["best"]
