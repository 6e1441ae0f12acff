"""Tables read piece by piece, so that a long one takes no more memory than its columns."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from assay._base.errors import InputError
from assay.workloads.readers.records import Progress, Record, opened, parsed
from assay.workloads.readers.rows import Rows

if TYPE_CHECKING:
    import polars as pl

PIECE = 1 << 20
"""Bytes of text that are parsed at once."""
SLICE, FEWEST, MOST = 4 << 20, 256, 65_536
"""Bytes of a Parquet file that are parsed at once, in rows between the fewest and the most: a row may hold thousands of ids."""
LOOKS = 4
"""A Parquet file is decoded in so many parts."""


def table(path: Path, progress: Progress | None) -> Iterator[Rows]:
    """The rows of a .csv, .jsonl or .parquet file in order, CSV cells as text; `progress` is told bytes, of Parquet rows.

    Raises InputError naming the file, and the row where it can be told, on what cannot be read.
    """
    import polars as pl

    try:
        if path.suffix == ".parquet":
            yield from _slices(path, progress)
        else:
            yield from _texts(path, progress)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a readable file") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(path, "", f"cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}", "Mend the file") from None


def _slices(path: Path, progress: Progress | None) -> Iterator[Rows]:
    import polars as pl

    with opened(path):
        scanned = pl.scan_parquet(path)
    total = int(scanned.select(pl.len()).collect().item())
    wide = scanned.head(FEWEST).collect().estimated_size() / FEWEST
    step = min(MOST, max(FEWEST, int(SLICE / max(wide, 1))))
    # Polars may decode all rows of a group to give some of them: a few large looks cost less than many small ones.
    look = max(step, -(-total // LOOKS))
    for begin in range(0, max(total, 1), look):
        seen = scanned.slice(begin, look).collect()
        for first in range(begin, begin + max(seen.height, 1), step):
            yield Rows(seen.slice(first - begin, step), path, first)
            if progress:
                progress(min(first + step, total), total)


def _texts(path: Path, progress: Progress | None) -> Iterator[Rows]:
    import polars as pl

    with opened(path) as file:
        lines = path.suffix == ".jsonl"
        head = b"" if lines else file.readline()
        if not lines and not head.strip():
            raise InputError(path, "", "has no header in its first line", "Begin with a line of column names")
        first = 0
        for piece in _pieces(file, path.stat().st_size, quoted=not lines, progress=progress):
            try:
                frame = _from_lines(piece) if lines else pl.read_csv(io.BytesIO(head + piece), infer_schema=False)
            except pl.exceptions.PolarsError:
                (_find_broken_line if lines else _find_ragged)(head, piece, path, first)
                raise
            yield Rows(frame, path, first)
            first += frame.height
        if not first and not lines:
            yield Rows(pl.read_csv(io.BytesIO(head), infer_schema=False), path)


def _from_lines(piece: bytes) -> "pl.DataFrame":
    import polars as pl

    return pl.read_ndjson(io.BytesIO(piece), infer_schema_length=None)


def _pieces(file: io.BufferedReader, size: int, *, quoted: bool, progress: Progress | None) -> Iterator[bytes]:
    """Whole lines of about PIECE bytes; where `quoted`, no piece ends within quotes."""
    rest = b""
    while block := file.read(PIECE):
        rest += block
        end = rest.rfind(b"\n") + 1
        if end and not (quoted and rest.count(b'"', 0, end) % 2):
            yield rest[:end]
            rest = rest[end:]
        if progress:
            progress(file.tell(), size)
    if rest.strip():
        yield rest


def _find_broken_line(_: bytes, piece: bytes, path: Path, first: int) -> None:
    """Raise InputError at the first line that is no JSON object."""
    for row, line in enumerate((line for line in piece.splitlines() if line.strip()), first + 1):
        parsed(line, path, row)


def _find_ragged(head: bytes, piece: bytes, path: Path, first: int) -> None:
    """Raise InputError at the first row that is longer than the header."""
    columns = len(next(csv.reader([head.decode(errors="replace")])))
    for row, cells in enumerate(csv.reader(io.StringIO(piece.decode(errors="replace"))), first + 1):
        if len(cells) > columns:
            problem = f"cannot be read as csv: row {row} has {len(cells)} cells for {columns} columns"
            raise InputError(path, "", problem, "Give every row one cell per column, in quotes where it holds a comma")


def of_records(records: Iterator[Record]) -> Iterator[Rows]:
    """The rows of plain JSON objects, their keys as columns."""
    import polars as pl

    while batch := list(islice(records, MOST)):
        frame = pl.DataFrame([record.values for record in batch], infer_schema_length=None, strict=False)
        yield Rows(frame, batch[0].file, batch[0].row - 1)
