"""The shipped chips: all there, all sourced, physically possible, and reachable by every name that is in use."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay._base.catalogue import names
from assay._base.errors import InputError
from assay.chips import Chip

PROMISED = {
    "a100-sxm-80gb",
    "h100-sxm",
    "h200-sxm",
    "b200-sxm",
    "b300-sxm",
    "gb200-nvl72",
    "gb300-nvl72",
    "l40s",
    "mi300x",
    "mi325x",
    "mi355x",
    "gaudi3",
    "tpu-v6e",
    "tpu-v7",
    "trainium2",
    "groq-lpu-v1",
    "groq-lpu-v3",
    "cerebras-wse3",
    "sn40l",
}
ENOUGH = 45
PUBLISHED = Path(__file__).parents[3] / "shared" / "published" / "published.parquet"


def _bare_numbers(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict) and "value" in value:
        if not value.get("source") or value.get("confidence") not in {"A", "B", "C", "D"}:
            yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _bare_numbers(item, f"{place}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _bare_numbers(item, f"{place}[{i}]")
    elif isinstance(value, int | float):
        yield place


def test_the_promised_chips_are_there() -> None:
    """Every name that scripts rely on is in the catalogue."""
    assert set(names("chips")) >= PROMISED


def test_the_catalogue_is_wide() -> None:
    """There are enough chips, of many makers, and most of them can be computed on."""
    chips = [Chip.load(name) for name in names("chips")]
    assert sum(not chip.unpublished for chip in chips) >= ENOUGH
    assert len({chip.vendor for chip in chips}) >= 10
    assert {chip.execution for chip in chips} == {"kernel-by-kernel", "resident-pipeline", "unknown"}


@pytest.mark.parametrize("name", names("chips"))
def test_a_shipped_chip_loads(name: str) -> None:
    """Each file passes the schema and the checks of meaning, and carries a title and a maker."""
    chip = Chip.load(name)
    assert chip.name == name
    assert all((chip.title, chip.vendor, chip.family))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.parametrize("name", names("chips"))
def test_numbers_are_positive_and_tiers_ordered(name: str) -> None:
    """No number is zero or less; memory tiers stand fastest first, link scopes nearest first and no slower inside than outside."""
    chip = Chip.load(name)
    assert all(number > 0 for number in _numbers(tomllib.loads(names("chips")[name].read_text(encoding="utf-8"))))
    speeds = [tier.bandwidth.value for tier in chip.memory]
    assert speeds == sorted(speeds, reverse=True)
    assert [link.size.value for link in chip.links] == sorted(link.size.value for link in chip.links)
    reach = [link.bandwidth.high or link.bandwidth.value for link in chip.links]
    assert reach == sorted(reach, reverse=True)


@pytest.mark.parametrize("name", names("chips"))
def test_a_link_is_no_faster_than_memory(name: str) -> None:
    """What a chip sends it reads first: links together are slower than its fastest memory."""
    chip = Chip.load(name)
    for link in chip.links:
        assert link.bandwidth.value < chip.memory[0].bandwidth.value


@pytest.mark.parametrize("name", names("chips"))
def test_every_number_has_a_source_and_a_confidence(name: str) -> None:
    """No number is shipped on our own word."""
    document = tomllib.loads(names("chips")[name].read_text(encoding="utf-8"))
    assert list(_bare_numbers(document, name)) == []


def test_an_alias_leads_to_one_chip_only() -> None:
    """No alias is used twice, none hides a catalogue name, all are lower case."""
    chips = [Chip.load(name) for name in names("chips")]
    used = Counter(alias for chip in chips for alias in chip.aliases)
    assert [alias for alias, count in used.items() if count > 1] == []
    assert [alias for alias in used if alias in names("chips") or alias != alias.lower()] == []


@pytest.mark.parametrize("name", names("chips"))
def test_rates_of_narrow_formats_are_no_slower(name: str) -> None:
    """fp8 is at least as fast as bf16 and fp4 as fp8; int8 may be slower."""
    peak = Chip.load(name).peak
    ladder = [peak[key].value for key in ("bf16", "fp8", "fp4") if key in peak]
    assert ladder == sorted(ladder)


@pytest.mark.parametrize("name", names("chips"))
def test_reading_memory_at_full_speed_fits_the_power(name: str) -> None:
    """Bandwidth times energy per byte stays below the rated, else the provisioned power, where both are known."""
    chip = Chip.load(name)
    limit = chip.power.tdp or chip.power.all_in
    if limit is None:
        pytest.skip("power is not published")
    for tier in chip.memory:
        if tier.energy_per_byte is not None:
            assert tier.bandwidth.value * tier.energy_per_byte.value < (limit.high or limit.value)


@pytest.mark.parametrize("name", names("chips"))
def test_power_grows_from_idle_to_rated_to_provisioned(name: str) -> None:
    """A chip idles below its rating and is provisioned above it."""
    power = Chip.load(name).power
    steps = [fact.value for fact in (power.idle, power.tdp, power.all_in) if fact is not None]
    assert steps == sorted(steps)


def test_names_in_published_measurements_resolve() -> None:
    """Every spelling that a source uses for one of our chips, and for no other chip, leads to it."""
    if not PUBLISHED.exists():
        pytest.skip("needs ../shared/published/published.parquet")
    polars = pytest.importorskip("polars")
    rows = polars.read_parquet(PUBLISHED, columns=["chip", "chip_published"]).unique().drop_nulls().rows()
    spelt = Counter(published for _, published in rows)
    for chip, published in rows:
        if spelt[published] == 1:
            assert Chip.load(published).name == chip


def test_every_published_chip_is_in_the_catalogue() -> None:
    """Each chip that somebody has measured can be named here, by its slug in the table."""
    if not PUBLISHED.exists():
        pytest.skip("needs ../shared/published/published.parquet")
    polars = pytest.importorskip("polars")
    slugs = polars.read_parquet(PUBLISHED, columns=["chip"])["chip"].drop_nulls().unique().to_list()
    assert {slug: Chip.load(slug).name for slug in slugs} == {slug: slug for slug in slugs}
    assert not any(Chip.load(slug).unpublished for slug in slugs)


def test_a_spelling_shared_by_two_chips_is_refused() -> None:
    """A100 alone may mean the 40 GB part: it is not guessed, the names that begin so are offered."""
    with pytest.raises(InputError, match="a100-sxm-40gb or a100-sxm-80gb"):
        Chip.load("A100")
