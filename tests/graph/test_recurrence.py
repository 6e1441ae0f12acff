"""Recurrences lowered: their work and state over ranks, counted by hand, and graphs that break their laws."""

from dataclasses import replace

import pytest

from assay._base.errors import InputError
from assay.chips import Chip
from assay.deployments import Asked, Part, resolve
from assay.engines import Engine
from assay.graph import lower, verify
from assay.graph.op import Op
from assay.graph.verify import GraphError
from assay.models import Model
from assay.models.mixers import Recurrence

HYBRIDS = ["qwen3-next-80b-a3b", "qwen3.5-27b", "kimi-linear-48b-a3b", "nemotron-3-super-120b-a12b", "nemotron-nano-9b-v2"]
each_hybrid = pytest.mark.parametrize("name", HYBRIDS)


def part_of(model: Model, **asked: object) -> Part:
    """A part on a chip that has all rates."""
    return resolve(model, Chip.load("b200-sxm"), Engine.load("generic"), Asked(**asked))


def lowered(name: str, **asked: object) -> tuple[Op, ...]:
    """The ops of a model under a layout."""
    model = Model.load(name)
    return lower(model, part_of(model, **asked))


def one(ops: tuple[Op, ...], name: str) -> Op:
    """The first op of a name."""
    return next(op for op in ops if op.name == name)


def test_a_gated_delta_layer_by_hand() -> None:
    """Qwen3-Next on four chips: 16 key and 32 value heads of 128 each, a convolution over 8192 channels, all written out."""
    ops = lowered("qwen3-next-80b-a3b", tp=4)
    # keys and queries 2 x 2048, values and gate 2 x 4096, two scalars of each of 32 heads
    assert one(ops, "recurrence projection").weights == 2048 * (4096 + 8192 + 64) / 4
    assert one(ops, "convolution").weights == 4 * 8192 / 4
    assert one(ops, "convolution").state_bytes == 3 * 8192 * 2 / 4
    scan = one(ops, "recurrence")
    assert (scan.count, scan.weights, scan.flops) == (36, 2 * 32 / 4, 32 / 4 * 7 * 128 * 128)
    assert scan.state_bytes == 32 / 4 * 128 * 128 * 4
    assert one(ops, "gated norm").weights == 128
    assert Model.load("qwen3-next-80b-a3b").state_bytes_per_sequence == 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)


def test_a_state_space_layer_by_hand() -> None:
    """Nemotron 3 Nano on two chips: 64 heads of 64, in 8 groups of 128 state values; its FFN layers are layers of their own."""
    ops = lowered("nemotron-3-nano-30b-a3b", tp=2)
    inner, shared = 64 * 64, 2 * 8 * 128
    assert one(ops, "recurrence projection").weights == 2688 * (2 * inner + shared + 64) / 2
    assert one(ops, "convolution").weights == (4 + 1) * (inner + shared) / 2
    scan = one(ops, "recurrence")
    assert (scan.count, scan.weights, scan.flops) == (23, 3 * 64 / 2, 64 / 2 * 5 * 64 * 128)
    assert one(ops, "gated norm").weights == inner / 2
    assert sum(op.count for op in ops if op.opens) == 52
    assert one(ops, "expert up projection").weights == 128 * 2688 * 1856 / 2


def test_gates_through_a_few_columns() -> None:
    """Kimi Linear decays each key channel by itself: both gates pass through 128 columns, which every rank holds whole."""
    ops = lowered("kimi-linear-48b-a3b", tp=8)
    assert one(ops, "gate compress").weights == 2304 * 2 * 128
    assert one(ops, "gate projection").weights == 128 * 2 * 4096 / 8
    assert one(ops, "recurrence").weights == 32 / 8 * (1 + 128)


def test_latent_experts_work_on_fewer_values() -> None:
    """Experts of Nemotron 3 Super see 1024 of 4096 values, to and from which two projections lead that all ranks hold."""
    ops = lowered("nemotron-3-super-120b-a12b", tp=8, ep=8)
    assert one(ops, "latent compress").weights == one(ops, "latent expand").weights == 4096 * 1024
    assert one(ops, "expert up projection").weights == 512 / 8 * 1024 * 2688


@each_hybrid
def test_ranks_share_states(name: str) -> None:
    """Ranks hold each head's state once; where there are fewer groups than ranks, the convolution's inputs of a group lie on several."""
    model = Model.load(name)
    for tp in (1, 2, 4, 8):
        kept = sum(op.count * op.state_bytes for op in lower(model, part_of(model, tp=tp)))
        assert kept * tp == pytest.approx(model.state_bytes_per_sequence)
    wide = sum(op.count * op.state_bytes for op in lowered("nemotron-3-super-120b-a12b", tp=16))
    copies = 40 * 8 * 2 * 128 * 3 * 2  # the 8 groups, each on two of the 16 ranks
    assert wide * 16 == pytest.approx(Model.load("nemotron-3-super-120b-a12b").state_bytes_per_sequence + copies)


@each_hybrid
def test_heads_that_do_not_divide_are_refused(name: str) -> None:
    """A layout must divide the heads of recurrences, and their groups divide it or are divided by it."""
    model = Model.load(name)
    with pytest.raises(InputError, match="heads"):
        part_of(model, tp=5)


def test_attention_ranks_carry_their_own_states() -> None:
    """With attention ranks each holds the whole state of its own sequences."""
    model = Model.load("kimi-linear-48b-a3b")
    kept = sum(op.count * op.state_bytes for op in lower(model, part_of(model, tp=8, dp=8)))
    assert kept == model.state_bytes_per_sequence


@pytest.mark.parametrize("changes", [{"flops": 1.0}, {"state_bytes": 1.0}, {"own": False}])
@pytest.mark.parametrize("name", ["qwen3.5-27b", "nemotron-nano-9b-v2"])
def test_a_broken_recurrence_is_found(name: str, changes: dict[str, object]) -> None:
    """Work or state that is not the model's, or that belongs to other ranks, is refused."""
    model = Model.load(name)
    part = part_of(model, tp=4, dp=2)
    ops = lower(model, part)
    verify(model, part, ops)
    place = next(i for i, op in enumerate(ops) if op.kind == "recurrence")
    with pytest.raises(GraphError):
        verify(model, part, (*ops[:place], replace(ops[place], **changes), *ops[place + 1 :]))


@each_hybrid
def test_heads_for_further_tokens_attend(name: str) -> None:
    """A model that drafts for itself does so with a layer of attention and its last FFN, never with a recurrence."""
    drafting = [op for op in lowered(name, tp=2, speculate="2:0.6") if op.passes]
    assert [op.count for op in drafting if op.opens] == [1]
    assert any(op.reach for op in drafting)
    assert not any(op.state_bytes for op in drafting)
    assert isinstance(Model.load(name).architecture.layers[0].attention, Recurrence)
