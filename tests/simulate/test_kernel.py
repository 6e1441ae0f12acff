"""The compiled simulator equals the reference: `pytest tests/simulate/test_kernel.py --kernel-cases 10000` for more cases."""

import importlib.util
import sys
from collections import Counter
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from assay.simulate import Fleet, Outcome
from assay.simulate.policies import DECODE, PREFIX_AFFINITY, STATIC
from assay.simulate.policies import MIXED as MIXED_BATCHING
from assay.simulate.run import run
from assay.workloads import Workload

COLUMNS = ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap")
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


def both(case: tuple[Workload, Fleet]) -> tuple[Outcome, Outcome]:
    """What the reference and the kernel say."""
    workload, fleet = case
    return run(workload, fleet, reference=True), run(workload, fleet)


def test_bit_for_bit_where_sums_are_exact(cases: ModuleType, request: pytest.FixtureRequest) -> None:
    """Every column and total is the same."""
    for seed in range(request.config.getoption("--kernel-cases")):
        reference, kernel = both(cases.case(seed))
        for name in {field.name for field in fields(reference)} - {"wall_time", "tallies"}:
            np.testing.assert_array_equal(getattr(reference, name), getattr(kernel, name), err_msg=f"seed {seed}: {name}")


def test_to_rounding_on_ordinary_floats(cases: ModuleType) -> None:
    """Where sums round, times agree to 1e-9; an arrival that ties with the end of a step to rounding may fall on either side of it."""
    differ = []
    for seed in range(200):
        reference, kernel = both(cases.case(seed, INEXACT))
        same = all(np.allclose(getattr(reference, name), getattr(kernel, name), rtol=1e-9, equal_nan=True) for name in COLUMNS)
        differ += [] if same else [seed]
    assert len(differ) <= 4, differ


def features(workload: Workload, fleet: Fleet) -> set[str]:
    """What a case is made of."""
    policies, times = [pool.policy for pool in fleet.pools], [pool.times for pool in fleet.pools]
    has = {
        "mixed": any(policy.batching == MIXED_BATCHING for policy in policies),
        "static": any(policy.batching == STATIC for policy in policies),
        "prefix cache": any(policy.prefix_cache for policy in policies) and workload.prefix.size > 0,
        "host tier": any(policy.host_capacity for policy in policies) and workload.prefix.size > 0,
        "priorities": workload.priority.size > 0,
        "sessions": workload.session.size > 0,
        "closed loop": workload.concurrency > 0,
        "at once": workload.at_once and workload.requests > 1,
        "window": any(len(each.reaches) > 1 for each in times),
        "speculation": fleet.width > 1,
        "disaggregated": any(pool.role == DECODE for pool in fleet.pools),
        "lock step": any(each.ranks > 1 for each in times),
        "waits for prefills": any(each.ranks > 1 and policy.prefill_wait for each, policy in zip(times, policies, strict=True)),
        "looks now and then": any(policy.look_interval > 1 for policy in policies),
        "overlap": any(policy.overlap for policy in policies),
        "pipeline": any(each.depth > 1 for each in times),
        "spill": any(each.spill for each in times),
        "several replicas": sum(pool.replicas for pool in fleet.pools) > 1,
        "affinity": fleet.routing == PREFIX_AFFINITY and workload.prefix.size > 0,
        "outages": bool(fleet.outages),
    }
    return {name for name, present in has.items() if present}


def test_the_cases_cover_the_rules(cases: ModuleType) -> None:
    """In the first 500 cases each feature, and each pair of them that can be, occurs; and each thing that may happen does."""
    single: Counter[str] = Counter()
    pairs: Counter[frozenset[str]] = Counter()
    happened: Counter[str] = Counter()
    for seed in range(500):
        workload, fleet = cases.case(seed)
        here = features(workload, fleet)
        single.update(here)
        pairs.update(map(frozenset, combinations(sorted(here), 2)))
        outcome = run(workload, fleet)
        events = {"preempted": outcome.preemptions.any(), "hit": outcome.prefix_hit.any(), "lost": not outcome.served.all()}
        happened.update(name for name, seen in events.items() if seen)
    assert len(single) == 20
    assert min(single.values()) >= 25, single
    impossible = frozenset({"closed loop", "at once"})
    missing = [set(pair) for pair in map(frozenset, combinations(sorted(single), 2)) if pair != impossible and not pairs[pair]]
    assert missing == []
    assert len(happened) == 3
    assert min(happened.values()) >= 25, happened
