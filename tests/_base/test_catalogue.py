"""Finding what the user names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assay._base import catalogue
from assay._base.errors import InputError


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A catalogue of two fruits."""
    (tmp_path / "fruits").mkdir()
    (tmp_path / "fruits" / "apple.toml").write_text('aliases = ["Malus"]\n', encoding="utf-8")
    (tmp_path / "fruits" / "pear.toml").write_text("", encoding="utf-8")
    monkeypatch.setattr(catalogue, "DATA", tmp_path)
    _forget()
    yield tmp_path / "fruits"
    _forget()


def _forget() -> None:
    catalogue.names.cache_clear()
    catalogue.aliases.cache_clear()


def test_names_are_the_files(data: Path) -> None:
    """The catalogue of a noun is its folder."""
    assert catalogue.names("fruits") == {"apple": data / "apple.toml", "pear": data / "pear.toml"}


@pytest.mark.parametrize("reference", ["apple", "Apple", "malus", "MALUS"])
def test_names_and_aliases_lead_to_the_file(data: Path, reference: str) -> None:
    """Case does not matter."""
    assert catalogue.find("fruits", reference) == data / "apple.toml"


@pytest.mark.parametrize("reference", ["own.toml", "folder/own", "./own.toml"])
def test_a_path_is_a_file(reference: str) -> None:
    """What looks like a path is one; whether it is there is for the reader to say."""
    assert catalogue.find("fruits", reference) == Path(reference)


def test_the_suffix_of_a_file_may_differ() -> None:
    """Some nouns are read from other files."""
    assert catalogue.find("fruits", "own.json", suffix=".json") == Path("own.json")


def test_a_near_miss_gets_a_suggestion() -> None:
    """The error names the nearest entries."""
    with pytest.raises(InputError, match=r"^aple: no such entry in the catalogue of fruits. Did you mean apple\?"):
        catalogue.find("fruits", "aple")


def test_a_far_miss_gets_the_list() -> None:
    """Where nothing is near, the error lists what there is."""
    with pytest.raises(InputError, match="Known: apple, pear; or give a file"):
        catalogue.find("fruits", "zzzzzz")
