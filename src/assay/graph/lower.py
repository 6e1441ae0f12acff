"""From a model and a layout to the ops of a step: one kernel after the other, as engines launch them.

Attention runs on tp / dp chips over the tokens of its own rank; FFN, experts, embedding and head use all tp chips over all tokens.
FLOPs count a multiply and an add as two. With speculation the ops that draft stand after those of the step that verifies.
"""

from collections.abc import Iterator
from dataclasses import replace

from assay._base.precisions import Precision, precision, precisions
from assay.deployments import Part, Speculation
from assay.graph.op import SAMPLED, Exchange, Op, Reach, Routing
from assay.models import Model
from assay.models.shapes import DenseFfn, ExpertsFfn, GroupedAttention, LatentAttention, LayerGroup, Weights

ACTIVATION_BYTES = 2  # activations travel between kernels in 16 bit whatever the arithmetic


def lower(model: Model, part: Part) -> tuple[Op, ...]:
    """The ops of one step of one replica, in order, as one rank of each stage runs them."""
    ops = _forward(model, part)
    return (*ops, *_drafting(part.speculation, part, ops)) if part.speculation else ops


def _forward(model: Model, part: Part) -> tuple[Op, ...]:
    lowering = _Lowering(model, part)
    ops = [*lowering.embedding()]
    for group in model.architecture.layers:
        ops += lowering.attention(group)
        ops += lowering.ffn(group)
    return (*ops, *lowering.handover(), *lowering.head())


def _drafting(speculation: Speculation, part: Part, ops: tuple[Op, ...]) -> Iterator[Op]:
    """One pass of the draft model, whose weights are as its checkpoint has them; or of a layer like the model's last, and its head."""
    if speculation.draft:
        stored = precision(speculation.draft.architecture.precision, speculation.draft.name)
        ops = _forward(speculation.draft, replace(part, speculation=None, weights=stored))
    else:
        last = max(place for place, op in enumerate(ops) if op.opens_layer)
        ops = tuple(replace(op, count=1) for op in ops[last:] if op.driver == SAMPLED or not op.once)
    for op in ops:
        yield replace(op, name=f"draft {op.name}", passes=speculation.tokens)


