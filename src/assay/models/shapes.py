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

    Classes: embedding, head, attention (projections of attention and recurrence), linear (of dense FFN and shared experts), experts,
    router (and what mixes residual streams), norm (norms, biases, sinks, convolutions, constants).
    """

    kind: str
    total: int
    active: int


@dataclass(frozen=True)
class Indexer:
    """The small attention that picks, for each query, the `top_k` cached tokens that sparse attention reads.

    Its queries come from the compressed ones of latent attention, else from the input; `weighed` ones have a weight per head and token.
    A `shared` one is that of an earlier layer: what it picked is used again, and it has neither weights nor a cache of its own.
    """

    heads: int
    dim: int
    top_k: int
    weighed: bool = True
    shared: bool = False

    @property
    def kv_elements(self) -> int:
        """Values that it caches per token."""
        return 0 if self.shared else self.dim

    def linear(self, hidden: int, rank: int) -> int:
        """Parameters of its projections, with queries from `rank` values."""
        return 0 if self.shared else rank * self.heads * self.dim + hidden * (self.dim + self.weighed * self.heads)

    @property
    def norm(self) -> int:
        """Parameters of its norms: scale and bias of the keys', or scales of queries' and keys'."""
        return 0 if self.shared else 2 * self.dim


@dataclass(frozen=True)
class GroupedAttention:
    """Multi-head, grouped-query or multi-query attention; `window` limits its reach, `sinks` adds one logit per head.

    Values are `v_dim` wide (0: as keys, `head_dim`); with `tied_kv` keys and values come from one projection and are cached apart.
    `qk_norm` scales queries and keys by the channels of one head, `qk_norm_whole` by those of all heads. `output_gate` multiplies the
    output by a gate that is projected beside the queries, `head_gate` by one number per head. With an `index`, attention reads only
    its top_k tokens.
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
    v_dim: int = 0
    tied_kv: bool = False
    qk_norm_whole: bool = False
    head_gate: bool = False
    index: Indexer | None = None

    @property
    def value_dim(self) -> int:
        """Values of a head's output."""
        return self.v_dim or self.head_dim

    @property
    def kv_dim(self) -> int:
        """Values that a KV head caches per token."""
        return self.head_dim + self.value_dim

    @property
    def projected_kv(self) -> int:
        """Columns of the projection to keys and values, per KV head."""
        return self.head_dim if self.tied_kv else self.kv_dim

    @property
    def projected_query(self) -> int:
        """Columns of the projection to queries and gates, per head."""
        return self.head_dim + self.output_gate * self.value_dim + self.head_gate

    @property
    def kv_elements(self) -> int:
        """Values that one layer caches per token."""
        return self.kv_heads * self.kv_dim + (self.index.kv_elements if self.index else 0)

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks; with an indexer of its own, which looks to the start, that many tokens."""
        return _sparse_reaches(self.index) if self.index else (self.window,)

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the projections, biases, norms and sinks of one layer."""
        linear = hidden * (self.heads * self.projected_query + self.kv_heads * self.projected_kv)
        linear += self.heads * self.value_dim * hidden
        biased = self.heads * self.head_dim + self.kv_heads * self.projected_kv
        small = self.qkv_bias * biased + self.output_bias * hidden + self.sinks * self.heads
        small += (self.qk_norm * 2 + self.qk_norm_whole * (self.heads + self.kv_heads)) * self.head_dim
        if self.index:
            linear += self.index.linear(hidden, hidden)
            small += self.index.norm
        yield Weights("attention", linear, linear)
        yield Weights("norm", small, small)


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
        return self.kv_rank + self.rope_dim + (self.index.kv_elements if self.index else 0)

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks; with an indexer of its own, which looks to the start, that many tokens."""
        return _sparse_reaches(self.index) if self.index else (0,)

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the down, up and output projections, the indexer and the norms of one layer."""
        query = self.heads * (self.nope_dim + self.rope_dim)
        linear = hidden * self.q_rank + self.q_rank * query if self.q_rank else hidden * query
        linear += hidden * (self.kv_rank + self.rope_dim)
        linear += self.kv_rank * self.heads * (self.nope_dim + self.v_dim) + self.heads * self.v_dim * hidden
        norm = self.q_rank + self.kv_rank
        if self.index:
            linear += self.index.linear(hidden, self.q_rank or hidden)
            norm += self.index.norm
        yield Weights("attention", linear, linear)
        yield Weights("norm", norm, norm)


