"""What the scheduler of one replica may do: limits and rules, as plain numbers."""

from dataclasses import dataclass, replace

from assay.steptime import StepTime


@dataclass(frozen=True)
class Policy:
    """Scheduling limits of one replica.

    `kv_capacity` is in bytes; a sequence of `context` tokens takes, for each (reach, bytes) of `kv_bytes`, bytes x min(context, reach)
    tokens rounded up to `block_size` (reach 0: the whole context). With `prefill_first` waiting prompts run before decodes go on;
    else chunks and decodes share a step. Requests longer than `max_context` are rejected. A request reaches the scheduler
    `admission_delay` seconds after it was sent.
    """

    token_budget: int
    max_num_seqs: int
    block_size: int
    kv_capacity: float
    kv_bytes: tuple[tuple[int, float], ...]
    prefill_first: bool = False
    prefix_cache: bool = False
    max_context: int = 2**62
    admission_delay: float = 0.0

    def within(self, times: StepTime) -> "Policy":
        """The same within the sizes that step times know, and with no more sequences than the steps of a pipeline have tokens for."""
        budget = min(self.token_budget, times.most_tokens)
        return replace(self, token_budget=budget, max_num_seqs=min(self.max_num_seqs, budget * times.depth, times.most_sampled))

    def footprint(self, context: int) -> float:
        """Bytes of cache that a sequence of `context` tokens takes alone."""
        size = self.block_size
        total = 0.0
        for reach, each in self.kv_bytes:
            kept = min(context, reach) if reach else context
            total += each * (-(-kept // size) * size)
        return total

    @property
    def unbounded_bytes(self) -> float:
        """Bytes per token of the cache that is kept to the start of the sequence: the part that prefixes share."""
        return sum(each for reach, each in self.kv_bytes if reach == 0)
