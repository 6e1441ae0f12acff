"""Finding what the user names: a file, or an entry of the shipped catalogue by name or alias."""

import difflib
import tomllib
from functools import cache
from pathlib import Path

from assay._base.errors import InputError
from assay._base.schema import DATA


@cache
def names(noun: str) -> dict[str, Path]:
    """Catalogue names of a noun (`chips`, `models`, ...) and their files, sorted."""
    return {path.stem: path for path in sorted((DATA / noun).glob("*.toml"))}


@cache
def aliases(noun: str) -> dict[str, str]:
    """Other names that lead to a catalogue name; lower case."""
    found: dict[str, str] = {}
    for name, path in names(noun).items():
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found.update({alias.lower(): name for alias in document.get("aliases", ())})
    return found


def find(noun: str, reference: str, suffix: str = ".toml") -> Path:
    """The file of a catalogue name or alias, or the file that `reference` names.

    Raises InputError with the nearest names when there is none.
    """
    catalogue = names(noun)
    key = reference.lower()
    name = key if key in catalogue else aliases(noun).get(key)
    if name:
        return catalogue[name]
    if reference.endswith(suffix) or "/" in reference:
        return Path(reference)
    near = _near(key, [*catalogue, *aliases(noun)])
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(catalogue)}; or give a file"
    raise InputError(reference, "", f"no such entry in the catalogue of {noun}", remedy)


def _near(key: str, known: list[str]) -> list[str]:
    """Names that begin as the user began, else those spelt most alike; at most four."""
    return [name for name in known if name.startswith(key)][:4] or difflib.get_close_matches(key, known, 3)
