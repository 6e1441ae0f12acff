"""Deployments of published runs."""

from typing import Any

import pytest

from assay._base.errors import AssayError
from assay.points import Point
from assay.search.assembly import Assembly
from assay.validate.setting import layouts, replayed, setting
from assay.validate.traffic import Unpredicted, traffic

BASE = {"chip": "h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "load": "closed", "concurrency": 4.0, "isl": 200.0, "osl": 20.0}


def found(**conditions: Any) -> tuple[Assembly, list[str]]:
    """The deployment of a run with these conditions over BASE; None takes one away."""
    stated = {name: value for name, value in {**BASE, **conditions}.items() if value is not None}
    point = Point(stated, ())
    workload, _ = traffic(point, "")
    return setting(point, workload)


def test_samples_of_an_offline_run_are_asked_until_its_time_is_over() -> None:
    """Twice the chips are asked twice as much; a run that says how much it asks is asked that."""
    run = {"set": "mlperf", "model": "llama-2-70b", "chip": "h100-sxm", "engine": "tensorrt-llm", "load": "offline", "tp": 2}
    one, two = (replayed(Point({**run, "chips": chips}, ()))[0].requests for chips in (32, 64))
    assert two == pytest.approx(2 * one, rel=1e-3)
    assert one > 24_576  # samples, as many as one server of eight answers in that time
    assert replayed(Point({**run, "chips": 32, "requests": 500.0}, ()))[0].requests == 500
    assert replayed(Point({**run, "chips": 2}, ()))[0].requests == 24_576


def test_what_is_stated_is_taken() -> None:
    """Layout, precisions and limits; replicas are what is left of the chips."""
    assembly, said = found(tp=2, chips=8, kv="fp8", weights="fp8", max_num_seqs=3, block_size=32, recv_interval=10, dp_wait_steps=4)
    (part,) = assembly.parts
    assert (part.tp, part.replicas, part.kv.name, part.weights.name) == (2, 4, "fp8", "fp8")
    assert (part.max_num_seqs, part.block_size, part.look_interval, part.prefill_wait) == (3, 32, 10, 4)
    assert said == []


def test_limits_are_no_higher_than_what_can_be_in_flight() -> None:
    """Four users never fill a thousand seats."""
    (part,) = found(tp=1)[0].parts
    assert part.max_num_seqs == 4
    assert part.token_budget < 8192


def test_an_engine_that_no_file_describes_is_generic() -> None:
    """Which is said."""
    assembly, said = found(tp=1, engine="homemade")
    assert assembly.parts[0].engine.name == "generic"
    assert said == ["engine homemade, taken as generic"]


def test_an_engine_that_does_not_run_there_is_generic() -> None:
    """As of a vendor's engine on another's chip."""
    assert found(tp=1, chip="mi300x", engine="tensorrt-llm")[0].parts[0].engine.name == "generic"


@pytest.mark.parametrize(
    ("date", "engine", "batching"), [("2024-11", "vllm-2024", "first"), ("2026", "vllm", "mixed"), (None, "vllm", "mixed")]
)
def test_a_run_has_the_defaults_of_its_time(date: str | None, engine: str, batching: str) -> None:
    """Those of the engine's period on the date of the run; without a date those of today."""
    assembly, said = found(tp=1, source_date=date)
    (part,) = assembly.parts
    assert (part.engine.name, part.batching) == (engine, batching)
    assert said == []


@pytest.mark.parametrize(
    ("version", "date", "quarter"),
    [
        ("0.15.1", "2026-05-08", "2026Q1"), ("0.15.1", None, "2026Q1"), ("0.15.1", "2025-12", "2025Q4"), ("22.0", "2026-05", "2026Q2"),
        (None, "2026-05", "2026Q2"),
    ],
)  # fmt: skip
def test_a_run_of_a_version_is_of_its_day(version: str | None, date: str | None, quarter: str) -> None:
    """However much later it was published; where it was measured before, and where the version is not known, the date counts."""
    assert found(tp=1, engine_version=version, source_date=date)[0].parts[0].engine.period("hopper") == quarter


def test_a_date_that_is_none_is_said() -> None:
    """The engine is then taken as it is today."""
    assembly, said = found(tp=1, source_date="last autumn")
    assert assembly.parts[0].engine.name == "vllm"
    assert said == ["source_date 'last autumn' is no date: vllm is taken as it is today"]


def test_a_period_that_did_not_run_there_is_generic() -> None:
    """Though the engine of today does."""
    assembly, said = found(tp=1, chip="b200-sxm", source_date="2024")
    assert assembly.parts[0].engine.name == "generic"
    assert said == ["engine vllm, taken as generic"]
    assert found(tp=1, chip="b200-sxm", source_date="2026")[0].parts[0].engine.name == "vllm"


def test_a_batch_of_an_engine_that_serves_none() -> None:
    """All of it at once, prompts first."""
    run = {"chip": "gaudi2", "engine": "optimum-habana", "tp": 1, "load": "static", "batch": 300.0, "concurrency": None}
    (part,) = found(**run, source_date="2024-10")[0].parts
    assert (part.engine.name, part.batching, part.max_num_seqs, part.reserve) == ("optimum-habana", "static", 300, 1.0)


@pytest.mark.parametrize(
    ("users", "stated", "seats"),
    [(1229.0, None, 64), (8602.0, None, 512), (1024.0, None, 64), (1536.0, None, 1536), (1229.0, 80, 80), (8.0, None, 8)],
)
def test_decode_pools_take_as_many_sequences_as_recipes_let_them(users: float, stated: int | None, seats: int) -> None:
    """Of sixteen ranks each 64 of 1,229 users; all of them where they are half as many again, or fewer than ranks, or a limit is stated."""
    assembly, said = found(
        engine="tensorrt-llm", disaggregated=True, prefill_workers=1, prefill_tp=4, decode_workers=4, decode_tp=4, decode_dp=4,
        concurrency=users, requests=20000, max_num_seqs=stated,
    )  # fmt: skip
    assert assembly.parts[1].max_num_seqs == seats
    limited = stated is None and seats < users
    assert any("decodes takes" in text for text in said) == limited


def test_prefill_and_decode_apart() -> None:
    """Two parts, each with its workers and layout."""
    assembly, _ = found(
        disaggregated=True, prefill_workers=2, prefill_tp=1, decode_workers=1, decode_tp=4, decode_dp=1, prefill_dp=1, engine="sglang"
    )
    assert [(part.role, part.replicas, part.tp) for part in assembly.parts] == [("prefill", 2, 1), ("decode", 1, 4)]
    assert list(layouts(assembly)) == ["2 x tp1", "1 x tp4"]


def test_attention_ranks_deal_experts_out() -> None:
    """Where nothing is said of expert parallelism."""
    (part,) = found(model="deepseek-r1", chip="h200-sxm", tp=8, dp=8, engine="sglang")[0].parts
    assert (part.dp, part.ep) == (8, 8)
    (dense,) = found(tp=8, dp=8, engine="sglang")[0].parts
    assert dense.ep == 1


@pytest.mark.parametrize(
    ("given", "ranks"), [({}, 8), ({"dp": 1}, 1), ({"set": "mlperf"}, 1), ({"source_date": "2025-08"}, 1), ({"model": "llama-3.3-70b"}, 1)]
)
def test_a_collection_may_deal_attention_out_without_saying_so(given: dict[str, Any], ranks: int) -> None:
    """Of models with experts, since a month, where the run does not say otherwise."""
    page = {"set": "tensorrt-llm", "source_date": "2025-09", "engine": "tensorrt-llm", "model": "llama-4-maverick", "chip": "h200-sxm"}
    assembly, said = found(**{**page, "weights": "fp8", "tp": 8, "load": "offline", "concurrency": None, **given})
    assert assembly.parts[0].dp == ranks
    assert any("attention ranks" in each for each in said) == (ranks > 1)


def test_speculation_is_assumed_where_it_is_only_named() -> None:
    """Its length by engine and family."""
    assembly, said = found(model="deepseek-r1", chip="h200-sxm", tp=8, engine="sglang", speculate=True)
    speculation = assembly.parts[0].speculation
    assert speculation is not None
    assert speculation.tokens == 2
    assert said[0].startswith("drafts 2 tokens")


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({"source_date": "2024-11-20"}, 8),
        ({"source_date": "2024-08"}, 0),
        ({"source_date": None}, 0),
        ({"source_date": "2026-05", "speculate": False}, 0),
        ({"source_date": "2026-05", "chip": "groq-lpu-v1"}, 0),
        ({"source_date": "2026-05", "load": "closed", "concurrency": 1.0}, 0),
    ],
)
def test_shared_endpoints_of_wafers_draft_without_saying_so(given: dict[str, Any], tokens: int) -> None:
    """Since a month, and where the run does not say that it does not."""
    alone = {"chip": "cerebras-wse3", "engine": None, "load": "single", "concurrency": None, "isl": 1000.0, "osl": 500.0}
    assembly, said = found(**{**alone, **given})
    speculation = assembly.parts[0].speculation
    assert (speculation.tokens if speculation else 0) == tokens
    assert any("whether they say so or not" in each for each in said) == bool(tokens)


