"""Whole processes: the compiler, the first time and after; commands beside what their libraries alone take to load."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cases import TRACES
from table import at_most, heading, line, spread

SOURCE = Path(__file__).parents[1] / "src"
PREDICT = "predict llama-3.1-8b --chip h100-sxm --tp 2 --decode 64 --context 2000"
SIMULATE = "simulate llama-3.1-8b --chip h100-sxm --workload"
CHIPS = "a100-sxm-80gb,h100-sxm,h200-sxm,b200-sxm,b300-sxm,mi300x,mi325x,mi355x,gaudi3,tpu-v6e,groq-lpu-v1,cerebras-wse3"
COMPARE = f"compare llama-3.3-70b --chips {CHIPS} --workload azure-conv-2023 --requests 2000 --rate 10 --ttft 5 --tpot 0.05"
WARM_UP = """
import time
start = time.perf_counter()
from assay.simulate.compiled import warm_up
warm_up()
print(time.perf_counter() - start)
"""
QUICK, SLOW = 9, 3  # repeats


def seconds(words: Sequence[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    python(words)
    return time.perf_counter() - start


def python(words: Sequence[str], **variables: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as a user has it: modules are compiled once
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=True).stdout


def compiling() -> None:
    """Seconds until the simulator is ready, imports included: without machine code on disk, then with it."""
    heading("Compilation: seconds of a fresh process until the simulator is ready, imports included")
    with TemporaryDirectory() as empty:
        cold, *warm = (float(python(["-c", WARM_UP], XDG_CACHE_HOME=empty)) for _ in range(1 + QUICK))
    line("cold: no machine code on disk", f"{cold:8.2f} s, one run")
    line("warm: loaded from disk", f"{statistics.median(warm):8.2f} s, median of {QUICK}, spread {spread(warm)}")


def processes() -> None:
    """Medians of commands and baselines, taken in turn after a warm-up."""
    heading(f"Processes: wall time, median of {QUICK}, of {SLOW} for simulate and compare")
    commands = {
        "import click": ["-c", "import click"],
        "assay --help": ["-m", "assay", "--help"],
        "import numpy": ["-c", "import numpy"],
        "assay predict": ["-m", "assay", *PREDICT.split()],
    }
    for words in commands.values():
        seconds(words)
    rounds = [{name: seconds(words) for name, words in commands.items()} for _ in range(QUICK)]
    took = {name: [one[name] for one in rounds] for name in commands}
    for name, baseline in (("assay --help", "import click"), ("assay predict", "import numpy")):
        middle, least = statistics.median(took[name]), statistics.median(took[baseline])
        line(name, f"{middle:8.3f} s, {baseline} {least:.3f} s, ratio {middle / least:.2f}, spread {spread(took[name])}")
    trace = TRACES / "azure2023_conv.csv"
    workload = [str(trace)] if trace.exists() else ["azure-conv-2023", "--requests", "20000"]
    whole(f"assay simulate, {'19,366 of a trace' if trace.exists() else '20,000 drawn'}", [*SIMULATE.split(), *workload], 1)
    with two_cores():
        whole("assay compare, 12 chips, 2,000 requests", COMPARE.split(), 10)


def whole(name: str, words: Sequence[str], mark: float) -> None:
    """A command on its own beside its mark."""
    took = [seconds(["-m", "assay", *words]) for _ in range(SLOW)]
    middle = statistics.median(took)
    line(name, f"{middle:8.2f} s, spread {spread(took)}", at_most(middle, mark))


@contextmanager
def two_cores() -> Iterator[None]:
    """Keep the processes that are started within to two cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
