"""In what precision a checkpoint stores which tensor classes, as its config.json tells."""

from collections.abc import Mapping
from typing import Any

from assay._base.errors import InputError
from assay._base.precisions import precisions
from assay.models.kinds import kinds_document

_FIELD = "quantization_config"


def stored(document: Mapping[str, Any], file: object) -> tuple[str, tuple[str, ...]]:
    """Precision of a checkpoint, and the tensor classes it quantises to it.

    A class of which the document leaves any module in 16 bit counts as 16 bit. Raises InputError on a format that is not known, and
    where that rule would leave nothing, or not the experts, quantised.
    """
    quantisation = document.get(_FIELD)
    if quantisation is None:
        name = _unquantised(document, file)
        return name, precisions()[name].quantises
    if not isinstance(quantisation, Mapping):
        raise InputError(file, _FIELD, "must be a table", "Give it as published, or leave it out")
    experts = {"expert_dtype": document.get("expert_dtype")}
    found = {_precision({**experts, **entries}, file) for entries in _groups(quantisation, file)}
    if len(found) != 1:
        problem = f"mixes {' and '.join(sorted(found))}" if found else "has no groups"
        raise InputError(file, f"{_FIELD}.config_groups", problem, "Give a checkpoint of one format")
    name = found.pop()
    return name, _quantised(precisions()[name].quantises, quantisation, file)


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
    groups = quantisation.get("config_groups")
    if groups is None:
        return [dict(quantisation)]
    tables = groups.values() if isinstance(groups, Mapping) else [None]
    weights = [table.get("weights") if isinstance(table, Mapping) else None for table in tables]
    if not all(isinstance(entries, Mapping) for entries in weights):
        raise InputError(file, f"{_FIELD}.config_groups", "must be tables, each with weights", "Give it as published")
    return [{**quantisation, **entries} for entries in weights if entries]


def _precision(entries: Mapping[str, Any], file: object) -> str:
    for row in kinds_document()["storage"]["format"]:
        if all(entries.get(key) == value for key, value in row["when"].items()):
            return str(row["precision"])
    keys = ("quant_method", "quant_algo", "bits", "type", "num_bits", "group_size")
    told = ", ".join(f"{key} {entries[key]!r}" for key in keys if key in entries)
    known = "; ".join(" ".join(str(value) for value in row["when"].values()) for row in kinds_document()["storage"]["format"])
    raise InputError(file, _FIELD, f"format is not known: {told or 'nothing is said of it'}", f"Known: {known}")


def _quantised(classes: tuple[str, ...], quantisation: Mapping[str, Any], file: object) -> tuple[str, ...]:
    """The classes without those of modules left in 16 bit."""
    left = set(classes)
    for key in kinds_document()["storage"]["unconverted"]:
        modules = quantisation.get(key) or []
        if not isinstance(modules, list):
            raise InputError(file, f"{_FIELD}.{key}", "must be a list of module names", "Give it as published")
        left -= {_class(module, f"{_FIELD}.{key}", file) for module in modules}
        if not left or ("experts" in classes and "experts" not in left):
            problem = "leaves only a part of the weights in 16 bit, which cannot be told from the rest"
            raise InputError(file, f"{_FIELD}.{key}", problem, "Give a checkpoint that quantises attention and feed-forward layers alike")
    return tuple(kind for kind in classes if kind in left)


def _class(module: object, field: str, file: object) -> str:
    for row in kinds_document()["storage"]["module"]:
        if row["word"] in str(module):
            return str(row["class"])
    raise InputError(file, field, f"{module!r} is not known", "Take it out if it is a small part of the weights")
