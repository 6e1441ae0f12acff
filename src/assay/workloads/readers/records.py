"""JSON objects read one by one: lines of a .jsonl file, items of the array in a .json file, or the one object there."""

import io
import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats, Ints

BLOCK = 1 << 20
"""Characters that are read at once."""

Progress = Callable[[int, int], None]
"""Told how much of a file is read, of how much."""


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file for reading; raises InputError when it is missing, empty or no text."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError(path, "", "is empty", "Give a file with at least one request")
            yield file
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a readable file") from None
    except UnicodeDecodeError as error:
        raise InputError(path, "", f"cannot be read as text: {error}", "Save it as UTF-8") from None


@dataclass(frozen=True)
class Record:
    """One JSON object of a file, the `row`-th, from 1."""

    values: Mapping[str, Any]
    file: Path
    row: int

    def part(self, values: Any) -> "Record":
        """An object within this one; raises InputError when it is none."""
        if not isinstance(values, Mapping):
            raise InputError(self.file, "", f"row {self.row} holds {_short(values)} in place of an object", "Mend the row")
        return Record(values, self.file, self.row)

    def get(self, path: str) -> Any:
        """What stands at a dotted path; None where anything on the way is missing."""
        found: Any = self.values
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def first(self, *paths: str) -> str:
        """The first of the paths at which something stands, else the first of all."""
        return next((path for path in paths if self.get(path) is not None), paths[0])

    def number(self, path: str, remedy: str = "Give a finite number") -> float:
        """A number; raises InputError naming path and row when it is missing or none."""
        value = self.get(path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise InputError(self.file, path, f"is {'missing' if value is None else _short(value)} in row {self.row}", remedy)
        return value

    def tokens(self, path: str, least: int = 0) -> int:
        """A whole number from `least` on; raises InputError naming path and row when it is missing or none."""
        value = self.number(path, f"Give whole tokens, {least} or more")
        if value != int(value) or value < least:
            raise InputError(self.file, path, f"is {value} in row {self.row}", f"Give whole tokens, {least} or more")
        return int(value)

    def items(self, path: str) -> list[Any]:
        """A list; raises InputError naming path and row when it is missing or none."""
        value = self.get(path)
        if not isinstance(value, list):
            problem = f"is {'missing' if value is None else _short(value)} in row {self.row}"
            raise InputError(self.file, path, problem, "Give a list")
        return value


class Numbers:
    """Numbers gathered one by one in 8 bytes each."""

    def __init__(self, whole: bool = True) -> None:
        self._held: array[Any] = array("q" if whole else "d")

    def append(self, value: float) -> None:
        """Add one."""
        self._held.append(value)

    def extend(self, values: Any) -> None:
        """Add several."""
        self._held.extend(values)

    def ints(self) -> Ints:
        """All, int64[n]."""
        return np.array(self._held, np.int64)

    def floats(self) -> Floats:
        """All, float64[n]."""
        return np.array(self._held, np.float64)


def objects(path: Path, progress: Progress | None = None) -> Iterator[Record]:
    """The objects of a .jsonl or .json file in order; `progress` is told bytes. Raises InputError on broken JSON, naming the row."""
    with opened(path) as file:
        size = path.stat().st_size
        told = (lambda: progress(file.tell(), size)) if progress else (lambda: None)
        for row, values in enumerate(_lines(file, path, told) if path.suffix == ".jsonl" else _document(file, path, told), 1):
            if not isinstance(values, dict):
                raise _no_object(path, row, _short(values))
            yield Record(values, path, row)


def parsed(text: bytes | str, path: Path, row: int) -> Any:
    """The JSON object of one line; raises InputError naming file and row when it is broken."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_object(path, row, str(error)) from None
    if not isinstance(values, dict):
        raise _no_object(path, row, _short(values))
    return values


def _no_object(path: Path, row: int, why: str) -> InputError:
    return InputError(path, "", f"cannot be read as {path.suffix[1:]}: row {row} is no JSON object: {why}", "Mend the row or leave it out")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _lines(file: io.BufferedReader, path: Path, told: Callable[[], None]) -> Iterator[Any]:
    row, reached = 0, 0
    for line in file:
        reached += len(line)
        if line.strip():
            row += 1
            yield parsed(line, path, row)
        if reached >= BLOCK:
            reached = 0
            told()


def _document(file: io.BufferedReader, path: Path, told: Callable[[], None]) -> Iterator[Any]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig")
    try:
        begin = text.read(BLOCK).lstrip()
        if not begin.startswith("["):
            yield parsed(begin + text.read(), path, 1)
        else:
            yield from _array(begin, text, path, told)
    finally:
        text.detach()


def _array(buffer: str, text: io.TextIOWrapper, path: Path, told: Callable[[], None]) -> Iterator[Any]:
    """The items of an array, of which `buffer` is the beginning and `text` gives the rest."""
    decoder, at, row, between = json.JSONDecoder(), 1, 1, ""
    while True:
        at = _past_blanks(buffer, at)
        if buffer[at : at + 1] == "]":
            return
        try:
            value, at = decoder.raw_decode(buffer, _item(buffer, at, between))
        except (ValueError, RecursionError) as error:
            # The item may end in what is still to be read; twice as much each time, so that long items are not parsed often.
            more = text.read(max(BLOCK, 2 * (len(buffer) - at)))
            told()
            if not more:
                raise _no_object(path, row, str(error)) from None
            buffer, at = buffer[at:] + more, 0
            continue
        yield value
        row, between = row + 1, ","


def _item(buffer: str, at: int, between: str) -> int:
    """Where an item begins that stands behind `between`; raises ValueError where that is missing."""
    if buffer[at : at + len(between)] != between:
        raise ValueError(f"{buffer[at : at + 1] or 'nothing'} in place of a comma")
    return _past_blanks(buffer, at + len(between))


def _past_blanks(buffer: str, at: int) -> int:
    while buffer[at : at + 1].isspace():
        at += 1
    return at
