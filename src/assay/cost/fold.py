"""From the ops of a step to a StepTime: each op timed over all sizes of step, summed, and shared out over pipeline stages."""

from collections.abc import Iterable, Sequence

from assay.cost.constants import Calibration, Constants, shipped
from assay.cost.energy import energy
from assay.cost.residency import by_use, depth_of, place, stage_share
from assay.cost.roofline import COMPUTE, HOST, MEMORY, Machine
from assay.cost.tables import Sizes, Sum, add_joules, add_seconds
from assay.deployments import Part
from assay.graph import lower
from assay.graph.op import Op
from assay.models import Model
from assay.steptime import DECODE, Curve, StepTime


def fold(model: Model, part: Part, calibration: Calibration | None = None) -> tuple[StepTime, Machine]:
    """Time and energy of every step of one replica, and the machine that gave them.

    What attention ranks do alone is tabulated by the tokens of one, everything else by those of all. The LM head serves all of them
    but is tabulated by the samples of one, as if the others had as many; so is the host's time per sequence.

    Constants are those of `calibration`, of the shipped one when None. Raises CannotHold when weights and cache do not fit the chips of
    a replica or no link joins them.
    """
    ops = lower(model, part)
    machine = assemble(model, part, ops, calibration)
    reaches = tuple(sorted({op.reach.window for op in ops if op.reach}))
    step, drafts = by_use(ops)
    samples = part.max_num_seqs * part.width
    sums = _tabulate(step, machine, part, Sizes(max(part.token_budget, samples), samples, part.dp, part.width, reaches), host=True)
    curves = [_curve(total) for total in sums]
    if part.speculation:
        alone = part.speculation.draft is not None  # a model of its own waits for the host as any step does
        passed = _tabulate(drafts, machine, part, Sizes(part.max_num_seqs, part.max_num_seqs, part.dp, 1, reaches), host=alone)
        shares = (1.0, 1.0, 1 / part.dp)  # each rank has the time of what all draft together, and its share of the energy
        curves = [_with_drafts(*each, part.speculation.tokens) for each in zip(curves, passed, shares, strict=True)]
    interval, latency, joules = curves
    residency, share = machine.residency, stage_share(model.architecture.depth, part.pp)  # of a rank's cache, on its fullest stage
    return StepTime(
        interval,
        latency,
        joules,
        energy(part.chip).idle_watts * part.chips,
        reaches,
        depth=part.pp,
        spill_after=residency.spill_after / share,
        spill=residency.spill_second / machine.constants.bandwidth_share["kv"] * share,
        ranks=part.dp,
        width=part.width,
    ), machine


def assemble(model: Model, part: Part, ops: Iterable[Op], calibration: Calibration | None = None) -> Machine:
    """The machine that times the ops of a part: weights and cache laid into the memory of its chips."""
    residency = place(part, ops, model.architecture.hidden)
    return Machine(part.chip, residency, (calibration or shipped()).constants(part.chip, part.engine, model, part.weights.name))


def _tabulate(ops: Sequence[Op], machine: Machine, part: Part, sizes: Sizes, *, host: bool) -> tuple[Sum, Sum, Sum]:
    """Interval, latency and joules of the ops of one model; without stages the first two are the same."""
    depth, stages, power = depth_of(ops), part.pp, energy(part.chip)
    interval, joules = Sum(sizes), Sum(sizes)
    latency = Sum(sizes) if stages > 1 else interval
    for op in ops:
        share = 1 / stages if op.once else stage_share(depth, stages)
        add_seconds(op, machine, ((interval, share), (latency, 1.0))[: min(stages, 2)])
        add_joules(op, machine, power, joules, part.tp)
    if host:
        for total in (interval, latency)[: min(stages, 2)]:
            _add_host(total, part, machine.constants)
    return interval, latency, joules


def host_seconds(part: Part, constants: Constants) -> tuple[float, float]:
    """Host time of a step, and of each sequence in it: the engine's own figures where its file gives them."""
    engine, resident = part.engine, part.chip.resident
    step = engine.host_step.value if engine.host_step and not resident else constants.host["step"]
    sequence = engine.host_sequence.value if engine.host_sequence and not resident else constants.host["sequence"]
    return step, sequence


def _add_host(total: Sum, part: Part, constants: Constants) -> None:
    """Host time between steps. The tokens of one sequence share its part."""
    step, sequence = host_seconds(part, constants)
    total.shared[:, HOST, 1:] += step
    total.sampled[HOST] += sequence / total.sizes.width * total.sizes.samples_of_all


def _curve(total: Sum) -> Curve:
    """The finished curve; its prefill lines are arithmetic and memory."""
    return Curve(total.tokens, total.sampled, total.decode, total.prefill, (COMPUTE, MEMORY), joint=total.joint)


def _with_drafts(curve: Curve, drafts: Sum, share: float, passes: int) -> Curve:
    """The curve with drafting passes before it, each a decode step of one token per sequence, as if all ranks draft as many.

    Of what ranks do together `share` is counted.
    """
    each = drafts.tokens[DECODE] + drafts.sampled
    if drafts.sizes.ranks > 1:
        each += share * drafts.joint[DECODE, :, :: drafts.sizes.ranks]
    decode = curve.decode + passes * drafts.decode
    return Curve(curve.tokens, curve.sampled, decode, curve.prefill, curve.lines, passes * each, curve.joint)
