"""The laws of lowered graphs hold for every model under every layout that divides it, and a graph that breaks one is refused."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from assay._base.catalogue import names
from assay._base.errors import InputError
from assay._base.precisions import precisions
from assay.chips import Chip
from assay.deployments import Asked, Part, check_layout, resolve
from assay.engines import Engine
from assay.graph import lower
from assay.graph.op import Exchange, Op, Reach
from assay.graph.verify import GraphError, verify
from assay.models import Model
from assay.models.compressed import CompressedAttention
from assay.models.shapes import ExpertsFfn, GroupedAttention, LatentAttention


def _first_of_each_kind() -> list[str]:
    """One model for each model_type of the catalogue: others differ in sizes alone."""
    kinds = {
        tomllib.loads(path.read_text(encoding="utf-8"))["config"]["model_type"]: name for name, path in reversed(names("models").items())
    }
    return sorted(kinds.values())


MODELS = _first_of_each_kind()
SWEPT = ("deepseek-v3.2", "gpt-oss-120b", "nemotron-3-nano-30b-a3b", "qwen3-32b")
WIDEST, FEW = 64, 12
FORMATS = ("bf16", "fp16", "fp8", "int8", "nvfp4", "mxfp4", "int4")

each_model = pytest.mark.parametrize("name", MODELS)


load = cache(Model.load)


@cache
def plain() -> tuple[Chip, Engine]:
    """A chip that has all rates, and an engine."""
    return Chip.load("b200-sxm"), Engine.load("generic")


def part_of(model: Model, **asked: object) -> Part:
    """A part on that chip."""
    return resolve(model, *plain(), Asked(**asked))


def parts_of(model: Model, layouts: Iterable[dict[str, int]], **asked: object) -> list[Part]:
    """Parts under those of the layouts by which the model divides; one chip is always among them."""
    single = part_of(model, **asked)
    return [single, *(replace(single, **layout) for layout in layouts if divides(model, replace(single, **layout)))]


def divides(model: Model, part: Part) -> bool:
    """Whether a model can be laid out so."""
    try:
        check_layout(model, part)
    except InputError:
        return False
    return True


def layouts(model: Model) -> Iterator[Part]:
    """Every tp up to 64 with every dp and ep that divides it, in one, three and as many stages as layers, where the model divides."""
    base = part_of(model)
    for tp in range(1, WIDEST + 1):
        divisors = [ranks for ranks in range(1, tp + 1) if tp % ranks == 0]
        for dp, ep, pp in ((dp, ep, pp) for dp in divisors for ep in divisors for pp in (1, 3, model.layers)):
            part = replace(base, tp=tp, dp=dp, ep=ep, pp=pp)
            if divides(model, part):
                yield part


@pytest.mark.parametrize("name", SWEPT)
def test_every_layout_that_divides_is_lawful(name: str) -> None:
    """TP, EP, DP and PP that divide a model give a graph that keeps every law; odd widths are among them."""
    model = load(name)
    parts = list(layouts(model))
    for part in parts:
        verify(model, part, lower(model, part))
    assert len(parts) > 100
    assert {1, 2, 4, 8} <= {part.tp for part in parts}
    assert name not in ("gpt-oss-120b", "qwen3-32b") or {part.tp for part in parts} - {1, 2, 4, 8, 16, 32, 64}


@each_model
def test_layouts_of_every_kind_are_lawful(name: str) -> None:
    """Some narrow and some wide layouts of each kind of model keep every law."""
    model, widths = load(name), (2, 4, 5, 8, 16)
    several = [{"tp": tp, "dp": dp, "ep": ep, "pp": pp} for tp in widths for dp in (1, tp) for ep in (1, tp) for pp in (1, 3)]
    parts = parts_of(model, several)
    assert len(parts) > 1
    for part in parts[:: max(1, len(parts) // FEW)]:
        verify(model, part, lower(model, part))


@each_model
def test_conversions_are_lawful(name: str) -> None:
    """Weights converted to another format keep every law, alone and sharded."""
    model = load(name)
    for weights in FORMATS:
        for part in parts_of(model, [{"tp": 4, "ep": 2, "pp": 2}], weights=weights):
            verify(model, part, lower(model, part))


@each_model
@pytest.mark.parametrize("speculate", ["1:0.5", "4:0.5:llama-3.1-8b", "2:0.5:deepseek-v3.2"])
def test_drafts_are_lawful(name: str, speculate: str) -> None:
    """Graphs with ops that draft keep every law, over attention ranks and stages too; without them they are the model's."""
    model = load(name)
    for part in parts_of(model, [{"tp": 8, "dp": 2, "pp": 3}], speculate=speculate):
        ops = lower(model, part)
        verify(model, part, ops)
        assert tuple(op for op in ops if not op.passes) == lower(model, replace(part, speculation=None))
        assert {op.passes for op in ops} == {0, part.width - 1}


