"""Progress of one long run, on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

PATIENCE = 1.0  # seconds that pass before a bar is shown


@contextmanager
def bar(what: str, *, counted: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """Whom to tell how much is done, of how much: a bar once the work has lasted over a second; None when stderr is no terminal.

    Where what is done is not to be counted, as bytes are not, the bar shows its share.
    """
    if not sys.stderr.isatty():
        yield None
        return
    start = time.monotonic()
    shown: list[Callable[[int, int], None]] = []
    with ExitStack() as stack:

        def tell(done: int, total: int) -> None:
            if not shown and time.monotonic() - start >= PATIENCE:
                shown.append(_drawn(what, counted, stack))
            for update in shown:
                update(done, total)

        yield tell


def _drawn(what: str, counted: bool, stack: ExitStack) -> Callable[[int, int], None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    done = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeElapsedColumn(), TimeRemainingColumn())
    drawn = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = drawn.add_task(what, total=None)
    return lambda done, total: drawn.update(task, completed=done, total=total)
