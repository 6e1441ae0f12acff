"""Workloads: drawing, loading, rescaling, splitting."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.workloads import Workload

SEEDS = st.integers(0, 2**32)
RATES = st.floats(1e-3, 1e4)


def same(one: Workload, other: Workload) -> bool:
    """Whether all columns are equal, bit for bit."""
    names = ("arrival", "input", "output", "prefix", "prefix_offsets")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@given(SEEDS, st.integers(1, 200), RATES)
def test_draws_are_the_same_for_the_same_seed(seed: int, requests: int, rate: float) -> None:
    """Two draws with one seed agree bit for bit."""
    draws = [Workload.draw(100, 50, requests=requests, spread=(0.5, 2), shared_prefix=40, rate=rate, seed=seed) for _ in range(2)]
    assert same(*draws)


def test_another_seed_draws_other_requests() -> None:
    """The seed reaches lengths and arrivals."""
    one, other = (Workload.draw(1000, 1000, requests=50, spread=(0.5, 1), rate=1, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.input, other.input)
    assert not np.array_equal(one.output, other.output)
    assert not np.array_equal(one.arrival, other.arrival)


@given(SEEDS, RATES, RATES)
def test_another_rate_keeps_lengths_and_stretches_the_same_arrivals(seed: int, rate: float, other: float) -> None:
    """Drawing at a rate is drawing at another and rescaling."""
    drawn = Workload.draw(100, 50, requests=40, spread=(0.5, 1), rate=rate, seed=seed)
    again = Workload.draw(100, 50, requests=40, spread=(0.5, 1), rate=other, seed=seed)
    assert np.array_equal(drawn.input, again.input)
    assert np.array_equal(drawn.output, again.output)
    assert np.allclose(drawn.at_rate(other).arrival, again.arrival, rtol=1e-12)


@given(RATES)
def test_at_rate_gives_the_mean_rate_and_keeps_lengths(rate: float) -> None:
    """Requests over the time of the last arrival is the rate asked for."""
    drawn = Workload.draw(100, 50, requests=40, spread=(0.5, 1), rate=3)
    rescaled = drawn.at_rate(rate)
    assert rescaled.rate == pytest.approx(rate, rel=1e-12)
    assert np.array_equal(rescaled.input, drawn.input)
    assert np.array_equal(rescaled.output, drawn.output)
    assert (np.diff(rescaled.arrival) >= 0).all()


@given(st.integers(1, 5000), st.floats(0.1, 1), st.floats(1, 3), SEEDS)
def test_uniform_lengths_stay_within_the_spread(nominal: int, low: float, high: float, seed: int) -> None:
    """Both ends are the floors of the nominal length times the spread."""
    if math.floor(low * nominal) < 1:
        return
    drawn = Workload.draw(nominal, nominal, requests=100, spread=(low, high), seed=seed)
    for lengths in (drawn.input, drawn.output):
        assert lengths.min() >= math.floor(low * nominal)
        assert lengths.max() <= math.floor(high * nominal + 1e-9)


def test_uniform_lengths_reach_both_ends() -> None:
    """The ends of the spread are included."""
    drawn = Workload.draw(10, 100, requests=2000, spread=(0.29, 1.1))
    assert set(drawn.input.tolist()) == set(range(2, 12))
    assert (drawn.output.min(), drawn.output.max()) == (29, 110)


def test_without_spread_all_lengths_are_nominal() -> None:
    """Fixed lengths are the default."""
    drawn = Workload.draw(1024, 128, requests=10)
    assert set(drawn.input.tolist()) == {1024}
    assert set(drawn.output.tolist()) == {128}


def test_without_rate_or_concurrency_all_requests_arrive_at_once_and_it_says_so() -> None:
    """At once is an assumption, not a silent default."""
    drawn = Workload.draw(8, 8, requests=3)
    assert drawn.at_once
    assert drawn.rate is None
    assert drawn.assumptions == ("no rate and no concurrency given: all requests arrive at once",)


def test_poisson_arrivals_have_exponential_gaps() -> None:
    """Mean and standard deviation of the gaps are equal, and a draw's rate is exact."""
    drawn = Workload.draw(8, 8, requests=100_000, rate=4)
    gaps = np.diff(drawn.arrival)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.02)
    assert np.median(gaps) == pytest.approx(math.log(2) / 4, rel=0.02)
    assert drawn.rate == pytest.approx(4, rel=1e-12)


