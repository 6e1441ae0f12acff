"""Readers of trace files: the extension says how rows are stored, their columns or keys whose format it is."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from assay._base.errors import InputError
from assay.workloads.columns import Columns
from assay.workloads.readers import (
    agent_sessions,
    conversations,
    hashed_blocks,
    pieces,
    request_arrays,
    request_log,
    table,
    timestamps,
    token_log,
)
from assay.workloads.readers.records import Progress, Record, objects
from assay.workloads.readers.rows import Rows

TRACES = (".csv", ".jsonl", ".json", ".parquet")
"""Files that hold a trace."""
EXTENSIONS = (".toml", *TRACES)
"""Files that hold a workload; .toml ones are descriptions."""

TABLES: tuple[tuple[tuple[str, ...], Callable[[Iterator[Rows]], Columns]], ...] = (
    (table.COLUMNS, table.read),
    (timestamps.COLUMNS, timestamps.read),
    (hashed_blocks.COLUMNS, hashed_blocks.read),
    (token_log.COLUMNS, token_log.read),
    (agent_sessions.COLUMNS, agent_sessions.read),
    (hashed_blocks.SHORT_COLUMNS, hashed_blocks.read_short),
)
"""The columns that a format must have and its reader; the first format that fits reads the file."""

OBJECTS: tuple[tuple[tuple[str, ...], Callable[[Iterator[Record]], Columns]], ...] = (
    (conversations.KEYS, conversations.read),
    (request_arrays.KEYS, request_arrays.read),
    (agent_sessions.KEYS, agent_sessions.read_records),
    (request_log.RECORD_KEYS, request_log.read_records),
    (request_log.REPORT_KEYS, request_log.read_report),
)
"""The same for JSON objects that hold more than a plain row."""

__all__ = ["EXTENSIONS", "OBJECTS", "TABLES", "TRACES", "Progress", "read"]


def read(path: Path, progress: Progress | None = None) -> Columns:
    """The checked columns of a trace file; `progress` is told how much is read, of how much.

    Raises InputError naming file, column, row and remedy.
    """
    if path.suffix not in TRACES:
        raise InputError(path, "", f"unknown kind of file {path.suffix or '(no extension)'}", f"Give one of {', '.join(EXTENSIONS)}")
    if path.suffix in (".json", ".jsonl"):
        rows = objects(path, progress)
        first = next(rows, None)
        if first is None:
            raise InputError(path, "", "holds no requests", "Give at least one")
        for needed, of_objects in OBJECTS:
            if set(needed) <= set(first.values):
                return of_objects(chain((first,), rows))
        if path.suffix == ".json":
            return _table(pieces.of_records(chain((first,), rows)), path)
    return _table(pieces.table(path, progress), path)


def _table(rows: Iterator[Rows], path: Path) -> Columns:
    first = next(rows, None)
    if first is None:
        raise InputError(path, "", "holds no requests", "Give at least one row")
    for needed, of_rows in TABLES:
        if set(needed) <= set(first.frame.columns):
            return of_rows(chain((first,), rows))
    raise InputError(path, "", f"its columns {_listed(first.frame.columns)} are of no known format", f"Name them {_known()}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + ", …" * (len(names) > 20)


def _known() -> str:
    tables = "; or ".join(", ".join(needed) for needed, _ in TABLES)
    return f"{tables}; or give JSON objects with {'; or '.join(', '.join(needed) for needed, _ in OBJECTS)}"
