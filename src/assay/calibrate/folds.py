"""Folds: whole blocks of runs left out, constants fitted to the rest, so that each run is predicted by constants that never saw it."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np

from assay.calibrate.fit import Result, fit, taught
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration, shipped
from assay.points import Point
from assay.search.comparison import Work
from assay.validate.validation import Under

KINDS = ("configuration", "chip", "model", "engine")
CONFIGURATIONS = 40  # folds into which blocks of like configurations are dealt: little else is lost with one


def block(point: Point, kind: str) -> str:
    """What is left out together: a chip, a model, an engine, or a configuration (chip, engine, weights and lengths).

    Of shared endpoints nobody states the lengths: the model tells theirs apart.
    """
    if kind != "configuration":
        return str(point.said(kind))
    lengths = [point.said(f"{name}_nominal") or point.said(name) for name in ("isl", "osl")]
    models = [point.said("model")] if point.said("load") == "single" else []
    return "/".join(str(each) for each in (*(point.said(name) for name in ("chip", "engine", "weights")), *lengths, *models))


def cut(points: Sequence[Point], kind: str) -> list[str]:
    """The fold of each run: chips, models and engines each alone, configurations dealt by their name."""
    blocks = [block(point, kind) for point in points]
    return [str(_dealt(name)) for name in blocks] if kind == "configuration" else blocks


def _dealt(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) % CONFIGURATIONS


def without(result: Result, folds: Sequence[str]) -> dict[str, Calibration]:
    """For each fold the constants fitted without it; `folds` names that of each observation of the result's pool."""
    of_rows, every = np.array(folds)[result.pool.rows.run], sorted(set(folds))
    masks = ((of_rows != fold).astype(np.float64) for fold in every)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # most of it is in matrices, which leave Python's lock
        return dict(zip(every, threads.map(result.without, masks), strict=True))


def refitted(kind: str, work: Work, known: bool) -> Under:
    """Constants for each of some runs that never saw its fold, from the shipped ones onwards.

    Where the runs are `known`, the shipped constants are already fitted to them; else they are fitted to them first.
    """

    def under(points: Sequence[Point]) -> list[Calibration]:
        def told(stage: str, done: int, whole: int) -> None:
            if work.progress:
                work.progress(done, whole, f"fit, {stage}")

        result = (taught if known else fit)(points, terms(), work.executor, told, shipped())
        return left_out(result, points, kind)

    return under


def left_out(result: Result, points: Sequence[Point], kind: str) -> list[Calibration]:
    """For each run the constants fitted without its fold; those of all where its fold taught nothing."""
    by_fold = without(result, cut([each.point for each in result.pool.observations], kind))
    return [by_fold.get(fold, result.calibration) for fold in cut(points, kind)]
