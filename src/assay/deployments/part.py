"""One part of a deployment, with every default filled in and its reason kept."""

from dataclasses import dataclass, replace
from typing import Any

from assay._base.errors import InputError
from assay._base.precisions import Precision, precision
from assay.chips import Chip
from assay.deployments.asked import Asked, check_asked
from assay.deployments.speculation import Speculation
from assay.engines import Engine
from assay.models import Model
from assay.models.compressed import CompressedAttention
from assay.models.mixers import Recurrence
from assay.models.shapes import Attention, ExpertsFfn, Ffn, LatentAttention


@dataclass(frozen=True)
class Part:
    """Like replicas of one model on one kind of chip: `chips` of one replica = tp x pp.

    `max_num_seqs` and `token_budget` are those of each of the `dp` attention ranks, as engines give them. `host_memory` (bytes) and
    `host_bandwidth` (B/s) are those of a replica; the other fields are as in data/schema/deployment.toml.
    `assumptions` names each default that the user did not give, with its source.
    """

    chip: Chip
    engine: Engine
    weights: Precision
    activations: Precision
    kv: Precision
    max_num_seqs: int
    token_budget: int
    block_size: int
    kv_memory_fraction: float
    prefix_cache: bool
    batching: str
    look_interval: int
    prefill_wait: int = 0
    host_memory: float = 0.0
    host_bandwidth: float = float("inf")
    replicas: int = 1
    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    role: str = "all"
    speculation: Speculation | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.tp * self.pp

    @property
    def width(self) -> int:
        """Tokens of each decoding sequence in a step: one, and those that were drafted."""
        return 1 + (self.speculation.tokens if self.speculation else 0)

    def rate(self, weights: Precision | None = None) -> str:
        """Key of the chip's peak that arithmetic with these weights uses: the wider operand's, or 16 bit where it has no such rate."""
        wider = max(weights or self.weights, self.activations, key=lambda operand: operand.width)
        return wider.rate if wider.rate in self.chip.peak else _sixteen_bit(self.chip)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: names and plain numbers; `speculate` is None without speculation, host memory is left out where there is none."""
        plain = [*_LAYOUT, *_SETTINGS, "batching", "look_interval", "prefill_wait"]
        plain += ["host_memory", "host_bandwidth"] if self.host_memory else []
        precisions = {key: getattr(self, key).name for key in ("weights", "activations", "kv")}
        head = {"role": self.role, "chip": self.chip.name, "engine": self.engine.name}
        speculate = self.speculation.text if self.speculation else None
        return {**head, **{key: getattr(self, key) for key in plain}, "speculate": speculate, **precisions}


_LAYOUT = ("replicas", "tp", "pp", "dp", "ep")
_SETTINGS = ("max_num_seqs", "token_budget", "block_size", "kv_memory_fraction", "prefix_cache")


def resolve(model: Model, chip: Chip, engine: Engine, asked: Asked) -> Part:
    """Fill what was not asked with the engine's and the checkpoint's defaults, and check that the model divides.

    Raises InputError naming the flag when the layout, a precision or the role cannot be.
    """
    check_asked(asked)
    _refuse_unfit_engine(engine, chip, asked)
    weights, activations, kv, said = _precisions(model, chip, engine, asked)
    settings, defaults = _settings(engine, chip, asked)
    layout: dict[str, Any] = {key: getattr(asked, key) or 1 for key in _LAYOUT}
    if asked.tp is None and asked.dp:
        layout["tp"] = asked.dp
    speculation = _speculation(engine, asked)
    assumed = (*said, *defaults, *_said_of_states(model, settings), *(speculation.assumptions if speculation else ()))
    layout |= {"role": asked.role or "all", "speculation": speculation, "assumptions": assumed}
    part = Part(chip, engine, weights, activations, kv, **settings, **layout)
    check_layout(model, part)
    return part


def _said_of_states(model: Model, settings: dict[str, Any]) -> list[str]:
    state = model.state_bytes_per_sequence
    if not state:
        return []
    said = [f"each sequence keeps {state / 1e6:.3g} MB of state beside its cache"]
    if settings["prefix_cache"]:
        said.append("a prefix found in the cache brings its state along, in no room and no time: engines keep states at few places")
    return said


def _refuse_unfit_engine(engine: Engine, chip: Chip, asked: Asked) -> None:
    if not engine.runs(chip.family):
        families = ", ".join(engine.runs_on)
        raise InputError("--engine", engine.name, f"does not run on {chip.name} (family {chip.family})", f"It runs on: {families}")
    if asked.role in ("prefill", "decode") and not engine.has("disaggregation"):
        remedy = "Use an engine with the feature disaggregation, or parts of role all"
        raise InputError("--disaggregate", engine.name, "cannot serve prefill and decode apart", remedy)


def _speculation(engine: Engine, asked: Asked) -> Speculation | None:
    if asked.speculate is None:
        return None
    if not engine.has("speculation"):
        raise InputError("--speculate", engine.name, "cannot speculate", "Leave it out, or use an engine with the feature speculation")
    return Speculation.parse(asked.speculate)


def _precisions(model: Model, chip: Chip, engine: Engine, asked: Asked) -> tuple[Precision, Precision, Precision, list[str]]:
    said = []
    weights = precision(asked.weights or model.architecture.precision, "--weights")
    if asked.weights is None:
        said.append(f"weights {weights.name}, as the checkpoint has them")
    elif weights.name != model.architecture.precision:
        said.append(
            f"weights converted from the checkpoint's {model.architecture.precision} to {weights.name}, as asked; answers may change"
        )
    activations = precision(asked.activations or _default_activations(chip, weights), "--activations")
    if asked.activations is None:
        said.append(f"activations {activations.name}: default for {weights.name} weights on {chip.name}")
    kv = precision(asked.kv or _default_kv(chip, engine), "--kv")
    if asked.kv is None:
        said.append(f"KV cache {kv.name}: default of {engine.name} {engine.version}")
    return weights, activations, kv, said


def _default_activations(chip: Chip, weights: Precision) -> str:
    rate = precision(weights.activations, "weights").rate
    return weights.activations if rate in chip.peak else _sixteen_bit(chip)


def _default_kv(chip: Chip, engine: Engine) -> str:
    kv = engine.defaults_on(chip.family).kv.value
    return _sixteen_bit(chip) if kv == "auto" else kv


def _sixteen_bit(chip: Chip) -> str:
    return "bf16" if "bf16" in chip.peak or "fp16" not in chip.peak else "fp16"


def _settings(engine: Engine, chip: Chip, asked: Asked) -> tuple[dict[str, Any], list[str]]:
    settings, said = {}, []
    defaults = engine.defaults_on(chip.family)
    for key in _SETTINGS:
        given, default = getattr(asked, key), getattr(defaults, key)
        settings[key] = default.value if given is None else given
        if key == "prefix_cache" and asked.role == "decode":
            settings[key] = False  # it computes no prompts
        elif given is None:
            said.append(f"{key} {default.value}: default of {engine.name} {engine.version} ({default.source or 'no source'})")
    settings["batching"] = asked.batching or defaults.prefill.value
    settings["look_interval"] = asked.look_interval or defaults.recv_interval.value
    rest = {key: getattr(asked, key) for key in ("prefill_wait", "host_memory", "host_bandwidth")}
    settings |= {key: value for key, value in rest.items() if value is not None}
    if asked.host_memory and not settings["prefix_cache"]:
        raise InputError("--host-memory", "", "keeps prefix blocks, and the part has no prefix cache", "Leave it out, or turn the cache on")
    return settings, said


def check_layout(model: Model, part: Part) -> None:
    """Raise InputError naming the flag when a size of the model does not divide over the ranks."""
    for name in ("tp", "pp", "dp", "ep", "replicas"):
        if getattr(part, name) < 1:
            raise InputError(f"--{name}", "", f"is {getattr(part, name)}", "Give 1 or more")
    _divides("--dp", part.dp, "tp", part.tp)
    _divides("--ep", part.ep, "tp", part.tp)
    if part.pp > model.architecture.depth:
        raise InputError("--pp", "", f"{part.pp} stages for {model.architecture.depth} layers", "Give at most one stage per layer")
    for group in model.architecture.layers:
        if group.attention:
            _check_attention(group.attention, part)
        if group.ffn:
            _check_ffn(group.ffn, part)
    if part.speculation and part.speculation.draft:
        _check_draft(part.speculation.draft, part)


def _divides(flag: str, ranks: int, name: str, size: int) -> None:
    if size % ranks:
        raise InputError(flag, "", f"{ranks} does not divide {name} ({size})", f"Give a divisor of {size}")


def _check_draft(draft: Model, part: Part) -> None:
    """The draft model runs on the same chips under the same layout."""
    try:
        check_layout(draft, replace(part, speculation=None))
    except InputError as error:
        raise InputError("--speculate", draft.name, f"cannot run under {error.file}: {error.problem}", error.remedy) from None


def _check_attention(attention: Attention | CompressedAttention | Recurrence, part: Part) -> None:
    ranks, recurrent = part.tp // part.dp, isinstance(attention, Recurrence)
    _divides("--tp", ranks, "the heads of recurrences" if recurrent else "the attention heads", attention.heads)
    if isinstance(attention, CompressedAttention):
        _divides("--tp", ranks, "the groups of attention outputs", attention.groups)
    if isinstance(attention, LatentAttention | CompressedAttention):
        return
    shared, name = (attention.key_heads, "key heads") if isinstance(attention, Recurrence) else (attention.kv_heads, "KV heads")
    if shared % ranks and ranks % shared:
        raise InputError("--tp", "", f"{ranks} ranks and {shared} {name}: neither divides the other", "Give a tp / dp that does")


def _check_ffn(ffn: Ffn, part: Part) -> None:
    if not isinstance(ffn, ExpertsFfn):
        _divides("--tp", part.tp, "the FFN width", ffn.width)
        return
    _divides("--ep", part.ep, "the number of experts", ffn.count)
    _divides("--tp", part.tp // part.ep, "the expert width", ffn.width)
    if ffn.shared_width:
        _divides("--tp", part.tp, "the shared expert width", ffn.shared_width)
