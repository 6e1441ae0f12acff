"""Colours and marks: chips by colour and marker together, resources by colour and label; told apart without colour vision too."""

from dataclasses import dataclass

# Okabe and Ito's palette without its black and its yellow, which vanish on one of the two backgrounds; then four more of like lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A63D2", "#9A6B3F", "#7F8C3B", "#808A99")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "pentagon", "hexagram")

# Marks of the key, drawn in a 16 x 16 box in the shapes that the charts use.
OUTLINES = {
    "circle": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
    "square": "M2.7 2.7h10.6v10.6H2.7z",
    "diamond": "M8 1l7 7l-7 7l-7-7z",
    "triangle-up": "M8 2l6.5 11h-13z",
    "cross": "M5.7 1.5h4.6v4.2h4.2v4.6h-4.2v4.2H5.7v-4.2H1.5V5.7h4.2z",
    "x": "M4.6 1.4L8 4.8l3.4-3.4l3.2 3.2L11.2 8l3.4 3.4l-3.2 3.2L8 11.2l-3.4 3.4l-3.2-3.2L4.8 8L1.4 4.6z",
    "triangle-down": "M8 14l6.5-11h-13z",
    "pentagon": "M8 1.5l6.5 4.7l-2.5 7.8H4L1.5 6.2z",
    "hexagram": "M8 1l2 3.5h4L12 8l2 3.5h-4L8 15l-2-3.5H2L4 8L2 4.5h4z",
}

RESOURCE_COLOURS = {"compute": "#3B7DD8", "memory": "#E07B39", "network": "#2A9D8F", "latency": "#B565A7", "host": "#8A94A3"}
NEUTRAL = "#8A94A3"
TARGET = "#D1495B"


@dataclass(frozen=True)
class Style:
    """How one chip is drawn."""

    colour: str
    symbol: str


def styles(names: list[str]) -> dict[str, Style]:
    """A colour and a marker for each name; the pair does not repeat before ninety."""
    return {name: Style(COLOURS[i % len(COLOURS)], SYMBOLS[i % len(SYMBOLS)]) for i, name in enumerate(names)}
