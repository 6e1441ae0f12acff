"""Writes the published numbers that ship with the package: src/assay/data/published/points.parquet and peers.parquet.

    python docs/make_published.py FOLDER && python docs/make_tables.py

FOLDER has `published.parquet`, a row per published number, of which the columns of data/schema/points.toml are kept (facts and where they
were published; no notes), and `peers.parquet`, what other simulators predicted for some of them. The same tables give the same bytes.
"""

import sys
from pathlib import Path

import polars as pl

from assay._base.schema import DATA, schema

NUMBER = ["point", "metric", "statistic"]
PEERS = [*NUMBER, "tool", "predicted", "source"]


def points(folder: Path) -> pl.DataFrame:
    """Every published number, quality D too, in the columns of the schema."""
    published = pl.read_parquet(folder / "published.parquet")
    return published.select(name for name in schema("points") if name in published.columns)


def peers(folder: Path) -> pl.DataFrame:
    """Every prediction; its source is that of the measured number, since both stand in the same records."""
    measured = points(folder).select(*NUMBER, "source")
    found = pl.read_parquet(folder / "peers.parquet").join(measured, on=NUMBER, how="left", validate="m:1", maintain_order="left")
    return found.select(PEERS)


def write(frame: pl.DataFrame, file: Path) -> None:
    """One row group, no statistics of columns: a small file, and the same bytes each time."""
    frame.write_parquet(file, compression="zstd", compression_level=19, statistics=False, row_group_size=len(frame))


def main(folder: Path) -> None:
    """Write both tables, and say how large they are."""
    for name, made in (("points", points), ("peers", peers)):
        frame, file = made(folder), DATA / "published" / f"{name}.parquet"
        write(frame, file)
        print(f"{file.name}: {len(frame):,} rows, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
