"""Hybrids: counts of random and of shipped ones, which layers they have, and what is refused."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.catalogue import names
from assay._base.errors import InputError
from assay.models import Model
from assay.models.config import architecture
from assay.models.mixers import Recurrence
from assay.models.shapes import DenseFfn, ExpertsFfn, GroupedAttention, LatentAttention

SHIPPED = sorted(name for name in names("models") if Model.load(name).state_bytes_per_sequence)
SHIPPED += ["deepseek-v4-flash", "deepseek-v4-pro"]
DELTA = {
    "model_type": "qwen3_next",
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "intermediate_size": 96,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 24,
    "decoder_sparse_step": 1,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "linear_conv_kernel_dim": 4,
}
CHANNELS = {
    "model_type": "kimi_linear",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "vocab_size": 100,
    "intermediate_size": 96,
    "num_experts": 8,
    "num_experts_per_token": 2,
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "linear_attn_config": {"full_attn_layers": [4], "kda_layers": [1, 2, 3], "head_dim": 8, "num_heads": 4, "short_conv_kernel_size": 4},
}
SPACE = {
    "model_type": "nemotron_h",
    "hidden_size": 64,
    "hybrid_override_pattern": "M-ME*E",
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "intermediate_size": 96,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "moe_shared_expert_intermediate_size": 24,
    "mamba_num_heads": 4,
    "mamba_head_dim": 12,
    "ssm_state_size": 8,
    "n_groups": 2,
    "conv_kernel": 4,
}


def read(base: dict[str, Any], **changes: Any):
    """The architecture of a document with some fields changed."""
    return architecture({**base, **changes}, "config.json")


def refusal(document: dict[str, Any]) -> InputError:
    """The error that reading the document raises."""
    with pytest.raises(InputError) as caught:
        architecture(document, "config.json")
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", SHIPPED)
def test_counts_agree_with_the_publisher(name):
    """Total and active parameters are within 1 % of the published ones, or within the rounding that the fact declares."""
    model = Model.load(name)
    pairs = [(model.parameters, model.published_parameters), (model.active_parameters, model.published_active)]
    for computed, published in pairs:
        rounded = published.low is not None and published.low <= computed <= published.high
        assert rounded or computed == pytest.approx(published.value, rel=0.01)
        assert published.source


def test_published_names_resolve(shared):
    """Every spelling of a shipped hybrid in the published table leads to it."""
    table = pl.read_parquet(shared / "published" / "published.parquet", columns=["model", "model_published"]).unique()
    found = {model for model, spelling in table.iter_rows() if model in SHIPPED and Model.load(spelling).name == model}
    assert found == {"qwen3.5-397b-a17b", "nemotron-3-nano-30b-a3b", "deepseek-v4-pro"}


def test_which_layers_are_what():
    """The rules of each kind give the published layouts."""
    layout = [(group.count, type(group.attention), type(group.ffn)) for group in Model.load("qwen3.5-397b-a17b").architecture.layers]
    assert layout == [(45, Recurrence, ExpertsFfn), (15, GroupedAttention, ExpertsFfn)]
    layout = [(group.count, type(group.attention), type(group.ffn)) for group in Model.load("kimi-linear-48b-a3b").architecture.layers]
    assert layout == [(1, Recurrence, DenseFfn), (19, Recurrence, ExpertsFfn), (7, LatentAttention, ExpertsFfn)]
    none = type(None)
    layout = [(group.count, type(group.attention), type(group.ffn)) for group in Model.load("nemotron-3-nano-30b-a3b").architecture.layers]
    assert layout == [(23, Recurrence, none), (23, none, ExpertsFfn), (6, GroupedAttention, none)]


def test_layers_by_words_and_by_rule():
    """Words say the same as attention in every fourth layer, and words of lone layers the same as letters."""
    words = (["linear_attention"] * 3 + ["full_attention"]) * 2
    assert read(DELTA, layer_types=words) == read(DELTA) == read(DELTA, full_attention_interval=4)
    lone = ["mamba", "mlp", "mamba", "moe", "attention", "moe"]
    spelled = {key: value for key, value in SPACE.items() if key != "hybrid_override_pattern"}
    assert read(spelled, layers_block_type=lone) == read(SPACE) == read(SPACE, num_hidden_layers=6)


def delta_layer(c: dict[str, Any]) -> int:
    """Weights of a gated delta net, matrix by matrix."""
    h, key, value = (
        c["hidden_size"],
        c["linear_num_key_heads"] * c["linear_key_head_dim"],
        c["linear_num_value_heads"] * c["linear_value_head_dim"],
    )
    heads = c["linear_num_value_heads"]
    projections = h * key + h * key + h * value + h * value + h * heads + h * heads + value * h
    return projections + c["linear_conv_kernel_dim"] * (key + key + value) + heads + heads + c["linear_value_head_dim"]


def gated_attention(c: dict[str, Any]) -> int:
    """Weights of attention with an output gate and norms on queries and keys."""
    h, d = c["hidden_size"], c["head_dim"]
    q, k = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    return h * q + h * q + h * k + h * k + q * h + d + d


small = st.integers(1, 9)


@given(st.data())
def test_delta_count(data):
    """A random delta hybrid has its projections, convolution, decays and norms, and an FFN with a weighed shared expert."""
    key_heads = data.draw(small)
    sizes = ("hidden_size", "vocab_size", "head_dim", "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim")
    c = {**DELTA, **{size: data.draw(small) for size in (*sizes, "moe_intermediate_size", "shared_expert_intermediate_size")}}
    c |= {"linear_num_key_heads": key_heads, "linear_num_value_heads": key_heads * data.draw(small), "num_hidden_layers": data.draw(small)}
    depth, h = c["num_hidden_layers"], c["hidden_size"]
    attention = depth // 4
    ffn = 8 * 3 * h * c["moe_intermediate_size"] + 8 * h + 3 * h * c["shared_expert_intermediate_size"] + h
    layers = attention * gated_attention(c) + (depth - attention) * delta_layer(c) + depth * (ffn + 2 * h)
    model = Model("random", architecture(c, "config.json"))
    assert model.parameters == layers + 2 * c["vocab_size"] * h + h
    channels = 2 * key_heads * c["linear_key_head_dim"] + c["linear_num_value_heads"] * c["linear_value_head_dim"]
    state = c["linear_num_value_heads"] * c["linear_key_head_dim"] * c["linear_value_head_dim"] * 4
    state += (c["linear_conv_kernel_dim"] - 1) * channels * 2
    assert model.state_bytes_per_sequence == (depth - attention) * state
    assert model.kv_bytes_per_token() == attention * 2 * c["num_key_value_heads"] * c["head_dim"] * 2


@given(st.text("M*-E", min_size=1, max_size=12), st.sampled_from([None, 5]), st.booleans())
def test_state_space_count(pattern, latent, bias):
    """A random pattern has one norm in each layer, plain FFNs of two matrices, and experts that may work on fewer values."""
    c = {**SPACE, "hybrid_override_pattern": pattern, "moe_latent_size": latent, "use_conv_bias": bias}
    h, inner, shared = 64, 4 * 12, 2 * 2 * 8
    layer = {
        "M": h * (inner + inner + shared + 4) + (4 + bias) * (inner + shared) + 3 * 4 + inner + inner * h,
        "*": h * 8 * 16 + 2 * h * 2 * 16 + 8 * 16 * h,
        "-": 2 * h * 96,
        "E": 8 * 2 * (latent or h) * 16 + 2 * h * 24 + 8 * h + 8 + (2 * h * latent if latent else 0),
    }
    model = Model("random", architecture(c, "config.json"))
    assert model.parameters == sum(layer[letter] + h for letter in pattern) + 2 * 100 * h + h
    assert model.layers == len(pattern)


def test_state_width():
    """The state is 32 bit unless the document says otherwise; what it says must be a known type."""
    wide, narrow = (Model("one", read(SPACE, mamba_ssm_cache_dtype=width)).state_bytes_per_sequence for width in ("float32", "bfloat16"))
    assert wide - narrow == 2 * 4 * 12 * 8 * 2
    assert Model("one", read(SPACE)).state_bytes_per_sequence == wide
    assert refusal({**SPACE, "mamba_ssm_cache_dtype": "float8"}).field == "mamba_ssm_cache_dtype"


def test_only_hybrids_tell_a_state():
    """`state_bytes_per_sequence` is in the figures of models that have one, and in no other's."""
    assert Model.load("kimi-linear-48b-a3b").to_dict()["state_bytes_per_sequence"] == 20 * (32 * 128 * 128 * 4 + 3 * 3 * 4096 * 2)
    assert "state_bytes_per_sequence" not in Model.load("llama-3.1-8b").to_dict()
    assert Model.load("qwen3-next-80b-a3b").kind == "mixture of experts, grouped-query attention, recurrent in 36 of 48 layers"


