"""From a model and a layout to the ops of a step: one kernel after the other, as engines launch them.

Attention runs on tp / dp chips over the tokens of its own rank; FFN, experts, embedding and head use all tp chips over all tokens.
FLOPs count a multiply and an add as two. With speculation the ops that draft stand after those of the step that verifies.
"""

from collections.abc import Iterator
from dataclasses import replace

from assay._base.precisions import Precision, precision, precisions
from assay.deployments import Part, Speculation
from assay.graph.compressed import compressed
from assay.graph.op import ACTIVATION_BYTES, SAMPLED, Exchange, Op, Reach, Routing
from assay.graph.recurrence import recurrent
from assay.models import Model
from assay.models.compressed import CompressedAttention
from assay.models.mixers import Recurrence
from assay.models.shapes import Attention, DenseFfn, ExpertsFfn, Ffn, GroupedAttention, Indexer, LatentAttention, Weights, last_layer


def lower(model: Model, part: Part) -> tuple[Op, ...]:
    """The ops of one step of one replica, in order, as one rank of each stage runs them."""
    ops = _forward(model, part)
    return (*ops, *_drafting(part.speculation, part, model)) if part.speculation else ops


def _forward(model: Model, part: Part) -> tuple[Op, ...]:
    lowering = Lowering(model, part)
    ops = [*lowering.embedding()]
    for group in model.architecture.layers:
        if group.attention:
            ops += lowering.attention(group.count, group.attention)
        if group.ffn:
            ops += lowering.ffn(group.count, group.ffn, opens=group.attention is None)
    return (*ops, *lowering.handover(), *lowering.head())


def _drafting(speculation: Speculation, part: Part, model: Model) -> Iterator[Op]:
    """One pass of the draft model, whose weights are as its checkpoint has them; or of a layer like the model's last, and its head."""
    if speculation.draft:
        stored = precision(speculation.draft.architecture.precision, speculation.draft.name)
        ops = _forward(speculation.draft, replace(part, speculation=None, weights=stored))
    else:
        last = replace(model, architecture=replace(model.architecture, layers=(last_layer(model.architecture.layers),)))
        joined = Lowering(last, part).joined() if model.architecture.predictors else ()
        ops = (*joined, *(op for op in _forward(last, part) if op.driver == SAMPLED or not op.once))
    for op in ops:
        yield replace(op, name=f"draft {op.name}", passes=speculation.tokens)


