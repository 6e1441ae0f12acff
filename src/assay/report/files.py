"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay._base.errors import InputError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to, which takes its place when that has gone well; folders are made.

    Raises InputError when something cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a path that can be written") from None
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a path that can be written") from None
    finally:
        draft.unlink(missing_ok=True)
