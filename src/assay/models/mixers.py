"""Layers that carry a state of fixed size from token to token in place of a cache: linear attention and state-space layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from assay.models.shapes import Weights

CONVOLUTION_BYTES = 2  # the last inputs of a convolution are kept as they are computed, in 16 bit


class Channels(NamedTuple):
    """Columns of a projection or channels of a convolution: `own` of each head, `shared` of each group of heads."""

    own: int
    shared: int


@dataclass(frozen=True)
class Recurrence:
    """One state of `key_dim` x `value_dim` per head, decayed, added to and read once for each token.

    In the terms of linear attention: `heads` heads of values, in `key_heads` groups that share keys and queries. A state-space layer
    is the same with its input as values, its B and C as keys and queries (Dao and Gu, arXiv 2405.21060). With `delta` what the state
    already holds under a key is taken off before the value is added (Yang, Kautz and Hatamizadeh, arXiv 2412.06464).

    `scalars` numbers per head are projected from the input beside keys, queries and values (step sizes, decays). The output gate is a
    projection of the input of its own, through `gate_rank` columns where that is not 0; then each key channel has a decay of its own,
    projected through as many columns. `convolution` is the width of a causal convolution over keys, queries and values (0: none), of
    which `convolution_bias` adds a bias. `constants` are learned numbers of each head, `norm` those of the norm on the output.
    `state_bytes_each` is the width of a value of the state.
    """

    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    delta: bool
    scalars: int = 0
    gate_rank: int = 0
    convolution: int = 0
    convolution_bias: bool = False
    constants: int = 0
    norm: int = 0
    state_bytes_each: int = 4

    @property
    def kv_elements(self) -> int:
        """Values that one layer caches per token: none."""
        return 0

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back its attention looks: it does not look back."""
        return ()

    @property
    def convolved(self) -> Channels:
        """Channels that the convolution runs over: values, and keys and queries."""
        return Channels(self.value_dim, 2 * self.key_dim)

    @property
    def projected(self) -> Channels:
        """Columns of the input projection: values, scalars and the gate; keys and queries."""
        gate = 0 if self.gate_rank else self.value_dim
        return Channels(self.value_dim + gate + self.scalars, 2 * self.key_dim)

    @property
    def state(self) -> int:
        """Values of the state of one head."""
        return self.key_dim * self.value_dim

    @property
    def flops(self) -> int:
        """FLOPs of one head on one token, token by token: decay, addition and reading are 5 per value of the state, the delta rule 2 more.

        Kernels that take a prompt in chunks do up to about twice as much, on faster units.
        """
        return (7 if self.delta else 5) * self.state

    @property
    def state_bytes(self) -> int:
        """Bytes that one layer keeps of one sequence: the state, and the last inputs of its convolution."""
        kept = max(0, self.convolution - 1) * self._whole(self.convolved)
        return self.heads * self.state * self.state_bytes_each + kept * CONVOLUTION_BYTES

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the projections, the convolution, the norm and the constants of one layer."""
        linear = hidden * self._whole(self.projected) + self.heads * self.value_dim * hidden
        linear += self.gate_rank * (2 * hidden + self.heads * (self.key_dim + self.value_dim))
        small = (self.convolution + self.convolution_bias) * self._whole(self.convolved)
        small += self.heads * self.constants + self.norm
        yield Weights("attention", linear, linear)
        yield Weights("norm", small, small)

    def _whole(self, channels: Channels) -> int:
        return self.heads * channels.own + self.key_heads * channels.shared
