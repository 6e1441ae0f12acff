"""The parts that serve one model together, and what joins them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from assay._base import schema
from assay._base.errors import InputError
from assay.chips import Chip
from assay.deployments.asked import Asked, check_asked
from assay.deployments.speculation import Speculation

Asking = tuple[Chip, Asked]

PREFIX_AFFINITY = "prefix affinity"


@dataclass(frozen=True)
class Router:
    """How requests and caches find their way between replicas, as the top level of a deployment file says; None is not said.

    `link_bandwidth` (B/s) and `link_latency` (s) are those of whole caches of prompts on their way into one decode rank. Each of
    `outages` is a time in seconds, a replica counted over the parts in order, and whether it starts then or fails.
    """

    routing: str | None = None
    load_bound: float | None = None
    link_bandwidth: float | None = None
    link_latency: float | None = None
    outages: tuple[tuple[float, int, bool], ...] = ()


@dataclass(frozen=True)
class Deployment:
    """The parts that serve one model together: a chip and what is asked of it, each; and the router before them.

    Parts of role all are one fleet of like or unlike replicas; else some compute prompts (prefill) and the others what comes after.
    Raises InputError naming `file`, where it was said, and the field when the parts do not go together.
    """

    parts: tuple[Asking, ...]
    router: Router = Router()
    file: object = field(default="deployment", compare=False)

    def __post_init__(self) -> None:
        """Check that the parts go together."""
        if not self.parts:
            raise InputError(self.file, "part", "is empty", "Give at least one [[part]]")
        asked = [said for _, said in self.parts]
        _check_roles(asked, self.file)
        _check_speculation(asked, self.file)
        _check_router(self.router, asked, self.file)

    @classmethod
    def of(cls, chip: Chip, **asked: Any) -> "Deployment":
        """One part on `chip`; keywords are the fields of Asked, as tp=8, engine="...", kv="fp8"."""
        return cls(((chip, Asked(**asked)),))

    @classmethod
    def disaggregated(cls, chip: Chip, prefill: int, decode: int, **asked: Any) -> "Deployment":
        """`prefill` replicas that compute prompts and `decode` that go on from there, alike but for that; keywords as in `of`."""
        both = Asked(**asked)
        if both.replicas is not None:
            raise InputError("--disaggregate", "", "given together with --replicas", "It gives the replicas of each role: leave those out")
        alone = replace(both, prefix_cache=None, host_memory=None, host_bandwidth=None)  # of use to those that compute prompts
        return cls(
            (
                (chip, replace(both, role="prefill", replicas=prefill)),
                (chip, replace(alone, role="decode", replicas=decode)),
            )
        )

    @classmethod
    def read(cls, path: Path, chip: str | None = None) -> "Deployment":
        """A deployment file; `chip` is the one of a part that names none. Raises InputError naming file and field."""
        document = schema.read(path, "deployment")
        parts = tuple(_read_part(dict(row), path, f"part[{i}]", chip) for i, row in enumerate(document.pop("part")))
        outages = tuple((float(row["time"]), row["replica"], row["up"]) for row in document.pop("outage", ()))
        return cls(parts, Router(**document, outages=outages), path)

    @property
    def one(self) -> Asking:
        """Its only part; InputError when there are several."""
        if len(self.parts) > 1:
            raise InputError(self.file, "part", f"{len(self.parts)} parts", "Give one [[part]]: a step is of one replica")
        return self.parts[0]


def _read_part(row: dict[str, Any], path: Path, place: str, chip: str | None) -> Asking:
    named = row.pop("chip", None)
    if named and named.endswith(".toml"):
        named = str(path.parent / named)
    if not (named or chip):
        raise InputError(path, f"{place}.chip", "is missing", "Add it, or give --chip")
    asked = Asked(**row)
    try:
        check_asked(asked)
    except InputError as error:
        flags = {f"--{each.name.replace('_', '-')}": each.name for each in fields(Asked)}
        if error.file not in flags:
            raise
        raise InputError(path, f"{place}.{flags[error.file]}", error.problem, error.remedy) from None
    return Chip.load(named or chip or ""), asked


def _check_roles(asked: Sequence[Asked], file: object) -> None:
    roles = [said.role or "all" for said in asked]
    if "all" in roles and len(set(roles)) > 1:
        remedy = "Give all parts the role all, or each of them prefill or decode"
        raise InputError(file, f"part[{roles.index('all')}].role", "is all beside prefill or decode", remedy)
    for here, other in (("prefill", "decode"), ("decode", "prefill")):
        if here in roles and other not in roles:
            place, remedy = f"part[{roles.index(here)}].role", f"Add a [[part]] of role {other}"
            raise InputError(file, place, f"is {here}, and no part is {other}", remedy)


def _check_speculation(asked: Sequence[Asked], file: object) -> None:
    """The router knows not which part will decode a request: its steps are drawn once, for all of them."""
    drafting = {place: _drafts(said) for place, said in enumerate(asked)}
    first = next(place for place, said in enumerate(asked) if said.decodes)
    for place, said in enumerate(asked):
        if drafting[place] != drafting[first] and (said.decodes or drafting[place]):
            problem = f"is {said.speculate or 'missing'} where part[{first}] has {asked[first].speculate or 'none'}"
            raise InputError(file, f"part[{place}].speculate", problem, "Give all parts the same tokens and acceptance, or none")


def _drafts(asked: Asked) -> tuple[int, float] | None:
    if asked.speculate is None:
        return None
    found = Speculation.parse(asked.speculate)
    return found.tokens, found.acceptance


def _check_router(router: Router, asked: Sequence[Asked], file: object) -> None:
    if router.load_bound is not None and router.routing != PREFIX_AFFINITY:
        problem = f"given with routing {router.routing}" if router.routing else "given without routing"
        raise InputError(file, "load_bound", problem, f"Leave it out, or give routing = {PREFIX_AFFINITY!r}")
    for name in ("link_bandwidth", "link_latency"):
        if getattr(router, name) is not None and all(said.role in (None, "all") for said in asked):
            raise InputError(file, name, "given, and no cache goes over a link", "Leave it out, or give parts of role prefill and decode")
    replicas = sum(said.replicas or 1 for said in asked)
    for place, (_, replica, _) in enumerate(router.outages):
        if replica >= replicas:
            raise InputError(file, f"outage[{place}].replica", f"is {replica} of {replicas} replicas", f"Count from 0 to {replicas - 1}")
