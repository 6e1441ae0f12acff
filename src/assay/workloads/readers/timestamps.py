"""Traces with a clock time, context tokens and generated tokens per request."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Ints
from assay.workloads.columns import Columns, Source, joined, validated
from assay.workloads.readers.rows import Rows

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(pieces: Iterator[Rows]) -> Columns:
    """Requests with arrivals counted from the earliest time stamp."""
    origins: list[int] = []

    def columns_of(rows: Rows) -> Columns:
        time, context, generated = COLUMNS
        nanoseconds = _nanoseconds(rows, time)
        if not origins:
            origins.append(int(nanoseconds.min(initial=np.iinfo(np.int64).max)))
        arrival = np.asarray((nanoseconds - origins[0]) * 1e-9, np.float64)
        return Columns(arrival=arrival, input=rows.tokens(context), output=rows.tokens(generated))

    columns, file = joined(pieces, columns_of)
    earliest = min(columns.arrival.min(initial=0.0), 0.0)
    return validated(replace(columns, arrival=columns.arrival - earliest), Source(file, *COLUMNS))


def _nanoseconds(rows: Rows, column: str) -> Ints:
    """Times as int64[n] since 1970; they are UTC or all of one zone."""
    import polars as pl

    cells = rows.cells(column)
    if cells.dtype == pl.String:
        plain = cells.str.replace(" ", "T", literal=True).str.replace(r"(Z|\+00:00)$", "")
        times = plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    elif isinstance(cells.dtype, pl.Datetime):
        times = cells.dt.cast_time_unit("ns")
    else:
        raise InputError(rows.file, column, f"holds {cells.dtype}, not times", "Give times such as 2023-11-16 18:17:03.97996")
    rows.refuse(times.is_null().to_numpy(), column, "Give times such as 2023-11-16 18:17:03.97996")
    return times.cast(pl.Int64).to_numpy()
