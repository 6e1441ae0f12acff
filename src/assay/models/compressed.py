"""Attention over a short window and over a cache in which many tokens become one entry."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from assay.models.shapes import Indexer, Weights


class Projections(NamedTuple):
    """Parameters of the projections of a layer: `whole` ones that every rank holds, and those split over heads."""

    whole: int
    query: int
    out: int


@dataclass(frozen=True)
class CompressedAttention:
    """Queries from `q_rank` values; one head of keys, which are the values too; an output projection through `groups` of `out_rank`.

    The last `window` tokens are read as they are. Before them every `ratio` tokens have become one entry (0: there is nothing before
    them), each a mean by learned weights over its tokens, and with `overlap` over those of the entry before. With an `index`, which has
    entries of its own, attention reads only its `top_k` tokens' worth of entries.
    """

    heads: int
    head_dim: int
    q_rank: int
    window: int
    groups: int
    out_rank: int
    ratio: int = 0
    overlap: bool = False
    index: Indexer | None = None

    @property
    def kv_elements(self) -> float:
        """Values that one layer caches per token: its key within the window, and its share of entries."""
        return self.head_dim + ((self.head_dim + (self.index.dim if self.index else 0)) / self.ratio if self.ratio else 0)

    @property
    def reaches(self) -> tuple[int, ...]:
        """How far back it looks: its window, and to the start at entries, of which an indexer may pick some."""
        if not self.ratio:
            return (self.window,)
        return (self.window, 0, self.index.top_k) if self.index else (self.window, 0)

    @property
    def series(self) -> int:
        """Series of keys from which entries are made: one for their own tokens, one for those of the entry before."""
        return 2 if self.overlap else 1

    @property
    def entry_columns(self) -> int:
        """Columns of the projections to the series of keys and to their weights."""
        return 2 * self.series * self.head_dim if self.ratio else 0

    def index_parameters(self, hidden: int) -> int:
        """Parameters of the projections of the indexer, whose keys are made into entries as those of attention are."""
        if not self.index:
            return 0
        return self.q_rank * self.index.heads * self.index.dim + hidden * (self.index.heads + 2 * self.series * self.index.dim)

    def projections(self, hidden: int) -> Projections:
        """Parameters of the projections of one layer, the indexer's apart."""
        values = self.heads * self.head_dim
        whole = hidden * (self.q_rank + self.head_dim + self.entry_columns)
        return Projections(whole, self.q_rank * values, self.out_rank * (values + self.groups * hidden))

    @property
    def small(self) -> int:
        """Norms, sinks, and weights of tokens by their place within an entry."""
        count = self.q_rank + self.head_dim + self.heads
        for dim in (self.head_dim, self.index.dim if self.index else 0) if self.ratio else ():
            count += dim + self.ratio * self.series * dim
        return count

    def weights(self, hidden: int) -> Iterator[Weights]:
        """Parameters of one layer."""
        linear = sum(self.projections(hidden)) + self.index_parameters(hidden)
        yield Weights("attention", linear, linear)
        yield Weights("norm", self.small, self.small)
