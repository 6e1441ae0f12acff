"""What all benchmarks share: how a figure is timed, and the line that shows it beside its mark."""

import time
from collections.abc import Callable, Sequence


def cpu_seconds(work: Callable[[], object]) -> float:
    """Seconds of processor time, of all threads together: neighbours on a busy machine do not count, idle cores do not help."""
    start = time.process_time()
    work()
    return time.process_time() - start


def line(name: str, figures: str, verdict: str = "") -> None:
    """One line of a table."""
    print(f"{name:40} {figures:64} {verdict}".rstrip(), flush=True)


def heading(title: str) -> None:
    """The title of a table."""
    print(f"\n{title}", flush=True)


def at_least(value: float, mark: float | None) -> str:
    """The mark, and whether the value reaches it; empty without one."""
    return "" if mark is None else f"mark {mark:,.0f} {'ok' if value >= mark else 'below'}"


def at_most(value: float, mark: float) -> str:
    """The mark, and whether the value stays within it."""
    return f"mark {mark:,.4g} {'ok' if value <= mark else 'below'}"


def spread(seconds: Sequence[float]) -> str:
    """How far the slowest of some runs is from the fastest."""
    return f"{max(seconds) / min(seconds) - 1:.0%}"