def test_closed_loop_has_no_rate() -> None:
    """A closed loop has users in place of a rate."""
    drawn = Workload.draw(8, 8, requests=3, concurrency=2)
    assert (drawn.concurrency, drawn.rate, drawn.at_once, drawn.assumptions) == (2, None, False, ())


def test_a_ramp_belongs_to_a_closed_loop() -> None:
    """It is shown with the users, kept by cuts, and gone with them."""
    drawn = Workload.draw(8, 8, requests=9, concurrency=4, ramp=20)
    assert (drawn.ramp, drawn.first(3).ramp, drawn.closed(2).ramp) == (20, 20, 0)
    assert drawn.to_dict()["ramp"] == 20
    assert Workload.draw(8, 8, requests=9, concurrency=4).to_dict()["ramp"] == 0
    assert "4 users in a closed loop who start over 20 s" in drawn.summary()
    opened = replace(drawn, arrival=np.arange(9.0)).at_rate(3)
    assert (opened.ramp, opened.concurrency) == (0, 0)
    assert "ramp" not in opened.to_dict()


def test_an_output_of_0_tokens_is_drawn_where_it_is_asked_for() -> None:
    """Prompts alone."""
    drawn = Workload.draw(100, 0, requests=5, spread=(0.5, 2), rate=1)
    assert set(drawn.output.tolist()) == {0}
    assert drawn.to_dict()["output"]["mean"] == 0


@given(st.integers(0, 100), st.integers(0, 100))
def test_prompts_begin_with_the_same_whole_blocks(prompt: int, shared: int) -> None:
    """Each prompt carries ids 0, 1, ... for the whole blocks of the common prefix."""
    prompt = max(prompt, shared, 1)
    drawn = Workload.draw(prompt, 1, requests=5, shared_prefix=shared)
    for row in range(5):
        ids = drawn.prefix[drawn.prefix_offsets[row] : drawn.prefix_offsets[row + 1]]
        assert ids.tolist() == list(range(shared // 16))
    assert drawn.prefix_share == pytest.approx(0.8 * (shared // 16 * 16) / prompt)


def test_a_prefix_that_is_no_whole_number_of_blocks_says_so() -> None:
    """What is cut from the prefix is an assumption."""
    assert (
        "the common prefix counts in whole blocks of 16 tokens" in Workload.draw(100, 1, requests=1, shared_prefix=20, rate=1).assumptions
    )


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 90))
def test_split_conserves_requests(parts: int, more: int, users: int) -> None:
    """Each request goes to one part, in order, with its prefix; users too."""
    users = users if users >= parts else 0
    whole = Workload.draw(64, 9, requests=parts + more, spread=(0.2, 1), shared_prefix=64, rate=1)
    whole = whole.closed(users) if users else whole
    split = whole.split(parts)
    assert sum(part.requests for part in split) == whole.requests
    assert sum(part.concurrency for part in split) == users
    for i in range(whole.requests):
        part, row = split[i % parts], i // parts
        assert (part.arrival[row], part.input[row], part.output[row]) == (whole.arrival[i], whole.input[i], whole.output[i])
        ids = [each.prefix[each.prefix_offsets[at] : each.prefix_offsets[at + 1]].tolist() for each, at in ((part, row), (whole, i))]
        assert ids[0] == ids[1]


def test_first_takes_the_first_rows() -> None:
    """Rows and their prefixes are cut together."""
    whole = Workload.draw(64, 9, requests=10, shared_prefix=32, rate=1)
    head = whole.first(4)
    assert head.requests == 4
    assert head.prefix.tolist() == [0, 1] * 4
    assert whole.first(10) is whole


def test_prefix_share_counts_cut_last_blocks_by_their_tokens() -> None:
    """Ids 7 and 8 cover 6 tokens of a prompt of 6 when a block is 4."""
    twice = Workload(
        name="two",
        arrival=np.zeros(2),
        input=np.array([6, 6]),
        output=np.array([1, 1]),
        prefix=np.array([7, 8, 7, 8]),
        prefix_offsets=np.array([0, 2, 4]),
        prefix_block=4,
    )
    assert twice.prefix_share == 0.5


def test_to_dict_is_json_and_summary_one_line() -> None:
    """No NaN, no arrays; the line names the load."""
    for load, shown in (({"rate": 2.0}, "2/s"), ({"concurrency": 3}, "3 users in a closed loop"), ({}, "all at once")):
        drawn = Workload.draw(64, 9, requests=10, shared_prefix=32, **load)
        document = json.loads(json.dumps(drawn.to_dict(), allow_nan=False))
        assert document["requests"] == 10
        assert document["input"]["p99"] == 64
        assert shown in drawn.summary()
        assert "\n" not in drawn.summary()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"isl": 0}, "isl"),
        ({"osl": -1}, "osl"),
        ({"osl": 1, "spread": (0.9, 1)}, "osl"),
        ({"requests": 0}, "requests"),
        ({"spread": (0.001, 1)}, "isl"),
        ({"spread": (2, 1)}, "spread"),
        ({"spread": (0.5, math.inf)}, "spread"),
        ({"spread": (math.nan, 1)}, "spread"),
        ({"shared_prefix": 101}, "shared_prefix"),
        ({"shared_prefix": -1}, "shared_prefix"),
        ({"rate": 0}, "rate"),
        ({"rate": math.nan}, "rate"),
        ({"concurrency": 0}, "concurrency"),
        ({"rate": 1, "concurrency": 1}, "rate, concurrency"),
        ({"ramp": 1}, "ramp"),
        ({"ramp": 0}, "ramp"),
        ({"ramp": 1, "rate": 1}, "ramp"),
        ({"ramp": -1, "concurrency": 1}, "ramp"),
        ({"ramp": math.nan, "concurrency": 1}, "ramp"),
        ({"ramp": math.inf, "concurrency": 1}, "ramp"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, object], named: str) -> None:
    """The error names what is out of range."""
    draw: Callable[..., Workload] = Workload.draw
    with pytest.raises(InputError) as raised:
        draw(**{"isl": 100, "osl": 100, "requests": 10, **given})
    assert raised.value.field == named


