"""How fast Assay is, and how much memory it takes, beside the marks it is held against.

    python benchmarks/run.py [SECTION ...]    # kernel reference growth memory compile processes peers; all when left out

Simulations are timed in processor seconds of all threads together, which on one free core are wall seconds; processes in wall time.
Ratios to the baselines of the same run compare between machines, seconds do not.
"""

import os
import sys

import peers
from kernel import beside_reference, by_feature, growth
from memory import memory
from processes import compiling, processes
from table import heading


def beside_peers() -> None:
    """Other simulators that are installed."""
    heading("Beside other simulators of LLM serving that are installed: one replica, the same requests, median of some runs")
    peers.main()


SECTIONS = {
    "kernel": by_feature,
    "reference": beside_reference,
    "growth": growth,
    "memory": memory,
    "compile": compiling,
    "processes": processes,
    "peers": beside_peers,
}


def main(names: list[str]) -> None:
    """Run the sections of these names, or all."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise SystemExit(f"no section {', '.join(unknown)}: give some of {', '.join(SECTIONS)}, or nothing for all")
    if hasattr(os, "getloadavg"):
        print(f"{os.cpu_count()} cores, on which {os.getloadavg()[0]:.1f} processes ran in the last minute")
    for name in names or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
