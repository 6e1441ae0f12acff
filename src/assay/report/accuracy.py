"""The page of a validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write."""
