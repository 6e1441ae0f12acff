"""Fits the constants to the shipped table of published runs, and bands to runs left out: `make calibrate`.

Writes data/calibration/fitted.toml and bands.toml, the same bytes each time.
"""

import os
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

from assay._base.schema import DATA
from assay.calibrate import bands, record
from assay.calibrate.fit import Result, fit
from assay.calibrate.folds import KINDS, left_out
from assay.calibrate.terms import terms
from assay.points import SHIPPED, Points, read_points
from assay.search.comparison import Work
from assay.simulate.compiled import warm_up
from assay.validate.validation import validated

STARTED = time.perf_counter()


def told(stage: str, done: int, whole: int) -> None:
    """Progress, a line for every tenth."""
    if done * 10 // whole != (done - 1) * 10 // whole:
        print(f"{stage}: {done} of {whole} runs, {time.perf_counter() - STARTED:.0f} s", file=sys.stderr)


def residuals(points: Points, result: Result, workers: Executor) -> list[bands.Residual]:
    """What runs were measured to do over what constants that never saw them predict."""
    found = []
    for kind in KINDS:
        work = Work(workers, lambda done, whole, _, kind=kind: told(f"left out by {kind}", done, whole))
        found += bands.residuals(validated(points, None, 0, work, lambda runs, kind=kind: left_out(result, runs, kind)))
    return found


def main() -> None:
    """Fit, leave out, and write when all is done."""
    warm_up()
    points = read_points([SHIPPED])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as workers:
        result = fit(points.runs, terms(), workers, told)
        made = bands.banded(residuals(points, result, workers))
    rows = result.pool.rows
    newest = max(str(point.said("source_date") or "")[:7] for point in points.runs)
    source = f"{len(rows.run)} numbers of {len(set(rows.run.tolist()))} runs in data/published/points.parquet, the newest of {newest}"
    for name, text in (("fitted", record.document(result.calibration, source)), ("bands", bands.document(made, source))):
        (DATA / "calibration" / f"{name}.toml").write_text(text, encoding="utf-8")
    print(f"{source}: objective {result.fitted.objective:.1f}, {time.perf_counter() - STARTED:.0f} s")


if __name__ == "__main__":
    main()
