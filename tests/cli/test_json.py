"""The JSON that scripts rely on: one object on stdout, no NaN, the promised keys with the promised types."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from assay._base.catalogue import names
from assay._base.schema import DATA

NUMBER, TEXT, LIST, TABLE = (int, float), str, list, dict
MAYBE_NUMBER, MAYBE_TEXT = (int, float, type(None)), (str, type(None))
PERCENTILES = ("mean", "p50", "p90", "p95", "p99", "p999")
RESOURCES = {"compute", "memory", "network", "latency", "host"}

HEAD = {"assay_version": TEXT, "seed": (int, type(None)), "command": TEXT, "assumptions": LIST}
RUN = {
    **dict.fromkeys(("model", "chip", "engine"), TEXT),
    **dict.fromkeys(("deployment", "workload", "ttft", "tpot", "itl", "e2e", "cost_split", "bottleneck", "error_band", "evidence"), TABLE),
    **dict.fromkeys(("chips", "requests", "completed", "rejected", "preemptions"), int),
    "stable": bool,
    **dict.fromkeys(("duration", "wall_time", "output_tokens_per_second", "total_tokens_per_second", "requests_per_second"), NUMBER),
    **dict.fromkeys(("goodput", "prefix_hit_rate", "kv_peak", "joules_per_token"), NUMBER),
    **dict.fromkeys(("power", "cost_per_million_tokens"), MAYBE_NUMBER),
    **dict.fromkeys(("why_no_cost", "cost_basis"), MAYBE_TEXT),
    "assumptions": LIST,
}  # fmt: skip
CANDIDATE = {**RUN, "family": TEXT, "feasible": bool, "why_not": MAYBE_TEXT, "frontier": bool, "worth": MAYBE_NUMBER}
STEP = {**dict.fromkeys(("seconds", "latency", "joules"), NUMBER), "bottleneck": TABLE, "ops": LIST, "error_band": TABLE, "evidence": TABLE}
OP = {"name": TEXT, "seconds": NUMBER, "flops": NUMBER, "bytes": NUMBER, "bound": TEXT}
MODEL = {
    **dict.fromkeys(("name", "kind"), TEXT),
    **dict.fromkeys(("parameters", "active_parameters", "weight_bytes", "kv_bytes_per_token"), NUMBER),
    "layers": int,
}

SIMULATE = "simulate llama-3.1-8b --chip h100-sxm --isl 300 --osl 30 --spread 0.5:1.5 --requests 60 --rate 2 --ttft 1 --json"
COMPARE = "--isl 300 --osl 20 --requests 200 --rate 1 --engine vllm --ttft 1 --json"


def keeps(table: Mapping[str, Any], promised: Mapping[str, Any]) -> None:
    """Every promised key is there, with a value of its type; a boolean is no number."""
    for key, kind in promised.items():
        assert key in table, key
        assert isinstance(table[key], kind), (key, table[key])
        assert kind is bool or not isinstance(table[key], bool), key


def answer(ended: Any) -> dict[str, Any]:
    """The one JSON object on stdout of a command that ended well."""
    assert ended.code == 0, ended.err
    found = json.loads(ended.out, parse_constant=pytest.fail)
    keeps(found, HEAD)
    assert isinstance(found, dict)
    return found


def keeps_run(run: Mapping[str, Any]) -> None:
    """A run has its keys, whole distributions, shares that sum to 1, bands around 1, and a cost or a reason."""
    keeps(run, RUN)
    for latency in ("ttft", "tpot", "itl", "e2e"):
        keeps(run[latency], dict.fromkeys(PERCENTILES, NUMBER))
        assert sorted(PERCENTILES[1:], key=lambda name: run[latency][name]) == list(PERCENTILES[1:])
    keeps(run["cost_split"], dict.fromkeys(("input", "cached_input", "output"), MAYBE_NUMBER))
    assert run["bottleneck"].keys() == RESOURCES
    assert sum(run["bottleneck"].values()) == pytest.approx(1)
    for low, high in run["error_band"].values():
        assert 0 < low <= 1 <= high
    assert run["evidence"]["label"] in ("measured", "calibrated", "spec-only")
    assert run["evidence"]["why"]
    assert (run["cost_per_million_tokens"] is None) == (run["why_no_cost"] is not None)
    assert run["completed"] + run["rejected"] == run["requests"]


def untimed(value: Any) -> Any:
    """The same without the time that the simulator took."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key != "wall_time"}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def test_predict_keeps_its_promise(assay: Callable[..., Any]) -> None:
    """A step with its ops; what bounds an op is a resource, and the parts of the time are the whole."""
    step = answer(assay("predict llama-3.1-8b --chip h100-sxm --tp 2 --decode 8 --prefill 100 --context 900 --json"))
    keeps(step, STEP)
    assert step["bottleneck"].keys() == RESOURCES
    for op in step["ops"]:
        keeps(op, OP)
        assert op["bound"] in RESOURCES
    assert sum(op["seconds"] for op in step["ops"]) == pytest.approx(step["latency"])


