"""The time of all steps of a run in closed form, from the counts of its steps by size.

The sum is the one that a simulation makes step by step. Given the counts it holds for any constants: `Machine.constants` may hold
columns of numbers, shape (P, 1), and the times of all P are found at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.cost.constants import Constants
from assay.cost.fold import host_seconds
from assay.cost.residency import by_use, depth_of, stage_share
from assay.cost.roofline import Machine, decode_slope, latency_seconds, network_seconds, state_seconds, work_seconds
from assay.deployments import Part
from assay.graph.op import SAMPLED, Op
from assay.steptime import DECODE, MIXED, Floats

Counted = tuple[Floats, Floats]  # n sizes that occurred, and how many steps of each of R runs had each, shape (n, R)


@dataclass(frozen=True)
class Steps:
    """The steps of R runs on like pools of `ranks` attention ranks each.

    `own` counts by kind and tokens of one rank, `shared` by kind and tokens of all; `sampled` by samples and `drafting` by sequences
    that draft, of one rank. `decode` (reaches, R) sums the context by reach. `lines` (2, R) are the seconds of prefill attention that its
    arithmetic and its reading took in all stages `under` some constants.
    """

    own: tuple[Counted, Counted]
    shared: tuple[Counted, Counted]
    sampled: Counted
    drafting: Counted
    decode: Floats
    reaches: tuple[int, ...]
    ranks: int
    lines: Floats
    under: Constants


@dataclass(frozen=True)
class Totals:
    """Seconds, shape (P, R): what only decode steps take, what only mixed steps take, and what both take by sequence and context."""

    decode: Floats
    mixed: Floats
    shared: Floats


def counted(counts: NDArray[np.int64]) -> Counted:
    """Sizes that occurred in one run, 0 left out, and their counts."""
    sizes = np.flatnonzero(counts)
    sizes = sizes[sizes > 0]
    return sizes.astype(np.float64), counts[sizes, None].astype(np.float64)


def together(runs: Sequence[Steps]) -> Steps:
    """The steps of several runs on like pools under the same constants side by side."""
    own, shared = ([_beside([getattr(run, name)[kind] for run in runs]) for kind in (DECODE, MIXED)] for name in ("own", "shared"))
    sampled, drafting = (_beside([getattr(run, name) for run in runs]) for name in ("sampled", "drafting"))
    decode, lines = (np.hstack([getattr(run, name) for run in runs]) for name in ("decode", "lines"))
    return replace(
        runs[0], own=(own[0], own[1]), shared=(shared[0], shared[1]), sampled=sampled, drafting=drafting, decode=decode, lines=lines
    )


def _beside(each: Sequence[Counted]) -> Counted:
    sizes = np.unique(np.concatenate([sizes for sizes, _ in each]))
    counts = np.zeros((len(sizes), sum(count.shape[1] for _, count in each)))
    column = 0
    for own, count in each:
        counts[np.searchsorted(sizes, own), column : column + count.shape[1]] = count
        column += count.shape[1]
    return sizes, counts


def totals(ops: Sequence[Op], part: Part, machine: Machine, steps: Steps) -> Totals:
    """Time of all steps: the interval between them, summed; in a resident pipeline their latency, as a sequence waits for all stages."""
    sums = _Sums(part, machine, steps)
    step, drafts = by_use(ops)
    stages = 1 if part.chip.resident else part.pp
    for op in step:
        sums.add(op, _share(op, depth_of(step), stages))
    sums.add_host()
    sums.add_prefill_attention(stage_share(depth_of(step), stages))
    if drafts and part.speculation:
        for op in drafts:
            sums.add_draft(op, part.speculation.tokens * _share(op, depth_of(drafts), stages))
        if part.speculation.draft is not None:
            sums.add_draft_host(part.speculation.tokens)
    return Totals(sums.decode, sums.mixed, sums.shared)


def _share(op: Op, depth: int, stages: int) -> float:
    """Executions of an op on the fullest of the stages."""
    return op.count * (1 / stages if op.once else stage_share(depth, stages))


class _Sums:
    """Times of the ops added up, shape (P, R)."""

    def __init__(self, part: Part, machine: Machine, steps: Steps) -> None:
        self.part, self.machine, self.steps = part, machine, steps
        columns = max(np.size(value) for table in vars(machine.constants).values() for value in table.values())
        self.decode = np.zeros((columns, steps.sampled[1].shape[1]))
        self.mixed, self.shared = self.decode.copy(), self.decode.copy()

    def add(self, op: Op, share: float) -> None:
        steps, width = self.steps, self.part.width
        if op.driver == SAMPLED:
            self.shared += share * self._each(op, _times(steps.sampled, steps.ranks), DECODE)
        else:
            decode, mixed = steps.own if op.own or steps.ranks == 1 else steps.shared
            self.decode += share * self._each(op, decode, DECODE)
            self.mixed += share * self._each(op, mixed, MIXED)
        if op.state_bytes:
            self.shared += share * state_seconds(op, self.machine, width) * _sum(steps.sampled)
        if op.reach:
            place = steps.reaches.index(op.reach.window)
            self.shared += share * sum(decode_slope(op.reach, op, self.machine, width)) * steps.decode[place]

    def add_host(self) -> None:
        steps, (step, sequence) = self.steps, host_seconds(self.part, self.machine.constants)
        decode, mixed = steps.own if steps.ranks == 1 else steps.shared
        self.decode += step * decode[1].sum(axis=0)
        self.mixed += step * mixed[1].sum(axis=0)
        self.shared += sequence / self.part.width * steps.ranks * _sum(steps.sampled)

    def add_prefill_attention(self, share: float) -> None:
        now, then, lines = self.machine.constants, self.steps.under, self.steps.lines
        self.mixed += share * lines[0] * then.compute_share["attention"] / now.compute_share["attention"]
        self.mixed += share * lines[1] * then.bandwidth_share["kv"] / now.bandwidth_share["kv"]

    def add_draft(self, op: Op, share: float) -> None:
        steps = self.steps
        drafting = steps.drafting if op.own or steps.ranks == 1 else _times(steps.drafting, steps.ranks)
        self.shared += share * self._each(op, drafting, DECODE)
        if op.reach:
            self.shared += share * sum(decode_slope(op.reach, op, self.machine)) * steps.decode[steps.reaches.index(op.reach.window)]
        if op.state_bytes:
            self.shared += share * state_seconds(op, self.machine) * _sum(steps.drafting)

    def add_draft_host(self, passes: int) -> None:
        steps, (step, sequence) = self.steps, host_seconds(self.part, self.machine.constants)
        self.shared += passes * (step * steps.drafting[1].sum(axis=0) + sequence * steps.ranks * _sum(steps.drafting))

    def _each(self, op: Op, at: Counted, kind: int) -> Floats:
        """Seconds of one execution in each of the steps counted `at` their sizes."""
        units, counts = at
        if not len(units):
            return np.zeros_like(self.decode)
        compute, memory = work_seconds(op, self.machine, units)
        seconds = compute + memory + network_seconds(op, self.machine, units) + latency_seconds(op, self.machine, kind)
        return np.broadcast_to(seconds, (len(self.decode), len(units))) @ counts


def _times(at: Counted, ranks: int) -> Counted:
    return at[0] * ranks, at[1]


def _sum(at: Counted) -> Floats:
    return at[0] @ at[1]
