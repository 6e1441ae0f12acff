"""Reading models whose layers each tell sizes of their own."""

from collections.abc import Mapping
from typing import Any

from assay.models.compressed import CompressedAttention
from assay.models.kinds import Fields
from assay.models.mixers import Recurrence
from assay.models.shapes import Attention, DenseFfn, Ffn, GroupedAttention

MOST_TIMES_HIDDEN = 1000  # a wider FFN is a slip
Layer = tuple[Attention | CompressedAttention | Recurrence | None, Ffn | None]


def layers(fields: Fields) -> list[Layer]:
    """What each layer is made of: `kv heads` differ alone, or each of the `blocks` tells its attention and its FFN.

    Raises InputError on lists of another length than the depth, and on blocks that are not understood.
    """
    return _by_kv_heads(fields) if fields.kind.layerwise == "kv heads" else _by_blocks(fields)


def _by_kv_heads(fields: Fields) -> list[Layer]:
    told = fields.items("kv_heads", int)
    if told is None:
        raise fields.wrong("kv_heads", "is missing", "Add it, as in the config.json of the model: KV heads of each layer")
    _one_each(fields, "kv_heads", len(told))
    ffn = DenseFfn(fields.integer("width"))
    return [(_attention(fields, "kv_heads", kv_heads), ffn) for kv_heads in told]


def _attention(fields: Fields, role: str, kv_heads: int) -> GroupedAttention:
    heads = fields.integer("heads")
    if kv_heads < 1 or heads % kv_heads:
        raise fields.wrong(role, f"has {kv_heads} KV heads, which do not divide {heads} {fields.name('heads')}", "Give divisors")
    return GroupedAttention(heads, kv_heads, fields.integer("head_dim"))


def _by_blocks(fields: Fields) -> list[Layer]:
    blocks = fields.items("blocks", dict)
    if blocks is None:
        raise fields.wrong("blocks", "is missing", "Add it, as in the config.json of the model: one table for each layer")
    _one_each(fields, "blocks", len(blocks))
    return [
        (_block_attention(fields, _half(fields, block, "attention")), _block_ffn(fields, _half(fields, block, "ffn"))) for block in blocks
    ]


def _half(fields: Fields, block: Mapping[str, Any], half: str) -> Mapping[str, Any]:
    told = block.get(half)
    if not isinstance(told, Mapping):
        raise fields.wrong("blocks", f"has a block without {half}", "Give attention and ffn in each")
    known = ("no_op", "n_heads_in_group", "ffn_mult", "sink_attention", "num_sink_tokens", "use_prefill_window_in_sink_attention")
    unknown = [name for name, value in told.items() if value and name not in known]
    if unknown or told.get("num_sink_tokens"):
        problem = f"has a block whose {half}.{(unknown or ['num_sink_tokens'])[0]} is not understood"
        raise fields.wrong("blocks", problem, "This model is not supported")
    return told


def _block_attention(fields: Fields, told: Mapping[str, Any]) -> GroupedAttention | None:
    """Blocks count the query heads that share a KV head."""
    if told.get("no_op"):
        return None
    heads, sharing = fields.integer("heads"), told.get("n_heads_in_group")
    if not isinstance(sharing, int) or isinstance(sharing, bool) or sharing < 1 or heads % sharing:
        raise fields.wrong("blocks", f"has a block whose attention.n_heads_in_group is {sharing!r}", f"Give a divisor of {heads}")
    return _attention(fields, "blocks", heads // sharing)


def _block_ffn(fields: Fields, told: Mapping[str, Any]) -> DenseFfn | None:
    """Blocks give the width over two thirds of the hidden size, and it is rounded up to a multiple of 256."""
    if told.get("no_op"):
        return None
    factor = told.get("ffn_mult")
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor <= MOST_TIMES_HIDDEN:
        raise fields.wrong("blocks", f"has a block whose ffn.ffn_mult is {factor!r}", f"Give a number above 0, at most {MOST_TIMES_HIDDEN}")
    return DenseFfn(-(-int(2 * factor * fields.integer("hidden") / 3) // 256) * 256)


def _one_each(fields: Fields, role: str, count: int) -> None:
    depth = fields.integer("depth")
    if count != depth:
        raise fields.wrong(role, f"has {count} items for {depth} layers", "Give one for each layer")
