"""In what precision a checkpoint is stored."""

import json
from typing import Any

import pytest

from assay._base.errors import InputError
from assay._base.precisions import precisions
from assay.models import Model
from assay.models.kinds import kinds_document
from assay.models.storage import stored

GROUP = {"weights": {"type": "int", "num_bits": 4, "group_size": 32}, "targets": ["Linear"], "input_activations": None}


def quantised(**config: Any) -> tuple[str, tuple[str, ...]]:
    """What a quantization_config says."""
    return stored({"quantization_config": config}, "config.json")


@pytest.mark.parametrize(
    ("document", "precision"),
    [
        ({}, "bf16"),
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"torch_dtype": "float16"}, "fp16"),
        ({"dtype": "float16"}, "fp16"),
        ({"torch_dtype": None, "dtype": "float32"}, "bf16"),
        ({"torch_dtype": "bfloat16", "quantization_config": None}, "bf16"),
    ],
)
def test_plain_checkpoints(document, precision):
    """Without quantisation the dtype says it, and all classes are in it."""
    assert stored(document, "config.json") == (precision, precisions()[precision].quantises)


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        ({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}, "mxfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, "nvfp4"),
        ({"quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4, "modules_to_not_convert": None}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": GROUP}, "ignore": ["lm_head"]}, "int4"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"type": "float", "num_bits": 8}}}}, "fp8"),
    ],
)
def test_quantised_checkpoints(config, precision):
    """Each known format gives its precision, and quantises what that precision quantises."""
    assert quantised(**config) == (precision, precisions()[precision].quantises)


def test_modules_left_in_sixteen_bit():
    """Embeddings, head, norms and routers change nothing; attention and other projections left out take their classes out."""
    harmless = ["lm_head", "model.embed_tokens", "model.layers.0.mlp.gate", "model.layers.0.input_layernorm", "re:.*router.*"]
    assert quantised(quant_method="fp8", modules_to_not_convert=harmless)[1] == ("attention", "linear", "experts")
    attention = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]
    assert quantised(quant_method="compressed-tensors", config_groups={"a": GROUP}, ignore=attention) == ("int4", ("experts",))


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "awq", "bits": 3},
        {"quant_algo": "MIXED_PRECISION"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "compressed-tensors", "config_groups": {}},
        {"quant_method": "compressed-tensors", "config_groups": []},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": None}}},
        {"quant_method": "compressed-tensors", "config_groups": {"a": GROUP, "b": {"weights": {"type": "float", "num_bits": 8}}}},
        {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.3"]},
        {"quant_method": "fp8", "modules_to_not_convert": "lm_head"},
        {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.3.mlp.experts"]},
        {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.3.mlp.experts"]},
        {},
    ],
)
def test_what_is_not_known_is_refused(config):
    """An unknown format, a mixture of formats and a mixture within a class are refused, naming the place."""
    with pytest.raises(InputError) as caught:
        quantised(**config)
    assert caught.value.field.startswith("quantization_config")


IGNORED = [
    "lm_head", "vision_tower.layers.3.mlp.fc1", "visual.blocks.1.attn.qkv", "mm_projector.proj.0", "re:.*audio_tower.*", "mtp.layers.0.mlp",
    "model.layers.61*", "model.layers.61.eh_proj", "model.layers.3.mlp.gate.e_score_correction_bias",
]  # fmt: skip


def test_what_is_no_part_of_the_language_model_changes_nothing():
    """Images, sound, and layers beyond the last one, which predict further tokens, may be in any precision."""
    document = {"num_hidden_layers": 61, "quantization_config": {"quant_algo": "NVFP4", "exclude_modules": IGNORED}}
    assert stored(document, "config.json") == ("nvfp4", ("attention", "linear", "experts"))


def test_most_layers_decide():
    """Some layers left in 16 bit leave a class quantised, half of them do not; one module of every layer takes its class out."""

    def classes(modules: list[str]) -> tuple[str, ...]:
        quantisation = {"quant_method": "fbgemm_fp8", "modules_to_not_convert": modules}
        return stored({"num_hidden_layers": 8, "quantization_config": quantisation}, "config.json")[1]

    ends = [f"model.layers.{layer}.mlp.{name}_proj" for layer in (0, 7) for name in ("gate", "up", "down")]
    attention = [f"model.layers.{layer}.self_attn.{name}_proj" for layer in range(8) for name in "qkvo"]
    assert classes(ends) == ("attention", "linear", "experts")
    assert classes([*ends, *attention, "lm_head"]) == ("linear", "experts")
    assert classes([f"model.layers.{layer}.mlp.down_proj" for layer in range(4)]) == ("attention", "experts")
    assert classes(["model.layers.0", "model.layers.7.*"]) == ("attention", "linear", "experts")
    with pytest.raises(InputError):
        classes([f"model.layers.{layer}" for layer in range(4)])


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        (
            {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}, "exclude": ["lm_head", "re:.*self_attn.*"]},
            "mxfp4",
        ),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}}, "fp8"),
    ],
)
def test_formats_told_by_the_weights_of_the_whole(config, precision):
    """A format may be told by the weights of all layers; then it can quantise more than its precision does elsewhere."""
    name, classes = quantised(**config)
    assert name == precision
    assert {"linear", "experts"} <= {*classes}


def test_a_file_of_quantisation_beside_the_config(tmp_path):
    """What stands beside a config.json holds where the config says nothing, and only there."""
    shape = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "intermediate_size": 96,
        "vocab_size": 100,
    }
    (tmp_path / "config.json").write_text(json.dumps(shape))
    plain = Model.load(tmp_path)
    quantisation = {
        "quant_algo": "NVFP4",
        "kv_cache_quant_algo": "FP8",
        "group_size": 16,
        "exclude_modules": ["lm_head", "model.layers.*.self_attn*"],
    }
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"producer": {"name": "modelopt"}, "quantization": quantisation}))
    narrow = Model.load(tmp_path)
    assert (plain.architecture.precision, narrow.architecture.precision) == ("bf16", "nvfp4")
    assert narrow.architecture.quantised == ("linear", "experts")
    assert narrow.weight_bytes < plain.weight_bytes
    (tmp_path / "config.json").write_text(json.dumps({**shape, "quantization_config": {"quant_method": "fp8"}}))
    assert Model.load(tmp_path).architecture.precision == "fp8"
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "MIXED_PRECISION"}}))
    (tmp_path / "config.json").write_text(json.dumps(shape))
    with pytest.raises(InputError, match="MIXED_PRECISION"):
        Model.load(tmp_path)


@pytest.mark.parametrize("document", [{"torch_dtype": "int8"}, {"dtype": 3}, {"quantization_config": "fp8"}])
def test_wrong_values_are_refused(document):
    """An unknown dtype and a quantisation that is no table are refused by name."""
    with pytest.raises(InputError) as caught:
        stored(document, "config.json")
    assert caught.value.field in document


def test_every_format_gives_a_known_precision():
    """All precisions that the table names exist."""
    storage = kinds_document()["storage"]
    named = {row["precision"] for row in storage["format"]} | set(storage["dtypes"].values())
    assert named <= precisions().keys()
