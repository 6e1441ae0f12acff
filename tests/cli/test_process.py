"""The command line as a process of its own: what the shell sees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import assay

SOURCE = Path(assay.__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """`python -m assay` with these words."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run([sys.executable, "-m", "assay", *words], capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_help_is_for_people() -> None:
    """Help names every command, on stdout, with exit code 0."""
    ended = run("--help")
    assert ended.returncode == 0
    for command in ("chips", "models", "engines", "workloads", "offers", "predict", "simulate", "compare"):
        assert f"\n  {command} " in ended.stdout
    assert ended.stderr == ""


def test_help_loads_no_numbers() -> None:
    """Help comes at once because the numerical libraries are imported only when a command needs them."""
    heavy = "numpy polars plotly rich"
    code = f"import sys, assay.cli.commands; print([name for name in {heavy.split()} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"


def test_json_loads_no_terminal() -> None:
    """Commands that print JSON need no Rich, which takes as long to import as much of their work."""
    code = "import sys; from assay.cli.commands import main; main(sys.argv[1:]); sys.exit('rich' in sys.modules)"
    for words in ("predict llama-3.1-8b --chip h100-sxm --prefill 9 --json", "models llama-3.1-8b --json"):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        ended = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, env=environment, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr


def test_version() -> None:
    """`--version` prints the version of the package, installed or not."""
    ended = run("--version")
    assert ended.returncode == 0
    assert assay.__version__ in ended.stdout


@pytest.mark.parametrize(("words", "code"), [("predict llama-3.1-8b --chip h100-sxm --prefill 9 --json", 0), ("chips h100-sxn", 2)])
def test_exit_codes(words: str, code: int) -> None:
    """0 with JSON alone on stdout, or 2 with one line on stderr."""
    ended = run(*words.split())
    assert ended.returncode == code
    if code:
        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
    else:
        json.loads(ended.stdout)
        assert ended.stderr == ""


def test_a_closed_pipe_is_no_error() -> None:
    """`assay models | head -n 1` ends quietly."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", "offers"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    said = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert "Traceback" not in said
