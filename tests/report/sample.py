"""A made-up comparison in the shape of `assay compare --json`: eight chips, two models. None of its results is measured."""

import copy
import itertools
import math
from dataclasses import dataclass
from typing import Any

SLO = {"ttft": 2.0, "tpot": 0.05, "e2e": None, "percentile": 99}
RATE, INPUT, OUTPUT = 60.0, 1154.7, 211.1
WORKLOAD = {
    "name": "azure-conv-2023",
    "requests": 10_000,
    "rate": RATE,
    "input_mean": INPUT,
    "output_mean": OUTPUT,
    "source": "public trace, arrivals rescaled to 60 requests/s",
}
SHARED = (
    "engine default: KV cache in fp8 (not given)",
    "block size 16 tokens (engine default)",
    "seed 0: arrivals are the trace's own, rescaled to 60 requests/s",
)


@dataclass(frozen=True)
class Part:
    """How one made-up chip behaves: `step` seconds per token at tp 8, `rate` output tokens/s per chip, `offer` $ per chip-hour."""

    name: str
    title: str
    vendor: str
    family: str
    unit: str
    status: str
    step: float
    rate: float
    offer: float | None
    tier: str
    watts: float
    shares: tuple[float, float, float, float, float]
    evidence: str
    engines: tuple[str, ...]
    weights: str = "fp8"


PARTS = (
    Part(
        "h100-sxm",
        "H100 SXM",
        "Nvidia",
        "hopper",
        "package",
        "shipping",
        0.016,
        420,
        2.1,
        "neocloud",
        1350,
        (0.19, 0.55, 0.11, 0.06, 0.09),
        "calibrated",
        ("vllm", "sglang"),
    ),
    Part(
        "b200-sxm",
        "B200 SXM",
        "Nvidia",
        "blackwell",
        "package",
        "shipping",
        0.0095,
        980,
        3.65,
        "neocloud",
        1900,
        (0.16, 0.49, 0.13, 0.09, 0.13),
        "calibrated",
        ("vllm", "tensorrt-llm"),
        "fp4",
    ),
    Part(
        "mi300x",
        "MI300X",
        "AMD",
        "cdna3",
        "package",
        "shipping",
        0.019,
        455,
        1.85,
        "neocloud",
        1400,
        (0.2, 0.5, 0.1, 0.08, 0.12),
        "calibrated",
        ("vllm", "sglang"),
    ),
    Part(
        "mi355x",
        "MI355X",
        "AMD",
        "cdna4",
        "package",
        "shipping",
        0.0118,
        905,
        2.6,
        "neocloud",
        2100,
        (0.17, 0.48, 0.13, 0.09, 0.13),
        "spec-only",
        ("vllm",),
        "fp4",
    ),
    Part(
        "gaudi3",
        "Gaudi 3",
        "Intel",
        "gaudi",
        "card",
        "cloud",
        0.034,
        240,
        1.4,
        "cloud",
        1300,
        (0.22, 0.46, 0.14, 0.07, 0.11),
        "spec-only",
        ("vllm",),
    ),
    Part(
        "l40s",
        "L40S",
        "Nvidia",
        "ada",
        "card",
        "shipping",
        0.078,
        70,
        0.79,
        "neocloud",
        560,
        (0.18, 0.58, 0.16, 0.03, 0.05),
        "calibrated",
        ("vllm",),
    ),
    Part(
        "groq-lpu-v3",
        "Groq LPU v3",
        "Groq",
        "lpu",
        "card",
        "announced",
        0.0021,
        62,
        None,
        "",
        420,
        (0.12, 0.08, 0.34, 0.43, 0.03),
        "spec-only",
        ("sram-compiler",),
    ),
    Part("sn40l", "SN40L", "SambaNova", "rdu", "package", "cloud", 0.0, 0, None, "", 0, (0, 0, 0, 0, 0), "spec-only", ("sram-compiler",)),
)


def comparison(model: str = "llama-3.3-70b", scale: float = 1.0) -> dict[str, Any]:
    """A whole comparison; `scale` makes the model heavier."""
    candidates = [row for part in PARTS for row in (_candidates(part, model, scale) if part.step else [_nothing_fits(part, model)])]
    _worth(candidates)
    _frontier(candidates)
    return {
        "assay_version": "0.1.0",
        "seed": 0,
        "command": f"assay compare {model} --workload azure-conv-2023 --rate 60 --ttft 2 --tpot 0.05 --percentile 99 --out report.html",
        "assumptions": [*SHARED, "owned cost per hour: life 4 years, PUE 1.25, $0.08 per kWh (data/offers/ownership.toml)"],
        "model": model,
        "workload": dict(WORKLOAD),
        "slo": dict(SLO),
        "candidates": candidates,
        "best": _best(candidates),
        "chips": [
            {field: getattr(part, field) for field in ("name", "title", "vendor", "family", "unit", "status", "evidence")} for part in PARTS
        ],
    }


def infeasible() -> dict[str, Any]:
    """The same comparison under a target that no chip meets."""
    document = copy.deepcopy(comparison())
    document["slo"]["tpot"] = 0.0005
    for row in document["candidates"]:
        if row["tpot"]:
            why_not = f"p99 TPOT {row['tpot']['p99'] * 1e3:.1f} ms is above the target of 0.5 ms"
            row.update(feasible=False, frontier=False, worth=None, why_not=why_not)
    document["best"] = {"cost": None, "latency": None, "energy": None}
    return document


def _candidates(part: Part, model: str, scale: float) -> list[dict[str, Any]]:
    shapes = itertools.product((64,) if part.family == "lpu" else (2, 4, 8), (32, 128), part.engines)
    return [_candidate(part, model, scale, *shape) for shape in shapes]


