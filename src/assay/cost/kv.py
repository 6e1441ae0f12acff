"""KV cache of a model under a layout: the room of a replica and what a sequence takes of it."""

from collections.abc import Iterable

from assay.cost.residency import Residency, stage_share
from assay.deployments import Part
from assay.graph.op import Op


def kv_bytes_per_token(ops: Iterable[Op], part: Part) -> dict[int, float]:
    """Bytes of cache per token of a sequence by how far back it is kept (0: to its start), in units of the room of `kv_capacity`.

    A rank of an attention group holds its heads' share; replicated heads and latents are held by each rank. Sparse attention keeps
    what it does not read, so its cache is unbounded.
    """
    sizes: dict[int, float] = {}
    sparse = any(op.name == "index" for op in ops)
    for op in ops:
        if op.reach:
            kept = 0 if sparse else op.reach.window
            sizes[kept] = sizes.get(kept, 0.0) + op.count * op.reach.cache_bytes * part.dp
    return sizes


def kv_capacity(residency: Residency, depth: int, part: Part) -> float:
    """Bytes of cache that a replica has room for, counted once over the ranks of a group and over all stages and attention ranks."""
    return residency.kv_bytes / stage_share(depth, part.pp) * part.dp
