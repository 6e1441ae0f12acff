"""The catalogue on the terminal: lists of entries, and one entry with the unit and the source of every field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.report import formats

_SCALED = ("B", "B/s", "FLOP/s", "FLOP", "W", "J/B", "J", "s", "Hz")

Line = tuple[int, str, str, str, str]  # depth, name, value, unit, source


def entry(entry: Mapping[str, Any], console: Console) -> None:
    """Print every field of a catalogue entry, nested as it is, with value, unit and source.

    A field is bare or `{value, unit, low, high, source, confidence, date}`.
    """
    lines = list(_lines(entry, 0))
    heads = [(i, head) for i, head in enumerate(("value", "unit", "source"), 2) if i == 2 or any(line[i] for line in lines)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("field", no_wrap=True)
    for _, head in heads:
        table.add_column(head, overflow="fold", style="dim" if head == "source" else "")
    for line in lines:
        name = Text("  " * line[0] + line[1], "" if any(line[2:]) else "bold")
        table.add_row(name, *(Text(str(line[i])) for i, _ in heads))
    console.print(table)


def _lines(record: Mapping[str, Any], depth: int) -> Iterator[Line]:
    for name, value in record.items():
        if isinstance(value, Mapping) and "value" in value:
            yield (depth, name, *_fact(value))
        elif isinstance(value, Mapping):
            yield depth, name, "", "", ""
            yield from _lines(value, depth + 1)
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value, 1):
                yield depth, f"{name} {i}", "", "", ""
                yield from _lines(item if isinstance(item, Mapping) else {"": item}, depth + 1)
        elif value is not None:
            yield depth, name, plain(value), "", ""


def _fact(fact: Mapping[str, Any]) -> tuple[str, str, str]:
    unit = str(fact.get("unit") or "")
    shown = _quantity(fact.get("value"), unit)
    low, high = fact.get("low"), fact.get("high")
    if low is not None or high is not None:
        shown += f" ({' – '.join(_quantity(end, unit) for end in (low, high) if end is not None)})"
    origin = [str(fact[key]) for key in ("source", "date") if fact.get(key)]
    if fact.get("confidence"):
        origin.append(f"confidence {fact['confidence']}")
    return shown, unit if unit not in _SCALED else "", ", ".join(origin)


def _quantity(value: Any, unit: str) -> str:
    if unit in _SCALED and isinstance(value, int | float):
        return formats.scaled(value, unit, 4)
    return plain(value)


def plain(value: Any) -> str:
    """A bare value: numbers with thousands apart, lists with commas, a dash for nothing; a fact by its value."""
    if isinstance(value, Mapping):
        return plain(value.get("value")) if "value" in value else ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return formats.MISSING
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, int | float):
        return formats.digits(value, 6) if abs(value) < 1e6 else formats.scaled(value, "", 4)
    return str(value)


def listing(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print rows of a catalogue; the columns are their keys, in order; numbers stand to the right."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for i, head in enumerate(heads):
        numbers = all(isinstance(row.get(head), int | float | None) and not isinstance(row.get(head), bool) for row in rows)
        table.add_column(head.replace("_", " "), justify="right" if numbers else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(Text(plain(row.get(head))) for head in heads))
    console.print(table)
