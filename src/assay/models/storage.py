"""In what precision a checkpoint stores which tensor classes, as its config.json tells."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from assay._base.errors import InputError
from assay._base.precisions import precisions
from assay.models.kinds import kinds_document

_FIELD = "quantization_config"
_LAYER = re.compile(r"layers\.(\d+)")
_ALL = -1  # in place of a layer: the module of every layer


def stored(document: Mapping[str, Any], file: object) -> tuple[str, tuple[str, ...]]:
    """Precision of a checkpoint, and the tensor classes it quantises to it.

    A class of which the document leaves a module of every layer in 16 bit, or of at least half of the layers, counts as 16 bit; the
    layers of the others are few and count as quantised. Raises InputError on a format that is not known, and where that rule would
    leave nothing, or not the experts, quantised.
    """
    quantisation = document.get(_FIELD)
    if quantisation is None:
        name = _unquantised(document, file)
        return name, precisions()[name].quantises
    if not isinstance(quantisation, Mapping):
        raise InputError(file, _FIELD, "must be a table", "Give it as published, or leave it out")
    experts = {"expert_dtype": document.get("expert_dtype")}
    found = [_format({**experts, **entries}, file) for entries in _groups(quantisation, file)]
    names = {str(row["precision"]) for row in found}
    if len(names) != 1:
        problem = f"mixes {' and '.join(sorted(names))}" if found else "has no groups"
        raise InputError(file, f"{_FIELD}.config_groups", problem, "Give a checkpoint of one format")
    name = names.pop()
    classes = tuple(found[0].get("quantises", precisions()[name].quantises))
    depth = document.get("num_hidden_layers")
    return name, _quantised(classes, quantisation, depth if isinstance(depth, int) else 0, file)


def beside(document: Mapping[str, Any], quantisation: Any) -> Mapping[str, Any]:
    """The document with what the file of quantisation beside it says (`hf_quant_config.json`), unless it says so itself."""
    table = quantisation.get("quantization") if isinstance(quantisation, Mapping) else None
    if document.get(_FIELD) is not None or not isinstance(table, Mapping) or table.get("quant_algo") is None:
        return document
    return {**document, _FIELD: dict(table)}


def _unquantised(document: Mapping[str, Any], file: object) -> str:
    dtypes: dict[str, str] = kinds_document()["storage"]["dtypes"]
    field = "torch_dtype" if document.get("torch_dtype") is not None else "dtype"
    dtype = document.get(field)
    if dtype is None:
        return "bf16"
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise InputError(file, field, f"{dtype!r} is not known", f"Use one of {', '.join(dtypes)}")
    return dtypes[dtype]


def _groups(quantisation: Mapping[str, Any], file: object) -> list[dict[str, Any]]:
    """What is said of each group of tensors, with its `weights` laid over the rest."""
    whole = quantisation.get("global_quant_config")
    groups = {"all": whole} if whole is not None else quantisation.get("config_groups")
    if groups is None:
        return [dict(quantisation)]
    tables = groups.values() if isinstance(groups, Mapping) else [None]
    weights = [table.get("weights", table.get("weight")) if isinstance(table, Mapping) else None for table in tables]
    if not all(isinstance(entries, Mapping) for entries in weights):
        raise InputError(file, f"{_FIELD}.config_groups", "must be tables, each with weights", "Give it as published")
    return [{**quantisation, **entries} for entries in weights if entries]


def _format(entries: Mapping[str, Any], file: object) -> Mapping[str, Any]:
    for row in kinds_document()["storage"]["format"]:
        if all(entries.get(key) == value for key, value in row["when"].items()):
            return dict(row)
    keys = ("quant_method", "quant_algo", "bits", "type", "num_bits", "group_size", "dtype")
    told = ", ".join(f"{key} {entries[key]!r}" for key in keys if key in entries)
    known = "; ".join(" ".join(str(value) for value in row["when"].values()) for row in kinds_document()["storage"]["format"])
    raise InputError(file, _FIELD, f"format is not known: {told or 'nothing is said of it'}", f"Known: {known}")


def _quantised(classes: tuple[str, ...], quantisation: Mapping[str, Any], depth: int, file: object) -> tuple[str, ...]:
    """The classes without those of modules left in 16 bit."""
    left: dict[str, set[int]] = {}
    for key in kinds_document()["storage"]["unconverted"]:
        modules = quantisation.get(key) or []
        if not isinstance(modules, list):
            raise InputError(file, f"{_FIELD}.{key}", "must be a list of module names", "Give it as published")
        for module in modules:
            for kind, layer in _modules(module, classes, depth, f"{_FIELD}.{key}", file):
                left.setdefault(kind, set()).add(layer)
        kept = tuple(kind for kind in classes if not _mostly(left.get(kind, set()), depth))
        if not kept or ("experts" in classes and "experts" not in kept):
            problem = "leaves only a part of the weights in 16 bit, which cannot be told from the rest"
            raise InputError(file, f"{_FIELD}.{key}", problem, "Give a checkpoint that quantises attention and feed-forward layers alike")
        classes = kept
    return classes


def _mostly(layers: set[int], depth: int) -> bool:
    return _ALL in layers or (len(layers) > 0 and 2 * len(layers) >= depth)


def _modules(module: object, classes: tuple[str, ...], depth: int, field: str, file: object) -> Iterator[tuple[str, int]]:
    """Tensor class and layer of a module; a name of a layer alone is all of it, and layers beyond the last are for speculation."""
    found = _LAYER.search(str(module))
    layer = int(found.group(1)) if found else _ALL
    if found and depth and layer >= depth:
        return
    if found and depth and not str(module)[found.end() :].strip(".*"):
        yield from ((kind, layer) for kind in classes)
    else:
        yield _class(module, field, file), layer


def _class(module: object, field: str, file: object) -> str:
    for row in kinds_document()["storage"]["module"]:
        if row["word"] in str(module):
            return str(row["class"])
    raise InputError(file, field, f"{module!r} is not known", "Take it out if it is a small part of the weights")
