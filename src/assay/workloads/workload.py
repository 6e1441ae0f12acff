"""The workload: requests under a load."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay.workloads.arrivals import ARRIVALS, INPUTS, OUTPUTS, Process, stream, stretch
from assay.workloads.columns import LATEST, LONGEST, Columns
from assay.workloads.descriptions import read_description
from assay.workloads.distance import statistics
from assay.workloads.lengths import SHARED_BLOCK, shared_ids, uniform
from assay.workloads.readers import EXTENSIONS, Progress, read

MOST = 100_000_000
"""Requests or users that are not refused: more would take more memory than machines have."""


class Load(TypedDict, total=False):
    """How drawn requests come: `rate` requests/s (Poisson) or `concurrency` users (closed loop); neither: all at once. `seed` draws.

    `ramp`: seconds over which the users of a closed loop start.
    """

    rate: float | None
    concurrency: int | None
    ramp: float | None
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Workload(Columns):
    """Requests (see Columns) and how they come.

    `concurrency` 0: an open loop, each request comes at its `arrival`. Above 0: a closed loop of that many users, each of whom sends
    the next request, or session, when the last has ended; `arrival` is then ignored. User u of N starts at u x `ramp` / N seconds.
    `source` says where the requests are from, `seed` drew what of them was drawn, and draws what the simulator does.
    """

    name: str
    source: str = ""
    concurrency: int = 0
    ramp: float = 0.0
    seed: int = 0

    @classmethod
    def load(
        cls,
        reference: str | Path,
        *,
        requests: int | None = None,
        progress: Progress | None = None,
        **load: Unpack[Load],
    ) -> Self:
        """Read a trace, or draw from a description: a catalogue name or a file.

        `requests`: the first rows of a trace (all when left out), or how many to draw. `progress` is told how much of a trace is read,
        of how much. `load`: see Load; a `rate` rescales arrivals, but a profile is drawn at that mean instead, its period as it is, and
        where no arrivals are known they are drawn as Poisson. `seed` draws. Raises InputError on anything wrong.
        """
        path = _path(str(reference))
        if requests is not None:
            _at_least_one("requests", requests)
        rate, concurrency, seed = load.get("rate"), load.get("concurrency"), load.get("seed", 0)
        if path.suffix == ".toml":
            description = read_description(path)
            if rate is not None and concurrency is None and description.arrival.kind == "profile":
                description, rate = description.at_rate(rate), None
            columns, source = description.draw(requests, seed), description.source
        else:
            columns, source = read(path, progress), str(path)
        workload = cls(name=path.stem, source=source, seed=seed, **{each.name: getattr(columns, each.name) for each in fields(columns)})
        workload = workload.first(requests or workload.requests)
        if rate is not None and concurrency is None and workload.at_once:
            return workload.poisson(rate).under(None, None, load.get("ramp"))
        return workload.under(rate, concurrency, load.get("ramp"))

    @classmethod
    def draw(
        cls,
        isl: int,
        osl: int,
        *,
        requests: int,
        spread: tuple[float, float] = (1.0, 1.0),
        shared_prefix: int = 0,
        **load: Unpack[Load],
    ) -> Self:
        """Requests of about `isl` prompt and `osl` output tokens.

        Lengths are drawn apart from each other, uniform from floor(low x nominal) to floor(high x nominal), both included, where `spread`
        is (low, high). `isl` is the whole prompt; its first `shared_prefix` tokens, in whole blocks, are common to all prompts.
        An `osl` of 0 generates nothing. `load`: see Load. Another rate draws the same lengths. Raises InputError on anything out of range.
        """
        rate, concurrency, seed = load.get("rate"), load.get("concurrency"), load.get("seed", 0)
        for name, value, most in (("isl", isl, LONGEST), ("requests", requests, MOST)):
            _at_least_one(name, value, most)
        if not 0 <= osl <= LONGEST:
            raise InputError("workload", "osl", f"is {osl}", f"Give 0 to {LONGEST}")
        if not 0 <= shared_prefix <= isl:
            raise InputError("workload", "shared_prefix", f"is {shared_prefix} with prompts of {isl} tokens", f"Give 0 to {isl}")
        prompts = uniform("isl", isl, spread, requests, stream(seed, INPUTS))
        prefix, offsets = shared_ids(shared_prefix, prompts)
        assumptions = []
        if rate is None and concurrency is None:
            assumptions.append("no rate and no concurrency given: all requests arrive at once")
        if shared_prefix % SHARED_BLOCK:
            assumptions.append(f"the common prefix counts in whole blocks of {SHARED_BLOCK} tokens")
        workload = cls(
            arrival=np.zeros(requests) if rate is None else Process("poisson", rate).draw(requests, stream(seed, ARRIVALS)),
            input=prompts,
            output=uniform("osl", osl, spread, requests, stream(seed, OUTPUTS)),
            prefix=prefix,
            prefix_offsets=offsets,
            prefix_block=SHARED_BLOCK if prefix.size else 0,
            assumptions=tuple(assumptions),
            name=f"isl {isl}, osl {osl}",
            source="drawn",
            seed=seed,
        )
        return workload.under(rate, concurrency, load.get("ramp"))

    @property
    def at_once(self) -> bool:
        """Whether all requests of an open loop arrive at time 0."""
        return not self.concurrency and not self.last_start > 0

    @property
    def rate(self) -> float | None:
        """Mean requests/s: requests over the time of the last arrival; None in a closed loop or when all arrive at once.

        With sessions: all their turns over the time of the last first turn, which is the mean rate while sessions keep coming.
        """
        return None if self.concurrency or self.at_once else self.requests / self.last_start

    @property
    def sessions(self) -> int:
        """Number of sessions; requests of their own are not counted."""
        return int(np.unique(self.session[self.session >= 0]).size)

    @property
    def prefix_share(self) -> float:
        """Share of all prompt tokens that stand in prefix blocks which an earlier request had: what an unbounded cache would spare."""
        counts = np.diff(self.prefix_offsets)
        tokens = np.full(self.prefix.size, self.prefix_block, np.int64)
        last = self.prefix_offsets[1:][counts > 0] - 1
        tokens[last] = np.minimum(self.prefix_block, (self.input - (counts - 1) * self.prefix_block)[counts > 0])
        first_seen = np.unique(self.prefix, return_index=True)[1]
        return float((tokens.sum() - tokens[first_seen].sum()) / self.input.sum())

    def at_rate(self, rate: float) -> Self:
        """The same requests in an open loop, arrivals stretched to a mean of `rate` requests/s.

        A Poisson process stays one; slower changes of the rate, bursts and the period of a profile are stretched in time with the
        arrivals, think times are not.
        """
        return replace(self, arrival=self.arrival * stretch(self.requests, self.last_start, rate), concurrency=0, ramp=0.0)

    def poisson(self, rate: float) -> Self:
        """The same requests in an open loop, whose sessions come as a Poisson process with a mean of `rate` requests/s; `seed` draws."""
        starts = Process("poisson", rate * float(self.opens.mean())).draw(int(self.opens.sum()), stream(self.seed, ARRIVALS))
        opening = self.openings()
        arrival = starts[(np.cumsum(self.opens) - 1)[opening]] + self.arrival - self.arrival[opening]
        note = f"no arrivals are known: {'sessions' if self.session.size else 'requests'} come as a Poisson process"
        return replace(self, arrival=arrival, concurrency=0, ramp=0.0, assumptions=(*self.assumptions, note))

    def closed(self, concurrency: int, ramp: float = 0.0) -> Self:
        """The same requests, in order, sent by `concurrency` users in a closed loop, who start one by one over `ramp` seconds."""
        _at_least_one("concurrency", concurrency)
        if not 0 <= ramp <= LATEST:
            raise InputError("workload", "ramp", f"is {ramp}", f"Give seconds, 0 to {LATEST:g}")
        return replace(self, concurrency=concurrency, ramp=float(ramp))

    def under(self, rate: float | None, concurrency: int | None, ramp: float | None = None) -> Self:
        """The same requests at a rate, or in a closed loop, or as they are when all are None.

        Raises InputError when both are given, and when a ramp is given without a concurrency.
        """
        if ramp is not None and concurrency is None:
            raise InputError("workload", "ramp", "given without concurrency", "Give the users of a closed loop, or leave the ramp out")
        if rate is not None and concurrency is not None:
            raise InputError("workload", "rate, concurrency", "both given", "Give rate for an open loop or concurrency for a closed one")
        if concurrency is not None:
            return self.closed(concurrency, ramp or 0.0)
        return self if rate is None else self.at_rate(rate)

    def first(self, requests: int) -> Self:
        """The first `requests` requests; raises InputError when there are fewer."""
        _at_least_one("requests", requests)
        if requests > self.requests:
            remedy = f"Give at most {self.requests}, or describe the trace and draw from the description"
            raise InputError(self.source, "requests", f"{requests} asked for, {self.requests} there", remedy)
        return self if requests == self.requests else self.take(np.arange(requests))

    def split(self, parts: int) -> list[Self]:
        """Every `parts`-th session or request of its own from the first, from the second, and so on; users are dealt out alike."""
        _at_least_one("parts", parts)
        whole = int(self.opens.sum())
        if parts > whole or 0 < self.concurrency < parts:
            what = "sessions" if self.session.size else "requests"
            problem = f"{parts} of {whole} {what}" + f" and {self.concurrency} users" * bool(self.concurrency)
            raise InputError("workload", "parts", problem, f"Split into fewer parts, or give more {what} or users")
        hand = (np.cumsum(self.opens) - 1)[self.openings()] % parts
        dealt = [self.take(np.flatnonzero(hand == part)) for part in range(parts)]
        return [replace(each, concurrency=len(range(part, self.concurrency, parts))) for part, each in enumerate(dealt)]

    def summary(self) -> str:
        """One line for people."""
        lengths = f"{self.input.mean():.0f} tokens in and {self.output.mean():.0f} out in the mean"
        seen = f", {self.prefix_share:.0%} of prompt tokens seen before" if self.prefix.size else ""
        turns = f" in {self.sessions} sessions" if self.session.size else ""
        return f"{self.name}: {self.requests} requests{turns}, {self._how()}, {lengths}{seen}"

    def to_dict(self) -> dict[str, Any]:
        """What `--json` shows: counts, requests/s, tokens and shares; `sessions` and `ramp` where there are sessions and users."""
        return {
            "name": self.name,
            "source": self.source,
            "requests": self.requests,
            **({"sessions": self.sessions} if self.session.size else {}),
            "load": "closed" if self.concurrency else "at once" if self.at_once else "open",
            "rate": self.rate,
            "concurrency": self.concurrency or None,
            **({"ramp": self.ramp} if self.concurrency else {}),
            "input": statistics(self.input),
            "output": statistics(self.output),
            "prefix_share": self.prefix_share,
            "assumptions": list(self.assumptions),
        }

    def _how(self) -> str:
        if self.concurrency:
            return f"{self.concurrency} users in a closed loop" + f" who start over {self.ramp:g} s" * bool(self.ramp)
        return "all at once" if self.rate is None else f"{self.rate:.4g}/s"


def _path(reference: str) -> Path:
    """A file by its extension, otherwise an entry of the catalogue."""
    path = Path(reference)
    return path if path.suffix in EXTENSIONS else find("workloads", reference)


def _at_least_one(name: str, value: int, most: int = MOST) -> None:
    if not 1 <= value <= most:
        raise InputError("workload", name, f"is {value}", "Give 1 or more" if value < 1 else f"Give 1 to {most}")
