"""What lies in which memory tier of a chip, and how fast it is read from there."""

from collections.abc import Iterable
from dataclasses import dataclass

from assay._base.errors import CannotHold
from assay.chips import Memory
from assay.deployments import Part
from assay.graph.op import Op


@dataclass(frozen=True)
class Residency:
    """Placement on one chip.

    `weight_second` is the time to read one byte of weights at peak bandwidth, averaged over the tiers they lie in; `kv_bytes` the
    room for KV cache; `kv_second` the time per byte in its first tier, and beyond `spill_after` bytes each byte takes `spill_second`
    more. `weight_joule` and `kv_tier` serve the energy model.
    """

    weight_second: float
    activation_second: float
    kv_bytes: float
    kv_second: float
    spill_after: float
    spill_second: float
    weight_tiers: tuple[tuple[Memory, float], ...]
    kv_tier: Memory
    activation_tier: Memory


def place(part: Part, ops: Iterable[Op], hidden: int) -> Residency:
    """Lay weights, then the KV cache, into the tiers that may hold them, fastest first.

    Raises CannotHold when the weights, or one block of KV beside them, find no room.
    """
    weights = weight_bytes(part, ops)
    activations = next((tier for tier in part.chip.memory if "activations" in tier.holds), part.chip.memory[0])
    placed, room = _laid(part, weights, hidden, 0.0)
    if not room:  # weights filled what could hold cache: they leave some of it where slower memory takes them
        placed, room = _laid(part, weights, hidden, _LEFT_TO_CACHE)
    short = _short(weights, placed)
    if short > 1 or not room:
        alone = _short(weights, _laid(part, weights, hidden, 0.0)[0])
        raise CannotHold(_too_big(part, weights, alone if alone > 1 else 0.0))
    first, second = room[0], room[1] if len(room) > 1 else None
    return Residency(
        weight_second=sum(taken / tier.bandwidth.value for tier, taken in placed) / weights,
        activation_second=1 / activations.bandwidth.value,
        kv_bytes=sum(size for _, size in room),
        kv_second=1 / first[0].bandwidth.value,
        spill_after=first[1] if second else float("inf"),
        spill_second=1 / second[0].bandwidth.value - 1 / first[0].bandwidth.value if second else 0.0,
        weight_tiers=tuple((tier, taken / weights) for tier, taken in placed),
        kv_tier=first[0],
        activation_tier=activations,
    )


_LEFT_TO_CACHE = 0.1  # of the memory that may hold either; a tenth serves many short sequences or a few long ones

Placed = list[tuple[Memory, float]]


def _laid(part: Part, weights: float, hidden: int, kept: float) -> tuple[Placed, Placed]:
    """Bytes of weights by tier, and the room for cache by tier when weights leave `kept` of each tier that may hold both."""
    free = {tier.name: _budget(tier, part) for tier in part.chip.memory}
    _reserve_workspace(part, hidden, free)
    back = {tier.name: free[tier.name] * kept for tier in part.chip.memory if {"weights", "kv"} <= set(tier.holds)}
    for name, size in back.items():
        free[name] -= size
    placed = _fill(weights, [tier for tier in part.chip.memory if "weights" in tier.holds], free)
    for name, size in back.items():
        free[name] += size
    return placed, _kv_room(part, free)


def _short(weights: float, placed: Placed) -> float:
    return weights - sum(taken for _, taken in placed)


def weight_bytes(part: Part, ops: Iterable[Op]) -> float:
    """Bytes of weights on one chip of the fullest stage: whole layers, and a share of embedding and head.

    What drafts lies beside the model; heads of the model itself are layers of their own before its one LM head.
    """
    step, drafts = by_use(ops)
    heads = part.speculation is not None and part.speculation.draft is None
    drafts = [op for op in drafts if not (heads and op.once)]
    return sum(_stage_bytes(part, group) for group in (step, drafts) if group)


def by_use(ops: Iterable[Op]) -> tuple[list[Op], list[Op]]:
    """The ops of the step itself, and those that draft for it."""
    ops = tuple(ops)
    return [op for op in ops if not op.passes], [op for op in ops if op.passes]


def depth_of(ops: Iterable[Op]) -> int:
    """Layers that the ops run through."""
    return sum(op.count for op in ops if op.opens)


def _stage_bytes(part: Part, ops: Iterable[Op]) -> float:
    ops = tuple(ops)
    layers = sum(op.count * op.weight_bytes for op in ops if not op.once)
    rest = sum(op.weight_bytes for op in ops if op.once)
    return layers * stage_share(depth_of(ops), part.pp) + rest / part.pp


def stage_share(depth: int, stages: int) -> float:
    """Share of the layers that the fullest of `stages` stages holds: layers are whole."""
    return -(-depth // stages) / depth


def _budget(tier: Memory, part: Part) -> float:
    usable = tier.usable.value if tier.usable else 1.0
    share = part.kv_memory_fraction if part.engine.defaults.kv_memory_fraction_of.value == "total" else 1.0
    return tier.bytes.value * usable * share


def _reserve_workspace(part: Part, hidden: int, free: dict[str, float]) -> None:
    """Take room for the activations of one step, and for what the engine keeps beside, from the roomiest tier that may hold them.

    Activations are a few tensors of 16 bit per token.
    """
    tiers = [tier for tier in part.chip.memory if "activations" in tier.holds] or list(part.chip.memory)
    roomiest = max(tiers, key=lambda tier: free[tier.name])
    taken = _WORKSPACE_TENSORS * 2 * hidden * part.token_budget + part.engine.defaults_on(part.chip.family).overhead.value
    free[roomiest.name] -= min(taken, free[roomiest.name] / 2)


_WORKSPACE_TENSORS = 8  # residual, query, key and value, attention output, and the FFN's inner tensors, about four times hidden


def _fill(size: float, tiers: Iterable[Memory], free: dict[str, float]) -> Placed:
    placed: Placed = []
    for tier in tiers:
        taken = min(size, max(free[tier.name], 0.0))
        if taken > 0:
            placed.append((tier, taken))
            free[tier.name] -= taken
            size -= taken
    return placed


def _kv_room(part: Part, free: dict[str, float]) -> Placed:
    share = part.kv_memory_fraction if part.engine.defaults.kv_memory_fraction_of.value == "free" else 1.0
    tiers = [tier for tier in part.chip.memory if "kv" in tier.holds]
    return [(tier, free[tier.name] * share) for tier in tiers if free[tier.name] * share >= 1]


def _too_big(part: Part, weights: float, short: float) -> str:
    have = sum(tier.bytes.value for tier in part.chip.memory if "weights" in tier.holds)
    lacking = f"{short / 1e9:.1f} GB short" if short else "no room is left for the KV cache"
    return (
        f"--tp {part.tp} --pp {part.pp} on {part.chip.name}: weights take {weights / 1e9:.1f} GB a chip of {have / 1e9:.1f} GB, {lacking}. "
        f"Use more chips (--tp, --pp), a narrower --weights, or a chip with more memory."
    )