def test_a_prediction_layer_drafts_from_two_inputs() -> None:
    """Where layers for multi-token prediction come with the model, a pass of them begins with the projection of their two inputs."""
    for name, joined in (("deepseek-r1", True), ("kimi-k2", False)):
        drafts = {op.name: op for op in lower(load(name), part_of(load(name), speculate="1:0.5")) if op.passes}
        assert ("draft join projection" in drafts) == joined
    hidden = load("deepseek-r1").architecture.hidden
    ops = lower(load("deepseek-r1"), part_of(load("deepseek-r1"), speculate="1:0.5"))
    assert [op.weights for op in ops if op.name == "draft join projection"] == [2 * hidden * hidden]


def stored_bytes(ops: tuple[Op, ...]) -> float:
    """Bytes of all weights, each counted once however many ranks hold a copy."""
    return sum(op.count * (op.weights * op.shards - op.replicated) * op.bits / 8 for op in ops)


@each_model
def test_bytes_are_those_of_the_checkpoint(name: str) -> None:
    """In the checkpoint's own format the ops hold exactly its bytes, scales included, under any layout."""
    model = load(name)
    for part in parts_of(model, [{"tp": 8, "dp": dp, "ep": ep} for dp, ep in ((1, 8), (8, 8), (2, 1))]):
        ops = lower(model, part)
        assert stored_bytes(ops) == pytest.approx(model.weight_bytes, rel=1e-9)


@each_model
@pytest.mark.parametrize("weights", ["fp8", "int8", "nvfp4"])
def test_converted_bytes_follow_the_format(name: str, weights: str) -> None:
    """A conversion stores the classes that its format quantises in its width, scales included, and the rest in 16 bit."""
    model, narrow = load(name), precisions()[weights]
    classes = model.architecture.weights().values()
    quantised = model.architecture.quantised if weights == model.architecture.precision else narrow.quantises
    expected = sum(part.total * (narrow.bits if part.kind in quantised else 16) / 8 for part in classes)
    for part in parts_of(model, [{"tp": 8}], weights=weights):
        assert stored_bytes(lower(model, part)) == pytest.approx(expected, rel=1e-9)


@each_model
def test_flops_are_two_per_active_parameter(name: str) -> None:
    """On one chip a token costs two FLOPs per parameter that works on it; look-ups and norms have none, and states come on top."""
    model = load(name)
    active = {kind: part.active for kind, part in model.architecture.weights().items()}
    ops = lower(model, part_of(model))
    expected = 2 * (sum(active.values()) - active.get("embedding", 0) - active["norm"] - biases(model))
    assert sum(op.count * op.flops for op in ops if op.kind != "recurrence") == pytest.approx(expected, rel=1e-9)


def biases(model: Model) -> float:
    """Active bias parameters of experts, which are added and not multiplied."""
    groups = [group for group in model.architecture.layers if isinstance(group.ffn, ExpertsFfn) and group.ffn.bias]
    return sum(group.count * group.ffn.active * (2 * group.ffn.width + model.architecture.hidden) for group in groups)


@each_model
def test_ranks_share_the_cache_and_declare_its_copies(name: str) -> None:
    """The chips of an attention rank cache its token once: KV heads are copied where there are fewer than chips, latents on each."""
    model = load(name)
    for part in parts_of(model, [{"tp": tp, "dp": dp} for tp, dp in ((4, 1), (16, 1), (16, 4), (8, 8))], kv="bf16"):
        ranks = part.tp // part.dp
        cached = sum(op.count * op.reach.cache_bytes for op in lower(model, part) if op.reach and op.name != "index")
        expected = sum(group.count * cached_once(group.attention, ranks) for group in model.architecture.layers)
        assert cached * ranks == pytest.approx(2 * expected)


def cached_once(attention: object, ranks: int) -> float:
    """Values that the chips of a rank cache for one token, beside an indexer's."""
    if isinstance(attention, GroupedAttention):
        return max(attention.kv_heads, ranks) * (attention.head_dim + (attention.v_dim or attention.head_dim))
    if isinstance(attention, CompressedAttention):
        return ranks * attention.head_dim * (1 + (1 / attention.ratio if attention.ratio else 0))
    return ranks * (attention.kv_rank + attention.rope_dim) if isinstance(attention, LatentAttention) else 0


