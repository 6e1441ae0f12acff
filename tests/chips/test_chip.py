"""Chip files: what they give, and the one clear message for each way they can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assay._base.errors import InputError
from assay.chips import Chip

GOOD = """
vendor = "own"
family = "own"
execution = "kernel-by-kernel"
unit = "package"
status = "design"

[peak]
bf16 = 1e15
fp8 = {value = 2e15, low = 1.5e15, high = 2.5e15, source = "data sheet", confidence = "A", date = 2026-01-31}

[[memory]]
name = "SRAM"
bytes = 1e8
bandwidth = 2e13
holds = ["kv"]

[[memory]]
name = "HBM"
bytes = 1e11
bandwidth = 4e12
holds = ["weights", "kv"]
energy_per_byte = 4e-11

[[link]]
name = "near"
bandwidth = 4e11
per_peer = 1e11
size = 8
topology = "direct"

[[link]]
name = "far"
bandwidth = 5e10
latency = 5e-6
size = 64
topology = "switched"

[power]
tdp = 700
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a chip file and gives its path."""

    def _write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def _fails(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        Chip.load(path)
    assert caught.value.file == str(path)
    assert caught.value.remedy
    return caught.value


def test_a_file_gives_a_chip_named_after_it(write: Write) -> None:
    """Name and title fall back to the file; bare numbers become facts without a source."""
    chip = Chip.load(write(GOOD))
    assert (chip.name, chip.title, chip.vendor) == ("mine", "mine", "own")
    assert chip.peak["bf16"].value == 1e15
    assert chip.peak["bf16"].source == ""
    assert chip.memory[1].holds == ("weights", "kv")
    assert chip.links[0].size.value == 8
    assert chip.area is None


def test_a_fact_keeps_its_evidence(write: Write) -> None:
    """Bounds, source, confidence and date of a fact arrive as written."""
    fact = Chip.load(write(GOOD)).peak["fp8"]
    assert (fact.low, fact.high, fact.source, fact.confidence, fact.date) == (1.5e15, 2.5e15, "data sheet", "A", "2026-01-31")


def test_missing_names_what_predictions_lack(write: Write) -> None:
    """Absent power, energy and latency are named by their place; what is there is not."""
    chip = Chip.load(write(GOOD))
    assert chip.missing == ("power.idle", "power.all_in", "memory[0].energy_per_byte", "link[0].latency")


def test_a_chip_without_links_says_so(write: Write) -> None:
    """A chip that stands alone loads; that it has no links is reported."""
    text = GOOD[: GOOD.index("[[link]]")] + "[power]\ntdp = 700\n"
    assert "link" in Chip.load(write(text)).missing


def test_a_chip_becomes_json(write: Write) -> None:
    """to_dict leaves out what is absent and holds nothing that JSON does not know."""
    document = json.loads(json.dumps(Chip.load(write(GOOD)).to_dict()))
    assert document["memory"][1]["bytes"] == {"value": 1e11}
    assert "area" not in document
    assert document["power"] == {"tdp": {"value": 700}}


def test_a_chip_can_be_a_key(write: Write) -> None:
    """Two loads of one file are equal and share a hash."""
    path = write(GOOD)
    assert len({Chip.load(path), Chip.load(path)}) == 1


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ('vendor = "own"\n', "", "vendor", "is missing"),
        ('vendor = "own"', 'vender = "own"', "vender", "unknown field"),
        ('vendor = "own"', "vendor = 7", "vendor", "must be text"),
        ("bytes = 1e11", "bytes = -1", "memory[1].bytes", "is -1, below 1e+06"),
        ("bytes = 1e11\n", "", "memory[1].bytes", "is missing"),
        ("bytes = 1e11", 'bytes = "100 GB"', "memory[1].bytes", "must be number"),
        ("bytes = 1e11", "bytes = inf", "memory[1].bytes", "is inf"),
        ('execution = "kernel-by-kernel"', 'execution = "fast"', "execution", "is not known"),
        ('holds = ["kv"]', 'holds = ["kv", "wieghts"]', "memory[0].holds", "is not known"),
        ("bandwidth = 4e12", "bandwidth = 3e13", "memory[1].bandwidth", "faster than the tier before it"),
        ('holds = ["weights", "kv"]', 'holds = ["kv"]', "memory", "no tier holds weights"),
        ('name = "HBM"', 'name = "SRAM"', "memory[1].name", "stands twice"),
        ("size = 64", "size = 8", "link[1].size", "no larger than the scope before it"),
        ("per_peer = 1e11", "per_peer = 5e11", "link[0].per_peer", "above the"),
        ("low = 1.5e15", "low = 2.1e15", "peak.fp8", "is not within"),
        ("high = 2.5e15", "high = 1.9e15", "peak.fp8", "is not within"),
        ("bf16 = 1e15", "bf61 = 1e15", "peak.bf61", "not a known precision"),
        ("tdp = 700", "tpd = 700", "power.tpd", "unknown field"),
    ],
)
def test_a_wrong_file_is_named_with_field_and_remedy(write: Write, old: str, new: str, field: str, problem: str) -> None:
    """Typos, signs, types, gaps and contradictions each raise one InputError that names the place."""
    assert old in GOOD
    error = _fails(write(GOOD.replace(old, new, 1)))
    assert error.field == field
    assert problem in str(error)


CALIBRATED = f"""{GOOD}
[[calibration]]
engine = "vllm"
runs = 3
factor.host.step = {{ value = 1.5, low = 1.2, high = 1.9 }}
factor.fixed.kernel = 0.8

