"""Figures as plain dicts. Colours of text and paper are left to the browser, which knows the theme."""

from copy import deepcopy
from importlib import import_module
from typing import Any

Figure = dict[str, Any]


def layout(**more: Any) -> dict[str, Any]:
    """Where a figure is drawn: no title, no legend, clear paper; `more` is added or replaces."""
    title = {"standoff": 8, "font": {"size": 12.5}}
    axis = {"automargin": True, "zeroline": False, "fixedrange": True, "gridcolor": "rgba(138,148,163,0.22)", "title": title}
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "dragmode": False, "showlegend": False}
    frame = {"margin": {"l": 8, "r": 14, "t": 8, "b": 8}, "hovermode": "closest", "hoverlabel": {"align": "left"}}
    return {"xaxis": deepcopy(axis), "yaxis": deepcopy(axis), **clear, **frame, **more}


def figure(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Figure:
    """The figure as a plain dict, checked by the drawing library."""
    # Loaded when the first figure is made: it takes longer than all other commands' start.
    made: Figure = import_module("plotly.graph_objects").Figure(data=traces, layout={"template": {}, **layout}).to_plotly_json()
    return made
