"""The shape of the source: no names of products, small files, short functions, public things explained."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "assay"
FILES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONG_NAMES = "nvidia cerebras trainium gaudi llama mistral mixtral qwen deepseek vllm sglang tensorrt azure mooncake"
SHORT_NAMES = r"amd groq h100 h200 b200 mi300x? mi355x? wse\d? tpu gpt.?oss kimi"
# Short names count only where no letter touches them, so that "damd" or "outputs" do not match.
NAMES = re.compile(rf"{'|'.join(LONG_NAMES.split())}|(?<![a-z])(?:{'|'.join(SHORT_NAMES.split())})(?![a-z])", re.IGNORECASE)

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))


def _functions() -> Iterator[tuple[str, int]]:
    """Where each function stands, and its lines without the docstring."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{file.relative_to(SOURCE)}:{node.lineno} {node.name}", _lines(node)


def _lines(node: Function) -> int:
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return whole
    docstring = node.body[0]
    return whole - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def _public(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield within + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{node.name}.")


@pytest.mark.parametrize("text", ["an AMD chip", "amd_gpu", "tpu-v6e", "gpt-oss", "gpt_oss", "WSE3", "NvidiaChip", "mi300x"])
def test_the_pattern_finds_names(text: str) -> None:
    """Names are found in any case, in identifiers too."""
    assert NAMES.search(text)


@pytest.mark.parametrize("text", ["Amdahl", "outputs", "browser", "whose", "dispatch", "gamdom"])
def test_the_pattern_leaves_words_alone(text: str) -> None:
    """Words that only contain the letters of a name do not count."""
    assert not NAMES.search(text)


def test_no_code_names_a_product() -> None:
    """Vendors, chips, models, engines and traces live in data: the code treats all alike."""
    found = [
        f"{file.relative_to(SOURCE)}:{number} {match.group()}"
        for file in FILES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        for match in NAMES.finditer(line)
    ]
    assert found == []


@each_file
def test_files_stay_small(file: Path) -> None:
    """A file has at most 400 lines; all compiled code is one file and may have 1,200."""
    limit = 1200 if file.name == "kernel.py" else 400
    assert len(file.read_text(encoding="utf-8").splitlines()) <= limit


def test_functions_stay_short() -> None:
    """Half of the functions have at most 10 lines, nine tenths at most 35, none more than 60."""
    sizes = dict(_functions())
    assert {name: lines for name, lines in sizes.items() if lines > 60} == {}
    assert median(sizes.values()) <= 10
    assert quantiles(sizes.values(), n=10)[-1] <= 35


@each_file
def test_public_things_are_explained(file: Path) -> None:
    """Modules, public classes, functions and methods say what they mean."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    silent = [name for name, node in _public(module.body) if ast.get_docstring(node) is None]
    assert silent == []
    assert not module.body or ast.get_docstring(module)