[[calibration]]
engine = "own"
runs = 1
"""


def test_a_file_may_say_what_its_chip_was_calibrated_to(write: Write) -> None:
    """By engine, as facts; a file without it has none, and JSON leaves it out."""
    vllm, own = Chip.load(write(CALIBRATED)).calibration
    assert (vllm["engine"], vllm["runs"]) == ("vllm", 3)
    assert (vllm["factor"]["host"]["step"].low, vllm["factor"]["fixed"]["kernel"].value) == (1.2, 0.8)
    assert (own["engine"], own["runs"]) == ("own", 1)
    document = json.loads(json.dumps(Chip.load(write(CALIBRATED)).to_dict()))
    assert document["calibration"][0]["factor"]["host"]["step"] == {"value": 1.5, "low": 1.2, "high": 1.9}
    plain = Chip.load(write(GOOD))
    assert plain.calibration == ()
    assert "calibration" not in plain.to_dict()


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ('engine = "own"', 'engine = "vllm"', "calibration[1].engine", "'vllm' stands twice"),
        ('engine = "own"\n', "", "calibration[1].engine", "is missing"),
        ("runs = 1", "runs = 0", "calibration[1].runs", "below 1"),
        ("runs = 1", "run = 1", "calibration[1].run", "unknown field"),
        ("host.step", "host.stop", "calibration[0].factor.host.stop", "no constant. Use one of step, sequence, request"),
        ("host.step", "hosts.step", "calibration[0].factor.hosts.step", "no constant. Use one of compute_share"),
        ("fixed.kernel = 0.8", "fixed.kernel = -1", "calibration[0].factor.fixed.kernel", "-1"),
        ("low = 1.2", "low = 1.7", "calibration[0].factor.host.step", "is not within"),
    ],
)
def test_a_wrong_calibration_is_named_with_field_and_remedy(write: Write, old: str, new: str, field: str, problem: str) -> None:
    """Constants that there are none of, engines that stand twice, factors that are none."""
    assert old in CALIBRATED
    error = _fails(write(CALIBRATED.replace(old, new, 1)))
    assert error.field == field
    assert problem in str(error)


def test_a_chip_needs_a_rate_to_compute_with(write: Write) -> None:
    """A chip with fp4 alone is refused: nothing else could be computed on it."""
    start, end = GOOD.index("bf16 ="), GOOD.index("\n[[memory]]")
    assert _fails(write(GOOD[:start] + "fp4 = 1e15\n" + GOOD[end:])).field == "peak"


def test_a_chip_needs_memory(write: Write) -> None:
    """Without a [[memory]] the message says which one to add."""
    start, end = GOOD.index("[[memory]]"), GOOD.index("[[link]]")
    assert _fails(write(GOOD[:start] + GOOD[end:])).field == "memory"


def test_a_typo_in_a_precision_is_guessed(write: Write) -> None:
    """The remedy proposes the nearest precision."""
    assert "bf16" in _fails(write(GOOD.replace("bf16 =", "bf61 ="))).remedy


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file is the user's to mend, not a traceback."""
    assert "No such file" in str(_fails(tmp_path / "absent.toml"))


