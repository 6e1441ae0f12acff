"""Predictions against sums done by hand, with every size of model and chip written out as a number."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.chips import Chip
from assay.cost.constants import shipped
from assay.cost.explain import Load, OpTime, explain
from assay.cost.kv import kv_bytes_per_token
from assay.cost.roofline import touched
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.graph.op import Routing
from assay.models import Model
from assay.search.plant import Plant, build
from assay.simulate.reference import attended

GENERIC = shipped().constants(Chip.load("h100-sxm"), Engine.load("generic"))  # data: read here, as they are no sums
FIXED = GENERIC.fixed
H100_BF16, H100_BANDWIDTH, NVLINK, INFINIBAND = 989e12, 3.35e12, 450e9, 50e9


def plant(model: str, chip: str = "h100-sxm", **asked: object) -> Plant:
    """A deployment under the plain engine, with room in its tables for 4,096 tokens and as many sequences."""
    limits = {"max_num_seqs": 4096, "token_budget": 4096, "kv": "bf16", **asked}
    return build(Model.load(model), resolve(Model.load(model), Chip.load(chip), Engine.load("generic"), Asked(**limits)))


def timed(model: str, load: Load, name: str, **asked: object) -> OpTime:
    """One op of a step."""
    made = plant(model, **asked)
    return next(op for op in explain(made.machine, made.ops, made.times, load).ops if op.name == name)


# A GEMM: the down projection of a dense model, 14,336 x 4,096, in each of 32 layers.


@pytest.mark.parametrize("tokens", [1, 16, 200, 300, 1024, 4096])
def test_a_projection_takes_its_roofline_time(tokens: int) -> None:
    """2 x 14,336 x 4,096 FLOPs a token against 117,440,512 bytes of weights and 36,864 bytes of activations a token."""
    op = timed("llama-3.1-8b", Load(0, tokens, 1), "down projection")
    weight_bytes, activation_bytes, flops_per_token = 117_440_512, 2 * (14_336 + 4_096), 117_440_512
    compute = tokens * flops_per_token / (H100_BF16 * GENERIC.compute_share["gemm16"])
    memory = weight_bytes / (H100_BANDWIDTH * GENERIC.bandwidth_share["weights"])
    memory += tokens * activation_bytes / (H100_BANDWIDTH * GENERIC.bandwidth_share["activations"])
    assert op.flops == 32 * tokens * flops_per_token
    assert op.bytes == 32 * (weight_bytes + tokens * activation_bytes)
    assert op.seconds == pytest.approx(32 * (max(compute, memory) + FIXED["kernel"]), rel=1e-12)
    assert op.bound == ("compute" if compute > max(memory, FIXED["kernel"]) else "memory")


def test_a_sharded_projection_takes_its_share() -> None:
    """On eight ranks each multiplies by 1,792 of the 14,336 rows."""
    op = timed("llama-3.1-8b", Load(0, 4096, 1), "down projection", tp=8)
    assert op.flops == 32 * 4096 * 2 * 1_792 * 4_096
    assert op.bytes == 32 * (2 * 1_792 * 4_096 + 4096 * 2 * (1_792 + 4_096))


def test_the_head_runs_on_sampling_sequences_alone() -> None:
    """A prompt of 1,000 tokens beside three decodes samples four times from 128,256 tokens."""
    op = timed("llama-3.1-8b", Load(1000, 3, 10), "head")
    assert op.flops == 4 * 2 * 4_096 * 128_256
    assert op.bytes == 2 * 4_096 * 128_256 + 4 * 2 * (4_096 + 128_256)


def test_narrow_weights_are_read_with_their_scales() -> None:
    """fp8 with one 4-byte scale per 128 x 128 block reads 1.000244 bytes a weight and computes at the 8-bit rate."""
    op = timed("llama-3.1-8b", Load(0, 1, 1), "down projection", weights="fp8")
    assert op.bytes == pytest.approx(32 * (58_720_256 * 1.00025 + 36_864), rel=1e-9)
    weights = 58_720_256 * 1.00025 / (H100_BANDWIDTH * GENERIC.bandwidth_share["weights"])
    rest = 36_864 / (H100_BANDWIDTH * GENERIC.bandwidth_share["activations"])
    assert op.seconds == pytest.approx(32 * (weights + rest + FIXED["kernel"]), rel=1e-9)


# Attention.


def test_decode_attention_reads_its_cache() -> None:
    """16 sequences of 4,096 tokens x 2 (K and V) x 8 heads x 128 x 2 bytes x 32 layers: 8,589,934,592 bytes."""
    op = timed("llama-3.1-8b", Load(0, 16, 4096), "attention")
    cached = 16 * 4_096 * 2 * 8 * 128 * 2 * 32
    values = 32 * 16 * 2 * 32 * 128 * 2  # the query read and the answer written
    assert cached == 8_589_934_592
    assert op.bytes == cached + values
    seconds = cached / (H100_BANDWIDTH * GENERIC.bandwidth_share["kv"])
    seconds += values / (H100_BANDWIDTH * GENERIC.bandwidth_share["activations"]) + 32 * FIXED["kernel"]
    assert op.seconds == pytest.approx(seconds, rel=1e-12)
    assert op.bound == "memory"
    assert plant("llama-3.1-8b").times.interval.decode_totals[0] * 16 * 4096 == pytest.approx(
        cached / (H100_BANDWIDTH * GENERIC.bandwidth_share["kv"])
    )


def test_prefill_attention_multiplies_its_pairs() -> None:
    """A prompt of 2,048 tokens has 2,098,176 pairs of 2 x 2 x 32 x 128 FLOPs in each of 32 layers."""
    op = timed("llama-3.1-8b", Load(2048, 0, 0), "attention")
    pairs = 2_098_176
    assert op.flops == 32 * pairs * 16_384
    arithmetic = 32 * pairs * 16_384 / (H100_BF16 * GENERIC.compute_share["attention"])
    values = 32 * 2048 * 2 * 32 * 128 * 2 / (H100_BANDWIDTH * GENERIC.bandwidth_share["activations"])
    assert op.seconds == pytest.approx(arithmetic + values + 32 * 2 * FIXED["mixed_kernel"], rel=1e-12)


def test_windowed_prefill_stops_at_its_window() -> None:
    """Of 1,000 prompt tokens, the first 128 see 8,256 pairs and the other 872 see 128 each: 119,872."""
    made = plant("gpt-oss-120b", tp=2)
    step = Load(1000, 0, 0).step(made.times.reaches)
    assert dict(zip(made.times.reaches, step.pairs, strict=True)) == {0: 500_500, 128: 119_872}


# The KV cache.


def test_cached_bytes_per_token() -> None:
    """The bytes of one token: grouped heads, latents, and what ranks share of them."""
    assert Model.load("llama-3.1-8b").kv_bytes_per_token() == 131_072
    assert Model.load("deepseek-r1").kv_bytes_per_token() == 576 * 61 * 2 == 70_272
    for tp, each in ((1, 131_072), (4, 32_768), (8, 16_384), (16, 16_384)):  # eight heads do not split over sixteen ranks
        made = plant("llama-3.1-8b", tp=tp)
        assert kv_bytes_per_token(made.ops, made.part) == {0: each}
    for dp in (1, 4, 16):  # each rank holds whole latents of the sequences it attends for
        made = plant("deepseek-r1", "b200-sxm", tp=16, ep=16, dp=dp)
        assert kv_bytes_per_token(made.ops, made.part) == {0: 70_272}


def test_narrow_caches_take_half() -> None:
    """fp8 halves the cache, but for the indexer's keys, which are 8 bit in any case: 61 x (576 + 128) bytes."""
    made = plant("deepseek-r1", "b200-sxm", tp=8, kv="fp8")
    assert kv_bytes_per_token(made.ops, made.part) == {0: 35_136}
    made = plant("deepseek-v3.2", "b200-sxm", tp=8, kv="fp8")
    assert kv_bytes_per_token(made.ops, made.part) == {0: 61 * (576 + 128)}


