"""Made-up runs: conditions like those of published ones, and for measured values what some constants predict of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from assay._base.facts import Fact
from assay.calibrate.fit import Result, fit
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration, Level, Where
from assay.points import Number, Point
from assay.validate.predict import told

MakePoint = Callable[..., Point]
Measure = Callable[[Sequence[Point], Calibration], list[Point]]

BASE = {
    "set": "made up", "chip": "h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "source_date": "2026-05-01", "tp": 1, "load": "closed",
    "concurrency": 4.0, "isl": 200.0, "osl": 40.0, "max_num_seqs": 64, "token_budget": 1024,
}  # fmt: skip
NUMBERS = (("ttft", "p50"), ("tpot", "mean"), ("output_tokens_per_second", ""))


@pytest.fixture(scope="session")
def made() -> MakePoint:
    """`made(numbers, **conditions)`: a run with these conditions over BASE (None takes one away), its values yet to be measured."""

    def make(numbers: Sequence[tuple[str, str]] = NUMBERS, **conditions: Any) -> Point:
        stated = {name: value for name, value in {**BASE, **conditions}.items() if value is not None}
        users = int(stated.get("concurrency", 1))
        stated.setdefault("requests", max(8, 2 * users))
        return Point(stated, tuple(Number(at, metric, statistic, "system", 1.0, "A") for at, (metric, statistic) in enumerate(numbers)))

    return make


@pytest.fixture(scope="session")
def measured() -> Measure:
    """The runs as if they had been measured on machines whose constants are given."""

    def measure(points: Sequence[Point], calibration: Calibration) -> list[Point]:
        found = []
        for point in points:
            guesses = told(point, calibration).guesses
            values = zip(point.numbers, guesses, strict=True)
            found.append(replace(point, numbers=tuple(replace(number, value=guess.predicted) for number, guess in values)))
        return found

    return measure


@pytest.fixture(scope="session")
def truth() -> Calibration:
    """Constants of an engine and of one chip that differ from generic ones about as much as those of real ones do."""
    engine = {"fixed.kernel": 1.5, "host.step": 2.0, "bandwidth_share.weights": 0.9, "compute_share.gemm16": 0.85, "host.request": 1.6}
    levels = ((Where("vllm"), engine), (Where("", "", "mi300x"), {"host.step": 1.3}))
    return Calibration(
        tuple(
            Level("kernel-by-kernel", where, {name: Fact(factor) for name, factor in factors.items()}, runs=1) for where, factors in levels
        )
    )


@dataclass(frozen=True, eq=False)
class Known:
    """Runs, and the constants that were fitted to them."""

    points: list[Point]
    result: Result


@pytest.fixture(scope="session")
def known(made: MakePoint, measured: Measure, truth: Calibration) -> Known:
    """Twelve runs on two chips, from one user to many, measured on machines of which the truth is known; and the fit to them."""
    sizes = [(users, *lengths) for users in (1, 4, 32) for lengths in ((200, 40), (1000, 30))]
    runs = [
        made(chip=chip, concurrency=float(users), isl=float(isl), osl=float(osl))
        for chip in ("h100-sxm", "mi300x")
        for users, isl, osl in sizes
    ]
    points = measured(runs, truth)
    return Known(points, fit(points, terms()))
