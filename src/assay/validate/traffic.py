"""The workload of a published run: how long its requests are, how they came, and what their prompts share."""

from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np

from assay.points import Point
from assay.validate.unstated import of_dataset, prompts, unstated
from assay.workloads import Workload

BLOCK = 16  # tokens per id of drawn prefixes


class Unpredicted(Exception):
    """Why a run or a number cannot be predicted: a short reason, to be counted."""


def traffic(point: Point, model: str, served: float = 0.0) -> tuple[Workload, list[str]]:
    """Requests like those of the run, and what was assumed of them; `served` (requests per second) counts where samples are `repeated`.

    Raises Unpredicted when load or lengths are not stated.
    """
    isl, osl, said = _lengths(point, model)
    drawn, distinct = _drawn(point, model, isl, osl, served), point.said("distinct_prompts")
    if distinct is None and prompts(point.said("set")):
        distinct = prompts(point.said("set"))
        said.append(f"requests draw on {distinct} prompts, as those of other runs of the set do")
    return _repeating(drawn, distinct, point.said("shared_prefix") or 0), said


def repeated(point: Point, model: str) -> bool:
    """Whether the run asks all samples of a data set at once, as often as it takes to last its time."""
    return point.said("load") == "offline" and not point.said("requests") and bool(of_dataset(point.said("set"), model, "samples"))


def _lengths(point: Point, model: str) -> tuple[int, int, list[str]]:
    """Tokens in and out: those asked for where lengths are drawn around them, else the mean of those used."""
    said: list[str] = []
    kind = "{}_nominal" if point.said("spread_low") else "{}"
    isl, osl = (point.said(kind.format(name)) for name in ("isl", "osl"))
    if isl is None and point.said("isl_nominal"):
        isl = point.said("isl_nominal") * unstated("lengths", "template")
        said.append("prompts are longer than asked for, by the chat template")
    isl = _length(point, model, "isl", isl, said)
    osl = _length(point, model, "osl", osl, said)
    return max(1, round(isl)), round(osl), said


def _length(point: Point, model: str, column: str, stated: float | None, said: list[str]) -> float:
    """A stated length, that of the data set, or of one stream a usual one."""
    if stated is not None:
        return stated
    name = {"isl": "input", "osl": "output"}[column]
    found = of_dataset(point.said("set"), model, name)
    if found is None and (point.said("load") == "single" or (point.said("load") == "static" and point.said("batch") == 1)):
        found = unstated("lengths", name)
    if found is None:
        raise Unpredicted(f"{column} is not stated")
    said.append(f"{column} {found:g}, which the run does not state")
    return found


def _drawn(point: Point, model: str, isl: int, osl: int, served: float) -> Workload:
    """The requests of the run's load, alike but for a spread of their lengths."""
    spread = (point.said("spread_low") or 1.0, point.said("spread_high") or 1.0)
    draw = partial(Workload.draw, isl, osl, spread=spread)
    sent = point.said("requests")
    match point.said("load"):
        case "closed":
            users = int(_needed(point, "concurrency"))
            return draw(requests=max(int(sent or unstated("requests", "per_user") * users), users), concurrency=users)
        case "poisson":
            rate = _needed(point, "rate")
            count = sent or rate * (point.said("duration") or unstated("requests", "seconds"))
            return draw(requests=ceil(min(count, unstated("requests", "most"))), rate=rate)
        case "offline":
            samples = of_dataset(point.said("set"), model, "samples") or unstated("requests", "at_once")
            return draw(requests=int(sent or max(samples, served * unstated("requests", "seconds"))))
        case "static":
            return draw(requests=int(_needed(point, "batch")))
        case "single":
            return draw(requests=int(unstated("requests", "one_by_one")), concurrency=1)
    raise Unpredicted("how requests came is not stated")


def _needed(point: Point, column: str) -> float:
    value = point.said(column)
    if value is None:
        raise Unpredicted(f"{column} is not stated")
    return float(value)


def _repeating(drawn: Workload, distinct: int | None, shared: int) -> Workload:
    """The same requests with the prefixes that they share: a common start, and prompts that are asked again and again."""
    if not (distinct or shared):
        return drawn
    blocks = drawn.input // BLOCK
    offsets = np.concatenate([[0], np.cumsum(blocks)])
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], blocks)
    every = np.arange(drawn.requests)
    asked = np.random.default_rng(drawn.seed).integers(0, distinct, drawn.requests) if distinct else every
    width = int(blocks.max()) + 1
    ids = np.where(places < shared // BLOCK, places, (1 + np.repeat(asked, blocks)) * width + places)
    return replace(drawn, prefix=ids, prefix_offsets=offsets, prefix_block=BLOCK)
