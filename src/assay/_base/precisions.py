"""Number formats: stored bits with scales, and the chip rate their arithmetic uses (data/calibration/precisions.toml)."""

from dataclasses import dataclass
from functools import cache

from assay._base.errors import InputError
from assay._base.schema import DATA, read_toml


@dataclass(frozen=True)
class Precision:
    """`bits` per stored element with its share of scales; `rate` is the key of a chip's peak; `quantises` the tensor classes."""

    name: str
    bits: float
    rate: str
    quantises: tuple[str, ...]
    activations: str
    source: str

    @property
    def width(self) -> int:
        """Bits of the bare value, without scales."""
        return int(self.rate[-2:]) if self.rate[-2:] == "16" else int(self.rate[-1])


@cache
def precisions() -> dict[str, Precision]:
    """All known number formats by name."""
    table = read_toml(DATA / "calibration" / "precisions.toml")
    return {name: Precision(name, **{**row, "quantises": tuple(row["quantises"])}) for name, row in table.items()}


def precision(name: str, asked_by: str) -> Precision:
    """The number format `name`; InputError naming the flag or field `asked_by` when it is unknown."""
    known = precisions()
    if name not in known:
        raise InputError(asked_by, "", f"{name!r} is not a known precision", f"Use one of {', '.join(known)}")
    return known[name]
