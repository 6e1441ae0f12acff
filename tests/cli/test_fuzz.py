"""Whatever stands in a file, a command ends with exit code 0 or 2: never with a traceback."""

import json
import math
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay._base.schema import DATA

CHIPS = [tomllib.loads((DATA / "chips" / f"{name}.toml").read_text(encoding="utf-8")) for name in ("h100-sxm", "cerebras-wse3")]
CONFIG = tomllib.loads((DATA / "models" / "deepseek-v3.2.toml").read_text(encoding="utf-8"))["config"]
ODD: list[Any] = [0, 1, 3, -1, -2.5, 0.3, 1e-9, 1e9, 1e18, math.nan, math.inf, True, "", "fp8", "x" * 40, [], [0], {}, {"value": 1}]
LENGTHS = ["0", "1", "17", "1000", "-3", "2.5", "1e3", "1e300", "nan", "inf", "", " 5", "x", "9" * 18]
ARRIVALS = ["0", "0.5", "3", "-1", "1e6", "1e300", "nan", "inf", "", "x", "2023-11-16 18:17:03"]

few = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a document."""
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A copy of a document on which `change` was called with the container of `path` and its last key."""
    copy = json.loads(json.dumps(document))
    container = copy
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return copy


@st.composite
def mutated(draw: st.DrawFn, document: Mapping[str, Any]) -> Any:
    """A document in which one value is odd, gone, or under another name."""
    path = draw(st.sampled_from(list(places(document))))
    how = draw(st.sampled_from(["set", "set", "set", "drop", "rename"]))
    odd = draw(st.sampled_from(ODD))

    def change(container: Any, key: Any) -> None:
        old = container[key]
        del container[key]
        if how == "set":
            container.insert(key, odd) if isinstance(container, list) else container.update({key: odd})
        elif how == "rename" and isinstance(container, dict):
            container[f"{key}s"] = old

    return changed(document, path, change)


def toml(value: Any) -> str:
    """A value as TOML writes it within a line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return str(value) if isinstance(value, float) and not math.isfinite(value) else json.dumps(value)


def ends_well(assay: Callable[..., Any], command: str) -> None:
    """Exit code 0 with JSON, or 2 with one message; what NumPy warns of with absurd numbers does not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        ended = assay(command)
    assert ended.code in (0, 2)
    if ended.code == 0:
        json.loads(ended.out, parse_constant=pytest.fail)
    else:
        assert ended.out == ""
        assert ended.err.startswith("assay: ")
        assert ended.err.count("\n") == 1


@few
@given(st.one_of([mutated(chip) for chip in CHIPS]))
def test_any_chip_file(assay: Callable[..., Any], place: Path, document: Any) -> None:
    """One value of a chip file is odd."""
    (place / "odd.toml").write_text("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in document.items()), encoding="utf-8")
    ends_well(assay, "predict llama-3.1-8b --chip odd.toml --decode 4 --prefill 9 --context 100 --json")


@few
@given(mutated(CONFIG))
def test_any_config(assay: Callable[..., Any], place: Path, document: Any) -> None:
    """One value of a config.json is odd."""
    (place / "odd.json").write_text(json.dumps(document), encoding="utf-8")
    ends_well(assay, "models odd.json --json")


@few
@given(mutated(CONFIG))
def test_any_config_on_a_chip(assay: Callable[..., Any], place: Path, document: Any) -> None:
    """One value of a config.json is odd, and the model is laid over chips."""
    (place / "odd.json").write_text(json.dumps(document), encoding="utf-8")
    ends_well(assay, "predict odd.json --chip b200-sxm --tp 8 --decode 4 --context 100 --json")


@few
@given(st.lists(st.tuples(st.sampled_from(ARRIVALS), st.sampled_from(LENGTHS), st.sampled_from(LENGTHS)), max_size=5))
def test_any_trace(assay: Callable[..., Any], place: Path, rows: list[tuple[str, str, str]]) -> None:
    """Cells of a trace are odd."""
    text = "\n".join(["arrival,input,output", *(",".join(row) for row in rows)])
    (place / "odd.csv").write_text(text, encoding="utf-8")
    ends_well(assay, "simulate llama-3.1-8b --chip h100-sxm --workload odd.csv --json")
