"""A chip: what computes. Every number is a fact with its source; what is not known is None."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay._base.facts import Fact
from assay._base.precisions import precisions
from assay._base.schema import DATA, read

_MAIN_RATES = ("bf16", "fp16", "fp8", "int8")
_NUMBERS = ("peak", "memory", "link", "power", "area")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One memory tier: `bytes` (B), `bandwidth` (B/s, read), `latency` (s), `usable` (fraction), `energy_per_byte` (J/B)."""

    name: str
    bytes: Fact[float]
    bandwidth: Fact[float]
    latency: Fact[float] | None = None
    usable: Fact[float] | None = None
    holds: tuple[str, ...]
    energy_per_byte: Fact[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Link:
    """One scope that a chip reaches: `bandwidth` and `per_peer` (B/s, one direction), `latency` (s), `size` (chips)."""

    name: str
    bandwidth: Fact[float]
    per_peer: Fact[float] | None = None
    latency: Fact[float] | None = None
    size: Fact[int]
    topology: str


@dataclass(frozen=True, kw_only=True)
class Power:
    """Watts of one chip: thermal design, on but idle, and provisioned with its share of host, network and cooling."""

    tdp: Fact[float] | None = None
    idle: Fact[float] | None = None
    all_in: Fact[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A chip as its file describes it; `peak` maps a precision to dense FLOP/s, `area` is in mm2.

    Memory tiers stand fastest first, links nearest first. `unpublished` says of a chip without numbers why it has none, else it is empty.
    """

    name: str
    title: str
    vendor: str
    family: str
    node: Fact[str] | None
    status: str
    aliases: tuple[str, ...]
    unit: str
    execution: str
    peak: Mapping[str, Fact[float]] = field(hash=False)
    memory: tuple[Memory, ...]
    links: tuple[Link, ...]
    power: Power
    area: Fact[float] | None
    unpublished: str
    notes: tuple[str, ...]
    file: Path
    calibration: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    @classmethod
    def load(cls, reference: str | Path) -> "Chip":
        """Read a chip by catalogue name, alias or `.toml` file.

        Raises InputError naming file, field and remedy when there is none, or when its numbers contradict each other.
        """
        file = find("chips", str(reference))
        document = read(file, "chip")
        _check(document, file)
        copied = ("vendor", "family", "node", "status", "unit", "execution", "area")
        plain: dict[str, Any] = {key: document.get(key) for key in copied}
        plain |= {key: tuple(document.get(key, ())) for key in ("aliases", "notes")}
        return cls(
            name=file.stem,
            title=document.get("title", file.stem),
            unpublished=document.get("unpublished", ""),
            memory=tuple(Memory(**{**row, "holds": tuple(row["holds"])}) for row in document.get("memory", ())),
            links=tuple(Link(**row) for row in document.get("link", ())),
            peak=document.get("peak", {}),
            power=Power(**document.get("power", {})),
            calibration=tuple(document.get("calibration", ())),
            file=file,
            **plain,
        )

    @property
    def resident(self) -> bool:
        """Whether weights stay in place and tokens flow through a pipeline of chips."""
        return self.execution == "resident-pipeline"

    @property
    def missing(self) -> tuple[str, ...]:
        """Specifications that a prediction would use and the file does not give, by their place in the file."""
        absent = [key for key in ("peak", "memory") if not getattr(self, key)]
        absent += [f"power.{key}" for key, value in vars(self.power).items() if value is None]
        absent += [f"memory[{i}].energy_per_byte" for i, tier in enumerate(self.memory) if tier.energy_per_byte is None]
        absent += [f"link[{i}].latency" for i, link in enumerate(self.links) if link.latency is None]
        return (*absent, *(() if self.links else ("link",)))

    def check_published(self) -> None:
        """Raise InputError naming file, field and remedy when there is nothing to compute with."""
        if self.unpublished:
            problem = f"nothing can be computed on {self.name}, its maker has published no numbers ({self.unpublished})"
            raise InputError(
                self.file, "unpublished", problem, "Copy the file, replace unpublished by peak, memory and link, and name the copy"
            )

    def to_dict(self) -> dict[str, Any]:
        """The chip with the fields of its file; facts are objects with their evidence, what is absent is left out."""
        converted: dict[str, Any] = _plain(self)
        for key in ("unpublished", "calibration"):
            if not getattr(self, key):
                del converted[key]
        return {"link" if key == "links" else key: value for key, value in converted.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Fact):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Memory | Link | Power | Chip):
        return {key: _plain(item) for key, item in vars(value).items() if item is not None}
    return str(value) if isinstance(value, Path) else value


def _check(document: Mapping[str, Any], file: Path) -> None:
    if document.get("unpublished"):
        if given := [key for key in _NUMBERS if document.get(key)]:
            raise InputError(file, "unpublished", f"stands beside {', '.join(given)}", "Leave out unpublished, or the numbers")
        return
    if document["execution"] == "unknown":
        remedy = "Give kernel-by-kernel or resident-pipeline, or say in unpublished that there are no numbers"
        raise InputError(file, "execution", "is unknown, and the file gives numbers to compute with", remedy)
    _check_peak(document.get("peak", {}), file)
    _check_memory(document.get("memory", []), file)
    _check_links(document.get("link", []), file)
    _check_calibration(document.get("calibration", []), document["execution"], file)


def _check_peak(peak: Mapping[str, Any], file: Path) -> None:
    known = sorted({precision.rate for precision in precisions().values()})
    for key in peak:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(known)}"
            raise InputError(file, f"peak.{key}", "is not a known precision", remedy)
    if not any(key in peak for key in _MAIN_RATES):
        raise InputError(file, "peak", f"has none of {', '.join(_MAIN_RATES)}", "Give the dense FLOP/s of at least one of them")


def _check_memory(tiers: Sequence[Mapping[str, Any]], file: Path) -> None:
    _check_names("memory", tiers, file)
    for i, (faster, slower) in enumerate(pairwise(tiers), 1):
        if slower["bandwidth"].value > faster["bandwidth"].value:
            problem = f"is {slower['bandwidth'].value:g}, faster than the tier before it ({faster['bandwidth'].value:g})"
            raise InputError(file, f"memory[{i}].bandwidth", problem, "List the tiers fastest first")
    for content in ("weights", "kv"):
        if not any(content in tier["holds"] for tier in tiers):
            raise InputError(file, "memory", f"no tier holds {content}", f'Add "{content}" to the holds of a [[memory]] tier')


def _check_links(links: Sequence[Mapping[str, Any]], file: Path) -> None:
    _check_names("link", links, file)
    for i, link in enumerate(links):
        if "per_peer" in link and link["per_peer"].value > link["bandwidth"].value:
            problem = f"is {link['per_peer'].value:g}, above the {link['bandwidth'].value:g} of all peers together"
            raise InputError(file, f"link[{i}].per_peer", problem, "Give the share of one peer, one direction")
    for i, (near, far) in enumerate(pairwise(links), 1):
        if far["size"].value <= near["size"].value:
            problem = f"is {far['size'].value}, no larger than the scope before it ({near['size'].value})"
            raise InputError(file, f"link[{i}].size", problem, "List the links nearest first; each scope joins more chips than the last")


def _check_calibration(rows: Sequence[Mapping[str, Any]], execution: str, file: Path) -> None:
    _check_names("calibration", rows, file, "engine")
    known = read(DATA / "calibration" / "generic.toml", "calibration")[execution] if rows else {}
    for i, row in enumerate(rows):
        for table, factors in row.get("factor", {}).items():
            for key in factors:
                if key not in known.get(table, {}):
                    near = known.get(table, known)
                    raise InputError(file, f"calibration[{i}].factor.{table}.{key}", "is no constant", f"Use one of {', '.join(near)}")


def _check_names(kind: str, rows: Sequence[Mapping[str, Any]], file: Path, key: str = "name") -> None:
    names = [row[key] for row in rows]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(file, f"{kind}[{i}].{key}", f"{name!r} stands twice", f"Give each its own {key}")