class _Lowering:
    """The sizes that every op needs; each method yields the ops of one piece."""

    def __init__(self, model: Model, part: Part) -> None:
        self.architecture, self.part = model.architecture, part
        self.hidden = model.architecture.hidden
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
        weights = self.stored("linear")
        split = shards or (self.ranks if own else self.tp)
        return Op(
            name,
            "gemm",
            count,
            flops=2 * rows * columns,
            weights=rows * columns,
            tensor="linear",
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
            opens_layer=opens,
        )

    def exchange(self, name: str, count: int, pattern: str, group: int, values: float) -> Iterator[Op]:
        """A collective over `group` ranks of `values` activations per token; none in a group of one."""
        if group > 1:
            sent = Exchange(pattern, group, values * ACTIVATION_BYTES)
            yield Op(name, "collective", count, exchange=sent, copies=self.tp)

    def embedding(self) -> Iterator[Op]:
        """The table look-up, split over the vocabulary; a tied table is the head's."""
        table = 0 if self.architecture.tied else self.architecture.vocab * self.hidden / self.tp
        yield Op(
            "embedding",
            "gather",
            1,
            weights=table,
            tensor="embedding",
            bits=self.stored("embedding").bits,
            shards=self.tp,
            activation_bytes=2 * self.hidden * ACTIVATION_BYTES,
            once=True,
        )
        for op in self.exchange("embedding all-reduce", 1, "all-reduce", self.tp, self.hidden):
            yield replace(op, once=True)

    def attention(self, group: LayerGroup) -> Iterator[Op]:
        """Norm, projections, attention over the cache, output projection and the sum over its ranks."""
        yield replace(self.vector("attention norm", group.count, self.hidden, weights=self.hidden, opens=True), own=True)
        if isinstance(group.attention, LatentAttention):
            yield from self._latent(group, group.attention)
        else:
            yield from self._grouped(group, group.attention)
        for op in self.exchange("attention all-reduce", group.count, "all-reduce", self.ranks, self.hidden):
            yield replace(op, own=True)

    def _small(self, group: LayerGroup) -> float:
        """Norms, biases and sinks of an attention layer beside the projections, whole."""
        return sum(part.total for part in group.attention.weights(self.hidden) if part.kind == "norm")

    def _grouped(self, group: LayerGroup, attention: GroupedAttention) -> Iterator[Op]:
        heads, width = attention.heads / self.ranks, attention.head_dim
        kv_heads = max(1.0, attention.kv_heads / self.ranks)
        columns = (heads + 2 * kv_heads) * width
        copied = self.hidden * 2 * (kv_heads * self.ranks - attention.kv_heads) * width
        yield replace(self.gemm("qkv projection", group.count, self.hidden, columns, own=True), replicated=copied)
        yield self._rope(group, columns)
        reach = Reach(attention.window, 4 * heads * width, 4 * heads * width, 2 * kv_heads * width * self.kv_bytes)
        yield self._attend("attention", group.count, reach, 2 * heads * width)
        yield self.gemm("output projection", group.count, heads * width, self.hidden, own=True)

    def _rope(self, group: LayerGroup, values: float) -> Op:
        return replace(self.vector("rope and cache write", group.count, values, weights=self._small(group)), own=True)

    def _attend(self, name: str, count: int, reach: Reach, values: float) -> Op:
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

    def _latent(self, group: LayerGroup, attention: LatentAttention) -> Iterator[Op]:
        heads, rank = attention.heads / self.ranks, attention.kv_rank
        compressed = rank + attention.rope_dim
        query = heads * (attention.nope_dim + attention.rope_dim)
        yield self.gemm("compress", group.count, self.hidden, attention.q_rank + compressed, own=True, shards=1)
        yield self.gemm("query projection", group.count, attention.q_rank or self.hidden, query, own=True)
        yield self._rope(group, query + compressed)
        if attention.index:
            yield from self._indexer(group, attention)
        up = heads * (attention.nope_dim + attention.v_dim)
        yield self.gemm("latent projection", group.count, rank, up, own=True)
        absorbed = 2 * heads * (compressed + rank)
        expanded = 2 * heads * (attention.nope_dim + attention.rope_dim + attention.v_dim)
        sparse = attention.index is not None
        reach = Reach(
            attention.index.top_k if attention.index else 0,
            absorbed,
            absorbed if sparse else expanded,
            compressed * self.kv_bytes,
            0.0 if sparse else 2 * rank * up,
        )
        yield self._attend("latent attention", group.count, reach, heads * (compressed + rank))
        yield self.gemm("output projection", group.count, heads * attention.v_dim, self.hidden, own=True)

    def _indexer(self, group: LayerGroup, attention: LatentAttention) -> Iterator[Op]:
        """The indexer is small and held whole by every rank; its keys are cached in 8 bit."""
        index = attention.index
        if index is None:
            return
        rows = attention.q_rank or self.hidden
        columns = index.heads * index.dim + (index.dim + index.heads) * self.hidden / rows
        yield self.gemm("index projection", group.count, rows, columns, own=True, shards=1)
        pair = 2.0 * index.heads * index.dim
        rate = self.part.rate(precisions()["fp8"])
        reach = Reach(0, pair, pair, index.dim)
        yield Op("index", "attention", group.count, rate=rate, copies=self.tp, reach=reach, activation_bytes=index.dim, own=True)

    def ffn(self, group: LayerGroup) -> Iterator[Op]:
        """Norm, then a dense FFN or a router with its experts, and what brings tokens there and results back."""
        yield replace(self.vector("ffn norm", group.count, self.hidden, weights=self.hidden), own=self.dp > 1)
        sparse = isinstance(group.ffn, ExpertsFfn)
        there, back = self._dispatch(group) if self.dispatches and sparse else ((), ()) if self.dispatches else self._gather(group)
        yield from there
        if isinstance(group.ffn, ExpertsFfn):
            yield from self._experts(group.count, group.ffn)
        else:
            yield from self._dense(group.count, group.ffn, "")
        yield from back

    def _gather(self, group: LayerGroup) -> tuple[Iterator[Op], Iterator[Op]]:
        """All chips see all tokens; of attention ranks they are gathered before, and dealt out again after."""
        if self.dp == 1:
            return iter(()), self.exchange("ffn all-reduce", group.count, "all-reduce", self.tp, self.hidden)
        there = self.exchange("token all-gather", group.count, "all-gather", self.tp, self.hidden)
        return there, self.exchange("ffn reduce-scatter", group.count, "reduce-scatter", self.tp, self.hidden)

    def _dispatch(self, group: LayerGroup) -> tuple[Iterator[Op], Iterator[Op]]:
        """A rank sends each of its tokens, in the precision of the arithmetic, once to each rank that holds an expert it picked.

        Of k balanced picks among e ranks e (1 - (1 - 1/e)^k) are distinct; results come back in 16 bit.
        """
        active = group.ffn.active if isinstance(group.ffn, ExpertsFfn) else 0
        distinct = self.ep * (1 - (1 - 1 / self.ep) ** active)
        values = self.hidden * distinct / self.dp
        narrow = min(1.0, self.part.activations.width / 16)
        there = self.exchange("token dispatch", group.count, "all-to-all", self.tp, values * narrow)
        return there, self.exchange("token combine", group.count, "all-to-all", self.tp, values)

    def _dense(self, count: int, ffn: DenseFfn, prefix: str) -> Iterator[Op]:
        """Split over all chips; over those of each attention rank alone where tokens are not gathered, or the width does not divide."""
        own = self.dispatches or ffn.width % self.tp > 0
        shards = self.ranks if own else self.tp
        width, up = ffn.width / shards, 2 if ffn.gated else 1
        small = sum(part.total for part in ffn.weights(self.hidden) if part.kind == "norm")
        yield self.gemm(f"{prefix}up projection", count, self.hidden, up * width, own=own)
        activation = self.vector(f"{prefix}activation", count, (up + 1) / 2 * width, weights=small / shards, shards=shards)
        yield replace(activation, own=own)
        yield self.gemm(f"{prefix}down projection", count, width, self.hidden, own=own)
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
        if ffn.shared_width:
            yield from self._dense(count, DenseFfn(ffn.shared_width), "shared expert ")
        yield from self._routed(count, ffn, parts["experts"])

    def _routed(self, count: int, ffn: ExpertsFfn, experts: Weights) -> Iterator[Op]:
        """The experts of a rank: as many on each, some of them copies where they do not deal out evenly."""
        weights, width = self.stored("experts"), ffn.width * self.ep / self.tp
        local = -(-ffn.count // self.ep)
        held = experts.total * local / ffn.count * self.ep  # of all ranks together
        routing = Routing(local, local * self.ep, ffn.active)
        spread = ffn.active / self.ep  # experts that one token uses on this rank, on average
        for name, rows, columns in (("expert up projection", self.hidden, 2 * width), ("expert down projection", width, self.hidden)):
            share = rows * columns / (3 * self.hidden * width)
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
        yield Op(
            "last norm",
            "vector",
            1,
            SAMPLED,
            weights=self.hidden,
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