def _sparse_reaches(index: Indexer) -> tuple[int, ...]:
    return (index.top_k,) if index.shared else (0, index.top_k)


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
    which all of them share a projection. `shared_gate` weighs the shared expert by one number per token. `router_scales` scales the
    router's input by channel and its output by expert; `own_norms` are norms between the experts and the shared one.
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
    router_scales: bool = False
    own_norms: int = 0

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
        router += self.router_scales * (hidden + self.count)
        yield Weights("experts", one * self.count, one * self.active)
        yield Weights("linear", shared, shared)
        yield Weights("router", router, router)
        yield Weights("norm", self.own_norms * hidden, self.own_norms * hidden)


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
class Norms:
    """How many norms of a layer go with its attention and its FFN; 0: that half shares the norm of the other.

    `per_channel` learned numbers are in each, the last norm too: none, a scale, or a scale and a bias.
    """

    attention: int = 1
    ffn: int = 1
    per_channel: int = 1

    def weights(self, group: LayerGroup, hidden: int) -> int:
        """Parameters of the norms of one layer."""
        count = bool(group.attention) * self.attention + bool(group.ffn) * self.ffn
        return count * self.per_channel * hidden


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer: `hidden` and `vocab` sizes, `tied` embeddings, and its groups of layers.

    `precision` is what the checkpoint stores its quantised classes in (`quantised`, of the classes of Weights); all other tensors
    are 16 bit. `max_context` is the longest sequence in tokens. `positions` is how many positions have a learned embedding,
    `embedding_norm` says that a norm follows the embedding, `head_bias` that the head has a bias. `predictors` is how many layers for
    multi-token prediction come with the model: they draft, and no count of the model includes them. Of more than one residual `streams`
    each half of a layer reads a mix and adds to all (Xie et al., manifold-constrained hyper-connections, 2026); the head reads a last mix.
    """

    hidden: int
    vocab: int
    tied: bool
    layers: tuple[LayerGroup, ...]
    precision: str
    quantised: tuple[str, ...]
    max_context: int
    norms: Norms = Norms()
    positions: int = 0
    embedding_norm: bool = False
    head_bias: bool = False
    predictors: int = 0
    streams: int = 1

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(group.count for group in self.layers)

    @property
    def looked_up(self) -> int:
        """Parameters that are only looked up: tables of tokens, unless the head's, and of positions."""
        return ((0 if self.tied else self.vocab) + self.positions) * self.hidden

    @property
    def last_norm(self) -> int:
        """Parameters of the last norm and of the head's bias."""
        return self.norms.per_channel * self.hidden + self.head_bias * self.vocab

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
        head, norm = self.vocab * self.hidden, self.last_norm + self.embedding_norm * self.norms.per_channel * self.hidden
        yield Weights("head", head, head)
        if self.looked_up:
            yield Weights("embedding", self.looked_up, self.looked_up)
        yield Weights("norm", norm, norm)
        if self.streams > 1:
            mixing = self.last_mixing + self.mixing * sum(group.count * len(group.halves) for group in self.layers)
            yield Weights("router", mixing, mixing)
        for group in self.layers:
            norms = self.norms.weights(group, self.hidden)
            for part in (Weights("norm", norms, norms), *(part for half in group.halves for part in half.weights(self.hidden))):
                yield Weights(part.kind, part.total * group.count, part.active * group.count)

    @property
    def predictor_weights(self) -> int:
        """Parameters of the layers for multi-token prediction: each like the last layer, two norms, a projection of two inputs to one.

        They share embedding, last norm and head with the model, or repeat them (arXiv 2412.19437, section 2.2).
        """
        if not self.predictors:
            return 0
        group = last_layer(self.layers)
        one = sum(part.total for half in group.halves for part in half.weights(self.hidden))
        one += self.norms.weights(group, self.hidden) + 2 * self.norms.per_channel * self.hidden + 2 * self.hidden**2
        return self.predictors * one


def last_layer(groups: tuple[LayerGroup, ...]) -> LayerGroup:
    """The last attention and the last FFN as one layer, as those for multi-token prediction have them."""
    attending = [group.attention for group in groups if group.attention and group.attention.reaches]
    return LayerGroup(1, attending[-1], [group.ffn for group in groups if group.ffn][-1])
