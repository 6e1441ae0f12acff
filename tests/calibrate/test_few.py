"""A few points of one's own: a chip's constants move towards them, as far as they tell."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assay import calibrate, simulate
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay.calibrate import few
from assay.calibrate.few import UNKNOWN, Update, updated
from assay.calibrate.record import chip_document
from assay.calibrate.terms import terms
from assay.chips import Chip
from assay.cost.constants import Calibration, Level, Where, shipped
from assay.deployments import Deployment
from assay.engines import Engine
from assay.models import Model
from assay.points import Point, Points, read_points
from assay.search.evidence import KNOWN, known
from assay.workloads import Workload

MakePoint = Callable[..., Point]
Measure = Callable[[Sequence[Point], Calibration], list[Point]]

SLOWER = {"bandwidth_share.weights": 0.8, "compute_share.gemm16": 0.8, "fixed.kernel": 1.3, "host.step": 1.3, "host.request": 1.3}


def slower(factors: dict[str, float] = SLOWER) -> Calibration:
    """The shipped constants, and below them a machine on which everything takes longer."""
    level = Level("kernel-by-kernel", Where(), {name: Fact(factor) for name, factor in factors.items()})
    return Calibration((*shipped().levels, level))


def table(points: Sequence[Point], file: Path) -> Points:
    """The runs as a table, one row for each number."""
    rows = [
        {
            **point.conditions,
            "metric": number.metric,
            "statistic": number.statistic,
            "per": number.per,
            "value": number.value,
            "quality": "A",
        }
        for point in points
        for number in point.numbers
    ]
    pl.DataFrame(rows).write_csv(file)
    return read_points([file])


@pytest.fixture(scope="module")
def runs(made: MakePoint, measured: Measure) -> list[Point]:
    """Six runs on a slower H100, of few users and many."""
    return measured([made(concurrency=float(users), isl=float(isl)) for users in (1, 8, 32) for isl in (200, 1000)], slower())


@pytest.fixture(scope="module")
def points(runs: list[Point], tmp_path_factory: pytest.TempPathFactory) -> Points:
    """Their table."""
    return table(runs, tmp_path_factory.mktemp("few") / "points.csv")


@pytest.fixture(scope="module")
def update(points: Points) -> Update:
    """What they teach."""
    return updated(points, Chip.load("h100-sxm"), {})


@pytest.fixture(scope="module")
def own(update: Update, tmp_path_factory: pytest.TempPathFactory) -> Chip:
    """The chip's file with it."""
    file = tmp_path_factory.mktemp("own") / "calibrated.toml"
    file.write_text(chip_document(update.chip, update.levels), encoding="utf-8")
    return Chip.load(file)


def errors(runs: Sequence[Point], chip: Chip, measured: Measure) -> np.ndarray:
    """Predicted over measured, less one."""
    there = measured([replace(point, conditions={**point.conditions, "chip": str(chip.file)}) for point in runs], shipped())
    return np.array(
        [one.value / other.value - 1 for a, b in zip(there, runs, strict=True) for one, other in zip(a.numbers, b.numbers, strict=True)]
    )


def test_points_pull_predictions_towards_them(update: Update) -> None:
    """Each run by constants that the others taught: the error falls to a fraction."""
    assert update.before > 0.1
    assert update.after is not None
    assert update.after < update.before / 3
    assert (update.engines, update.runs, update.numbers, update.skipped) == (("vllm",), 6, 18, 0)
    assert {level.where.engine: level.runs for level in update.levels} == {"vllm": 6}


def test_the_chips_file_predicts_what_was_measured(runs: list[Point], own: Chip, update: Update, measured: Measure) -> None:
    """As the update said of it, where the shipped chip does not."""
    assert np.median(np.abs(errors(runs, update.chip, measured))) == pytest.approx(update.before, abs=0.01)
    assert np.median(np.abs(errors(runs, own, measured))) < update.before / 3


def test_it_predicts_runs_that_nobody_measured(own: Chip, update: Update, made: MakePoint, measured: Measure) -> None:
    """Other users and lengths, with speculation or a larger model, on the same slower machine."""
    others = [made(concurrency=4.0, isl=2000.0), made(concurrency=16.0, osl=100.0), made(model="llama-3.3-70b", tp=4, concurrency=8.0)]
    truth = measured(others, slower())
    assert np.median(np.abs(errors(truth, own, measured))) < np.median(np.abs(errors(truth, update.chip, measured))) / 2