def test_without_a_layout_the_best_one_is_chosen() -> None:
    """On all chips of the run, for one user the fastest, for many what serves most."""
    alone, said = found(chips=8, concurrency=1.0)
    assert sum(part.replicas * part.chips for part in alone.parts) == 8
    assert alone.parts[0].tp > 1
    assert said[-1].startswith("parallelism is not stated")
    crowd, _ = found(chips=8, load="offline", requests=4000.0, concurrency=None)
    assert crowd.parts[0].tp == 1


def test_a_model_that_needs_more_memory_than_the_default_share_gets_it() -> None:
    """The run did happen."""
    assembly, said = found(model="deepseek-r1", chip="gb200-nvl72", tp=4, dp=4, engine="sglang")
    assert assembly.parts[0].kv_memory_fraction > 0.95
    assert "of the memory" in said[-1]


def test_a_model_that_cannot_fit_is_refused() -> None:
    """With the reason."""
    with pytest.raises(AssayError, match="weights take"):
        found(model="llama-3.1-405b", tp=1)


@pytest.mark.parametrize("name", ["chip", "model"])
def test_chip_and_model_must_be_stated(name: str) -> None:
    """Else there is nothing to predict."""
    with pytest.raises(Unpredicted, match=f"the {name} is not stated"):
        found(**{name: None})


@pytest.mark.parametrize(("load", "waits"), [("static", False), ("offline", False), ("closed", True)])
def test_requests_of_a_batch_do_not_wait_for_a_server(load: str, waits: bool) -> None:
    """They are handed to the engine in its own process."""
    assembly, _ = found(tp=1, load=load, batch=4.0, requests=40.0)
    assert (assembly.plants[0].policy.admission_delay > 0) is waits


def test_a_checkpoint_may_declare_the_precision_of_its_cache() -> None:
    """Where the run does not state it; what it states counts."""
    assembly, said = found(tp=1, engine="tensorrt-llm", weights="fp8")
    assert assembly.parts[0].kv.name == "fp8"
    assert said == ["KV cache fp8, as checkpoints for tensorrt-llm declare it"]
    assert found(tp=1, engine="tensorrt-llm", weights="fp8", source_date="2024")[0].parts[0].kv.name == "fp8"
    assert found(tp=1, engine="tensorrt-llm", weights="fp8", kv="bf16")[0].parts[0].kv.name == "bf16"
    assert found(tp=1, engine="tensorrt-llm", weights="bf16")[0].parts[0].kv.name == "bf16"
