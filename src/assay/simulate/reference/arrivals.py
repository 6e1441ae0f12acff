"""Which request is sent when: by the clock, by users in a closed loop, by turns of a session."""

import heapq
import math
from collections import deque
from collections.abc import Iterator

from assay.simulate.records import Floats
from assay.workloads import Workload


class Arrivals:
    """Requests to come, in order of the moment at which a scheduler sees them, `delay` seconds after they were sent."""

    def __init__(self, workload: Workload, delay: float, sent: Floats) -> None:
        self.workload, self.delay, self.sent = workload, delay, sent
        following = workload.following()
        self.next_turn = following.tolist() if following.size else [-1] * workload.requests
        opening = [row for row, opens in enumerate(workload.opens) if opens]
        users = workload.concurrency
        self.later = deque(opening[users:]) if users else deque[int]()
        self.coming: list[tuple[float, int]] = []
        for user, row in enumerate(opening[:users] if users else opening):
            self._send(row, user * (workload.ramp / users) if users else float(workload.arrival[row]))

    def _send(self, row: int, moment: float) -> None:
        self.sent[row] = moment
        heapq.heappush(self.coming, (moment + self.delay, row))

    def next_moment(self) -> float:
        """When the next one is seen."""
        return self.coming[0][0] if self.coming else math.inf

    def due(self, now: float) -> Iterator[int]:
        """Those that are seen by now, also such as are sent meanwhile."""
        while self.coming and self.coming[0][0] <= now:
            yield heapq.heappop(self.coming)[1]

    def ended(self, row: int, moment: float) -> None:
        """A request ended: its session goes on after a time to think, or its user begins another."""
        following = self.next_turn[row]
        if following >= 0:
            think = float(self.workload.think[following]) if self.workload.think.size else 0.0
            self._send(following, moment + think)
        elif self.later:
            self._send(self.later.popleft(), moment)
