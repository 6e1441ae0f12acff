"""Description files: read, drawn from, written."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay._base.schema import read_toml
from assay.workloads import Workload, write_description
from assay.workloads.arrivals import Process, stream
from assay.workloads.lengths import Histogram


def description(**changed: Any) -> dict[str, Any]:
    """A small right description, with parts changed."""
    return {
        "title": 'A "small" one',
        "source": "made up",
        "requests": 30,
        "notes": ["one", "two"],
        "arrival": {"kind": "modulated", "rate": 2.5, "cv": 1.5, "segment": 10.0},
        "lengths": {"input_edges": [1, 2, 100], "output_edges": [5, 6], "weights": [[3], [1]]},
        **changed,
    }


SESSIONS = {
    "block": 16,
    "common": 16,
    "first": [1, 3],
    "stages": [1, 50],
    "ends": [0.2, 0.4],
    "kept": [0.5, 1.0],
    "new": [5, 20],
    "turns": [[0], [1], [1], [1]],
    "think": [0.0, 10.0],
    "think_weights": [1],
}
"""Sessions whose prompts keep all below 50 tokens, and then all or half to all."""


def log_normal(**changed: Any) -> dict[str, Any]:
    """Log-normal lengths, with parts changed."""
    return {"input": {"median": 1000, "sigma": 0.5, "most": 4000}, "output": {"median": 100, "sigma": 1.0}, **changed}


def test_a_written_description_reads_as_it_was(tmp_path: Path) -> None:
    """Round trip through TOML."""
    file = tmp_path / "small.toml"
    write_description(description(), file)
    assert read_toml(file) == description()


def test_a_description_is_drawn_from(tmp_path: Path) -> None:
    """Lengths come from the bins, the rate is the described one, and the default count is an assumption."""
    file = tmp_path / "small.toml"
    write_description(description(), file)
    drawn = Workload.load(file)
    assert drawn.requests == 30
    assert drawn.rate == pytest.approx(2.5)
    assert drawn.source == "made up"
    assert set(drawn.output.tolist()) == {5}
    assert drawn.input.min() >= 1
    assert drawn.input.max() < 100
    assert drawn.assumptions == ("30 requests, as many as the description says",)
    assert np.array_equal(drawn.arrival, Workload.load(file).arrival)


def test_more_requests_begin_with_the_same_lengths(tmp_path: Path) -> None:
    """A longer draw goes on where the shorter ended."""
    file = tmp_path / "small.toml"
    write_description(description(), file)
    few, many = Workload.load(file, requests=10, seed=3), Workload.load(file, requests=50, seed=3, rate=9)
    assert np.array_equal(few.input, many.input[:10])
    assert many.rate == pytest.approx(9)
    assert not many.assumptions


def test_a_profile_is_written_read_and_drawn_at_another_rate_within_its_period(tmp_path: Path) -> None:
    """The rate that is asked for is the mean over the period; no second of it is stretched."""
    file = tmp_path / "day.toml"
    profile = {"kind": "profile", "rate": 2.0, "period": 50.0, "levels": [0.0, 0, 1]}
    write_description(description(arrival=profile), file)
    assert read_toml(file)["arrival"] == profile
    for rate in (None, 7.0):
        drawn = Workload.load(file, requests=7000, rate=rate)
        assert drawn.rate == pytest.approx(rate or 2.0, rel=0.05)
        assert (drawn.arrival % 50 >= 50 / 3).all()
    assert Workload.load(file, concurrency=3).concurrency == 3
    for wrong in ({"rate": 0.0}, {"rate": 1.0, "concurrency": 2}):
        with pytest.raises(InputError):
            Workload.load(file, **wrong)


def test_outputs_of_0_tokens_are_drawn_from_their_own_bin(tmp_path: Path) -> None:
    """As many as their weight says, and none of the next bin."""
    file = tmp_path / "some.toml"
    write_description(description(lengths={"input_edges": [1, 2], "output_edges": [0, 1, 3], "weights": [[1, 3]]}), file)
    outputs = Workload.load(file, requests=20_000).output
    assert set(outputs.tolist()) == {0, 1, 2}
    assert (outputs == 0).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"arrival": {"kind": "gamma", "rate": 1.0}}, "arrival.cv"),
        ({"arrival": {"kind": "modulated", "rate": 1.0, "cv": 1.0}}, "arrival.segment"),
        ({"arrival": {"kind": "steady", "rate": 1.0}}, "arrival.kind"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "levels": [1.0]}}, "arrival.period"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 9.0}}, "arrival.levels"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 9.0, "levels": []}}, "arrival.levels"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 9.0, "levels": [0, 0.0]}}, "arrival.levels"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 9.0, "levels": [2, -1]}}, "arrival.levels"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 9.0, "levels": [2, math.inf]}}, "arrival.levels"),
        ({"arrival": {"kind": "profile", "rate": 1.0, "period": 0, "levels": [1]}}, "arrival.period"),
        ({"arrival": {"kind": "poisson", "rate": 0}}, "arrival.rate"),
        ({"requests": 0}, "requests"),
        ({"lengths": {"input_edges": [1], "output_edges": [5, 6], "weights": [[3]]}}, "lengths.input_edges"),
        ({"lengths": {"input_edges": [2, 1], "output_edges": [5, 6], "weights": [[3]]}}, "lengths.input_edges"),
        ({"lengths": {"input_edges": [0, 1], "output_edges": [5, 6], "weights": [[3]]}}, "lengths.input_edges"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [-1, 6], "weights": [[3]]}}, "lengths.output_edges"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [0, 6], "weights": [[3]]}}, "lengths.output_edges"),
        ({"lengths": {"input_edges": [1, 2.5], "output_edges": [5, 6], "weights": [[3]]}}, "lengths.input_edges"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [[3, 4]]}}, "lengths.weights"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [3]}}, "lengths.weights"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [["a"]]}}, "lengths.weights"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [[-1]]}}, "lengths.weights"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [[0]]}}, "lengths.weights"),
        ({"lengths": {"input_edges": [1, 2], "output_edges": [5, 6], "weights": [[math.nan]]}}, "lengths.weights"),
        ({"colour": "red"}, "colour"),
        ({"arrival": {"kind": "poisson"}}, "arrival.rate"),
        ({"lengths": {}}, "lengths"),
        ({"lengths": {"input_edges": [1, 2], "weights": [[1]]}}, "lengths.output_edges"),
        ({"lengths": log_normal() | {"input_edges": [1, 2]}}, "lengths"),
        ({"lengths": log_normal(input={"median": 100})}, "lengths.input.sigma"),
        ({"lengths": {"input": {"median": 100, "sigma": 1}}}, "lengths.output.median"),
        ({"lengths": log_normal(input={"median": 100, "sigma": -1})}, "lengths.input.sigma"),
        ({"lengths": log_normal(output={"median": 100, "sigma": 1, "least": 9, "most": 3})}, "lengths.output.least"),
        ({"lengths": log_normal() | {"correlation": 2}}, "lengths.correlation"),
        ({"lengths": log_normal(), "sessions": SESSIONS}, "sessions"),
        ({"sessions": {key: value for key, value in SESSIONS.items() if key != "ends"}}, "sessions.ends"),
        ({"sessions": SESSIONS | {"block": 0}}, "sessions.block"),
        ({"sessions": SESSIONS | {"first": [1]}}, "sessions.first"),
        ({"sessions": SESSIONS | {"first": [0, 0]}}, "sessions.first"),
        ({"sessions": SESSIONS | {"stages": [5, 50]}}, "sessions.stages"),
        ({"sessions": SESSIONS | {"stages": [1, 1]}}, "sessions.stages"),
        ({"sessions": SESSIONS | {"ends": [0.0, 0.5]}}, "sessions.ends"),
        ({"sessions": SESSIONS | {"ends": [0.5]}}, "sessions.ends"),
        ({"sessions": SESSIONS | {"kept": [0.5, 1.5]}}, "sessions.kept"),
        ({"sessions": SESSIONS | {"kept": [0.5, 0.2]}}, "sessions.kept"),
        ({"sessions": SESSIONS | {"new": [0, 9]}}, "sessions.new"),
        ({"sessions": SESSIONS | {"turns": [[1]] * 3}}, "sessions.turns"),
        ({"sessions": SESSIONS | {"think": [2.0]}}, "sessions.think"),
        ({"sessions": SESSIONS | {"think_weights": [1, 2]}}, "sessions.think_weights"),
    ],
)
def test_a_wrong_description_is_named_and_not_written(changed: dict[str, Any], named: str, tmp_path: Path) -> None:
    """The error names the field, and no file is left behind."""
    file = tmp_path / "wrong.toml"
    with pytest.raises(InputError) as raised:
        write_description(description(**changed), file)
    assert raised.value.field == named
    assert not file.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Writing into a folder that is not there."""
    with pytest.raises(InputError, match="nowhere"):
        write_description(description(), tmp_path / "nowhere" / "x.toml")


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 2**32))
def test_lengths_stay_within_their_bin(low: int, width: int, seed: int) -> None:
    """The last edge is not drawn, the first may be."""
    one = Histogram(np.array([low, low + width]), np.array([low, low + 1]), np.ones((1, 1)))
    prompts, outputs = one.draw(100, stream(seed, 0))
    assert prompts.min() >= low
    assert prompts.max() < low + width
    assert (outputs == low).all()


