"""The public door: what `assay` exports is what it says it exports."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import assay


def test_exports_are_sorted() -> None:
    """`__all__` is sorted and names nothing twice."""
    assert assay.__all__ == sorted(set(assay.__all__))


@pytest.mark.parametrize("name", assay.__all__)
def test_each_export_is_there(name: str) -> None:
    """Each name can be had, is documented, and comes from this package."""
    exported = getattr(assay, name)
    assert exported.__doc__
    assert exported.__module__.startswith("assay.")


def test_exports_are_what_is_served() -> None:
    """`__getattr__` serves the names of `__all__`, each once, and no other."""
    assert sorted(name for names in assay._HOMES.values() for name in names) == assay.__all__


def test_nothing_else_is_served() -> None:
    """A name that is not exported is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        _ = assay.frobnicate


def test_functions_are_not_their_subpackages() -> None:
    """A function keeps its name where a subpackage has the same one and is imported first."""
    import_module("assay.api")
    import_module("assay.simulate.reference")
    assert callable(assay.simulate)
    assert import_module("assay.simulate").Policy


def test_the_version_is_that_of_the_package() -> None:
    """`__version__` is what pyproject.toml says."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert assay.__version__ == project["version"]


def test_a_star_import_gives_all() -> None:
    """`from assay import *` gives every export."""
    scope: dict[str, object] = {}
    exec("from assay import *", scope)
    assert set(assay.__all__) <= scope.keys()
