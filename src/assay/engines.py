"""Engines: serving software with its features, its scheduling defaults and the chip families it runs on.

An engine is a TOML file (data/schema/engine.toml). Nothing here knows which engines there are. A file may describe a period that is
over: runs of that time are simulated with its defaults, and it is not offered to those who name no engine.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from assay._base import catalogue, schema
from assay._base.errors import InputError
from assay._base.facts import Fact

ANY_FAMILY = "*"
DATES = {4: "-01-01", 7: "-01", 10: ""}  # what a year, a month and a day, by the length of their text, lack of a day
NOT_RESERVED = Fact(0.0, source="the engine's file does not say that it reserves room for outputs")
NOTHING_BESIDE = Fact(0.0, source="the engine's file does not say what it keeps beside weights, activations and cache", date="2026-11")
IN_TURN = Fact("round robin", source="the engine's file does not say how it deals requests out over attention ranks", date="2026-11")


@dataclass(frozen=True)
class Defaults:
    """What the engine does when nothing is asked; units as in data/schema/engine.toml."""

    token_budget: Fact[int]
    max_num_seqs: Fact[int]
    block_size: Fact[int]
    kv_memory_fraction: Fact[float]
    kv_memory_fraction_of: Fact[str]
    prefill: Fact[str]
    prefix_cache: Fact[bool]
    kv: Fact[str]
    recv_interval: Fact[int]
    reserve: Fact[float] = NOT_RESERVED
    routing: Fact[str] = IN_TURN
    overhead: Fact[float] = NOTHING_BESIDE

    def to_dict(self) -> dict[str, Any]:
        """Each default with its evidence."""
        return {field.name: getattr(self, field.name).to_dict() for field in fields(self)}


@dataclass(frozen=True)
class Override:
    """Defaults that differ on some chip families: `changes` are fields of Defaults."""

    families: tuple[str, ...]
    changes: Mapping[str, Fact[Any]]

    def to_dict(self) -> dict[str, Any]:
        """The families, and each changed default with its evidence."""
        return {"families": list(self.families), **_evidence(self.changes)}


@dataclass(frozen=True)
class ByHead:
    """Where decode attention takes each query head by itself, and reads the cache of its KV head once for each.

    On chips of these families, with more than `above` pairs of a sequence and a query head on a chip; `windowed`: only where attention
    slides over a window.
    """

    families: tuple[str, ...]
    above: Fact[int]
    windowed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"families": list(self.families), "above": self.above.to_dict(), "windowed": self.windowed}


@dataclass(frozen=True)
class Release:
    """A day from which on it is much faster or slower on chips of these families."""

    families: tuple[str, ...]
    since: Fact[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"families": list(self.families), "since": self.since.to_dict()}


@dataclass(frozen=True)
class Engine:
    """Serving software of one version.

    `defaults` hold where no override names the chip's family (see `defaults_on`). `host_step` and `host_sequence` are seconds
    that the chip waits for the host per step, and per sequence and step; None means that the generic constant holds. `until` is the
    last day (YYYY-MM-DD) or month (YYYY-MM) of the period that the file describes, None for today's; `of` names the engine whose earlier
    period that is; `versions` are texts of a version and its day. `since` is the first day of the quarter of a year as of which it was
    loaded, or of its last release before that date, whichever is later; the year where no month is known, "" today.
    """

    name: str
    title: str
    version: str
    aliases: tuple[str, ...]
    runs_on: tuple[str, ...]
    features: Mapping[str, Fact[bool]]
    precisions: Fact[list[str]]
    defaults: Defaults
    overrides: tuple[Override, ...]
    heads: tuple[ByHead, ...]
    releases: tuple[Release, ...]
    host_step: Fact[float] | None
    host_sequence: Fact[float] | None
    of: str | None
    until: str | None
    notes: tuple[str, ...]
    file: Path
    versions: Fact[list[str]] | None = None
    since: str = ""

    @classmethod
    def load(cls, reference: str) -> "Engine":
        """Read a catalogue name, an alias or a .toml file; NAME@DATE is the engine as it was then, NAME@VERSION that version (see `at`).

        Raises InputError that names file, field and remedy when the engine is not known or its file is wrong.
        """
        name, mark, date = reference.rpartition("@")
        if mark and not date.endswith(".toml"):
            return at(name, date)
        return _read(catalogue.find("engines", reference))

    @property
    def current(self) -> str:
        """Name of the engine as it is today: its own, unless this is an earlier period of another."""
        return self.of or self.name

    @property
    def weights(self) -> tuple[str, ...]:
        """Weight precisions it serves."""
        return tuple(self.precisions.value)

    def period(self, family: str) -> str:
        """The quarter of a year as of which it was loaded, such as 2026Q2, on chips of a family; "" today or where no month is known.

        Each release in that quarter begins another period: 2026Q2.1 is that after the first.
        """
        if len(self.since) <= len("2026"):
            return ""
        first = _quarter(self.since)
        passed = sum(first <= row.since.value <= self.since for row in self.releases if family in row.families)
        quarter = f"{first[:4]}Q{(int(first[5:7]) + 2) // 3}"
        return f"{quarter}.{passed}" if passed else quarter

    def released(self, version: str) -> str | None:
        """The day (YYYY-MM-DD) on which a version was published, None where it is not listed; a build of it (0.4.3+rocm614) is it."""
        days = dict(map(str.split, self.versions.value)) if self.versions else {}
        return days.get(version.removeprefix("v").partition("+")[0])

    def runs(self, family: str) -> bool:
        """Whether it runs on chips of this family."""
        return family in self.runs_on or ANY_FAMILY in self.runs_on

    def has(self, feature: str) -> bool:
        """Whether its file says that it has the feature."""
        return feature in self.features and self.features[feature].value

    def defaults_on(self, family: str) -> Defaults:
        """Its defaults on chips of this family; a later override wins."""
        changes = {key: fact for row in self.overrides if family in row.families for key, fact in row.changes.items()}
        return replace(self.defaults, **changes)

    def by_head(self, family: str, pairs: float, window: int) -> bool:
        """Whether decode attention reads the cache once for each query head, with so many pairs of a sequence and a query head."""
        return any(family in row.families and pairs > row.above.value and (window > 0 or not row.windowed) for row in self.heads)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; facts keep their evidence and what is not known is left out."""
        host = {"step": self.host_step, "sequence": self.host_sequence}
        whole = {
            "name": self.name,
            "title": self.title,
            "version": self.version,
            "aliases": list(self.aliases),
            "of": self.of,
            "until": self.until,
            "runs_on": list(self.runs_on),
            "features": _evidence(self.features),
            "weights": self.precisions.to_dict(),
            "defaults": self.defaults.to_dict(),
            "override": [row.to_dict() for row in self.overrides],
            "release": [row.to_dict() for row in self.releases],
            "by_head": [row.to_dict() for row in self.heads],
            "versions": self.versions.to_dict() if self.versions else None,
            "host": _evidence({key: fact for key, fact in host.items() if fact is not None}),
            "notes": list(self.notes),
        }
        return {key: value for key, value in whole.items() if value}


