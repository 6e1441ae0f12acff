"""Work shared out to any executor, its results as they come."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def finished(function: Callable[[Job], Result], jobs: Iterable[Job], executor: Executor | None) -> Iterator[tuple[int, Result]]:
    """Each job's place and result in the order in which they end; without an executor one after the other.

    Who stops listening cancels the rest.
    """
    if executor is None:
        for place, job in enumerate(jobs):
            yield place, function(job)
        return
    futures = {executor.submit(function, job): place for place, job in enumerate(jobs)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()
