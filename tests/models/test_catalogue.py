"""The models that ship: counts, aliases and the ways to name them."""

import json
import tomllib
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from assay._base.catalogue import find, names
from assay._base.errors import InputError
from assay.models import Model

PROMISED = [
    "deepseek-r1",
    "deepseek-v3.2",
    "gpt-oss-120b",
    "kimi-k2",
    "llama-2-70b",
    "llama-3.1-405b",
    "llama-3.1-70b",
    "llama-3.1-8b",
    "llama-3.3-70b",
    "mixtral-8x7b",
    "qwen3-235b-a22b",
    "qwen3-32b",
]


NAMES = list(names("models"))
load = cache(Model.load)


def documents() -> dict[str, dict]:
    """The TOML documents of the catalogue by name."""
    return {name: tomllib.loads(path.read_text()) for name, path in names("models").items()}


def config_of(name: str) -> dict:
    """The config.json fields of a catalogue entry."""
    return documents()[name]["config"]


def test_the_promised_models_ship():
    """Every name that the documentation promises is in the catalogue."""
    assert set(PROMISED) <= set(names("models"))


def test_the_catalogue_is_wide():
    """At least 75 models ship beside those with recurrent layers."""
    assert len([name for name in NAMES if not load(name).state_bytes_per_sequence]) >= 75


@pytest.mark.parametrize("name", NAMES)
def test_counts_agree_with_the_publisher(name):
    """Total and active parameters are within 1 % of the published ones, or within the rounding that the fact declares."""
    model = load(name)
    pairs = [(model.parameters, model.published_parameters), (model.active_parameters, model.published_active)]
    for computed, published in pairs:
        rounded = published.low is not None and published.low <= computed <= published.high
        assert rounded or computed == pytest.approx(published.value, rel=0.01)
        assert published.low is None or published.high <= 1.5 * published.low
        assert published.source


def test_exact_counts_are_exact():
    """Counts published to the last parameter are met to the last one."""
    exact = {name: load(name) for name in NAMES if load(name).published_parameters.value % 1000}
    assert len(exact) >= 60
    for name in exact.keys() - {"kimi-k2", "llama-3.1-405b"}:
        assert exact[name].parameters == exact[name].published_parameters.value, name


def test_kimi_k2_differs_by_its_buffers_only():
    """The metadata of one checkpoint counts a few constants of its rotary embedding, 56 in each layer."""
    model = Model.load("kimi-k2")
    assert model.published_parameters.value - model.parameters == 56 * model.layers


def test_aliases_lead_to_one_model_only():
    """No alias, in lower case, is a name or an alias of another model."""
    seen = set(names("models"))
    for document in documents().values():
        for alias in document["aliases"]:
            assert alias == alias.lower()
            assert alias not in seen
            seen.add(alias)


def test_every_alias_resolves():
    """A model is found by each of its aliases, in any case, those with a slash too."""
    for name, document in documents().items():
        for alias in document["aliases"]:
            assert find("models", alias.upper()) == names("models")[name]


def test_published_names_resolve(shared: Path):
    """Every model of the published table ships, and every spelling of it there leads to it."""
    table = pl.read_parquet(shared / "published" / "published.parquet", columns=["model", "model_published"]).unique()
    for model, spelling in table.iter_rows():
        assert find("models", spelling) == names("models")[model]


RECURRENT = ("nemotron_h", "qwen3_5", "kimi_linear")


def test_models_of_the_notes_resolve(shared: Path):
    """Every model whose config.json was at hand ships, those with recurrent layers aside."""
    noted = json.loads((shared / "notes" / "models.json").read_text())
    for key, config in noted.items():
        base = noted[key.removesuffix("_hf_quant")]
        if not base["model_type"].startswith(RECURRENT):
            assert find("models", key) in names("models").values(), config


def test_null_is_written_as_text():
    """TOML has no null: the catalogue writes it as a text, and it means what it means in a config.json."""
    assert config_of("mistral-nemo-12b")["sliding_window"] == "null"
    assert {group.attention.window for group in load("mistral-nemo-12b").architecture.layers} == {0}


def test_known_sizes():
    """Cached bytes and checkpoint bytes agree with a hand count."""
    llama = Model.load("llama-3.1-8b")
    assert llama.kv_bytes_per_token() == 32 * 2 * 8 * 128 * 2
    assert llama.kv_bytes_per_token(8) == 32 * 2 * 8 * 128
    assert llama.weight_bytes == 2 * 8_030_261_248
    assert Model.load("deepseek-r1").kv_bytes_per_token() == 61 * (512 + 64) * 2
    assert Model.load("deepseek-v3.2").kv_bytes_per_token() == 61 * (512 + 64 + 128) * 2
    assert Model.load("gpt-oss-120b").weight_bytes == pytest.approx(60.8 * 2**30, rel=0.005)


def test_kinds_in_words():
    """The kind says what sort of feed-forward and attention layers a model has."""
    assert Model.load("llama-3.1-8b").kind == "dense, grouped-query attention"
    assert Model.load("deepseek-v3.2").kind == "mixture of experts, latent attention, sparse"
    assert Model.load("gpt-oss-120b").kind == "mixture of experts, grouped-query attention, sliding window in some layers"


def test_to_dict_is_json_with_the_promised_keys():
    """The dictionary holds the promised keys and can be written as JSON without NaN."""
    for name in PROMISED:
        document = json.loads(json.dumps(Model.load(name).to_dict(), allow_nan=False))
        promised = {"name", "kind", "parameters", "active_parameters", "weight_bytes", "kv_bytes_per_token", "layers"}
        assert promised <= document.keys()
        assert sum(part["total"] for part in document["parameters_by_class"].values()) == document["parameters"]
        assert document["published_parameters"]["source"]


def test_load_from_files(tmp_path):
    """A config.json, its folder and a .toml give the architecture of the catalogue entry they repeat."""
    folder = tmp_path / "My-Model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of("deepseek-r1")))
    expected = Model.load("deepseek-r1")
    for reference in (folder, str(folder), folder / "config.json", str(folder / "config.json")):
        model = Model.load(reference)
        assert (model.name, model.architecture) == ("My-Model", expected.architecture)
        assert model.active_parameters == expected.active_parameters
        assert model.published_parameters is None
    copy = tmp_path / "copy.toml"
    copy.write_bytes(names("models")["deepseek-r1"].read_bytes())
    assert Model.load(copy).architecture == Model.load(str(copy)).architecture == expected.architecture


@pytest.mark.parametrize("text", ["{", "[]", "nothing", '{"model_type": "llama",}', "\x00"])
def test_broken_json_is_refused(tmp_path, text):
    """What is not a JSON object is refused, naming the file."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        Model.load(path)


def test_bytes_that_are_not_text_are_refused(tmp_path):
    """A file that is not UTF-8 is refused, naming the file."""
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="not valid JSON"):
        Model.load(tmp_path)


def test_missing_files_are_refused(tmp_path):
    """A folder without config.json and a name that is not known are refused with a remedy."""
    with pytest.raises(InputError, match=r"config\.json"):
        Model.load(tmp_path)
    with pytest.raises(InputError, match=r"llama-3\.1-8b"):
        Model.load("llama-3.1-8c")
