"""KV cache of a model under a layout: the room of one attention rank and what a sequence takes of it."""

from collections.abc import Iterable

from assay.cost.residency import Residency, by_use, depth_of, stage_share
from assay.deployments import Part
from assay.graph.op import Op


def kv_bytes_per_token(ops: Iterable[Op], part: Part) -> dict[int, float]:
    """Bytes of cache per token of a sequence by how far back it is kept (0: to its start), in units of the room of `kv_capacity`.

    A chip of an attention rank holds its heads' share; replicated heads and latents are held by each. What drafts keeps a cache beside
    the model's; its fullest stage need not hold the share of layers that the model's does.
    """
    step, drafts = by_use(ops)
    sizes = _kept(step)
    for reach, size in _kept(drafts).items():
        share = stage_share(depth_of(drafts), part.pp) / stage_share(depth_of(step), part.pp)
        sizes[reach] = sizes.get(reach, 0.0) + size * share
    return sizes


def _kept(ops: Iterable[Op]) -> dict[int, float]:
    """Bytes on one chip over all layers; sparse attention keeps what it does not read, so its cache is unbounded."""
    attending = [(op, op.reach) for op in ops if op.reach]
    sparse = any(op.name.endswith("index") for op, _ in attending)
    sizes: dict[int, float] = {}
    for op, reach in attending:
        kept = 0 if sparse else reach.window
        sizes[kept] = sizes.get(kept, 0.0) + op.count * reach.cache_bytes
    return sizes


def kv_capacity(residency: Residency, depth: int, part: Part) -> float:
    """Bytes of cache that an attention rank has room for, counted once over its chips and over all stages."""
    return residency.kv_bytes / stage_share(depth, part.pp)
