"""Speculative decoding: what drafts, how much, and how much of it is accepted."""

from dataclasses import dataclass

from assay._base.errors import InputError
from assay.models import Model

MOST_DRAFTED = 16  # tokens


@dataclass(frozen=True)
class Speculation:
    """Drafting: `tokens` for each decoding sequence in a step, each accepted with chance `acceptance` if those before it were.

    `draft` is the model that drafts; None: heads of the model itself, of a layer each.
    """

    tokens: int
    acceptance: float
    draft: Model | None = None

    @classmethod
    def parse(cls, text: str) -> "Speculation":
        """What --speculate says, TOKENS:ACCEPTANCE[:DRAFT_MODEL]; raises InputError when it says something else."""
        remedy = f"Give TOKENS:ACCEPTANCE[:DRAFT_MODEL], 1 to {MOST_DRAFTED} tokens and a chance from 0 to 1, as 3:0.7"
        said = text.split(":", 2)
        try:
            tokens, acceptance = int(said[0]), float(said[1])
        except (ValueError, IndexError):
            raise InputError("--speculate", "", f"is {text!r}", remedy) from None
        if not (1 <= tokens <= MOST_DRAFTED and 0 <= acceptance <= 1 and all(said)):
            raise InputError("--speculate", "", f"is {text!r}", remedy)
        return cls(tokens, acceptance, Model.load(said[2]) if said[2:] else None)

    @property
    def text(self) -> str:
        """TOKENS:ACCEPTANCE[:DRAFT_MODEL]."""
        return f"{self.tokens}:{self.acceptance:g}{f':{self.draft.name}' if self.draft else ''}"

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens that a decode step gives a sequence: the accepted drafts up to the first that is not, and one more."""
        return sum(self.acceptance**drafted for drafted in range(self.tokens + 1))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What predictions take for granted about it."""
        accepted = f"acceptance {self.acceptance:g} of each drafted token, as asked"
        if self.draft is None:
            return accepted, "drafts by a layer like the model's last"
        return accepted, f"drafts by {self.draft.name}, weights {self.draft.architecture.precision} as its checkpoint has them"