def test_simulate_keeps_its_promise(assay: Callable[..., Any]) -> None:
    """A run, and what the user did not give among its assumptions."""
    run = answer(assay(SIMULATE))
    keeps_run(run)
    assert run["seed"] == 0
    assert run["command"] == f"assay {SIMULATE}"
    assert any("max_num_seqs" in text for text in run["assumptions"])
    assert any("short run" in text for text in run["assumptions"])


def test_the_same_seed_gives_the_same_figures(assay: Callable[..., Any]) -> None:
    """All but the time the simulator took; another seed gives others."""
    first, again, other = (answer(assay(f"{SIMULATE} --seed {seed}")) for seed in (3, 3, 4))
    assert untimed(first) == untimed(again)
    assert untimed(first)["e2e"] != untimed(other)["e2e"]


@pytest.mark.parametrize("name", names("models"))
def test_models_keep_their_promise(name: str, assay: Callable[..., Any]) -> None:
    """Every model of the catalogue says what scripts ask of it."""
    keeps(answer(assay(f"models {name} --json")), MODEL)


@pytest.mark.parametrize("noun", ["chips", "models", "engines", "workloads", "offers"])
def test_catalogues_are_lists_of_tables(noun: str, assay: Callable[..., Any]) -> None:
    """A listing without NAME has one table per entry, each with a name or a chip."""
    rows = answer(assay(f"{noun} --json"))[noun]
    assert rows
    assert all(row.get("name") or row.get("chip") for row in rows)


@pytest.mark.parametrize("command", ["chips h100-sxm", "engines vllm", "workloads azure-conv-2023", "offers h100-sxm"])
def test_entries_are_json_too(command: str, assay: Callable[..., Any]) -> None:
    """One entry of each catalogue, as an object."""
    answer(assay(f"{command} --json"))