def _read(path: Path) -> Engine:
    """The engine of a file, which is read again when it has changed."""
    return _parsed(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=64)
def _parsed(path: Path, _: int) -> Engine:
    document = schema.read(path, "engine")
    if "defaults" not in document:
        raise InputError(path, "defaults", "is missing", "Add [defaults] with token_budget, max_num_seqs and the rest")
    _check_period(document, path)
    host = document.get("host", {})
    return Engine(
        name=path.stem,
        title=document.get("title", path.stem),
        version=document["version"],
        aliases=tuple(document.get("aliases", ())),
        runs_on=tuple(document["runs_on"]),
        features=document.get("features", {}),
        precisions=document["weights"],
        defaults=Defaults(**document["defaults"]),
        overrides=tuple(_override(row) for row in document.get("override", ())),
        heads=tuple(ByHead(tuple(row.pop("families")), **row) for row in map(dict, document.get("by_head", ()))),
        releases=tuple(Release(tuple(row["families"]), row["since"]) for row in document.get("release", ())),
        host_step=host.get("step"),
        host_sequence=host.get("sequence"),
        of=document.get("of"),
        until=document.get("until"),
        notes=tuple(document.get("notes", ())),
        file=path,
        versions=document.get("versions"),
    )


@cache
def for_family(family: str) -> tuple[Engine, ...]:
    """The catalogue's engines of today that name the chip family, sorted by name; those that run on any family when none names it."""
    engines = [engine for engine in _catalogue() if engine.until is None]
    naming = tuple(engine for engine in engines if family in engine.runs_on)
    return naming or tuple(engine for engine in engines if engine.runs(family))


