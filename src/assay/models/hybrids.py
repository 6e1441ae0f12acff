"""Reading models whose layers are not all alike attention: what each layer is, and the recurrences among them."""

from collections.abc import Iterable
from dataclasses import replace

from assay.models.kinds import Fields
from assay.models.mixers import Recurrence

ATTENTION, RECURRENCE, DENSE, EXPERTS, NONE = "attention", "recurrence", "dense", "experts", ""
Layer = tuple[str, str]  # what mixes tokens, and the FFN

_WORDS = {
    "full_attention": ATTENTION,
    "attention": ATTENTION,
    "linear_attention": RECURRENCE,
    "kda_attention": RECURRENCE,
    "mamba": RECURRENCE,
}
_LONE = {"moe": EXPERTS, "mlp": DENSE}
_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


def whole(fields: Fields, depth: int, sparse: list[bool]) -> list[Layer]:
    """What each layer of both halves is made of; `sparse` says which have experts.

    Raises InputError on words that are not known and on lists of another length than the depth.
    """
    return [(mixer, EXPERTS if experts else DENSE) for mixer, experts in zip(_mixers(fields, depth), sparse, strict=True)]


def lone(fields: Fields) -> list[Layer]:
    """What each layer of one half is made of, from a list of words or a string of letters, whose length is the depth.

    Raises InputError on words and letters that are not known, and where the depth is told too and differs.
    """
    words, role = fields.items("lone_layers", str), "lone_layers"
    if words is None:
        words, role = _spelled(fields), "pattern"
    if fields.document.get(fields.name("depth")) is not None:
        _same_length(fields, role, words, fields.integer("depth"))
    known = {**{word: (mixer, NONE) for word, mixer in _WORDS.items()}, **{word: (NONE, ffn) for word, ffn in _LONE.items()}}
    _known(fields, role, words, known)
    return [known[word] for word in words]


def _spelled(fields: Fields) -> list[str]:
    pattern = fields.document.get(fields.name("pattern"))
    if not isinstance(pattern, str) or not pattern:
        raise fields.wrong("pattern", f"must be a string of {' '.join(_LETTERS)}, is {pattern!r}", "Give one letter for each layer")
    _known(fields, "pattern", pattern, _LETTERS)
    return [_LETTERS[letter] for letter in pattern]


def _mixers(fields: Fields, depth: int) -> list[str]:
    """What mixes tokens in each layer: by words, by two lists of layers counted from 1, or attention in every so many layers."""
    if "attention_layers" in fields.kind.fields:
        return _listed(fields, depth)
    words = fields.items("layer_types", str)
    if words is None:
        every = fields.integer("attention_every")
        return [RECURRENCE if (layer + 1) % every else ATTENTION for layer in range(depth)]
    _same_length(fields, "layer_types", words, depth)
    _known(fields, "layer_types", words, _WORDS)
    return [_WORDS[word] for word in words]


def _listed(fields: Fields, depth: int) -> list[str]:
    attention, recurrent = (fields.items(role, int) for role in ("attention_layers", "recurrence_layers"))
    if attention is None or recurrent is None:
        missing = "attention_layers" if attention is None else "recurrence_layers"
        raise fields.wrong(missing, "is missing", "Add it, as in the config.json of the model: layers, counted from 1")
    if sorted(attention + recurrent) != list(range(1, depth + 1)):
        raise fields.wrong(
            "recurrence_layers", f"and {fields.name('attention_layers')} are not layers 1 to {depth}, each once", "Mend them"
        )
    return [ATTENTION if layer + 1 in attention else RECURRENCE for layer in range(depth)]


def _same_length(fields: Fields, role: str, words: list[str], depth: int) -> None:
    if len(words) != depth:
        raise fields.wrong(role, f"has {len(words)} items for {depth} layers", "Give one for each layer")


def _known(fields: Fields, role: str, words: Iterable[str], known: Iterable[str]) -> None:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise fields.wrong(role, f"{unknown[0]!r} is not known", f"Use {', '.join(known)}")


def recurrence(fields: Fields) -> Recurrence:
    """The recurrence of a kind, from the sizes that the kind gives for it: `delta`, `channel delta` or `state space`."""
    heads, shared = fields.integer("recurrent_heads"), fields.integer("key_heads")
    if heads % shared:
        raise fields.wrong("key_heads", f"is {shared}, which does not divide {heads} {fields.name('recurrent_heads')}", "Give a divisor")
    key_dim, value_dim, taps = (fields.integer(size) for size in ("key_dim", "value_dim", "convolution"))
    width = _WIDTHS[fields.text("state_dtype", _WIDTHS) or "float32"]
    rule = fields.kind.recurrence
    common = Recurrence(heads, shared, key_dim, value_dim, rule != "state space", convolution=taps, norm=value_dim, state_bytes_each=width)
    if rule == "delta":  # constants: the rate of the decay and its bias
        return replace(common, scalars=2, constants=2)
    if rule == "channel delta":  # the rate of the decay, and a bias for each key channel
        return replace(common, scalars=1, gate_rank=value_dim, constants=1 + key_dim)
    bias = fields.flag("convolution_bias")  # constants: the rate of the decay, the bias of the step size, the weight of the skip
    return replace(common, scalars=1, convolution_bias=bias, constants=3, norm=heads * value_dim)
