"""Ops folded to step times: attention ranks in lock step against all their tokens at once, and drafting before a step."""

from dataclasses import replace

import numpy as np
import pytest

from assay._base.errors import CannotHold
from assay.chips import Chip
from assay.cost import fold
from assay.cost.collectives import sent_bytes
from assay.cost.energy import byte_joules, energy
from assay.cost.kv import kv_bytes_per_token, kv_capacity
from assay.cost.residency import weight_bytes
from assay.cost.roofline import decode_slope, latency_seconds, network_seconds, prefill_slopes, weights_read, work_seconds
from assay.deployments import Asked, Part, resolve
from assay.engines import Engine
from assay.graph import lower, verify
from assay.graph.op import SAMPLED, Op
from assay.models import Model
from assay.search.plant import Plant, build
from assay.simulate.policies import MIXED as MIXED_STEPS
from assay.simulate.policies import PREFILL_FIRST
from assay.steptime import DECODE, MIXED, RESOURCES, Curve, Step, StepTime, split, together, total

HOST = RESOURCES.index("host")
CURVES = ("interval", "latency", "joules")


def part(model: str = "llama-3.3-70b", chip: str = "h100-sxm", **asked: object) -> Part:
    """A part with small tables."""
    limits = {"token_budget": 128, "max_num_seqs": 32, **asked}
    return resolve(Model.load(model), Chip.load(chip), Engine.load("generic"), Asked(**limits))


def plant(model: str = "llama-3.3-70b", chip: str = "h100-sxm", **asked: object) -> Plant:
    """A part, built."""
    return build(Model.load(model), part(model, chip, **asked))


# Attention ranks.

LATENT = {"model": "deepseek-r1", "chip": "h200-sxm", "tp": 8, "ep": 8}
RANKED = [{**LATENT, "dp": 8}, {**LATENT, "dp": 2}, {"model": "gpt-oss-120b", "chip": "b200-sxm", "tp": 8, "dp": 4}]
SPARSE = {"model": "deepseek-v3.2", "chip": "b200-sxm", "tp": 8, "dp": 4, "pp": 2}


def step_of(times: StepTime, decode: int, context: int, chunk: int = 0, times_over: int = 1) -> Step:
    """A step of one rank: sequences of one context and a chunk at the start of a prompt; or of several such ranks together."""
    cached = [float(times_over * decode * (min(context, reach) if reach else context)) for reach in times.reaches]
    pairs = [float(times_over * chunk * (chunk + 1) / 2)] * len(cached)
    sizes = times_over * (decode + chunk), times_over * (decode + (chunk > 0))
    return Step(MIXED if chunk else DECODE, *sizes, cached, pairs, [0.0] * len(cached))


def spread(op: Op, ranks: int) -> Op:
    """An attention rank's op as it was once: its amounts per token of the whole replica, of which it sees an even share."""
    if not op.own:
        return op
    reach, exchange = op.reach, op.exchange
    if reach:
        amounts = ("decode_flops", "prefill_flops", "cache_bytes", "reread_flops")
        reach = replace(reach, **{name: getattr(reach, name) / ranks for name in amounts})
    if exchange:
        exchange = replace(exchange, bytes=exchange.bytes / ranks)
    return replace(op, flops=op.flops / ranks, activation_bytes=op.activation_bytes / ranks, reach=reach, exchange=exchange)


def evenly(made: Plant, step: Step) -> float:
    """Seconds of a step of the whole replica on evenly loaded ranks, op by op, as they were summed before ranks were told apart."""
    machine, seconds = made.machine, 0.0
    for op in (spread(op, made.part.dp) for op in made.ops):
        units = np.array([float(step.sampled if op.driver == SAMPLED else step.tokens)])
        kind = DECODE if op.driver == SAMPLED else step.kind
        each = sum(work_seconds(op, machine, units))[0] + network_seconds(op, machine, units)[0] + latency_seconds(op, machine, kind)
        if op.reach:
            place = made.times.reaches.index(op.reach.window)
            each += sum(decode_slope(op.reach, op, machine)) * step.decode[place]
            each += prefill_slopes(op.reach, op, machine)[0][0] * step.pairs[place]
        seconds += op.count * each
    host = machine.constants.host
    return float(seconds + host["step"] + host["sequence"] * step.sampled)