@each_model
def test_every_layer_attends_within_its_reach(name: str) -> None:
    """Attention runs in each layer that looks back, as far as it looks; what an indexer looks at is not attended to."""
    model = load(name)
    attending = Counter[int]()
    for op in lower(model, part_of(model)):
        if op.reach and op.name != "index":
            attending[op.reach.window] += op.count
    expected = Counter[int]()
    for group in model.architecture.layers:
        reaches = group.attention.reaches if group.attention else ()
        picks = getattr(group.attention, "index", None) or getattr(group.attention, "picks", None)
        expected.update(dict.fromkeys([reach for reach in reaches if reach or not picks], group.count))
    assert attending == expected


@each_model
def test_partial_sums_are_exchanged(name: str) -> None:
    """Where ranks share a layer, each of its halves ends in a collective that sums over them; one rank needs none."""
    model = load(name)
    assert not [op for op in lower(model, part_of(model)) if op.exchange]
    for part in parts_of(model, [{"tp": tp, "dp": dp} for tp, dp in ((2, 1), (8, 1), (8, 2), (8, 8))])[1:]:
        ops = lower(model, part)
        sums = [op for op in ops if op.exchange and op.exchange.pattern in ("all-reduce", "reduce-scatter") and not op.once]
        groups = model.architecture.layers
        halves = [group.count * (bool(group.ffn) + bool(group.attention and part.tp > part.dp)) for group in groups]
        assert sum(op.count for op in sums) == sum(halves)


# Graphs that break a law.

BROKEN = ["llama-3.1-8b", "gpt-oss-120b", "deepseek-v3.2", "nemotron-3-nano-30b-a3b"]


@pytest.fixture(params=BROKEN)
def lowered(request: pytest.FixtureRequest) -> tuple[Model, Part, tuple[Op, ...]]:
    """A model, a part that shards it, and its lawful graph."""
    model = load(request.param)
    part = part_of(model, tp=4, dp=2, ep=2, pp=2)
    return model, part, lower(model, part)


@pytest.mark.parametrize(("engine", "chip", "seqs", "reads"), [
    ("vllm-2024", "mi300x", 17, 4.0), ("vllm-2024", "mi300x", 16, 1.0), ("vllm-2024", "h100-sxm", 256, 1.0), ("vllm", "mi300x", 256, 1.0),
])  # fmt: skip
def test_kernels_that_take_query_heads_one_by_one_read_the_cache_for_each(engine: str, chip: str, seqs: int, reads: float) -> None:
    """Llama 3 8B has four query heads to a KV head, 32 in all: 17 sequences are more than 512 pairs."""
    model = load("llama-3-8b")
    part = resolve(model, Chip.load(chip), Engine.load(engine), Asked(max_num_seqs=seqs))
    assert [op.reach.reads for op in lower(model, part) if op.reach] == [reads]


def changed(ops: tuple[Op, ...], place: int, **changes: object) -> tuple[Op, ...]:
    """The same ops with one changed."""
    return (*ops[:place], replace(ops[place], **changes), *ops[place + 1 :])


def places(ops: tuple[Op, ...], *kinds: str) -> list[int]:
    """Where ops with weights are, of these kinds or of any."""
    return [i for i, op in enumerate(ops) if op.weights and (not kinds or op.kind in kinds)]


def test_a_dropped_op_is_found(lowered: tuple[Model, Part, tuple[Op, ...]]) -> None:
    """Without any one of the ops that hold weights or attend, the graph is not the model's."""
    model, part, ops = lowered
    for place in [*places(ops), *(i for i, op in enumerate(ops) if op.reach)]:
        with pytest.raises(GraphError, match=r"parameters of the ops|attention layers"):
            verify(model, part, ops[:place] + ops[place + 1 :])


def test_a_repeated_op_is_found(lowered: tuple[Model, Part, tuple[Op, ...]]) -> None:
    """Nor is it with one of them twice."""
    model, part, ops = lowered
    for place in [*places(ops), *(i for i, op in enumerate(ops) if op.reach)]:
        with pytest.raises(GraphError):
            verify(model, part, (*ops, ops[place]))


def test_doubled_weights_are_found(lowered: tuple[Model, Part, tuple[Op, ...]]) -> None:
    """Weights that double, even with their FLOPs, break the count of parameters."""
    model, part, ops = lowered
    for place in places(ops):
        with pytest.raises(GraphError):
            verify(model, part, changed(ops, place, weights=2 * ops[place].weights, flops=2 * ops[place].flops))


