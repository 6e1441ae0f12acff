"""Requests written down by hand, for every test here."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from assay.workloads import Workload

Asked = Callable[..., Workload]


@pytest.fixture(scope="session")
def asked() -> Asked:
    """`asked((input, output), ..., at=times, ids=prefixes, block=tokens)`: requests, all at 0 when no times are given."""

    def build(*lengths: tuple[int, int], at: Sequence[float] = (), ids: Sequence[Sequence[int]] = (), block: int = 0) -> Workload:
        prompts, outputs = zip(*lengths, strict=True)
        rows = ids or [()] * len(lengths)
        return Workload(
            arrival=np.array(at or [0.0] * len(lengths)),
            input=np.array(prompts),
            output=np.array(outputs),
            prefix=np.array([block for row in rows for block in row], dtype=np.int64),
            prefix_offsets=np.cumsum([0, *map(len, rows)]),
            prefix_block=block,
            name="by hand",
        )

    return build
