"""Counts of random architectures against formulas written down here on their own."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assay._base.precisions import precisions
from assay.models import Model
from assay.models.config import architecture

small = st.integers(1, 40)


@st.composite
def grouped(draw: st.DrawFn) -> dict[str, Any]:
    """A random dense config.json with grouped-query attention."""
    kv_heads, per_group, head_dim = draw(small), draw(st.integers(1, 4)), draw(small)
    return {
        "model_type": "llama",
        "hidden_size": draw(small),
        "num_hidden_layers": draw(st.integers(1, 9)),
        "vocab_size": draw(small),
        "num_attention_heads": kv_heads * per_group,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": draw(small),
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
    }


@st.composite
def routed(draw: st.DrawFn) -> dict[str, Any]:
    """A random config.json with grouped-query attention and experts in every layer."""
    document = {key: value for key, value in draw(grouped()).items() if not key.endswith("_bias")}
    experts = draw(small)
    return {**document, "model_type": "mixtral", "num_local_experts": experts, "num_experts_per_tok": draw(st.integers(1, experts))}


@st.composite
def latent(draw: st.DrawFn) -> dict[str, Any]:
    """A random config.json with latent attention, leading dense layers, routed and shared experts."""
    sizes = ("hidden_size", "vocab_size", "num_attention_heads", "intermediate_size", "moe_intermediate_size")
    sizes += ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    experts, depth = draw(small), draw(st.integers(1, 9))
    return {
        **{size: draw(small) for size in sizes},
        "model_type": "deepseek_v2",
        "num_hidden_layers": depth,
        "n_routed_experts": experts,
        "tie_word_embeddings": False,
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "n_shared_experts": draw(st.integers(1, 3)),
        "moe_layer_freq": 1,
        "first_k_dense_replace": draw(st.integers(0, depth)),
        "q_lora_rank": draw(st.none() | small),
    }


def model(document: dict[str, Any]) -> Model:
    """The model of a document."""
    return Model("random", architecture(document, "config.json"))


def attention_by_hand(c: dict[str, Any]) -> int:
    """Weights of grouped-query attention, matrix by matrix."""
    h, d = c["hidden_size"], c["head_dim"]
    q, k = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    return h * q + h * k + h * k + q * h + (q + k + k + h if c.get("attention_bias") else 0)


def tables_by_hand(c: dict[str, Any]) -> int:
    """Weights of embedding, head and last norm."""
    return c["vocab_size"] * c["hidden_size"] * (1 if c["tie_word_embeddings"] else 2) + c["hidden_size"]


@given(grouped())
def test_dense_count(c):
    """A dense model has its attention, three feed-forward matrices, two norms in each layer, and its tables; all of it works."""
    h, f = c["hidden_size"], c["intermediate_size"]
    layer = attention_by_hand(c) + h * f + h * f + f * h + (f + f + h if c["mlp_bias"] else 0) + h + h
    expected = c["num_hidden_layers"] * layer + tables_by_hand(c)
    assert model(c).parameters == model(c).active_parameters == expected
    assert model(c).kv_bytes_per_token() == c["num_hidden_layers"] * 2 * c["num_key_value_heads"] * c["head_dim"] * 2


@given(routed())
def test_experts_count(c):
    """Of the experts, only the chosen ones count as active; the router always does."""
    h, expert = c["hidden_size"], 3 * c["hidden_size"] * c["intermediate_size"]
    rest = attention_by_hand(c) + h * c["num_local_experts"] + 2 * h
    total = c["num_hidden_layers"] * (rest + c["num_local_experts"] * expert) + tables_by_hand(c)
    active = c["num_hidden_layers"] * (rest + c["num_experts_per_tok"] * expert) + tables_by_hand(c)
    assert (model(c).parameters, model(c).active_parameters) == (total, active)


@given(latent())
def test_latent_count(c):
    """Latent attention has down, up and output projections and two small norms; leading layers are dense."""
    h, heads, rope, rank = c["hidden_size"], c["num_attention_heads"], c["qk_rope_head_dim"], c["kv_lora_rank"]
    query, q_rank = heads * (c["qk_nope_head_dim"] + rope), c["q_lora_rank"]
    queries = h * query if q_rank is None else h * q_rank + q_rank + q_rank * query
    values = h * (rank + rope) + rank + rank * heads * c["qk_nope_head_dim"] + rank * heads * c["v_head_dim"]
    attention = queries + values + heads * c["v_head_dim"] * h + 2 * h
    expert = 3 * h * c["moe_intermediate_size"]
    dense = c["first_k_dense_replace"]
    sparse = c["num_hidden_layers"] - dense
    rest = c["num_hidden_layers"] * attention + dense * 3 * h * c["intermediate_size"] + tables_by_hand(c)
    rest += sparse * (h * c["n_routed_experts"] + c["n_shared_experts"] * expert)
    assert model(c).parameters == rest + sparse * c["n_routed_experts"] * expert
    assert model(c).active_parameters == rest + sparse * c["num_experts_per_tok"] * expert
    assert model(c).kv_bytes_per_token(8) == c["num_hidden_layers"] * (rank + rope)


@given(st.one_of(grouped(), routed(), latent()))
def test_weight_bytes_grow_with_bits(c):
    """Wider formats of the same classes never take fewer bytes, and none takes more than 16 bit."""
    shape = architecture(c, "config.json")
    widths = sorted(precisions().values(), key=lambda precision: precision.bits)
    stored = [Model("random", replace(shape, precision=row.name, quantised=("linear", "experts"))).weight_bytes for row in widths]
    assert stored == sorted(stored)
    assert stored[-1] == 2 * model(c).parameters


@given(st.one_of(grouped(), routed(), latent()))
def test_classes_and_layers_add_up(c):
    """Classes add up to the whole, no class has more active than total, and groups of layers to the depth."""
    weights = model(c).architecture.weights().values()
    assert sum(part.total for part in weights) == model(c).parameters
    assert all(0 <= part.active <= part.total for part in weights)
    assert model(c).layers == c["num_hidden_layers"]
