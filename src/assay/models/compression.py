"""Reading models that compress their cache: the ratio of each layer, and the attention of layers of one ratio."""

from assay.models.compressed import CompressedAttention, Selection
from assay.models.kinds import Fields


def ratios(fields: Fields, depth: int) -> list[int]:
    """By how much each layer compresses its cache, 0 not at all; entries beyond the depth are of layers for multi-token prediction.

    Raises InputError when there are too few, or one is negative.
    """
    told = fields.items("ratios", int)
    if told is None:
        raise fields.wrong("ratios", "is missing", "Add it, as in the config.json of the model: one for each layer")
    if len(told) < depth:
        raise fields.wrong("ratios", f"has {len(told)} items for {depth} layers", "Give one for each layer")
    wrong = [ratio for ratio in told if ratio < 0]
    if wrong:
        raise fields.wrong("ratios", f"{wrong[0]} is negative", "Give the tokens of an entry, 0 for none")
    return told[:depth]


def attention(fields: Fields, ratio: int) -> CompressedAttention:
    """The attention of layers that compress by `ratio`; those of the kind's `picked_ratio` pick among their entries."""
    picks = None
    if ratio == fields.integer("picked_ratio"):
        picks = Selection(*(fields.integer(size) for size in ("index_heads", "index_dim", "index_top_k")))
    heads, groups = fields.integer("heads"), fields.integer("output_groups")
    if heads % groups:
        raise fields.wrong("output_groups", f"is {groups}, which does not divide {heads} {fields.name('heads')}", "Give a divisor")
    head_dim, q_rank, window, group_rank = (fields.integer(size) for size in ("head_dim", "q_rank", "window", "output_rank"))
    return CompressedAttention(heads, head_dim, q_rank, window, groups, group_rank, ratio, picks)