def test_moved_weights_are_found(lowered: tuple[Model, Part, tuple[Op, ...]]) -> None:
    """Weights that change their tensor class are missed there."""
    model, part, ops = lowered
    for place in places(ops):
        other = "head" if ops[place].tensor != "head" else "linear"
        with pytest.raises(GraphError):
            verify(model, part, changed(ops, place, tensor=other))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.1, 2.0])
def test_changed_flops_are_found(lowered: tuple[Model, Part, tuple[Op, ...]], factor: float) -> None:
    """FLOPs of a projection that are not two per parameter are refused."""
    model, part, ops = lowered
    for place in places(ops, "gemm", "experts"):
        with pytest.raises(GraphError, match="FLOPs for"):
            verify(model, part, changed(ops, place, flops=factor * ops[place].flops))


def test_a_collective_of_one_is_found(lowered: tuple[Model, Part, tuple[Op, ...]]) -> None:
    """A collective in a group of one is refused."""
    model, part, ops = lowered
    for place in [i for i, op in enumerate(ops) if op.exchange]:
        with pytest.raises(GraphError, match="group of one"):
            verify(model, part, changed(ops, place, exchange=replace(ops[place].exchange, group=1)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "magic"}, "unknown kind"),
        ({"flops": float("nan")}, "amounts"),
        ({"weights": -1.0}, "amounts"),
        ({"activation_bytes": float("inf")}, "amounts"),
        ({"count": 0}, "count 0"),
        ({"shards": 3}, "shards"),
        ({"exchange": Exchange("all-reduce", 2, 1.0)}, "exchange and kind"),
        ({"own": False, "reach": Reach(0, 1.0, 1.0, 1.0)}, "attends to tokens that are not its own"),
        ({"own": True, "shards": 4, "copies": 1}, "4 chips share what one attention rank of 2 has alone"),
    ],
)
def test_an_op_that_cannot_be_is_found(lowered: tuple[Model, Part, tuple[Op, ...]], changes: dict[str, object], problem: str) -> None:
    """Kinds, amounts, counts and shards that cannot be are refused, and the message names the op."""
    model, part, ops = lowered
    place = next(i for i, op in enumerate(ops) if op.kind == "gemm")
    with pytest.raises(GraphError, match=problem) as caught:
        verify(model, part, changed(ops, place, **changes))
    assert f"op {ops[place].name}" in str(caught.value)


def wide(ep: int, dp: int = 8, tp: int = 8) -> tuple[Op, ...]:
    """The ops of a large mixture of experts with attention ranks."""
    model = load("deepseek-r1")
    part = replace(part_of(model, tp=8), tp=tp, dp=dp, ep=ep)
    ops = lower(model, part)
    verify(model, part, ops)
    return ops


def test_wide_expert_parallelism_sends_tokens_to_the_experts_they_picked() -> None:
    """All to all, once to each rank: of eight picks among 32 ranks 7.2 are distinct, of which each rank sends a 32nd of all tokens."""
    sent = {op.name: op.exchange for op in wide(32, 32, 32) if op.exchange and op.name.startswith("token")}
    distinct = 32 * (1 - (31 / 32) ** 8)
    assert sent["token combine"] == Exchange("all-to-all", 32, pytest.approx(7168 * distinct / 32 * 2))
    assert sent["token dispatch"].bytes == pytest.approx(sent["token combine"].bytes / 2)  # in 8 bit


def test_without_expert_parallelism_all_chips_see_all_tokens() -> None:
    """Gathered before, dealt out after."""
    patterns = {op.name: op.exchange.pattern for op in wide(1) if op.exchange}
    assert patterns["token all-gather"] == "all-gather"
    assert patterns["ffn reduce-scatter"] == "reduce-scatter"


def test_experts_that_do_not_deal_out_evenly_are_copied() -> None:
    """Of 256 experts on 24 ranks each holds 11: eight are there twice."""
    ops = wide(24, 24, 24)
    experts = [op for op in ops if op.kind == "experts"]
    assert {op.routing.local for op in experts if op.routing} == {11}
    held = sum(op.weights * op.shards for op in experts)
    assert sum(op.replicated for op in experts) == pytest.approx(held * 8 / 264)


def test_what_every_token_needs_is_done_where_the_token_is() -> None:
    """Shared experts and router belong to each attention rank when tokens are not gathered."""
    assert all(op.own for op in wide(8) if op.name.startswith("shared expert") or op.name == "router")
    assert not any(op.own for op in wide(1) if op.name.startswith("shared expert") or op.name == "router")
