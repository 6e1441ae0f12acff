"""Whatever stands in a file or behind a flag, a command ends with sound numbers or with one message: `--fuzz-cases 10000` for more cases.

Documents of the catalogue and the examples are changed at one or two places and read by the command line. It must exit with 0 and a
JSON in which every number can be, or with 2 and one line that says what is wrong: no traceback, no endless run, no memory eaten up.
"""

import json
import math
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay._base.schema import DATA
from assay.validate import journal

resource = pytest.importorskip("resource", reason="this system cannot bound the memory of a process")

EXAMPLES = Path(__file__).parents[2] / "examples"
GIBIBYTE = 2**30
PATIENCE = 10.0  # seconds of processor time that a command on a small document may take

NUMBERS = [0, 1, 3, -1, -2.5, 0.3, 1e-9, 1e9, 1e18, 10**400, math.nan, math.inf]
ODD: list[Any] = [*NUMBERS, True, "", "fp8", "x" * 40, [], [0], {}, {"value": 1}, None]
FACTORS = (-1, 0.5, 3, 1e-300, 1e-12, 1e-4, 1e3, 1e6, 1e12, 1e25, 1e300)
HOW = ("odd", "odd", "drop", "rename", "scale", "scale", "scale", "twice", "swap", "wrap")

Document = Any
Place = tuple[Any, ...]


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """The path of every value inside a document."""
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def at(document: Document, path: Place) -> Any:
    """The value at a path."""
    for key in path:
        document = document[key]
    return document


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def scaled(value: Any, factor: float) -> Any:
    """A number times a factor, whole where it was; other things as they are."""
    if not is_number(value):
        return value
    try:
        return int(value * factor) if isinstance(value, int) else value * factor
    except (OverflowError, ValueError):  # of infinity, and of what is none
        return math.inf


def swap(document: Document, one: Place, other: Place) -> None:
    """Let two values change places, unless one is within the other."""
    if one != other[: len(one)] and other != one[: len(other)]:
        at(document, one[:-1])[one[-1]], at(document, other[:-1])[other[-1]] = at(document, other), at(document, one)


