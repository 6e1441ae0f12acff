"""Published runs as a buyer sees them."""

from typing import Any

import pytest

from assay.points import Number, Point
from assay.validate.options import Option, Service, Traffic, options
from assay.validate.predict import Guess

RUN: dict[str, Any] = {"chip": "h100-sxm", "chips": 8, "model": "llama-3.1-8b", "load": "closed", "isl": 900.0, "osl": 300.0}
RATE, TPOT = ("output_tokens_per_second", "", "system", 1600.0), ("tpot", "p50", "request", 0.02)


def run(*said: tuple[str, str, str, float | None], off: float = 2.0, quality: str = "A", **more: Any) -> tuple[Point, list[Guess]]:
    """A run with these numbers, each predicted by a factor of `off` too high, and at a hundredth by the data sheet."""
    numbers = tuple(Number(row, *each, quality) for row, each in enumerate(said))
    guesses = [Guess(each.row, (each.value or 1) * off, None, None, (each.value or 1) / 100) for each in numbers]
    return Point({name: value for name, value in (RUN | more).items() if value is not None}, numbers), guesses


def only(*said: tuple[str, str, str, float | None], **more: Any) -> Option:
    """The option that such a run is."""
    (found,) = options([run(*said, **more)])
    return found


def test_a_closed_loop_has_throughput_of_a_chip_and_interactivity() -> None:
    """1,600 tokens/s of eight chips at 20 ms."""
    found = only(RATE, TPOT)
    assert found.traffic == Traffic("llama-3.1-8b", "closed", 900.0, 300.0)
    assert found.measured == Service(200.0, 50.0)
    assert found.predicted == Service(400.0, 25.0)
    assert found.sheet == Service(2.0, pytest.approx(5000.0))


@pytest.mark.parametrize(
    ("number", "output"),
    [
        (("output_tokens_per_second", "", "chip", 200.0), 200.0),
        (("total_tokens_per_second", "", "system", 6400.0), 200.0),
        (("total_tokens_per_second", "", "chip", 800.0), 200.0),
    ],
)
def test_rates_are_output_tokens_of_a_chip(number: tuple[str, str, str, float], output: float) -> None:
    """A quarter of all tokens are output."""
    assert only(number, TPOT).measured.output == pytest.approx(output)
    assert only(number, load="offline").measured == Service(pytest.approx(output), None)


def test_a_static_batch_says_its_throughput_by_its_duration() -> None:
    """64 answers of 300 tokens in 12 s on eight chips; a prediction of twice the time has half the throughput."""
    found = only(("e2e", "", "request", 12.0), load="static", batch=64.0)
    assert found.measured == Service(200.0)
    assert found.predicted == Service(100.0)


@pytest.mark.parametrize(
    ("numbers", "more"),
    [
        ((RATE,), {}),
        ((TPOT,), {}),
        ((RATE, ("tpot", "p99", "request", 0.02)), {}),
        ((("output_tokens_per_second", "", "request", 50.0), TPOT), {}),
        ((RATE, TPOT), {"load": "poisson"}),
        ((RATE, TPOT), {"isl": None}),
        ((RATE, TPOT), {"chip": None}),
        ((RATE, TPOT), {"model": None}),
        ((RATE, TPOT), {"chips": None}),
        ((RATE, TPOT), {"quality": "D"}),
        ((("output_tokens_per_second", "", "system", None), TPOT), {}),
        ((("e2e", "p50", "request", 12.0),), {"load": "static", "batch": 64.0}),
        ((("e2e", "", "request", 12.0),), {"load": "static"}),
        ((("e2e", "", "request", 12.0), TPOT), {"batch": 64.0}),
    ],
)
def test_runs_that_say_too_little_are_no_option(numbers: tuple[Any, ...], more: dict[str, Any]) -> None:
    """No throughput or no TPOT, a load that says nothing of the chip, a condition not stated, a number known to be wrong."""
    assert options([run(*numbers, **more)]) == []


def test_the_median_goes_before_the_mean() -> None:
    """A statistic that is not stated is a mean, and comes last."""
    others = (("tpot", "", "request", 0.1), ("tpot", "mean", "request", 0.05))
    assert only(RATE, *others, TPOT).measured.interactivity == 50.0
    assert only(RATE, *others).measured.interactivity == 20.0
    assert only(RATE, others[0]).measured.interactivity == 10.0


def test_what_is_not_predicted_is_an_option_still() -> None:
    """It was measured; that nothing is said of it is the prediction's fault."""
    point, guesses = run(RATE, TPOT)
    (found,) = options([(point, [Guess(guess.row, reason="why") for guess in guesses])])
    assert (found.measured, found.predicted, found.sheet) == (Service(200.0, 50.0), None, None)
    (found,) = options([(point, [guesses[0], Guess(1, reason="why")])])
    assert found.predicted is None


def test_lengths_are_those_asked_for() -> None:
    """Nominal ones go before those used, a data set's before the means of its runs; a shared prefix is another traffic."""
    assert only(RATE, TPOT, isl_nominal=1000.0).traffic.isl == 1000.0
    sets = [only(RATE, set="mlperf", model="llama-2-70b", load="offline", isl=None, osl=mean).traffic for mean in (280.0, 300.0)]
    assert sets[0] == sets[1]
    assert only(RATE, TPOT, shared_prefix=512).traffic != only(RATE, TPOT).traffic


def test_names_are_those_of_the_catalogue() -> None:
    """An alias is the same chip; what is not in the catalogue keeps its name."""
    assert only(RATE, TPOT, chip="H100").chip == only(RATE, TPOT).chip == "h100-sxm"
    assert only(RATE, TPOT, chip="nobody's").chip == "nobody's"


def test_the_latest_of_like_setups_stands_for_all() -> None:
    """Version, date and number of requests make no other setup; engine, layout, precision and users do."""
    slow, fast = (("output_tokens_per_second", "", "system", value) for value in (800.0, 1600.0))
    runs = [
        run(fast, TPOT, source_date="2026-01", engine_version="1", requests=10),
        run(slow, TPOT, source_date="2026-02-03", engine_version="2", requests=20, point="p"),
        run(fast, TPOT, source_date="2025-12-30"),
    ]
    for order in (runs, runs[::-1]):
        assert [each.measured.output for each in options(order)] == [100.0]
    others = [{"engine": "vllm"}, {"tp": 4}, {"weights": "fp8"}, {"concurrency": 4.0}, {"speculate": True}, {"chips": 4}]
    assert len(options([*runs, *(run(fast, TPOT, **other) for other in others)])) == 1 + len(others)


def test_of_one_date_the_fastest_stands_for_all() -> None:
    """Whatever the order; the latest setups come first."""
    runs = [run(("output_tokens_per_second", "", "chip", value), TPOT, source_date="2026") for value in (1.0, 3.0, 2.0)]
    found = options([run(RATE, TPOT, tp=8), *runs])
    assert [(each.date, each.measured.output) for each in found] == [("2026", 3.0), ("", 200.0)]
