"""How far predictions lie from what was measured, over any rows of a validation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from assay.report.fields import Record, number, text

MAIN = ("tpot", "output_tokens_per_second", "e2e", "ttft")


@dataclass(frozen=True)
class Misses:
    """Median errors of some rows and of the baselines on them, as fractions of what was measured; None where nothing is known.

    `within` is the share of rows whose prediction is less than a factor of two off.
    """

    rows: int
    error: float | None
    datasheet: float | None
    nearest: float | None
    within: float | None


def misses(rows: Sequence[Record]) -> Misses:
    """Of all these rows together, whatever their statistic."""
    factors = [off for row in rows if (off := factor(row)) is not None]
    within = sum(off <= 2 for off in factors) / len(factors) if factors else None
    return Misses(len(rows), _median(rows, "predicted"), _median(rows, "datasheet"), _median(rows, "nearest"), within)


def _median(rows: Sequence[Record], said: str) -> float | None:
    errors = [
        abs(value / measured - 1) for row in rows if (value := number(row, said)) is not None and (measured := number(row, "measured"))
    ]
    return median(errors) if errors else None


def factor(row: Record) -> float | None:
    """By what factor a prediction is off, up or down, so 1 or more; None where one of the two numbers is not above zero."""
    predicted, measured = number(row, "predicted"), number(row, "measured")
    if predicted is None or measured is None or predicted <= 0 or measured <= 0:
        return None
    return max(predicted / measured, measured / predicted)


def by(rows: Iterable[Record], *names: str) -> dict[tuple[str, ...], list[Record]]:
    """Rows that share some texts, the most first."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for row in rows:
        found.setdefault(tuple(text(row, name) for name in names), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))