@pytest.mark.parametrize("layout", RANKED, ids=lambda layout: f"{layout['model']} dp {layout['dp']}")
@pytest.mark.parametrize(("decode", "chunk"), [(1, 0), (3, 0), (32, 0), (0, 64), (20, 100)])
def test_evenly_loaded_ranks_take_what_all_their_tokens_take(layout: dict[str, object], decode: int, chunk: int) -> None:
    """The time of one rank and what all do together add up to the sum over ops that share all tokens evenly."""
    made = plant(**layout)
    times, ranks = made.times, made.part.dp
    step = step_of(times, decode, 1000, chunk)
    found = total(times.latency, step) + together(times.latency, step.kind, ranks * step.tokens)
    assert found == pytest.approx(evenly(made, step_of(times, decode, 1000, chunk, ranks)), rel=1e-12)


def joules_evenly(made: Plant, step: Step) -> float:
    """Joules of the same step, op by op on all chips of the stage that runs it."""
    chip, power, joules = made.part.chip, energy(made.part.chip), 0.0
    each_byte = byte_joules(chip.memory[0], chip)
    for op in (spread(op, made.part.dp) for op in made.ops):
        units = step.sampled if op.driver == SAMPLED else step.tokens
        moved = weights_read(op, made.machine, np.array([float(units)]))[0] + units * op.activation_bytes
        flops, sent = units * op.flops, units * sent_bytes(op.exchange) if op.exchange else 0.0
        if op.reach:
            place = made.times.reaches.index(op.reach.window)
            moved += op.reach.cache_bytes * step.decode[place]
            flops += op.reach.decode_flops * step.decode[place] + op.reach.prefill_flops * step.pairs[place]
        joules += op.count * made.part.tp * (moved * each_byte + flops * power.flop[op.rate] + sent * power.link_byte)
    return float(joules)


@pytest.mark.parametrize("layout", [*RANKED, SPARSE], ids=lambda layout: f"{layout['model']} dp {layout['dp']}")
@pytest.mark.parametrize(("decode", "chunk"), [(1, 0), (20, 100)])
def test_energy_of_ranks_adds_up(layout: dict[str, object], decode: int, chunk: int) -> None:
    """The energy of all ranks and of what they do together is that of the ops on all chips that run them."""
    made = plant(**layout)
    times, ranks = made.times, made.part.dp
    step = step_of(times, decode, 1000, chunk)
    found = ranks * total(times.joules, step) + together(times.joules, step.kind, ranks * step.tokens)
    assert found == pytest.approx(joules_evenly(made, step_of(times, decode, 1000, chunk, ranks)), rel=1e-12)


def test_a_rank_without_tokens_has_nothing_of_its_own() -> None:
    """What ranks do together does not depend on who has the tokens; the host steps once for all."""
    times = plant(**RANKED[0]).times
    assert times.ranks == 8
    empty = step_of(times, 0, 0)
    for name in CURVES:
        assert total(getattr(times, name), empty) == 0
        assert together(getattr(times, name), DECODE, 0) == 0
        assert together(getattr(times, name), DECODE, 1) > 0
    assert times.interval.tokens[:, HOST].max() == 0
    assert np.ptp(times.interval.joint[:, HOST, 1:]) == 0 < times.interval.joint[0, HOST, 1]


def test_one_rank_has_everything_in_its_own_tables() -> None:
    """Without attention ranks nothing is joint."""
    times, _ = fold(Model.load("llama-3.3-70b"), part(tp=4))
    assert (times.ranks, times.width) == (1, 1)
    for name in CURVES:
        curve: Curve = getattr(times, name)
        assert curve.joint.shape == (2, len(RESOURCES), 0)
        assert curve.draft.shape == (len(RESOURCES), 0)
    assert times.interval.tokens[:, HOST, 1].min() > 0


@pytest.mark.parametrize("ranks", [2, 4])
def test_tables_hold_what_each_rank_and_all_together_may_have(ranks: int) -> None:
    """Limits are those of each rank; what they do together is tabulated for the tokens of all."""
    times, _ = fold(Model.load("deepseek-r1"), part("deepseek-r1", "b200-sxm", tp=8, ep=8, dp=ranks))
    assert (times.most_tokens, times.most_sampled) == (128, 32)
    assert times.interval.joint.shape[2] - 1 == ranks * 128


def test_each_rank_has_a_cache_of_its_own() -> None:
    """A rank of one chip has that chip's room, and its sequences their whole latents; the policy is that of a rank."""
    made = plant(**RANKED[0], max_num_seqs=16)
    assert made.policy.kv_capacity == made.machine.residency.kv_bytes // 1
    assert kv_capacity(made.machine.residency, 61, made.part) == made.machine.residency.kv_bytes
    assert kv_bytes_per_token(made.ops, made.part) == {0: 61 * 576 * 2}
    assert (made.policy.max_num_seqs, made.policy.token_budget) == (16, 128)


