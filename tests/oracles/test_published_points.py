"""Predictions beside what others measured and published."""

import math
from pathlib import Path

import pytest

from assay import validate
from assay.validate import journal
from assay.validate.validation import Validation

SETTLED = ("tpot", "itl", "e2e", "output_tokens_per_second", "total_tokens_per_second", "output_tokens_per_second_per_user")
SRAM = {"groq-lpu-v1", "cerebras-wse3"}


@pytest.fixture(scope="module")
def sample(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Validation:
    """Runs drawn evenly over sets, chips and models by a seed, never by their errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "folder", lambda: tmp_path_factory.mktemp("journal"))
        return validate([shared / "published" / "published.parquet"], sample=160)


def test_most_points_are_within_a_factor_of_two(sample: Validation) -> None:
    """The worst number of each set, chip and model; SRAM machines are among them."""
    worst: dict[tuple[str, ...], float] = {}
    for each in sample.scored:
        if each.labels["metric"] in SETTLED and "speculation" not in each.labels["load"]:
            run = (each.labels["set"], each.labels["chip"], each.labels["model"])
            worst[run] = max(worst.get(run, 1.0), math.exp(abs(math.log(each.predicted / each.measured))))
    assert len(worst) >= 60
    assert {chip for _, chip, _ in worst} >= SRAM
    assert sum(factor <= 2 for factor in worst.values()) > len(worst) / 2, sorted(worst.items(), key=lambda item: -item[1])


def test_most_of_the_table_can_be_predicted(sample: Validation) -> None:
    """Three numbers in four, though rare chips and models, of which much is not known, are drawn as often as common ones."""
    for quality, share in (("A", 0.75), ("B", 0.75)):
        predicted, rows = sample.reached()[quality]
        assert predicted >= share * rows, sample.skipped


def test_predictions_beat_the_data_sheet(sample: Validation) -> None:
    """On the time per token, the time of a request and the throughput."""
    for group in sample.groups(("metric",)):
        if group.labels["metric"] in ("tpot", "e2e", "output_tokens_per_second") and group.datasheet is not None:
            assert group.median_error < group.datasheet, group
