"""A model: its architecture, what its publisher says of it, and the sizes that follow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay._base.precisions import precisions
from assay._base.schema import read
from assay.models.compressed import CompressedAttention
from assay.models.config import architecture
from assay.models.kinds import kind_of, wrapper
from assay.models.mixers import Recurrence
from assay.models.shapes import Architecture, Attention, ExpertsFfn, GroupedAttention, LatentAttention
from assay.models.storage import beside

_BITS_PER_BYTE = 8
_PLAIN_BITS = 16
_NULL = "null"  # how a catalogue entry writes the null of a config.json, which TOML does not have


@dataclass(frozen=True)
class Model:
    """A model that can be served.

    `published_parameters` and `published_active` are the publisher's own counts, where known. `active_embedding` says whether its
    count of active parameters includes the embedding table, of which a token reads one row, and `active_head` whether it has the head.
    """

    name: str
    architecture: Architecture
    aliases: tuple[str, ...] = ()
    published_parameters: Fact[float] | None = None
    published_active: Fact[float] | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    active_embedding: bool = True
    active_head: bool = True

    @classmethod
    def load(cls, reference: str | Path) -> "Model":
        """The model that `reference` names: a catalogue name or alias, a config.json, a folder with one, or a .toml of our schema.

        Raises InputError when there is none, or when it cannot be read or understood.
        """
        path = _locate(reference)
        return _from_json(path) if path.suffix == ".json" else _from_toml(path)

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return sum(part.total for part in self.architecture.weights().values())

    @property
    def active_parameters(self) -> int:
        """Parameters that work on one token, counted as the publisher does: see `active_embedding` and `active_head`."""
        left_out = {kind for kind, counted in (("embedding", self.active_embedding), ("head", self.active_head)) if not counted}
        return sum(part.active for part in self.architecture.weights().values() if part.kind not in left_out)

    @property
    def predictor_parameters(self) -> int:
        """Parameters of the layers for multi-token prediction that come with the model: they draft, and no other count has them."""
        return self.architecture.predictor_weights

    @property
    def weight_bytes(self) -> float:
        """Bytes of the checkpoint: quantised classes in its precision, with scales, the rest in 16 bit."""
        narrow = precisions()[self.architecture.precision].bits
        weights = self.architecture.weights().values()
        bits = sum(part.total * (narrow if part.kind in self.architecture.quantised else _PLAIN_BITS) for part in weights)
        return bits / _BITS_PER_BYTE

    def kv_bytes_per_token(self, bits: float = _PLAIN_BITS) -> float:
        """Bytes that all layers together cache for one token, at `bits` per value; a windowed layer drops its share once out of reach."""
        elements = sum(group.count * group.attention.kv_elements for group in self.architecture.layers if group.attention)
        return elements * bits / _BITS_PER_BYTE

    @property
    def state_bytes_per_sequence(self) -> int:
        """Bytes that all layers together keep of a sequence whatever its length: the states of recurrences and their convolutions."""
        groups = self.architecture.layers
        return sum(group.count * group.attention.state_bytes for group in groups if isinstance(group.attention, Recurrence))

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.architecture.depth

    @property
    def kind(self) -> str:
        """What it is, in words."""
        groups = self.architecture.layers
        experts = any(isinstance(group.ffn, ExpertsFfn) for group in groups)
        attentions = [group.attention for group in groups if group.attention and not isinstance(group.attention, Recurrence)]
        traits = ["mixture of experts" if experts else "dense", *map(_attention_words, attentions[-1:])]
        if any(attention.picks if isinstance(attention, CompressedAttention) else attention.index for attention in attentions):
            traits.append("sparse")
        recurrent = sum(group.count for group in groups if isinstance(group.attention, Recurrence))
        if recurrent:
            traits.append(f"recurrent in {recurrent} of {self.layers} layers")
        windows = [isinstance(attention, GroupedAttention) and attention.window > 0 for attention in attentions]
        if any(windows):
            traits.append("sliding window" if all(windows) else "sliding window in some layers")
        return ", ".join(traits)

    def to_dict(self) -> dict[str, Any]:
        """Every figure of the model; counts in parameters, sizes in bytes."""
        weights = self.architecture.weights()
        predictors = {"predictor_parameters": self.predictor_parameters} if self.architecture.predictors else {}
        state = {"state_bytes_per_sequence": self.state_bytes_per_sequence} if self.state_bytes_per_sequence else {}
        return {
            "name": self.name,
            "kind": self.kind,
            "parameters": self.parameters,
            "active_parameters": self.active_parameters,
            "weight_bytes": self.weight_bytes,
            "kv_bytes_per_token": self.kv_bytes_per_token(),
            **state,
            **predictors,
            "layers": self.layers,
            "hidden": self.architecture.hidden,
            "vocab": self.architecture.vocab,
            "max_context": self.architecture.max_context,
            "precision": self.architecture.precision,
            "quantised": list(self.architecture.quantised),
            "parameters_by_class": {kind: {"total": part.total, "active": part.active} for kind, part in weights.items()},
            "published_parameters": self.published_parameters.to_dict() if self.published_parameters else None,
            "published_active_parameters": self.published_active.to_dict() if self.published_active else None,
            "aliases": list(self.aliases),
            "source": self.source,
            "notes": list(self.notes),
        }


def _attention_words(attention: Attention | CompressedAttention) -> str:
    if not isinstance(attention, GroupedAttention):
        return "latent attention" if isinstance(attention, LatentAttention) else "compressed attention"
    if attention.kv_heads == attention.heads:
        return "multi-head attention"
    return "multi-query attention" if attention.kv_heads == 1 else "grouped-query attention"


def _locate(reference: str | Path) -> Path:
    path = Path(reference)
    if path.is_dir():
        return path / "config.json"
    if isinstance(reference, Path) or path.suffix == ".json":
        return path
    return find("models", reference)


def _from_json(path: Path) -> Model:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "", error.strerror or str(error), "Give a catalogue name, a config.json or a folder with one") from None
    except (ValueError, RecursionError) as error:
        raise InputError(path, "", f"not valid JSON: {error}", "Mend the syntax there") from None
    if not isinstance(document, dict):
        raise InputError(path, "", "must be a JSON object", "Give the config.json of a model")
    document = beside(document, _quantisation_of(path))
    shape = architecture(document, path)
    name = path.resolve().parent.name if path.stem == "config" else path.stem
    kind = kind_of(document, path)
    notes = _wrapping(document)
    return Model(name, shape, (), None, None, str(path), notes, kind.active_embedding, kind.active_head)


def _quantisation_of(path: Path) -> Any:
    """What stands in the file that some tools write beside a config.json; None when there is none, or none that can be read."""
    try:
        return json.loads((path.parent / "hf_quant_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _wrapping(document: Mapping[str, Any]) -> tuple[str, ...]:
    table = wrapper(document)
    return (f"The language model of {table} alone: what the larger model adds to it, as for images, is not counted.",) if table else ()


def _from_toml(path: Path) -> Model:
    document = read(path, "model")
    config = {name: None if value == _NULL else value for name, value in document["config"].items()}
    kind = kind_of(config, path)
    return Model(
        name=path.stem,
        architecture=architecture(config, path),
        aliases=tuple(document.get("aliases", ())),
        published_parameters=document["parameters"],
        published_active=document["active_parameters"],
        source=document["source"],
        notes=(*document.get("notes", ()), *_wrapping(config)),
        active_embedding=kind.active_embedding,
        active_head=kind.active_head,
    )
