"""In what precision a checkpoint is stored."""

from typing import Any

import pytest

from assay._base.errors import InputError
from assay._base.precisions import precisions
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
    """Embeddings, head, norms and routers change nothing; attention left out takes the linear class out."""
    harmless = ["lm_head", "model.embed_tokens", "model.layers.0.mlp.gate", "model.layers.0.input_layernorm", "re:.*router.*"]
    assert quantised(quant_method="fp8", modules_to_not_convert=harmless)[1] == ("linear", "experts")
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
