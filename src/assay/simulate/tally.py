"""What the steps of a run add up to: counts by size, so that time by resource and energy follow at the end."""

import numpy as np

from assay.steptime import MIXED, Curve, Floats, Step, StepTime


class Tally:
    """Sums over the steps of a run.

    Steps are counted by (kind, n) and by s, and D, P and R are summed by reach; of prefill attention, whose time is the larger of
    several lines, the seconds are summed by the line that was.
    """

    def __init__(self, times: StepTime) -> None:
        reaches, lines = len(times.reaches), len(times.latency.lines)
        self.times = times
        self.steps = 0
        self.tokens = np.zeros((2, times.most_tokens + 1), dtype=np.int64)
        self.sampled = np.zeros(times.most_sampled + 1, dtype=np.int64)
        self.decode, self.pairs, self.reread = np.zeros(reaches), np.zeros(reaches), np.zeros(reaches)
        self.line_seconds = np.zeros(lines)

    def add(self, step: Step) -> None:
        """Count one step."""
        self.steps += 1
        self.tokens[step.kind, step.tokens] += 1
        self.sampled[step.sampled] += 1
        for reach, context in enumerate(step.decode):
            self.decode[reach] += context
        if step.kind == MIXED:
            self._add_prefill(step)

    def _add_prefill(self, step: Step) -> None:
        for reach, (pairs, reread) in enumerate(zip(step.pairs, step.reread, strict=True)):
            self.pairs[reach] += pairs
            self.reread[reach] += reread
            seconds = [float(line[0] * pairs + line[1] * reread) for line in self.times.latency.prefill[reach]]
            worst = max(range(len(seconds)), key=seconds.__getitem__)
            self.line_seconds[worst] += seconds[worst]

    def resource_seconds(self) -> Floats:
        """Time of all steps by the resource that set it; shape (R,)."""
        curve = self.times.latency
        seconds = self._linear(curve)
        for line, resource in enumerate(curve.lines):
            seconds[resource] += self.line_seconds[line]
        return seconds

    def joules(self) -> float:
        """Energy of all steps above idle: that of prefill attention has one line, so sums suffice."""
        curve = self.times.joules
        prefill = curve.prefill[:, 0, 0] @ self.pairs + curve.prefill[:, 0, 1] @ self.reread
        return float(self._linear(curve).sum() + prefill)

    def _linear(self, curve: Curve) -> Floats:
        seconds: Floats = np.einsum("krn,kn->r", curve.tokens, self.tokens) + curve.sampled @ self.sampled + self.decode @ curve.decode
        return seconds