@pytest.fixture(scope="module")
def comparison(assay: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two chips on which the model fits, and one that is too small for it."""
    small = tmp_path_factory.mktemp("chips") / "small.toml"
    whole = (DATA / "chips" / "h100-sxm.toml").read_text(encoding="utf-8")
    small.write_text(whole.replace("85520809984, low = 8e10", "1e7"), encoding="utf-8")
    ended = assay(f"compare llama-3.1-8b --chips h100-sxm,l40s,{small} {COMPARE} --weights fp8")
    assert "sizing" in ended.err
    return answer(ended)


def test_compare_keeps_its_promise(comparison: dict[str, Any]) -> None:
    """Every chip named has a candidate, one that does not hold the model too; `best` points at feasible ones."""
    assert comparison["model"] == "llama-3.1-8b"
    keeps(comparison, {"workload": TABLE, "slo": TABLE, "candidates": LIST, "best": TABLE})
    candidates = comparison["candidates"]
    assert {candidate["chip"] for candidate in candidates} == {"h100-sxm", "l40s", "small"}
    fitting = [candidate for candidate in candidates if candidate["chip"] != "small"]
    for candidate in fitting:
        keeps(candidate, CANDIDATE)
        keeps_run(candidate)
        assert candidate["feasible"] == (candidate["why_not"] is None)
    best = comparison["best"]
    assert best.keys() == comparison["doubt"].keys() == {"cost", "latency", "energy"}
    assert all(chance is None or 0 <= chance <= 1 for chance in comparison["doubt"].values())
    for index in best.values():
        assert candidates[index]["feasible"]
    feasible = [candidate for candidate in fitting if candidate["feasible"]]
    assert candidates[best["cost"]]["cost_per_million_tokens"] == min(candidate["cost_per_million_tokens"] for candidate in feasible)
    assert candidates[best["latency"]]["tpot"]["mean"] == min(candidate["tpot"]["mean"] for candidate in feasible)
    assert candidates[best["energy"]]["joules_per_token"] == min(candidate["joules_per_token"] for candidate in feasible)
    assert candidates[best["latency"]]["frontier"]


def test_a_chip_on_which_nothing_fits_says_so(comparison: dict[str, Any]) -> None:
    """Its one candidate has every key of a run, nulls for figures, and the reason."""
    (nothing,) = [candidate for candidate in comparison["candidates"] if candidate["chip"] == "small"]
    assert CANDIDATE.keys() <= nothing.keys()
    assert nothing["feasible"] is False
    assert "GB short" in nothing["why_not"]
    assert nothing["output_tokens_per_second"] is None
    assert nothing["ttft"] == dict.fromkeys(PERCENTILES)


def test_compare_answers_where_a_layout_does_not_fit_everywhere(assay: Callable[..., Any]) -> None:
    """A layout that one chip cannot hold is that chip's reason, not the end of the comparison."""
    found = answer(
        assay("compare llama-3.1-8b --chips h100-sxm,groq-lpu-v1 --tp 1 --weights int8 --isl 300 --osl 20 --requests 200 --rate 1 --json")
    )
    groq = [candidate for candidate in found["candidates"] if candidate["chip"] == "groq-lpu-v1"]
    assert [candidate["feasible"] for candidate in groq] == [False]
    assert "GB short" in groq[0]["why_not"]


def test_compare_with_targets_out_of_reach(assay: Callable[..., Any]) -> None:
    """Nothing meets the targets: exit code 0, the best found, and what it missed."""
    found = answer(assay(f"compare llama-3.1-8b --chips h100-sxm --tp 1 --weights fp8 --tpot 0.000001 {COMPARE}"))
    assert found["best"] == {"cost": None, "latency": None, "energy": None}
    assert all("TPOT" in candidate["why_not"] for candidate in found["candidates"])


def test_compare_gives_the_same_figures_twice(assay: Callable[..., Any]) -> None:
    """Work on several cores leaves no trace in the figures."""
    first, again = (answer(assay(f"compare llama-3.1-8b --chips l40s --weights fp8 {COMPARE} --seed 5")) for _ in range(2))
    assert untimed(first) == untimed(again)


def test_a_scenario_is_a_list_of_comparisons(assay: Callable[..., Any], place: Path) -> None:
    """One comparison per [[traffic]], in its order."""
    traffic = '[[traffic]]\nmodel = "llama-3.1-8b"\nworkload = "azure-conv-2023"\nrate = 0.5\nrequests = 30\n'
    (place / "s.toml").write_text('chips = ["l40s"]\n' + traffic + traffic.replace("8b", "70b"), encoding="utf-8")
    found = answer(assay("compare --scenario s.toml --engine vllm --tp 8 --json"))
    assert [comparison["model"] for comparison in found["comparisons"]] == ["llama-3.1-8b", "llama-3.1-70b"]
