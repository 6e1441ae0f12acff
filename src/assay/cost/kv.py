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
        sizes[reach] = sizes.get(reach, 0.0) + size * _weight(step, drafts, part)
    return sizes


def state_bytes_per_sequence(ops: Iterable[Op], part: Part) -> float:
    """Bytes that a sequence takes whatever its length: the states of its recurrences, in the same units.

    With speculation a state is kept after each token that is verified, to go on from the last one accepted.
    """
    step, drafts = by_use(ops)
    states = [sum(op.count * op.state_bytes for op in each) for each in (step, drafts)]
    return part.width * states[0] + (states[1] * _weight(step, drafts, part) if drafts else 0.0)


def in_blocks(state: float, block_size: int) -> tuple[tuple[int, float], ...]:
    """A state as cache that is kept one block far: a sequence takes all of it with its first token, and no more; nothing for none."""
    return ((block_size, state / block_size),) if state else ()


def _weight(step: Iterable[Op], drafts: Iterable[Op], part: Part) -> float:
    """What a byte of the cache of what drafts takes of the room, over one of the model's."""
    return stage_share(depth_of(drafts), part.pp) / stage_share(depth_of(step), part.pp)


def _kept(ops: Iterable[Op]) -> dict[int, float]:
    """Bytes on one chip over all layers; sparse attention keeps what it does not read, so its cache is unbounded."""
    sizes: dict[int, float] = {}
    for op, reach in ((op, op.reach) for op in ops if op.reach):
        kept = 0 if reach.sparse else reach.window
        sizes[kept] = sizes.get(kept, 0.0) + op.count * reach.cache_bytes
    return sizes


def kv_capacity(residency: Residency, depth: int, part: Part) -> float:
    """Bytes of cache that an attention rank has room for, counted once over its chips and over all stages."""
    return residency.kv_bytes / stage_share(depth, part.pp)