def test_a_window_caps_half_of_the_cache() -> None:
    """18 of 36 layers keep 128 tokens of 2 x 8 x 64 x 2 = 2,048 bytes, the others all, in blocks of 16."""
    footprint = plant("gpt-oss-120b", tp=1, block_size=16).policy.footprint
    assert footprint(100) == 36 * 2_048 * 112
    assert footprint(128) == 36 * 2_048 * 128
    assert footprint(4_096) == 18 * 2_048 * (4_096 + 128)
    assert footprint(4_097) == 18 * 2_048 * (4_112 + 128)


def test_capacity_is_what_memory_leaves() -> None:
    """0.9 of 85,520,809,984 bytes, less 16,060,522,496 of weights and 8 tensors of 4,096 tokens x 4,096 x 2 bytes."""
    made = plant("llama-3.1-8b", kv_memory_fraction=0.9)
    assert made.policy.kv_capacity == pytest.approx(0.9 * 85_520_809_984 - 16_060_522_496 - 8 * 4_096 * 4_096 * 2, rel=1e-9)


# Collectives.


def test_an_all_reduce_by_hand() -> None:
    """64 tokens x 8,192 x 2 bytes on eight chips: each sends 2 x 7/8 of 1,048,576 bytes over NVLink, in two phases of one hop."""
    op = timed("llama-3.1-70b", Load(0, 64, 1), "attention all-reduce", tp=8)
    sent = 1_835_008
    assert op.bytes == 80 * sent
    each = GENERIC.collective["fixed"] + 2 * 2e-6 + sent / (NVLINK * GENERIC.collective["bandwidth_share"])
    assert op.seconds == pytest.approx(80 * each, rel=1e-12)
    assert op.bound == "network"


