"""What charts share."""

import pytest

from assay.report.axes import sparse


@pytest.mark.parametrize(("count", "room", "shown"), [(0, 3, 0), (3, 3, 3), (4, 3, 2), (6, 3, 3), (7, 3, 3)])
def test_sparse(count: int, room: int, shown: int) -> None:
    """As many ticks as before, the first with its word, at most as many words as there is room for."""
    words = [str(place) for place in range(count)]
    found = sparse(words, room)
    assert len(found) == count
    assert found[:1] == words[:1]
    assert sum(map(bool, found)) == shown <= room
