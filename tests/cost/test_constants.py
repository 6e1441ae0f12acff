"""Constants in levels: which hold for whom, and what they multiply to."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.facts import Fact
from assay.calibrate.terms import terms
from assay.chips import Chip
from assay.cost.constants import MOST_ACCEPTED, TAUGHT, Calibration, Constants, Level, Where, generic, levels, own_level, shipped
from assay.engines import Engine
from assay.models import Model

KERNELS = "kernel-by-kernel"
H100, H200, MI300X = (Chip.load(name) for name in ("h100-sxm", "h200-sxm", "mi300x"))
VLLM, SGLANG = Engine.load("vllm"), Engine.load("sglang")


def level(factor: float, *where: str, execution: str = KERNELS, runs: int = 1) -> Level:
    """A level of one factor, on the rows by which experts are padded."""
    return Level(execution, Where(*where), {"experts.padding": Fact(factor)}, runs)


def factor(calibration: Calibration, chip: Chip, engine: Engine) -> float:
    """What they are multiplied by."""
    return calibration.constants(chip, engine).experts["padding"] / generic(chip.execution).experts["padding"]


EVERY = Calibration(
    (
        level(2.0),
        level(3.0, "vllm"),
        level(5.0, "", "hopper"),
        level(7.0, "vllm", "hopper"),
        level(11.0, "", "", "h100-sxm"),
        level(13.0, execution="resident-pipeline"),
    )
)


@pytest.mark.parametrize(
    ("chip", "engine", "expected"),
    [
        (H100, VLLM, 2 * 3 * 5 * 7 * 11),
        (H200, VLLM, 2 * 3 * 5 * 7),
        (H100, SGLANG, 2 * 5 * 11),
        (MI300X, VLLM, 2 * 3),
        (MI300X, SGLANG, 2),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_all_levels_that_hold_are_multiplied(chip: Chip, engine: Engine, expected: float) -> None:
    """Those for everything, its engine, its family, both, and itself; none of another way of execution."""
    assert factor(EVERY, chip, engine) == pytest.approx(expected)


def test_no_level_is_for_chips_of_another_execution() -> None:
    """Neither way round."""
    resident = Chip.load("groq-lpu-v1")
    assert [each.factors["experts.padding"].value for each in EVERY.holding(resident, Engine.load("generic"))] == [13.0]
    assert 13.0 not in [each.factors["experts.padding"].value for each in EVERY.holding(H100, VLLM)]


def test_a_load_generators_level_is_for_those_who_ask_with_it() -> None:
    """For nobody else, and nothing else of it moves."""
    client = replace(level(17.0), where=Where(client="serving"))
    every = Calibration((*EVERY.levels, client))
    assert factor(every, H100, VLLM) == factor(EVERY, H100, VLLM)
    assert factor(every.seen_by("serving"), H100, VLLM) == pytest.approx(17 * factor(EVERY, H100, VLLM))
    assert every.seen_by("serving") is every.seen_by("serving")
    assert every.seen_by("another") is every.seen_by("") is every


R1 = Model.load("deepseek-r1")
SYSTEM = level(19.0, "vllm", "", "h100-sxm", "", "", "deepseek-r1", "fp8")


@pytest.mark.parametrize(
    ("chip", "engine", "model", "weights", "own"),
    [
        (H100, VLLM, R1, "fp8", 19),
        (H100, VLLM, replace(R1, name="a fine-tune of it"), "fp8", 19),
        (H100, VLLM, Model.load("llama-3.1-8b"), "fp8", 1),
        (H100, VLLM, None, "", 1),
        (H100, VLLM, R1, "bf16", 1),
        (H200, VLLM, R1, "fp8", 1),
        (H100, SGLANG, R1, "fp8", 1),
    ],
    ids=["it", "its architecture", "another model", "no model", "other weights", "another chip", "another engine"],
)
def test_a_systems_level_is_for_its_model_in_its_weights_alone(chip: Chip, engine: Engine, model: Model, weights: str, own: int) -> None:
    """Whatever a model of the same architecture is called; and the wide levels are without it."""
    every = Calibration((*EVERY.levels, SYSTEM))
    found = every.constants(chip, engine, model, weights).experts["padding"] / generic(KERNELS).experts["padding"]
    assert found == pytest.approx(own * factor(EVERY, chip, engine))
    assert every.wide.fingerprint == EVERY.fingerprint


def test_what_a_chips_own_file_says_stands_in_the_place_of_its_systems() -> None:
    """Its points were held against wide levels, and the file may have another name."""
    own = replace(H100, calibration=({"engine": "vllm", "runs": 2, "factor": {"experts": {"padding": Fact(3.0)}}},))
    with_system, without = (Calibration(levels).constants(own, VLLM, R1, "fp8") for levels in ((*EVERY.levels, SYSTEM), EVERY.levels))
    assert with_system == without


def test_a_system_of_a_model_that_only_its_owner_has_is_no_others() -> None:
    """Its name leads to no file of the catalogue."""
    mine = replace(SYSTEM, where=SYSTEM.where._replace(model="mine"))
    assert Calibration((mine,)).system(H100, VLLM, R1, "fp8") is None
    assert Calibration((mine,)).system(H100, VLLM, replace(R1, name="mine"), "fp8") is mine


def test_of_models_alike_each_has_its_own_system() -> None:
    """Where there is one; the other's only where there is none."""
    twin = replace(R1, name="deepseek-v3")
    own = replace(SYSTEM, where=SYSTEM.where._replace(model="deepseek-v3"), factors={"experts.padding": Fact(23.0)})
    found = [Calibration((SYSTEM, own)).constants(H100, VLLM, model, "fp8").experts["padding"] for model in (R1, twin)]
    assert found == pytest.approx([factor * generic(KERNELS).experts["padding"] for factor in (19, 23)])


