"""What schedulers and routers may do: limits as plain numbers, rules as integer codes.

A new rule takes a code here, a branch in `reference` and one in `kernel`.
"""

from dataclasses import dataclass, replace

from assay._base.errors import InputError
from assay.steptime import StepTime

MIXED, PREFILL_FIRST, STATIC = 0, 1, 2
BATCHING = {"mixed": MIXED, "first": PREFILL_FIRST, "static": STATIC}
"""How prompts and decodes share steps: chunks and decodes in one step; prompts in steps of their own, before decodes go on; the same,
and none is admitted until all that were admitted together are done."""

ROUND_ROBIN, LEAST_LOADED, POWER_OF_TWO, PREFIX_AFFINITY = 0, 1, 2, 3
ROUTING = {
    "round robin": ROUND_ROBIN,
    "least loaded": LEAST_LOADED,
    "power of two": POWER_OF_TWO,
    "prefix affinity": PREFIX_AFFINITY,
}
"""Who serves a request: ranks in turn; the one with the fewest requests; the less loaded of two drawn at random; the one to which the
longest part of its prefix was sent before, unless that one has more than `load_bound` times its share of the requests."""

ALL, PREFILL, DECODE = 0, 1, 2
ROLES = {"all": ALL, "prefill": PREFILL, "decode": DECODE}
"""What the replicas of a pool do: everything; prompts alone, which they hand over; what comes after the prompt."""


@dataclass(frozen=True)
class Policy:
    """What the scheduler of one rank may do.

    `kv_capacity` is in bytes; a sequence of `context` tokens takes, for each (reach, bytes) of `kv_bytes`, bytes x min(context, reach)
    tokens rounded up to `block_size` (reach 0: the whole context). Both are rounded to whole bytes, so that sums are exact. Requests
    longer than `max_context` are rejected. A request reaches the scheduler `admission_delay` seconds after it was sent.

    Prefix blocks that the cache has no room for go to `host_capacity` bytes of host memory, from which `host_bandwidth` bytes/s bring
    them back. While a rank decodes it looks for new requests every `look_interval` steps; with `overlap` scheduling each step is planned
    while the one before runs, and a request that comes meanwhile joins the one after. Of ranks in lock step those that have
    prompts wait up to `prefill_wait` steps for those that have none. A request is admitted beside others only while there is room for
    `reserve` (0 to 1) of the output of each, as if no prefix were shared.
    """

    token_budget: int
    max_num_seqs: int
    block_size: int
    kv_capacity: float
    kv_bytes: tuple[tuple[int, float], ...]
    batching: int = MIXED
    prefix_cache: bool = False
    max_context: int = 2**62
    admission_delay: float = 0.0
    host_capacity: float = 0.0
    host_bandwidth: float = float("inf")
    look_interval: int = 1
    overlap: bool = False
    prefill_wait: int = 0
    reserve: float = 0.0

    def __post_init__(self) -> None:
        """Round to whole bytes: sums of floats are then exact."""
        object.__setattr__(self, "kv_capacity", float(self.kv_capacity // 1))
        object.__setattr__(self, "kv_bytes", tuple((reach, float(-(-each // 1))) for reach, each in self.kv_bytes))

    def within(self, times: StepTime) -> "Policy":
        """The same within the sizes that step times know, and with no more sequences than the steps of a pipeline have tokens for.

        Raises InputError when a step has no room for the tokens that speculation verifies of one sequence.
        """
        budget = min(self.token_budget, times.most_tokens)
        room = min(budget, times.most_sampled)
        if room < times.width:
            problem = f"a step has room for {room} tokens, and speculation verifies {times.width} of each sequence"
            raise InputError("--token-budget", "", problem, f"Give {times.width} or more, or draft fewer tokens (--speculate)")
        return replace(self, token_budget=budget, max_num_seqs=min(self.max_num_seqs, room // times.width * times.depth))

    def footprint(self, context: int) -> float:
        """Bytes of cache that a sequence of `context` tokens takes alone."""
        size = self.block_size
        total = 0.0
        for reach, each in self.kv_bytes:
            kept = min(context, reach) if reach else context
            total += each * (-(-kept // size) * size)
        return total

    def promise(self, context: int, prompt: int, output: int) -> float:
        """Bytes reserved for a request that is admitted with `context` tokens; nothing where no output is reserved."""
        return self.footprint(max(context, prompt + int(self.reserve * output))) if self.reserve else 0.0

    def most(self, prompt: int, output: int, width: int) -> float:
        """Bytes of cache that a request takes at its longest: its last token is never put there.

        With speculation, of which a step verifies `width` tokens, a block and two steps more: memory then grows by the mean.
        """
        spare = 2 * width + self.block_size if width > 1 else 0
        return self.footprint(prompt + max(output, 1) - 1) + spare * sum(each for _, each in self.kv_bytes)

    @property
    def unbounded_bytes(self) -> float:
        """Bytes per token of the cache that is kept to the start of the sequence: the part that prefixes share."""
        return sum(each for reach, each in self.kv_bytes if reach == 0)
