"""Which measured numbers constants are fitted to, and what each counts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.calibrate.observe import STEEPEST, Observation, observe
from assay.calibrate.rows import Rows, group, rows
from assay.calibrate.terms import terms
from assay.cost.constants import Calibration
from assay.points import Point

MakePoint = Callable[..., Point]
EACH = [("ttft", "p50"), ("e2e", "p99"), ("tpot", "mean"), ("output_tokens_per_second", "")]


def observed(*points: Point) -> list[Observation]:
    """The runs under generic constants."""
    found = [observe(point, Calibration()) for point in points]
    assert all(found)
    return [each for each in found if each]


def found(*points: Point) -> Rows:
    """Their rows."""
    return rows(observed(*points), terms())


def valued(point: Point, **changes: Any) -> Point:
    """The run with its first number changed."""
    first, *others = point.numbers
    return replace(point, numbers=(replace(first, **changes), *others))


def weights(kept: Sequence[int], rows: Rows) -> list[float]:
    """Weights of some rows times the square of their noise: what is left is what they count."""
    return (rows.weight * rows.sigma**2)[list(kept)].tolist()


def test_every_number_has_its_logarithm_and_noise(made: MakePoint) -> None:
    """In the order of runs and of their numbers."""
    run = made(EACH)
    run = replace(run, numbers=tuple(replace(number, value=0.5 + place) for place, number in enumerate(run.numbers)))
    rows = found(run, run)
    assert rows.run.tolist() == [0] * 4 + [1] * 4
    assert rows.place.tolist() == [0, 1, 2, 3] * 2
    assert np.exp(rows.measured).tolist() == pytest.approx([0.5, 1.5, 2.5, 3.5] * 2)
    assert rows.sigma.tolist() == [terms().sigma(number) for number in run.numbers] * 2


def test_rows_count_once_on_average(made: MakePoint) -> None:
    """Whatever their noise, their runs and their sets."""
    rows = found(made(EACH), made(concurrency=8.0), made([("tpot", "mean")], chip="mi300x"))
    assert (rows.weight * rows.sigma**2).mean() == pytest.approx(1)


def test_numbers_of_one_run_count_by_the_root_of_how_many_they_are(made: MakePoint) -> None:
    """Of two runs, four numbers of the one weigh together twice as much as one of the other."""
    four, one = made(EACH, set="a"), made([("tpot", "mean")], set="b")
    each = weights(range(5), found(four, one))
    assert sum(each[:4]) == pytest.approx(2 * each[4])
    assert each[:4] == pytest.approx([each[0]] * 4)


def test_runs_of_one_group_count_by_the_root_of_how_many_they_are(made: MakePoint) -> None:
    """Nine runs of one set, chip and model weigh three times as much as the single one of another."""
    single, many = made(set="b"), [made(concurrency=float(users)) for users in range(1, 10)]
    each = weights(range(30), found(single, *many))
    assert sum(each[3:]) == pytest.approx(3 * sum(each[:3]))
    assert {group(point) for point in many} == {("made up", "h100-sxm", "llama-3.1-8b")}


@pytest.mark.parametrize("changes", [{"quality": "D"}, {"value": None}, {"statistic": "p75"}])
def test_what_is_poor_or_not_measured_or_not_predicted_is_left_out(made: MakePoint, changes: dict[str, Any]) -> None:
    """The other numbers of the run stay, and count as those of a run of two."""
    rows = found(valued(made(), **changes), made(set="b"))
    assert rows.run.tolist() == [0, 0, 1, 1, 1]
    assert rows.place.tolist() == [1, 2, 0, 1, 2]
    assert rows.weight[0] / rows.weight[3] == pytest.approx((3 / 2) ** 0.5)


def test_a_throughput_that_repeats_the_load_is_left_out(made: MakePoint) -> None:
    """Of an open loop that served what came."""
    run = made([("output_tokens_per_second", ""), ("tpot", "mean")], load="poisson", rate=2.0, concurrency=None, requests=20)
    assert found(valued(run, value=2.0 * 40), run).place.tolist() == [1, 0, 1]


def test_an_open_loop_without_its_layout_tells_nothing(made: MakePoint) -> None:
    """It was tuned to the edge by its owner; a closed one without layout counts."""
    open_loop = {"load": "poisson", "rate": 2.0, "concurrency": None, "requests": 20, "chips": 1}
    assert found(made(**open_loop, tp=None)).run.size == 0
    assert found(made(**open_loop)).run.size == 3
    assert found(made(tp=None, chips=1)).run.size == 3


def test_what_waiting_alone_sets_is_left_out(made: MakePoint) -> None:
    """A figure that answers as steeply as is told apart."""
    (seen,) = observed(made())
    steep = seen.answers.copy()
    steep[1, 0] = STEEPEST
    assert rows([replace(seen, answers=steep)], terms()).place.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("users", "requests", "kept"), [(4.0, 8, [0, 3]), (4.0, None, [0, 3]), (4.0, 400, [0, 1, 2, 3]), (1.0, 8, [0, 1, 2, 3])]
)
def test_the_start_of_a_closed_loop_is_left_out(made: MakePoint, users: float, requests: int | None, kept: list[int]) -> None:
    """Where the first request of each user is much of it, means and tails of TTFT are of a cold server."""
    run = made([("ttft", "p50"), ("ttft", "mean"), ("ttft", "p99"), ("tpot", "mean")], concurrency=users)
    conditions = {name: value for name, value in run.conditions.items() if name != "requests"} | (
        {"requests": requests} if requests else {}
    )
    assert found(replace(run, conditions=conditions)).place.tolist() == kept


def test_how_long_an_answer_of_a_shared_endpoint_took_tells_nothing(made: MakePoint) -> None:
    """It may have thought before it, whatever length is said: its speed counts. E2E of one user of a server of one's own counts."""
    numbers = [("e2e", "mean"), ("tpot", "mean")]
    assert found(made(numbers, load="single", concurrency=None, osl=None)).place.tolist() == [1]
    assert found(made(numbers, load="single", concurrency=None)).place.tolist() == [1]
    assert found(made(numbers, concurrency=1.0)).place.tolist() == [0, 1]


def test_of_nothing_there_are_no_rows(made: MakePoint) -> None:
    """Neither of no runs nor of runs without a number that counts."""
    for runs in ([], observed(valued(made([("tpot", "mean")]), quality="D"))):
        empty = rows(runs, terms())
        assert [len(column) for column in vars(empty).values()] == [0] * 5