def test_a_group_beyond_the_node_uses_the_slower_link() -> None:
    """Sixteen chips are joined by InfiniBand alone: 2 x 15/16 of the result at 50 GB/s, and 5 us a hop."""
    op = timed("llama-3.1-70b", Load(0, 64, 1), "attention all-reduce", tp=16)
    sent = 2 * 15 / 16 * 1_048_576
    each = GENERIC.collective["fixed"] + 2 * 5e-6 + sent / (INFINIBAND * GENERIC.collective["bandwidth_share"])
    assert op.seconds == pytest.approx(80 * each, rel=1e-12)


def test_two_of_a_direct_mesh_share_one_link() -> None:
    """Where each pair has its own link of 64 GB/s, two chips have that one; eight have seven of them, 448 GB/s."""
    chip = Chip.load("mi300x")
    own = shipped().constants(chip, Engine.load("generic"))
    hop = chip.links[0].latency.value if chip.links[0].latency else own.collective["hop"]
    for tp, bandwidth in ((2, 64e9), (8, 448e9)):
        op = timed("llama-3.1-70b", Load(0, 64, 1), "attention all-reduce", chip="mi300x", tp=tp)
        sent = 2 * (tp - 1) / tp * 1_048_576
        each = own.collective["fixed"] + 2 * hop + sent / (bandwidth * own.collective["bandwidth_share"])
        assert op.seconds == pytest.approx(80 * each, rel=1e-12)


def test_stages_of_whole_nodes_hand_over_between_nodes() -> None:
    """Two stages of eight chips fill two nodes: 64 tokens x 8,192 / 8 x 2 bytes cross InfiniBand, one hop."""
    op = timed("llama-3.1-70b", Load(0, 64, 1), "stage handover", tp=8, pp=2)
    assert op.bytes == 131_072
    assert op.seconds == pytest.approx(5e-6 + 131_072 / (INFINIBAND * GENERIC.collective["bandwidth_share"]), rel=1e-12)


def test_a_handover_has_the_link_of_one_peer() -> None:
    """In a direct mesh a stage of one chip sends to one peer, over its one link of 64 GB/s."""
    op = timed("llama-3.1-8b", Load(0, 64, 1), "stage handover", chip="mi300x", tp=1, pp=4)
    chip = Chip.load("mi300x")
    own = shipped().constants(chip, Engine.load("generic"))
    hop = chip.links[0].latency.value if chip.links[0].latency else own.collective["hop"]
    sent = 64 * 4_096 * 2
    assert op.seconds == pytest.approx(3 * (hop + sent / (64e9 * own.collective["bandwidth_share"])), rel=1e-12)


# Experts.

EVEN = 1e6  # evenness of experts that are picked alike


@pytest.mark.parametrize(("active", "count"), [(2, 8), (4, 128), (8, 256)])
@pytest.mark.parametrize("tokens", [1, 5, 40, 300])
def test_experts_touched_agree_with_a_draw(active: int, count: int, tokens: int) -> None:
    """Where all are picked alike: the share that some token picks, against 400 batches in which each token draws its experts."""
    draw = random.Random(f"{active} {count} {tokens}")
    shares = [len({expert for _ in range(tokens) for expert in draw.sample(range(count), active)}) / count for _ in range(400)]
    formula = float(touched(Routing(count, count, active), np.array([float(tokens)]), EVEN)[0])
    assert formula == pytest.approx(np.mean(shares), abs=max(4 * np.std(shares) / 20, 1 / 400))


@pytest.mark.parametrize("evenness", [0.7, 2.0, 6.0])
@pytest.mark.parametrize("tokens", [1, 5, 40, 300])
def test_unevenly_picked_experts_agree_with_a_draw(evenness: float, tokens: int) -> None:
    """20,000 experts, how often each is picked drawn from a gamma distribution, and whether any of some tokens picks it."""
    draw, share = random.Random(f"{evenness} {tokens}"), 8 / 256
    scale = (1 - share) ** (-1 / evenness) - 1
    missed = [math.exp(-tokens * draw.gammavariate(evenness, scale)) > draw.random() for _ in range(20_000)]
    formula = float(touched(Routing(256, 256, 8), np.array([float(tokens)]), evenness)[0])
    assert formula == pytest.approx(1 - np.mean(missed), abs=4 * math.sqrt(formula * (1 - formula) / 20_000))


