"""Running the command line inside the test process, and files to give it."""

import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from assay._base.schema import DATA
from assay.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def assay() -> Command:
    """A command line, as words or one text, run in this process; anything but an exit is an exception of the test."""
    return run


def run(*words: str) -> Ended:
    """Run a command line and catch what it prints."""
    code, out, err = 0, StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words[0].split() if len(words) == 1 else words)
        except SystemExit as left:
            code = int(left.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a chip file that is right, chip.toml."""
    shutil.copy(DATA / "chips" / "h100-sxm.toml", tmp_path / "chip.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path