def test_an_unfinished_name_proposes_what_begins_so() -> None:
    """A name cut short offers the catalogue's names that begin with it."""
    with pytest.raises(InputError, match="mi300a or mi300x"):
        Chip.load("MI300")


def test_an_unknown_name_proposes_the_nearest() -> None:
    """A misspelt catalogue name raises with a suggestion."""
    with pytest.raises(InputError, match="h100-sxm"):
        Chip.load("h100-smx")


SILENT = GOOD[: GOOD.index("\n[peak]")].replace("kernel-by-kernel", "unknown") + 'unpublished = "nothing but a name"\n'


def test_a_chip_may_say_that_nothing_is_published(write: Write) -> None:
    """It loads without numbers, says what it lacks, and refuses to be computed with, naming file, field and remedy."""
    path = write(SILENT)
    chip = Chip.load(path)
    assert (chip.unpublished, chip.execution, chip.memory, dict(chip.peak)) == ("nothing but a name", "unknown", (), {})
    assert {"peak", "memory", "link"} <= set(chip.missing)
    assert chip.to_dict()["unpublished"] == "nothing but a name"
    with pytest.raises(InputError) as caught:
        chip.check_published()
    assert (caught.value.file, caught.value.field) == (str(path), "unpublished")
    assert "nothing but a name" in caught.value.problem
    assert "peak, memory and link" in caught.value.remedy


@pytest.mark.parametrize("number", ["[peak]\nbf16 = 1e15\n", "[power]\ntdp = 700\n", "area = 800.0\n"])
def test_nothing_published_and_a_number_contradict(write: Write, number: str) -> None:
    """A file cannot say both."""
    error = _fails(write(SILENT + number))
    assert error.field == "unpublished"
    assert number.strip("[")[:4] in error.problem


def test_an_unknown_execution_needs_the_excuse(write: Write) -> None:
    """How a chip with numbers runs must be told: it decides how it is timed."""
    assert _fails(write(GOOD.replace("kernel-by-kernel", "unknown"))).field == "execution"


def test_a_published_chip_may_be_computed_with(write: Write) -> None:
    """The check lets it pass, and its JSON does not speak of it."""
    chip = Chip.load(write(GOOD))
    chip.check_published()
    assert "unpublished" not in chip.to_dict()


def test_the_example_chip_holds_together() -> None:
    """The documented example is complete, and its parts fit its area and its power."""
    chip = Chip.load(Path(__file__).parents[2] / "examples" / "own_chip.toml")
    assert chip.missing == ()
    sram = chip.memory[0]
    assert chip.area is not None
    assert chip.power.tdp is not None
    macros = sram.bytes.value / 2**20 * 8 / 31.8
    assert 1.5 * macros < chip.area.value < 858
    watts = sum(tier.bandwidth.value * tier.energy_per_byte.value for tier in chip.memory if tier.energy_per_byte)
    compute = chip.peak["fp8"].value * 0.21e-12
    assert 0.9 * chip.power.tdp.value < watts + compute + 50 <= chip.power.tdp.value