def test_methods_refuse_what_cannot_be() -> None:
    """Too many rows, too many parts, and arrivals that cannot be rescaled."""
    drawn = Workload.draw(8, 8, requests=3)
    for wrong in (
        lambda: drawn.first(4),
        lambda: drawn.first(0),
        lambda: drawn.split(4),
        lambda: drawn.closed(2).split(3),
        lambda: drawn.at_rate(1),
    ):
        with pytest.raises(InputError):
            wrong()


def test_load_reads_a_trace_and_applies_the_load(tmp_path: Path) -> None:
    """Rows, rate and users of a trace."""
    file = tmp_path / "mine.csv"
    file.write_text("arrival,input,output\n0,5,6\n1,7,8\n4,9,10\n")
    whole = Workload.load(file)
    assert (whole.name, whole.source, whole.arrival.tolist(), whole.rate) == ("mine", str(file), [0, 1, 4], 0.75)
    assert Workload.load(str(file), requests=2).input.tolist() == [5, 7]
    assert Workload.load(file, rate=3).arrival.tolist() == [0, 0.25, 1]
    assert Workload.load(file, requests=2, rate=3).arrival.tolist() == [0, 2 / 3]
    assert Workload.load(file, concurrency=2).concurrency == 2
    assert Workload.load(file, concurrency=2, ramp=5).ramp == 5
    with pytest.raises(InputError, match="without concurrency"):
        Workload.load(file, ramp=5)


def test_load_refuses_more_rows_than_there_are(tmp_path: Path) -> None:
    """The error names the file and says how many there are."""
    file = tmp_path / "mine.csv"
    file.write_text("arrival,input,output\n0,5,6\n")
    with pytest.raises(InputError, match=r"mine\.csv: requests: 2 asked for, 1 there"):
        Workload.load(file, requests=2)


def test_load_of_an_unknown_name_suggests_one() -> None:
    """A misspelt catalogue name."""
    with pytest.raises(InputError, match="azure-conv-2023"):
        Workload.load("azure-conv-2032")