@pytest.mark.parametrize("name", ["generic", "vllm", "sglang", "tensorrt-llm"])
def test_the_policy_is_the_engines(name: str) -> None:
    """How prompts and decodes share steps, and how often it looks for requests, are the engine's defaults."""
    model, chip, engine = Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), Engine.load(name)
    policy = build(model, resolve(model, chip, engine, Asked(tp=1))).policy
    defaults = engine.defaults_on(chip.family)
    assert policy.batching == {"mixed": MIXED_STEPS, "first": PREFILL_FIRST}[defaults.prefill.value]
    assert policy.look_interval == defaults.recv_interval.value


# Drafting.

HEADS, MODEL = "3:0.7", "3:0.7:llama-3.1-8b"
SPECULATIVE = [{"tp": 8, "speculate": HEADS}, {"tp": 8, "speculate": MODEL}, {**LATENT, "dp": 8, "speculate": "2:0.5"}]


def drafting(made: Plant, curve: str = "interval") -> np.ndarray:
    """Time (joules) of drafting by sequences."""
    return np.asarray(getattr(made.times, curve).draft_totals)


@pytest.mark.parametrize("layout", SPECULATIVE, ids=lambda layout: str(layout["speculate"]))
def test_acceptance_changes_no_step(layout: dict[str, object]) -> None:
    """What is accepted decides how many steps there are, not how long one takes."""
    tokens, _, *draft = str(layout["speculate"]).split(":")
    one, other = (plant(**{**layout, "speculate": ":".join((tokens, chance, *draft))}).times for chance in ("0.1", "0.9"))
    for name in CURVES:
        for table in ("tokens", "sampled", "decode", "prefill", "draft", "joint"):
            assert np.array_equal(getattr(getattr(one, name), table), getattr(getattr(other, name), table))


@pytest.mark.parametrize("draft", ["", ":llama-3.1-8b"])
def test_more_drafted_tokens_take_more(draft: str) -> None:
    """Time and energy of drafting are in proportion to the tokens drafted, none for no sequence, and grow with sequences."""
    one, four = (plant(tp=8, speculate=f"{tokens}:0.7{draft}") for tokens in (1, 4))
    for curve in CURVES:
        assert drafting(one, curve)[0] == 0
        assert np.all(np.diff(drafting(one, curve)) > 0)
        assert drafting(four, curve) == pytest.approx(4 * drafting(one, curve))
    assert (one.times.width, four.times.width) == (2, 5)
    assert len(drafting(four)) == 32 + 1


def test_tables_reach_the_tokens_that_are_verified() -> None:
    """Each of the most sequences brings its drafted tokens, and all of them are sampled."""
    times = plant(tp=8, token_budget=64, max_num_seqs=32, speculate=HEADS).times
    assert (times.most_tokens, times.most_sampled) == (128, 128)


def test_a_draft_model_takes_its_own_steps() -> None:
    """Three decode steps of the small model on the same chips come before each step, its attention included."""
    layout = {"tp": 8, "token_budget": 256}
    flop = energy(Chip.load("h100-sxm")).flop["bf16"]
    drafted, small = plant(**layout, speculate=MODEL), plant("llama-3.1-8b", **layout)
    plain = plant(**layout, max_num_seqs=128)
    for curve in ("interval", "latency", "joules"):
        alone = total(getattr(small.times, curve), Step(DECODE, 5, 5, [5000.0], [0.0], [0.0]))
        whole = total(getattr(drafted.times, curve), Step(DECODE, 20, 20, [5000.0], [0.0], [0.0], 5))
        verifying = total(getattr(plain.times, curve), Step(DECODE, 20, 20, [5000.0], [0.0], [0.0]))
        if curve == "joules":  # four queries of each sequence, where the plain step has one, over one reading of the cache
            verifying += 5000 * 3 * sum(op.count * 8 * op.reach.decode_flops for op in plain.ops if op.reach) * flop
        else:  # nor does the host mind that one sequence has four tokens
            verifying -= 15 * plain.machine.constants.host["sequence"]
        assert whole == pytest.approx(3 * alone + verifying, rel=1e-9)


def test_heads_take_a_layer_and_the_head() -> None:
    """Each drafted token takes the time of one of the 80 layers, and of the LM head, its sampling included; the host waits for neither."""
    made, plain = plant(tp=8, speculate=HEADS), plant(tp=8)
    host = plain.machine.constants.host
    layers = plain.times.interval.token_totals[DECODE][7] - host["step"] - once(plain, 7)
    head = plain.times.interval.sampled_totals[7] - 7 * host["sequence"]
    assert drafting(made)[7] == pytest.approx(3 * (layers / 80 + head), rel=1e-9)
    assert made.times.interval.draft[HOST].max() == 0


