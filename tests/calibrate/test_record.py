"""Levels as data files: what is written is what is read."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.facts import Fact
from assay._base.schema import DATA, read
from assay.calibrate.record import NOTHING, chip_document, document
from assay.calibrate.terms import terms
from assay.chips import Chip
from assay.cost.constants import Calibration, Level, Where, levels, own_level
from assay.engines import Engine

H100 = DATA / "chips" / "h100-sxm.toml"


def level(factors: Mapping[str, float], *where: str, runs: int = 3) -> Level:
    """A level of factors, each with an interval around it."""
    return Level("kernel-by-kernel", Where(*where), {name: Fact(value, value / 2, value * 2) for name, value in factors.items()}, runs)


def told(each: Level) -> tuple[Any, ...]:
    """What a level says, without the factors that are nothing."""
    factors = {name: (fact.value, fact.low, fact.high) for name, fact in each.factors.items() if abs(fact.value - 1) > NOTHING}
    return each.execution, each.where, each.runs, factors


def reread(calibration: Calibration, folder: Path) -> Calibration:
    """The calibration from its document."""
    file = folder / "fitted.toml"
    file.write_text(document(calibration, "runs that were made up"), encoding="utf-8")
    return Calibration(tuple(levels(read(file, "fitted").get("level", ()))))


def test_a_calibration_is_read_back(known: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every level with its runs, and every factor that is not one, with its interval."""
    made = known.result.calibration
    again = reread(made, tmp_path_factory.mktemp("record"))
    assert [told(each) for each in again.levels] == [told(each) for each in made.levels]
    chip, engine = Chip.load("mi300x"), Engine.load("vllm")
    for table, keys in vars(again.constants(chip, engine)).items():
        assert keys == pytest.approx(vars(made.constants(chip, engine))[table], rel=0.02)


factors_of_terms = st.dictionaries(st.sampled_from(terms().names), st.sampled_from([0.25, 0.5, 0.999, 1.0, 1.001, 2.0, 1e4]))
somewhere = st.tuples(st.sampled_from(["", "vllm"]), st.sampled_from(["", "hopper"]), st.sampled_from(["", "h100-sxm"]), st.just(""))


@given(st.lists(st.tuples(factors_of_terms, somewhere, st.integers(0, 3)), max_size=4))
def test_any_levels_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[dict[str, float], tuple[str, ...], int]]
) -> None:
    """Those that say nothing, and were taught by no run, are left out."""
    made = Calibration(tuple(level(factors, *where, runs=runs) for factors, where, runs in rows))
    again = reread(made, tmp_path_factory.mktemp("record"))
    kept = [told(each) for each in made.levels]
    assert [told(each) for each in again.levels] == [each for each in kept if each[2] or each[3]]


def saved(chip: Chip, made: list[Level], file: Path) -> Chip:
    """The chip from its file with the levels in it."""
    file.write_text(chip_document(chip, made), encoding="utf-8")
    return Chip.load(file)


def test_a_chip_file_carries_levels(tmp_path: Path) -> None:
    """Under each engine, and everything else as it was."""
    chip = Chip.load("h100-sxm")
    made = [level({"host.step": 1.5}, "vllm", "", "h100-sxm"), level({"fixed.kernel": 0.5}, "sglang", "", "h100-sxm", runs=1)]
    own = saved(chip, made, tmp_path / "mine.toml")
    for each in made:
        found = own_level(own, each.where.engine)
        assert found is not None
        assert (found.runs, found.where) == (each.runs, Where(each.where.engine, "", "mine"))
        assert {name: (fact.value, fact.low, fact.high) for name, fact in found.factors.items()} == told(each)[3]
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8").startswith(H100.read_text(encoding="utf-8").rstrip())
    same = {"name", "title", "file", "calibration"}
    assert {key: value for key, value in vars(own).items() if key not in same} == {
        key: value for key, value in vars(chip).items() if key not in same
    }


def test_calibrated_anew_replaces_what_the_engine_had(tmp_path: Path) -> None:
    """Other engines keep theirs, and nothing stands twice."""
    chip = Chip.load("h100-sxm")
    first = saved(chip, [level({"host.step": 1.5}, "vllm"), level({"host.step": 3.0}, "sglang")], tmp_path / "mine.toml")
    second = saved(first, [level({"host.step": 2.0, "fixed.kernel": 0.5}, "vllm", runs=9)], tmp_path / "mine.toml")
    assert {row["engine"]: (row["runs"], row["factor"]["host"]["step"].value) for row in second.calibration} == {
        "vllm": (9, 2.0),
        "sglang": (3, 3.0),
    }
    assert chip_document(second, [level({"host.step": 2.0, "fixed.kernel": 0.5}, "vllm", runs=9)]) == second.file.read_text(
        encoding="utf-8"
    )


OWN = """\
# before
[[calibration]]
engine = "vllm"
runs = 2
[calibration.factor.host]
step = 2.0

[[ calibration ]] # of another engine
engine = "sglang"
runs = 1
factor.host.step = { value = 3.0, source = "my own bench" }
"""


def test_what_else_stands_in_the_file_is_kept_as_it_is(tmp_path: Path) -> None:
    """Tables after the calibration, its other engines with their sources, and comments."""
    text, power = H100.read_text(encoding="utf-8"), "[power]"
    head, tail = text[: text.index(power)], text[text.index(power) :]
    (tmp_path / "mine.toml").write_text(f"{head}{OWN}{tail}", encoding="utf-8")
    own = Chip.load(tmp_path / "mine.toml")
    written = chip_document(own, [level({"host.step": 4.0}, "vllm")])
    assert tomllib.loads(written)["power"] == tomllib.loads(text)["power"]
    assert "# before\n" in written
    assert OWN[OWN.index("[[ calibration ]]") :] in written
    (tmp_path / "new.toml").write_text(written, encoding="utf-8")
    new = Chip.load(tmp_path / "new.toml")
    assert [row["engine"] for row in new.calibration] == ["sglang", "vllm"]
    assert new.calibration[0] == own.calibration[1]
    assert new.calibration[1]["factor"]["host"]["step"].value == 4.0
