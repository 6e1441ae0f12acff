"""The modules beside this file, for every test here."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """A made-up comparison: `comparison()` and `infeasible()`."""
    return _beside("sample")


@pytest.fixture(scope="session")
def reading() -> ModuleType:
    """Reading pages: `read()` and a hostile name."""
    return _beside("reading")
