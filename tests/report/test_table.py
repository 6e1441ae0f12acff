"""What the terminal shows."""

import io
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from assay.report import table


def shown(printer: Any, what: Any, width: int = 120) -> str:
    """What a printer writes to a terminal of this width; no line is longer."""
    file = io.StringIO()
    printer(what, Console(file=file, width=width))
    text = file.getvalue()
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    return text


@pytest.mark.parametrize("width", [120, 100, 80, 60])
def test_one_line_for_each_chip(sample: ModuleType, width: int) -> None:
    """Every chip has a row at every width, and the columns that decide are never dropped."""
    lines = shown(table.comparison, sample.comparison(), width).splitlines()
    assert all(any(line.startswith(part.title) for line in lines) for part in sample.PARTS)
    head = next(line for line in lines if line.startswith("chip"))
    assert all(word in head for word in ("chips", "$/Mtok", "worth", "offer", "SLO"))


def test_narrow_terminals_lose_columns(sample: ModuleType) -> None:
    """At 120 columns the deployment is shown, at 80 it makes room for the latencies."""
    assert "tp4 x4 vllm fp4" in shown(table.comparison, sample.comparison(), 120)
    narrow = shown(table.comparison, sample.comparison(), 80)
    assert "tp4 x4 vllm fp4" not in narrow
    assert "p99 TPOT" in narrow


def test_table_says_the_verdict(sample: ModuleType) -> None:
    """The two sentences stand under the table."""
    text = shown(table.comparison, sample.comparison())
    assert "Cheapest: 16 × MI355X" in text
    assert "Fastest: 384 × Groq" in text


def test_markup_in_names_is_printed_as_it_is(sample: ModuleType) -> None:
    """Square brackets in a name are no style."""
    document = sample.comparison()
    document["chips"][0]["title"] = "[bold]H[/bold]"
    assert "[bold]H[/bold]" in shown(table.comparison, document)


def test_all_infeasible_and_empty(sample: ModuleType) -> None:
    """Nothing meets the targets; nothing was compared."""
    assert "Nothing meets the targets" in shown(table.comparison, sample.infeasible())
    assert "nothing was compared" in shown(table.comparison, {"model": "m", "candidates": [], "chips": [], "slo": {}, "workload": {}})


def test_run_shows_percentiles_and_what_they_cost(sample: ModuleType) -> None:
    """A simulated run: four latencies, rates, cost, band, evidence, assumptions."""
    text = shown(table.run, sample.comparison()["candidates"][0])
    expected = ("TTFT", "TPOT", "ITL", "E2E", "p999", "per million tokens", "memory 55 %", "calibrated", "block size 16")
    assert all(word in text for word in expected)


def test_run_without_price_says_why(sample: ModuleType) -> None:
    """A run that has no price says why it has none."""
    row = next(row for row in sample.comparison()["candidates"] if row["chip"] == "groq-lpu-v3")
    assert "unknown: no offer for this chip" in shown(table.run, row)


def test_run_of_nulls(sample: ModuleType) -> None:
    """A run in which everything is null prints."""
    assert "sn40l" in shown(table.run, sample.comparison()["candidates"][-1])


def test_step_shows_operations_and_their_share() -> None:
    """One step: its time, its operations, where the time goes."""
    ops = [
        {"name": "attention", "seconds": 0.003, "flops": 1.2e12, "bytes": 3e9, "bound": "memory"},
        {"name": "mlp", "seconds": 0.009, "flops": 8e12, "bytes": 2e10, "bound": "memory"},
    ]
    step = {"seconds": 0.012, "latency": 0.012, "joules": 8.4, "bottleneck": {"memory": 1.0}, "ops": ops}
    text = shown(table.step, step | {"error_band": {"seconds": [0.9, 1.1]}}, 80)
    assert "12 ms per step" in text
    assert "75 %" in text
    assert "20 GB" in text
    assert "seconds × 0.9 to 1.1" in text


def test_step_without_operations() -> None:
    """A step of which only the time is known prints its time."""
    assert "0 s per step" in shown(table.step, {"seconds": 0.0, "ops": []})


def test_entry_shows_units_and_sources() -> None:
    """Nested fields, facts with their range and source, lists of tables."""
    fact = {"value": 9.89e14, "unit": "FLOP/s", "low": 9e14, "high": 1e15, "source": "data sheet", "confidence": "A", "date": "2024-01"}
    memory = [{"name": "HBM", "bytes": {"value": 8e10, "unit": "B"}, "holds": ["weights", "kv"]}]
    area = {"value": 814, "unit": "mm2"}
    text = shown(table.entry, {"vendor": "V", "area": area, "peak": {"bf16": fact}, "memory": memory, "node": None})
    expected = ("989 TFLOP/s (900 TFLOP/s – 1 PFLOP/s)", "data sheet, 2024-01, confidence A", "memory 1", "80 GB", "mm2")
    assert all(word in text for word in expected)
    assert "node" not in text


def test_listing_takes_its_columns_from_the_rows() -> None:
    """Keys are columns, in order of their first appearance; what a row lacks is a dash."""
    text = shown(table.listing, [{"name": "a", "bytes": 8e10}, {"name": "[b]", "bytes": None, "status_now": "cloud"}])
    assert "status now" in text
    assert "[b]" in text
    assert "80G" in text
