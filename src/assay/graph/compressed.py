"""Lowering of attention over a window and over a cache of entries that stand for many tokens each."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from assay._base.precisions import precisions
from assay.graph.op import Op, Reach
from assay.models.compressed import CompressedAttention

if TYPE_CHECKING:
    from assay.graph.lower import Lowering


def compressed(lowering: "Lowering", count: int, attention: CompressedAttention) -> Iterator[Op]:
    """Projections, the indexer if there is one, attention over the window and over entries, and the output's two projections."""
    hidden, heads = lowering.hidden, attention.heads / lowering.ranks
    whole = attention.q_rank + attention.head_dim + attention.entry_columns
    values = heads * attention.head_dim
    yield lowering.gemm("compress", count, hidden, whole, own=True, shards=1)
    yield lowering.gemm("query projection", count, attention.q_rank, values, own=True)
    yield replace(lowering.vector("rope and cache write", count, values + whole, weights=attention.small), own=True)
    yield from _attend(lowering, count, attention, heads)
    yield lowering.gemm("group projection", count, values, attention.out_rank, own=True)
    yield lowering.gemm("output projection", count, attention.groups * attention.out_rank / lowering.ranks, hidden, own=True)


def _attend(lowering: "Lowering", count: int, attention: CompressedAttention, heads: float) -> Iterator[Op]:
    """Every rank holds the one head of keys whole. Work and cache of entries are per token that they stand for."""
    pair, cached = 4 * heads * attention.head_dim, attention.head_dim * lowering.kv_bytes
    moved = 2 * heads * attention.head_dim
    yield lowering.attend("attention", count, Reach(attention.window, pair, pair, cached), moved)
    if not attention.ratio:
        return
    share = 1 / attention.ratio
    index = attention.index
    if index:
        yield lowering.gemm(
            "index projection", count, attention.q_rank, attention.index_parameters(lowering.hidden) / attention.q_rank, own=True, shards=1
        )
        scored = 2.0 * index.heads * index.dim * share
        op = lowering.attend("index", count, Reach(0, scored, scored, index.dim * share), index.dim)
        yield replace(op, rate=lowering.part.rate(precisions()["fp8"]))
    reach = Reach(index.top_k if index else 0, pair * share, pair * share, cached * share, sparse=bool(index))
    yield lowering.attend("attention to entries", count, reach, moved)