def test_touched_experts_are_read() -> None:
    """One token of a model that picks 2 of 8 experts reads a quarter of their bytes, a large batch as good as all of them."""
    whole = 32 * 8 * 14_336 * 4_096 * 2  # the down projections of eight experts in 32 layers
    one = timed("mixtral-8x7b", Load(0, 1, 1), "expert down projection", tp=2)
    assert one.bytes == pytest.approx(whole / 2 / 4 + 32 * 2 * 2 * (14_336 / 2 + 4_096))
    many = timed("mixtral-8x7b", Load(0, 16_384, 1), "expert down projection", tp=2, max_num_seqs=16_384, token_budget=16_384)
    assert many.bytes == pytest.approx(whole / 2 + 16_384 * 32 * 2 * 2 * (14_336 / 2 + 4_096), rel=1e-4)


# Pairs of a chunk.


@given(st.integers(0, 300), st.integers(1, 120), st.integers(0, 200))
def test_attended_pairs_agree_with_a_count(before: int, chunk: int, reach: int) -> None:
    """Token by token: each sees what is before it and itself, within its reach."""
    seen = (before + token for token in range(1, chunk + 1))
    assert attended(before, chunk, reach) == sum(min(count, reach) if reach else count for count in seen)


# A whole step.


def test_a_decode_step_adds_up() -> None:
    """One sequence on one chip: bytes over bandwidth, eleven kernels a layer and four beside, and the host."""
    made = plant("llama-3.1-8b")
    step = explain(made.machine, made.ops, made.times, Load(0, 1, 1000))
    read = 2 * (32 * (4_096 * 6_144 + 4_096 * 4_096 + 3 * 4_096 * 14_336) + 4_096 * 128_256)
    weights = read / (H100_BANDWIDTH * GENERIC.bandwidth_share["weights"])
    cache = 1000 * 131_072 / (H100_BANDWIDTH * GENERIC.bandwidth_share["kv"])
    kernels = sum(op.count for op in made.ops) * FIXED["kernel"]
    host = GENERIC.host["step"] + GENERIC.host["sequence"]
    assert step.seconds == step.latency == pytest.approx(weights + cache + kernels + host, rel=2e-3)  # less norms and activations
    assert [op.name for op in made.ops if not op.once] == [
        "attention norm", "qkv projection", "rope and cache write", "attention", "output projection", "ffn norm", "up projection",
        "activation", "down projection",
    ]  # fmt: skip


def test_a_table_lookup_reads_no_table() -> None:
    """An embedding of 128,256 x 4,096 is looked up, row by row."""
    op = timed("llama-3.1-8b", Load(0, 8, 1), "embedding")
    assert op.bytes == 8 * 2 * 2 * 4_096
    assert op.flops == 0


def test_energy_of_arithmetic_by_hand() -> None:
    """700 W less 70 W idle, less 3.35 TB/s at 44.5 pJ a byte, over 989 TFLOP/s: 0.486 pJ a FLOP."""
    made = plant("llama-3.1-8b")
    one, two = (explain(made.machine, made.ops, made.times, Load(0, count, 1)) for count in (2048, 4096))
    each = (630 - 3.35e12 * 4.45e-11) / 989e12
    flops = sum(op.flops for op in two.ops) - sum(op.flops for op in one.ops)
    moved = sum(op.bytes for op in two.ops) - sum(op.bytes for op in one.ops)
    waiting = 70 * (two.seconds - one.seconds)
    assert two.joules - one.joules == pytest.approx(flops * each + moved * 4.45e-11 + waiting, rel=1e-9)


def test_ranks_and_stages_add_their_energy() -> None:
    """The same arithmetic on twice the chips in a pipeline takes the same dynamic energy but for what is handed over."""
    alone, staged = (plant("llama-3.1-8b", pp=stages) for stages in (1, 2))
    load = Load(0, 64, 100)
    joules = [
        explain(made.machine, made.ops, made.times, load).joules
        - made.times.idle_watts * explain(made.machine, made.ops, made.times, load).seconds
        for made in (alone, staged)
    ]
    assert joules[1] - joules[0] == pytest.approx(64 * 4_096 * 2 * 10e-12, rel=1e-3)
    assert replace(alone.part, pp=2) == staged.part