def test_a_simulation_with_the_file_is_another(own: Chip, made: MakePoint, measured: Measure) -> None:
    """Slower under the engine that was measured, by as much as the machine is."""
    model, workload = Model.load("llama-3.1-8b"), Workload.draw(500, 50, requests=40, concurrency=8)
    run = made([("e2e", "mean")], concurrency=8.0, isl=500.0, osl=50.0)
    slow, shipped_one = (measured([run], of)[0].numbers[0].value for of in (slower(), shipped()))
    engine = f"vllm@{run.said('source_date')}"

    def latency(chip: Chip) -> float:
        return simulate(model, Deployment.of(chip, engine=engine, tp=1), workload).latencies["e2e"].values["mean"]

    slowed = slow / shipped_one
    assert slowed > 1.08
    assert latency(own) / latency(Chip.load("h100-sxm")) == pytest.approx(slowed, rel=0.03)


def test_other_engines_do_not_mind(own: Chip, tmp_path: Path) -> None:
    """Their constants are those of the same file without the calibration."""
    text = own.file.read_text(encoding="utf-8")
    (tmp_path / "calibrated.toml").write_text(text[: text.index("\n[[calibration]]")], encoding="utf-8")
    plain = Chip.load(tmp_path / "calibrated.toml")
    for engine in ("sglang", "tensorrt-llm", "generic"):
        assert shipped().constants(own, Engine.load(engine)) == shipped().constants(plain, Engine.load(engine))
    assert shipped().constants(own, Engine.load("vllm")) != shipped().constants(plain, Engine.load("vllm"))
    assert known(own, Engine.load("vllm")) == "chip"
    assert known(own, Engine.load("sglang")) == known(plain, Engine.load("sglang"))


def test_one_point_cannot_be_tested_on_others(points: Points, tmp_path: Path, runs: list[Point]) -> None:
    """But it teaches."""
    found = updated(table(runs[:1], tmp_path / "one.csv"), Chip.load("h100-sxm"), {})
    assert found.after is None
    assert found.before > 0.1
    assert "no other to test it on" in found.summary()
    assert max(abs(fact.value - 1) for level in found.levels for fact in level.factors.values()) > 0.01


def test_what_points_do_not_tell_of_stays(update: Update) -> None:
    """A dense model on one chip: constants of experts, links and drafts keep the value and the width that they had."""
    chip_level = next((level.factors for level in shipped().levels if level.where == Where("", "", "h100-sxm")), {})
    (level,) = update.levels
    for name in ("experts.padding", "collective.bandwidth_share", "speculation.acceptance"):
        before = chip_level[name].value if name in chip_level else 1.0
        assert level.factors[name].value == pytest.approx(before, rel=1e-3)
        assert level.factors[name].low < level.factors[name].value < level.factors[name].high
    names = "collective.bandwidth_share", "bandwidth_share.weights"
    wide, narrow = (np.log(level.factors[name].high / level.factors[name].low) for name in names)
    spread = dict(zip(terms().names, terms().spread, strict=True))
    assert narrow / spread["bandwidth_share.weights"] < wide / spread["collective.bandwidth_share"]


def test_calibrated_twice_it_goes_on_from_where_it_was(
    runs: list[Point], points: Points, own: Chip, measured: Measure, tmp_path: Path
) -> None:
    """The factors of both calibrations stand in the place of those of the first: the file does not unlearn."""
    second = updated(points, own, {})
    assert second.before < 0.05
    file = tmp_path / "again.toml"
    file.write_text(chip_document(own, second.levels), encoding="utf-8")
    again = Chip.load(file)
    assert [(row["engine"], row["runs"]) for row in again.calibration] == [("vllm", 12)]
    assert np.median(np.abs(errors(runs, again, measured))) < 0.05


@pytest.mark.parametrize("name", ["other.toml", "h100-sxm.toml"])
def test_the_name_of_the_file_does_not_count(own: Chip, name: str, tmp_path: Path) -> None:
    """The shipped level of the chip is in what is written, and not once more where the file is called like the chip."""
    (tmp_path / name).write_text(own.file.read_text(encoding="utf-8"), encoding="utf-8")
    engine = Engine.load("vllm")
    assert shipped().constants(Chip.load(tmp_path / name), engine) == shipped().constants(own, engine)


