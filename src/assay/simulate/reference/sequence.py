"""A request that arrived, and how far it is."""

from dataclasses import dataclass

WAITING, LOADING, PROMPT, FLYING, DECODING = range(5)
"""States: not admitted; its cache is on the way; its prompt is computed; in a step that gives it a token; between two such steps."""


@dataclass(eq=False, slots=True)
class Sequence:
    """A request of `prompt` tokens that gets `output` more: at each of `emissions` moments, `rate` of them in a decode step.

    Of its prompt blocks the first `shared` are held in common, the first `hit` tokens were found; `private` bytes are its own,
    `promise` those that were reserved for it. It `came` to the scheduler at a moment.
    `computed` tokens of the prompt are in the cache. `source` is itself on the rank that computed its prompt and has its cache, until
    that was fetched or is `lost`.
    """

    row: int
    prompt: int
    output: int
    emissions: int
    rate: float
    priority: int
    blocks: list[int]
    state: int = WAITING
    emitted: int = 0
    computed: int = 0
    shared: int = 0
    hit: int = 0
    private: float = 0.0
    promise: float = 0.0
    serial: int = 0
    ticket: int = -1
    came: float = 0.0
    last: float = 0.0
    largest_gap: float = 0.0
    source: "Sequence | None" = None
    lost: bool = False

    @property
    def known(self) -> float:
        """Tokens that are known: the prompt, and what was generated."""
        return self.prompt + 1 + self.rate * (self.emitted - 1) if self.emitted else self.prompt

    @property
    def to_compute(self) -> int:
        """Tokens of the prompt, and of what was generated before a recomputation, that are not in the cache."""
        return int(self.known) - self.computed
