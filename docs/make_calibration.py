"""Fits the constants to the shipped table of published runs, and bands to runs left out of the fit: `make calibrate`.

From nothing; with `--onwards` from the constants that ship (`make recalibrate`), which takes half the time after a small change of data
or terms, and ends at the minimum next to them. One that was interrupted goes on after the round or the kind of fold that was done last.

Writes data/calibration/fitted.toml and bands.toml, and docs/accuracy.json with the errors of the runs left out.
"""

import hashlib
import json
import shutil
import sys
import time
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from kept import kept, so_far

import assay
from assay._base.schema import DATA, check, read_toml
from assay.calibrate import bands, record
from assay.calibrate.fit import ROUNDS, Result, fit, rounds, taught, whole
from assay.calibrate.folds import KINDS, left_out
from assay.calibrate.pooling import Fitted, Pool
from assay.calibrate.terms import terms
from assay.cli.questions import executor
from assay.cost.constants import Calibration, levels, shipped
from assay.points import SHIPPED, Points, read_points
from assay.search.comparison import Work
from assay.search.evidence import tables
from assay.simulate.compiled import warm_up
from assay.validate.validation import Validation, validated

STARTED = time.perf_counter()
ONWARDS = 2  # rounds
SO_FAR = so_far(__file__)
TENTHS: dict[str, int] = {}  # of each stage, what was told last
ACCURACY = Path(__file__).with_name("accuracy.json")
MADE = ("fitted", "bands")
KEPT = ("rows", "predicted", "scored", "stated", "median_error", "coverage", "half_width", "by_quality", "by_set", "by_load", "typical")
WHOLE = ("peers", "decisions", "skipped", "assumptions")


def told(stage: str, done: int, whole: int) -> None:
    """Progress, a line for every tenth."""
    if TENTHS.get(stage) != done * 10 // whole:
        TENTHS[stage] = done * 10 // whole
        print(f"{stage}: {done} of {whole} runs, {time.perf_counter() - STARTED:.0f} s", file=sys.stderr)


def from_nothing(points: Points, workers: Executor) -> Result:
    """All rounds from generic physics."""
    after: tuple[Calibration, ...] = ()

    def once_more() -> tuple[Pool, Fitted]:
        return next(rounds(points.runs, terms(), workers, told, after))

    def found() -> Calibration:
        pool, fitted = once_more()
        return pool.calibration(fitted.factors)

    for turn in range(1, ROUNDS):
        after = (*after, kept(SO_FAR / f"round-{turn}.pickle", found))
    return whole(*once_more())


def onwards(points: Points, workers: Executor) -> Result:
    """Two rounds from the constants that ship."""
    calibration = shipped()
    for _ in range(ONWARDS):
        result = fit(points.runs, terms(), workers, told, calibration)
        calibration = result.calibration
    return result


def written(text: str) -> Calibration:
    """The constants that a text of fitted.toml says: whoever reads it has them to so many digits."""
    file = SO_FAR / "fitted.toml"
    file.write_text(text, encoding="utf-8")
    return Calibration(tuple(levels(check(read_toml(file), "fitted", file)["level"])))


def without(points: Points, result: Result, kind: str, workers: Executor) -> Validation:
    """Each run predicted by constants that never saw its fold."""
    work = Work(workers, lambda done, whole, _: told(f"left out by {kind}", done, whole))
    return validated(points, None, 0, work, lambda runs: left_out(result, runs, kind))


def source(result: Result, points: Points) -> str:
    """What the constants were fitted to, in words."""
    rows = result.pool.rows
    newest = max(str(point.said("source_date") or "")[:7] for point in points.runs)
    return f"{len(rows.run)} numbers of {len(set(rows.run.tolist()))} runs in data/published/points.parquet, the newest of {newest}"


def summary(found: dict[str, Validation]) -> dict[str, Any]:
    """Errors by kind of fold; what does not depend on it once, of configurations."""
    whole = {kind: validation.to_dict() for kind, validation in found.items()}
    first = whole[KINDS[0]]
    first["decisions"].pop("cells")
    folds = {kind: {name: each[name] for name in KEPT} for kind, each in whole.items()}
    first["peers"]["same_rows"] = whole["model"]["peers"]["same_rows"]  # those runs are told apart by model alone
    return {"assay_version": assay.__version__, "constants": digest(*MADE), "folds": folds, **{name: first[name] for name in WHOLE}}


def short(value: Any) -> Any:
    """Numbers to eight digits: processors differ in the last of sixteen, and the same runs are to give the same bytes."""
    if isinstance(value, dict):
        return {key: short(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [short(each) for each in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def digest(*names: str) -> str:
    """Changes with some files of data/calibration, and with the numbers that they were fitted to."""
    files = (*(DATA / "calibration" / f"{name}.toml" for name in names), SHIPPED)
    return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=12).hexdigest()


def main() -> None:
    """Fit, leave out, and write when all is done."""
    warm_up()
    points = read_points([SHIPPED])
    with executor() as workers:
        result = kept(SO_FAR / "fit.pickle", lambda: (onwards if "--onwards" in sys.argv[1:] else from_nothing)(points, workers))
        text = record.document(result.calibration, source(result, points))
        # Runs are left out as `assay validate --folds` does it: of what is written, with all runs simulated once more under that.
        taught_by = partial(taught, points.runs, terms(), workers, told, written(text))
        there = kept(SO_FAR / "taught.pickle", taught_by)
        found = {kind: kept(SO_FAR / f"{kind}.pickle", partial(without, points, there, kind, workers)) for kind in KINDS}
    made = bands.banded([each for kind in KINDS for each in bands.residuals(found[kind])])
    for name, each in (("fitted", text), ("bands", bands.document(made, source(result, points)))):
        (DATA / "calibration" / f"{name}.toml").write_text(each, encoding="utf-8")
    file = DATA / "calibration" / "bands.toml"
    within = tables(check(read_toml(file), "bands", file))
    errors = summary({kind: bands.rebanded(validation, within) for kind, validation in found.items()})
    ACCURACY.write_text(json.dumps(short(errors), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(SO_FAR)
    print(f"{source(result, points)}: objective {result.fitted.objective:.1f}, {time.perf_counter() - STARTED:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted: what is done is kept, and the same command goes on after it.")
