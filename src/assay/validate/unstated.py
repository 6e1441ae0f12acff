"""What published runs leave unstated (data/calibration/conditions.toml)."""

from functools import cache
from typing import Any

from assay._base.schema import DATA, read


@cache
def _facts() -> dict[str, Any]:
    return read(DATA / "calibration" / "conditions.toml", "conditions")


def unstated(table: str, key: str) -> float:
    """A fact by its place in the file, in the unit of its field."""
    return float(_facts()[table][key].value)


def of_dataset(collection: str | None, model: str, key: str) -> float | None:
    """A fact on the data set that a collection of runs asks a model with; None where it is not known."""
    rows = [row for row in _facts().get("dataset", ()) if row["set"] == collection and row["model"] == model and key in row]
    return float(rows[0][key].value) if rows else None


def drafted(engine: str, family: str, ranks: int) -> int:
    """Tokens that an engine drafts for a sequence in a step."""
    for row in _facts().get("draft", ()):
        fits = row.get("engine", engine) == engine and family in row.get("families", (family,))
        if fits and (ranks > 1 or not row.get("ranks", False)):
            return int(row["tokens"].value)
    return int(unstated("speculation", "tokens"))


def drafting(family: str, date: str | None) -> bool:
    """Whether shared endpoints of a family's chips draft tokens at a date without saying so."""
    month = (date or "")[: len("2024-01")]
    rows = [row for row in _facts().get("drafting", ()) if family in row["families"] and row["since"].value <= month]
    return any("until" not in row or month <= row["until"].value for row in rows)


def ranked(collection: str | None, date: str | None) -> bool:
    """Whether a collection's runs of that date deal attention out over all chips where they do not say so."""
    return any(collection == row["set"] and (date or "") >= row["since"].value for row in _facts().get("ranked", ()))


def seated(engine: str, users: float) -> int | None:
    """Sequences at once on each attention rank of a decode pool, where so many users come to each; None where nothing limits them."""
    for row in _facts().get("seats", ()):
        below = max((size for size in row["sizes"].value if size <= users), default=None)
        if row["engine"] == engine and below and users < below * row["crowd"].value:
            return int(below)
    return None


def cached(engine: str, weights: str | None) -> str | None:
    """Precision of the cache that a checkpoint of these weights declares; None where the engine's default holds."""
    found = [row["kv"].value for row in _facts().get("cache", ()) if row["engine"] == engine and weights in row["weights"]]
    return str(found[0]) if found else None


def prompts(collection: str | None) -> int | None:
    """How many prompts the requests of a collection's runs draw on; None where nothing is known of it."""
    found = [row["distinct"].value for row in _facts().get("prompts", ()) if row["set"] == collection]
    return int(found[0]) if found else None
