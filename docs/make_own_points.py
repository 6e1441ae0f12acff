"""Writes docs/own_points.json: how far two measured points of one's own take a chip that was never seen.

PYTHONPATH=src python docs/make_own_points.py

Of each set, chip and engine two runs of one period of the engine are drawn, three times over. The others of that period are predicted by
constants fitted without the chip, and by these updated with the two runs as `assay calibrate` does. In closed form, after one simulation of
each run. MLPerf's Server runs are not among them: their load is tuned to the edge of what their system sustains. Nor are resident
pipelines, which have too few runs.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from make_calibration import digest

from assay.calibrate.few import own
from assay.calibrate.fit import Result, taught
from assay.calibrate.folds import cut, without
from assay.calibrate.observe import Observation
from assay.calibrate.pooling import Pool
from assay.calibrate.terms import terms
from assay.cli.questions import executor
from assay.cost.constants import Calibration, shipped
from assay.points import SHIPPED, Number, read_points
from assay.simulate.compiled import warm_up
from assay.steptime import Floats

TARGET = Path(__file__).with_name("own_points.json")
DRAWS, OWN, REST, LEAST = 3, 2, 60, 6  # draws, own runs of each, others of each at most, and runs of a group at least
METRICS, STATISTICS = ("tpot", "itl", "e2e", "output_tokens_per_second"), ("", "mean", "p50")

Group = tuple[str, str, str]


def groups(result: Result) -> dict[Group, dict[str, list[Observation]]]:
    """By set, chip and engine the runs of each period."""
    found: dict[Group, dict[str, list[Observation]]] = {}
    for run in np.unique(result.pool.rows.run).tolist():
        each = result.pool.observations[run]
        at_the_edge = (each.point.said("set"), each.point.said("load")) == ("mlperf", "poisson")
        if each.execution == "kernel-by-kernel" and not at_the_edge:
            key = str(each.point.said("set")), each.where.chip, each.where.engine
            found.setdefault(key, {}).setdefault(each.where.quarter, []).append(each)
    return {key: found[key] for key in sorted(found) if sum(map(len, found[key].values())) >= LEAST}


def asked(number: Number) -> bool:
    """Whether a number is held against: the middle of TPOT, ITL and E2E, and throughput."""
    return number.metric in METRICS and number.statistic in STATISTICS


def draws(periods: dict[str, list[Observation]], name: str) -> Iterator[list[Observation]]:
    """Runs of one period in random order, the first OWN of which are one's own."""
    chance = random.Random(name)
    enough = sorted(period for period, runs in periods.items() if len(runs) > OWN + 1)
    for _ in range(DRAWS if enough else 0):
        runs = periods[chance.choice(enough)]
        yield chance.sample(runs, min(len(runs), OWN + REST))


def errors(pool: Pool, factors: Floats) -> list[float]:
    """Those of the numbers of the others."""
    size = np.abs(np.exp(pool.predict(factors)[0] - pool.rows.measured) - 1)
    places = zip(pool.rows.run.tolist(), pool.rows.place.tolist(), size.tolist(), strict=True)
    return [error for run, place, error in places if run >= OWN and asked(pool.observations[run].point.numbers[place])]


def held(periods: dict[str, list[Observation]], calibration: Calibration, name: str) -> dict[str, Any] | None:
    """Median errors of a group before and after."""
    before, after = [], []
    for runs in draws(periods, name):
        pool = own(runs, calibration)
        before += errors(pool, np.zeros_like(pool.prior))
        after += errors(pool, pool.fit(mask=(pool.rows.run < OWN).astype(np.float64)).factors)
    return {"numbers": len(before), "before": float(np.median(before)), "after": float(np.median(after))} if before else None


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over groups, and how many of them two points made worse."""
    medians = {name: float(np.median([each[name] for each in found])) for name in ("before", "after")}
    return {**medians, "worse": sum(each["after"] > each["before"] for each in found), "groups": list(found)}


def main() -> None:
    """All groups."""
    warm_up()
    with executor() as workers:
        result = taught(read_points([SHIPPED]).runs, terms(), workers, None, shipped())
    by_chip = without(result, cut([each.point for each in result.pool.observations], "chip"))
    found = []
    for key, periods in groups(result).items():
        each = held(periods, by_chip[key[1]], "/".join(key))
        if each:
            found.append({**dict(zip(("set", "chip", "engine"), key, strict=True)), **each})
            print(*key, f"{each['before']:.0%} -> {each['after']:.0%}", flush=True)
    TARGET.write_text(json.dumps({"constants": digest("fitted"), **summary(found)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