def test_without_levels_generic_physics_is_left() -> None:
    """The very constants of generic.toml."""
    assert Calibration().constants(H100, VLLM) == generic(KERNELS)
    assert Calibration().holding(H100, VLLM) == ()


@pytest.mark.parametrize(
    ("date", "few", "expected"),
    [
        ("2025-02", 1, 1.0),
        ("2025-06", 1, 2.0),
        ("2025-08", 1, 2.0),
        ("2026-01", 1, 3.0),
        ("2026-04", 1, 3.0),
        ("2026-07", 1, 5.0),
        ("2027-01", 1, 5.0),
        ("2026", TAUGHT, 1.0),
        (None, TAUGHT, 5.0),
        (None, TAUGHT - 1, 3.0),
    ],
)
def test_of_quarters_the_engines_counts_else_the_last_before_it(date: str | None, few: int, expected: float) -> None:
    """Of today's engine the last that more than a few runs taught; before the first, and of a year alone, none."""
    calibration = Calibration(
        (
            level(3.0, "vllm", "hopper", "", "2026Q1", runs=TAUGHT),
            level(2.0, "vllm", "hopper", "", "2025Q2"),
            level(5.0, "vllm", "hopper", "", "2026Q3", runs=few),
            level(9.0, "sglang", "hopper", "", "2026Q2", runs=TAUGHT),
        )
    )
    engine = Engine.load(f"vllm@{date}") if date else VLLM
    assert factor(calibration, H100, engine) == pytest.approx(expected)


def calibrated(chip: Chip, name: str, engine: str, factors: dict[str, dict[str, float]]) -> Chip:
    """The chip as a file of its owner has it, with what an engine was calibrated to."""
    tables = {table: {key: Fact(value) for key, value in keys.items()} for table, keys in factors.items()}
    return replace(chip, name=name, calibration=({"engine": engine, "runs": 4, "factor": tables},))