def at(name: str, date: str | None) -> Engine:
    """The engine as it was on a date that is as exact as known (YYYY, YYYY-MM or YYYY-MM-DD): its earliest period that had not ended.

    A version that its file lists is the day on which it was published. None is today; of a year or a month the first day counts. A period
    that is named itself, or a file of the user, is what it is. It knows since when it is the same. Raises InputError when the engine is not
    known or the date is none.
    """
    engine = Engine.load(name)
    if date is None:
        return engine
    date = engine.released(date) or date
    if not _is_date(date, DATES):
        raise InputError("date", "", f"is {date!r}, which is no date", "Give YYYY, YYYY-MM or YYYY-MM-DD, or a version that its file lists")
    found = next((period for period in _periods(engine.file) if period.until and date[: len(period.until)] <= period.until), engine)
    if len(date) == len("2026"):
        return replace(found, since=date)
    day = date + DATES[len(date)]
    return replace(found, since=max(_quarter(day), *(row.since.value for row in found.releases if row.since.value <= day), ""))


@cache
def _periods(file: Path) -> tuple[Engine, ...]:
    """The earlier periods of an engine of the catalogue, the earliest first. A month ends after all of its days."""
    periods = [engine for engine in _catalogue() if engine.of and catalogue.names("engines")[engine.of] == file]
    return tuple(sorted(periods, key=lambda period: f"{period.until}-99"[:10]))


@cache
def _catalogue() -> tuple[Engine, ...]:
    return tuple(Engine.load(name) for name in catalogue.names("engines"))


def _check_period(document: Mapping[str, Any], path: Path) -> None:
    until, of = document.get("until"), document.get("of")
    if until is not None and not _is_date(until, (7, 10)):
        raise InputError(path, "until", f"is {until!r}, which is no date", "Give YYYY-MM or YYYY-MM-DD")
    for row in document.get("release", ()):
        if not _is_date(row["since"].value, (10,)):
            raise InputError(path, "release[].since", f"is {row['since'].value!r}, which is no day", "Give YYYY-MM-DD")
    for text in document["versions"].value if "versions" in document else ():
        version, _, day = text.partition(" ")
        if not (version and _is_date(day, (10,))):
            raise InputError(path, "versions", f"has {text!r}", 'Give a version and its day, as "0.15.1 2026-02-05"')
    others = [name for name, file in catalogue.names("engines").items() if file != path]
    if of is not None and of not in others:
        raise InputError(path, "of", f"{of!r} is no other engine of the catalogue", f"Use one of {', '.join(others)}, or leave it out")
    if of is not None and until is None:
        raise InputError(path, "until", f"is missing beside of = {of!r}", "Add the last day of that period, as 2024-12-31")


def _quarter(day: str) -> str:
    """Its first day."""
    return f"{day[:4]}-{(int(day[5:7]) - 1) // 3 * 3 + 1:02}-01"


def _is_date(text: str, lengths: Collection[int]) -> bool:
    day = text + DATES[len(text)] if len(text) in lengths else ""
    try:
        return dt.date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


def _override(row: Mapping[str, Any]) -> Override:
    return Override(tuple(row["families"]), {key: value for key, value in row.items() if key != "families"})


def _evidence(facts: Mapping[str, Fact[Any]]) -> dict[str, Any]:
    return {key: fact.to_dict() for key, fact in facts.items()}
