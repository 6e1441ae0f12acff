"""Traces with a clock time, context tokens and generated tokens per request."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assay._base.errors import InputError
from assay.workloads.arrays import Floats
from assay.workloads.columns import Columns, Source, validated
from assay.workloads.readers.rows import refuse, tokens

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(rows: "pl.DataFrame", file: Path) -> Columns:
    """Requests with arrivals counted from the earliest time stamp."""
    time, context, generated = COLUMNS
    columns = Columns(arrival=_seconds(rows[time], file), input=tokens(rows, context, file), output=tokens(rows, generated, file))
    return validated(columns, Source(file, *COLUMNS))


def _seconds(cells: "pl.Series", file: Path) -> Floats:
    """Seconds since the earliest of the times, which are UTC or all of one zone; nanoseconds are kept."""
    import polars as pl

    if cells.dtype == pl.String:
        plain = cells.str.replace(" ", "T", literal=True).str.replace(r"(Z|\+00:00)$", "")
        times = plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    elif isinstance(cells.dtype, pl.Datetime):
        times = cells.dt.cast_time_unit("ns")
    else:
        raise InputError(file, cells.name, f"holds {cells.dtype}, not times", "Give times such as 2023-11-16 18:17:03.97996")
    refuse(times.is_null().to_numpy(), cells, file, "Give times such as 2023-11-16 18:17:03.97996")
    nanoseconds = times.cast(pl.Int64).to_numpy()
    return np.asarray((nanoseconds - nanoseconds.min(initial=np.iinfo(np.int64).max)) * 1e-9, np.float64)
