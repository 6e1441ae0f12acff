"""A step taken apart: it adds up, and agrees with the step times, over attention ranks and with speculation."""

import pytest

from assay.chips import Chip
from assay.cost.explain import Explained, Load, explain
from assay.deployments import Asked, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.plant import Plant, build
from assay.steptime import DECODE, MIXED, together, total

LAYOUTS = {
    "ranks": ("deepseek-r1", "h200-sxm", {"tp": 8, "ep": 8, "dp": 8}),
    "sparse ranks in stages": ("deepseek-v3.2", "b200-sxm", {"tp": 8, "dp": 4, "pp": 2}),
    "heads": ("llama-3.3-70b", "h100-sxm", {"tp": 8, "speculate": "3:0.7"}),
    "draft model": ("llama-3.3-70b", "h100-sxm", {"tp": 8, "speculate": "4:0.7:llama-3.1-8b"}),
    "windowed draft model": ("llama-3.3-70b", "b200-sxm", {"tp": 8, "speculate": "2:0.7:gpt-oss-120b"}),
    "ranks with heads": ("deepseek-v3.2", "b200-sxm", {"tp": 8, "ep": 8, "dp": 4, "speculate": "1:0.9"}),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def plant(layout: str) -> Plant:
    """A layout with small tables."""
    model, chip, asked = LAYOUTS[layout]
    limits = {"token_budget": 512, "max_num_seqs": 64, **asked}
    return build(Model.load(model), resolve(Model.load(model), Chip.load(chip), Engine.load("generic"), Asked(**limits)))


def apart(made: Plant, load: Load) -> Explained:
    """A step taken apart."""
    return explain(made.machine, made.ops, made.times, load)


@each_layout
@pytest.mark.parametrize("load", [Load(0, 1, 3000), Load(0, 40, 3000), Load(100, 0, 0), Load(200, 40, 50)], ids=str)
def test_ops_add_up_to_the_step(layout: str, load: Load) -> None:
    """Ops, drafting among them, and the host take the latency; their shares are one."""
    step = apart(plant(layout), load)
    assert sum(op.seconds for op in step.ops) == pytest.approx(step.latency, rel=1e-9)
    assert sum(step.bottleneck.values()) == pytest.approx(1.0)
    assert all(op.seconds >= 0 and op.flops >= 0 and op.bytes >= 0 for op in step.ops)
    if load.decode > load.prefill:
        assert all(op.seconds > 0 for op in step.ops if op.name.startswith("draft"))


@each_layout
def test_it_agrees_with_the_step_times(layout: str) -> None:
    """The busiest rank's step and what all do together are the time; energy is that of every rank."""
    made = plant(layout)
    load, times = Load(60, 21, 700), made.times
    steps = [part.step(times.reaches, times.width) for part in load.spread(times.ranks)]
    found, tokens = apart(made, load), 60 + 21 * times.width
    assert sum(step.tokens for step in steps) == tokens
    for curve, seconds in ((times.interval, found.seconds), (times.latency, found.latency)):
        assert seconds == pytest.approx(max(total(curve, step) for step in steps) + together(curve, MIXED, tokens))
    joules = sum(total(times.joules, step) for step in steps) + together(times.joules, MIXED, tokens)
    assert found.joules == pytest.approx(joules + times.idle_watts * found.seconds)


@pytest.mark.parametrize("decode", [0, 1, 7, 8, 9, 64])
def test_sequences_are_spread_evenly(decode: int) -> None:
    """No rank has more than one sequence more than another; the prompt lies on one of the busiest."""
    parts = Load(100, decode, 5).spread(8)
    assert [part.prefill for part in parts] == [100] + 7 * [0]
    shares = [part.decode for part in parts]
    assert (sum(shares), shares) == (decode, sorted(shares, reverse=True))
    assert shares[0] - shares[-1] <= 1


def test_full_ranks_take_as_long_as_one_more_fills_them() -> None:
    """A ninth sequence on eight ranks lengthens the step by more than the eighth did."""
    made = plant("ranks")
    seven, eight, nine = (apart(made, Load(0, decode, 2000)).seconds for decode in (7, 8, 9))
    assert nine - eight > eight - seven


def test_drafting_is_on_one_token_of_each_sequence() -> None:
    """A step verifies four tokens of a sequence and drafts with one; a step that only prefills drafts nothing."""
    made = plant("heads")
    step = Load(10, 5, 100).step(made.times.reaches, made.times.width)
    assert (step.kind, step.tokens, step.sampled, step.drafting, step.decode) == (MIXED, 30, 21, 5, [500.0])
    plain = Load(0, 5, 100).step([0])
    assert (plain.kind, plain.tokens, plain.sampled, plain.drafting) == (DECODE, 5, 5, 0)
    ops = {op.name: op for op in apart(made, Load(0, 5, 100)).ops}
    assert ops["draft down projection"].flops * 80 * 4 == pytest.approx(ops["down projection"].flops * 3)
    assert ops["draft attention"].flops * 80 * 4 == pytest.approx(ops["attention"].flops * 3)
    assert sum(op.seconds for op in apart(made, Load(10, 0, 0)).ops if op.name.startswith("draft")) == 0
