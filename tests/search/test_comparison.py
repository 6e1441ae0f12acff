"""Many deployments in parallel: whatever does the work, the figures are the same."""

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from assay.api import compare
from assay.chips import Chip
from assay.deployments import Asked
from assay.engines import Engine
from assay.models import Model
from assay.offers import Ownership
from assay.search.candidates import find
from assay.search.comparison import Case, Comparison, Work, sized
from assay.search.evaluate import Question
from assay.search.price import Market
from assay.search.runs import Run
from assay.slo import Slo
from assay.workloads import Workload

MakeRun = Callable[..., Run]
QUESTION = Question(Workload.draw(300, 30, requests=2500, rate=30.0, spread=(0.5, 1.5), seed=3), Slo(ttft=1.0, tpot=0.05))


def processes() -> Executor:
    """Two processes that share nothing with this one."""
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Plain and drafting deployments, some of them alike in cost, with and without offers."""
    model, market = Model.load("llama-3.1-8b"), Market(None, Ownership.load())
    found = []
    for chip in ("l40s", "h100-sxm"):
        for speculate in (None, "2:0.6"):
            asked = Asked(weights="fp8", engine="vllm", max_num_seqs=32, token_budget=512, speculate=speculate)
            found += find(model, Chip.load(chip), asked).plants[:2]
    return [Case(model, plant.part, QUESTION, market) for plant in (*found, *found[:2])]


def figures(runs: list[Run]) -> list[dict[str, Any]]:
    """All that is said of the runs but the time that they took, and what became of each request."""
    return [{**run.to_dict(), "wall_time": None, "ends": run.each.times.finish.tobytes() if run.each else None} for run in runs]


def test_any_executor_gives_the_same_bits(cases: list[Case]) -> None:
    """One after the other, in threads and in processes."""
    alone = None
    for executor in (nullcontext(), ThreadPoolExecutor(2), processes()):
        with executor as working:
            runs, complete = sized(cases, Work(working))
        assert complete
        assert len(runs) == len(cases)
        alone = alone or figures(runs)
        assert figures(runs) == alone


def test_energy_is_ranked_among_those_that_have_any(make_run: MakeRun) -> None:
    """A run without output has no energy per token, and is nobody's best."""
    runs = [replace(make_run("a"), joules_per_token=None), make_run("b")]
    comparison = Comparison("m", QUESTION, (), tuple(runs), {}, complete=True)
    assert comparison.best["energy"] == 1
    assert replace(comparison, runs=tuple(runs[:1])).best["energy"] is None


def test_a_chip_without_numbers_is_a_candidate_that_does_not_serve() -> None:
    """It is named, not feasible, and says why; it has no figure and wins nothing."""
    compared = compare(Model.load("llama-3.1-8b"), [Chip.load("openai-titan")], QUESTION.workload, QUESTION.slo)
    (row,) = compared.to_dict()["candidates"]
    assert (row["chip"], row["feasible"], row["worth"], row["tpot"]["p50"]) == ("openai-titan", False, None, None)
    assert "published no numbers" in row["why_not"]
    assert set(compared.best.values()) == {None}


def test_an_engine_that_cannot_speculate_is_left_out_by_name(tmp_path: Path) -> None:
    """Candidates of the others draft as asked; where no engine can, the reason names it."""
    model, chip, small = Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), {"token_budget": 256, "max_num_seqs": 16, "tp": 1}
    assert {plant.part.width for plant in find(model, chip, Asked(speculate="3:0.7", **small)).plants} == {4}
    plain = tmp_path / "plain.toml"
    generic = Engine.load("generic").file.read_text(encoding="utf-8")
    plain.write_text(generic.replace("speculation = { value = true", "speculation = { value = false"), encoding="utf-8")
    found = find(model, chip, Asked(engine=str(plain), speculate="3:0.7", **small))
    assert found.plants == ()
    assert found.why_not == "--speculate: plain: cannot speculate. Leave it out, or use an engine with the feature speculation."
