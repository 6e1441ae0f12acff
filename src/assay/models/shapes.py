"""What a transformer computes: the vocabulary of layers, with exact parameter counts.

A reach is how far back attention looks: 0 is unbounded, else a number of tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from assay.models.compressed import CompressedAttention
    from assay.models.mixers import Recurrence


class Weights(NamedTuple):
    """Parameters of one tensor class: `active` of them work on one token.

    Classes: embedding, head, linear (projections of attention, recurrence and dense FFN), experts, router (and
    what mixes residual streams), norm (norms, biases, sinks, convolutions, constants).
    """

    kind: str
    total: int
    active: int


@dataclass(frozen=True)
class GroupedAttention:
    """Multi-head, grouped-query or multi-query attention; `window` limits its reach, `sinks` adds one logit per head.

    `output_gate` multiplies its output by a gate that is projected beside the queries.
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int = 0
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False
    sinks: bool = False
    output_gate: bool = False

    @property
    def kv_elements(self) -> int:
        """Values that one layer caches per token."""
        return 2 * self.kv_heads * self.head_dim

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks."""
        return (self.window,)

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the projections, biases, norms and sinks of one layer."""
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linear = hidden * (query + 2 * kv) + query * hidden + self.output_gate * hidden * query
        small = self.qkv_bias * (query + 2 * kv) + self.output_bias * hidden
        small += self.qk_norm * 2 * self.head_dim + self.sinks * self.heads
        yield Weights("linear", linear, linear)
        yield Weights("norm", small, small)


@dataclass(frozen=True)
class Indexer:
    """The small attention that picks, for each query, the `top_k` cached tokens that sparse attention reads."""

    heads: int
    dim: int
    top_k: int


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: one compressed KV vector of `kv_rank + rope_dim` per token, shared by all heads.

    `q_rank` 0 means that queries are not compressed. With an `index`, attention reads only its top_k tokens.
    """

    heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    index: Indexer | None = None

    @property
    def kv_elements(self) -> int:
        """Values that one layer caches per token: the latent, its rotary key and the indexer's key."""
        return self.kv_rank + self.rope_dim + (self.index.dim if self.index else 0)

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks; with an indexer, which looks to the start, that many tokens."""
        return (0, self.index.top_k) if self.index else (0,)

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the down, up and output projections, the indexer and the norms of one layer."""
        query = self.heads * (self.nope_dim + self.rope_dim)
        linear = hidden * self.q_rank + self.q_rank * query if self.q_rank else hidden * query
        linear += hidden * (self.kv_rank + self.rope_dim)
        linear += self.kv_rank * self.heads * (self.nope_dim + self.v_dim) + self.heads * self.v_dim * hidden
        norm = self.q_rank + self.kv_rank
        if self.index:
            linear += (self.q_rank or hidden) * self.index.heads * self.index.dim + hidden * (self.index.dim + self.index.heads)
            norm += 2 * self.index.dim
        yield Weights("linear", linear, linear)
        yield Weights("norm", norm, norm)


@dataclass(frozen=True)
class DenseFfn:
    """A feed-forward layer of `width`; gated ones have three matrices, plain ones two."""

    width: int
    gated: bool = True
    bias: bool = False

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the matrices and biases of one layer."""
        matrices = 3 if self.gated else 2
        linear = matrices * hidden * self.width
        small = self.bias * ((matrices - 1) * self.width + hidden)
        yield Weights("linear", linear, linear)
        yield Weights("norm", small, small)


@dataclass(frozen=True)
class ExpertsFfn:
    """A mixture of `count` experts of `width`, of which a router picks `active` per token, beside a shared expert.

    Gated ones have three matrices, plain ones two. With `latent` the experts, not the shared one, work on that many values, to and from
    which all of them share a projection. `shared_gate` weighs the shared expert by one number per token.
    """

    count: int
    active: int
    width: int
    shared_width: int = 0
    bias: bool = False
    router_bias: bool = False
    gated: bool = True
    latent: int = 0
    shared_gate: bool = False

    @property
    def matrices(self) -> int:
        """Matrices of an expert."""
        return 3 if self.gated else 2

    def inner(self, hidden: int) -> int:
        """Values that the experts work on."""
        return self.latent or hidden

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of experts, shared expert and router of one layer."""
        one = self.matrices * self.inner(hidden) * self.width + self.bias * ((self.matrices - 1) * self.width + self.inner(hidden))
        shared = self.matrices * hidden * self.shared_width + 2 * hidden * self.latent
        router = hidden * self.count + self.router_bias * self.count + self.shared_gate * hidden
        yield Weights("experts", one * self.count, one * self.active)
        yield Weights("linear", shared, shared)
        yield Weights("router", router, router)


Attention = GroupedAttention | LatentAttention
Ffn = DenseFfn | ExpertsFfn


@dataclass(frozen=True)
class LayerGroup:
    """`count` layers that are alike: each an attention or recurrence, then an FFN, or one of them alone."""

    count: int
    attention: "Attention | CompressedAttention | Recurrence | None"
    ffn: Ffn | None

    @property
    def halves(self) -> tuple["Attention | CompressedAttention | Recurrence | Ffn", ...]:
        """What a layer is made of; each has a norm before it."""
        return tuple(half for half in (self.attention, self.ffn) if half)


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer: `hidden` and `vocab` sizes, `tied` embeddings, and its groups of layers.

    `precision` is what the checkpoint stores its quantised classes in (`quantised`, of the classes of Weights); all other tensors
    are 16 bit. `max_context` is the longest sequence in tokens. Of more than one residual `streams` each half of a layer reads a mix
    and adds to all (Xie et al., manifold-constrained hyper-connections, 2026); the head reads a last mix.
    """

    hidden: int
    vocab: int
    tied: bool
    layers: tuple[LayerGroup, ...]
    precision: str
    quantised: tuple[str, ...]
    max_context: int
    streams: int = 1

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(group.count for group in self.layers)

    @property
    def mixing(self) -> int:
        """Parameters that weigh the streams before and after half a layer: what goes in, what comes out, and how streams mix."""
        outputs = self.streams * (self.streams + 2)
        return outputs * (self.streams * self.hidden + 1) + 3 if self.streams > 1 else 0

    @property
    def last_mixing(self) -> int:
        """Parameters that weigh the streams before the last norm."""
        return self.streams * (self.streams * self.hidden + 1) + 1 if self.streams > 1 else 0

    def weights(self) -> dict[str, Weights]:
        """Parameters of the whole model by tensor class; a tied head is counted once, as the head."""
        total: dict[str, Weights] = {}
        for part in self._parts():
            seen = total.get(part.kind, Weights(part.kind, 0, 0))
            total[part.kind] = Weights(part.kind, seen.total + part.total, seen.active + part.active)
        return total

    def _parts(self) -> Iterator[Weights]:
        table = self.vocab * self.hidden
        yield Weights("head", table, table)
        if not self.tied:
            yield Weights("embedding", table, table)
        yield Weights("norm", self.hidden, self.hidden)
        if self.streams > 1:
            mixing = self.last_mixing + self.mixing * sum(group.count * len(group.halves) for group in self.layers)
            yield Weights("router", mixing, mixing)
        for group in self.layers:
            norms = len(group.halves) * self.hidden
            for part in (Weights("norm", norms, norms), *(part for half in group.halves for part in half.weights(self.hidden))):
                yield Weights(part.kind, part.total * group.count, part.active * group.count)
