"""Numbers for people: sensible digits, SI prefixes, a dash where nothing is known."""

import math

MISSING = "–"
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def digits(value: float | None, figures: int = 3) -> str:
    """`value` to so many significant figures; no trailing zeros, no exponent, thousands apart."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    places = figures - 1 - math.floor(math.log10(abs(value)))
    shown = f"{round(value, places):,.{max(places, 0)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def scaled(value: float | None, unit: str = "", figures: int = 3) -> str:
    """`value` with an SI prefix before `unit`: 12.3k, 4.2 kW, 45 ms."""
    if value is None:
        return MISSING
    size, prefix = next((row for row in _PREFIXES if abs(value) >= row[0] * 0.9995), (1.0, ""))
    return f"{digits(value / size, figures)}{' ' if unit else ''}{prefix}{unit}"


def seconds(value: float | None, figures: int = 3) -> str:
    """A time: 850 µs, 45 ms, 1.2 s, 3.4 min."""
    if value is None or value < 60:
        return scaled(value, "s", figures)
    return f"{digits(value / 60)} min" if value < 7200 else f"{digits(value / 3600)} h"


def dollars(value: float | None) -> str:
    """Money: $0.31, $2.95, $1,240, $0.0042."""
    if value is None:
        return MISSING
    if 0 < abs(value) < 0.0995:
        return f"${digits(value, 2)}"
    return f"${value:,.2f}" if abs(value) < 1000 else f"${value:,.0f}"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return MISSING if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share as 62 %, an error as 1,310 %."""
    return MISSING if share is None else f"{share * 100:,.0f} %"


def span(value: float | None, factors: tuple[float, float] | None) -> str:
    """An error band of a time, from low to high, two figures each; empty without one."""
    return "" if value is None or factors is None else " – ".join(seconds(value * factor, 2) for factor in factors)
