"""What of a long validation is done, kept on disk while it lasts, so that one that was interrupted goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from assay.validate.predict import Guess, Told

PACKAGE = Path(__file__).parents[1]


class Journal:
    """Runs that are predicted, by their place; a line of JSON each, in the user's cache folder."""

    def __init__(self, key: str) -> None:
        self.file = folder() / f"validate-{key}.jsonl"
        self.told: dict[int, Told] = {}
        for line in self._lines():
            try:
                place, guesses, assumed, (engine, family), *rest = json.loads(line)
            except ValueError:
                break  # cut off as it was written
            told = Told(tuple(Guess(**guess) for guess in guesses), tuple(assumed), *rest)
            self.told[place] = replace(told, pair=(engine, family))

    def _lines(self) -> list[str]:
        try:
            return self.file.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def add(self, places: Iterable[int], told: Iterable[Told]) -> None:
        """Note runs that were predicted."""
        lines = []
        for place, each in zip(places, told, strict=True):
            self.told[place] = each
            guesses = [{name: value for name, value in asdict(guess).items() if value is not None} for guess in each.guesses]
            lines.append(json.dumps([place, guesses, each.assumed, each.pair, each.layout, each.known, each.load, each.execution]))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def done(self) -> None:
        """All is predicted: nothing is left to go on from."""
        self.file.unlink(missing_ok=True)


def folder() -> Path:
    """Where the user's programs keep what can be made anew."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"


def fingerprint(files: Iterable[Path], *more: object) -> str:
    """Changes with what is in the tables, with the package's code and data, and with `more`."""
    digest = hashlib.blake2b(repr(more).encode(), digest_size=12)
    shipped = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml", ".parquet"))
    for path in (*files, *shipped):
        digest.update(path.read_bytes())
    return digest.hexdigest()
