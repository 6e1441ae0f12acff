"""Collectives: which link, how many hops, how many bytes."""

from dataclasses import replace

import pytest

from assay._base.errors import CannotHold
from assay._base.facts import Fact
from assay.chips import Chip, Link
from assay.cost import constants
from assay.cost.collectives import byte_seconds, fixed_seconds, scope, sent_bytes
from assay.graph.op import Exchange


def chip_with(*links: Link) -> Chip:
    """A chip with these links."""
    return replace(Chip.load("h100-sxm"), links=links)


def link(size: int, topology: str = "switched", **facts: Fact[float]) -> Link:
    """A link of 100 GB/s that joins `size` chips."""
    return Link(**{"name": f"{size}", "bandwidth": Fact(1e11), "size": Fact(size), "topology": topology, "latency": Fact(1e-6), **facts})


@pytest.fixture
def generic() -> constants.Constants:
    """Constants of chips that run kernel by kernel."""
    return constants.generic("kernel-by-kernel")


def test_the_nearest_link_that_joins_them_is_used() -> None:
    """A group takes the first link of its size or more; a larger one than any link joins is refused with a remedy."""
    chip = chip_with(link(8), link(64))
    assert [scope(chip, group).name for group in (2, 8, 9, 64)] == ["8", "8", "64", "64"]
    with pytest.raises(CannotHold, match=r"joins at most 64 chips, 65 are asked. Use a smaller --tp"):
        scope(chip, 65)
    with pytest.raises(CannotHold, match="at most 1 chips"):
        scope(chip_with(), 2)


@pytest.mark.parametrize(
    ("topology", "group", "hops"),
    [
        ("switched", 64, 1),
        ("direct", 8, 1),
        ("ring", 2, 1),
        ("ring", 8, 4),
        ("ring", 9, 5),
        ("mesh", 2, 1),
        ("mesh", 16, 6),
        ("torus", 2, 2),
        ("torus", 16, 4),
        ("dragonfly", 64, 3),
    ],
)
def test_hops_follow_the_topology(generic: constants.Constants, topology: str, group: int, hops: int) -> None:
    """An empty all-reduce takes the software's time and, in each of two phases, the hops across its group."""
    found = fixed_seconds(Exchange("all-reduce", group, 0.0), chip_with(link(64, topology)), generic)
    assert found == pytest.approx(generic.collective["fixed"] + 2 * hops * 1e-6)


def test_a_link_without_latency_takes_the_generic_hop(generic: constants.Constants) -> None:
    """What the chip file does not say is a calibrated constant."""
    silent = replace(link(8), latency=None)
    found = fixed_seconds(Exchange("all-gather", 8, 0.0), chip_with(silent), generic)
    assert found == pytest.approx(generic.collective["fixed"] + generic.collective["hop"])


def test_a_send_is_one_hop_without_a_collective_behind_it(generic: constants.Constants) -> None:
    """Handing over takes the latency of the link."""
    assert fixed_seconds(Exchange("send", 8, 0.0), chip_with(link(8, "ring")), generic) == 1e-6


@pytest.mark.parametrize(("pattern", "sent"), [("all-reduce", 1.5), ("all-gather", 0.75), ("reduce-scatter", 0.75), ("send", 1.0)])
def test_bytes_sent_by_pattern(generic: constants.Constants, pattern: str, sent: float) -> None:
    """Of 1 MB over four ranks: 2 x 3/4 of an all-reduced result, 3/4 of a gathered or scattered one, all of what is sent."""
    exchange = Exchange(pattern, 4, 1e6)
    assert sent_bytes(exchange) == sent * 1e6
    expected = sent * 1e6 / (1e11 * generic.collective["bandwidth_share"])
    assert byte_seconds(exchange, chip_with(link(8)), generic) == pytest.approx(expected)


def test_peers_add_their_links_up_to_the_whole(generic: constants.Constants) -> None:
    """Where each peer has a link of its own, a group of g has g - 1 of them; a send has one."""
    chip = chip_with(link(8, "direct", per_peer=Fact(2e10)))
    share = generic.collective["bandwidth_share"]
    for group, bandwidth in ((2, 2e10), (4, 6e10), (6, 1e11), (8, 1e11)):
        exchange = Exchange("all-gather", group, 1.0)
        assert byte_seconds(exchange, chip, generic) == pytest.approx((group - 1) / group / (bandwidth * share))
    assert byte_seconds(Exchange("send", 8, 1.0), chip, generic) == pytest.approx(1 / (2e10 * share))
