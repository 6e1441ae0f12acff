"""Lowering of layers that carry a state of fixed size: projections and scans, split over the heads of an attention rank."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from assay._base.precisions import precisions
from assay.graph.op import ACTIVATION_BYTES, Op
from assay.models.mixers import CONVOLUTION_BYTES, Channels, Recurrence

if TYPE_CHECKING:
    from assay.graph.lower import Lowering


@dataclass(frozen=True)
class _Split:
    """Heads of one of `ranks`: a group of heads lies on several ranks where there are fewer groups, each with a copy of what is shared."""

    mixer: Recurrence
    ranks: int

    @property
    def heads(self) -> float:
        return self.mixer.heads / self.ranks

    def of(self, channels: Channels) -> float:
        """Channels on one rank."""
        return self.heads * channels.own + max(1.0, self.mixer.key_heads / self.ranks) * channels.shared

    def copied(self, channels: Channels) -> float:
        """Channels that ranks hold beyond the whole, over all of them."""
        return (max(self.ranks, self.mixer.key_heads) - self.mixer.key_heads) * channels.shared


def recurrent(lowering: "Lowering", count: int, mixer: Recurrence) -> Iterator[Op]:
    """Input projection, convolution, scan, norm and output projection of `count` layers, as an attention rank runs them."""
    split, hidden = _Split(mixer, lowering.ranks), lowering.hidden
    projection = lowering.gemm("recurrence projection", count, hidden, split.of(mixer.projected), own=True)
    yield replace(projection, replicated=hidden * split.copied(mixer.projected))
    if mixer.gate_rank:
        yield lowering.gemm("gate compress", count, hidden, 2 * mixer.gate_rank, own=True, shards=1)
        yield lowering.gemm("gate projection", count, mixer.gate_rank, split.heads * (mixer.key_dim + mixer.value_dim), own=True)
    if mixer.convolution:
        yield _convolution(lowering, count, split)
    yield _scan(lowering, count, split)
    out = split.heads * mixer.value_dim
    norm = mixer.norm if mixer.norm == mixer.value_dim else mixer.norm / lowering.ranks  # of one head for all, or of each
    shards = 1 if norm == mixer.norm else lowering.ranks
    yield replace(lowering.vector("gated norm", count, 1.5 * out, weights=norm, shards=shards), own=True)
    yield lowering.gemm("output projection", count, out, hidden, own=True)


def _convolution(lowering: "Lowering", count: int, split: _Split) -> Op:
    mixer = split.mixer
    channels, taps = split.of(mixer.convolved), mixer.convolution + mixer.convolution_bias
    op = lowering.vector("convolution", count, channels, weights=taps * channels, shards=lowering.ranks)
    kept = (mixer.convolution - 1) * channels * CONVOLUTION_BYTES
    return replace(op, replicated=taps * split.copied(mixer.convolved), state_bytes=kept, own=True)


def _scan(lowering: "Lowering", count: int, split: _Split) -> Op:
    """The state of each head meets one token after the other; reads keys, queries, values and decays, and writes the output."""
    mixer = split.mixer
    decays = mixer.scalars + (mixer.key_dim if mixer.gate_rank else 0)
    moved = split.of(mixer.convolved) + split.heads * (decays + mixer.value_dim)
    return Op(
        "recurrence",
        "recurrence",
        count,
        flops=split.heads * mixer.flops,
        weights=split.heads * mixer.constants,
        tensor="norm",
        rate=lowering.part.rate(precisions()["bf16"]),
        shards=lowering.ranks,
        copies=lowering.tp // lowering.ranks,
        activation_bytes=moved * ACTIVATION_BYTES,
        state_bytes=split.heads * mixer.state * mixer.state_bytes_each,
        own=True,
    )
