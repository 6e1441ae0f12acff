"""Bands hold the next number like those that they were made from, nine times of ten."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.schema import read
from assay.calibrate.bands import FEW, FEWEST, SET_FEW, SEVERAL, VARIED, Band, Residual, banded, document, rebanded, residuals
from assay.cost.constants import Calibration
from assay.points import Point, Points
from assay.search.evidence import ANY, ANYONE, KNOWN, METRICS, Pair
from assay.validate.predict import told
from assay.validate.validation import Validation

MakePoint = Callable[..., Point]
KERNELS = "kernel-by-kernel"
BLOCKS = count()


def residual(value: float, **changes: Any) -> Residual:
    """One number, by default of a run of which chip and engine are known, of a configuration of its own."""
    told = {"execution": KERNELS, "known": "chip", "load": "open", "metric": "tpot", "collection": "a", "block": str(next(BLOCKS))}
    return Residual(**{**told, "value": value, **changes})


def enough(*rows: Residual) -> list[Residual]:
    """These, of as many configurations as a band needs."""
    return [replace(row, block=str(block)) for row in rows for block in range(FEWEST)]


def band(found: Sequence[Band], known: str = "chip", load: str = ANY, pair: Pair = ANYONE) -> Band:
    """The one band for this knowledge, load and pair that has rows."""
    (only,) = (each for each in found if (each.known, each.load, each.pair) == (known, load, pair) and each.rows)
    return only


def inside(values: Sequence[float], found: Band, metric: str = "tpot") -> float:
    """Share of the numbers that lie within the band."""
    fact = found.factors[metric]
    within = np.log(fact.low) - 1e-9, np.log(fact.high) + 1e-9
    return float(np.mean([within[0] <= value <= within[1] for value in values]))


def test_the_next_number_is_held_nine_times_of_ten() -> None:
    """Made from 400 numbers, held against others of the same skewed kind."""
    random = np.random.default_rng(2)
    held = []
    for _ in range(20):
        seen, unseen = (0.3 * random.standard_t(3, size) + 0.2 * random.exponential(size=size) for size in (400, 4000))
        held.append(inside(unseen, band(banded(map(residual, seen)))))
    assert np.mean(held) >= 0.88
    assert min(held) >= 0.83
    assert np.mean(held) <= 0.93


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-3, 3)), min_size=FEWEST, max_size=120))
def test_no_collection_is_left_out(rows: list[tuple[str, float]]) -> None:
    """Nine tenths of all numbers are held, four fifths of those of each collection of enough, and the prediction itself always."""
    found = band(banded(residual(value, collection=name) for name, value in rows))
    fact = found.factors["tpot"]
    assert inside([value for _, value in rows], found) >= 0.9
    assert fact.low <= 1 <= fact.high
    assert fact.low <= fact.value <= fact.high
    for name in "abc":
        own = [value for other, value in rows if other == name]
        assert len(own) < SET_FEW or inside(own, found) >= 0.8


def test_loads_of_enough_numbers_have_bands_of_their_own() -> None:
    """The others are held by that of any load, which is made from all."""
    random = np.random.default_rng(1)
    rows = [residual(value, pair=("vllm", f"family {place % SEVERAL}")) for place, value in enumerate(random.normal(0, 0.1, FEW))]
    rows += [residual(value, load="all at once") for value in random.normal(0.5, 0.1, FEW - 1)]
    found = banded(rows)
    assert band(found, load="open").factors["tpot"].high < 1.4 < band(found).factors["tpot"].high
    assert (band(found, load="open").rows, band(found).rows) == (FEW, 2 * FEW - 1)
    assert not [each for each in found if each.load == "all at once"]


def test_what_one_pair_shows_of_a_load_is_its_own() -> None:
    """Others under that load have the band of any load, though all the numbers under it are of the one."""
    sure = ("vllm", "hopper")
    rows = [residual(0.001 * at, pair=sure) for at in range(FEW)] + [
        residual(0.05 * at, load="all at once", pair=("a", "b")) for at in range(9)
    ]
    found = banded(rows)
    assert band(found, load="open", pair=sure).rows == FEW
    assert not [each for each in found if each.load == "open" and each.pair == ANYONE]
    assert band(found).rows == FEW + 9


def test_what_is_known_differently_is_apart() -> None:
    """So are ways of execution, and metrics."""
    apart = residual(0.5, known="relative"), residual(0.9, execution="resident-pipeline"), residual(-0.7, metric="ttft")
    found = banded(enough(residual(0.1), *apart))
    assert band([each for each in found if each.execution == KERNELS]).factors["tpot"].high == pytest.approx(math.exp(0.1))
    assert band([each for each in found if each.execution == KERNELS]).factors["ttft"].low == pytest.approx(math.exp(-0.7))
    assert band(found, "relative").factors["tpot"].high == pytest.approx(math.exp(0.5))
    assert band([each for each in found if each.execution != KERNELS]).factors["tpot"].high == pytest.approx(math.exp(0.9))


def test_the_order_of_numbers_does_not_count() -> None:
    """The same bytes each time."""
    random = np.random.default_rng(9)
    rows = [
        residual(
            float(value),
            known=str(random.choice(KNOWN)),
            load=str(random.choice(["open", "all at once"])),
            metric=str(random.choice(METRICS)),
        )
        for value in random.normal(0, 0.5, 500)
    ]
    shuffled = [rows[place] for place in random.permutation(len(rows))]
    assert document(banded(rows), "here") == document(banded(shuffled), "here")


def test_for_whom_nothing_is_known_every_metric_has_a_band() -> None:
    """The widest of those that are known better; of metrics that nobody measured that of their mean, or of TPOT."""
    rows = enough(residual(0.4), residual(-0.2, known="relative"), residual(0.9, metric="ttft"))
    (last,) = (each for each in banded(rows) if each.known == KNOWN[-1])
    assert set(last.factors) == set(METRICS)
    assert (last.load, last.rows) == (ANY, 0)
    wide = {name: (round(math.log(fact.low), 6), round(math.log(fact.high), 6)) for name, fact in last.factors.items()}
    assert wide["tpot"] == wide["tpot_tail"] == wide["itl"] == wide["e2e"] == wide["output_tokens_per_second"] == (-0.2, 0.4)
    assert wide["ttft"] == (0.0, 0.9)


def test_numbers_of_hardly_any_configuration_make_no_band() -> None:
    """They go together: that of TPOT counts."""
    rows = enough(residual(0.4)) + [residual(0.1 * at, metric="ttft", block=f"ttft {at % (FEWEST - 1)}") for at in range(FEW - 1)]
    assert set(band(banded(rows)).factors) == {"tpot"}
    (last,) = (each for each in banded(rows) if each.known == KNOWN[-1])
    assert last.factors["ttft"] == last.factors["e2e"]


def test_what_is_known_less_well_is_never_surer() -> None:
    """Its own numbers count, and the band of what is known better is the least."""
    found = banded(enough(residual(2.0), residual(0.1, known=KNOWN[-1]), residual(-0.5, known=KNOWN[-1])))
    fact = band(found, KNOWN[-1]).factors["tpot"]
    assert (fact.low, fact.high) == pytest.approx((math.exp(-0.5), math.exp(2.0)))
    assert "tpot" not in next(each for each in found if each.known == KNOWN[-1] and not each.rows).factors


def test_residuals_are_measured_over_predicted(made: MakePoint) -> None:
    """Of what is scored and no condition of the run; a speed of one user is a TPOT turned round."""
    numbers = [
        ("tpot", "mean"),
        ("ttft", "p99"),
        ("output_tokens_per_second_per_user", "mean"),
        ("output_tokens_per_second", ""),
        ("tpot", "p50"),
    ]
    point = made(numbers, load="poisson", rate=2.0, concurrency=None, requests=20)
    guesses = told(point, Calibration()).guesses
    values = [guess.predicted * 1.5 for guess in guesses]
    values[3] = 2.0 * 40  # what came was served
    qualities = ["A", "A", "A", "A", "D"]
    scored = zip(point.numbers, values, qualities, strict=True)
    point = replace(point, numbers=tuple(replace(number, value=value, quality=quality) for number, value, quality in scored))
    validation = Validation(Points(None, ()), (point,), (told(point, Calibration()),))
    found = list(residuals(validation))
    assert [each.metric for each in found] == ["tpot", "ttft_tail", "tpot"]
    assert [each.value for each in found] == pytest.approx([math.log(1.5), math.log(1.5), -math.log(1.5)])
    assert {(each.execution, each.known, each.load, each.collection) for each in found} == {(KERNELS, "nothing", "open", "made up")}


def test_an_engine_on_a_family_has_its_own_band_where_enough_was_measured() -> None:
    """Enough numbers, of enough configurations; the band of all holds for the others."""
    sure, blocks = ("sglang", "hopper"), [f"block {at}" for at in range(VARIED)]
    rows = [residual(0.01 * at, pair=sure, block=blocks[at % VARIED]) for at in range(-FEW, FEW)]
    rows += [residual(0.1 * at, pair=("vllm", "tpu"), block="one alone") for at in range(-FEW, FEW)]
    rows += [residual(0.1 * at, pair=("vllm", "hopper"), block=blocks[at % VARIED]) for at in range(-3, 3)]
    found = banded(rows)
    assert {each.pair for each in found if each.rows} == {sure, ANYONE}
    assert band(found, pair=sure).factors["tpot"].high < 1.4 < band(found).factors["tpot"].high
    assert band(found, load="open", pair=sure).rows == 2 * FEW


def test_predictions_can_be_set_within_other_bands(made: MakePoint) -> None:
    """Each by what is known of it, its load and its metric; what is not predicted stays so, and no prediction moves."""
    per_user = ("output_tokens_per_second_per_user", "mean")
    runs = (made([("tpot", "mean"), ("tpot", "p75"), per_user, ("ttft", "mean")]), made(model="nobody-7b"))
    before = Validation(Points(None, ()), runs, tuple(told(point, Calibration()) for point in runs))
    table = {("nothing", ANY, metric, ANYONE): (0.1, 10.0) for metric in METRICS}
    table |= {("nothing", before.told[0].load, "tpot", ANYONE): (0.8, 1.6)}
    after = rebanded(before, {KERNELS: table})
    factors = [(guess.low / guess.predicted, guess.high / guess.predicted) for guess in after.told[0].guesses if guess.predicted]
    assert factors == [pytest.approx(pair) for pair in ((0.8, 1.6), (1 / 1.6, 1 / 0.8), (0.1, 10.0))]
    assert [guess.predicted for guess in after.told[0].guesses] == [guess.predicted for guess in before.told[0].guesses]
    assert after.told[0].guesses[1] == before.told[0].guesses[1]
    assert after.told[1] == before.told[1]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """By the schema, to four digits."""
    found = banded(enough(residual(0.1), residual(-0.3, metric="ttft"), residual(0.5, known="relative", load="open, speculation")))
    file = tmp_path / "bands.toml"
    file.write_text(document(found, "made-up runs"), encoding="utf-8")
    rows = read(file, "bands")["band"]
    assert len(rows) == len(found)
    for row, each in zip(rows, found, strict=True):
        assert [row[key] for key in ("execution", "known", "load", "rows")] == [each.execution, each.known, each.load, each.rows]
        assert row["factor"].keys() == each.factors.keys()
        for metric, fact in row["factor"].items():
            other = each.factors[metric]
            assert (fact.value, fact.low, fact.high) == pytest.approx((other.value, other.low, other.high), rel=1e-3)
