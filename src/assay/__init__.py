"""Assay tells what a chip is worth to those who serve a language model: latency, throughput, cost and power, with the error shown."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay._base.errors import AssayError, CannotHold, InputError
    from assay.api import Prices, calibrate, compare, predict, simulate, validate
    from assay.chips import Chip
    from assay.deployments import Asked, Deployment
    from assay.engines import Engine
    from assay.models import Model
    from assay.search.comparison import Work
    from assay.slo import Slo
    from assay.workloads import Workload

__version__ = "0.1.0"

__all__ = [
    "Asked",
    "AssayError",
    "CannotHold",
    "Chip",
    "Deployment",
    "Engine",
    "InputError",
    "Model",
    "Prices",
    "Slo",
    "Work",
    "Workload",
    "calibrate",
    "compare",
    "predict",
    "simulate",
    "validate",
]

_HOMES = {
    "assay._base.errors": ("AssayError", "CannotHold", "InputError"),
    "assay.api": ("Prices", "calibrate", "compare", "predict", "simulate", "validate"),
    "assay.chips": ("Chip",),
    "assay.deployments": ("Asked", "Deployment"),
    "assay.engines": ("Engine",),
    "assay.models": ("Model",),
    "assay.search.comparison": ("Work",),
    "assay.slo": ("Slo",),
    "assay.workloads": ("Workload",),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: the command line's help must not wait for numerical libraries."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


class _Door(ModuleType):
    """Keeps public functions from being replaced by subpackages of the same name, which imports set as attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door
