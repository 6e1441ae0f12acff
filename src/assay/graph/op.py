"""The vocabulary of work: an Op is one kernel of a step, as one rank runs it.

All amounts are per execution on one rank; `count` says how many layers of the whole model execute it. Amounts of an op that is `own`
are per token of its attention rank, which sees no other rank's tokens; those of all others are per token of the whole replica.
"""

from dataclasses import dataclass

TOKENS, SAMPLED = "tokens", "sampled"
ACTIVATION_BYTES = 2  # activations travel between kernels in 16 bit whatever the arithmetic


@dataclass(frozen=True)
class Routing:
    """Which experts a rank holds: `local` of `total`, of which each token picks `active`."""

    local: float
    total: int
    active: int


@dataclass(frozen=True)
class Reach:
    """Attention over the cache: FLOPs per (query, cached token) pair and cache bytes per cached token.

    `window` is the reach (0 unbounded). `decode_*` serve one query per sequence; `prefill_flops` is per pair, `reread_flops` and
    `cache_bytes` per cached token that a chunk reads again; decode reads each `reads` times, which is once unless its kernel takes the
    query heads of a KV head one by one. A `sparse` one picks its tokens among all: its cache is kept to the start.
    """

    window: int
    decode_flops: float
    prefill_flops: float
    cache_bytes: float
    reread_flops: float = 0.0
    sparse: bool = False
    reads: float = 1.0


@dataclass(frozen=True)
class Exchange:
    """A collective: `pattern` (all-reduce, all-gather, all-to-all, send) over `group` ranks; a send joins two of them.

    `bytes` is per driver unit: for all-reduce and all-gather the size of the whole result, for all-to-all and send what one rank
    sends.
    """

    pattern: str
    group: int
    bytes: float


@dataclass(frozen=True)
class Op:
    """One kernel.

    `kind` is gather, gemm, experts, attention, recurrence, vector or collective. `flops` and `activation_bytes` (read and written) are
    per driver unit (`driver`: tokens or sampled sequences). `weights` parameters of tensor class `tensor` are read once per execution;
    they are split over `shards` ranks and held in `copies` (shards x copies = ranks of a stage); `replicated` parameters, over all
    shards, are there beyond the whole because a piece does not split further (KV heads below TP). `rate` and `bits` are the
    arithmetic's rate key and the stored bits per parameter. `state_bytes` are what each sequence keeps on this rank in place of a cache:
    a step reads them once for each sequence that samples, and writes them once for each of its tokens. The first op of a layer
    has its width in hidden channels as `opens`; `once` marks an op that belongs to no layer.
    `own` ops run on the tokens of their attention rank alone. Ops with `passes` draft: they run so many times in a step, each time on
    one token of each decoding sequence; the others run once.
    """

    name: str
    kind: str
    count: int
    driver: str = TOKENS
    flops: float = 0.0
    weights: float = 0.0
    tensor: str = ""
    bits: float = 16.0
    rate: str = "bf16"
    shards: int = 1
    copies: int = 1
    replicated: float = 0.0
    activation_bytes: float = 0.0
    state_bytes: float = 0.0
    routing: Routing | None = None
    reach: Reach | None = None
    exchange: Exchange | None = None
    opens: int = 0
    once: bool = False
    own: bool = False
    passes: int = 0

    @property
    def weight_bytes(self) -> float:
        """Bytes of this op's weights on one rank."""
        return self.weights * self.bits / 8
