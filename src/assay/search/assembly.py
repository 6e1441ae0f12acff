"""From the plants of a deployment to the fleet that is simulated: pools, the router, and the link that carries caches between them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from assay._base.errors import InputError
from assay.cost.constants import shipped
from assay.deployments import Part, Router
from assay.engines import IN_TURN
from assay.search.plant import Plant
from assay.simulate import Fleet, Outage, Pool
from assay.simulate.policies import ROLES, ROUTING


@dataclass(frozen=True)
class Wire:
    """What carries the caches of prompts into one decode rank: bytes/s of whole caches, seconds before, and whose word that is."""

    bandwidth: float
    latency: float
    source: str


@dataclass(frozen=True, eq=False)
class Assembly:
    """The plants of a deployment, one for each part, and the router before them."""

    plants: tuple[Plant, ...]
    router: Router = field(default_factory=Router)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part of each plant."""
        return tuple(plant.part for plant in self.plants)

    @property
    def chips(self) -> int:
        """Chips of all replicas of all parts."""
        return sum(part.chips * part.replicas for part in self.parts)

    @property
    def idle_watts(self) -> float:
        """What all chips draw when they wait."""
        return sum(plant.times.idle_watts * plant.part.replicas for plant in self.plants)

    @property
    def wire(self) -> Wire | None:
        """The link between prefill and decode; None where no part is of either role. InputError when a chip has none."""
        decoding = next((plant for plant in self.plants if plant.part.role == "decode"), None)
        if decoding is None:
            return None
        said = self.router
        found = _slowest(self.parts) if said.link_bandwidth is None or said.link_latency is None else Wire(0.0, 0.0, "")
        bandwidth = found.bandwidth if said.link_bandwidth is None else said.link_bandwidth
        handed = decoding.machine.constants.host["transfer"]
        latency = found.latency + handed if said.link_latency is None else said.link_latency
        calibrated = f"; {handed:.3g} s of it the calibrated time of handing over" if said.link_latency is None else ""
        return Wire(bandwidth, latency, found.source + calibrated)

    @property
    def routing(self) -> str:
        """Who serves a request: as the deployment says, else as the engine deals requests out over attention ranks, else in turn."""
        ranked = [part.engine.defaults_on(part.chip.family).routing for part in self.parts if part.dp > 1]
        return self.router.routing or (ranked[0] if ranked else IN_TURN).value

    def fleet(self) -> Fleet:
        """What the simulator serves the workload with."""
        said, wire = self.router, self.wire
        drafting = next((part.speculation for part in self.parts if part.role != "prefill"), None)
        given = {} if said.load_bound is None else {"load_bound": said.load_bound}
        if wire:
            given |= {"link_bandwidth": wire.bandwidth / max(map(_copies, self.parts)), "link_latency": wire.latency}
        return Fleet(
            tuple(Pool(plant.times, plant.policy, plant.part.replicas, ROLES[plant.part.role]) for plant in self.plants),
            ROUTING[self.routing],
            acceptance=drafting.acceptance if drafting else 0.0,
            outages=tuple(Outage(*row) for row in said.outages),
            **given,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form of the deployment."""
        wire, said = self.wire, self.router
        link = {"link_bandwidth": wire.bandwidth, "link_latency": wire.latency} if wire else {}
        bound = {} if said.load_bound is None else {"load_bound": said.load_bound}
        down = [{"time": time, "replica": replica, "up": up} for time, replica, up in said.outages]
        parts = [part.to_dict() for part in self.parts]
        return {"parts": parts, "routing": self.routing, **bound, **link, **({"outage": down} if down else {})}

    def assumptions(self) -> list[str]:
        """What is taken for granted: the defaults of all parts, then those of some with their names, and how the parts are joined."""
        lists = [part.assumptions for part in self.parts]
        common = [text for text in dict.fromkeys(lists[0]) if all(text in said for said in lists)]
        own = [f"{_name(part)}: {text}" for part in self.parts for text in part.assumptions if text not in common]
        return [*common, *dict.fromkeys(own), *self._joined()]

    def _joined(self) -> list[str]:
        said, wire = [], self.wire
        if sum(part.replicas * part.dp for part in self.parts) > 1:
            said.append(f"routing: {self.routing}" + " over all attention ranks" * any(part.dp > 1 for part in self.parts))
        if any(part.dp > 1 for part in self.parts):
            said.append("attention ranks run in lock step, each with its own requests")
        if wire and wire.source:
            rate = f"{wire.bandwidth / 1e9:.3g} GB/s, the first byte after {wire.latency * 1e6:.3g} us"
            said.append(f"caches go from prefill into a decode rank at {rate}: {wire.source}")
        if wire and len({part.kv for part in self.parts}) > 1:
            said.append("caches are converted on their way from prefill to decode, in no time")
        if any(part.chip.power.tdp is None for part in self.parts):
            said.append("energy from generic constants: the chip file gives no TDP")
        return said


def joined(names: Iterable[str]) -> str:
    """Names, each once, with + between."""
    return " + ".join(dict.fromkeys(names))


def _name(part: Part) -> str:
    return part.chip.name if part.role == "all" else f"{part.role} on {part.chip.name}"


def _copies(part: Part) -> float:
    """Bytes of a cache on all chips of a decode rank, over the bytes of it that its policy counts: those of one chip of each stage."""
    return part.tp / part.dp if part.role == "decode" else 1.0


def _slowest(parts: Iterable[Part]) -> Wire:
    """Of all ranks the one whose chips together reach the outside slowest, each by its widest link at its peak."""
    return min(map(_outward, parts), key=lambda wire: wire.bandwidth)


def _outward(part: Part) -> Wire:
    chip, count = part.chip, part.chips / part.dp
    if not chip.links:
        remedy = "Add one, or give link_bandwidth and link_latency in the deployment file"
        raise InputError("link_bandwidth", chip.name, "has no [[link]] over which caches could go", remedy)
    link = chip.links[-1]
    hop = link.latency.value if link.latency else shipped().constants(chip, part.engine).collective["hop"]
    side = f"{link.name} of {count:g} chip{'s' * (count > 1)}, one rank of {_name(part)}"
    return Wire(link.bandwidth.value * count, hop, f"{side}, at its peak, the slower side")