def change(document: Document, path: Place, how: str, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
    """Change a document at a path, in place."""
    container, key = at(document, path[:-1]), path[-1]
    old = container[key]
    if how == "drop":
        del container[key]
    elif how == "rename" and isinstance(container, dict):
        container[f"{key}s"] = container.pop(key)
    elif how == "scale":
        container[key] = scaled(old, draw(st.sampled_from(FACTORS)))
    elif how == "twice" and isinstance(container, list):
        container.append(deepcopy(old))
    elif how == "swap":
        swap(document, path, draw(st.sampled_from(list(places(document)))))
    elif how == "wrap":
        container[key] = [old] if not isinstance(old, list) else {"value": old}
    else:
        container[key] = deepcopy(draw(st.sampled_from(ODD)))


@st.composite
def mutated(draw: st.DrawFn, documents: Sequence[Document]) -> Document:
    """One of the documents, changed at one place or two."""
    copy = json.loads(json.dumps(draw(st.sampled_from(documents))))
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        if found := list(places(copy)):
            numbers = [path for path in found if is_number(at(copy, path))]
            of_all = draw(st.sampled_from((True, False))) or not numbers
            change(copy, draw(st.sampled_from(found if of_all else numbers)), draw(st.sampled_from(HOW)), draw)
    return copy


def inline(value: Any) -> str:
    """A value as TOML writes it within a line; what TOML cannot write is an empty text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return '""' if value is None else json.dumps(value)


def toml(document: Mapping[str, Any]) -> str:
    """A document as TOML."""
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in document.items())


def lines(document: Any) -> str:
    """Rows as JSON lines."""
    return "".join(f"{json.dumps(row)}\n" for row in document)


def table(document: Any) -> str:
    """Rows as CSV, under the columns of all of them."""
    rows = [row if isinstance(row, dict) else {"input": row} for row in document]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return "\n".join([",".join(columns), *(",".join(cell(row.get(column)) for column in columns) for row in rows)])


def cell(value: Any) -> str:
    """A value as a cell of a CSV."""
    return "" if value is None else str(value).replace(",", " ").replace("\n", " ")


@dataclass(frozen=True)
class Subject:
    """What is attacked: documents, how they are written to `file`, and commands on it, of which the first is run most."""

    documents: Callable[[], Sequence[Document]]
    write: Callable[[Any], str]
    file: str
    commands: tuple[str, ...]
    share: float


def tomls(*paths: Path) -> list[Document]:
    """TOML files as documents."""
    return [json.loads(json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str)) for path in paths]


@cache
def chips() -> Sequence[Document]:
    """Every chip of the catalogue, and those of the examples."""
    return tomls(*sorted((DATA / "chips").glob("*.toml")), EXAMPLES / "06_chip.toml", EXAMPLES / "own_chip.toml")


@cache
def configs() -> Sequence[Document]:
    """The config.json of every model of the catalogue."""
    return [entry["config"] for entry in tomls(*sorted((DATA / "models").glob("*.toml")))]


@cache
def entries() -> Sequence[Document]:
    """Models as the catalogue describes them."""
    return tomls(DATA / "models" / "llama-3.1-8b.toml", EXAMPLES / "07_model.toml")


@cache
def engines() -> Sequence[Document]:
    """Every engine."""
    return tomls(*sorted((DATA / "engines").glob("*.toml")), EXAMPLES / "05_engine.toml")


PAIR = {
    "routing": "prefix affinity",
    "load_bound": 1.2,
    "link_bandwidth": 4e10,
    "link_latency": 1e-5,
    "part": [
        {"role": "prefill", "chip": "h100-sxm", "replicas": 2, "engine": "vllm", "host_memory": 1e11, "host_bandwidth": 5e10},
        {"role": "decode", "chip": "mi300x", "replicas": 2, "tp": 2, "engine": "vllm", "speculate": "2:0.6", "max_num_seqs": 64},
        {"role": "prefill", "chip": "h100-sxm", "tp": 2, "pp": 2, "engine": "vllm", "batching": "first", "block_size": 32},
    ],
    "outage": [{"time": 1.0, "replica": 1, "up": False}, {"time": 2.0, "replica": 1, "up": True}],
}
ALONE = {
    "part": [
        {
            "chip": "b200-sxm", "engine": "sglang", "replicas": 2, "tp": 4, "dp": 2, "ep": 2,
            "weights": "fp8", "activations": "fp8", "kv": "fp8",
            "max_num_seqs": 64, "token_budget": 1024, "block_size": 16, "kv_memory_fraction": 0.8, "prefix_cache": True,
            "look_interval": 2, "prefill_wait": 3, "batching": "mixed", "speculate": "3:0.7",
        },
    ],
}  # fmt: skip


@cache
def deployments() -> Sequence[Document]:
    """Deployments of one part and of several."""
    return [*tomls(EXAMPLES / "01_deployment.toml", EXAMPLES / "08_unlike_chips.toml"), PAIR, ALONE]


@cache
def descriptions() -> Sequence[Document]:
    """Descriptions of workloads: every kind of arrival, histograms, log-normal lengths, sessions."""
    spread = {"median": 300.0, "sigma": 0.7, "least": 1, "most": 4000}
    lengths = {"input": spread, "output": {**spread, "median": 50.0}, "correlation": 0.3}
    arrivals = (
        {"kind": "modulated", "rate": 3.0, "cv": 0.6, "segment": 20.0},
        {"kind": "profile", "rate": 3.0, "period": 600.0, "levels": [1, 3, 2]},
    )
    drawn = [{"title": "t", "source": "s", "requests": 120, "arrival": arrival, "lengths": lengths} for arrival in arrivals]
    return [*tomls(EXAMPLES / "02_workload.toml", EXAMPLES / "09_sessions.toml", *sorted((DATA / "workloads").glob("*.toml"))), *drawn]


@cache
def offered() -> Sequence[Document]:
    """Offers."""
    return tomls(EXAMPLES / "03_offers.toml")


SCENARIO = {
    "chips": ["h100-sxm", "mi300x"],
    "traffic": [
        {
            "model": "llama-3.1-8b", "workload": "azure-conv-2023", "class": "chat", "weight": 0.5, "rate": 1.0, "requests": 120, "seed": 1,
            "slo": {"ttft": 1.0, "tpot": 0.05, "e2e": 30.0, "percentile": 95},
        },
    ],
}  # fmt: skip

PLAIN = [
    {"arrival": 0.0, "input": 40, "output": 5, "prefix": "1 2", "prefix_block": 16, "session": 3, "think": 0.0, "priority": 0},
    {"arrival": 0.5, "input": 60, "output": 3, "prefix": "1 2 4", "prefix_block": 16, "session": -1, "think": 0.0, "priority": 1},
    {"arrival": 0.7, "input": 90, "output": 2, "prefix": "1 2 4 5", "prefix_block": 16, "session": 3, "think": 1.5, "priority": 0},
]
CLOCK = [
    {"TIMESTAMP": "2023-11-16 18:17:04.03", "ContextTokens": 80, "GeneratedTokens": 8},
    {"TIMESTAMP": "2023-11-16 18:17:05.50", "ContextTokens": 20, "GeneratedTokens": 3},
]
HASHED = [
    {"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [4, 9]},
    {"timestamp": 250, "input_length": 512, "output_length": 1, "hash_ids": [4]},
]
GATEWAY = [{"Timestamp": 5, "Request tokens": 20, "Response tokens": 7}, {"Timestamp": 9, "Request tokens": 30, "Response tokens": 9}]
TALK = [
    {"conversations": [{"from": "human", "value": "What is a chip worth?"}, {"from": "gpt", "value": "What it saves."}]},
    {"conversations": [{"from": "human", "value": "And this one?"}, {"from": "gpt", "value": "Ask its users."}]},
]
POINTS = [
    {
        "set": "own", "chip": "h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "tp": 1, "load": load, "concurrency": 4.0, "rate": 2.0,
        "isl": 200.0, "osl": 20.0, "requests": 20.0, "max_num_seqs": 16, "shared_prefix": 16, "spread_low": 0.5, "spread_high": 1.0,
        "metric": metric, "statistic": "p50", "per": "request", "value": 0.02, "quality": "A",
    }
    for load, metric in (("closed", "tpot"), ("poisson", "ttft"), ("closed", "output_throughput"))
]  # fmt: skip

SIMULATED = "simulate llama-3.1-8b --isl 100 --osl 9 --requests 12 --rate 3 --ttft 1 --json"
STEP = "--decode 4 --prefill 9 --context 100 --json"
FLAGS: dict[str, Any] = {
    "--isl": 60, "--osl": 8, "--requests": 120, "--rate": 2.5, "--spread": "0.5:1.5", "--shared-prefix": 16, "--seed": 3,
    "--replicas": 2, "--tp": 2, "--pp": 1, "--dp": 1, "--ep": 1, "--max-num-seqs": 32, "--token-budget": 512, "--block-size": 16,
    "--kv-memory-fraction": 0.9, "--speculate": "2:0.7", "--ttft": 0.5, "--tpot": 0.05, "--e2e": 5.0, "--percentile": 95.0,
    "--weights": "fp8", "--kv": "fp8", "--tier": "neocloud", "--engine": "vllm",
}  # fmt: skip
STEP_FLAGS = {"--prefill": 64, "--decode": 4, "--context": 300, "--tp": 2, "--max-num-seqs": 8, "--token-budget": 128, "--replicas": 2}
CLOSED = {"--isl": 60, "--osl": 8, "--requests": 120, "--concurrency": 3, "--ramp": 1.5, "--disaggregate": "1:2"}

SUBJECTS = {
    "chip": Subject(chips, toml, "odd.toml", ("chips odd.toml --json", f"predict llama-3.1-8b --chip odd.toml {STEP}"), 0.16),
    "chip served": Subject(chips, toml, "odd.toml", (f"{SIMULATED} --chip odd.toml",), 0.03),
    "config": Subject(configs, json.dumps, "odd.json", ("models odd.json --json", f"predict odd.json --chip b200-sxm --tp 8 {STEP}"), 0.25),
    "model": Subject(entries, toml, "odd.toml", ("models odd.toml --json",), 0.03),
    "engine": Subject(
        engines, toml, "odd.toml", ("engines odd.toml --json", f"predict llama-3.1-8b --chip h100-sxm --engine odd.toml {STEP}"), 0.08,
    ),
    "deployment": Subject(
        deployments, toml, "odd.toml", (f"predict llama-3.1-8b --deployment odd.toml {STEP}", f"{SIMULATED} --deployment odd.toml"), 0.12,
    ),
    "description": Subject(
        descriptions, toml, "odd.toml",
        ("workloads odd.toml --json", "simulate llama-3.1-8b --chip h100-sxm --workload odd.toml --requests 15 --json"), 0.1,
    ),
    "offers": Subject(offered, toml, "odd.toml", (f"{SIMULATED} --chip h100-sxm --offers odd.toml",), 0.03),
    "scenario": Subject(
        lambda: [SCENARIO], toml, "odd.toml", ("compare --scenario odd.toml --tp 1 --engine vllm --weights fp8 --json",), 0.02,
    ),
    "table": Subject(
        lambda: [PLAIN, CLOCK, GATEWAY], table, "odd.csv",
        ("simulate llama-3.1-8b --chip h100-sxm --workload odd.csv --json", "workloads odd.csv --json"), 0.06,
    ),
    "objects": Subject(
        lambda: [PLAIN, HASHED, TALK], lines, "odd.jsonl",
        ("simulate llama-3.1-8b --chip h100-sxm --workload odd.jsonl --json", "workloads odd.jsonl --json"), 0.06,
    ),
    "points": Subject(lambda: [POINTS], table, "odd.csv", ("validate --data odd.csv --json",), 0.03),
    "flags": Subject(lambda: [FLAGS, CLOSED], lambda flags: "", "none", ("simulate llama-3.1-8b --chip h100-sxm --json",), 0.06),
    "flags of a step": Subject(lambda: [STEP_FLAGS], lambda flags: "", "none", ("predict llama-3.1-8b --chip h100-sxm --json",), 0.03),
}  # fmt: skip


@pytest.fixture
def narrow() -> Iterator[None]:
    """A few gibibytes more than the process has now, and no more, where the system says how much that is."""
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(sizes.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * GIBIBYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers are threads of this process: starting others would take most of the time."""
    for module in ("questions", "validating"):
        monkeypatch.setattr(f"assay.cli.{module}.executor", lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr(journal, "folder", lambda: tmp_path / "cache")


# Keys whose numbers may be below 0: differences, coefficients, ids and what the user wrote.
SIGNED = {"distance", "seed", "correlation", "bias", "description", "picture"}


def sound(value: Any, path: Place = ()) -> None:
    """Numbers are not negative; shares of a whole sum to 1; a band has its low end first."""
    if is_number(value):
        assert value >= 0, path
    elif isinstance(value, Mapping):
        shares, bands = value.get("bottleneck") or {}, value.get("error_band") or {}
        assert sum(shares.values()) == pytest.approx(1) or not any(shares.values()), path
        assert all(0 < low <= high for low, high in bands.values()), path
        for key in value.keys() - SIGNED:
            sound(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            sound(item, (*path, index))


def told(found: Mapping[str, Any]) -> None:
    """What a command exists to tell is there: JSON writes null for a number that overflowed."""
    for key in ("seconds", "latency", "joules"):
        assert found.get(key, 1) is not None, key
    if found.get("completed"):
        for key in ("duration", "output_tokens_per_second", "total_tokens_per_second", "requests_per_second", "goodput", "kv_peak"):
            assert found[key] is not None, key
    for key in ("parameters", "active_parameters", "weight_bytes", "kv_bytes_per_token"):
        assert found.get(key, 1) is not None, key


def ends_well(assay: Callable[..., Any], words: Sequence[str]) -> None:
    """Exit code 0 with sound JSON, or 2 with one message, soon."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of absurd numbers
        ended = assay(*words)
    assert time.process_time() - start < PATIENCE
    if ended.code == 0:
        found = json.loads(ended.out, parse_constant=pytest.fail)
        sound(found)
        told(found)
        return
    assert ended.code == 2
    assert ended.out == ""
    said = [line for line in ended.err.splitlines() if line and not line.startswith(("Usage: ", "Try "))]
    assert len(said) == 1, ended.err
    assert said[0].startswith(("assay: ", "Error: "))


def words_of(command: str, document: Any) -> list[str]:
    """A command with the flags of a document, where that is what is changed."""
    words = command.split()
    if isinstance(document, dict) and any(str(key).startswith("--") for key in document):
        words += [word for key, value in document.items() for word in (key, cell(value))]
    return words


@pytest.mark.usefixtures("narrow", "_at_home")
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_stands_there_may_be_anything(name: str, assay: Callable[..., Any], place: Path, request: pytest.FixtureRequest) -> None:
    """Each subject in its share of the cases; one case in four goes on past the reading."""
    subject = SUBJECTS[name]
    commands = st.sampled_from([subject.commands[0]] * (4 - len(subject.commands)) + list(subject.commands))
    cases = int(request.config.getoption("--fuzz-cases") * subject.share)

    @settings(max_examples=cases, suppress_health_check=list(HealthCheck))
    @given(mutated(subject.documents()), commands)
    def attack(document: Any, command: str) -> None:
        (place / subject.file).write_text(subject.write(document), encoding="utf-8")
        ends_well(assay, words_of(command, document))

    attack()