def _candidate(part: Part, model: str, scale: float, tp: int, seqs: int, engine: str) -> dict[str, Any]:
    tpot = scale * part.step * (8 / min(tp, 8)) ** 0.72 * (1 + seqs / 220) * (0.94 if engine == "sglang" else 1)
    per_replica = part.rate * tp * (8 / min(tp, 8)) ** 0.15 * (0.62 if seqs == 32 else 1) / scale
    tokens = RATE * OUTPUT
    replicas = max(1, math.ceil(tokens / per_replica))
    chips, ttft = replicas * tp, tpot * 9 + 0.05
    why_not = "" if tpot * 1.3 <= 0.05 else f"p99 TPOT {tpot * 1300:.0f} ms is above the target of 50 ms"
    hourly = None if part.offer is None else part.offer * chips
    everything = tokens * (1 + INPUT / OUTPUT) * 3600 / 1e6
    cost = None if hourly is None else hourly / everything
    return {
        "model": model, "family": part.family, "chip": part.name, "chips": chips, "engine": engine,
        "deployment": {"parts": [_part(part, engine, replicas, tp, seqs)]},
        "workload": dict(WORKLOAD), "requests": 10_000, "completed": 10_000, "rejected": 0, "stable": True,
        "duration": 834.2, "wall_time": 0.021,
        "ttft": _spread(ttft, 3.2), "tpot": _spread(tpot, 1.3), "itl": _spread(tpot, 2.2), "e2e": _spread(ttft + OUTPUT * tpot, 2.4),
        "output_tokens_per_second": tokens, "total_tokens_per_second": tokens * 6.47, "requests_per_second": RATE,
        "goodput": 0.0 if why_not else 59.4, "preemptions": 0, "prefix_hit_rate": 0.0, "kv_peak": 0.61,
        "joules_per_token": part.watts * chips * 0.62 / tokens, "power": part.watts * chips,
        "cost_per_million_tokens": cost, "why_no_cost": None if cost else "no offer for this chip in data/offers",
        "cost_split": None if cost is None else {"input": cost * 0.71, "cached_input": cost * 0.07, "output": cost * 2.6},
        "cost_basis": None if cost is None else "rent", "cost_per_hour": hourly, "offer": part.offer, "offer_tier": part.tier or None,
        "bottleneck": dict(zip(("compute", "memory", "network", "latency", "host"), part.shares, strict=True)),
        "error_band": _band(part), "evidence": {"label": part.evidence, "why": _why(part)},
        "assumptions": [*SHARED, f"{engine} on {part.title}: sequence limit {seqs}, token budget 8192 (engine default)"],
        "feasible": not why_not, "why_not": why_not or None, "frontier": False, "worth": None,
    }  # fmt: skip


def _part(part: Part, engine: str, replicas: int, tp: int, seqs: int) -> dict[str, Any]:
    return {
        "role": "all", "chip": part.name, "engine": engine, "replicas": replicas, "tp": tp, "pp": 1, "dp": 1, "ep": 1,
        "weights": part.weights, "activations": "fp8", "kv": "fp8", "max_num_seqs": seqs, "token_budget": 8192, "block_size": 16,
    }  # fmt: skip


def _band(part: Part) -> dict[str, list[float]]:
    low, high = (0.88, 1.14) if part.evidence == "calibrated" else (0.62, 1.55)
    return {"ttft": [low * 0.9, high * 1.1], "tpot": [low, high], "e2e": [low, high], "output_tokens_per_second": [low, high]}


def _why(part: Part) -> str:
    if part.evidence == "calibrated":
        return f"constants of family {part.family} fitted on 214 measured points, median error 8 %"
    return f"no measured point of family {part.family}; generic constants, wider band"


def _spread(median: float, tail: float) -> dict[str, Any]:
    row: dict[str, Any] = {"mean": median * 1.05, "p50": median, "p90": median * (0.55 + 0.45 * tail), "p95": median * (0.35 + 0.65 * tail)}
    row |= {"p99": median * tail, "p999": median * tail * 1.35, "stderr": {"p99": median * 0.02, "mean": median * 0.003}}
    return row


def _nothing_fits(part: Part, model: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_candidate(PARTS[0], model, 1, 8, 32, "vllm"))
    need = "weights take 70.6 GB of SRAM on a tier of 0.5 GB, 142 chips are needed and a replica takes at most 64"
    evidence = {"label": part.evidence, "why": "nothing was run"}
    known = {"model": model, "family": part.family, "chip": part.name, "evidence": evidence, "assumptions": []}
    return row | known | {"feasible": False, "why_not": need}


def _worth(candidates: list[dict[str, Any]]) -> None:
    priced = [row for row in candidates if row["feasible"] and row["cost_per_hour"]]
    for row in candidates:
        others = [other["cost_per_hour"] for other in priced if other["chip"] != row["chip"]]
        if row["feasible"] and others:
            row["worth"] = min(others) / row["chips"]


def _frontier(candidates: list[dict[str, Any]]) -> None:
    priced = [row for row in candidates if row["feasible"] and row["cost_per_hour"]]
    for row in priced:
        better = [o for o in priced if o["cost_per_hour"] < row["cost_per_hour"] and o["tpot"]["mean"] < row["tpot"]["mean"]]
        row["frontier"] = not better


def _best(candidates: list[dict[str, Any]]) -> dict[str, int | None]:
    served = [i for i, row in enumerate(candidates) if row["feasible"]]
    priced = [i for i in served if candidates[i]["cost_per_hour"]]
    return {
        "cost": min(priced, key=lambda i: candidates[i]["cost_per_hour"], default=None),
        "latency": min(served, key=lambda i: candidates[i]["tpot"]["mean"], default=None),
        "energy": min(served, key=lambda i: candidates[i]["joules_per_token"], default=None),
    }
