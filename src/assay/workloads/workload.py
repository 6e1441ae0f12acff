"""The workload: requests under a load."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay.workloads.arrivals import ARRIVALS, INPUTS, OUTPUTS, Process, scaled, stream
from assay.workloads.columns import Columns, Ints
from assay.workloads.descriptions import read_description
from assay.workloads.lengths import SHARED_BLOCK, shared_ids, uniform
from assay.workloads.readers import EXTENSIONS, read


class Load(TypedDict, total=False):
    """How drawn requests come: `rate` requests/s (Poisson) or `concurrency` users (closed loop); neither: all at once. `seed` draws."""

    rate: float | None
    concurrency: int | None
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Workload(Columns):
    """Requests (see Columns) and how they come.

    `concurrency` 0: an open loop, each request comes at its `arrival`. Above 0: a closed loop of that many users, each of whom sends
    the next request when the last has ended; `arrival` is then ignored. `source` says where the requests are from.
    """

    name: str
    source: str = ""
    concurrency: int = 0

    @classmethod
    def load(
        cls, reference: str | Path, *, requests: int | None = None, rate: float | None = None, concurrency: int | None = None, seed: int = 0
    ) -> Self:
        """Read a trace, or draw from a description: a catalogue name or a file.

        `requests`: the first rows of a trace (all when left out), or how many to draw. `rate`: mean requests/s to rescale arrivals to.
        `concurrency`: a closed loop instead. `seed` draws; traces do not use it. Raises InputError on anything wrong.
        """
        path = _path(str(reference))
        if requests is not None:
            _at_least_one("requests", requests)
        if path.suffix == ".toml":
            description = read_description(path)
            columns, source = description.draw(requests, seed), description.source
        else:
            columns, source = read(path), str(path)
        workload = cls(name=path.stem, source=source, **vars(columns))
        return workload.first(requests or workload.requests).under(rate, concurrency)

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
        `load`: see Load. Another rate draws the same lengths. Raises InputError on anything out of range.
        """
        rate, concurrency, seed = load.get("rate"), load.get("concurrency"), load.get("seed", 0)
        for name, value in (("isl", isl), ("osl", osl), ("requests", requests)):
            _at_least_one(name, value)
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
        )
        return workload.under(rate, concurrency)

    @property
    def at_once(self) -> bool:
        """Whether all requests of an open loop arrive at time 0."""
        return not self.concurrency and not self.arrival[-1] > 0

    @property
    def rate(self) -> float | None:
        """Mean requests/s: requests over the time of the last arrival; None in a closed loop or when all arrive at once."""
        return None if self.concurrency or self.at_once else float(self.requests / self.arrival[-1])

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

        A Poisson process stays one; slower changes of the rate and bursts are stretched in time with the arrivals.
        """
        return replace(self, arrival=scaled(self.arrival, rate), concurrency=0)

    def closed(self, concurrency: int) -> Self:
        """The same requests, in order, sent by `concurrency` users in a closed loop."""
        _at_least_one("concurrency", concurrency)
        return replace(self, concurrency=concurrency)

    def under(self, rate: float | None, concurrency: int | None) -> Self:
        """The same requests at a rate, or in a closed loop, or as they are when both are None; raises InputError when neither is."""
        if rate is not None and concurrency is not None:
            raise InputError("workload", "rate, concurrency", "both given", "Give rate for an open loop or concurrency for a closed one")
        if concurrency is not None:
            return self.closed(concurrency)
        return self if rate is None else self.at_rate(rate)

    def first(self, requests: int) -> Self:
        """The first `requests` requests; raises InputError when there are fewer."""
        _at_least_one("requests", requests)
        if requests > self.requests:
            remedy = f"Give at most {self.requests}, or describe the trace and draw from the description"
            raise InputError(self.source, "requests", f"{requests} asked for, {self.requests} there", remedy)
        return self if requests == self.requests else self.take(np.arange(requests))

    def split(self, parts: int) -> list[Self]:
        """Every `parts`-th request from the first, from the second, and so on; users of a closed loop are dealt out alike."""
        _at_least_one("parts", parts)
        if parts > self.requests or 0 < self.concurrency < parts:
            problem = f"{parts} of {self.requests} requests" + f" and {self.concurrency} users" * bool(self.concurrency)
            raise InputError("workload", "parts", problem, "Split into fewer parts, or give more requests or users")
        dealt = [self.take(np.arange(part, self.requests, parts)) for part in range(parts)]
        return [replace(each, concurrency=len(range(part, self.concurrency, parts))) for part, each in enumerate(dealt)]

    def summary(self) -> str:
        """One line for people."""
        lengths = f"{self.input.mean():.0f} tokens in and {self.output.mean():.0f} out in the mean"
        seen = f", {self.prefix_share:.0%} of prompt tokens seen before" if self.prefix.size else ""
        return f"{self.name}: {self.requests} requests, {self._how()}, {lengths}{seen}"

    def to_dict(self) -> dict[str, Any]:
        """What `--json` shows: counts, requests/s, tokens and shares."""
        return {
            "name": self.name,
            "source": self.source,
            "requests": self.requests,
            "load": "closed" if self.concurrency else "at once" if self.at_once else "open",
            "rate": self.rate,
            "concurrency": self.concurrency or None,
            "input": statistics(self.input),
            "output": statistics(self.output),
            "prefix_share": self.prefix_share,
            "assumptions": list(self.assumptions),
        }

    def _how(self) -> str:
        if self.concurrency:
            return f"{self.concurrency} users in a closed loop"
        return "all at once" if self.rate is None else f"{self.rate:.4g}/s"


def statistics(values: Ints) -> dict[str, float]:
    """Mean and percentiles."""
    p50, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
    return {"mean": float(values.mean()), "p50": p50, "p90": p90, "p99": p99}


def _path(reference: str) -> Path:
    """A file by its extension, otherwise an entry of the catalogue."""
    path = Path(reference)
    return path if path.suffix in EXTENSIONS else find("workloads", reference)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise InputError("workload", name, f"is {value}", "Give 1 or more")