def once(made: Plant, tokens: int) -> float:
    """Seconds of what belongs to no layer and is driven by tokens."""
    units, machine = np.array([float(tokens)]), made.machine
    return sum(
        float(sum(work_seconds(op, machine, units))[0] + network_seconds(op, machine, units)[0]) + latency_seconds(op, machine, DECODE)
        for op in made.ops
        if op.once and op.driver != SAMPLED
    )


def test_verifying_reads_the_cache_once() -> None:
    """Of attention in a decode step, arithmetic grows with the tokens verified and reading does not: the slower of them counts."""
    made = plant(**{**LATENT, "speculate": HEADS})
    op = next(op for op in made.ops if op.reach)
    assert op.reach
    compute, memory = (decode_slope(replace(op.reach, **{none: 0.0}), op, made.machine) for none in ("cache_bytes", "decode_flops"))
    for width in (1, 2, 4, 16):
        expected = (width * compute[0], 0.0) if width * compute[0] >= memory[1] else (0.0, memory[1])
        assert decode_slope(op.reach, op, made.machine, width) == pytest.approx(expected)
    assert decode_slope(op.reach, op, made.machine, 16)[0] > 0 == decode_slope(op.reach, op, made.machine)[0]


def test_drafts_need_room() -> None:
    """Weights and cache of what drafts lie beside the model's: a model whole, heads as one layer more."""
    plain, heads, model = (plant(tp=8, **asked) for asked in ({}, {"speculate": HEADS}, {"speculate": MODEL}))
    small = plant("llama-3.1-8b", tp=8)
    held = [weight_bytes(made.part, made.ops) for made in (plain, heads, model, small)]
    layer = sum(op.weight_bytes for op in plain.ops if not op.once)
    assert held[1] - held[0] == pytest.approx(layer, rel=1e-9)
    assert held[2] - held[0] == pytest.approx(held[3], rel=1e-9)
    assert plain.policy.kv_capacity - model.policy.kv_capacity == pytest.approx(held[3], rel=1e-6)
    cache = [made.policy.kv_bytes[0][1] for made in (plain, heads, model, small)]
    assert cache[1] == cache[0] * 81 / 80
    assert cache[2] == cache[0] + cache[3]
    with pytest.raises(CannotHold):
        plant("llama-3.3-70b", tp=2, speculate="1:0.5:llama-3.3-70b")


def test_stages_hold_what_they_draft_with() -> None:
    """In a pipeline one stage has the heads' layer, and a draft model is spread as whole layers are."""
    plain, heads, model = (plant(tp=2, pp=3, **asked) for asked in ({}, {"speculate": HEADS}, {"speculate": MODEL}))
    cache = [sum(each for _, each in made.policy.kv_bytes) for made in (plain, heads, model)]
    layer = cache[0] / 80
    assert cache[1] - cache[0] == pytest.approx(layer * 80 / 27, abs=1)  # the fullest stage holds 27 of 80 layers, and one more
    assert cache[2] - cache[0] == pytest.approx(layer * 32 * (11 / 32) / (27 / 80), abs=1)  # as wide a layer, 11 of 32
    assert drafting(model, "interval")[4] < drafting(model, "latency")[4]


@pytest.mark.parametrize("layout", SPECULATIVE, ids=lambda layout: str(layout["speculate"]))
def test_what_drafts_is_lawful(layout: dict[str, object]) -> None:
    """The laws of graphs hold with it, and the time by resource still adds up."""
    made = plant(**layout)
    verify(made.model, made.part, made.ops)
    assert {op.passes for op in made.ops} == {0, made.part.width - 1}
    nothing = [0.0] * len(made.times.reaches)
    step = Step(DECODE, 4 * made.times.width, 4 * made.times.width, [4000.0] * len(nothing), nothing, nothing, 4)
    for name in CURVES:
        assert split(getattr(made.times, name), step).sum() == pytest.approx(total(getattr(made.times, name), step), rel=1e-12)


def test_a_step_without_drafts_is_the_plain_one() -> None:
    """Ops that do not draft are those of the same part without speculation."""
    made = part(tp=8, speculate=HEADS)
    plain = lower(Model.load("llama-3.3-70b"), replace(made, speculation=None))
    assert tuple(op for op in lower(Model.load("llama-3.3-70b"), made) if not op.passes) == plain
