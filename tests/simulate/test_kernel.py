"""The compiled simulator equals the reference: `pytest tests/simulate/test_kernel.py --kernel-cases 10000` for more cases."""

import importlib.util
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from assay.simulate import Outcome
from assay.simulate.run import run

COLUMNS = ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap", "gaps")
INEXACT = 0.7e-6  # seconds of a tick that is no power of two


@pytest.fixture(scope="module")
def cases() -> ModuleType:
    """The generator of random cases, which stands beside this file."""
    spec = importlib.util.spec_from_file_location("random_cases", Path(__file__).with_name("random_cases.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["random_cases"] = module
    spec.loader.exec_module(module)
    return module


def both(case: tuple[Any, Any, Any]) -> tuple[Outcome, Outcome]:
    """What the reference and the kernel say."""
    workload, times, policy = case
    return run(workload, times, policy, reference=True), run(workload, times, policy)


def test_bit_for_bit_where_sums_are_exact(cases: ModuleType, request: pytest.FixtureRequest) -> None:
    """Every column and total is the same; of bytes in use, which are no multiples of a tick, to rounding."""
    for seed in range(request.config.getoption("--kernel-cases")):
        reference, kernel = both(cases.case(seed))
        for name in {field.name for field in fields(reference)} - {"wall_time", "kv_peak"}:
            np.testing.assert_array_equal(getattr(reference, name), getattr(kernel, name), err_msg=f"seed {seed}: {name}")
        assert kernel.kv_peak == pytest.approx(reference.kv_peak, rel=1e-12)


def test_to_rounding_on_ordinary_floats(cases: ModuleType) -> None:
    """Where sums round, times agree to 1e-9; an arrival that ties with the end of a step to rounding may fall on either side of it."""
    differ = []
    for seed in range(200):
        reference, kernel = both(cases.case(seed, INEXACT))
        same = all(np.allclose(getattr(reference, name), getattr(kernel, name), rtol=1e-9, equal_nan=True) for name in COLUMNS[:6])
        differ += [] if same else [seed]
    assert len(differ) <= 4, differ


def test_the_cases_cover_the_rules(cases: ModuleType) -> None:
    """Of the first 500 cases each rule decides some: preemption, hits, rejection, pipelines, closed loops, windows, prefill first."""
    seen = dict.fromkeys(("preempted", "hit", "rejected", "pipeline", "closed", "window", "first", "instant"), 0)
    for seed in range(500):
        workload, times, policy = cases.case(seed)
        outcome = run(workload, times, policy)
        seen["preempted"] += bool(outcome.preemptions.any())
        seen["hit"] += bool(outcome.prefix_hit.any())
        seen["rejected"] += not outcome.served.all()
        seen["pipeline"] += times.depth > 1
        seen["closed"] += workload.concurrency > 0
        seen["window"] += len(times.reaches) > 1
        seen["first"] += policy.prefill_first
        seen["instant"] += workload.requests > 1 and not workload.arrival.any()
    assert min(seen.values()) >= 25, seen
