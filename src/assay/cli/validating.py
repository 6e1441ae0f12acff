"""`validate` on all cores, with progress, and the files that it leaves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay import api
from assay.cli import progress
from assay.cli.questions import executor
from assay.report import accuracy, files
from assay.search.comparison import Work
from assay.simulate.compiled import warm_up
from assay.validate.validation import Validation


def found(data: Sequence[Path], sample: int | None, seed: int, folds: str | None = None) -> Validation:
    """Predictions for the runs of some tables, with `folds` by constants fitted without them.

    Work runs on all cores; progress goes to stderr.
    """
    warm_up()
    with progress.bar("runs predicted") as told, executor() as workers:

        def tell(done: int, total: int, _: str) -> None:
            if told:
                told(done, total)

        return api.validate(data, sample=sample, seed=seed, folds=folds, work=Work(workers, tell))


def keep(validation: Validation, result: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the files that were asked for: the rows with their predictions, and the report."""
    if "--predictions" in paths:
        with files.whole(paths["--predictions"]) as draft:
            validation.frame().write_parquet(draft)
    if "--out" in paths:
        accuracy.write(result, validation.listed(), paths["--out"])
