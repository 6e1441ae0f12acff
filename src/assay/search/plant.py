"""A model laid out on chips, ready to be simulated: its step times, its room for cache and its scheduling policy."""

from dataclasses import dataclass, replace

from assay._base.errors import CannotHold, InputError
from assay.cost import fold
from assay.cost.constants import Calibration
from assay.cost.kv import in_blocks, kv_bytes_per_token, kv_capacity, state_bytes_per_sequence
from assay.cost.roofline import Machine
from assay.deployments import Part
from assay.graph import Op, lower
from assay.models import Model
from assay.simulate import Policy
from assay.simulate.policies import BATCHING
from assay.steptime import StepTime

MOST_TOKENS = 2**22  # of all attention ranks in one step: the time of each smaller step is tabulated, so that memory is the limit
USEFUL_CONTEXT = 2048  # tokens; a replica that cannot hold one sequence of them serves nobody


@dataclass(frozen=True, eq=False)
class Plant:
    """One replica of a part: what the simulator needs to know of it, and the machine and ops that gave it."""

    model: Model
    part: Part
    ops: tuple[Op, ...]
    machine: Machine
    times: StepTime
    policy: Policy

    def sized(self, replicas: int) -> "Plant":
        """The same with this many replicas."""
        return replace(self, part=replace(self.part, replicas=replicas))


def build(model: Model, part: Part, calibration: Calibration | None = None) -> Plant:
    """Fold a part into step times and the policy of one attention rank, under the shipped calibration when none is given.

    Raises CannotHold when it does not fit its chips.
    """
    _check_size(part)
    ops = lower(model, part)
    times, machine = fold(model, part, calibration)
    kv, state = kv_bytes_per_token(ops, part), state_bytes_per_sequence(ops, part)
    policy = Policy(
        token_budget=part.token_budget,
        max_num_seqs=part.max_num_seqs,
        block_size=part.block_size,
        kv_capacity=kv_capacity(machine.residency, model.architecture.depth, part),
        kv_bytes=(*kv.items(), *in_blocks(state, part.block_size)),
        batching=BATCHING[part.batching],
        prefix_cache=part.prefix_cache,
        max_context=model.architecture.max_context,
        admission_delay=machine.constants.host["request"],
        host_capacity=part.host_memory / part.tp,  # like the cache in bytes of one chip of each stage
        host_bandwidth=part.host_bandwidth / part.tp,
        look_interval=part.look_interval,
        overlap=part.engine.has("overlap") and part.pp == 1,
        prefill_wait=part.prefill_wait,
        reserve=part.reserve,
    )
    shortest = min(USEFUL_CONTEXT, policy.max_context)
    needed = policy.footprint(shortest)
    if needed > policy.kv_capacity:
        room = f"the KV cache has {policy.kv_capacity / 1e9:.3g} GB, a sequence of {shortest} tokens takes {needed / 1e9:.3g}"
        raise CannotHold(f"--tp {part.tp} --pp {part.pp} on {part.chip.name}: {room}. Use more chips (--tp, --pp) or a narrower --kv.")
    return Plant(model, part, ops, machine, times, policy)


def _check_size(part: Part) -> None:
    for flag, tokens in (("--token-budget", part.token_budget), ("--max-num-seqs", part.max_num_seqs * part.width)):
        if tokens * part.dp > MOST_TOKENS:
            problem = f"gives steps of {tokens * part.dp} tokens on {part.dp} attention ranks"
            raise InputError(flag, "", problem, f"Give less, so that it is at most {MOST_TOKENS}")
