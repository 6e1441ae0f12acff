"""Which layers of a model are what: how far back each looks, which have experts, which pick what they attend to."""

import re
from collections.abc import Sequence

from assay.models.kinds import Fields

_FULL = "full_attention"
OWN, SHARED, NONE = "full", "shared", ""  # an indexer of its own, that of an earlier layer, none


def windows(fields: Fields, depth: int) -> list[int]:
    """How far back each layer looks: 0 is unbounded. Told by words or marks of each layer, else by the rule of the kind."""
    if not fields.kind.windowed:
        return [0] * depth
    window = fields.integer("window") if fields.flag("use_window") else 0
    types = fields.items("layer_types", str)
    if types is not None:
        limited = _words(fields, "layer_types", types, depth, (fields.kind.window_word, _FULL))
        if any(limited) and not window:
            raise fields.wrong("window", f"is not set, but layer_types has {fields.kind.window_word}", "Give the window in tokens")
    else:
        limited = _marks(fields, "window_marks", depth) or _ruled(fields, depth)
    return [window if within else 0 for within in limited]


def _ruled(fields: Fields, depth: int) -> list[bool]:
    rule = fields.kind.windowed
    if rule == "even":
        return [layer % 2 == 0 for layer in range(depth)]
    if rule == "every":
        every = _every(fields)
        return [(layer + 1) % every > 0 for layer in range(depth)]
    first = fields.integer("full_layers", 0) if rule == "late" else 0
    return [layer >= first for layer in range(depth)]


def _every(fields: Fields) -> int:
    """Every how many layers one is not limited: a number, or letters for local layers and the global one after them."""
    told = fields.document.get(fields.name("full_every"))
    return len(told) if isinstance(told, str) and re.fullmatch("L+G", told) else fields.integer("full_every")


def sparse(fields: Fields, depth: int) -> list[bool]:
    """Whether each layer has experts. Told by marks, words or numbers of layers, else by the first, the last and the step."""
    if fields.kind.ffn == "dense" or not fields.flag("has_experts"):
        return [False] * depth
    types = fields.items("ffn_types", str)
    if types is not None:
        return _words(fields, "ffn_types", types, depth, ("sparse", "dense"))
    told = _marks(fields, "sparse_marks", depth)
    if told:
        return told
    listed = _numbers(fields, "sparse_layers")
    if listed:
        return [layer in listed for layer in range(depth)]
    first, step, offset = fields.integer("first_sparse", 0), fields.integer("sparse_step"), fields.integer("sparse_offset", 0)
    last = fields.integer("last_sparse", -1) % depth
    dense = fields.items("dense_layers", int) or []
    return [first <= layer <= last and (layer + offset) % step == 0 and layer not in dense for layer in range(depth)]


def indexers(fields: Fields, depth: int) -> list[str]:
    """Where each layer has what it attends to from: OWN, SHARED or NONE."""
    if "index_heads" not in fields.kind.fields:
        return [NONE] * depth
    words = fields.items("layer_types", str) if fields.kind.index_word else None
    if words is not None:
        return [OWN if own else NONE for own in _words(fields, "layer_types", words, depth, (fields.kind.index_word, _FULL))]
    marks = _marks(fields, "index_marks", depth)
    if marks:
        return [OWN if own else NONE for own in marks]
    types = fields.items("index_types", str)
    if types is not None:
        return [OWN if own else SHARED for own in _words(fields, "index_types", types, depth, (OWN, SHARED))]
    every, offset = fields.integer("index_every"), fields.integer("index_offset", 0)
    return [SHARED if max(layer - offset + 1, 0) % every else OWN for layer in range(depth)]


def _words(fields: Fields, role: str, words: Sequence[str], depth: int, known: tuple[str, str]) -> list[bool]:
    """Whether each layer's word is the first of the two that are known."""
    _one_each(fields, role, words, depth)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise fields.wrong(role, f"{unknown[0]!r} is not known", f"Use {' or '.join(known)}")
    return [word == known[0] for word in words]


def _marks(fields: Fields, role: str, depth: int) -> list[bool] | None:
    """A list of 0 and 1, one for each layer; None when absent, null or empty."""
    marks = fields.items(role, int)
    if not marks:
        return None
    _one_each(fields, role, marks, depth)
    if not {*marks} <= {0, 1}:
        raise fields.wrong(role, "must be a list of 0 and 1", "Give one for each layer")
    return [mark == 1 for mark in marks]


def _numbers(fields: Fields, role: str) -> list[int]:
    """Numbers of layers from 0: a list, or text with commas."""
    told = fields.document.get(fields.name(role)) if role in fields.kind.fields else None
    if not isinstance(told, str):
        return fields.items(role, int) or []
    if not re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", told):
        raise fields.wrong(role, f"must be numbers of layers with commas between, is {told!r}", "Give a list")
    return [int(number) for number in told.split(",")]


def _one_each(fields: Fields, role: str, items: Sequence[object], depth: int) -> None:
    if len(items) != depth:
        raise fields.wrong(role, f"has {len(items)} items for {depth} layers", "Give one for each layer")
