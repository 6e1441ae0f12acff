"""`assay calibrate`: what it prints, and the chip's file that it leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay._base.schema import DATA
from assay.chips import Chip

HEAD = "chip,model,engine,tp,load,concurrency,requests,isl,osl,metric,statistic,value\n"
ROWS = [
    f"h100-sxm,llama-3.1-8b,vllm,1,closed,{users},{10 * users},500,50,tpot,mean,{tpot}\n"
    for users, tpot in ((1, 0.010), (8, 0.011), (32, 0.014))
]
CALIBRATE = "calibrate points.csv --chip h100-sxm"
SIMULATE = "simulate llama-3.1-8b --engine vllm --tp 1 --isl 500 --osl 50 --concurrency 8 --requests 80 --json"


@pytest.fixture
def here(place: Path) -> Path:
    """A folder with three points."""
    (place / "points.csv").write_text(HEAD + "".join(ROWS), encoding="utf-8")
    return place


def test_people_read_one_line(assay: Callable[..., Any], here: Path) -> None:
    """What was learned, and where the file is."""
    ended = assay(f"{CALIBRATE} --out calibrated.toml")
    assert ended.code == 0
    assert "h100-sxm: 3 numbers of 3 runs, median error " in ended.out
    assert ended.out.rstrip().endswith("chip: calibrated.toml")


def test_without_out_nothing_is_written(assay: Callable[..., Any], here: Path) -> None:
    """The answer alone."""
    before = sorted(here.iterdir())
    assert assay(CALIBRATE).code == 0
    assert sorted(here.iterdir()) == before


def test_json_has_errors_and_factors(assay: Callable[..., Any], here: Path) -> None:
    """One object, with what every JSON says."""
    told = json.loads(assay(f"{CALIBRATE} --json").out)
    assert {"assay_version", "seed", "command", "assumptions"} <= told.keys()
    assert (told["chip"], told["engines"], told["runs"], told["numbers"], told["skipped"]) == ("h100-sxm", ["vllm"], 3, 3, 0)
    assert 0 <= told["after"] < told["before"]
    assert {"value", "low", "high"} == told["factors"]["vllm"]["host.step"].keys()


def test_the_file_is_a_chip_that_simulations_take(assay: Callable[..., Any], here: Path) -> None:
    """Slower than the shipped one, as the points are; the shipped one stays as it is."""
    shipped = (DATA / "chips" / "h100-sxm.toml").read_text(encoding="utf-8")
    assay(f"{CALIBRATE} --out calibrated.toml")
    before, after = (json.loads(assay(f"{SIMULATE} --chip {chip}").out) for chip in ("h100-sxm", "calibrated.toml"))
    assert before["tpot"]["mean"] < after["tpot"]["mean"]
    assert abs(after["tpot"]["mean"] / 0.011 - 1) < abs(before["tpot"]["mean"] / 0.011 - 1)
    assert after["evidence"]["label"] == "calibrated"
    assert (DATA / "chips" / "h100-sxm.toml").read_text(encoding="utf-8") == shipped


def test_a_file_can_be_calibrated_in_its_place(assay: Callable[..., Any], here: Path) -> None:
    """Again and again; runs add up, and of the error less than half is left."""
    before = []
    for runs in (3, 6):
        ended = assay("calibrate points.csv --chip chip.toml --out chip.toml --json")
        assert ended.code == 0
        assert [(row["engine"], row["runs"]) for row in Chip.load(here / "chip.toml").calibration] == [("vllm", runs)]
        before.append(json.loads(ended.out)["before"])
    assert before[1] < before[0] / 2


def test_several_tables_and_flags_for_what_they_leave_out(assay: Callable[..., Any], here: Path) -> None:
    """Together they are the one table."""
    told = json.loads(assay(f"{CALIBRATE} --json").out)
    for place, row in enumerate(ROWS):
        text = (HEAD + row).replace("model,engine,tp,", "").replace("llama-3.1-8b,vllm,1,", "")
        (here / f"{place}.csv").write_text(text, encoding="utf-8")
    flags = "--model llama-3.1-8b --engine vllm --tp 1"
    apart = json.loads(assay(f"calibrate 0.csv 1.csv 2.csv --chip h100-sxm {flags} --json").out)
    for name in ("runs", "numbers", "before", "after", "factors"):
        assert apart[name] == told[name]
