"""Work shared out to any executor."""

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from assay._base.parallel import finished


def squared(number: int) -> int:
    """A job."""
    return number * number


def test_without_an_executor_jobs_are_done_in_order_as_they_are_asked_for() -> None:
    """Nothing is done before somebody listens."""
    done: list[int] = []
    results = finished(lambda job: done.append(job) or job, [3, 1, 2], None)
    assert done == []
    assert next(results) == (0, 3)
    assert done == [3]
    assert list(results) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_comes_back_once_with_its_place(workers: int) -> None:
    """Whichever ends first."""
    with ThreadPoolExecutor(workers) as executor:
        assert sorted(finished(squared, range(20), executor)) == [(number, number * number) for number in range(20)]


def test_results_come_as_they_end() -> None:
    """The first job waits until the second was heard of."""
    heard = Event()

    def job(number: int) -> int:
        if number == 0:
            assert heard.wait(10)
        return number

    with ThreadPoolExecutor(2) as executor:
        order = []
        for place, _ in finished(job, [0, 1], executor):
            order.append(place)
            heard.set()
    assert order == [1, 0]


class Idle(Executor):
    """Does the first job at once and the others never."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Any, /, *jobs: Any, **named: Any) -> Future[Any]:
        """A future that is done, or one that never will be."""
        future: Future[Any] = Future()
        if not self.futures:
            future.set_result(function(*jobs))
        self.futures.append(future)
        return future


def test_who_stops_listening_cancels_the_rest() -> None:
    """Jobs that had not begun never begin."""
    executor = Idle()
    results = finished(squared, [5, 6, 7], executor)
    assert next(results) == (0, 25)
    results.close()
    assert [future.cancelled() for future in executor.futures] == [False, True, True]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_error_of_a_job_is_raised(workers: int) -> None:
    """With an executor as without."""
    executor = ThreadPoolExecutor(workers) if workers else None
    with pytest.raises(ZeroDivisionError):
        list(finished(lambda number: 1 // number, [1, 0], executor))
    if executor:
        executor.shutdown()
