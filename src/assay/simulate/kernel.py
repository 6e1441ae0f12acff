"""The compiled simulator: the scheduler of `reference`, in one file; `compiled` lays out its arrays.

Between two events the batch only decodes and contexts grow by one token a step, so a run of such steps is a series with a closed form:
`_leap` takes them at once. Steps with prefill are taken one by one, decodes in bulk (`_step`). Pipelines and steps in which memory runs
out go one sequence at a time (`_schedule`, `_issue`, `_land`), as the reference does.

Requests are rows; running sequences are slots, in order of admission, kept dense. Nothing is allocated while it runs: the caller gives
every array, of the dtypes below. On step times and arrivals that are multiples of 2^-20 s sums are exact, and both simulators give the
same bits.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from assay.simulate.records import GAP_BINS, GAP_RATIO, GAP_SMALLEST

Records = Any  # arrays of the dtypes below: mypy cannot know their fields
Integers = NDArray[np.int64]

DECODE, MIXED = 0, 1
INTERVAL, LATENCY = 0, 1
FOREVER = 2**62
FLYING, DECODING, TAKEN, DEAD = 1, 2, 4, 8  # flags of a slot: waits for a token, past its prompt, in this step, gone
ROOM = 1 + 1e-12  # a cache is full when it is over its capacity by more than rounding
_LOG_RATIO = math.log(GAP_RATIO)

Function = TypeVar("Function", bound=Callable[..., Any])
_njit: Any = njit  # its type hints leave out the options about wrappers


def compiled(function: Function) -> Function:
    """Compile an inner function: called from compiled code alone, it needs no wrappers for Python, which take most of the time."""
    made: Function = _njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return made


def inlined(function: Function) -> Function:
    """Compile a function that is called often into its callers: passing the state costs more than what it does."""
    made: Function = _njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(function)
    return made


def entry(function: Function) -> Function:
    """Compile what Python calls, and keep it on disk with all that it calls."""
    made: Function = _njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    return made


def _dtype(integers: str, reals: str) -> np.dtype[np.void]:
    return np.dtype([*((name, np.int64) for name in integers.split()), *((name, np.float64) for name in reals.split())])


# A request: its columns, its prefix blocks (`blocks` ids from `first_block`), its slot while it runs, what it has `generated` when it is
# preempted, and what it saw. `waiting` is another list in the same table: the rows that wait, by arrival.
ROW = _dtype(
    "input output first_block blocks slot generated waiting preemptions prefix_hit", "sent arrival first_token finish largest_gap gap last"
)
# A running sequence: tokens known, computed, covered by memory, left to generate; shared blocks, hit tokens; bytes of its own.
SLOT = _dtype("row known computed covered left shared hit flags", "private last gap")
# A prefix block: its users (-1: not here) and neighbours in LRU order. The last entry closes the ring: after it comes the block that is
# evicted first.
BLOCK = _dtype("users before after", "")
# Lists as long as a batch: preempted rows (a stack), the step's chunks and decodes, landings; arrivals of a closed loop (a heap).
LIST = _dtype("preempted chunk_row chunk_size decode_row landing flight_size heap_row", "flight_end heap_key")
# A reach of attention: its window (0: unbounded); of the step at hand D, P, R, P and R without prefix hits, and how fast D grows; of the
# run the sums of D, P, R; of interval and latency the slopes of D and of two lines in P and R.
REACH = _dtype(
    "window",
    "decode grown pairs reread bare_pairs bare_reread sum_decode sum_pairs sum_reread "
    "interval_decode interval_pairs interval_reread interval_pairs2 interval_reread2 "
    "latency_decode latency_pairs latency_reread latency_pairs2 latency_reread2",
)
# How much of the cache each token takes, by how far back it is kept.
KV = _dtype("reach", "bytes")
# A size of step: seconds of interval and latency by kind, and how many steps had it.
SIZE = _dtype("decodes mixed", "interval_decode interval_mixed latency_decode latency_mixed")
# A count of sampling sequences: seconds, and how many steps had it.
SAMPLED = _dtype("steps", "interval latency")
# The run: limits of the scheduler (see Policy) and of the machine; how many run, have chunks to issue (`partial`) or could decode now
# (`ready`); lengths and heads of lists; moments; bytes of the cache in use and in
# idle blocks' count, and the most that was busy; totals (see Outcome).
RUN = _dtype(
    "token_budget max_num_seqs block_size prefill_first prefix_block max_context depth users "
    "running partial ready wait_head wait_tail preempted land_head land_tail flight_head flight_tail decodes chunks heap next later "
    "blocked steps fresh contexts least",
    "kv_capacity block_bytes admission_delay spill_after spill now landed common_last used idle most busy batch prefill cached line line2",
)


class State(NamedTuple):
    """Everything a run knows: arrays of the dtypes above, `blocks` the ids of all rows' prefix blocks, `gaps` the histogram; one RUN."""

    rows: Records
    blocks: Integers
    slots: Records
    pool: Records
    lists: Records
    kv: Records
    reach: Records
    table: Records
    sampled: Records
    gaps: Integers
    run: Records


