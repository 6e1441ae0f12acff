"""Engines: the shipped files, and files of a user."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from assay import engines
from assay._base import catalogue
from assay._base.errors import InputError
from assay.engines import Engine, at, for_family

SHIPPED = sorted(catalogue.names("engines"))
OWN = """
version = "1"
runs_on = ["mine"]
weights = ["bf16"]
[features]
graphs = false
[defaults]
token_budget = 512
max_num_seqs = 8
block_size = 16
kv_memory_fraction = 0.8
kv_memory_fraction_of = "free"
prefill = "mixed"
prefix_cache = false
kv = "auto"
recv_interval = 4
[[override]]
families = ["mine", "other"]
token_budget = 256
[host]
step = 0.001
"""


def _write(folder: Path, text: str) -> str:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_default_has_a_source(name: str) -> None:
    """No default, feature or precision of a shipped engine is without source and date."""
    engine = Engine.load(name).to_dict()
    facts = [*engine["defaults"].values(), *engine["features"].values(), engine["weights"]]
    changed = [fact for row in engine.get("override", ()) for key, fact in row.items() if key != "families"]
    for fact in (*facts, *changed):
        assert fact["source"]
        assert fact["date"]
    json.dumps(engine)


@pytest.mark.parametrize("name", SHIPPED)
def test_aliases_lead_to_their_engine(name: str) -> None:
    """Each alias, in any case, loads the engine that lists it, and no two engines share one."""
    engine = Engine.load(name)
    for alias in engine.aliases:
        assert Engine.load(alias.upper()) == engine


def test_the_promised_engines_are_there() -> None:
    """Scripts rely on these names."""
    assert {"generic", "vllm", "sglang", "tensorrt-llm"} <= set(SHIPPED)


def test_engines_of_a_family_are_those_that_name_it() -> None:
    """Generic stands in only where no engine names the family."""
    assert [engine.name for engine in for_family("hopper")] == ["sglang", "tensorrt-llm", "vllm"]
    assert [engine.name for engine in for_family("cdna4")] == ["sglang", "vllm"]
    assert [engine.name for engine in for_family("a family nobody knows")] == ["generic"]
    assert all(engine.runs("hopper") for engine in for_family("hopper"))
    assert Engine.load("generic").runs("hopper")
    assert not Engine.load("tensorrt-llm").runs("cdna3")


def test_engines_of_a_past_period_are_offered_by_name_alone() -> None:
    """Whatever families they name."""
    past = [name for name in SHIPPED if Engine.load(name).until]
    assert {"vllm-2024", "tensorrt-llm-2024"} <= set(past)
    for name in past:
        for family in Engine.load(name).runs_on:
            assert name not in [engine.name for engine in for_family(family)]


def test_shipped_periods_are_of_engines_of_today() -> None:
    """No period of a period; each is found on its last day, and no more a year later."""
    for engine in map(Engine.load, SHIPPED):
        if engine.of is None:
            assert engine.current == engine.name
            continue
        today = Engine.load(engine.of)
        assert engine.until is not None
        assert (today.until, today.of, engine.current) == (None, None, today.name)
        assert replace(at(today.name, engine.until), since="") == engine
        assert replace(at(today.name, f"{int(engine.until[:4]) + 1}"), since="") == today


@pytest.mark.parametrize(
    ("date", "name"),
    [
        (None, "vllm"),
        ("2023", "vllm-2024"),
        ("2024", "vllm-2024"),
        ("2024-11", "vllm-2024"),
        ("2024-12-31", "vllm-2024"),
        ("2025", "vllm"),
        ("2025-01", "vllm"),
        ("2025-01-01", "vllm"),
    ],
)
def test_an_engine_at_a_date(date: str | None, name: str) -> None:
    """By name and by alias; of a year or a month the first day counts."""
    assert at("vllm", date).name == name
    assert at("VLLM-V1", date).name == name


@pytest.mark.parametrize(
    ("date", "quarter"),
    [
        ("2025-01", "2025Q1"), ("2025-03-31", "2025Q1"), ("2025-04", "2025Q2"), ("2025-09-01", "2025Q3"), ("2025-12", "2025Q4"),
        ("2024-06", "2024Q2"), ("2025", ""), (None, ""),
    ],
)  # fmt: skip
def test_an_engine_of_a_date_knows_its_quarter(date: str | None, quarter: str) -> None:
    """Where a month is known; today's knows none."""
    assert at("vllm", date).period("hopper") == quarter


@pytest.mark.parametrize(
    ("date", "cdna4", "hopper"),
    [
        ("2025-10-31", "2025Q4", "2025Q4"), ("2025-12-12", "2025Q4", "2025Q4"), ("2025-12-13", "2025Q4.1", "2025Q4"),
        ("2025-12-31", "2025Q4.2", "2025Q4"), ("2026-01-01", "2026Q1", "2026Q1"), ("2026-05", "2026Q2", "2026Q2"),
        ("2026-05-20", "2026Q2", "2026Q2.1"), ("2026-07-01", "2026Q3", "2026Q3"),
    ],
)  # fmt: skip
def test_a_release_begins_a_period_on_its_families(date: str, cdna4: str, hopper: str) -> None:
    """Within its quarter; to the next release nothing changes, and periods follow each other as their names do."""
    engine = Engine.load(f"sglang@{date}")
    assert (engine.period("cdna4"), engine.period("hopper")) == (cdna4, hopper)
    assert Engine.load(f"sglang@{engine.since}") == engine
    assert engine.period("cdna4") <= Engine.load("sglang@2026-08").period("cdna4")