TABLE = CHANNELS["linear_attn_config"]


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        (DELTA, {"layer_types": ["linear_attention"] * 7}, "layer_types"),
        (DELTA, {"layer_types": ["lightning"] * 8}, "layer_types"),
        (DELTA, {"linear_num_key_heads": 3}, "linear_num_key_heads"),
        (DELTA, {"linear_rank": 3}, "linear_rank"),
        (DELTA, {"full_attention_interval": 0}, "full_attention_interval"),
        (SPACE, {"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern"),
        (SPACE, {"hybrid_override_pattern": ""}, "hybrid_override_pattern"),
        (SPACE, {"hybrid_override_pattern": None}, "hybrid_override_pattern"),
        (SPACE, {"num_hidden_layers": 7}, "hybrid_override_pattern"),
        (SPACE, {"layers_block_type": ["mamba", "conv"]}, "layers_block_type"),
        (SPACE, {"n_groups": 3}, "n_groups"),
        (SPACE, {"use_bias": True}, "use_bias"),
        (SPACE, {"mamba_proj_bias": True}, "mamba_proj_bias"),
        (CHANNELS, {"linear_attn_config": None}, "linear_attn_config.full_attn_layers"),
        (CHANNELS, {"linear_attn_config": [1]}, "linear_attn_config"),
        (CHANNELS, {"linear_attn_config": {**TABLE, "kda_layers": [0, 1, 2]}}, "linear_attn_config.kda_layers"),
        (CHANNELS, {"linear_attn_config": {**TABLE, "use_full_rank_gate": True}}, "linear_attn_config.use_full_rank_gate"),
        (CHANNELS, {"attn_res_block_size": 12}, "attn_res_block_size"),
    ],
)
def test_what_cannot_be_right_is_refused(base, changes, field):
    """Layouts that do not fit, sizes that do not divide, and fields that are not understood are refused by name."""
    assert refusal({**base, **changes}).field == field


def test_a_wrapped_language_model_is_read():
    """A document of a known kind with vision beside the language model is read as that; a quantisation of the whole counts."""
    text = {**DELTA, "model_type": "qwen3_5_moe_text"}
    whole = {
        "model_type": "qwen3_5_moe",
        "text_config": text,
        "vision_config": {"depth": 27},
        "quantization_config": {"quant_method": "fp8"},
    }
    assert architecture(whole, "config.json") == read(text, quantization_config={"quant_method": "fp8"})
    assert architecture({**whole, "model_type": "other"}, "config.json") == architecture(whole, "config.json")
    assert refusal({"model_type": "qwen3_5_moe", "vision_config": {}}).field == "model_type"
