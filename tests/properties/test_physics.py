"""Physics of random chips, models, layouts and steps: more of anything good is never slower, more work is never faster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assay._base.errors import AssayError
from assay._base.facts import Fact
from assay.chips import Chip, Memory, Power
from assay.cost.collectives import scope
from assay.cost.explain import Load, explain
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.graph.verify import verify
from assay.models import Model
from assay.models.shapes import (
    Architecture,
    Attention,
    DenseFfn,
    ExpertsFfn,
    Ffn,
    GroupedAttention,
    Indexer,
    LatentAttention,
    LayerGroup,
)
from assay.search.plant import Plant, build
from assay.simulate.reference import attended
from assay.steptime import DECODE, MIXED, Curve, Step, split, total

KERNEL_CHIPS = ("h100-sxm", "mi300x", "l40s", "trainium2", "tpu-v6e")
RESIDENT_CHIPS = ("groq-lpu-v1", "cerebras-wse3")
BUDGET, SEQUENCES = 512, 64
ROUNDING = 1 + 1e-12

steady = settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


def scaled(fact: Fact[float], factor: float) -> Fact[float]:
    """The same fact with another value."""
    return Fact(fact.value * factor)


def with_peak(chip: Chip, factor: float) -> Chip:
    """The same chip with other arithmetic rates."""
    return replace(chip, peak={rate: scaled(fact, factor) for rate, fact in chip.peak.items()})


def with_memory(chip: Chip, factor: float) -> Chip:
    """The same chip with other memory bandwidth."""
    return replace(chip, memory=tuple(replace(tier, bandwidth=scaled(tier.bandwidth, factor)) for tier in chip.memory))


def with_first_tier(chip: Chip, factor: float) -> Chip:
    """The same chip with another bandwidth of its fastest tier."""
    return replace(chip, memory=(replace(chip.memory[0], bandwidth=scaled(chip.memory[0].bandwidth, factor)), *chip.memory[1:]))


def with_links(chip: Chip, factor: float) -> Chip:
    """The same chip with other link bandwidth, to one peer too."""
    links = [
        replace(link, bandwidth=scaled(link.bandwidth, factor), per_peer=link.per_peer and scaled(link.per_peer, factor))
        for link in chip.links
    ]
    return replace(chip, links=tuple(links))


BETTER = {"peak": with_peak, "memory": with_memory, "first tier": with_first_tier, "links": with_links}


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    """A chip of either way of execution, whose rates are off a real one's by up to eight times and whose memory holds the model.

    Some have a second, slower tier that holds weights and cache too; some tell no power.
    """
    chip = Chip.load(draw(st.sampled_from((*KERNEL_CHIPS, *RESIDENT_CHIPS))))
    for change in (with_peak, with_memory, with_links):
        chip = change(chip, 2.0 ** draw(st.integers(-3, 3)))
    size = Fact(draw(st.sampled_from((2e9, 2e10, 2e11))))
    tiers = [replace(tier, bytes=size) for tier in chip.memory]
    if draw(st.booleans()):
        slower = scaled(tiers[-1].bandwidth, 0.125)
        tiers.append(Memory(name="more", bytes=Fact(4e11), bandwidth=slower, holds=("weights", "kv")))
    power = draw(st.sampled_from((chip.power, Power())))
    return replace(chip, memory=tuple(tiers), power=power)


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    """Grouped, windowed, latent or sparse attention."""
    heads = draw(st.sampled_from((8, 16)))
    if draw(st.booleans()):
        index = draw(st.sampled_from((None, Indexer(8, 32, 64))))
        return LatentAttention(heads, draw(st.sampled_from((0, 256))), 128, 64, 32, 64, index)
    window = draw(st.sampled_from((0, 0, 64)))
    return GroupedAttention(heads, draw(st.sampled_from((1, 2, 8))), 64, window, sinks=draw(st.booleans()), qk_norm=draw(st.booleans()))


@st.composite
def feed_forwards(draw: st.DrawFn) -> Ffn:
    """A dense layer, gated or not, or experts with and without a shared one."""
    width = draw(st.sampled_from((512, 4096)))
    if draw(st.booleans()):
        return DenseFfn(width, gated=draw(st.booleans()), bias=draw(st.booleans()))
    return ExpertsFfn(16, draw(st.sampled_from((1, 2, 4))), width, shared_width=draw(st.sampled_from((0, 512))))


@st.composite
def models(draw: st.DrawFn) -> Model:
    """A small transformer with up to two kinds of layers."""
    groups = draw(st.lists(st.builds(LayerGroup, st.integers(1, 6), attentions(), feed_forwards()), min_size=1, max_size=2))
    quantised = draw(
        st.sampled_from(
            (
                ("bf16", ("embedding", "head", "attention", "linear", "experts", "router", "norm")),
                ("fp8", ("attention", "linear", "experts")),
            )
        )
    )
    shape = Architecture(draw(st.sampled_from((512, 2048))), 32_000, draw(st.booleans()), tuple(groups), *quantised, max_context=2**20)
    return Model("random", shape)


@st.composite
def plants(draw: st.DrawFn) -> Plant:
    """A random model on a random chip in a random layout that fits."""
    model, chip = draw(models()), draw(chips())
    tp = draw(st.sampled_from((1, 2, 4, 8)))
    dp, ep = (draw(st.sampled_from([ranks for ranks in (1, 2, 4, 8) if tp % ranks == 0])) for _ in range(2))
    pp = draw(st.integers(1, min(3, model.layers)))
    weights = draw(st.sampled_from((None, None, "fp8", "nvfp4")))
    kv = draw(st.sampled_from((None, "fp8")))
    limits = {"token_budget": BUDGET, "max_num_seqs": SEQUENCES, "kv_memory_fraction": draw(st.sampled_from((0.5, 0.9)))}
    asked = Asked(tp=tp, pp=pp, dp=dp, ep=ep, weights=weights, kv=kv, **limits)
    try:
        return build(model, resolve(model, chip, Engine.load("generic"), asked))
    except AssayError:
        assume(False)
        raise


@dataclass(frozen=True)
class Work:
    """What a step does: contexts of the sequences that decode, and (tokens before, tokens) of chunks, each of which ends its prompt."""

    contexts: tuple[int, ...]
    chunks: tuple[tuple[int, int], ...]

    def step(self, reaches: Sequence[int]) -> Step:
        """The step as a StepTime counts it."""
        tokens = len(self.contexts) + sum(chunk for _, chunk in self.chunks)
        decode = [float(sum(min(context, reach or context) for context in self.contexts)) for reach in reaches]
        pairs = [sum(attended(before, chunk, reach) for before, chunk in self.chunks) for reach in reaches]
        reread = [float(sum(min(before, reach or before) for before, _ in self.chunks)) for reach in reaches]
        kind = MIXED if self.chunks else DECODE
        return Step(kind, tokens, len(self.contexts) + len(self.chunks), decode, pairs, reread)


work = st.builds(
    Work,
    st.lists(st.integers(1, 20_000), max_size=SEQUENCES - 16).map(tuple),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 50)), max_size=4).map(tuple),
).filter(lambda drawn: bool(drawn.contexts or drawn.chunks))


def seconds(plant: Plant, drawn: Work) -> tuple[float, float]:
    """Interval and latency of a step."""
    step = drawn.step(plant.times.reaches)
    return total(plant.times.interval, step), total(plant.times.latency, step)


def no_slower(faster: tuple[float, float], slower: tuple[float, float]) -> bool:
    """Whether neither interval nor latency is longer, but for rounding."""
    return all(one <= other * ROUNDING for one, other in zip(faster, slower, strict=True))


@steady
@given(plants(), work, st.sampled_from(sorted(BETTER)), st.sampled_from((1.25, 2.0, 16.0)))
def test_a_better_chip_is_never_slower(plant: Plant, drawn: Work, change: str, factor: float) -> None:
    """More peak compute, memory bandwidth or link bandwidth never lengthens a step."""
    better = build(plant.model, replace(plant.part, chip=BETTER[change](plant.part.chip, factor)))
    assert no_slower(seconds(better, drawn), seconds(plant, drawn))


@steady
@given(plants(), work, st.integers(1, 5000))
def test_longer_context_is_never_faster(plant: Plant, drawn: Work, more: int) -> None:
    """A step whose sequences and chunks have more before them takes at least as long."""
    longer = Work(tuple(context + more for context in drawn.contexts), tuple((before + more, chunk) for before, chunk in drawn.chunks))
    assert no_slower(seconds(plant, drawn), seconds(plant, longer))


@steady
@given(plants(), work, st.integers(1, 8), st.integers(1, 100))
def test_more_work_is_never_faster(plant: Plant, drawn: Work, sequences: int, tokens: int) -> None:
    """Another sequence, another chunk or a longer chunk never shortens a step."""
    joined = [
        replace(drawn, contexts=(*drawn.contexts, *[100] * sequences)),
        replace(drawn, chunks=(*drawn.chunks, (0, tokens))),
        replace(drawn, chunks=tuple((before, chunk + tokens // 4) for before, chunk in drawn.chunks)),
    ]
    assert all(no_slower(seconds(plant, drawn), seconds(plant, more)) for more in joined)


@steady
@given(plants(), work)
def test_every_step_takes_energy(plant: Plant, drawn: Work) -> None:
    """Work above idle is more than nothing, and more work takes no less."""
    step = drawn.step(plant.times.reaches)
    more = replace(drawn, contexts=(*drawn.contexts, 50)).step(plant.times.reaches)
    assert 0 < total(plant.times.joules, step) <= total(plant.times.joules, more) * ROUNDING
    assert plant.times.idle_watts >= 0


@steady
@given(plants(), work)
def test_the_split_sums_to_the_total(plant: Plant, drawn: Work) -> None:
    """Seconds and joules by resource add up, and no resource takes a negative share."""
    step = drawn.step(plant.times.reaches)
    curves: tuple[Curve, ...] = (plant.times.interval, plant.times.latency, plant.times.joules)
    for curve in curves:
        parts = split(curve, step)
        assert parts.sum() == pytest.approx(total(curve, step), rel=1e-12)
        assert parts.min() >= 0


@steady
@given(plants(), st.integers(0, 400), st.integers(0, SEQUENCES - 1), st.integers(0, 20_000))
def test_ops_sum_to_the_step(plant: Plant, prefill: int, decode: int, context: int) -> None:
    """The ops of a step taken apart add up to its latency, and their shares to one."""
    assume(prefill or decode)
    step = explain(plant.machine, plant.ops, plant.times, Load(prefill, decode, context))
    assert sum(op.seconds for op in step.ops) == pytest.approx(step.latency, rel=1e-9)
    assert sum(step.bottleneck.values()) == pytest.approx(1.0)
    assert step.joules > 0
    assert all(op.seconds >= 0 and op.flops >= 0 and op.bytes >= 0 for op in step.ops)


@steady
@given(plants(), work)
def test_the_next_step_never_waits_longer_than_the_tokens(plant: Plant, drawn: Work) -> None:
    """The interval is at most the latency, and equal to it where there is one stage."""
    interval, latency = seconds(plant, drawn)
    assert interval <= latency * ROUNDING
    if plant.part.pp == 1:
        assert interval == pytest.approx(latency, rel=1e-12)


@steady
@given(plants(), work)
def test_more_stages_hold_more_and_are_no_sooner_done(plant: Plant, drawn: Work) -> None:
    """A further pipeline stage never lowers the tokens of cache that a replica holds.

    Nor the latency of a step, where it brings no faster link and no room in a faster tier into play.
    """
    assume(plant.part.pp < plant.model.layers)
    try:
        deeper = build(plant.model, replace(plant.part, pp=plant.part.pp + 1))
    except AssayError:
        assume(False)
        raise
    assert deeper.policy.kv_bytes == plant.policy.kv_bytes
    assert deeper.policy.kv_capacity >= plant.policy.kv_capacity / ROUNDING
    chip = plant.part.chip
    same_link = scope(chip, max(2, plant.part.chips)) == scope(chip, max(2, deeper.part.chips))
    if same_link and len(chip.memory) == 1:
        assert seconds(deeper, drawn)[1] >= seconds(plant, drawn)[1] / ROUNDING


@steady
@given(plants())
def test_more_memory_holds_more(plant: Plant) -> None:
    """A chip whose tiers are larger never holds fewer tokens of cache."""
    memory = tuple(replace(tier, bytes=scaled(tier.bytes, 2.0)) for tier in plant.part.chip.memory)
    larger = build(plant.model, replace(plant.part, chip=replace(plant.part.chip, memory=memory)))
    assert larger.policy.kv_capacity >= plant.policy.kv_capacity


@steady
@given(plants())
def test_the_first_tier_fills_before_cache_spills(plant: Plant) -> None:
    """Cache begins to be read from a second tier within what the replica can hold, and takes time there."""
    tiers = plant.machine.residency
    if tiers.spill_after == float("inf"):
        assert plant.times.spill == 0
        return
    assert 0 < plant.times.spill_after < plant.policy.kv_capacity
    share = tiers.spill_after / tiers.kv_bytes
    assert plant.times.spill_after / plant.policy.kv_capacity == pytest.approx(share, rel=1e-9)
    assert plant.times.spill > 0


@steady
@given(plants())
def test_random_graphs_are_lawful(plant: Plant) -> None:
    """The laws hold for architectures that no catalogue has."""
    verify(plant.model, plant.part, plant.ops)
