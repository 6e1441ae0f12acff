"""Types of columns, and offsets of ragged rows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


def starts_of(counts: Ints) -> Ints:
    """Offsets int64[n + 1] of n ragged rows of the given sizes."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