def test_log_normal_lengths_have_their_median_spread_and_correlation(tmp_path: Path) -> None:
    """Quantiles of the drawn lengths are those of the distribution, cut where it says."""
    write_description(description(lengths=log_normal() | {"correlation": 0.6}), tmp_path / "x.toml")
    drawn = Workload.load(tmp_path / "x.toml", requests=100_000)
    for values, median, sigma in ((drawn.input, 1000, 0.5), (drawn.output, 100, 1.0)):
        assert np.median(values) == pytest.approx(median, rel=0.02)
        assert np.quantile(values, 0.8413) == pytest.approx(median * math.exp(sigma), rel=0.03)
    assert drawn.input.max() == 4000
    assert drawn.output.min() >= 0
    logs = np.log(np.maximum(np.stack((drawn.input, drawn.output)), 1))
    assert np.corrcoef(logs)[0, 1] == pytest.approx(0.6, abs=0.02)


def test_a_description_without_lengths_or_arrivals_says_so(tmp_path: Path) -> None:
    """A whole table that is missing is named."""
    for name in ("arrival", "lengths"):
        wrong = {key: value for key, value in description().items() if key != name}
        with pytest.raises(InputError) as raised:
            write_description(wrong, tmp_path / "x.toml")
        assert raised.value.field == name


