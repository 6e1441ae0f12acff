"""What sets kinds of config.json apart: windows, norms, biases, experts, indexers, and layers of unlike sizes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay._base.errors import InputError
from assay.models import Model
from assay.models.config import architecture
from assay.models.shapes import DenseFfn, ExpertsFfn, GroupedAttention, Indexer, LatentAttention, Norms

BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}
WIDE = {**BASE, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    **WIDE,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
}


def read(kind: str, base: dict[str, Any] = BASE, **changes: Any):
    """The architecture of a document of a kind; ... takes a field out."""
    document = {**base, "model_type": kind, **changes}
    return architecture({name: value for name, value in document.items() if value is not ...}, "config.json")


def refusal(kind: str, base: dict[str, Any] = BASE, **changes: Any) -> str:
    """The field that the error names which reading such a document raises."""
    with pytest.raises(InputError) as caught:
        read(kind, base, **changes)
    assert caught.value.remedy
    return caught.value.field


def windows(kind: str, base: dict[str, Any] = BASE, **changes: Any) -> dict[int, int]:
    """Layers by attention window."""
    found: dict[int, int] = {}
    for group in read(kind, base, **changes).layers:
        found[group.attention.window] = found.get(group.attention.window, 0) + group.count
    return found


def sparse(kind: str, base: dict[str, Any], **changes: Any) -> int:
    """Layers with experts."""
    return sum(group.count for group in read(kind, base, **changes).layers if isinstance(group.ffn, ExpertsFfn))


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("gemma2", {"sliding_window": 32}, {32: 4, 0: 4}),
        ("gemma3_text", {"sliding_window": 32}, {32: 7, 0: 1}),
        ("gemma3_text", {"sliding_window": 32, "sliding_window_pattern": 2}, {32: 4, 0: 4}),
        ("cohere2", {"sliding_window": 32}, {32: 6, 0: 2}),
        ("cohere2", {"sliding_window": 32, "layer_types": ["sliding_attention"] * 7 + ["full_attention"]}, {32: 7, 0: 1}),
        ("olmo3", {}, {4096: 6, 0: 2}),
        ("exaone4", {"sliding_window": 32, "sliding_window_pattern": "LLLG"}, {32: 6, 0: 2}),
        ("exaone4", {"sliding_window": None}, {0: 8}),
        ("phi3", {"sliding_window": 32}, {32: 8}),
        ("phi3", {"sliding_window": None}, {0: 8}),
        ("starcoder2", {"sliding_window": 32}, {32: 8}),
        ("starcoder2", {}, {0: 8}),
        ("smollm3", {"no_rope_layers": [1, 1, 1, 0] * 2}, {0: 8}),
        ("phimoe", {"sliding_window": 32, "num_local_experts": 4, "num_experts_per_tok": 2}, {32: 8}),
        ("mimo", {"sliding_window": 32}, {0: 8}),
    ],
)
def test_which_layers_have_a_window(kind, changes, expected):
    """Every kind limits the layers that its configuration class says, or those that layer_types names."""
    assert windows(kind, **changes) == expected


def test_chunks_are_windows():
    """Layers that look back to the start of their chunk have its reach; where nothing is said, every fourth has none."""
    base = {**BASE, "num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 128}
    assert windows("llama4_text", base, attention_chunk_size=32) == {32: 6, 0: 2}
    assert windows("llama4_text", base, attention_chunk_size=32, no_rope_layers=[1, 0] * 4) == {32: 4, 0: 4}
    assert windows("llama4_text", base, attention_chunk_size=32, layer_types=["chunked_attention"] * 8) == {32: 8}
    assert windows("llama4_text", base, attention_chunk_size=32, no_rope_layers=[]) == {32: 6, 0: 2}
    assert refusal("llama4_text", base, layer_types=["sliding_attention"] * 8) == "layer_types"
    ffn = [group.ffn for group in read("llama4_text", base, interleave_moe_layer_step=2).layers]
    assert {DenseFfn(128), ExpertsFfn(4, 1, 96, 96)} == {*ffn}


@pytest.mark.parametrize(
    ("kind", "norms"),
    [
        ("llama", Norms()),
        ("olmo", Norms(per_channel=0)),
        ("olmo2", Norms()),
        ("glm4", Norms(2, 2)),
        ("gemma3_text", Norms(2, 2)),
        ("phi", Norms(1, 0, 2)),
        ("gpt_neox", Norms(1, 1, 2)),
        ("cohere", Norms(1, 0, 1)),
        ("nemotron", Norms(1, 1, 2)),
    ],
)
def test_norms_of_kinds(kind, norms):
    """Norms before, after or beside, with scales, with biases, or with nothing learned."""
    assert read(kind).norms == norms
    whole = Model("random", read(kind))
    bare = sum(group.count * part.total for group in whole.architecture.layers for half in group.halves for part in half.weights(64))
    tables = 6400 * (1 if whole.architecture.tied else 2) + whole.architecture.head_bias * 100
    assert whole.parameters == bare + tables + (8 * (norms.attention + norms.ffn) + 1) * norms.per_channel * 64


def test_halves_side_by_side():
    """Whether they share a norm, and how many KV heads there are, follows from more than one field."""
    bare = {"num_key_value_heads": ..., "intermediate_size": ...}
    old, new = {**bare, "new_decoder_architecture": False}, {**bare, "new_decoder_architecture": True, "num_kv_heads": 2}
    assert read("falcon", **old).norms.ffn == 0
    assert read("falcon", **old).layers[0].attention == GroupedAttention(8, 1, 8)
    assert read("falcon", **old, multi_query=False).layers[0].attention.kv_heads == 8
    assert read("falcon", **old, parallel_attn=False).norms.ffn == 1
    assert read("falcon", **new).norms.ffn == 1
    assert read("falcon", **new).layers[0].attention.kv_heads == 2
    assert read("falcon", **new, num_ln_in_parallel_attn=1).norms.ffn == 0
    assert read("stablelm").norms.ffn == 1
    assert read("stablelm", use_parallel_residual=True).norms.ffn == 0


@pytest.mark.parametrize(
    ("kind", "changes", "attention"),
    [
        ("glm", {}, GroupedAttention(8, 2, 8, qkv_bias=True)),
        ("glm4", {}, GroupedAttention(8, 2, 8)),
        ("seed_oss", {"attention_out_bias": False}, GroupedAttention(8, 2, 8, qkv_bias=True)),
        ("phi", {}, GroupedAttention(8, 2, 8, qkv_bias=True, output_bias=True)),
        ("cohere", {"use_qk_norm": True}, GroupedAttention(8, 2, 8, qk_norm_whole=True)),
        ("stablelm", {"qk_layernorm": True, "use_qkv_bias": True}, GroupedAttention(8, 2, 8, qkv_bias=True, qk_norm_whole=True)),
        ("olmo2", {}, GroupedAttention(8, 2, 8, qk_norm_whole=True)),
        ("gemma3_text", {"sliding_window_pattern": 1}, GroupedAttention(8, 2, 8, qk_norm=True)),
        ("internlm2", {"bias": False}, GroupedAttention(8, 2, 8)),
        (
            "gpt_bigcode",
            {"n_inner": 96, "intermediate_size": ..., "num_key_value_heads": ...},
            GroupedAttention(8, 1, 8, qkv_bias=True, output_bias=True),
        ),
        ("ernie4_5", {"use_bias": True}, GroupedAttention(8, 2, 8, qkv_bias=True, output_bias=True)),
    ],
)
def test_attention_of_kinds(kind, changes, attention):
    """Biases and norms of queries and keys are those that the kind or the document says."""
    assert read(kind, **changes).layers[0].attention == attention


def test_null_is_no_other_value():
    """A field that is understood with certain values only may be null."""
    base = {**WIDE, "sliding_window": 32, "hybrid_layer_pattern": [0, 1] * 4}
    assert read("mimo_v2_flash", base, n_shared_experts=None) == read("mimo_v2_flash", base)
    assert refusal("mimo_v2_flash", base, n_shared_experts=1) == "n_shared_experts"


def test_names_of_other_makers():
    """Sizes are found under the names that a kind has for them."""
    chat = {
        "num_layers": 8,
        "padded_vocab_size": 100,
        "seq_length": 512,
        "multi_query_group_num": 2,
        "kv_channels": 8,
        "ffn_hidden_size": 96,
    }
    keep = {"model_type": "chatglm", "hidden_size": 64, "num_attention_heads": 8, "multi_query_attention": True, "add_qkv_bias": True}
    shape = architecture({**keep, **chat}, "config.json")
    assert (shape.depth, shape.vocab, shape.max_context) == (8, 100, 512)
    assert shape.layers[0].attention == GroupedAttention(8, 2, 8, qkv_bias=True)
    with pytest.raises(InputError, match="multi_query_attention"):
        architecture({**keep, **chat, "multi_query_attention": False}, "config.json")


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("opt", {"word_embed_proj_dim": 32, "ffn_dim": 96}, "word_embed_proj_dim"),
        ("opt", {"do_layer_norm_before": False, "ffn_dim": 96}, "do_layer_norm_before"),
        ("mpt", {"d_model": 64, "n_layers": 8, "n_heads": 8, "attn_config": {"qk_ln": True}}, "attn_config.qk_ln"),
        ("mpt", {"d_model": 64, "n_layers": 8, "n_heads": 8, "attn_config": [1]}, "attn_config"),
        ("starcoder2", {"mlp_type": "gated"}, "mlp_type"),
        ("phi", {"qk_layernorm": True}, "qk_layernorm"),
        ("gemma4_text", {"num_kv_shared_layers": 4}, "num_kv_shared_layers"),
        ("gemma4_text", {"hidden_size_per_layer_input": 256}, "hidden_size_per_layer_input"),
        ("gemma3_text", {"sliding_window_pattern": "LGL"}, "sliding_window_pattern"),
        ("cohere2", {"sliding_window_pattern": 0}, "sliding_window_pattern"),
        ("llama", {"num_local_experts": 4}, "num_local_experts"),
        ("exaone4", {"layer_types": ["sliding_attention"] * 3}, "layer_types"),
    ],
)
def test_what_is_not_understood_is_refused(kind, changes, field):
    """Fields that are understood with certain values only, and those of other kinds, are refused by name."""
    assert refusal(kind, **changes) == field


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("glm4_moe", {"first_k_dense_replace": 3}, 5),
        ("dots1", {"first_k_dense_replace": 1, "n_shared_experts": 2}, 7),
        ("mimo_v2_flash", {"moe_layer_freq": [0, 1, 1, 1, 1, 1, 1, 1]}, 7),
        ("mimo_v2_flash", {"mlp_layer_types": ["dense"] * 2 + ["sparse"] * 6}, 6),
        ("step3p5", {"moe_layers_enum": "3,4,5,6"}, 4),
        ("step3p5", {}, 5),
        (
            "ernie4_5_moe",
            {"moe_num_experts": 8, "moe_k": 2, "moe_layer_start_index": 2, "moe_layer_end_index": 5, "moe_layer_interval": 1},
            4,
        ),
        (
            "ernie4_5_moe",
            {"moe_num_experts": 8, "moe_k": 2, "moe_layer_start_index": 0, "moe_layer_end_index": -1, "moe_layer_interval": 2},
            4,
        ),
        ("deepseek", {"first_k_dense_replace": 1, "moe_layer_freq": 1}, 7),
    ],
)
def test_which_layers_have_experts(kind, changes, expected):
    """Marks, words, numbers, or a first, a last and a step say where experts are."""
    base = {**WIDE, "sliding_window": 32, "layer_types": ["full_attention"] * 8} if kind in ("mimo_v2_flash", "step3p5") else WIDE
    base = {**base, "n_routed_experts": ..., "num_experts_per_tok": ...} if kind == "ernie4_5_moe" else base
    assert sparse(kind, base, **changes) == expected


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"moe_layer_freq": [0, 1]}, "moe_layer_freq"),
        ({"moe_layer_freq": [0, 2] * 4}, "moe_layer_freq"),
        ({"mlp_layer_types": ["moe"] * 8}, "mlp_layer_types"),
    ],
)
def test_wrong_marks_are_refused(changes, field):
    """Marks are 0 and 1, words those that are known, one for each layer."""
    assert refusal("mimo_v2_flash", {**WIDE, "sliding_window": 32, "layer_types": ["full_attention"] * 8}, **changes) == field


def test_numbers_in_text_that_are_none_are_refused():
    """Layers in a text are numbers with commas between."""
    base = {**WIDE, "sliding_window": 32, "layer_types": ["full_attention"] * 8}
    assert refusal("step3p5", base, moe_layers_enum="3;4") == "moe_layers_enum"


def test_layers_with_a_window_may_have_sizes_of_their_own():
    """Heads, KV heads, widths and sinks may differ between layers that look back without limit and the others."""
    types = ["full_attention", "sliding_attention"] * 4
    pattern = {
        "hybrid_layer_pattern": [0, 1] * 4,
        "swa_num_key_value_heads": 4,
        "swa_num_attention_heads": 16,
        "swa_head_dim": 8,
        "v_head_dim": 4,
    }
    full, near = (group.attention for group in read("mimo_v2_flash", {**WIDE, "sliding_window": 32}, **pattern).layers)
    assert full == GroupedAttention(8, 2, 8, v_dim=4)
    assert near == GroupedAttention(16, 4, 8, 32, v_dim=4, sinks=True)
    assert near.kv_elements == 4 * (8 + 4)
    other = {
        "attention_other_setting": {
            "attention_type": "sliding_attention",
            "num_attention_heads": 16,
            "num_attention_groups": 4,
            "head_dim": 8,
        }
    }
    attentions = {group.attention for group in read("step3p5", {**WIDE, "sliding_window": 32}, layer_types=types, **other).layers}
    assert attentions == {
        GroupedAttention(8, 2, 8, qk_norm=True, head_gate=True),
        GroupedAttention(16, 4, 8, 32, qk_norm=True, head_gate=True),
    }
    tied = {"global_head_dim": 16, "num_global_key_value_heads": 1, "attention_k_eq_v": True, "sliding_window": 32, "layer_types": types}
    full, near = (group.attention for group in read("gemma4_text", **tied).layers)
    assert full == GroupedAttention(8, 1, 16, qk_norm=True, tied_kv=True)
    assert near == GroupedAttention(8, 2, 8, 32, qk_norm=True)
    assert read("gemma4_text", sliding_window=32).layers[0].ffn == DenseFfn(96)


def test_gates_and_tied_projections_are_counted():
    """A gate per head is one column each; tied keys and values have one projection, and are cached apart."""
    plain, gated, tied = GroupedAttention(8, 2, 8), GroupedAttention(8, 2, 8, head_gate=True), GroupedAttention(8, 2, 8, tied_kv=True)
    count = {attention: sum(part.total for part in attention.weights(64)) for attention in (plain, gated, tied)}
    assert count[gated] - count[plain] == 64 * 8
    assert count[plain] - count[tied] == 64 * 2 * 8
    assert plain.kv_elements == tied.kv_elements == 2 * 2 * 8


def test_a_dense_half_beside_the_experts():
    """Where both work in each layer, the dense half is a shared expert, and norms between them are counted."""
    experts = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 16, "sliding_window": 32}
    ffn = read("gemma4_text", **experts).layers[0].ffn
    assert ffn == ExpertsFfn(8, 2, 16, 96, router_scales=True, own_norms=3)
    norm = [part.total for part in ffn.weights(64) if part.kind == "norm"]
    router = [part.total for part in ffn.weights(64) if part.kind == "router"]
    assert (norm, router) == ([3 * 64], [64 * 8 + 64 + 8])


def test_sizes_told_once_for_each_layer():
    """A list of one number for all layers is that number; where it differs the model is refused."""
    lists = {"num_experts": 8, "moe_topk": [2] * 8, "moe_intermediate_size": [16] * 8, "num_shared_expert": [1] * 8}
    assert read("hunyuan_v1_moe", **lists).layers[0].ffn == ExpertsFfn(8, 2, 16, 16)
    assert refusal("hunyuan_v1_moe", **{**lists, "moe_topk": [2] * 7 + [4]}) == "moe_topk"
    assert refusal("hunyuan_v1_moe", **{**lists, "moe_topk": []}) == "moe_topk"


def test_indexers_that_layers_share():
    """An indexer runs in every so many layers; those after it have none of their own, nor a cache for it."""
    base = {**LATENT, "index_n_heads": 4, "index_head_dim": 16, "index_topk": 64}

    def shares(**changes: Any) -> list[tuple[int, bool]]:
        layers = read("glm_moe_dsa", base, **changes).layers
        return sorted((group.count, group.attention.index.shared) for group in layers)

    assert shares() == [(1, False), (7, False)]
    assert shares(index_topk_freq=4, index_skip_topk_offset=3) == [(1, False), (3, False), (4, True)]
    assert shares(indexer_types=["full", "shared"] * 4) == [(1, False), (3, False), (4, True)]
    assert refusal("glm_moe_dsa", base, indexer_types=["full", "half"] * 4) == "indexer_types"
    assert refusal("glm_moe_dsa", base, index_topk_pattern="FS") == "index_topk_pattern"
    own, shared = (LatentAttention(8, 24, 16, 8, 4, 8, Indexer(4, 16, 64, shared=shared)) for shared in (False, True))
    difference = [sum(part.total for part in attention.weights(64)) for attention in (own, shared)]
    assert difference[0] - difference[1] == 24 * 4 * 16 + 64 * (16 + 4) + 2 * 16
    assert (own.kv_elements - shared.kv_elements, own.reaches, shared.reaches) == (16, (0, 64), (64,))


def test_blocks_that_an_indexer_picks():
    """Grouped-query attention may read picked blocks only; its indexer has no weights per head, and sparse layers alone have one."""
    table = {"sparse_num_index_heads": 4, "sparse_index_dim": 16, "sparse_topk_blocks": 4, "sparse_block_size": 8}
    base = {**BASE, "num_local_experts": 8, "num_experts_per_tok": 2, "moe_layer_freq": [0] + [1] * 7}
    layers = read("minimax_m3", base, sparse_attention_config={**table, "sparse_attention_freq": [0] + [1] * 7}).layers
    assert [group.attention.index for group in layers] == [None, Indexer(4, 16, 32, weighed=False)]
    words = read("minimax_m3", base, layer_types=["full_attention"] + ["minimax_m3_sparse"] * 7, sparse_attention_config=table).layers
    assert words == layers
    assert (
        refusal("minimax_m3", base, sparse_attention_config={**table, "sparse_attention_freq": [1]})
        == "sparse_attention_config.sparse_attention_freq"
    )


def test_kv_heads_of_each_layer():
    """Layers may differ in their KV heads alone."""
    shape = read("deci", num_key_value_heads=..., num_key_value_heads_per_layer=[4, 4, 2, 2, 2, 2, 1, 1])
    assert [(group.count, group.attention.kv_heads) for group in shape.layers] == [(2, 4), (4, 2), (2, 1)]
    for wrong in ([4] * 7, [4] * 7 + [3], [4] * 7 + [0], ["4"] * 8, ...):
        assert refusal("deci", num_key_value_heads_per_layer=wrong) == "num_key_value_heads_per_layer"


def block(attention: Any, ffn: Any) -> dict[str, Any]:
    """A block with the fields that published ones have."""
    return {"attention": {"replace_with_linear": False, "no_op": False, **attention}, "ffn": {"sparsify": None, "no_op": False, **ffn}}


def test_blocks_of_their_own():
    """A block tells its KV heads and its width, or that it has no attention or no FFN."""
    blocks = [block({"n_heads_in_group": 4}, {"ffn_mult": 5.25})] * 6
    blocks += [block({"no_op": True, "n_heads_in_group": None}, {"ffn_mult": 0.5}), block({"n_heads_in_group": 8}, {"no_op": True})]
    layers = read("nemotron-nas", {**BASE, "hidden_size": 8192}, block_configs=blocks).layers
    assert layers[0].attention == GroupedAttention(8, 2, 8)
    assert layers[0].ffn == DenseFfn(28672)
    assert (layers[1].attention, layers[1].ffn) == (None, DenseFfn(2816))
    assert (layers[2].attention, layers[2].ffn) == (GroupedAttention(8, 1, 8), None)


@pytest.mark.parametrize(
    "blocks",
    [
        ...,
        [],
        "8",
        [{"attention": {"n_heads_in_group": 4}}] * 8,
        [block({"n_heads_in_group": 3}, {"ffn_mult": 1})] * 8,
        [block({"n_heads_in_group": None}, {"ffn_mult": 1})] * 8,
        [block({"n_heads_in_group": 4}, {"ffn_mult": -1})] * 8,
        [block({"n_heads_in_group": 4}, {"ffn_mult": "1"})] * 8,
        [block({"n_heads_in_group": 4, "replace_with_linear": True}, {"ffn_mult": 1})] * 8,
        [block({"n_heads_in_group": 4, "window_length": 64}, {"ffn_mult": 1})] * 8,
        [block({"n_heads_in_group": 4, "num_sink_tokens": 4}, {"ffn_mult": 1})] * 8,
    ],
)
def test_blocks_that_are_not_understood_are_refused(blocks):
    """Blocks without a half, with sizes that do not fit, or with what is not known, are refused by the name of the list."""
    assert refusal("nemotron-nas", block_configs=blocks) == "block_configs"


@given(st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_prediction_layers_are_counted_apart(predictors, depth, tied):
    """Each is like the last layer, with two norms and a projection of two inputs to one; no other count has them."""
    base = {**LATENT, "num_hidden_layers": depth + 1, "tie_word_embeddings": tied}
    alone, with_them = (Model("x", read("deepseek_v3", base, num_nextn_predict_layers=count)) for count in (0, predictors))
    assert (alone.parameters, alone.active_parameters) == (with_them.parameters, with_them.active_parameters)
    assert "predictor_parameters" not in alone.to_dict()
    layer = Model("x", read("deepseek_v3", {**base, "num_hidden_layers": depth + 2})).parameters - alone.parameters
    assert with_them.to_dict()["predictor_parameters"] == predictors * (layer + 2 * 64 + 2 * 64 * 64)


def test_prediction_layers_of_a_published_count():
    """One published count includes them."""
    model = Model.load("mimo-7b")
    assert model.parameters + model.predictor_parameters == pytest.approx(7.83e9, rel=0.001)
