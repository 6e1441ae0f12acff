"""What the steps of a run add up to: counts by size, so that time by resource follows at the end."""

import numpy as np

from assay.steptime import MIXED, Floats, Step, StepTime


class Tally:
    """Sums over the steps of a pool; of ranks in lock step the slowest counts.

    Steps are counted by (kind, n), by s, by sequences that draft and by (kind, n of all ranks), and D, P and R are summed by reach; of
    prefill attention, whose time is the larger of several lines, the seconds are summed by the line that was.
    """

    def __init__(self, times: StepTime) -> None:
        reaches, lines = len(times.reaches), len(times.latency.lines)
        self.times = times
        self.tokens = np.zeros((2, times.most_tokens + 1), dtype=np.int64)
        self.sampled = np.zeros(times.most_sampled + 1, dtype=np.int64)
        self.draft = np.zeros(times.latency.draft.shape[1], dtype=np.int64)
        self.joint = np.zeros((2, times.latency.joint.shape[2]), dtype=np.int64)
        self.decode = np.zeros(reaches)
        self.line_seconds = np.zeros(lines)

    def add(self, step: Step, kind: int, tokens: int) -> None:
        """Count one step of one rank, within one of a kind and of `tokens` tokens of all ranks."""
        self.tokens[step.kind, step.tokens] += 1
        self.sampled[step.sampled] += 1
        if self.draft.size:
            self.draft[step.drafting] += 1
        if self.joint.size:
            self.joint[kind, tokens] += 1
        for reach, context in enumerate(step.decode):
            self.decode[reach] += context
        if step.kind == MIXED:
            self._add_prefill(step)

    def _add_prefill(self, step: Step) -> None:
        for reach, (pairs, reread) in enumerate(zip(step.pairs, step.reread, strict=True)):
            seconds = [float(line[0] * pairs + line[1] * reread) for line in self.times.latency.prefill[reach]]
            worst = max(range(len(seconds)), key=seconds.__getitem__)
            self.line_seconds[worst] += seconds[worst]

    def resource_seconds(self) -> Floats:
        """Time of all steps by the resource that set it; shape (R,)."""
        curve = self.times.latency
        seconds: Floats = np.einsum("krn,kn->r", curve.tokens, self.tokens) + curve.sampled @ self.sampled + self.decode @ curve.decode
        seconds += curve.draft @ self.draft + np.einsum("krn,kn->r", curve.joint, self.joint)
        for line, resource in enumerate(curve.lines):
            seconds[resource] += self.line_seconds[line]
        return seconds
