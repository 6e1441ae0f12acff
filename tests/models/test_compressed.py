"""Models that compress their cache: counts, and what is refused."""

from typing import Any

import pytest

from assay._base.errors import InputError
from assay.models import Model
from assay.models.compressed import CompressedAttention, Selection
from assay.models.config import architecture

COMPRESSED = {
    "model_type": "deepseek_v4",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": 100,
    "q_lora_rank": 24,
    "sliding_window": 32,
    "compress_ratios": [0, 128, 4, 128, 0],
    "o_groups": 2,
    "o_lora_rank": 12,
    "index_n_heads": 4,
    "index_head_dim": 8,
    "index_topk": 6,
    "hc_mult": 3,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}


def refusal(**changes: Any) -> InputError:
    """The error that the document with some fields changed raises."""
    with pytest.raises(InputError) as caught:
        architecture({**COMPRESSED, **changes}, "config.json")
    return caught.value


def test_layers_by_ratio():
    """Each layer compresses by its ratio, those of ratio 4 pick among entries; ratios beyond the depth are of other layers."""
    groups = architecture(COMPRESSED, "config.json").layers
    bare = {"heads": 8, "head_dim": 16, "q_rank": 24, "window": 32, "groups": 2, "group_rank": 12}
    assert [(group.count, group.attention) for group in groups] == [
        (1, CompressedAttention(**bare)),
        (2, CompressedAttention(**bare, ratio=128)),
        (1, CompressedAttention(**bare, ratio=4, picks=Selection(4, 8, 6))),
    ]
    assert [group.attention.reaches for group in groups] == [(32,), (32, 0), (32, 24, 0)]


def test_count():
    """Every matrix of a small model, written out: attention, compression, what picks, experts and the mixing of streams."""
    h, query = 64, 8 * 16
    attention = h * 24 + 24 + 24 * query + h * 16 + 16 + 8 + query * 12 + 2 * 12 * h
    heavy = h * 16 + h * 16 + 128 * 16 + 16
    picking = h * 16 + h * 16 + 4 * 16 + 8 + 24 * 4 * 8 + h * 4
    sparse = h * 32 + h * 32 + 4 * 32 + 16 + picking
    ffn = 8 * 3 * h * 16 + 3 * h * 16 + 8 * h + 8
    mixing = 15 * (3 * h) + 15 + 3
    layers = 4 * (attention + ffn + 2 * h + 2 * mixing) + 2 * heavy + sparse
    last = 3 * 3 * h + 3 + 1
    model = Model("small", architecture(COMPRESSED, "config.json"))
    assert model.parameters == layers + last + 2 * 100 * h + h
    assert model.kv_bytes_per_token() == 2 * (4 * 16 + 2 * 16 / 128 + (16 + 8) / 4)


def test_experts_in_four_bit():
    """An expert_dtype beside the quantisation of the rest narrows the experts."""
    fp8 = {"quant_method": "fp8"}
    assert architecture({**COMPRESSED, "quantization_config": fp8}, "config.json").precision == "fp8"
    narrow = architecture({**COMPRESSED, "quantization_config": fp8, "expert_dtype": "fp4"}, "config.json")
    assert (narrow.precision, narrow.quantised) == ("mxfp4", ("experts",))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"compress_ratios": None}, "compress_ratios"),
        ({"compress_ratios": [4, 4]}, "compress_ratios"),
        ({"compress_ratios": [4, 4, -1, 4]}, "compress_ratios"),
        ({"o_groups": 3}, "o_groups"),
        ({"index_topk": None}, "index_topk"),
        ({"sliding_window": None}, "sliding_window"),
    ],
)
def test_what_cannot_be_right_is_refused(changes, field):
    """Missing and unfit sizes are refused by name."""
    assert refusal(**changes).field == field
