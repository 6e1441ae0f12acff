"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from assay._base.errors import InputError
from assay.report.files import whole


def test_the_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    """Until all is written the old file stands; then the new one does, in a folder that is made, and nothing else is left."""
    path = tmp_path / "new" / "out.txt"
    for words in ("first", "second"):
        with whole(path) as draft:
            draft.write_text(words, encoding="utf-8")
            assert not path.exists() or path.read_text(encoding="utf-8") == "first"
        assert path.read_text(encoding="utf-8") == words
    assert list(path.parent.iterdir()) == [path]


def write(path: Path, fault: BaseException) -> None:
    """Half a file, then a fault."""
    with whole(path) as draft:
        draft.write_text("half", encoding="utf-8")
        raise fault


@pytest.mark.parametrize(("fault", "seen"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("disk full"), InputError)])
def test_nothing_is_left_of_what_failed(fault: BaseException, seen: type[BaseException], tmp_path: Path) -> None:
    """Interrupted or out of room: the old file stays, the draft goes."""
    path = tmp_path / "out.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(seen):
        write(path, fault)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file in place of a folder."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Give a path that can be written"), whole(tmp_path / "file" / "out.txt"):
        pass
