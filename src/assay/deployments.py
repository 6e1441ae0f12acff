"""How a model is laid over chips: parts of like replicas, each with its parallelism, precisions and scheduling limits."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from assay._base import schema
from assay._base.errors import InputError
from assay._base.precisions import Precision, precision
from assay.chips import Chip
from assay.engines import Engine
from assay.models import Model
from assay.models.shapes import ExpertsFfn, LatentAttention, LayerGroup


@dataclass(frozen=True)
class Asked:
    """What the user says of a part; None is not said. Field by field as in data/schema/deployment.toml."""

    engine: str | None = None
    replicas: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    weights: str | None = None
    activations: str | None = None
    kv: str | None = None
    max_num_seqs: int | None = None
    token_budget: int | None = None
    block_size: int | None = None
    kv_memory_fraction: float | None = None
    prefix_cache: bool | None = None
    speculate: str | None = None

    @property
    def parallelism_given(self) -> bool:
        """Whether any of tp, pp, dp and ep was said."""
        return any(value is not None for value in (self.tp, self.pp, self.dp, self.ep))


MOST_DRAFTED = 16  # tokens


@dataclass(frozen=True)
class Speculation:
    """Drafting: `tokens` for each decoding sequence in a step, each accepted with chance `acceptance` if those before it were.

    `draft` is the model that drafts; None: heads of the model itself, of a layer each.
    """

    tokens: int
    acceptance: float
    draft: Model | None = None

    @classmethod
    def parse(cls, text: str) -> "Speculation":
        """What --speculate says, TOKENS:ACCEPTANCE[:DRAFT_MODEL]; raises InputError when it says something else."""
        remedy = f"Give TOKENS:ACCEPTANCE[:DRAFT_MODEL], 1 to {MOST_DRAFTED} tokens and a chance from 0 to 1, as 3:0.7"
        said = text.split(":", 2)
        try:
            tokens, acceptance = int(said[0]), float(said[1])
        except (ValueError, IndexError):
            raise InputError("--speculate", "", f"is {text!r}", remedy) from None
        if not (1 <= tokens <= MOST_DRAFTED and 0 <= acceptance <= 1 and all(said)):
            raise InputError("--speculate", "", f"is {text!r}", remedy)
        return cls(tokens, acceptance, Model.load(said[2]) if said[2:] else None)

    @property
    def text(self) -> str:
        """TOKENS:ACCEPTANCE[:DRAFT_MODEL]."""
        return f"{self.tokens}:{self.acceptance:g}{f':{self.draft.name}' if self.draft else ''}"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What predictions take for granted about it."""
        accepted = f"acceptance {self.acceptance:g} of each drafted token, as asked"
        if self.draft is None:
            return accepted, "drafts by a layer like the model's last"
        return accepted, f"drafts by {self.draft.name}, weights {self.draft.architecture.precision} as its checkpoint has them"