def test_decode_attention_by_heads_on_its_families() -> None:
    """Above so many pairs, on a windowed row only where attention slides; other families and other engines never."""
    engine = Engine.load("vllm-2024")
    assert engine.by_head("cdna3", 513, 0)
    assert not engine.by_head("cdna3", 512, 0)
    assert engine.by_head("hopper", 513, 4096)
    assert not engine.by_head("hopper", 513, 0)
    assert not engine.by_head("ampere", 5000, 4096)
    assert not Engine.load("vllm").by_head("cdna3", 5000, 0)


@pytest.mark.parametrize("reference", ["vllm@2026-03", "VLLM@2026-03", "vllm-v1@2026-03-31"])
def test_an_engine_may_be_named_as_of_a_date(reference: str) -> None:
    """The same software, which is no other key than at that date."""
    engine = Engine.load(reference)
    assert engine == at("vllm", "2026-03")
    assert (engine.name, engine.period("hopper"), engine.since) == ("vllm", "2026Q1", "2026-01-01")
    assert engine.defaults == Engine.load("vllm").defaults
    assert engine != Engine.load("vllm")


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("0.15.1", "2026-02-05"), ("v0.15.1", "2026-02-05"), ("0.15.1+cu128", "2026-02-05"), ("0.15.1.dev3", None),
        ("0.15.10", None), ("0.10.1.1", "2025-08-20"), ("0.17.1rc1", None), ("22.0", None), ("", None),
    ],
)  # fmt: skip
def test_a_version_has_a_day(version: str, day: str | None) -> None:
    """Builds of it have its day; versions that are not listed, and builds on the way to one, have none."""
    assert Engine.load("vllm").released(version) == day
    if day:
        assert Engine.load(f"vllm@{version}") == at("vllm", day)


def test_days_of_versions_do_not_go_back() -> None:
    """As shipped they stand in the order of their days, and none twice."""
    for versions in (engine.versions for engine in map(Engine.load, SHIPPED) if engine.versions):
        rows = [text.split() for text in versions.value]
        assert [day for _, day in rows] == sorted(day for _, day in rows)
        assert len({version for version, _ in rows}) == len(rows)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    """What was read of a file is kept only as long as the file is the same."""
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    assert Engine.load(str(own)).defaults.token_budget.value == 512
    own.write_text(OWN.replace("token_budget = 512", "token_budget = 256"))
    os.utime(own, ns=(0, own.stat().st_mtime_ns + 1_000_000_000))
    assert Engine.load(str(own)).defaults.token_budget.value == 256


def test_a_path_may_have_the_sign_of_a_date(tmp_path: Path) -> None:
    """A file is a file."""
    folder = tmp_path / "me@home"
    folder.mkdir()
    reference = _write(folder, OWN)
    assert Engine.load(reference).period("hopper") == ""
    assert Engine.load(f"{reference}@2026-03").period("hopper") == "2026Q1"


def test_of_a_date_in_an_earlier_period_that_period_is_taken() -> None:
    """By the same reference."""
    engine = Engine.load("vllm@2024-05")
    assert (engine.name, engine.of, engine.period("hopper")) == ("vllm-2024", "vllm", "2024Q2")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("vllm@", r"date: is '', which is no date\. Give YYYY"),
        ("vllm@spring", r"date: is 'spring', which is no date"),
        ("vlmm@2026-03", r"vlmm: .*Did you mean vllm"),
        ("vllm@99.1", r"date: is '99.1', which is no date.* or a version"),
    ],
)
def test_a_wrong_reference_is_refused(reference: str, message: str) -> None:
    """By its engine or its date."""
    with pytest.raises(InputError, match=message):
        Engine.load(reference)


def test_a_period_by_name_and_a_file_of_the_user_are_what_they_are(tmp_path: Path) -> None:
    """Whatever the date, and though the file is called like an engine of the catalogue."""
    assert at("vllm-2024", "2026").name == "vllm-2024"
    assert at("deepspeed", "2026").name == "deepspeed"
    own = tmp_path / "vllm.toml"
    own.write_text(OWN, encoding="utf-8")
    assert at(str(own), "2024").file == own


