"""Turns of a trace: which request goes on where another ended, and what of its prompt it repeats."""

from dataclasses import dataclass

import numpy as np

from assay.workloads.arrays import Floats, Ints, Mask
from assay.workloads.columns import Columns

REPEATED = 0.5
"""A prompt that repeats this share of an earlier one, beyond what all prompts have in common, goes on with it."""


@dataclass(frozen=True, eq=False)
class Turns:
    """The m turns of a trace that follow another: `row` int64[m] and that before it, `before`.

    `kept` tokens int64[m] of the prompt before begin the prompt; where `whole` they are all of it, to the last block that is full. `think`
    seconds float64[m] lie between. `common` tokens begin most prompts of the trace. `given`: sessions are those of the trace, else they are
    told from prefixes.
    """

    before: Ints
    row: Ints
    kept: Ints
    whole: Mask
    think: Floats
    common: int
    given: bool

    def sizes(self, requests: int) -> Ints:
        """Turns per session, of a trace of so many requests; a request that nothing goes on with is a session of one."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(self.row.size), (self.before, self.row)), shape=(requests, requests))
        return np.bincount(connected_components(links, directed=False)[1])


def turns_of(columns: Columns) -> Turns:
    """The turns of the sessions that a trace names, or else of those that its prefixes tell."""
    common = _common(columns)
    if columns.session.size:
        following = columns.following().astype(np.int64)
        before = np.flatnonzero(following >= 0)
        row = following[before]
        think = columns.think[row] if columns.think.size else np.zeros(row.size)
    else:
        before, row = _linked(columns, common)
        think = columns.arrival[row] - columns.arrival[before]
    same = _same_blocks(columns, before, row)
    lengths = columns.input[before]
    # A last block that is cut is another block when the prompt goes on.
    whole = (same > 0) & (same >= np.minimum(np.diff(columns.prefix_offsets)[before], lengths // max(columns.prefix_block, 1)))
    kept = np.where(whole, lengths, np.minimum(same * columns.prefix_block, lengths))
    return Turns(before, row, np.minimum(kept, columns.input[row]), whole, think, common * columns.prefix_block, bool(columns.session.size))


def _common(columns: Columns) -> int:
    """Leading blocks that are the same in more than half of all prompts; of given sessions, of their first ones."""
    counts, begins = np.diff(columns.prefix_offsets), columns.prefix_offsets[:-1]
    least = max(2, int(columns.opens.sum()) // 2 + 1)
    shared = 0
    rows = np.flatnonzero(columns.opens & (counts > shared))
    while rows.size >= least:
        ids, times = np.unique(columns.prefix[begins[rows] + shared], return_counts=True)
        if times.max() < least:
            break
        rows = rows[columns.prefix[begins[rows] + shared] == ids[np.argmax(times)]]
        shared += 1
        rows = rows[counts[rows] > shared]
    return shared


def seen_blocks(columns: Columns) -> tuple[Ints, Ints]:
    """Leading blocks of each prompt that an earlier one had, int64[n], and the latest row that had the last of them, -1 where none."""
    counts, owner = np.diff(columns.prefix_offsets), np.repeat(np.arange(columns.requests), np.diff(columns.prefix_offsets))
    order = np.argsort(columns.prefix, kind="stable")
    again = np.concatenate(([False], np.diff(columns.prefix[order]) == 0))[: order.size]
    earlier = np.full(columns.prefix.size, -1, np.int64)
    earlier[order[again]] = owner[order[np.flatnonzero(again) - 1]]
    new = np.flatnonzero((earlier < 0) | (earlier == owner))
    first_new = np.append(new, columns.prefix.size)[np.searchsorted(new, columns.prefix_offsets[:-1])]
    seen = np.minimum(first_new - columns.prefix_offsets[:-1], counts)
    last = columns.prefix_offsets[:-1] + seen - 1
    return seen, np.where(seen > 0, np.append(earlier, -1)[last], -1)


def _linked(columns: Columns, common: int) -> tuple[Ints, Ints]:
    """Pairs of requests, the second of which goes on with the prompt of the first; a prompt is gone on with once."""
    counts = np.diff(columns.prefix_offsets)
    seen, before = seen_blocks(columns)
    row = np.flatnonzero((seen > common) & ((seen - common) >= REPEATED * (counts[before] - common)))
    row = row[np.sort(np.unique(before[row], return_index=True)[1])]
    return before[row], row


def _same_blocks(columns: Columns, before: Ints, row: Ints) -> Ints:
    """How many leading blocks two prompts have in common, int64[m]."""
    offsets = columns.prefix_offsets
    both = np.minimum(np.diff(offsets)[before], np.diff(offsets)[row])
    at = np.concatenate(([0], np.cumsum(both)))
    within = np.arange(at[-1]) - np.repeat(at[:-1], both)
    unlike = columns.prefix[np.repeat(offsets[before], both) + within] != columns.prefix[np.repeat(offsets[row], both) + within]
    differ = np.append(np.flatnonzero(unlike), at[-1])
    return np.asarray(np.minimum(differ[np.searchsorted(differ, at[:-1])] - at[:-1], both), np.int64)
