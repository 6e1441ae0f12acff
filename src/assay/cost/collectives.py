"""Time of collectives: a fixed part, hops, and bytes over bandwidth, by pattern and topology."""

import math

from assay._base.errors import CannotHold
from assay.chips import Chip, Link
from assay.cost.constants import Constants
from assay.graph.op import Exchange

_PHASES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1, "send": 1}


def scope(chip: Chip, group: int) -> Link:
    """The nearest link that joins `group` chips; CannotHold when none does."""
    for link in chip.links:
        if link.size.value >= group:
            return link
    widest = max((int(link.size.value) for link in chip.links), default=1)
    raise CannotHold(f"{chip.name} joins at most {widest} chips, {group} are asked. Use a smaller --tp or --pp, or add a [[link]].")


def fixed_seconds(exchange: Exchange, chip: Chip, constants: Constants) -> float:
    """Time of an empty collective: its software part, and a link latency for each hop of each phase."""
    link = scope(chip, exchange.group)
    hop = link.latency.value if link.latency else constants.collective["hop"]
    hops = 1 if exchange.pattern == "send" else _hops(link, exchange.group)
    software = 0.0 if exchange.pattern == "send" else constants.collective["fixed"]
    return software + _PHASES[exchange.pattern] * hops * hop


def byte_seconds(exchange: Exchange, chip: Chip, constants: Constants) -> float:
    """Time per driver unit: the bytes one chip sends over the bandwidth it has to this group.

    Ring and tree algorithms send 2 (g - 1) / g of an all-reduced result and (g - 1) / g of a gathered one (Thakur, Rabenseifner and
    Gropp 2005).
    """
    link = scope(chip, exchange.group)
    bandwidth = link.bandwidth.value
    if link.per_peer:
        peers = 1 if exchange.pattern == "send" else exchange.group - 1
        bandwidth = min(bandwidth, link.per_peer.value * peers)
    return sent_bytes(exchange) / (bandwidth * constants.collective["bandwidth_share"])


def sent_bytes(exchange: Exchange) -> float:
    """Bytes that one rank sends per driver unit."""
    if exchange.pattern == "send":
        return exchange.bytes
    return _PHASES[exchange.pattern] * exchange.bytes * (exchange.group - 1) / exchange.group


def _hops(link: Link, group: int) -> float:
    """Hops across `group` chips: one where each reaches each (a switch counts as part of its link), the diameter elsewhere."""
    if link.topology == "ring":
        return math.ceil(group / 2)
    if link.topology in ("mesh", "torus"):
        side = math.sqrt(group)
        return math.ceil(side if link.topology == "torus" else 2 * (side - 1)) or 1
    return 3 if link.topology == "dragonfly" else 1
