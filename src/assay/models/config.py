"""From a Hugging Face config.json to an Architecture; what differs between model families is told by data/model_kinds.toml."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from assay.models import compression, hybrids
from assay.models.compressed import CompressedAttention
from assay.models.kinds import Fields, flattened, kind_of, unwrapped
from assay.models.mixers import Recurrence
from assay.models.shapes import Architecture, Attention, DenseFfn, ExpertsFfn, Ffn, GroupedAttention, Indexer, LatentAttention, LayerGroup
from assay.models.storage import stored

_WINDOW, _FULL = "sliding_attention", "full_attention"


def architecture(document: Mapping[str, Any], file: object) -> Architecture:
    """What a config.json describes; `file` is named in errors.

    Raises InputError on an unknown model_type, on a field that is missing, wrong, or not understood though it would change the
    computation, and on a quantisation that is not known.
    """
    document, kind = unwrapped(document), kind_of(document, file)
    fields = Fields(flattened(document, kind, file), kind, file)
    fields.refuse_unknown()
    precision, quantised = stored(document, file)
    return Architecture(
        hidden=fields.integer("hidden"),
        vocab=fields.integer("vocab"),
        tied=fields.flag("tied"),
        layers=_layers(fields),
        precision=precision,
        quantised=quantised,
        max_context=fields.integer("context"),
        streams=fields.integer("streams", 1),
    )


def _layers(fields: Fields) -> tuple[LayerGroup, ...]:
    """Like layers together, in order of their first one."""
    if fields.kind.recurrence:
        return _hybrid(fields)
    depth = fields.integer("depth")
    looks = compression.ratios(fields, depth) if fields.kind.attention == "compressed" else _windows(fields, depth)
    attentions = {look: _attention(fields, look) for look in set(looks)}
    ffns: dict[bool, Ffn] = {sparse: _experts(fields) if sparse else _dense(fields) for sparse in set(_sparse(fields, depth))}
    alike = Counter(zip(looks, _sparse(fields, depth), strict=True))
    return tuple(LayerGroup(count, attentions[look], ffns[sparse]) for (look, sparse), count in alike.items())


def _hybrid(fields: Fields) -> tuple[LayerGroup, ...]:
    """Like layers of a model with recurrences together, in order of their first one."""
    if "lone_layers" in fields.kind.fields:
        alike = Counter(hybrids.lone(fields))
    else:
        depth = fields.integer("depth")
        alike = Counter(hybrids.whole(fields, depth, _sparse(fields, depth)))
    mixers: dict[str, Callable[[], Attention | CompressedAttention | Recurrence]]
    mixers = {hybrids.ATTENTION: lambda: _attention(fields, 0), hybrids.RECURRENCE: lambda: hybrids.recurrence(fields)}
    ffns: dict[str, Callable[[], Ffn]] = {hybrids.DENSE: lambda: _dense(fields), hybrids.EXPERTS: lambda: _experts(fields)}
    return tuple(
        LayerGroup(count, mixers[mixer]() if mixer else None, ffns[ffn]() if ffn else None) for (mixer, ffn), count in alike.items()
    )


def _windows(fields: Fields, depth: int) -> list[int]:
    """How far back each layer looks: 0 is unbounded."""
    if not fields.kind.windowed:
        return [0] * depth
    window = fields.integer("window") if fields.flag("use_window") else 0
    types = fields.items("layer_types", str)
    if types is not None:
        return _told_windows(fields, depth, window, types)
    if fields.kind.windowed == "even":
        return [0 if layer % 2 else window for layer in range(depth)]
    first = fields.integer("full_layers", 0) if fields.kind.windowed == "late" else 0
    return [window if layer >= first else 0 for layer in range(depth)]


def _told_windows(fields: Fields, depth: int, window: int, types: list[str]) -> list[int]:
    if len(types) != depth:
        raise fields.wrong("layer_types", f"has {len(types)} items for {depth} layers", "Give one for each layer")
    unknown = [layer_type for layer_type in types if layer_type not in (_WINDOW, _FULL)]
    if unknown:
        raise fields.wrong("layer_types", f"{unknown[0]!r} is not known", f"Use {_WINDOW} or {_FULL}")
    if _WINDOW in types and not window:
        raise fields.wrong("window", f"is not set, but layer_types has {_WINDOW}", "Give the window in tokens")
    return [window if layer_type == _WINDOW else 0 for layer_type in types]


def _sparse(fields: Fields, depth: int) -> list[bool]:
    """Whether each layer has experts."""
    if fields.kind.ffn == "dense":
        return [False] * depth
    first, step, offset = fields.integer("first_sparse", 0), fields.integer("sparse_step"), fields.integer("sparse_offset", 0)
    dense = fields.items("dense_layers", int) or []
    return [layer >= first and (layer + offset) % step == 0 and layer not in dense for layer in range(depth)]


def _attention(fields: Fields, look: int) -> Attention | CompressedAttention:
    """The attention of layers that look back `look` tokens (0: to the start), or compress by that ratio (0: not)."""
    if fields.kind.attention == "compressed":
        return compression.attention(fields, look)
    return _latent(fields) if fields.kind.attention == "latent" else _grouped(fields, look)


def _grouped(fields: Fields, window: int) -> GroupedAttention:
    heads, kv_heads = fields.integer("heads"), fields.integer("kv_heads")
    if heads % kv_heads:
        raise fields.wrong("kv_heads", f"is {kv_heads}, which does not divide {heads} {fields.name('heads')}", "Give a divisor")
    flags = {flag: fields.flag(flag) for flag in ("qkv_bias", "output_bias", "qk_norm", "sinks", "output_gate")}
    return GroupedAttention(heads, kv_heads, fields.integer("head_dim"), window, **flags)


def _latent(fields: Fields) -> LatentAttention:
    index = None
    if "index_heads" in fields.kind.fields:
        index = Indexer(fields.integer("index_heads"), fields.integer("index_dim"), fields.integer("index_top_k"))
    sizes = {size: fields.integer(size) for size in ("q_rank", "kv_rank", "nope_dim", "rope_dim", "v_dim")}
    return LatentAttention(fields.integer("heads"), **sizes, index=index)


def _dense(fields: Fields) -> DenseFfn:
    return DenseFfn(fields.integer("width"), gated=not fields.flag("plain_ffn"), bias=fields.flag("ffn_bias"))


def _experts(fields: Fields) -> ExpertsFfn:
    count, active, width = fields.integer("experts"), fields.integer("active_experts"), fields.integer("expert_width")
    if active > count:
        raise fields.wrong("active_experts", f"is {active}, more than the {count} of {fields.name('experts')}", "Give fewer")
    flags = {"bias": "expert_bias", "router_bias": "router_bias", "shared_gate": "shared_gate"}
    told = {name: fields.flag(flag) for name, flag in flags.items()}
    latent = fields.integer("latent", 0)
    return ExpertsFfn(count, active, width, _shared(fields, width), **told, gated=not fields.flag("plain_ffn"), latent=latent)


def _shared(fields: Fields, width: int) -> int:
    """Width of all shared experts together: as told, or as many as there are of an expert's width."""
    told = "shared_width" in fields.kind.fields
    return fields.integer("shared_width", 0) if told else fields.integer("shared_experts", 0) * width
