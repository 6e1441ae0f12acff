"""What a long script has done so far, in the user's cache folder, so that one that was interrupted goes on where it stopped."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from assay.points import SHIPPED
from assay.validate.journal import fingerprint, folder

T = TypeVar("T")


def so_far(script: str) -> Path:
    """Where what is done is kept: another place for another script, other code, data or flags."""
    return folder() / f"{Path(script).stem}-{fingerprint([SHIPPED, Path(script)], *sys.argv[1:])}"


def kept(file: Path, make: Callable[[], T]) -> T:
    """What was made before an interruption; else it is made now, and kept."""
    if file.exists():
        found: T = pickle.loads(file.read_bytes())
        return found
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".draft").write_bytes(pickle.dumps(made))
    file.with_suffix(".draft").replace(file)
    return made
