"""Turns of sessions: which request comes after which.

`session` int64[n] throughout: rows with the same id from 0 on are the turns of one session, in row order; a negative id stands alone.
"""

import numpy as np

from assay.workloads.arrays import Ints, Mask, Rows


def following(session: Ints) -> Rows:
    """Row of the next turn of each row's session, int32[n]; -1 where there is none."""
    order, same = _by_session(session)
    rows = np.full(session.size, -1, np.int32)
    rows[order[:-1][same]] = order[1:][same]
    return rows


def openings(session: Ints) -> Ints:
    """Row of the first turn of each row's session, int64[n]; of a row without a session the row itself."""
    order, same = _by_session(session)
    begins = np.concatenate((np.ones(min(1, session.size), np.bool_), ~same))
    rows = np.empty(session.size, np.int64)
    rows[order] = order[begins][np.cumsum(begins) - 1]
    return rows


def _by_session(session: Ints) -> tuple[Ints, Mask]:
    """The rows by session, then by row, and which of them from the second on is of the same session as the one before."""
    order = np.argsort(session, kind="stable")
    ids = session[order]
    return order, (ids[1:] == ids[:-1]) & (ids[1:] >= 0)


def renewed(ids: Ints, times: int) -> Ints:
    """Ids of `times` copies, which share none: from 0 on without gaps, int64[times x n]; negative ones become -1."""
    given = ids >= 0
    distinct, dense = np.unique(ids[given], return_inverse=True)
    copies = np.full((times, ids.size), -1, np.int64)
    copies[:, given] = dense + distinct.size * np.arange(times)[:, np.newaxis]
    return copies.ravel()
