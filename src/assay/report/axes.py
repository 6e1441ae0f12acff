"""What all charts share: axes, their scales, and the frame of a Plotly figure as a plain dict.

Colours of text and paper are left to the browser, which knows the theme.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib import import_module
from math import ceil, floor, log10
from typing import Any

Figure = dict[str, Any]
Form = Callable[[float | None], str]
NARROW = 3  # words below a chart that stands beside two or three others
_WIDE = 12.0  # an axis whose largest value is so many times its smallest is logarithmic


def scale(values: Sequence[float], room: float, form: Form, zero: bool = False) -> dict[str, Any]:
    """Range of an axis: logarithmic where values lie far apart; `room` is the share left free at its end, for labels.

    `zero` leaves the shortest bar of a logarithmic axis some length.
    """
    known = [value for value in values if value > 0]
    if not known:
        return {"range": [0, 1]}
    low, high = min(known), max(known)
    if high / low < _WIDE:
        return {"range": [0, high * (1 + room)]}
    ends = (log10(low) - (0.45 if zero else 0.1), log10(high))
    ends = (ends[0], ends[1] + room * (ends[1] - ends[0]))
    ticks = log_ticks(*ends)
    return {"type": "log", "range": list(ends), "tickvals": ticks, "ticktext": [form(tick) for tick in ticks]}


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between two powers of ten: 1, 2, 5 on a short axis, 1, 3 on a longer one, else powers alone."""
    steps = (1, 2, 5) if high - low < 1.3 else (1, 3) if high - low < 2.8 else (1,)
    every = [step * 10.0**power for power in range(floor(low), ceil(high) + 1) for step in steps]
    return [float(f"{value:.3g}") for value in every if low <= log10(value) <= high]


def sparse(words: Sequence[str], room: int) -> list[str]:
    """Words for ticks of which some stay without one, where there is not room for all."""
    every = ceil(len(words) / room)
    return [word if not place % every else "" for place, word in enumerate(words)]


def layout(**more: Any) -> dict[str, Any]:
    """A layout with bare axes, and whatever else is given."""
    title = {"standoff": 8, "font": {"size": 12.5}}
    axis = {"automargin": True, "zeroline": False, "fixedrange": True, "gridcolor": "rgba(138,148,163,0.22)", "title": title}
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": False, "showlegend": False}
    frame = {"margin": {"l": 8, "r": 14, "t": 8, "b": 8}, "hovermode": "closest"}
    return {"xaxis": deepcopy(axis), "yaxis": deepcopy(axis), **clear, **frame, **more}


def figure(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Figure:
    """The figure of some traces; Plotly refuses what it does not know."""
    # Loaded when the first figure is made: it takes longer than all other commands' start.
    made: Figure = import_module("plotly.graph_objects").Figure(data=traces, layout={"template": {}, **layout}).to_plotly_json()
    return made
