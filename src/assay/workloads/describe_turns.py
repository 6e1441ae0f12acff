"""From the turns of a trace to the part of a description that draws alike sessions."""

from typing import Any

import numpy as np

from assay.workloads.arrays import Floats, Ints
from assay.workloads.columns import Columns
from assay.workloads.turns import Turns

STAGES = 8
"""Into so many groups of equal size turns are parted by the length of the prompt before them, and the long ones once more."""
LONG = (0.95, 0.99)
KEPT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)
"""Edges of the bins of the share of a prompt that the next repeats, where it does not repeat all."""
NEW = 24
"""Into so many bins of equal weight the tokens that a turn adds are parted, and the long ones once more."""
THINK = 40
"""Into so many bins of equal weight think times are parted, and the long ones once more."""
TAIL = (0.99, 0.995, 0.999)


def sessions(columns: Columns, turns: Turns, input_edges: Ints) -> dict[str, Any]:
    """The table `sessions` of a description: see `growth.Sessions` for what its fields mean."""
    opening = np.setdiff1d(np.arange(columns.requests), turns.row)
    lengths = columns.input[turns.before]
    stages = _stages(columns.input)
    share = np.where(turns.whole, len(KEPT) - 1, np.searchsorted(KEPT, turns.kept / lengths, side="right") - 1)
    share = np.where(turns.whole, share, np.minimum(share, len(KEPT) - 2))
    new = np.maximum(columns.input[turns.row] - turns.kept, 0)
    new_edges = _edges(new, NEW)
    cells = np.zeros((stages.size, len(KEPT), new_edges.size - 1), np.int64)
    np.add.at(cells, (np.searchsorted(stages[1:], lengths, side="right"), share, np.searchsorted(new_edges[1:], new, side="right")), 1)
    think_edges = _think_edges(turns.think)
    return {
        "block": columns.prefix_block,
        "common": turns.common,
        "first": np.histogram(columns.input[opening], input_edges)[0].tolist(),
        "stages": stages.tolist(),
        "ends": _ends(columns, turns, stages),
        "kept": list(KEPT),
        "new": new_edges.tolist(),
        "turns": cells.reshape(-1, new_edges.size - 1).tolist(),
        "think": [float(f"{edge:.6g}") for edge in think_edges],
        "think_weights": np.histogram(turns.think, think_edges)[0].tolist(),
    }


def _stages(prompts: Ints) -> Ints:
    """Least prompt length of each stage; the first is 1, so that every prompt is in one."""
    inner = np.quantile(prompts, (*np.arange(1, STAGES) / STAGES, *LONG), method="nearest").astype(np.int64)
    return np.unique(np.concatenate(([1], inner)))


def _ends(columns: Columns, turns: Turns, stages: Ints) -> list[float]:
    """Share of prompts of each stage that nothing follows; at least one in a thousand, so that every session comes to an end."""
    every = np.bincount(np.searchsorted(stages[1:], columns.input, side="right"), minlength=stages.size)
    followed = np.bincount(np.searchsorted(stages[1:], columns.input[turns.before], side="right"), minlength=stages.size)
    return [float(f"{max(1 - some / max(all_, 1), 1e-3):.4g}") for all_, some in zip(every.tolist(), followed.tolist(), strict=True)]


def _edges(values: Ints, bins: int) -> Ints:
    """Edges of bins of about equal weight that hold all values; 0 has one of its own."""
    parts = np.concatenate((np.arange(bins) / bins, TAIL))
    inner = np.quantile(values, parts, method="nearest").astype(np.int64)
    own = [0, 1] if values.min() == 0 else []
    return np.unique(np.concatenate((inner, own, [values.max() + 1]))).astype(np.int64)


def _think_edges(think: Floats) -> Floats:
    parts = np.concatenate((np.arange(THINK) / THINK, TAIL, [1.0]))
    edges = np.unique(np.round(np.quantile(think, parts), 3))
    return edges if edges.size > 1 else np.array([edges[0], edges[0] + 0.001])