@dataclass(frozen=True)
class Part:
    """Like replicas of one model on one kind of chip: `chips` of one replica = tp x pp.

    `max_num_seqs` and `token_budget` are those of each of the `dp` attention ranks, as engines give them.
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
        """JSON form: names and plain numbers; `speculate` is None without speculation."""
        plain = ("replicas", "tp", "pp", "dp", "ep", "max_num_seqs", "token_budget", "block_size", "kv_memory_fraction", "prefix_cache")
        precisions = {key: getattr(self, key).name for key in ("weights", "activations", "kv")}
        head = {"role": self.role, "chip": self.chip.name, "engine": self.engine.name}
        speculate = self.speculation.text if self.speculation else None
        return {**head, **{key: getattr(self, key) for key in plain}, "speculate": speculate, **precisions}


@dataclass(frozen=True)
class Deployment:
    """The parts that serve one model together: a chip and what is asked of it, each. This version serves one part (role all)."""

    parts: tuple[tuple[Chip, Asked], ...]

    @classmethod
    def of(cls, chip: Chip, **asked: Any) -> "Deployment":
        """One part on `chip`; keywords are the fields of Asked, as tp=8, engine="...", kv="fp8"."""
        return cls(((chip, Asked(**asked)),))

    @classmethod
    def read(cls, path: Path, chip: str | None = None) -> "Deployment":
        """A deployment file; `chip` is the one of a part that names none. Raises InputError naming file and field."""
        rows = schema.read(path, "deployment")["part"]
        if len(rows) != 1:
            raise InputError(path, "part", f"{len(rows)} parts", "Give one [[part]] with role all")
        return cls(tuple(_read_part(dict(row), path, chip) for row in rows))

    @property
    def one(self) -> tuple[Chip, Asked]:
        """Its only part."""
        return self.parts[0]


def _read_part(row: dict[str, Any], path: Path, chip: str | None) -> tuple[Chip, Asked]:
    row.pop("role", None)
    named = row.pop("chip", None)
    if named and named.endswith(".toml"):
        named = str(path.parent / named)
    if not (named or chip):
        raise InputError(path, "part[0].chip", "is missing", "Add it, or give --chip")
    return Chip.load(named or chip or ""), Asked(**row)


def resolve(model: Model, chip: Chip, engine: Engine, asked: Asked) -> Part:
    """Fill what was not asked with the engine's and the checkpoint's defaults, and check that the model divides.

    Raises InputError naming the flag when the layout or a precision cannot be.
    """
    check_asked(asked)
    _refuse_unfit_engine(engine, chip)
    weights, activations, kv, said = _precisions(model, chip, engine, asked)
    settings, defaults = _settings(engine, chip, asked)
    layout: dict[str, Any] = {key: getattr(asked, key) or 1 for key in ("tp", "pp", "dp", "ep", "replicas")}
    if asked.tp is None and asked.dp:
        layout["tp"] = asked.dp
    speculation = _speculation(engine, asked)
    assumed = (*said, *defaults, *(speculation.assumptions if speculation else ()))
    part = Part(chip, engine, weights, activations, kv, **settings, **layout, speculation=speculation, assumptions=assumed)
    check_layout(model, part)
    return part


def check_asked(asked: Asked) -> None:
    """Raise InputError naming the flag when a value is wrong on any chip: out of the range that a deployment file allows, or unknown."""
    for name, value in ((name, value) for name, value in vars(asked).items() if value is not None):
        try:
            schema.check({"part": [{name: value}]}, "deployment", "")
        except InputError as error:
            raise InputError(f"--{name.replace('_', '-')}", "", error.problem, error.remedy) from None
        if name in ("weights", "activations", "kv"):
            precision(value, f"--{name}")
    if asked.speculate is not None:
        Speculation.parse(asked.speculate)


def _refuse_unfit_engine(engine: Engine, chip: Chip) -> None:
    if not engine.runs(chip.family):
        families = ", ".join(engine.runs_on)
        raise InputError("--engine", engine.name, f"does not run on {chip.name} (family {chip.family})", f"It runs on: {families}")


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
    for key in ("max_num_seqs", "token_budget", "block_size", "kv_memory_fraction", "prefix_cache"):
        given, default = getattr(asked, key), getattr(defaults, key)
        settings[key] = default.value if given is None else given
        if given is None:
            said.append(f"{key} {default.value}: default of {engine.name} {engine.version} ({default.source or 'no source'})")
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
        _check_attention(group, part)
        _check_ffn(group, part)
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


def _check_attention(group: LayerGroup, part: Part) -> None:
    ranks = part.tp // part.dp
    _divides("--tp", ranks, "the attention heads", group.attention.heads)
    if isinstance(group.attention, LatentAttention):
        return
    kv = group.attention.kv_heads
    if kv % ranks and ranks % kv:
        raise InputError("--tp", "", f"{ranks} ranks and {kv} KV heads: neither divides the other", "Give a tp / dp that does")


def _check_ffn(group: LayerGroup, part: Part) -> None:
    if not isinstance(group.ffn, ExpertsFfn):
        _divides("--tp", part.tp, "the FFN width", group.ffn.width)
        return
    _divides("--ep", part.ep, "the number of experts", group.ffn.count)
    _divides("--tp", part.tp // part.ep, "the expert width", group.ffn.width)
    if group.ffn.shared_width:
        _divides("--tp", part.tp, "the shared expert width", group.ffn.shared_width)


def flags(asked: Mapping[str, Any]) -> Asked:
    """The deployment flags of the command line, by name, as Asked."""
    return Asked(**{field.name: asked.get(field.name) for field in fields(Asked)})
