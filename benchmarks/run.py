"""How fast Assay is: whole commands beside what their libraries alone take to load, and the simulator.

    python benchmarks/run.py [REPEATS]

Ratios to the baselines of the same run compare between machines, seconds do not.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from assay import Chip, Deployment, Model, Slo, Workload, api
from assay.search.estimate import guess
from assay.search.plant import Plant
from assay.simulate.run import run

SOURCE = Path(__file__).parents[1] / "src"
PREDICT = "predict llama-3.1-8b --chip h100-sxm --tp 2 --decode 64 --context 2000"
REQUESTS = 2000
LOAD = 0.5  # of what the replica can serve by the closed form


def seconds(words: Sequence[str]) -> float:
    """Wall time of one process."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def processes(repeats: int) -> None:
    """Medians of commands and baselines, taken in turn after a warm-up."""
    commands = {
        "import click": ["-c", "import click"],
        "assay --help": ["-m", "assay", "--help"],
        "import numpy": ["-c", "import numpy"],
        "assay predict": ["-m", "assay", *PREDICT.split()],
    }
    for words in commands.values():
        seconds(words)
    rounds = [{name: seconds(words) for name, words in commands.items()} for _ in range(repeats)]
    took = {name: statistics.median(one[name] for one in rounds) for name in commands}
    for name, baseline in (("assay --help", "import click"), ("assay predict", "import numpy")):
        ratio = took[name] / took[baseline]
        print(f"{name:28} {took[name] * 1e3:7.0f} ms   {baseline} {took[baseline] * 1e3:.0f} ms, ratio {ratio:.2f}")


def simulators() -> None:
    """Requests per second of wall time on the shipped description of a conversation trace, one replica under moderate load."""
    plant = api.plan_one(Model.load("llama-3.1-8b"), Deployment.of(Chip.load("h100-sxm")))
    drawn = Workload.load("azure-conv-2023", requests=REQUESTS)
    rate = LOAD * guess(plant, drawn, Slo(tpot=0.05)).rate
    workload = drawn.at_rate(rate)
    print(f"simulated: {workload.summary()}")
    for name, served in simulations(plant).items():
        served(workload.first(50))
        start = time.perf_counter()
        served(workload)
        print(f"{name:28} {REQUESTS / (time.perf_counter() - start):7.0f} requests/s")


def simulations(plant: Plant) -> dict[str, Callable[[Workload], object]]:
    """The specification in plain Python, and what commands use: the first call compiles it, or reads it from the cache."""
    return {
        "reference simulator": lambda workload: run(workload, plant.times, plant.policy, reference=True),
        "compiled simulator": lambda workload: run(workload, plant.times, plant.policy, reference=False),
    }


if __name__ == "__main__":
    processes(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
    simulators()
