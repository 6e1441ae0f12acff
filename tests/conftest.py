"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no failure because a machine is slow.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of traces and published measurements beside the checkout; the test is skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout: its traces and published tables are not part of the repository")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many random cases the compiled simulator is held against the reference on, and how many changed documents are read."""
    parser.addoption("--kernel-cases", type=int, default=500, help="random cases for tests/simulate/test_kernel.py")
    parser.addoption("--fuzz-cases", type=int, default=1000, help="changed documents for tests/cli/test_fuzz.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest goes first: where files are dealt out over cores, none is left waiting for it at the end."""
    items.sort(key=lambda item: "test_kernel" not in item.nodeid)
