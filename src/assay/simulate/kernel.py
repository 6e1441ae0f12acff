"""The compiled simulator: the scheduler of `reference`, in one file; `run` wraps it.

Between two events the batch only decodes and contexts grow by one token a step, so a run of such steps is a series with a closed form:
`_leap` takes them at once. Steps with prefill are taken one by one, decodes in bulk (`_step`). Pipelines and steps in which memory runs
out go one sequence at a time (`_walk`), as the reference does.

Requests are rows; running sequences are slots, in order of admission, kept dense. Nothing is allocated while it runs: the caller gives
every array. On step times and arrivals that are multiples of 2^-20 s sums are exact, and both simulators give the same bits.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from assay.simulate.records import GAP_BINS, GAP_RATIO, GAP_SMALLEST

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DECODE, MIXED = 0, 1
ROOM = 1 + 1e-12  # a cache is full when it is over its capacity by more than rounding
_LOG_RATIO = math.log(GAP_RATIO)
FOREVER = 2**62

compiled: Any = njit(cache=True, nogil=True)


class Requests(NamedTuple):
    """Columns of the workload by row: arrival (s), tokens in and out, whole prefix blocks (dense ids from 0)."""

    arrival: Floats
    input: Integers
    output: Integers
    blocks: Integers
    offsets: Integers


class Curve(NamedTuple):
    """A steptime.Curve summed over resources: tables by kind and n, and by s; slopes by reach; lines of prefill."""

    tokens: Floats
    sampled: Floats
    decode: Floats
    prefill: Floats


class Rules(NamedTuple):
    """Limits of the scheduler, see Policy, and of the machine: `depth` of its pipeline, `spill`; `users` of a closed loop (0: open)."""

    token_budget: int
    max_num_seqs: int
    block_size: int
    kv_capacity: float
    kv_reach: Integers
    kv_bytes: Floats
    prefill_first: bool
    prefix_block: int
    block_bytes: float
    max_context: int
    admission_delay: float
    depth: int
    users: int
    spill_after: float
    spill: float
    reaches: Integers


class Seen(NamedTuple):
    """What requests saw, by row: see Outcome."""

    arrival: Floats
    first_token: Floats
    finish: Floats
    preemptions: Integers
    prefix_hit: Integers
    largest_gap: Floats


class Sums(NamedTuple):
    """Totals over steps, see Tally; `scalars` by the names below."""

    tokens: Integers
    sampled: Integers
    decode: Floats
    pairs: Floats
    reread: Floats
    line_seconds: Floats
    gaps: Integers
    scalars: Floats


STEPS, BUSY, PREFILL, CACHED, BATCH, NOW, LANDED, COMMON_LAST = range(8)


class Slots(NamedTuple):
    """Running sequences: row, tokens known, computed, covered by memory, still to generate; shared blocks, hit tokens, private bytes,
    moment of the last token, largest gap, flags."""

    row: Integers
    known: Integers
    computed: Integers
    covered: Integers
    left: Integers
    shared: Integers
    hit: Integers
    private: Floats
    last: Floats
    gap: Floats
    flags: Integers


FLYING, DECODING, TAKEN, DEAD = 1, 2, 4, 8


class Pool(NamedTuple):
    """The cache: `state` by the names below; by block its users (-1: not here) and neighbours in LRU order.

    Entry `len(users)` of `before` and `after` closes the ring: after it comes the block that is evicted first.
    """

    state: Floats
    users: Integers
    before: Integers
    after: Integers


USED, IDLE, MOST = range(3)


class Lists(NamedTuple):
    """Rows in order: waiting by arrival, preempted (a stack before them) with their tokens, gap and last token by row; the batch; landings.

    `sizes` by the names below; `heap` holds the arrivals of a closed loop.
    """

    slot_of: Integers
    waiting: Integers
    preempted: Integers
    generated: Integers
    row_gap: Floats
    row_last: Floats
    chunk_row: Integers
    chunk_size: Integers
    decode_row: Integers
    landing: Integers
    flight_end: Floats
    flight_size: Integers
    heap_key: Floats
    heap_row: Integers
    sizes: Integers


(RUNNING, WAIT_HEAD, WAIT_TAIL, PREEMPTED, LAND_HEAD, LAND_TAIL, FLIGHT_HEAD, FLIGHT_TAIL, DECODES, CHUNKS, HEAP, NEXT, LATER, PARTIAL,
 BLOCKED) = range(15)  # fmt: skip


class State(NamedTuple):
    """Everything a run knows."""

    requests: Requests
    interval: Curve
    latency: Curve
    rules: Rules
    seen: Seen
    sums: Sums
    slots: Slots
    pool: Pool
    lists: Lists
    step: Step


class Step(NamedTuple):
    """Sums of the step at hand, by reach: see steptime.Step; `bare` are P and R without prefix hits; `grown` how fast D grows."""

    decode: Floats
    pairs: Floats
    reread: Floats
    bare_pairs: Floats
    bare_reread: Floats
    grown: Floats