@pytest.mark.parametrize("name", ["mine", "h100-sxm"])
def test_what_a_chips_own_file_says_stands_in_the_place_of_the_level_of_the_chip(name: str) -> None:
    """Whatever the file is called; other engines do not mind."""
    own = calibrated(H100, name, "vllm", {"experts": {"padding": 17.0}})
    assert factor(EVERY, own, VLLM) == pytest.approx(2 * 3 * 5 * 7 * 17)
    assert factor(EVERY, own, SGLANG) == pytest.approx(factor(EVERY, replace(H100, name=name), SGLANG))
    found = own_level(own, "vllm")
    assert found is not None
    assert (found.where, found.runs) == (Where("vllm", "", name), 4)
    assert own_level(own, "sglang") is None
    assert own_level(H100, "vllm") is None


@given(
    st.lists(st.floats(-3, 3), min_size=len(terms().names), max_size=len(terms().names)), st.sampled_from([KERNELS, "resident-pipeline"])
)
def test_shares_stay_within_their_limits(logarithms: tuple[float, ...], execution: str) -> None:
    """Nothing moves more than the bandwidth that is there, the busiest rank does no less than the mean, and drafts err now and then.

    Columns of numbers are limited as single ones are.
    """
    factors = dict(zip(terms().names, map(math.exp, logarithms), strict=True))
    found = generic(execution).times(factors)
    assert max(*found.bandwidth_share.values(), found.collective["bandwidth_share"]) <= 1
    assert found.experts["imbalance"] >= 1
    assert found.speculation["acceptance"] <= MOST_ACCEPTED
    column = generic(execution).times({name: np.array([[value], [1.0]]) for name, value in factors.items()})
    for name in factors:
        assert np.ravel(value_of(column, name)).tolist() == pytest.approx([value_of(found, name), value_of(generic(execution), name)])


def value_of(constants: Constants, name: str) -> float:
    """The constant of this name, as `table.key`."""
    table, _, key = name.partition(".")
    return getattr(constants, table)[key]


def test_a_factor_multiplies_its_constant_alone() -> None:
    """And leaves the constants that it came from as they were."""
    before = generic(KERNELS)
    for name in terms().names:
        after = before.times({name: 0.9})
        moved = [other for other in terms().names if value_of(after, other) != value_of(before, other)]
        assert moved == ([name] if value_of(before, name) else []), name
    assert before == generic(KERNELS)


def test_the_fingerprint_tells_calibrations_apart() -> None:
    """By factors, by whom they hold for, and by runs; not by which object it is."""
    same = [Calibration((level(2.0, "vllm"),)).fingerprint for _ in range(2)]
    others = [Calibration(), *(Calibration((each,)) for each in (level(2.1, "vllm"), level(2.0, "sglang"), level(2.0, "vllm", runs=2)))]
    assert same[0] == same[1]
    assert len({same[0], *(other.fingerprint for other in others)}) == 5


def test_levels_of_a_document_leave_out_what_holds_for_any() -> None:
    """Absent engine, family, chip and quarter hold for all."""
    rows = [
        {"execution": KERNELS, "runs": 3},
        {"execution": KERNELS, "runs": 2, "engine": "vllm", "quarter": "2026Q1", "factor": {"host": {"step": Fact(1.5)}}},
    ]
    first, second = levels(rows)
    assert (first.where, dict(first.factors), first.runs) == (Where(), {}, 3)
    assert (second.where, dict(second.factors)) == (Where("vllm", "", "", "2026Q1"), {"host.step": Fact(1.5)})


def test_what_ships_is_in_order() -> None:
    """Each level is for engines and chips that exist, of constants that exist, within its interval; the widest come first."""
    for each in shipped().levels:
        if each.where.engine:
            Engine.load(each.where.engine)
        if each.where.chip:
            assert Chip.load(each.where.chip).execution == each.execution
        assert not each.where.quarter or each.where.engine
        for name, fact in each.factors.items():
            assert name in terms().names
            assert (fact.low or fact.value) <= fact.value <= (fact.high or fact.value)
    named = [sum(map(bool, each.where[:3])) for each in shipped().levels if not each.where.chip]
    assert named == sorted(named)
    assert shipped() is shipped()
