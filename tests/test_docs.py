"""The docs say what is so: tables, snippets and examples are what data and commands give, and links lead somewhere."""

import contextlib
import importlib.util
import io
import json
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


PAGES = SCRIPT.pages()
COMMANDS = [
    pytest.param(file, command, id=f"{file.stem}: {command}")
    for file, text in PAGES.items()
    if file not in SCRIPT.FOLLOWED
    for command in SCRIPT.consoles(text)
]


@pytest.mark.parametrize("file", [file for file, text in PAGES.items() if SCRIPT.PART.search(text)], ids=lambda file: file.name)
def test_parts_are_fresh(file: Path) -> None:
    """What follows from data, flags and source says what they say."""
    assert SCRIPT.filled(PAGES[file]) == PAGES[file], REMEDY


def test_errors_are_those_of_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the accuracy page says was found with the constants, bands and published numbers that ship."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    script = load(ROOT / "docs" / "make_calibration.py")
    for name, of in (("accuracy", script.MADE), ("own_points", ("fitted",))):
        found = json.loads((ROOT / "docs" / f"{name}.json").read_text(encoding="utf-8"))
        assert found["constants"] == script.digest(*of), f"docs/{name}.json is stale: docs/accuracy.md says what makes it"


def test_every_mark_has_its_end() -> None:
    """A part whose marks do not match would never be filled."""
    for file, text in PAGES.items():
        assert len(SCRIPT.PART.findall(text)) == len(re.findall(r"<!-- (?!end of )", text)), file.name


@pytest.mark.parametrize(("file", "command"), COMMANDS)
def test_commands_print_what_is_shown(file: Path, command: str) -> None:
    """Each ```console block is a command that works, and its output."""
    assert f"$ {command}\n{SCRIPT.printed(command)}```" in PAGES[file], REMEDY


def test_the_readme_shows_commands() -> None:
    """There are snippets to check."""
    assert len(SCRIPT.consoles(PAGES[ROOT / "README.md"])) >= 3


LEFT = {"tutorial": {"trace.toml", "report.html", "accuracy.html"}, "calibration": {"my-h100.toml"}}
USED = {
    "tutorial": {"models", "chips", "predict", "workloads", "simulate", "compare", "validate"},
    "calibration": {"calibrate", "simulate"},
}


@pytest.mark.parametrize("file", SCRIPT.FOLLOWED, ids=lambda file: file.stem)
def test_a_page_can_be_followed(file: Path, tmp_path: Path) -> None:
    """Its files and its commands alone, in an empty folder, print what it shows and leave the files that it promises."""
    text = PAGES[file]
    assert SCRIPT.followed(text, tmp_path) == text, REMEDY
    assert LEFT[file.stem] <= {left.name for left in tmp_path.iterdir()}
    used = {command.split()[1] for command in SCRIPT.consoles(text) if command.startswith("assay ")}
    assert used == USED[file.stem]


@pytest.mark.parametrize("file", SCRIPT.examples(), ids=lambda file: file.name)
def test_examples_print_their_output(file: Path) -> None:
    """The command that an example names prints what stands in its .out."""
    assert file.with_suffix(".out").read_text(encoding="utf-8") == SCRIPT.printed(SCRIPT.examples()[file]), REMEDY


def test_the_demo_can_be_read() -> None:
    """Everything that `make demo` names is there."""
    questions = _scenario(ROOT / "examples" / "demo.toml", None)
    assert len(questions) >= 2
    assert len(questions[0].chips) >= 6


PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("file", [file for file, text in PAGES.items() if PYTHON.search(text)], ids=lambda file: file.name)
def test_python_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ```python blocks run as they stand, and say something."""
    monkeypatch.chdir(ROOT)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in PYTHON.findall(PAGES[file]):
            exec(block, {})
    assert ("llama-3.1-8b on 1 x h100-sxm" if file.name == "README.md" else "") in said.getvalue()
    assert not re.search(r"False|None|0 of", said.getvalue())


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
    """Each file of data/schema has its table on one page, and each field a meaning."""
    shown = [given.strip() for text in PAGES.values() for part, given in SCRIPT.PART.findall(text) if part == "fields"]
    assert sorted(shown) == sorted(file.stem for file in (DATA / "schema").glob("*.toml"))
    for name in shown:
        for field in schema(name).values():
            assert field.description, (name, field.path)
            assert field.unit or field.type not in ("number", "numbers"), (name, field.path)


def test_every_page_is_led_to() -> None:
    """The README or the list of nouns has a link to each page."""
    led = "".join(PAGES[file] for file in (ROOT / "README.md", ROOT / "docs" / "fields.md"))
    assert [file.name for file in PAGES if file.parent.name == "docs" and f"{file.name})" not in led] == []


def test_every_dependency_is_explained() -> None:
    """docs/libraries.md says why, for each library and tool that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    said = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8").lower()
    for requirement in asked:
        assert re.split(r"[<>=\[ ]", requirement)[0].lower() in said, requirement


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    """Links to files of this repository, pictures too, and to headings within them."""
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", file.read_text(encoding="utf-8")):
        if "://" not in target:
            aim = file.parent / target if target else file
            assert aim.exists(), target
            assert not heading or heading in _anchors(aim), f"{target}#{heading}"


def _anchors(file: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
