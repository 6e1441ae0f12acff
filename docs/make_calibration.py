"""Fits the constants to the shipped table of published runs and writes data/calibration/fitted.toml: `make calibrate`."""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from assay._base.schema import DATA
from assay.calibrate.fit import fit
from assay.calibrate.record import document
from assay.calibrate.terms import terms
from assay.points import SHIPPED, read_points
from assay.simulate.compiled import warm_up

TARGET = DATA / "calibration" / "fitted.toml"


def told(stage: str, done: int, whole: int) -> None:
    """Progress, a line for every tenth."""
    if done * 10 // whole != (done - 1) * 10 // whole or done == whole:
        print(f"{stage}: {done} of {whole} runs simulated, {time.perf_counter() - STARTED:.0f} s", file=sys.stderr)


def main() -> None:
    """Fit and write; nothing is written before all is done."""
    warm_up()
    points = read_points([SHIPPED])
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as workers:
        result = fit(points.runs, terms(), workers, told)
    count = len(result.pool.rows.run)
    source = f"{count} numbers of {len(set(result.pool.rows.run.tolist()))} runs in data/published/points.parquet"
    newest = max(str(point.said("source_date") or "")[:7] for point in points.runs)
    TARGET.write_text(document(result.calibration, source, f"the newest of {newest}"), encoding="utf-8")
    print(f"{TARGET.name}: {count} numbers, objective {result.fitted.objective:.1f}, {time.perf_counter() - STARTED:.0f} s")


STARTED = time.perf_counter()

if __name__ == "__main__":
    main()