def test_of_several_periods_the_earliest_that_had_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month ends after all of its days."""
    texts = {"now": OWN, "june": 'of = "now"\nuntil = "2024-06"\n' + OWN, "early": 'of = "now"\nuntil = "2024-06-15"\n' + OWN}
    files = {name: tmp_path / f"{name}.toml" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text, encoding="utf-8")
    monkeypatch.setattr(engines.catalogue, "names", lambda noun: files)
    monkeypatch.setattr(engines.catalogue, "find", lambda noun, name: files[name])
    loaded = {name: Engine.load(name) for name in files}
    monkeypatch.setattr(engines, "_catalogue", lambda: tuple(loaded.values()))
    dates = {"2024": "early", "2024-06": "early", "2024-06-15": "early", "2024-06-16": "june", "2024-06-30": "june", "2024-07": "now"}
    assert {date: at("now", date).name for date in dates} == dates


@pytest.mark.parametrize("date", ["", "24", "2024-13", "2024-02-30", "2024-1-1", "20240101", "2024-W01-1", "yesterday", "2024-06-15T12:00"])
def test_what_is_no_date_is_refused(date: str) -> None:
    """With the forms that are."""
    with pytest.raises(InputError, match=r"date: is .*, which is no date\. Give YYYY, YYYY-MM or YYYY-MM-DD"):
        at("vllm", date)


def test_engines_of_published_rows_resolve(shared: Path) -> None:
    """Every engine that the published measurements name is a catalogue name or an alias."""
    polars = pytest.importorskip("polars")
    named = polars.read_parquet(shared / "published" / "published.parquet", columns=["engine"])["engine"].drop_nulls().unique()
    for name in named.to_list():
        assert Engine.load(name).file.is_file()


def test_a_file_of_the_user(tmp_path: Path) -> None:
    """A file gives an engine of its own; what it leaves out is absent, bare numbers are facts without source."""
    engine = Engine.load(_write(tmp_path, OWN))
    assert (engine.name, engine.title, engine.weights) == ("own", "own", ("bf16",))
    assert engine.runs("mine")
    assert not engine.runs("hopper")
    assert not engine.has("graphs")
    assert not engine.has("speculation")
    assert engine.host_step is not None
    assert engine.host_step.value == 0.001
    assert engine.host_sequence is None
    assert engine.to_dict()["host"] == {"step": {"value": 0.001}}


def test_overrides_change_the_defaults_of_their_families(tmp_path: Path) -> None:
    """An override takes the place of one default on its families and leaves the others."""
    engine = Engine.load(_write(tmp_path, OWN))
    assert engine.defaults_on("other").token_budget.value == 256
    assert engine.defaults_on("other").block_size == engine.defaults.block_size
    assert engine.defaults_on("third") == engine.defaults


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("token_budget = 512", "token_budgets = 512", r"defaults\.token_budgets: unknown field. Did you mean token_budget\?"),
        ("token_budget = 512", "", r"defaults\.token_budget: is missing"),
        ("block_size = 16", "block_size = 0", r"defaults\.block_size: is 0, below 1"),
        ('prefill = "mixed"', 'prefill = "last"', r"defaults\.prefill: 'last' is not known. Use one of mixed, first"),
        ('["bf16"]', '["bf17"]', r"weights: 'bf17' is not known"),
        ('families = ["mine", "other"]', "", r"override\[0\]\.families: is missing"),
        (OWN[OWN.index("[defaults]") :], "", r"defaults: is missing"),
        ('version = "1"', 'version = "1"\nof = "vllm"', r"until: is missing beside of = 'vllm'\. Add the last day"),
        ('version = "1"', 'version = "1"\nof = "vlm"\nuntil = "2024-12"', r"of: 'vlm' is no other engine of the catalogue\. Use one of"),
        ('version = "1"', 'version = "1"\nuntil = "2024"', r"until: is '2024', which is no date\. Give YYYY-MM or YYYY-MM-DD"),
        (
            "[features]",
            '[[release]]\nfamilies = ["mine"]\nsince = "2026-05"\n[features]',
            r"release\[\]\.since: is '2026-05', which is no day\. Give",
        ),
        ("runs_on", 'versions = ["0.1 2026-05"]\nruns_on', r"versions: has '0\.1 2026-05'\. Give a version and its day"),
        ('version = "1"', 'version = "1"\nuntil = "2024-12-32"', r"until: is '2024-12-32', which is no date"),
    ],
)
def test_a_wrong_file_names_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Whatever is wrong in the file, the error says where, and what to write instead."""
    with pytest.raises(InputError, match=r"own\.toml: " + message):
        Engine.load(_write(tmp_path, OWN.replace(old, new)))


def test_a_period_of_the_user(tmp_path: Path) -> None:
    """A file may be an earlier period of an engine of the catalogue; a date needs no quotes."""
    engine = Engine.load(_write(tmp_path, OWN.replace('version = "1"', 'version = "1"\nof = "vllm"\nuntil = 2023-12-31')))
    assert (engine.of, engine.until, engine.current) == ("vllm", "2023-12-31", "vllm")
    assert engine.to_dict()["until"] == "2023-12-31"


def test_an_unknown_engine_names_the_nearest() -> None:
    """A slip of the finger gets a suggestion."""
    with pytest.raises(InputError, match=r"sglnag: .*Did you mean sglang"):
        Engine.load("sglnag")
