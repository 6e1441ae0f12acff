"""Lowering of attention over a window and over compressed entries: its one vector per token is whole on every rank."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from assay._base.precisions import precisions
from assay.graph.op import Op, Reach
from assay.models.compressed import CompressedAttention, Selection

if TYPE_CHECKING:
    from assay.graph.lower import Lowering


def compressed(lowering: "Lowering", count: int, attention: CompressedAttention) -> Iterator[Op]:
    """Projections, compression, attention over window and entries, and the output in groups, of `count` layers."""
    hidden, heads, width = lowering.hidden, attention.heads / lowering.ranks, attention.head_dim
    columns = attention.q_rank + width + attention.compression
    yield lowering.gemm("compress", count, hidden, columns, own=True, shards=1)
    yield lowering.gemm("query projection", count, attention.q_rank, heads * width, own=True)
    small = lowering.vector("rope and cache write", count, heads * width + columns, weights=attention.small)
    yield replace(small, own=True)
    pair, entry = 4 * heads * width, width * lowering.kv_bytes
    yield lowering.attend("window attention", count, Reach(attention.window, pair, pair, entry), heads * width)
    if attention.picks:
        yield from _picking(lowering, count, attention, attention.picks)
    if attention.ratio:
        far = attention.picks.top_k * attention.ratio if attention.picks else 0
        each = pair / attention.ratio
        reach = Reach(far, each, each, entry / attention.ratio, sparse=attention.picks is not None)
        yield lowering.attend("compressed attention", count, reach, heads * width)
    yield lowering.gemm("output compress", count, heads * width, attention.group_rank, own=True)
    yield lowering.gemm("output projection", count, attention.groups / lowering.ranks * attention.group_rank, hidden, own=True)


def _picking(lowering: "Lowering", count: int, attention: CompressedAttention, picks: Selection) -> Iterator[Op]:
    """What picks among entries is small and held whole by every rank; its keys are cached in 8 bit."""
    rows = attention.q_rank
    columns = picks.heads * picks.dim + picks.heads * lowering.hidden / rows
    yield lowering.gemm("index projection", count, rows, columns, own=True, shards=1)
    pair = 2 * picks.heads * picks.dim / attention.ratio
    op = lowering.attend("index", count, Reach(0, pair, pair, picks.dim / attention.ratio), picks.dim)
    yield replace(op, rate=lowering.part.rate(precisions()["fp8"]))