def test_the_shipped_level_of_the_chip_goes_into_its_file(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which will have another name: constants are those that the update was made above."""
    chip_level = Level("kernel-by-kernel", Where("", "", "h100-sxm"), {"experts.padding": Fact(2.0)}, runs=50)
    calibration = Calibration((*(level for level in shipped().levels if not level.where.chip), chip_level))
    monkeypatch.setattr(few, "shipped", lambda: calibration)
    (level,) = updated(points, Chip.load("h100-sxm"), {}).levels
    assert level.factors["experts.padding"].value == pytest.approx(2.0, rel=1e-3)
    assert level.runs == 6


def test_the_less_is_known_the_further_constants_may_move() -> None:
    """Of each kind of knowledge it is said which levels are open, each with its share."""
    opened = [float(np.hypot.reduce([terms().shares[level] for level in UNKNOWN[kind]])) for kind in KNOWN]
    assert opened == sorted(opened)
    assert opened[0] < opened[-1]


def test_what_runs_of_a_known_collection_are_updated_from_is_what_they_were_simulated_under(made: MakePoint) -> None:
    """With the time of its load generator."""
    point = made(set="serving", model="llama-2-70b", tp=4)
    found = few.observe(point, shipped())
    assert found is not None
    assert few._base(shipped(), found) == found.constants
    assert found.constants.host["request"] < few.observe(made(model="llama-2-70b", tp=4), shipped()).constants.host["request"]


def test_what_a_table_leaves_out_is_filled(runs: list[Point], update: Update, tmp_path: Path) -> None:
    """And what it says counts."""
    bare = [
        replace(point, conditions={key: value for key, value in point.conditions.items() if key not in ("chip", "model", "engine", "tp")})
        for point in runs
    ]
    filled = {"model": "llama-3.1-8b", "engine": "vllm", "tp": 1, "concurrency": 999.0, "weights": None}
    found = updated(table(bare, tmp_path / "bare.csv"), Chip.load("h100-sxm"), filled)
    assert found.before == pytest.approx(update.before)
    assert [dict(level.factors) for level in found.levels] == [dict(level.factors) for level in update.levels]


def test_runs_that_cannot_be_predicted_are_counted(made: MakePoint, runs: list[Point], tmp_path: Path) -> None:
    """The others teach."""
    found = updated(table([*runs[:2], made(model="nobody-7b")], tmp_path / "some.csv"), Chip.load("h100-sxm"), {})
    assert (found.runs, found.skipped) == (2, 1)


def test_the_json_form(update: Update) -> None:
    """Names of the promise, and factors by engine and constant."""
    told = update.to_dict()
    assert {"chip", "engines", "runs", "numbers", "before", "after", "skipped", "factors"} == told.keys()
    assert told["factors"]["vllm"]["host.step"]["value"] == update.levels[0].factors["host.step"].value


def test_from_python(points: Points) -> None:
    """By names of files and of the chip."""
    assert calibrate(points.files, "h100-sxm").runs == 6


@pytest.mark.parametrize(
    ("chip", "conditions", "message"),
    [
        ("mi300x", {}, r"t\.csv: chip: names h100-sxm, and mi300x is to be calibrated\. Give the runs"),
        ("h100-sxm", {"engine": None}, r"t\.csv: engine: is not stated\. Add the column, or give --engine"),
        ("h100-sxm", {"engine": "vlmm"}, r"vlmm: .*Did you mean vllm"),
        ("mi300x", {"chip": None, "engine": "tensorrt-llm"}, r"engine: tensorrt-llm does not run on mi300x .*It runs on: "),
        ("h100-sxm", {"model": "nobody-7b"}, r"t\.csv: no run in it can be predicted and held against a number\. Give rows"),
        ("h100-sxm", {"load": "poisson", "rate": 1.0, "tp": None}, r"t\.csv: no run in it can be predicted and held"),
        ("openai-titan", {"chip": None}, r"unpublished"),
    ],
)  # fmt: skip
def test_what_teaches_nothing_is_refused(chip: str, conditions: dict[str, Any], message: str, made: MakePoint, tmp_path: Path) -> None:
    """By file, field and remedy."""
    with pytest.raises(InputError, match=message):
        updated(table([made(**conditions)], tmp_path / "t.csv"), Chip.load(chip), {})


def test_runs_on_several_chips_are_refused(made: MakePoint, own: Chip, tmp_path: Path) -> None:
    """Whichever of them is asked for; a file may be of a chip that its owner calls by the catalogue's name, or by no known one."""
    mixed = table([made(), made(chip="h200-sxm")], tmp_path / "mixed.csv")
    for chip in (Chip.load("h100-sxm"), own):
        with pytest.raises(InputError, match="chip: names h100-sxm, h200-sxm"):
            updated(mixed, chip, {})
    for name in ("h100-sxm", "our box"):
        assert updated(table([made(chip=name)], tmp_path / "one.csv"), own, {}).runs == 1
