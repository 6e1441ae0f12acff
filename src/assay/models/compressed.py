"""Attention over a window of the last tokens and over compressed entries of all that came before."""

from collections.abc import Iterator
from dataclasses import dataclass

from assay.models.shapes import Weights


@dataclass(frozen=True)
class Selection:
    """The small attention that picks, for each query, the `top_k` compressed entries that attention reads; it compresses keys alike."""

    heads: int
    dim: int
    top_k: int


@dataclass(frozen=True)
class CompressedAttention:
    """One vector of `head_dim` per token is both key and value of all heads; it is kept for `window` tokens.

    Every `ratio` tokens (0: never) become one entry of the same width, a sum that a projected gate weighs. With `picks` an entry also
    draws on the tokens before its own, from a second half of twice as wide projections, and only what is picked is read; without, all.
    Queries pass through `q_rank` values; outputs in `groups` of heads through `group_rank` values each. Layers of compressed sparse and
    heavily compressed attention as in configuration and model code of Hugging Face transformers.
    """

    heads: int
    head_dim: int
    q_rank: int
    window: int
    groups: int
    group_rank: int
    ratio: int = 0
    picks: Selection | None = None

    @property
    def halves(self) -> int:
        """Widths that the projections of compression have of that of an entry."""
        return 2 if self.picks else 1

    @property
    def kv_elements(self) -> float:
        """Values that one layer caches per token while it is in the window; beyond, its share of an entry alone."""
        entry = self.head_dim + (self.picks.dim if self.picks else 0)
        return self.head_dim + (entry / self.ratio if self.ratio else 0)

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks: the window; the tokens in the entries that are picked, and all for picking; or all."""
        if not self.ratio:
            return (self.window,)
        return (self.window, self.picks.top_k * self.ratio, 0) if self.picks else (self.window, 0)

    @property
    def compression(self) -> int:
        """Columns of the projection of entries and their gates, for the entries and for what picks among them."""
        width = self.head_dim + (self.picks.dim if self.picks else 0)
        return 2 * self.halves * width if self.ratio else 0

    @property
    def small(self) -> int:
        """Parameters of norms, of sinks, and of the positions within a compressed span."""
        entry = self.compression // 2
        norms = self.q_rank + self.head_dim + (entry // self.halves if self.ratio else 0)
        return norms + self.heads + self.ratio * entry

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of the projections, the compression, the norms and the sinks of one layer."""
        query = self.heads * self.head_dim
        linear = hidden * (self.q_rank + self.head_dim + self.compression) + self.q_rank * query
        linear += query * self.group_rank + self.groups * self.group_rank * hidden
        if self.picks:
            linear += self.q_rank * self.picks.heads * self.picks.dim + hidden * self.picks.heads
        yield Weights("attention", linear, linear)
        yield Weights("norm", self.small, self.small)
