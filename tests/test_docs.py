"""The docs say what is so: tables, snippets and examples are what data and commands give, and links lead somewhere."""

import contextlib
import importlib.util
import io
import re
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

from assay._base.schema import DATA, schema
from assay.cli.commands import cli
from assay.cli.questions import _scenario

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REMEDY = "stale: run `python docs/make_tables.py`"


def load(file: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load(ROOT / "docs" / "make_tables.py")


@pytest.mark.parametrize("name", ["fields.md", "physics.md", "structure.md"])
def test_tables_are_fresh(name: str) -> None:
    """What follows from data, flags and source says what they say."""
    file = ROOT / "docs" / name
    assert file.read_text(encoding="utf-8") == SCRIPT.tables()[file], REMEDY


@pytest.mark.parametrize("command", SCRIPT.consoles())
def test_commands_of_the_readme_print_what_it_shows(command: str) -> None:
    """Each ```console block is a command that works, and its output."""
    assert f"$ {command}\n{SCRIPT.printed(command)}```" in (ROOT / "README.md").read_text(encoding="utf-8"), REMEDY


def test_the_readme_shows_commands() -> None:
    """There are snippets to check."""
    assert len(SCRIPT.consoles()) >= 3


@pytest.mark.parametrize("file", SCRIPT.examples(), ids=lambda file: file.name)
def test_examples_print_their_output(file: Path) -> None:
    """The command that an example names prints what stands in its .out."""
    assert file.with_suffix(".out").read_text(encoding="utf-8") == SCRIPT.printed(SCRIPT.examples()[file]), REMEDY


def test_the_demo_can_be_read() -> None:
    """Everything that `make demo` names is there."""
    questions = _scenario(ROOT / "examples" / "demo.toml", None)
    assert len(questions) >= 2
    assert len(questions[0].chips) >= 6


def test_python_of_the_readme_runs() -> None:
    """The ```python blocks run as they stand."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in blocks:
            exec(block, {})
    assert "llama-3.1-8b on 1 x h100-sxm" in said.getvalue()


@pytest.mark.parametrize("name", cli.commands)
def test_every_flag_has_help(name: str) -> None:
    """Help of a command is made of sentences, one for each flag."""
    command = cli.commands[name]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help.endswith(".")


def test_every_schema_is_in_the_docs() -> None:
    """Each file of data/schema has its table, and each field a meaning."""
    assert sorted(SCRIPT.SCHEMAS) == sorted(file.stem for file in (DATA / "schema").glob("*.toml"))
    for name in SCRIPT.SCHEMAS:
        for field in schema(name).values():
            assert field.description, (name, field.path)
            assert field.unit or field.type not in ("number", "numbers"), (name, field.path)


def test_every_dependency_is_explained() -> None:
    """docs/libraries.md says why, for each library and tool that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    said = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8").lower()
    for requirement in asked:
        assert re.split(r"[<>=\[ ]", requirement)[0].lower() in said, requirement


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    """Links to files of this repository, pictures too."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (file.parent / target).exists()]
    assert missing == []
