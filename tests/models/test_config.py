"""Reading config.json: what is honoured, and what is refused by name."""

from typing import Any

import pytest

from assay._base.errors import InputError
from assay.models.config import architecture
from assay.models.kinds import kind_of, kinds_document
from assay.models.shapes import DenseFfn, ExpertsFfn, GroupedAttention, LatentAttention

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}
MOE = {**LLAMA, "model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "model_type": "deepseek_v3",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}


def read(base: dict[str, Any], **changes: Any):
    """The architecture of a document with some fields changed."""
    return architecture({**base, **changes}, "config.json")


def windows(base: dict[str, Any], **changes: Any) -> dict[int, int]:
    """Layers by attention window."""
    return {group.attention.window: group.count for group in read(base, **changes).layers}


def without(base: dict[str, Any], field: str) -> dict[str, Any]:
    """The document without a field."""
    return {key: value for key, value in base.items() if key != field}


def refusal(document: dict[str, Any], file: str = "config.json") -> InputError:
    """The error that reading the document raises."""
    with pytest.raises(InputError) as caught:
        architecture(document, file)
    assert caught.value.file == file
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", kinds_document()["kind"])
def test_every_kind_is_complete(name):
    """Each kind of the table names known forms and has a reader for its attention and feed-forward layers."""
    kind = kind_of({"model_type": name}, "config.json")
    assert (kind.attention in ("grouped", "latent", "compressed"), kind.ffn in ("dense", "experts")) == (True, True)
    assert {"hidden", "vocab", "depth", "heads", "tied", "context"} <= kind.fields.keys()
    assert ("window" in kind.fields) == (bool(kind.windowed) or kind.attention == "compressed")


def test_defaults_of_absent_fields():
    """Without KV heads every head has its own, head size is hidden over heads, and embeddings are not tied."""
    shape = read(without(LLAMA, "num_key_value_heads"))
    assert shape.layers[0].attention == GroupedAttention(8, 8, 8)
    assert (shape.tied, shape.precision, shape.depth) == (False, "bf16", 4)
    assert read(LLAMA, head_dim=None).layers[0].attention.head_dim == 8
    assert read(without(LLAMA, "max_position_embeddings")).max_context == 2048


def test_numeric_defaults_of_the_configuration_class():
    """Where the configuration class has a number for an absent field, that number counts; null still means one per head."""
    assert read(without({**LLAMA, "model_type": "mistral"}, "num_key_value_heads")).layers[0].attention.kv_heads == 8
    assert read(LLAMA, model_type="mistral", num_key_value_heads=None).layers[0].attention.kv_heads == 8
    assert read(LLAMA, model_type="qwen3").layers[0].attention.head_dim == 128


def test_biases_and_norms_of_kinds():
    """Biases and norms come from the field, or from the kind where it has none."""
    assert read(LLAMA, attention_bias=True, mlp_bias=True).layers[0].ffn == DenseFfn(96, bias=True)
    assert read(LLAMA, attention_bias=True).layers[0].attention == GroupedAttention(8, 2, 8, qkv_bias=True, output_bias=True)
    assert read(LLAMA, model_type="qwen2").layers[0].attention == GroupedAttention(8, 2, 8, qkv_bias=True)
    assert read(LLAMA, model_type="qwen3", head_dim=8).layers[0].attention == GroupedAttention(8, 2, 8, qk_norm=True)


def test_mistral_window():
    """A window limits all layers; null switches it off; absence means the default of its configuration class."""
    mistral = {**LLAMA, "model_type": "mistral"}
    assert windows(mistral, sliding_window=256) == {256: 4}
    assert windows(mistral, sliding_window=None) == {0: 4}
    assert windows(mistral) == {4096: 4}


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3"])
def test_window_that_must_be_switched_on(model_type):
    """The window counts only when use_sliding_window is true, and only from max_window_layers on."""
    base = {**LLAMA, "model_type": model_type, "sliding_window": 256, "max_window_layers": 3}
    assert windows(base) == windows(base, use_sliding_window=False) == {0: 4}
    assert windows(base, use_sliding_window=True) == {0: 3, 256: 1}


def test_alternating_window():
    """layer_types says which layers have the window; without it even layers do. Like layers are counted together."""
    base = {
        **LLAMA,
        "model_type": "gpt_oss",
        "head_dim": 8,
        "sliding_window": 32,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    }
    assert windows(base) == {32: 2, 0: 2}
    types = ["full_attention", "sliding_attention", "full_attention", "full_attention"]
    assert windows(base, layer_types=types) == {0: 3, 32: 1}
    group = read(base).layers[0]
    assert group.attention == GroupedAttention(8, 2, 8, 32, qkv_bias=True, output_bias=True, sinks=True)
    assert group.ffn == ExpertsFfn(4, 2, 96, bias=True, router_bias=True)


@pytest.mark.parametrize(
    ("types", "problem"),
    [
        (["full_attention"] * 3, "3 items for 4 layers"),
        (["chunked_attention"] * 4, "not known"),
        (["full_attention", 1, 2, 3], "list of str"),
        ("full_attention", "list of str"),
    ],
)
def test_wrong_layer_types_are_refused(types, problem):
    """layer_types must be a list of known words, one for each layer."""
    error = refusal({**LLAMA, "model_type": "qwen3", "layer_types": types})
    assert error.field == "layer_types"
    assert problem in error.problem


def test_windowed_layer_without_a_window_is_refused():
    """layer_types with windowed layers needs a window."""
    error = refusal({**LLAMA, "model_type": "qwen3", "layer_types": ["sliding_attention"] * 4, "sliding_window": None})
    assert error.field == "sliding_window"


def test_which_layers_have_experts():
    """Steps, dense-only lists and leading dense layers are honoured."""

    def counts(base: dict[str, Any], **changes: Any) -> dict[bool, int]:
        return {isinstance(group.ffn, ExpertsFfn): group.count for group in read(base, **changes).layers}

    assert counts(MOE) == {True: 4}
    assert counts(MOE, decoder_sparse_step=2) == {False: 2, True: 2}
    assert counts(MOE, mlp_only_layers=[0, 3]) == {False: 2, True: 2}
    assert counts(LATENT) == {False: 1, True: 3}
    assert counts(LATENT, moe_layer_freq=2) == {False: 3, True: 1}
    assert counts(LATENT, first_k_dense_replace=0) == {True: 4}


def test_latent_attention():
    """Latent sizes are read; a null q_lora_rank means that queries are not compressed; the indexer is read where there is one."""
    assert read(LATENT).layers[0].attention == LatentAttention(8, 24, 16, 8, 4, 8)
    assert read(LATENT, q_lora_rank=None).layers[0].attention.q_rank == 0
    sparse = read(LATENT, model_type="deepseek_v32", index_n_heads=4, index_head_dim=16, index_topk=64).layers[0].attention
    assert (sparse.index.heads, sparse.index.dim, sparse.index.top_k) == (4, 16, 64)
    assert sparse.kv_elements == 16 + 4 + 16


def test_shared_experts():
    """Shared experts are one feed-forward layer of their widths together; null means none."""
    assert read(LATENT, n_shared_experts=2).layers[1].ffn.shared_width == 32
    assert read(LATENT, n_shared_experts=None).layers[1].ffn.shared_width == 0
    assert read(LATENT).layers[1].ffn.router_bias
    assert not read(LATENT, model_type="deepseek_v2").layers[1].ffn.router_bias


def test_harmless_and_switched_off_fields_are_ignored():
    """Fields that change nothing, that are off, or whose name tells nothing of the computation do not matter."""
    shape = read(
        LLAMA,
        rope_theta=1e4,
        rope_scaling={"factor": 8},
        torch_dtype="bfloat16",
        eos_token_id=[1, 2],
        architectures=["X"],
        pretraining_tp=1,
        num_memory_tokens=0,
        use_mamba_heads=False,
        conv_size=None,
        some_remark="x",
        transformers_version="4",
    )
    assert shape == read(LLAMA)
    assert read(LATENT, num_key_value_heads=8, n_group=8, topk_group=4, ep_size=1, head_dim=4) == read(LATENT)


@pytest.mark.parametrize(
    "field",
    [
        "num_memory_layers",
        "n_streams",
        "state_dim",
        "chunk_size",
        "adapter_rank",
        "attention_chunk_size",
        "sliding_window",
        "linear_heads",
        "ssm_state",
        "mamba_expand",
        "conv_kernel",
        "moe_expert_count",
        "head_scale",
        "per_layer_inputs",
        "num_kv_shared_layers",
        "attention_k_eq_v",
        "block_configs",
        "dual_chunk_attention_config",
        "extra_bias",
    ],
)
def test_fields_that_would_change_the_computation_are_refused(field):
    """A field that is not understood and looks structural is refused by its name."""
    assert refusal({**LLAMA, field: 2}).field == field


@pytest.mark.parametrize("model_type", ["gemma3n", "mllama", "LLAMA", "", 3, ["llama"]])
def test_unknown_kinds_are_refused(model_type):
    """Another model_type is refused, and the known ones are listed."""
    error = refusal({**LLAMA, "model_type": model_type})
    assert error.field == "model_type"
    assert "llama" in error.remedy
    assert "deepseek_v3" in error.remedy


def test_a_document_without_kind_is_refused():
    """model_type is required."""
    assert refusal(without(LLAMA, "model_type")).field == "model_type"


@pytest.mark.parametrize("table", ["text_config", "llm_config", "language_config"])
def test_a_wrapped_language_model_is_read(table):
    """The language model counts, whatever wraps it; storage is said outside, and what is said within comes first."""
    wrapped = {"model_type": "anything", table: LLAMA, "vision_config": {"num_layers": 9}, "num_image_tokens": 4}
    assert read(wrapped) == read(LLAMA)
    assert read(wrapped, tie_word_embeddings=True).tied
    assert not read(wrapped, tie_word_embeddings=True, **{table: {**LLAMA, "tie_word_embeddings": False}}).tied
    assert read(wrapped, quantization_config={"quant_method": "fp8"}).precision == "fp8"
    assert read(wrapped, torch_dtype="float16").precision == "fp16"


@pytest.mark.parametrize(
    ("wrapped", "field"),
    [
        ({"model_type": "mllama_text_model"}, "model_type"),
        ({}, "model_type"),
        ({**LLAMA, "num_experts": 2}, "num_experts"),
        ([1], "text_config"),
    ],
)
def test_a_wrapped_language_model_that_is_not_known_is_refused(wrapped, field):
    """What is refused alone is refused within a wrapper too."""
    assert refusal({"model_type": "llama4", "text_config": wrapped or {"hidden_size": 1}}).field == field


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"])
@pytest.mark.parametrize("value", [None, "64", 64.0, True, [64], -1, 0])
def test_wrong_sizes_are_refused(field, value):
    """A required size that is null, mistyped, negative or zero is refused by its name."""
    assert refusal({**LLAMA, field: value}).field == field


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"])
def test_missing_sizes_are_refused(field):
    """A required size that is absent is refused by its name."""
    error = refusal(without(LLAMA, field))
    assert (error.field, "missing" in error.problem) == (field, True)


@pytest.mark.parametrize(
    "field", ["n_routed_experts", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "v_head_dim", "moe_intermediate_size"]
)
@pytest.mark.parametrize("value", ["absent", -2, 0, "8"])
def test_wrong_sizes_of_latent_models_are_refused(field, value):
    """The sizes of latent attention and experts are required too."""
    document = without(LATENT, field) if value == "absent" else {**LATENT, field: value}
    assert refusal(document).field == field


@pytest.mark.parametrize(
    ("base", "changes", "field"),
    [
        (LLAMA, {"num_key_value_heads": 3}, "num_key_value_heads"),
        (LLAMA, {"num_key_value_heads": 16}, "num_key_value_heads"),
        (LLAMA, {"num_key_value_heads": 0}, "num_key_value_heads"),
        (LLAMA, {"num_attention_heads": 6, "num_key_value_heads": 2}, "head_dim"),
        (LLAMA, {"tie_word_embeddings": "no"}, "tie_word_embeddings"),
        (LLAMA, {"attention_bias": 1}, "attention_bias"),
        (LATENT, {"attention_bias": True}, "attention_bias"),
        (MOE, {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        (MOE, {"num_experts": 0}, "num_experts"),
        (MOE, {"mlp_only_layers": [True]}, "mlp_only_layers"),
        (LATENT, {"moe_layer_freq": [0, 1, 1, 1]}, "moe_layer_freq"),
        (LATENT, {"first_k_dense_replace": -1}, "first_k_dense_replace"),
    ],
)
def test_values_that_cannot_be_right_are_refused(base, changes, field):
    """Sizes that do not fit each other, and flags that are no booleans, are refused by name."""
    assert refusal({**base, **changes}).field == field