def test_cells_are_drawn_by_weight_and_empty_ones_never() -> None:
    """A cell with weight 0 at each end and in between stays empty; the rest come by their share."""
    cells = Histogram(np.arange(1, 5), np.array([1, 2]), np.array([[0.0], [3.0], [1.0]]))
    prompts, _ = cells.draw(20_000, stream(0, 0))
    assert set(prompts.tolist()) == {2, 3}
    assert (prompts == 2).mean() == pytest.approx(0.75, abs=0.02)


@given(st.sampled_from(["poisson", "gamma", "modulated"]), st.floats(0.05, 5), st.floats(0.01, 100), st.integers(1, 300))
def test_every_process_comes_in_order_and_at_its_rate(kind: str, cv: float, rate: float, requests: int) -> None:
    """Arrivals never decrease and end at exactly requests / rate."""
    arrival = Process(kind, rate, cv, 5.0).draw(requests, stream(1, 2))
    assert arrival.size == requests
    assert (np.diff(arrival) >= 0).all()
    assert arrival[0] >= 0
    assert arrival[-1] == pytest.approx(requests / rate)


def test_gamma_gaps_have_their_coefficient_of_variation() -> None:
    """The renewal process is what it is called."""
    gaps = np.diff(Process("gamma", 3.0, 2.0).draw(200_000, stream(0, 2)))
    assert gaps.std() / gaps.mean() == pytest.approx(2, rel=0.02)


def test_a_modulated_rate_varies_as_told() -> None:
    """Over windows as long as a segment, the variance of counts beyond Poisson's is two thirds of the rate's: windows straddle segments."""
    arrival = Process("modulated", 50.0, 0.8, 10.0).draw(1_000_000, stream(0, 2))
    counts = np.bincount(((arrival + 5) // 10).astype(int))[1:-1]
    excess = counts.var() / counts.mean() ** 2 - 1 / counts.mean()
    assert excess == pytest.approx(0.64 * 2 / 3, rel=0.25)