@inlined
def _footprint(context: int, kv: Records, block_size: int) -> float:
    """Bytes of cache that a sequence of `context` tokens takes alone: see Policy.footprint."""
    total = 0.0
    for place in range(len(kv)):
        reach = kv[place].reach
        kept = min(context, reach) if reach > 0 else context
        total += kv[place].bytes * (-(-kept // block_size) * block_size)
    return total


@inlined
def _attended(before: int, chunk: int, reach: int) -> float:
    """Pairs of a chunk after `before` cached tokens within `reach`: see reference.attended."""
    if reach == 0:
        return chunk * before + chunk * (chunk + 1) / 2
    growing = max(0, min(chunk, reach - before))
    return growing * before + growing * (growing + 1) / 2 + (chunk - growing) * reach


@inlined
def _gap_bin(seconds: float) -> int:
    """Bin of a gap: see records.gap_bin."""
    return min(max(int(math.log(max(seconds, GAP_SMALLEST) / GAP_SMALLEST) / _LOG_RATIO), 0), GAP_BINS - 1)


# The cache.


@inlined
def _take(size: float, state: State) -> bool:
    """Take private bytes, evicting idle blocks as needed; False, and nothing taken, when there is no room."""
    run, pool = state.run[0], state.pool
    full, ring = run.kv_capacity * ROOM, len(pool) - 1
    busy = run.used - run.idle * run.block_bytes + size
    if busy > full:
        return False
    while run.used + size > full:
        oldest = pool[ring].after
        _unlink(oldest, state)
        pool[oldest].users = -1
        run.used -= run.block_bytes
        run.blocked = 0  # what waits may find fewer of its blocks here, and then needs less
    run.used += size
    run.most = max(run.most, busy)
    return True


@compiled
def _unlink(block: int, state: State) -> None:
    """Take an idle block out of the LRU ring."""
    pool = state.pool
    before, after = pool[block].before, pool[block].after
    pool[before].after = after
    pool[after].before = before
    state.run[0].idle -= 1


@compiled
def _acquire(block: int, state: State) -> None:
    """Become a user of a block that is here."""
    if state.pool[block].users == 0:
        _unlink(block, state)
    state.pool[block].users += 1


@compiled
def _release(row: int, shared: int, state: State) -> None:
    """Stop using the first `shared` blocks of a row; the first of a prompt are the last to be evicted."""
    pool, start = state.pool, state.rows[row].first_block
    ring = len(pool) - 1
    for place in range(start + shared - 1, start - 1, -1):
        block = state.blocks[place]
        pool[block].users -= 1
        if pool[block].users == 0:
            newest = pool[ring].before
            pool[newest].after = block
            pool[block].before = newest
            pool[block].after = ring
            pool[ring].before = block
            state.run[0].idle += 1


@compiled
def _grow(slot: int, tokens: int, state: State) -> bool:
    """Hold the cache of `tokens` more tokens of a slot; False when there is no room."""
    run = state.run[0]
    slots, kv = state.slots, state.kv
    context = slots[slot].computed + tokens
    needed = _footprint(context, kv, run.block_size) - slots[slot].shared * run.block_bytes - slots[slot].private
    if needed > 0:
        if not _take(needed, state):
            return False
        slots[slot].private += needed
    slots[slot].covered = -(-context // run.block_size) * run.block_size
    return True


@compiled
def _publish(slot: int, state: State) -> None:
    """Share the whole blocks of the prompt that are computed by now; where one is here already, the copy is freed."""
    run = state.run[0]
    rows, slots, pool = state.rows, state.slots, state.pool
    row = slots[slot].row
    start = rows[row].first_block
    count = rows[row].blocks
    if count == 0:
        return
    whole = min(count, slots[slot].computed // run.prefix_block)
    for place in range(start + slots[slot].shared, start + whole):
        block = state.blocks[place]
        if pool[block].users >= 0:
            _acquire(block, state)
            run.used -= run.block_bytes
        else:
            pool[block].users = 1
        slots[slot].private -= run.block_bytes
        slots[slot].shared += 1


@compiled
def _drop(slot: int, state: State) -> None:
    """Give back all memory of a slot."""
    run = state.run[0]
    slots = state.slots
    run.used -= slots[slot].private
    _release(slots[slot].row, slots[slot].shared, state)


# Lists of rows.


@compiled
def _push_heap(key: float, row: int, state: State) -> None:
    """Add an arrival of a closed loop; the heap orders by moment, then row."""
    run, lists = state.run[0], state.lists
    place = run.heap
    run.heap += 1
    while place > 0:
        parent = (place - 1) // 2
        if lists[parent].heap_key < key or (lists[parent].heap_key == key and lists[parent].heap_row < row):
            break
        lists[place].heap_key, lists[place].heap_row = lists[parent].heap_key, lists[parent].heap_row
        place = parent
    lists[place].heap_key, lists[place].heap_row = key, row


@compiled
def _sooner(a: int, b: int, lists: Records) -> bool:
    """Whether entry a of the heap comes before entry b."""
    return lists[a].heap_key < lists[b].heap_key or (lists[a].heap_key == lists[b].heap_key and lists[a].heap_row < lists[b].heap_row)


@compiled
def _pop_heap(state: State) -> int:
    """Take the next arrival of a closed loop."""
    run, lists = state.run[0], state.lists
    first = lists[0].heap_row
    run.heap -= 1
    size = run.heap
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _sooner(child + 1, child, lists):
            child += 1
        if _sooner(size, child, lists):
            break
        lists[place].heap_key, lists[place].heap_row = lists[child].heap_key, lists[child].heap_row
        place = child
    lists[place].heap_key, lists[place].heap_row = lists[size].heap_key, lists[size].heap_row
    return first


@inlined
def _next_arrival(state: State) -> float:
    """Moment at which the scheduler sees the next request; infinite when there is none."""
    run = state.run[0]
    rows, lists = state.rows, state.lists
    if run.users > 0:
        return lists[0].heap_key if run.heap > 0 else math.inf
    row = run.next
    return rows[row].sent + run.admission_delay if row < len(rows) else math.inf


@compiled
def _next_of_user(moment: float, state: State) -> None:
    """In a closed loop the user whose request ended at `moment` sends the next."""
    run = state.run[0]
    rows, _lists = state.rows, state.lists
    row = run.later
    if run.users > 0 and row < len(rows):
        run.later += 1
        rows[row].arrival = moment
        _push_heap(moment + run.admission_delay, row, state)


@inlined
def _receive(state: State) -> None:
    """Requests that have come by now join the waiting; one that could not run alone is rejected."""
    run = state.run[0]
    rows, _lists, kv = state.rows, state.lists, state.kv
    now = run.now
    while True:
        moment = _next_arrival(state)
        if moment > now or moment == math.inf:
            return
        if run.users > 0:
            row = _pop_heap(state)
        else:
            row = run.next
            run.next += 1
        longest = rows[row].input + rows[row].output
        if longest <= run.max_context and _footprint(longest - 1, kv, run.block_size) <= run.kv_capacity:
            rows[run.wait_tail].waiting = row
            run.wait_tail += 1
        else:
            _next_of_user(moment, state)


@inlined
def _waiting(state: State) -> bool:
    run = state.run[0]
    return run.preempted > 0 or run.wait_head < run.wait_tail


# The scheduler, one sequence at a time: as the reference.


@compiled
def _continue(state: State, left: int, prefills: bool, decodes: bool) -> tuple[int, bool]:
    """Give running sequences their next token or chunk; returns the budget left, and False when one had to be preempted."""
    run = state.run[0]
    slots, lists = state.slots, state.lists
    count = run.running
    quota = -(-count // run.depth)
    most = (min(quota, run.ready) if run.depth > 1 else quota) if decodes else 0
    roomy = True
    for slot in range(count):
        if left == 0 or (run.decodes >= most and (run.partial == 0 or not prefills)):
            break
        flags = slots[slot].flags
        decoding = flags & DECODING
        wanted = (decodes and run.decodes < quota) if decoding else prefills
        if not wanted or flags & (FLYING | DEAD):
            continue
        chunk = 1 if decoding else min(slots[slot].known - slots[slot].computed, left)
        held = True
        while slots[slot].computed + chunk > slots[slot].covered and not _grow(slot, chunk, state):
            roomy = False
            if _preempt_last(state, count) in (slot, -1):
                held = False
                break
        if held:
            left -= chunk
            slots[slot].flags |= TAKEN
            if decoding:
                lists[run.decodes].decode_row = slots[slot].row
                run.decodes += 1
            else:
                _add_chunk(slot, chunk, state)
    if not roomy:
        _compact(state, True)
    return left, roomy


@compiled
def _add_chunk(slot: int, chunk: int, state: State) -> None:
    run = state.run[0]
    slots, lists = state.slots, state.lists
    lists[run.chunks].chunk_row = slots[slot].row
    lists[run.chunks].chunk_size = chunk
    run.chunks += 1


@compiled
def _preempt_last(state: State, count: int) -> int:
    """Take the memory of the sequence admitted last that is not in this step or in flight; -1 when there is none."""
    run = state.run[0]
    rows, slots, lists = state.rows, state.slots, state.lists
    for slot in range(count - 1, -1, -1):
        if slots[slot].flags & (FLYING | TAKEN | DEAD):
            continue
        row = slots[slot].row
        _drop(slot, state)
        slots[slot].flags |= DEAD
        rows[row].generated = rows[row].output - slots[slot].left
        rows[row].gap = slots[slot].gap
        rows[row].last = slots[slot].last
        rows[row].preemptions += 1
        lists[run.preempted].preempted = row
        run.preempted += 1
        if slots[slot].flags & DECODING:
            run.ready -= 1
        else:
            run.partial -= 1
        run.blocked = 0
        return slot
    return -1


@compiled
def _compact(state: State, mapped: bool) -> None:
    """Close the gaps that dead slots leave, in order; rows learn their slots when they are `mapped`, which steps in bulk do without."""
    run = state.run[0]
    rows, slots = state.rows, state.slots
    kept = 0
    for slot in range(run.running):
        if slots[slot].flags & DEAD:
            continue
        if kept != slot:
            slots[kept] = slots[slot]
            if mapped:
                rows[slots[kept].row].slot = kept
        kept += 1
    run.running = kept


@compiled
def _admit(state: State, left: int) -> int:
    """Admit waiting requests, first come, first served, while there is budget, memory and a place; returns the budget left."""
    run = state.run[0]
    rows, slots, lists = state.rows, state.slots, state.lists
    run.blocked = 0
    while _waiting(state) and left > 0:
        if run.running >= run.max_num_seqs:
            run.blocked = 1
            break
        again = run.preempted > 0
        row = lists[run.preempted - 1].preempted if again else rows[run.wait_head].waiting
        slot = run.running
        _open(slot, row, state)
        chunk = min(slots[slot].known - slots[slot].computed, left)
        if not _grow(slot, chunk, state):
            _drop(slot, state)
            run.blocked = 1
            break
        if rows[row].preemptions == 0:
            rows[row].prefix_hit = slots[slot].hit
        if again:
            run.preempted -= 1
        else:
            run.wait_head += 1
        run.running += 1
        run.partial += 1
        rows[row].slot = slot
        left -= chunk
        slots[slot].flags |= TAKEN
        _add_chunk(slot, chunk, state)
    return left


@compiled
def _open(slot: int, row: int, state: State) -> None:
    """Put a request into a slot, after the cached blocks of its prompt; its last token is computed in any case, for its logits."""
    run = state.run[0]
    rows, slots, pool, blocks = state.rows, state.slots, state.pool, state.blocks
    generated = rows[row].generated
    slots[slot].row = row
    slots[slot].known = rows[row].input + generated
    slots[slot].left = rows[row].output - generated
    slots[slot].covered = 0
    slots[slot].private = 0.0
    slots[slot].gap, slots[slot].last = rows[row].gap, rows[row].last
    slots[slot].flags = 0
    start, count = rows[row].first_block, rows[row].blocks
    shared = 0
    if count > 0:
        most = min(count, (slots[slot].known - 1) // run.prefix_block)
        while shared < most and pool[blocks[start + shared]].users >= 0:
            shared += 1
        for place in range(start, start + shared):
            _acquire(blocks[place], state)
    slots[slot].shared = shared
    slots[slot].computed = slots[slot].hit = shared * run.prefix_block


@compiled
def _schedule(state: State) -> None:
    """Fill a step: see reference.Replica._schedule."""
    run = state.run[0]
    run.decodes = run.chunks = 0
    left, roomy = _continue(state, run.token_budget, True, not run.prefill_first)
    if roomy:
        _admit(state, left)
    if run.prefill_first and run.decodes + run.chunks == 0:
        _continue(state, run.token_budget, False, True)


# Time of steps.


@inlined
def _seconds(state: State, curve: int, kind: int, tokens: int, sampled: int, bare: bool) -> float:
    """Time of the step at hand by the interval's or latency's curve, see steptime.total; `bare`: without attending to prefix hits."""
    size, sample = state.table[tokens], state.sampled[sampled]
    if curve == INTERVAL:
        seconds = (size.interval_mixed if kind == MIXED else size.interval_decode) + sample.interval
    else:
        seconds = (size.latency_mixed if kind == MIXED else size.latency_decode) + sample.latency
    for at in range(len(state.reach)):
        one = state.reach[at]
        seconds += (one.interval_decode if curve == INTERVAL else one.latency_decode) * one.decode
    if kind == MIXED:
        for at in range(len(state.reach)):
            one = state.reach[at]
            seconds += max(_line(one, curve, 0, bare), _line(one, curve, 1, bare))
    return seconds


@inlined
def _line(one: Any, curve: int, line: int, bare: bool) -> float:
    """Prefill attention of one reach by one of its two lines."""
    pairs, reread = (one.bare_pairs, one.bare_reread) if bare else (one.pairs, one.reread)
    if curve == INTERVAL:
        if line == 0:
            return one.interval_pairs * pairs + one.interval_reread * reread
        return one.interval_pairs2 * pairs + one.interval_reread2 * reread
    if line == 0:
        return one.latency_pairs * pairs + one.latency_reread * reread
    return one.latency_pairs2 * pairs + one.latency_reread2 * reread


@compiled
def _measure_chunks(state: State) -> tuple[int, int]:
    """P and R of the chunks of a step, with and without prefix hits; returns their tokens and how many of them end a prompt."""
    run = state.run[0]
    rows, slots, lists, reach = state.rows, state.slots, state.lists, state.reach
    for at in range(len(reach)):
        reach[at].pairs = reach[at].reread = reach[at].bare_pairs = reach[at].bare_reread = 0.0
    tokens = sampled = 0
    for place in range(run.chunks):
        slot, chunk = rows[lists[place].chunk_row].slot, lists[place].chunk_size
        before = slots[slot].computed
        bare = before - slots[slot].hit
        tokens += chunk
        sampled += chunk == slots[slot].known - before
        for at in range(len(reach)):
            window = reach[at].window
            reach[at].pairs += _attended(before, chunk, window)
            reach[at].reread += min(before, window) if window > 0 else before
            reach[at].bare_pairs += _attended(bare, chunk, window)
            reach[at].bare_reread += min(bare, window) if window > 0 else bare
    return tokens, sampled


@compiled
def _tally(state: State, kind: int, tokens: int, sampled: int, seconds: float, decoding: int) -> None:
    """Count one step: see Tally.add and reference.Replica._account."""
    run = state.run[0]
    reach = state.reach
    run.steps += 1
    if kind == MIXED:
        state.table[tokens].mixed += 1
    else:
        state.table[tokens].decodes += 1
    state.sampled[sampled].steps += 1
    run.busy += seconds
    run.batch += seconds * run.running
    for at in range(len(reach)):
        reach[at].sum_decode += reach[at].decode
    if kind == MIXED:
        _tally_prefill(state, tokens, sampled, decoding)


@compiled
def _tally_prefill(state: State, tokens: int, sampled: int, decoding: int) -> None:
    run, reach = state.run[0], state.reach
    for at in range(len(reach)):
        reach[at].sum_pairs += reach[at].pairs
        reach[at].sum_reread += reach[at].reread
        first, second = _line(reach[at], LATENCY, 0, False), _line(reach[at], LATENCY, 1, False)
        if first >= second:
            run.line += first
        else:
            run.line2 += second
    whole = _seconds(state, INTERVAL, MIXED, tokens, sampled, False)
    alone = _seconds(state, INTERVAL, DECODE, decoding, decoding, False) if decoding else 0.0
    run.prefill += whole - alone
    run.cached += whole - _seconds(state, INTERVAL, MIXED, tokens, sampled, True)


@compiled
def _count_gap(slot: int, gap: float, state: State) -> None:
    slots = state.slots
    state.gaps[_gap_bin(gap)] += 1
    slots[slot].gap = max(slots[slot].gap, gap)


@compiled
def _give_token(slot: int, moment: float, state: State) -> None:
    """A slot's token exists; with its last one the request leaves (its slot is closed by the next _compact)."""
    run, slots = state.run[0], state.slots
    slots[slot].flags &= ~FLYING
    slots[slot].last = moment
    slots[slot].known += 1
    slots[slot].left -= 1
    run.ready += 1
    if slots[slot].left == 0:
        _finish(slot, moment, state)


@compiled
def _finish(slot: int, moment: float, state: State) -> None:
    run = state.run[0]
    rows, slots = state.rows, state.slots
    row = slots[slot].row
    rows[row].finish = moment
    rows[row].largest_gap = slots[slot].gap
    _drop(slot, state)
    slots[slot].flags |= DEAD
    run.blocked = 0
    run.ready -= 1
    _next_of_user(moment, state)


@compiled
def _give_after_prompt(slot: int, moment: float, state: State) -> None:
    """The token after a prompt: the first of the request, or the next one after a recomputation."""
    rows, slots = state.rows, state.slots
    row = slots[slot].row
    if slots[slot].left < rows[row].output:
        _count_gap(slot, moment - slots[slot].last, state)
    else:
        rows[row].first_token = moment
    slots[slot].flags |= DECODING
    _give_token(slot, moment, state)


# One step at a time, each sequence apart: pipelines, a cache that spills, and memory that runs out.


@compiled
def _issue(state: State) -> None:
    """Start the step that was scheduled; its tokens land after its latency, the next step may start after its interval."""
    run = state.run[0]
    rows, slots, lists, reach = state.rows, state.slots, state.lists, state.reach
    decodes = run.decodes
    for at in range(len(reach)):
        reach[at].decode = 0.0
    for place in range(decodes):
        known = slots[rows[lists[place].decode_row].slot].known
        for at in range(len(reach)):
            window = reach[at].window
            reach[at].decode += min(known, window) if window > 0 else known
    chunks, sampled = _measure_chunks(state)
    kind = MIXED if run.chunks > 0 else DECODE
    tokens = decodes + chunks
    interval = _seconds(state, INTERVAL, kind, tokens, decodes + sampled, False)
    latency = interval
    if run.depth > 1:
        latency = _seconds(state, LATENCY, kind, tokens, decodes + sampled, False)
    busy = run.used - run.idle * run.block_bytes
    spill = run.spill * max(0.0, busy - run.spill_after) if run.spill > 0 else 0.0
    _tally(state, kind, tokens, decodes + sampled, interval + spill, decodes)
    landing = max(run.now + (latency + spill), run.landed)
    run.landed = landing
    _launch(state, landing)
    run.now += interval + spill


@compiled
def _launch(state: State, landing: float) -> None:
    """Compute what the step computes and note which sequences get a token when it lands."""
    run = state.run[0]
    rows, slots, lists = state.rows, state.slots, state.lists
    size, most = 0, len(lists)
    for place in range(run.decodes):
        slot = rows[lists[place].decode_row].slot
        slots[slot].computed += 1
        slots[slot].flags = (slots[slot].flags | FLYING) & ~TAKEN
        run.ready -= 1
        lists[(run.land_tail + size) % most].landing = slots[slot].row
        size += 1
    for place in range(run.chunks):
        slot = rows[lists[place].chunk_row].slot
        slots[slot].computed += lists[place].chunk_size
        slots[slot].flags &= ~TAKEN
        if slots[slot].computed == slots[slot].known:
            slots[slot].flags |= FLYING
            run.partial -= 1
            lists[(run.land_tail + size) % most].landing = slots[slot].row
            size += 1
        _publish(slot, state)
    if size > 0:
        flight = run.flight_tail % len(lists)
        lists[flight].flight_end, lists[flight].flight_size = landing, size
        run.flight_tail += 1
        run.land_tail += size


@inlined
def _land(state: State) -> None:
    """Steps whose latency has passed give their tokens; sequences with all their tokens leave."""
    run = state.run[0]
    rows, slots, lists = state.rows, state.slots, state.lists
    left = False
    while run.flight_head < run.flight_tail:
        flight = run.flight_head % len(lists)
        moment = lists[flight].flight_end
        if moment > run.now:
            break
        for _ in range(lists[flight].flight_size):
            slot = rows[lists[run.land_head % len(lists)].landing].slot
            run.land_head += 1
            if slots[slot].flags & DECODING:
                _count_gap(slot, moment - slots[slot].last, state)
                _give_token(slot, moment, state)
            else:
                _give_after_prompt(slot, moment, state)
            left |= slots[slot].flags & DEAD > 0
        run.flight_head += 1
    if left:
        _compact(state, True)


# Many sequences at once: an engine without a pipeline, with room in the cache.


@inlined
def _most_growth(state: State, count: int, tokens: int) -> float:
    """Bytes that `tokens` more tokens of each of `count` sequences take at most."""
    size = state.run[0].block_size
    blocks = -(-tokens // size) * count
    each = 0.0
    for place in range(len(state.kv)):
        each += state.kv[place].bytes
    return blocks * size * each


@compiled
def _growth(state: State, count: int, tokens: int) -> float:
    """Bytes that `tokens` more tokens of each of the first `count` slots, which decode, take."""
    run = state.run[0]
    slots, kv = state.slots, state.kv
    needed = 0.0
    for slot in range(count):
        context = slots[slot].known - 1 + tokens
        if context > slots[slot].covered:
            more = _footprint(context, kv, run.block_size) - slots[slot].shared * run.block_bytes - slots[slot].private
            needed += max(more, 0.0)
    return needed


@inlined
def _fits(needed: float, state: State) -> bool:
    run = state.run[0]
    return run.used - run.idle * run.block_bytes + needed <= run.kv_capacity * ROOM


@compiled
def _has_room(state: State, count: int, tokens: int, more: float) -> bool:
    """Whether `tokens` more tokens of each of the first `count` slots, and `more` bytes, fit."""
    return _fits(_most_growth(state, count, tokens) + more, state) or _fits(_growth(state, count, tokens) + more, state)


@inlined
def _cover(state: State, count: int, tokens: int) -> float:
    """Mark the cache of `tokens` more tokens of the first `count` slots as held; returns its bytes."""
    run = state.run[0]
    slots, kv = state.slots, state.kv
    needed = 0.0
    for slot in range(count):
        context = slots[slot].known - 1 + tokens
        if context > slots[slot].covered:
            more = _footprint(context, kv, run.block_size) - slots[slot].shared * run.block_bytes - slots[slot].private
            slots[slot].private += max(more, 0.0)
            slots[slot].covered = -(-context // run.block_size) * run.block_size
            needed += max(more, 0.0)
    return needed


@inlined
def _refresh(state: State, count: int) -> None:
    """The sum of contexts and the least tokens left of the first `count` slots, unless they are known."""
    run, slots = state.run[0], state.slots
    if run.fresh:
        return
    run.contexts, run.least, run.fresh = 0, FOREVER, 1
    for slot in range(count):
        run.contexts += slots[slot].known
        run.least = min(run.least, slots[slot].left)


@inlined
def _sum_contexts(state: State, count: int) -> None:
    """D by reach of the first `count` slots, and by how much each grows per step."""
    slots, reach = state.slots, state.reach
    _refresh(state, count)
    for at in range(len(reach)):
        window = reach[at].window
        if window == 0:
            reach[at].decode = state.run[0].contexts
            reach[at].grown = count
            continue
        total = growing = 0
        for slot in range(count):
            total += min(slots[slot].known, window)
            growing += slots[slot].known < window
        reach[at].decode, reach[at].grown = total, growing


@inlined
def _give_all(state: State, count: int, tokens: int, first: float, last: float, moment: float) -> bool:
    """Give the first `count` slots `tokens` tokens, from `first` to `moment`, the last after a gap of `last`; True when some finish.

    Gaps of the first token are counted here, one by one where sequences did not get their last token together.
    """
    run = state.run[0]
    slots = state.slots
    common = run.common_last
    usual = first - common
    same = contexts = 0
    least = FOREVER
    done = False
    for slot in range(count):
        gap = usual
        if slots[slot].last == common:
            same += 1
        else:
            gap = first - slots[slot].last
            state.gaps[_gap_bin(gap)] += 1
        slots[slot].gap = max(slots[slot].gap, gap, last)
        slots[slot].last = moment
        slots[slot].known += tokens
        slots[slot].left -= tokens
        if slots[slot].left == 0:
            done = True
        else:
            contexts += slots[slot].known
            least = min(least, slots[slot].left)
    if same:
        state.gaps[_gap_bin(usual)] += same
    run.common_last = moment
    run.contexts, run.least, run.fresh = contexts, least, 1
    return done


@inlined
def _finish_done(state: State, count: int, moment: float) -> None:
    """Of the first `count` slots those with all their tokens leave, in order."""
    slots = state.slots
    for slot in range(count):
        if slots[slot].left == 0 and not slots[slot].flags & DEAD:
            _finish(slot, moment, state)


@compiled
def _step(state: State) -> bool:
    """One step with prefill: all decodes (unless prompts run first), the chunk of a prompt under way, and what can be admitted.

    False, and nothing done, when it has to go one sequence at a time.
    """
    run = state.run[0]
    slots = state.slots
    running = run.running
    partial = run.partial
    decoders = 0 if run.prefill_first else running - partial
    left = run.token_budget - decoders
    chunk = 0
    if partial == 1:
        chunk = min(slots[running - 1].known - slots[running - 1].computed, left)
    needed = _chunk_growth(state, running - 1, chunk)
    if partial > 1 or not _has_room(state, decoders, 1, needed):
        return False
    run.decodes = run.chunks = 0
    needed += _cover(state, decoders, 1)
    if needed > 0:
        _take(needed, state)
    if chunk > 0:
        state.rows[slots[running - 1].row].slot = running - 1
        _cover_chunk(state, running - 1, chunk)
        _add_chunk(running - 1, chunk, state)
    _admit(state, left - chunk)
    if run.chunks == 0:
        return _leap(state) if decoders == 0 else _decode_step(state, decoders)
    for at in range(len(state.reach)):
        state.reach[at].decode = 0.0
    if decoders > 0:
        _sum_contexts(state, decoders)
    tokens, sampled = _measure_chunks(state)
    seconds = _seconds(state, INTERVAL, MIXED, decoders + tokens, decoders + sampled, False)
    _tally(state, MIXED, decoders + tokens, decoders + sampled, seconds, decoders)
    run.now += seconds
    _end_step(state, decoders, run.now)
    return True


@compiled
def _decode_step(state: State, decoders: int) -> bool:
    """The same when no prompt could go on: one step of decodes, whose memory is held already."""
    run = state.run[0]
    _sum_contexts(state, decoders)
    seconds = _seconds(state, INTERVAL, DECODE, decoders, decoders, False)
    _tally(state, DECODE, decoders, decoders, seconds, decoders)
    run.now += seconds
    _end_step(state, decoders, run.now)
    return True


@inlined
def _chunk_growth(state: State, slot: int, chunk: int) -> float:
    """Bytes that a chunk of a slot's prompt takes."""
    run = state.run[0]
    slots, kv = state.slots, state.kv
    if chunk == 0 or slots[slot].computed + chunk <= slots[slot].covered:
        return 0.0
    return max(
        0.0, _footprint(slots[slot].computed + chunk, kv, run.block_size) - slots[slot].shared * run.block_bytes - slots[slot].private
    )


@compiled
def _cover_chunk(state: State, slot: int, chunk: int) -> None:
    run = state.run[0]
    slots = state.slots
    context = slots[slot].computed + chunk
    if context > slots[slot].covered:
        slots[slot].private += _chunk_growth(state, slot, chunk)
        slots[slot].covered = -(-context // run.block_size) * run.block_size


@compiled
def _end_step(state: State, decoders: int, moment: float) -> None:
    """Tokens of a step exist: first the decodes', then those of prompts that ended."""
    run = state.run[0]
    rows, slots, lists = state.rows, state.slots, state.lists
    for place in range(run.chunks):
        slot = rows[lists[place].chunk_row].slot
        slots[slot].computed += lists[place].chunk_size
        slots[slot].flags &= ~TAKEN
        _publish(slot, state)
    done = False
    if decoders > 0:
        done = _give_all(state, decoders, 1, moment, 0.0, moment)
        if done:
            _finish_done(state, decoders, moment)
    for place in range(run.chunks):
        slot = rows[lists[place].chunk_row].slot
        if slots[slot].computed == slots[slot].known:
            run.partial -= 1
            _give_after_prompt(slot, moment, state)
            if slots[slot].flags & DEAD:
                done = True
            else:
                run.contexts += slots[slot].known
                run.least = min(run.least, slots[slot].left)
    if run.chunks > 0:
        run.blocked = 0
    if done:
        _compact(state, False)


@inlined
def _leap(state: State) -> bool:
    """All decode-only steps up to the next event; False, and nothing done, when not even one has room.

    With D growing by g_w a step, step i lasts c + d i: c the time of the first, d = sum of slope_w g_w. j steps last j c + d j (j - 1) / 2.
    """
    run = state.run[0]
    _slots, reach = state.slots, state.reach
    count = run.running
    if count == 0:
        return False
    run.chunks = 0
    _sum_contexts(state, count)
    constant = _seconds(state, INTERVAL, DECODE, count, count, False)
    slope = 0.0
    for at in range(len(reach)):
        slope += reach[at].interval_decode * reach[at].grown
    start = run.now
    steps = _until_arrival(constant, slope, _next_arrival(state) - start, _uniform_steps(state, count))
    if not _undisturbed(_most_growth(state, count, steps), state):
        needed = _growth(state, count, steps)
        while steps > 1 and not _undisturbed(needed, state):
            steps //= 2
            needed = _growth(state, count, steps)
        if not _fits(needed, state):
            return False
        if not run.prefill_first and not _undisturbed(needed, state):
            run.blocked = 0  # a step evicts blocks and then looks whether what waits fits now: that is for _step
            return True
    needed = _cover(state, count, steps)
    if needed > 0:
        _take(needed, state)
    seconds = steps * constant + slope * (steps * (steps - 1) / 2)
    _tally_leap(state, count, steps, seconds)
    _count_gaps(state, count, steps, constant, slope)
    run.now = start + seconds
    if _give_all(state, count, steps, start + constant, _gap_of(constant, slope, steps - 1), run.now):
        _finish_done(state, count, run.now)
        _compact(state, False)
    return True


@inlined
def _undisturbed(needed: float, state: State) -> bool:
    """Whether there is room, without an eviction when requests wait for room: it may let one of them in."""
    run = state.run[0]
    if _waiting(state):
        return run.used + needed <= run.kv_capacity * ROOM
    return _fits(needed, state)


@inlined
def _gap_of(constant: float, slope: float, step: int) -> float:
    """Time of the step after `step` others of a leap; the first one's gap is counted apart."""
    return constant + slope * step if step > 0 else 0.0


@inlined
def _uniform_steps(state: State, count: int) -> int:
    """Steps until a sequence finishes or outgrows a window."""
    slots, reach = state.slots, state.reach
    steps = state.run[0].least
    for at in range(len(reach)):
        window = reach[at].window
        if window > 0:
            for slot in range(count):
                if slots[slot].known < window:
                    steps = min(steps, window - slots[slot].known)
    return steps


@inlined
def _until_arrival(constant: float, slope: float, wait: float, most: int) -> int:
    """The fewest steps, at most `most`, that last at least `wait`: an arrival during a step is seen at its end."""
    if most * constant + slope * (most * (most - 1) / 2) < wait:
        return most
    steps = most
    if slope > 0:
        half = constant - slope / 2
        steps = int((math.sqrt(max(half * half + 2 * slope * max(wait, 0.0), 0.0)) - half) / slope)
    elif constant > 0:
        steps = int(wait / constant)
    steps = min(max(steps, 1), most)
    while steps > 1 and (steps - 1) * constant + slope * ((steps - 1) * (steps - 2) / 2) >= wait:
        steps -= 1
    while steps < most and steps * constant + slope * (steps * (steps - 1) / 2) < wait:
        steps += 1
    return steps


@inlined
def _tally_leap(state: State, count: int, steps: int, seconds: float) -> None:
    run = state.run[0]
    run.steps += steps
    state.table[count].decodes += steps
    state.sampled[count].steps += steps
    run.busy += seconds
    run.batch += seconds * count
    for at in range(len(state.reach)):
        state.reach[at].sum_decode += steps * state.reach[at].decode + state.reach[at].grown * (steps * (steps - 1) / 2)


@inlined
def _count_gaps(state: State, count: int, steps: int, constant: float, slope: float) -> None:
    """Histogram of the gaps after the first step of a leap: gap i is constant + slope i; runs that share a bin are counted at once."""
    step = 1
    while step < steps:
        held = _gap_bin(constant + slope * step)
        end = steps
        if slope > 0:
            edge = GAP_SMALLEST * GAP_RATIO ** (held + 1)
            end = min(steps, max(step + 1, int((edge - constant) / slope)))
            while end < steps and _gap_bin(constant + slope * end) == held:
                end += 1
            while end > step + 1 and _gap_bin(constant + slope * (end - 1)) != held:
                end -= 1
        state.gaps[held] += count * (end - step)
        step = end


@compiled
def _one_by_one(state: State) -> None:
    """Before a step that goes one sequence at a time: bring up to date what steps in bulk leave out, and forget what they keep."""
    slots = state.slots
    for slot in range(state.run[0].running):
        state.rows[slots[slot].row].slot = slot
        if slots[slot].flags & DECODING:
            slots[slot].computed = slots[slot].known - 1
    state.run[0].fresh = 0


@entry
def serve(arrays: tuple[Any, ...]) -> None:
    """Serve every request: see reference.Replica.run. `arrays` are the fields of State.

    A plain tuple, since what is kept on disk must not depend on a class that a later version may rename.
    """
    rows, blocks, slots, pool, lists, kv, reach, table, sampled, gaps, totals = arrays
    state = State(rows, blocks, slots, pool, lists, kv, reach, table, sampled, gaps, totals)
    run = state.run[0]
    lists = state.lists
    bulk = run.depth == 1 and run.spill == 0
    while True:
        _land(state)
        _receive(state)
        if bulk:
            prompts = run.partial > 0 or (_waiting(state) and run.blocked == 0)
            if _step(state) if prompts else _leap(state):
                continue
            _one_by_one(state)
        _schedule(state)
        if run.decodes + run.chunks > 0:
            _issue(state)
            continue
        moment = _next_arrival(state)
        if run.flight_head < run.flight_tail:
            moment = min(moment, lists[run.flight_head % len(lists)].flight_end)
        if moment == math.inf:
            return
        run.now = max(run.now, moment)
