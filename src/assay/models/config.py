"""From a Hugging Face config.json to an Architecture; what differs between model families is told by data/model_kinds.toml."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from assay.models import compression, hybrids, layerwise, patterns
from assay.models.kinds import Fields, flattened, kind_of, unwrapped
from assay.models.layerwise import Layer
from assay.models.mixers import Recurrence
from assay.models.shapes import (
    Architecture,
    Attention,
    DenseFfn,
    ExpertsFfn,
    Ffn,
    GroupedAttention,
    Indexer,
    LatentAttention,
    LayerGroup,
    Norms,
)
from assay.models.storage import stored

_SIZES = ("heads", "kv_heads", "head_dim", "v_dim")
_FLAGS = ("qkv_bias", "output_bias", "qk_norm", "qk_norm_whole", "sinks", "output_gate", "head_gate", "tied_kv")


def architecture(document: Mapping[str, Any], file: object) -> Architecture:
    """What a config.json describes, or the language model that it wraps; `file` is named in errors.

    Raises InputError on an unknown model_type, on a field that is missing, wrong, or not understood though it would change the
    computation, and on a quantisation that is not known.
    """
    document = unwrapped(document, file)
    kind = kind_of(document, file)
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
        norms=_norms(fields),
        positions=fields.integer("positions", 0) if fields.knows("positions") else 0,
        embedding_norm=fields.flag("embedding_norm"),
        head_bias=fields.flag("head_bias"),
        predictors=fields.integer("predictors", 0),
        streams=fields.integer("streams"),
    )


def _layers(fields: Fields) -> tuple[LayerGroup, ...]:
    """Like layers together, in order of their first one."""
    if fields.kind.recurrence:
        return _hybrid(fields)
    if fields.kind.layerwise:
        return grouped(layerwise.layers(fields))
    depth = fields.integer("depth")
    if fields.kind.attention == "compressed":
        return grouped((compression.attention(fields, ratio), _experts(fields)) for ratio in compression.ratios(fields, depth))
    attention, ffn = cache(partial(_attention, fields)), cache(lambda routed: _experts(fields) if routed else _dense(fields))
    told = zip(patterns.windows(fields, depth), patterns.indexers(fields, depth), patterns.sparse(fields, depth), strict=True)
    return grouped((attention(window, index), ffn(routed)) for window, index, routed in told)


def grouped(layers: Iterable[Layer]) -> tuple[LayerGroup, ...]:
    """Layers that are alike together, in order of their first one."""
    return tuple(LayerGroup(count, *layer) for layer, count in Counter(layers).items())


def _hybrid(fields: Fields) -> tuple[LayerGroup, ...]:
    """Like layers of a model with recurrences together, in order of their first one."""
    if "lone_layers" in fields.kind.fields:
        told = hybrids.lone(fields)
    else:
        depth = fields.integer("depth")
        told = hybrids.whole(fields, depth, patterns.sparse(fields, depth))
    mixers: dict[str, Callable[[], Attention | Recurrence]]
    mixers = {hybrids.ATTENTION: lambda: _attention(fields), hybrids.RECURRENCE: lambda: hybrids.recurrence(fields)}
    ffns: dict[str, Callable[[], Ffn]] = {hybrids.DENSE: lambda: _dense(fields), hybrids.EXPERTS: lambda: _experts(fields)}
    alike = Counter(told)
    return tuple(
        LayerGroup(count, mixers[mixer]() if mixer else None, ffns[ffn]() if ffn else None) for (mixer, ffn), count in alike.items()
    )


def _norms(fields: Fields) -> Norms:
    """Halves that work side by side on one input share its norm, unless the document gives the FFN one of its own."""
    shared = fields.flag("parallel") and not (fields.flag("own_ffn_norm") and fields.integer("parallel_norms") > 1)
    ffn = 0 if shared else fields.integer("ffn_norms")
    return Norms(fields.integer("attention_norms"), ffn, fields.integer("norm_values", 0))


def _attention(fields: Fields, window: int = 0, index: str = patterns.NONE) -> Attention:
    picked = _indexer(fields, shared=index == patterns.SHARED) if index else None
    return _latent(fields, picked) if fields.kind.attention == "latent" else _grouped(fields, window, picked)


def _indexer(fields: Fields, *, shared: bool) -> Indexer:
    sizes = {size: fields.integer(f"index_{size}") for size in ("heads", "dim", "top_k")}
    return Indexer(**sizes, weighed=not fields.flag("index_unweighed"), shared=shared)


def _grouped(fields: Fields, window: int, index: Indexer | None) -> GroupedAttention:
    """A layer with a window may have sizes of its own: roles that begin with window_."""
    own = {role: f"window_{role}" if window and fields.knows(f"window_{role}") else role for role in (*_SIZES, *_FLAGS)}
    heads, head_dim, v_dim = fields.integer(own["heads"]), fields.integer(own["head_dim"]), fields.integer(own["v_dim"], 0)
    one = fields.flag("multi_query") and not fields.flag("own_kv_heads")
    kv_heads = 1 if one else fields.integer(own["kv_heads"])
    flags = {flag: fields.flag(own[flag]) for flag in _FLAGS}
    if heads % kv_heads:
        problem = f"is {kv_heads}, which does not divide {heads} {fields.name(own['heads'])}"
        raise fields.wrong(own["kv_heads"], problem, "Give a divisor")
    return GroupedAttention(heads, kv_heads, head_dim, window, v_dim=v_dim, index=index, **flags)


def _latent(fields: Fields, index: Indexer | None) -> LatentAttention:
    sizes = {size: fields.integer(size) for size in ("q_rank", "kv_rank", "nope_dim", "rope_dim", "v_dim")}
    return LatentAttention(fields.integer("heads"), **sizes, index=index)


def _dense(fields: Fields) -> DenseFfn:
    return DenseFfn(fields.integer("width"), gated=not fields.flag("plain_ffn"), bias=fields.flag("ffn_bias"))


def _experts(fields: Fields) -> ExpertsFfn:
    count, active, width = fields.integer("experts"), fields.integer("active_experts"), fields.integer("expert_width")
    if active > count:
        raise fields.wrong("active_experts", f"is {active}, more than the {count} of {fields.name('experts')}", "Give fewer")
    flags = {"bias": "expert_bias", "router_bias": "router_bias", "shared_gate": "shared_gate", "router_scales": "router_scales"}
    told = {name: fields.flag(flag) for name, flag in flags.items()}
    latent, norms = fields.integer("latent", 0), fields.integer("expert_norms", 0)
    shared = _shared(fields, width)
    return ExpertsFfn(count, active, width, shared, **told, gated=not fields.flag("plain_ffn"), latent=latent, own_norms=norms)


def _shared(fields: Fields, width: int) -> int:
    """Width of all shared experts together: as told, or as many as there are of an expert's width."""
    told = "shared_width" in fields.kind.fields
    return fields.integer("shared_width", 0) if told else fields.integer("shared_experts", 0) * width