class Lowering:
    """The sizes that every op needs; each method yields the ops of one piece."""

    def __init__(self, model: Model, part: Part) -> None:
        self.architecture, self.part = model.architecture, part
        self.hidden, self.norms = model.architecture.hidden, model.architecture.norms
        self.tp, self.dp, self.ep = part.tp, part.dp, part.ep
        self.ranks = part.tp // part.dp
        self.kv_bytes = part.kv.width / 8
        self.dispatches = part.dp > 1 and part.ep > 1  # attention ranks send tokens to the experts that they pick, and to no others

    def stored(self, tensor: str) -> Precision:
        """Format of a tensor class: the quantised one if this checkpoint quantises the class, else 16 bit."""
        native = self.part.weights.name == self.architecture.precision
        quantised = self.architecture.quantised if native else self.part.weights.quantises
        return self.part.weights if tensor in quantised else precisions()["bf16"]

    def gemm(self, name: str, count: int, rows: float, columns: float, *, own: bool = False, shards: int | None = None) -> Op:
        """A projection of `rows` x `columns` on this rank; attention ranks hold a copy each of what is their `own`."""
        tensor = "attention" if own else "linear"
        weights = self.stored(tensor)
        split = shards or (self.ranks if own else self.tp)
        return Op(
            name,
            "gemm",
            count,
            flops=2 * rows * columns,
            weights=rows * columns,
            tensor=tensor,
            bits=weights.bits,
            rate=self.part.rate(weights),
            shards=split,
            copies=self.tp // split,
            activation_bytes=(rows + columns) * ACTIVATION_BYTES,
            own=own,
        )

    def vector(self, name: str, count: int, values: float, *, weights: float = 0.0, opens: bool = False, shards: int = 1) -> Op:
        """An element-wise kernel that reads and writes `values` per token; `weights` are norms and biases."""
        return Op(
            name,
            "vector",
            count,
            weights=weights,
            tensor="norm",
            copies=self.tp // shards,
            shards=shards,
            activation_bytes=2 * values * ACTIVATION_BYTES,
            opens=self.hidden if opens else 0,
        )

    def exchange(self, name: str, count: int, pattern: str, group: int, values: float) -> Iterator[Op]:
        """A collective over `group` ranks of `values` activations per token; none in a group of one."""
        if group > 1:
            sent = Exchange(pattern, group, values * ACTIVATION_BYTES)
            yield Op(name, "collective", count, exchange=sent, copies=self.tp)

    def embedding(self) -> Iterator[Op]:
        """The table look-up, split over the vocabulary; a tied table is the head's. It may end in a norm."""
        yield Op(
            "embedding",
            "gather",
            1,
            weights=self.architecture.looked_up / self.tp,
            tensor="embedding",
            bits=self.stored("embedding").bits,
            shards=self.tp,
            activation_bytes=2 * self.hidden * ACTIVATION_BYTES,
            once=True,
        )
        for op in self.exchange("embedding all-reduce", 1, "all-reduce", self.tp, self.hidden):
            yield replace(op, once=True)
        if self.architecture.embedding_norm:
            yield replace(self.norm("embedding norm", 1), once=True)

    def norm(self, name: str, count: int, *, opens: bool = False, own: bool = False) -> Op:
        """A norm over the residual stream, which every rank runs whole."""
        weights = self.norms.per_channel * self.hidden
        return replace(self.vector(name, count, self.hidden, weights=weights, opens=opens), own=own)

    def joined(self) -> Iterator[Op]:
        """What a layer for multi-token prediction begins with: the last token's embedding joined with the state before it."""
        yield self.norm("join norm", 2)
        yield self.gemm("join projection", 1, 2 * self.hidden, self.hidden, shards=1)

    def mixing(self, name: str, count: int, weights: float) -> Iterator[Op]:
        """Weights of the residual streams, whole on each rank: streams are read to be weighed, and again to be mixed and written."""
        if weights:
            yield Op(
                name,
                "gemm",
                count,
                flops=2 * weights,
                weights=weights,
                tensor="router",
                rate=self.part.rate(precisions()["bf16"]),
                copies=self.tp,
                activation_bytes=3 * self.architecture.streams * self.hidden * ACTIVATION_BYTES,
            )

    def attention(self, count: int, attention: Attention | CompressedAttention | Recurrence) -> Iterator[Op]:
        """Norm, projections, attention over the cache or recurrence, output projection and the sum over its ranks."""
        yield self.norm("attention norm", count, opens=True, own=True)
        for op in self.mixing("attention stream mixing", count, self.architecture.mixing):
            yield replace(op, own=True)
        if isinstance(attention, Recurrence):
            yield from recurrent(self, count, attention)
        elif isinstance(attention, CompressedAttention):
            yield from compressed(self, count, attention)
        elif isinstance(attention, LatentAttention):
            yield from self._latent(count, attention)
        else:
            yield from self._grouped(count, attention)
        for op in self.exchange("attention all-reduce", count, "all-reduce", self.ranks, self.hidden):
            yield replace(op, own=True)
        if self.norms.attention > 1:
            yield self.norm("attention output norm", count * (self.norms.attention - 1), own=True)

    def _small(self, attention: Attention) -> float:
        """Norms, biases and sinks of an attention layer beside the projections, whole."""
        return sum(part.total for part in attention.weights(self.hidden) if part.kind == "norm")

    def _grouped(self, count: int, attention: GroupedAttention) -> Iterator[Op]:
        heads, keys, values = attention.heads / self.ranks, attention.head_dim, attention.value_dim
        kv_heads = max(1.0, attention.kv_heads / self.ranks)
        columns = heads * attention.projected_query + kv_heads * attention.projected_kv
        copied = self.hidden * (kv_heads * self.ranks - attention.kv_heads) * attention.projected_kv
        yield replace(self.gemm("qkv projection", count, self.hidden, columns, own=True), replicated=copied)
        yield self._rope(count, attention, columns)
        reach, index = attention.window, attention.index
        if index:
            yield from self._indexer(count, index, self.hidden)
            reach = index.top_k
        pair = 2 * heads * (keys + values)
        cached = kv_heads * attention.kv_dim * self.kv_bytes
        by_head = self.part.engine.by_head(self.part.chip.family, self.part.max_num_seqs * heads, attention.window)
        reads = heads / kv_heads if by_head else 1.0
        yield self.attend("attention", count, Reach(reach, pair, pair, cached, sparse=bool(index), reads=reads), heads * (keys + values))
        yield self.gemm("output projection", count, heads * values, self.hidden, own=True)

    def _rope(self, count: int, attention: Attention, values: float) -> Op:
        return replace(self.vector("rope and cache write", count, values, weights=self._small(attention)), own=True)

    def attend(self, name: str, count: int, reach: Reach, values: float) -> Op:
        """Attention over the cache within a reach; reads and writes `values` per token."""
        return Op(
            name,
            "attention",
            count,
            rate=self.part.rate(precisions()["bf16"]),
            copies=self.tp,
            reach=reach,
            activation_bytes=values * ACTIVATION_BYTES,
            own=True,
        )

    def _latent(self, count: int, attention: LatentAttention) -> Iterator[Op]:
        heads, rank = attention.heads / self.ranks, attention.kv_rank
        compressed = rank + attention.rope_dim
        query = heads * (attention.nope_dim + attention.rope_dim)
        yield self.gemm("compress", count, self.hidden, attention.q_rank + compressed, own=True, shards=1)
        yield self.gemm("query projection", count, attention.q_rank or self.hidden, query, own=True)
        yield self._rope(count, attention, query + compressed)
        if attention.index:
            yield from self._indexer(count, attention.index, attention.q_rank or self.hidden)
        up = heads * (attention.nope_dim + attention.v_dim)
        yield self.gemm("latent projection", count, rank, up, own=True)
        absorbed = 2 * heads * (compressed + rank)
        expanded = 2 * heads * (attention.nope_dim + attention.rope_dim + attention.v_dim)
        sparse = attention.index is not None
        reach = Reach(
            attention.index.top_k if attention.index else 0,
            absorbed,
            absorbed if sparse else expanded,
            compressed * self.kv_bytes,
            0.0 if sparse else 2 * rank * up,
            sparse,
        )
        yield self.attend("latent attention", count, reach, heads * (compressed + rank))
        yield self.gemm("output projection", count, heads * attention.v_dim, self.hidden, own=True)

    def _indexer(self, count: int, index: Indexer, rank: int) -> Iterator[Op]:
        """The indexer is small and held whole by every rank; its keys are cached in 8 bit. A shared one has run in an earlier layer."""
        if index.shared:
            return
        columns = index.linear(self.hidden, rank) / rank
        yield self.gemm("index projection", count, rank, columns, own=True, shards=1)
        pair = 2.0 * index.heads * index.dim
        rate = self.part.rate(precisions()["fp8"])
        reach = Reach(0, pair, pair, index.dim)
        yield Op("index", "attention", count, rate=rate, copies=self.tp, reach=reach, activation_bytes=index.dim, own=True)

    def ffn(self, count: int, ffn: Ffn, *, opens: bool) -> Iterator[Op]:
        """Norm, then a dense FFN or a router with its experts, and what brings tokens there and back; it may be what `opens` its layer."""
        if opens or self.norms.ffn:
            yield replace(self.norm("ffn norm", count, opens=opens), own=self.dp > 1)
        yield from self.mixing("ffn stream mixing", count, self.architecture.mixing)
        there, back = self._carried(count, ffn)
        yield from there
        if isinstance(ffn, ExpertsFfn):
            yield from self._experts(count, ffn)
        else:
            yield from self._dense(count, ffn, "")
        yield from back
        if self.norms.ffn > 1:
            yield replace(self.norm("ffn output norm", count * (self.norms.ffn - 1)), own=self.dp > 1)

    def _carried(self, count: int, ffn: Ffn) -> tuple[Iterator[Op], Iterator[Op]]:
        """What brings tokens to an FFN and results back.

        All chips see all tokens: those of attention ranks are gathered before and dealt out after. Or each rank sends its tokens, in the
        precision of the arithmetic, once to each rank that holds an expert they picked: of k balanced picks among e ranks
        e (1 - (1 - 1/e)^k) are distinct. Results come back in 16 bit.
        """
        if self.dispatches and isinstance(ffn, ExpertsFfn):
            distinct = self.ep * (1 - (1 - 1 / self.ep) ** ffn.active)
            values, narrow = ffn.inner(self.hidden) * distinct / self.dp, min(1.0, self.part.activations.width / 16)
            there = self.exchange("token dispatch", count, "all-to-all", self.tp, values * narrow)
            return there, self.exchange("token combine", count, "all-to-all", self.tp, values)
        if self.dispatches:
            return iter(()), iter(())
        if self.dp == 1:
            return iter(()), self.exchange("ffn all-reduce", count, "all-reduce", self.tp, self.hidden)
        there = self.exchange("token all-gather", count, "all-gather", self.tp, self.hidden)
        return there, self.exchange("ffn reduce-scatter", count, "reduce-scatter", self.tp, self.hidden)

    def _dense(self, count: int, ffn: DenseFfn, prefix: str) -> Iterator[Op]:
        """Split over all chips; over those of each attention rank alone where tokens are not gathered, or the width does not divide."""
        own = self.dispatches or ffn.width % self.tp > 0
        shards = self.ranks if own else self.tp
        width, up = ffn.width / shards, 2 if ffn.gated else 1
        small = sum(part.total for part in ffn.weights(self.hidden) if part.kind == "norm")
        yield replace(self.gemm(f"{prefix}up projection", count, self.hidden, up * width, shards=shards), own=own)
        activation = self.vector(f"{prefix}activation", count, (up + 1) / 2 * width, weights=small / shards, shards=shards)
        yield replace(activation, own=own)
        yield replace(self.gemm(f"{prefix}down projection", count, width, self.hidden, shards=shards), own=own)
        for op in self.exchange(f"{prefix}all-reduce", count, "all-reduce", self.ranks if own else 1, self.hidden):
            yield replace(op, own=True)

    def _experts(self, count: int, ffn: ExpertsFfn) -> Iterator[Op]:
        parts = {part.kind: part for part in ffn.weights(self.hidden)}
        router = parts["router"].total
        yield Op(
            "router",
            "gemm",
            count,
            flops=2 * router,
            weights=router,
            tensor="router",
            copies=self.tp,
            rate=self.part.rate(precisions()["bf16"]),
            activation_bytes=(self.hidden + ffn.count) * ACTIVATION_BYTES,
            own=self.dispatches,
        )
        if ffn.own_norms:
            yield self.norm("expert norm", count * ffn.own_norms)
        if ffn.shared_width:
            yield from self._dense(count, DenseFfn(ffn.shared_width, ffn.gated), "shared expert ")
        if ffn.latent:
            yield replace(self.gemm("latent compress", count, self.hidden, ffn.latent, shards=1), own=self.dispatches)
        yield from self._routed(count, ffn, parts["experts"])
        if ffn.latent:
            yield replace(self.gemm("latent expand", count, ffn.latent, self.hidden, shards=1), own=self.dispatches)

    def _routed(self, count: int, ffn: ExpertsFfn, experts: Weights) -> Iterator[Op]:
        """The experts of a rank: as many on each, some of them copies where they do not deal out evenly."""
        weights, width = self.stored("experts"), ffn.width * self.ep / self.tp
        local = -(-ffn.count // self.ep)
        held = experts.total * local / ffn.count * self.ep  # of all ranks together
        routing = Routing(local, local * self.ep, ffn.active)
        spread = ffn.active / self.ep  # experts that one token uses on this rank, on average
        inner, up = ffn.inner(self.hidden), ffn.matrices - 1
        for name, rows, columns in (("expert up projection", inner, up * width), ("expert down projection", width, inner)):
            share = rows * columns / (ffn.matrices * inner * width)
            yield Op(
                name,
                "experts",
                count,
                flops=2 * spread * rows * columns,
                weights=held / self.tp * share,
                tensor="experts",
                bits=weights.bits,
                rate=self.part.rate(weights),
                shards=self.tp,
                replicated=(held - experts.total) * share,
                routing=routing,
                activation_bytes=spread * (rows + columns) * ACTIVATION_BYTES,
            )

    def handover(self) -> Iterator[Op]:
        """Activations that cross from one stage of the pipeline to the next."""
        stages = self.part.pp
        if stages > 1:
            sent = Exchange("send", self.part.chips, self.hidden / self.tp * ACTIVATION_BYTES)
            yield Op("stage handover", "collective", stages - 1, exchange=sent, copies=self.tp, once=True)

    def head(self) -> Iterator[Op]:
        """The last norm and the LM head, on the sequences that sample alone; logits are gathered over the vocabulary."""
        columns = self.architecture.vocab / self.tp
        weights = self.stored("head")
        for op in self.mixing("last stream mixing", 1, self.architecture.last_mixing):
            yield replace(op, driver=SAMPLED, once=True)
        yield Op(
            "last norm",
            "vector",
            1,
            SAMPLED,
            weights=self.architecture.last_norm,
            tensor="norm",
            copies=self.tp,
            once=True,
            activation_bytes=2 * self.hidden * ACTIVATION_BYTES,
        )
        yield Op(
            "head",
            "gemm",
            1,
            SAMPLED,
            flops=2 * self.hidden * columns,
            weights=self.hidden * columns,
            tensor="head",
            bits=weights.bits,
            rate=self.part.rate(weights),
            shards=self.tp,
            once=True,
            activation_bytes=(self.hidden + columns) * ACTIVATION_BYTES,
        )
        if self.tp > 1:
            gathered = Exchange("all-gather", self.tp, self.architecture.vocab * ACTIVATION_BYTES)
            yield Op("logits all-gather", "collective", 1, SAMPLED, exchange=gathered, copies=self.tp, once=True)
        yield Op("sampling", "vector", 1, SAMPLED, copies=self.tp, once=True, activation_bytes=self.architecture.vocab * ACTIVATION_BYTES)
