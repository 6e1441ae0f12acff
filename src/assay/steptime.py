"""How long a step takes and what it costs in energy: arrays, no model and no chip.

A step has `n` tokens, of which `s` sequences sample, and for each reach w of the model's attention (0 is unbounded) three sums:
the decode context D_w, the prefill pairs P_w and the context R_w that prefill chunks read again. Its kind is DECODE when no
sequence prefills, else MIXED.

    time = tokens[kind][n] + sampled[s] + draft[b] + sum over w of (decode[w] D_w + max over lines of (p P_w + r R_w))

With speculation b decoding sequences draft before they are verified. Ranks in lock step each have such a time of their own; the
step lasts as long as the slowest of them, and joint[kind][n of all ranks] more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESOURCES = ("compute", "memory", "network", "latency", "host")
DECODE, MIXED = 0, 1


@dataclass(frozen=True, eq=False)
class Curve:
    """Seconds (or joules) of a step, split by the resource that sets them.

    Shapes, with K kinds, R resources, W reaches: `tokens` (K, R, N + 1); `sampled` (R, S + 1); `decode` (W, R) per context token;
    `prefill` (W, L, 2): for each of L competing lines the slope per pair and per re-read token; `lines` (L): the resource of each.
    `draft` (R, B + 1) by sequences that draft; `joint` (K, R, M + 1) by tokens of all ranks; each may be empty: nothing.
    """

    tokens: Floats
    sampled: Floats
    decode: Floats
    prefill: Floats
    lines: tuple[int, ...]
    draft: Floats = field(default_factory=lambda: np.zeros((len(RESOURCES), 0)))
    joint: Floats = field(default_factory=lambda: np.zeros((2, len(RESOURCES), 0)))

    @cached_property
    def draft_totals(self) -> list[float]:
        """`draft` summed over resources, by b."""
        totals: list[float] = self.draft.sum(axis=0).tolist()
        return totals

    @cached_property
    def joint_totals(self) -> list[list[float]]:
        """`joint` summed over resources, by kind and n of all ranks."""
        totals: list[list[float]] = self.joint.sum(axis=1).tolist()
        return totals

    @cached_property
    def token_totals(self) -> list[list[float]]:
        """`tokens` summed over resources, as plain floats by kind and n."""
        totals: list[list[float]] = self.tokens.sum(axis=1).tolist()
        return totals

    @cached_property
    def sampled_totals(self) -> list[float]:
        """`sampled` summed over resources, by s."""
        totals: list[float] = self.sampled.sum(axis=0).tolist()
        return totals

    @cached_property
    def prefill_lines(self) -> list[list[list[float]]]:
        """`prefill` as plain floats."""
        lines: list[list[list[float]]] = self.prefill.tolist()
        return lines

    @cached_property
    def decode_totals(self) -> list[float]:
        """`decode` summed over resources, by reach."""
        totals: list[float] = self.decode.sum(axis=1).tolist()
        return totals


@dataclass(frozen=True)
class Step:
    """What one rank does in a step: kind, tokens, samples, by reach the sums D, P and R, and how many sequences draft."""

    kind: int
    tokens: int
    sampled: int
    decode: Sequence[float]
    pairs: Sequence[float]
    reread: Sequence[float]
    drafting: int = 0


def total(curve: Curve, step: Step) -> float:
    """Seconds (joules) of one step, of one rank what is its own."""
    seconds = curve.token_totals[step.kind][step.tokens] + curve.sampled_totals[step.sampled]
    if curve.draft_totals:
        seconds += curve.draft_totals[step.drafting]
    for slope, context in zip(curve.decode_totals, step.decode, strict=True):
        seconds += slope * context
    if step.kind == MIXED:
        for lines, pairs, reread in zip(curve.prefill_lines, step.pairs, step.reread, strict=True):
            seconds += max(pair * pairs + again * reread for pair, again in lines)
    return seconds


def together(curve: Curve, kind: int, tokens: int) -> float:
    """Seconds (joules) that ranks in lock step spend together on the tokens of all of them."""
    return curve.joint_totals[kind][tokens] if curve.joint_totals[kind] else 0.0


def split(curve: Curve, step: Step) -> Floats:
    """The same time by resource, shape (R,); its sum equals `total`."""
    seconds: Floats = curve.tokens[step.kind, :, step.tokens] + curve.sampled[:, step.sampled] + np.asarray(step.decode) @ curve.decode
    if curve.draft_totals:
        seconds += curve.draft[:, step.drafting]
    if step.kind == MIXED:
        for reach in range(len(step.pairs)):
            work = curve.prefill[reach] @ np.array([step.pairs[reach], step.reread[reach]])
            worst = int(np.argmax(work))
            seconds[curve.lines[worst]] += work[worst]
    return seconds


@dataclass(frozen=True, eq=False)
class StepTime:
    """Time and energy of every step of one replica.

    `interval` is the time until the next step may be issued, `latency` the time until this step's tokens exist; they differ in a
    pipeline of `depth` stages. `joules` is the energy above idle, `idle_watts` what all chips of the replica draw when they wait.
    `reaches` names the reach of each column of D, P and R. Above `spill_after` bytes of KV in use, each further byte adds `spill`
    seconds to a step, since it is read from a slower tier. `ranks` attention ranks run in lock step, each with the tables given here;
    `width` tokens of each decoding sequence are in a step: one, and those that were drafted.
    """

    interval: Curve
    latency: Curve
    joules: Curve
    idle_watts: float
    reaches: tuple[int, ...] = (0,)
    depth: int = 1
    spill_after: float = float("inf")
    spill: float = 0.0
    ranks: int = 1
    width: int = 1

    @property
    def most_tokens(self) -> int:
        """Largest n the tables hold."""
        return int(self.interval.tokens.shape[2]) - 1

    @property
    def most_sampled(self) -> int:
        """Largest s the tables hold."""
        return int(self.interval.sampled.shape[1]) - 1

    @classmethod
    def linear(cls, fixed: float, per_token: float, per_context: float = 0.0, most: int = 8192) -> "StepTime":
        """A step of `fixed + per_token n + per_context D` seconds and one joule a second, for tests."""
        tokens = np.zeros((2, len(RESOURCES), most + 1))
        tokens[:, 3] = np.where(np.arange(most + 1) > 0, fixed, 0.0)
        tokens[:, 0] = per_token * np.arange(most + 1)
        decode = np.zeros((1, len(RESOURCES)))
        decode[0, 1] = per_context
        curve = Curve(tokens, np.zeros((len(RESOURCES), most + 1)), decode, np.zeros((1, 1, 2)), (0,))
        return cls(curve, curve, curve, idle_watts=0.0)

    @classmethod
    def constant(cls, seconds: float, most: int = 8192) -> "StepTime":
        """Every step takes `seconds`, whatever it does, for tests."""
        return cls.linear(seconds, 0.0, most=most)
