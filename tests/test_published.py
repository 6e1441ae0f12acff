"""The published numbers that ship with the package: whole, each with its source, and made the same each time."""

import importlib.util
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from assay._base.catalogue import find
from assay._base.schema import schema
from assay.points import SHIPPED, Points, read_points
from assay.validate.peers import PREDICTED

SCRIPT = Path(__file__).parents[1] / "docs" / "make_published.py"
NUMBER = ["point", "metric", "statistic"]


@pytest.fixture(scope="module")
def shipped() -> Points:
    """The table as `validate` reads it."""
    return read_points([SHIPPED])


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """docs/make_published.py."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_read_without_complaint(shipped: Points) -> None:
    """Only columns that the schema knows; every row is in a run, and every run is one named point."""
    assert set(shipped.frame.columns) <= set(schema("points"))
    assert sum(len(run.numbers) for run in shipped.runs) == len(shipped.frame)
    assert len(shipped.runs) == shipped.frame["point"].n_unique()
    assert SHIPPED.stat().st_size < 400_000


def test_every_number_says_where_it_was_published(shipped: Points) -> None:
    """And is a number, with a quality."""
    for column in ("point", "set", "source", "source_date", "value", "quality"):
        assert shipped.frame[column].null_count() == 0, column
    assert shipped.frame["source"].str.strip_chars().str.len_chars().min() >= 5


def test_every_chip_and_model_is_in_the_catalogue(shipped: Points) -> None:
    """By its name or an alias."""
    for noun, column in (("chips", "chip"), ("models", "model")):
        for name in shipped.frame[column].drop_nulls().unique():
            assert find(noun, name).is_file(), name


def test_it_is_the_published_table(shared: Path, script: ModuleType, shipped: Points) -> None:
    """Row by row, in the columns that the schema knows."""
    published = pl.read_parquet(shared / "published" / "published.parquet")
    assert shipped.frame.equals(published.select(shipped.frame.columns))
    assert script.points(shared / "published").equals(shipped.frame), "run docs/make_published.py"


def test_the_predictions_of_others_are_of_numbers_of_the_table(shipped: Points) -> None:
    """Each of one number, with the source of that number; times above zero."""
    peers = pl.read_parquet(PREDICTED)
    measured = shipped.frame.select(*NUMBER, "source", "set")
    assert len(peers.join(measured, on=[*NUMBER, "source"], validate="m:1")) == len(peers)
    assert peers.select(*NUMBER, "tool").is_duplicated().sum() == 0
    assert (peers["predicted"] > 0).all()


def test_they_are_those_of_the_published_table(shared: Path, shipped: Points) -> None:
    """All of them; what was marked as scored there is what has no quality D here."""
    given, peers = pl.read_parquet(shared / "published" / "peers.parquet"), pl.read_parquet(PREDICTED)
    assert peers.drop("source").equals(given.drop("scored"))
    quality = given.join(shipped.frame.select(*NUMBER, "quality"), on=NUMBER, how="left", maintain_order="left")["quality"]
    assert (quality != "D").equals(given["scored"], check_names=False)


def test_the_same_tables_give_the_same_bytes(script: ModuleType, shipped: Points, tmp_path: Path) -> None:
    """And the same rows when they are read again."""
    for name in ("a", "b"):
        script.write(shipped.frame, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pl.read_parquet(tmp_path / "a").equals(shipped.frame)
