"""Memory of the simulator, per request, beyond the columns of the workload: what it allocates on purpose, and what the process grows by.

    python benchmarks/memory.py COLUMNS.npy

Started so, it prints the bytes that a process which serves these requests holds at most.
"""

import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cases import REQUESTS, Case, fleet, plain, plant
from table import at_most, heading, line

from assay import Workload
from assay.simulate import run
from assay.simulate.compiled import _laid_out, warm_up

MARK = 200  # bytes per request
COLUMNS = ("arrival", "input", "output")
STATUS = Path("/proc/self/status")
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in


def memory() -> None:
    """Bytes per request of tables and outcome, then of whole processes at two sizes."""
    warm_up()
    heading("Memory beyond the columns of the workload: plain")
    case = plain()
    tables, outcome = allocated(case)
    own = (tables + outcome) / REQUESTS
    figures = f"{own:8.0f} bytes a request: tables {tables / REQUESTS:.0f}, outcome {outcome / REQUESTS:.0f}"
    line(f"allocated, {REQUESTS:,} requests", figures, at_most(own, MARK))
    small, large = peak(case), peak(plain(2 * REQUESTS))
    columns = sum(getattr(case.workload, name).itemsize for name in COLUMNS) + case.workload.prefix_offsets.itemsize
    grown = (large - small) / REQUESTS - columns
    figures = f"{grown:8.0f} bytes a request: peaks {small / 1e6:.0f} and {large / 1e6:.0f} MB, columns {columns}"
    line("process, twice as many less once", figures, at_most(grown, MARK))


def allocated(case: Case) -> tuple[int, int]:
    """Bytes of the tables that are no views of the workload, and of the outcome's arrays that are no views of tables."""
    given = arrays(case.workload)
    tables = list(_laid_out(case.workload, case.fleet.within(), 0).values())
    served = run(case.workload, case.fleet)
    # a run lays out tables of its own: of the outcome, those columns that the kernel wrote are views of tables
    written = {"arrival", "first_token", "finish", "gaps"}
    made = [getattr(served, each.name) for each in fields(served) if each.name not in written]
    return own_bytes(tables, given), sum(array.nbytes for array in made if isinstance(array, np.ndarray))


def arrays(record: Workload) -> list[np.ndarray[Any, Any]]:
    """The columns of a workload."""
    return [value for value in vars(record).values() if isinstance(value, np.ndarray)]


def own_bytes(some: Iterable[np.ndarray[Any, Any]], given: Iterable[np.ndarray[Any, Any]]) -> int:
    """Bytes of arrays that share none with those that were given."""
    return sum(array.nbytes for array in some if not any(np.may_share_memory(array, other) for other in given))


def peak(case: Case) -> int:
    """Bytes that a fresh process has held at most when it has served the requests, which it reads, so that their draw does not count."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "columns.npy"
        np.save(file, np.stack([getattr(case.workload, name).view(np.int64) for name in COLUMNS]))
        said = subprocess.run([sys.executable, __file__, str(file)], stdout=subprocess.PIPE, check=True)
    return int(said.stdout)


def serve(file: str) -> None:
    """Print the peak of this process."""
    warm_up()
    arrival, prompts, outputs = np.load(file)
    workload = Workload(arrival=arrival.view(np.float64), input=prompts, output=outputs, name="columns")
    run(workload, fleet(plant()))
    print(most_held())


def most_held() -> int:
    """Bytes that this process has held at most; where the system says so without the bytes of the process that started it."""
    if STATUS.exists():
        return 1024 * int(STATUS.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    serve(sys.argv[1])
