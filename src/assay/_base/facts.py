"""A value that says where it comes from."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Fact(Generic[T]):
    """A value with its evidence.

    `low` and `high` bound it where sources disagree; `confidence` is A (vendor document) to D (no usable source);
    a fact without a source is the reader's own word.
    """

    value: T
    low: T | None = None
    high: T | None = None
    source: str = ""
    confidence: str = ""
    date: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The value and the parts of its evidence that are known."""
        return {key: value for key, value in vars(self).items() if value is not None and value != ""}
