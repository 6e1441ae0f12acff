"""Writes docs/ablation.json: what each fitted constant is worth.

PYTHONPATH=src python docs/make_ablation.py

Each constant in turn is left at its generic value, all others are fitted anew, and configurations are left out: a constant stays in
data/calibration/fit.toml only if the errors of left-out runs are larger without it. So are the levels of systems.
All in closed form, after one simulation of each run. One that was interrupted goes on after the constants that are done.
"""

import json
import shutil
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
from kept import kept, so_far
from make_calibration import digest

from assay.calibrate.fit import fit
from assay.calibrate.folds import cut
from assay.calibrate.observe import Observation
from assay.calibrate.pooling import Pool, pooled
from assay.calibrate.rows import rows
from assay.calibrate.terms import SYSTEM, terms
from assay.cli.questions import executor
from assay.cost.constants import shipped
from assay.points import SHIPPED, read_points
from assay.simulate.compiled import warm_up
from assay.steptime import Floats

TARGET = Path(__file__).with_name("ablation.json")
KIND, FOLDS = "configuration", 5
SO_FAR = so_far(__file__)


def without_folds(pool: Pool, start: Floats, above: bool) -> Floats:
    """Predicted logarithm of each row by factors fitted without its fold, `above` those of wide levels by those of systems as well."""
    fitted = pool.fit(start)
    systems = pool.systems(fitted.factors)
    own = systems.fit() if above else fitted
    folds = (np.array(cut([each.point for each in pool.observations], KIND)).astype(int) % FOLDS)[pool.rows.run]
    predicted = own.predicted.copy()
    for fold in sorted(set(folds.tolist())):
        out = folds == fold
        kept_in = (~out).astype(np.float64)
        moved = pool.along(own.slopes, pool.refit(fitted, kept_in) - fitted.factors)
        if above:
            moved = moved + systems.along(own.slopes, systems.refit(own, kept_in, moved) - own.factors)
        predicted[out] += moved[out]
    return predicted


def errors(pool: Pool, predicted: Floats) -> dict[str, float]:
    """By set and metric the median, over chips and models, of the median error; and of all rows."""
    groups: dict[str, dict[tuple[str, ...], list[float]]] = {}
    size = np.abs(np.exp(predicted - pool.rows.measured) - 1)
    for run, place, error in zip(pool.rows.run, pool.rows.place, size, strict=True):
        point = pool.observations[run].point
        number = point.numbers[place]
        metric = number.metric if number.metric in ("ttft", "tpot", "e2e") else "throughput"
        if number.statistic not in ("p90", "p99"):
            group = str(point.said("chip")), str(point.said("model"))
            groups.setdefault(f"{point.said('set')} {metric}", {}).setdefault(group, []).append(float(error))
    found = {name: float(np.median([np.median(each) for each in of.values()])) for name, of in sorted(groups.items())}
    return {**found, "all": float(np.median(size))}


@cache
def observed() -> tuple[tuple[Observation, ...], Floats]:
    """The runs as they were simulated, and the factors of all terms."""
    return kept(SO_FAR / "observed.pickle", simulated)


def simulated() -> tuple[tuple[Observation, ...], Floats]:
    """Every run once, under the constants that ship."""
    warm_up()
    with executor() as workers:
        result = fit(read_points([SHIPPED]).runs, terms(), workers, start=shipped())
    return tuple(result.pool.observations), result.fitted.factors


def fitted_without(name: str) -> dict[str, float]:
    """The errors without one term or without levels of systems, or with all."""
    observations, factors = observed()
    every = terms()
    fewer = every.without(name) if name in every.names else every
    pool = Pool(observations, rows(observations, fewer), fewer, pooled(fewer))
    start = factors[:, [every.names.index(each) for each in fewer.names]]
    return errors(pool, without_folds(pool, start, name != SYSTEM))


def each_once(name: str) -> tuple[str, dict[str, float]]:
    """A term and the errors without it, kept when they are known."""
    return name, kept(SO_FAR / f"without-{name or 'none'}.pickle", partial(fitted_without, name))


def main() -> None:
    """All terms, then each left out."""
    observed()
    found = {}
    with executor() as workers:
        for name, each in workers.map(each_once, ("", SYSTEM, *terms().names)):
            found[name] = each
            print(name or "all terms", each["all"], flush=True)
    TARGET.write_text(json.dumps({"constants": digest("fitted"), "terms": found}, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(SO_FAR)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted: what is done is kept, and the same command goes on after it.")
