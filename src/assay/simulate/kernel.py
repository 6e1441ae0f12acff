"""The compiled simulator: the scheduler of `reference`, in one file; `compiled` lays out its arrays.

Between two events a micro-batch only decodes and contexts grow by a constant a step, so a run of such steps is a series with a closed
form: one flight takes them all, and what comes meanwhile shortens it. Nothing loops over tokens or over the sequences of a batch: a
micro-batch counts its steps (`clock`), its sequences wait in a heap for the step at which they finish or outgrow a window, those that
need a new block at the same step are counted together, and the largest gap of each is read from a stack of maxima when it leaves.

Requests are rows; running sequences are slots. Nothing is allocated while it runs: the caller gives every array, of the dtypes below.
On step times and arrivals that are multiples of 2^-20 s sums are exact, and both simulators give the same bits.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from assay.simulate.policies import LEAST_LOADED, MIXED, POWER_OF_TWO, PREFILL, PREFIX_AFFINITY, ROUND_ROBIN, STATIC
from assay.simulate.records import GAP_BINS, GAP_SMALLEST, GAP_STEPS

Records = Any  # arrays of the dtypes below: mypy cannot know their fields
Integers = NDArray[np.int64]

NONE = -1  # of a link: nothing follows
LOADING, PROMPT, FLYING, DECODING, HANDED, LOST = range(6)  # of a slot: see reference.sequence; handed over, and lost before it was fetched
FREE, HOST = -1, -2  # of a prefix block instead of a count of users: not in use, in host memory
MIXER = 2654435761  # see reference.router
FOREVER = 2**62

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


def _dtype(small: str, integers: str, reals: str) -> np.dtype[np.void]:
    kinds = ((reals, np.float64), (integers, np.int64), (small, np.int32))
    return np.dtype([(name, kind) for names, kind in kinds for name in names.split()])


# A request: its columns; `steps` after its first token, of `rate` tokens each; its class of priority; its prefix blocks; the next row in a
# list, the next turn of its session, whether it is a `turn` after another; what it saw; while it does not decode, the tokens it `emitted`
# and the slot that still holds its prompt's cache elsewhere (`source`).
ROW = _dtype(
    "input output steps priority blocks next following turn emitted source preemptions prefix_hit", "first_block",
    "sent think first_token finish largest_gap last rate",
)  # fmt: skip
# A running sequence, or one handed over: `prompt` tokens of which `computed`; shared blocks, hit tokens; `reserved` bytes for its prompt.
# Since its micro-batch's clock was `joined` it decodes, from a context of `base`, until `end`; it has outgrown the first `crossed` reaches.
# `prev` and `next` link the sequences that run, in order of admission; `before` and `after` the list of its state.
SLOT = _dtype(
    "row state rank batch unit prompt computed shared hit crossed emitted fresh prev next before after", "serial joined end",
    "reserved base rate gap",
)  # fmt: skip
# A prefix block: its id and rank, its users, its neighbours in LRU order, and the next block of the same id on another rank.
BLOCK = _dtype("id rank users before after chain", "", "")
# An entry of a heap, ordered by moment, then order.
EVENT = _dtype("", "order item", "moment")
# The largest gap of the steps up to `step`, from the entry below.
PEAK = _dtype("", "step", "gap")
# Like replicas: where their tables begin, the limits of each rank's scheduler (see Policy), its machine.
POOL = _dtype(
    "", "reaches_at reaches sizes_at joint_at joint samples_at draft_at draft role ranks depth width token_budget max_num_seqs block_size "
    "batching caches max_context look_interval prefill_wait host_blocks",
    "kv_capacity host_bandwidth block_bytes spill_after spill line line2",
)  # fmt: skip
# A reach of attention or of the cache, ascending: its window (FOREVER: unbounded); bytes of cache per token; by curve the slope of D and
# of two lines in P and R; of the run the sum of D.
REACH = _dtype(
    "", "window",
    "bytes sum_decode interval_decode interval_pairs interval_reread interval_pairs2 interval_reread2 "
    "latency_decode latency_pairs latency_reread latency_pairs2 latency_reread2 joules_decode joules_pairs joules_reread",
)  # fmt: skip
# A size of step: by curve and kind what it takes, and how many steps had it. Tokens of a rank, then of all ranks together.
SIZE = _dtype("", "decodes mixed", "interval_decode interval_mixed latency_decode latency_mixed joules_decode joules_mixed")
# A count of samples, then of sequences that draft.
SAMPLES = _dtype("", "steps", "interval latency joules")
# A replica: its pool, ranks, micro-batches; of these how many are idle and flying; see reference.replica. The flight of a leap: its
# `leap` steps (0: none), of which the first takes `constant` and each more by `slope`, joules likewise; its slowest rank.
REPLICA = _dtype(
    "", "pool first_rank first_batch idle flying up awake decoding running unseen waited held leap slowest leap_tokens leap_running",
    "free_at landing start constant slope joules joules_slope",
)  # fmt: skip
# A micro-batch: steps in which it decoded, whether it decodes in the step at hand; the moment at which that ends, and that of its last
# tokens; its stack of largest gaps.
BATCH = _dtype("", "clock decodes stack_at peaks room", "moment last")
# A micro-batch on a rank: sequences that decode, its heap, the sequences whose prompt ends in this step, those with no token since.
UNIT = _dtype("", "count heap_at heap ending ending_tail fresh", "")
# Of a unit by reach: sum of contexts, its growth per step; of the step at hand D, P, R, P and R without prefix hits.
SUMS = _dtype("", "", "context grown decode pairs reread bare_pairs bare_reread")
# A scheduler: sizes and heads of its lists; bytes of cache in use, idle blocks, the most that was busy; the step at hand.
RANK = _dtype(
    "", "pool replica first_unit running waiting inbox inbox_tail prompts prompts_tail ready ready_tail handed requests forming "
    "idle hosted ring tokens sampled decoders prompted",
    "used busy most link_free interval latency joules alone bare",
)  # fmt: skip
# Of a rank by class of priority: the rows that wait and the slots that run.
QUEUE = _dtype("wait wait_tail run run_tail", "", "")
# Chunks of the prompts of a rank in the step at hand.
CHUNK = _dtype("slot size", "", "")
OUTAGE = _dtype("", "replica up", "moment")
# The run.
FLEET = _dtype(
    "", "classes prefix_block users later next arrivals arrivals_at transfers transfers_at tickets admissions awake outage hold hold_tail "
    "routing prompt_targets decode_targets prompt_turns decode_turns slots blocks leaves ended steps hands_over",
    "now delay load_bound link_bandwidth link_latency busy batch prefill cached joules",
)  # fmt: skip


class State(NamedTuple):
    """Everything a run knows: arrays of the dtypes above, and of integers.

    `ids` are the prefix blocks of all rows, `where` the block of each id, `home` the rank to which each id went last, `order` the idle
    and then the flying micro-batches of each replica, `targets` the ranks that take prompts and then those that decode, `tree` the next
    moment of each replica and the least of pairs above.
    """

    rows: Records
    ids: Any
    where: Any
    home: Any
    blocks: Records
    slots: Records
    heap: Records
    peaks: Records
    pools: Records
    reaches: Records
    sizes: Records
    samples: Records
    replicas: Records
    order: Any
    batches: Records
    units: Records
    sums: Records
    residues: Any
    ranks: Records
    queues: Records
    chunks: Records
    targets: Any
    outages: Records
    tree: Any
    gaps: Any
    fleet: Records


# Formulas.


@inlined
def _footprint(context: int, pool: Any, reaches: Records) -> float:
    """Bytes of cache that a sequence of `context` tokens takes alone: see Policy.footprint."""
    total = 0.0
    for at in range(pool.reaches_at, pool.reaches_at + pool.reaches):
        kept = min(context, reaches[at].window)
        total += reaches[at].bytes * (-(-kept // pool.block_size) * pool.block_size)
    return total


@inlined
def _attended(before: int, chunk: int, window: int) -> float:
    """Pairs of a chunk after `before` cached tokens within `window`: see reference.attended."""
    growing = max(0, min(chunk, window - before))
    rest = chunk - growing
    return growing * before + growing * (growing + 1) / 2 + (rest * window if rest else 0)


@inlined
def _gap_bin(seconds: float) -> int:
    """Bin of a gap: see records.gap_bin."""
    if seconds < GAP_SMALLEST:
        return 0
    fraction, exponent = math.frexp(seconds)
    return min((exponent + 19) * GAP_STEPS + int((fraction - 0.5) * (2 * GAP_STEPS)), GAP_BINS - 1)


@inlined
def _known(row: int, rows: Records) -> float:
    """Tokens that are known of a request that does not decode."""
    one = rows[row]
    return one.input + 1 + one.rate * (one.emitted - 1) if one.emitted > 0 else float(one.input)


@inlined
def _lasting(constant: float, slope: float, steps: int) -> float:
    """Time of the first steps of a leap."""
    return steps * constant + slope * (steps * (steps - 1) / 2)


# Heaps.


@inlined
def _sooner(a: Any, b: Any) -> bool:
    return a.moment < b.moment or (a.moment == b.moment and a.order < b.order)


@compiled
def _push(heap: Records, at: int, size: int, moment: float, order: int, item: int) -> None:
    """Add an entry to the heap of `size` entries that begins at `at`."""
    place = size
    while place > 0:
        parent = at + (place - 1) // 2
        if heap[parent].moment < moment or (heap[parent].moment == moment and heap[parent].order < order):
            break
        heap[at + place] = heap[parent]
        place = (place - 1) // 2
    heap[at + place].moment, heap[at + place].order, heap[at + place].item = moment, order, item


@compiled
def _drop_entry(heap: Records, at: int, size: int, place: int) -> None:
    """Take the entry at `place` out of a heap of `size` entries: the last one is sifted into its stead."""
    last = at + size - 1
    while place > 0 and _sooner(heap[last], heap[at + (place - 1) // 2]):
        heap[at + place] = heap[at + (place - 1) // 2]
        place = (place - 1) // 2
    while 2 * place + 1 < size - 1:
        child = 2 * place + 1
        if child + 1 < size - 1 and _sooner(heap[at + child + 1], heap[at + child]):
            child += 1
        if _sooner(heap[last], heap[at + child]):
            break
        heap[at + place] = heap[at + child]
        place = child
    heap[at + place] = heap[last]


@inlined
def _set_moment(replica: int, moment: float, state: State) -> None:
    """Say when a replica next does something by itself."""
    tree = state.tree
    place = state.fleet[0].leaves + replica
    tree[place] = moment
    while place > 1:
        place //= 2
        tree[place] = min(tree[2 * place], tree[2 * place + 1])


# The cache: see reference.blocks.


@compiled
def _find(block: int, rank: int, state: State) -> int:
    """The block of an id on a rank."""
    place = state.where[block]
    while place != NONE and state.blocks[place].rank != rank:
        place = state.blocks[place].chain
    return place


@inlined
def _unlink(place: int, blocks: Records) -> None:
    """Take a block out of its LRU ring."""
    before, after = blocks[place].before, blocks[place].after
    blocks[before].after = after
    blocks[after].before = before


@inlined
def _append(place: int, ring: int, blocks: Records) -> None:
    """Make a block the newest of a ring; the ring's own entry stands between newest and oldest."""
    newest = blocks[ring].before
    blocks[newest].after = place
    blocks[place].before = newest
    blocks[place].after = ring
    blocks[ring].before = place


@compiled
def _forget(place: int, state: State) -> None:
    """A block is nowhere any more."""
    blocks, where, fleet = state.blocks, state.where, state.fleet[0]
    block = blocks[place].id
    if where[block] == place:
        where[block] = blocks[place].chain
    else:
        other = where[block]
        while blocks[other].chain != place:
            other = blocks[other].chain
        blocks[other].chain = blocks[place].chain
    blocks[place].users = FREE
    blocks[place].chain = fleet.blocks
    fleet.blocks = place


@compiled
def _evict(rank: int, state: State) -> None:
    """The block unused longest goes, to host memory where there is some."""
    blocks, one = state.blocks, state.ranks[rank]
    pool = state.pools[one.pool]
    place = blocks[one.ring].after
    _unlink(place, blocks)
    one.idle -= 1
    one.used -= pool.block_bytes
    if pool.host_blocks == 0:
        _forget(place, state)
        return
    if one.hosted == pool.host_blocks:
        oldest = blocks[one.ring + 1].after
        _unlink(oldest, blocks)
        _forget(oldest, state)
        one.hosted -= 1
    blocks[place].users = HOST
    _append(place, one.ring + 1, blocks)
    one.hosted += 1


@inlined
def _fits(size: float, one: Any, pool: Any) -> bool:
    return one.used - one.idle * pool.block_bytes + size <= pool.kv_capacity


@inlined
def _take(size: float, rank: int, state: State) -> None:
    """Take bytes that fit, evicting idle blocks as needed."""
    one = state.ranks[rank]
    pool = state.pools[one.pool]
    one.used += size
    while one.used > pool.kv_capacity:
        _evict(rank, state)
    one.most = max(one.most, one.used - one.idle * pool.block_bytes)


@compiled
def _acquire(place: int, rank: int, state: State) -> None:
    """Become a user of a block that is here or in host memory."""
    blocks, one = state.blocks, state.ranks[rank]
    if blocks[place].users == HOST:
        _unlink(place, blocks)
        one.hosted -= 1
        one.used += state.pools[one.pool].block_bytes
        blocks[place].users = 1
        return
    if blocks[place].users == 0:
        _unlink(place, blocks)
        one.idle -= 1
    blocks[place].users += 1


@compiled
def _release(row: int, shared: int, rank: int, state: State) -> None:
    """Stop using the first `shared` blocks of a row; the first of a prompt are the last to be evicted."""
    blocks, one = state.blocks, state.ranks[rank]
    start = state.rows[row].first_block
    for at in range(start + shared - 1, start - 1, -1):
        place = _find(state.ids[at], rank, state)
        blocks[place].users -= 1
        if blocks[place].users == 0:
            _append(place, one.ring, blocks)
            one.idle += 1


@compiled
def _publish(slot: int, state: State) -> None:
    """Share the whole blocks of a prompt that are computed by now; where one is here already, the copy is freed."""
    blocks, slots, fleet = state.blocks, state.slots, state.fleet[0]
    rank, row = slots[slot].rank, slots[slot].row
    one = state.ranks[rank]
    start = state.rows[row].first_block
    whole = min(state.rows[row].blocks, slots[slot].computed // fleet.prefix_block)
    for at in range(start + slots[slot].shared, start + whole):
        block = state.ids[at]
        place = _find(block, rank, state)
        if place != NONE and blocks[place].users >= 0:
            _acquire(place, rank, state)
            one.used -= state.pools[one.pool].block_bytes
            continue
        if place == NONE:
            place = fleet.blocks
            fleet.blocks = blocks[place].chain
            blocks[place].id, blocks[place].rank, blocks[place].chain = block, rank, state.where[block]
            state.where[block] = place
        else:
            _unlink(place, blocks)
            one.hosted -= 1
        blocks[place].users = 1
    slots[slot].shared = max(whole, slots[slot].shared)


@inlined
def _private(slot: int, state: State) -> float:
    """Bytes that a slot has for itself."""
    one = state.slots[slot]
    pool = state.pools[state.ranks[one.rank].pool]
    held = one.reserved
    if one.state == DECODING:
        clock = state.batches[one.batch].clock
        if pool.width == 1:
            held = _footprint(int(one.base) + clock - one.joined - 1, pool, state.reaches)
        else:
            for place in range(pool.reaches):
                reach = state.reaches[pool.reaches_at + place]
                steps = clock if place >= one.crossed else min(clock, max(one.joined, _crossing(one, reach.window)))
                held += reach.bytes * one.rate * (steps - one.joined)
    return held - one.shared * pool.block_bytes


@inlined
def _crossing(one: Any, window: int) -> int:
    """Clock at which a decoding sequence has more tokens than a window."""
    if window == FOREVER:
        return FOREVER
    return one.joined + (int((window - one.base) / one.rate) + 1 if one.base <= window else 0)


@compiled
def _give_back(slot: int, state: State) -> None:
    """Give back all memory of a slot."""
    one = state.slots[slot]
    state.ranks[one.rank].used -= _private(slot, state)
    if one.shared > 0:
        _release(one.row, one.shared, one.rank, state)


# Lists.


@inlined
def _wait(row: int, rank: int, first: bool, state: State) -> None:
    """Put a row into the queue of its class, behind the others or before them."""
    rows, fleet = state.rows, state.fleet[0]
    queue = state.queues[rank * fleet.classes + rows[row].priority]
    if queue.wait == NONE:
        queue.wait = queue.wait_tail = row
        rows[row].next = NONE
    elif first:
        rows[row].next = queue.wait
        queue.wait = row
    else:
        rows[row].next = NONE
        rows[queue.wait_tail].next = row
        queue.wait_tail = row
    state.ranks[rank].waiting += 1


@inlined
def _first_waiting(rank: int, state: State) -> int:
    """The row that goes next."""
    classes = state.fleet[0].classes
    for queue in range(rank * classes, (rank + 1) * classes):
        if state.queues[queue].wait != NONE:
            return state.queues[queue].wait
    return NONE


@inlined
def _no_longer_waiting(row: int, rank: int, state: State) -> None:
    """Take the first row out of the queue of its class."""
    queue = state.queues[rank * state.fleet[0].classes + state.rows[row].priority]
    queue.wait = state.rows[row].next
    state.ranks[rank].waiting -= 1


@inlined
def _new_slot(row: int, rank: int, state: State) -> int:
    """A slot for a sequence that is admitted, last of those that run."""
    slots, fleet = state.slots, state.fleet[0]
    slot = fleet.slots
    one = slots[slot]
    fleet.slots = one.next
    one.row, one.rank, one.serial, one.fresh = row, rank, fleet.admissions, 0
    fleet.admissions += 1
    queue = state.queues[rank * fleet.classes + state.rows[row].priority]
    one.prev, one.next = queue.run_tail, NONE
    if queue.run_tail == NONE:
        queue.run = slot
    else:
        slots[queue.run_tail].next = slot
    queue.run_tail = slot
    state.ranks[rank].running += 1
    state.replicas[state.ranks[rank].replica].running += 1
    return slot


@compiled
def _no_longer_running(slot: int, state: State) -> None:
    slots = state.slots
    one = slots[slot]
    queue = state.queues[one.rank * state.fleet[0].classes + state.rows[one.row].priority]
    if one.prev == NONE:
        queue.run = one.next
    else:
        slots[one.prev].next = one.next
    if one.next == NONE:
        queue.run_tail = one.prev
    else:
        slots[one.next].prev = one.prev
    state.ranks[one.rank].running -= 1
    state.replicas[state.ranks[one.rank].replica].running -= 1


@inlined
def _free_slot(slot: int, state: State) -> None:
    state.slots[slot].state = FLYING
    state.slots[slot].next = state.fleet[0].slots
    state.fleet[0].slots = slot


@inlined
def _link_prompt(slot: int, state: State) -> None:
    """A prompt is under way, after the others."""
    slots, one = state.slots, state.ranks[state.slots[slot].rank]
    slots[slot].state = PROMPT
    slots[slot].before, slots[slot].after = one.prompts_tail, NONE
    if one.prompts_tail == NONE:
        one.prompts = slot
    else:
        slots[one.prompts_tail].after = slot
    one.prompts_tail = slot


@inlined
def _unlink_prompt(slot: int, state: State) -> None:
    slots, one = state.slots, state.ranks[state.slots[slot].rank]
    before, after = slots[slot].before, slots[slot].after
    if before == NONE:
        one.prompts = after
    else:
        slots[before].after = after
    if after == NONE:
        one.prompts_tail = before
    else:
        slots[after].before = before


@inlined
def _link_handed(slot: int, state: State) -> None:
    """Keep the cache of a prompt for the rank that will fetch it."""
    slots, one = state.slots, state.ranks[state.slots[slot].rank]
    slots[slot].state = HANDED
    slots[slot].before, slots[slot].after = NONE, one.handed
    if one.handed != NONE:
        slots[one.handed].before = slot
    one.handed = slot


@compiled
def _unlink_handed(slot: int, state: State) -> None:
    slots, one = state.slots, state.ranks[state.slots[slot].rank]
    before, after = slots[slot].before, slots[slot].after
    if before == NONE:
        one.handed = after
    else:
        slots[before].after = after
    if after != NONE:
        slots[after].before = before


# Sequences that decode.


@inlined
def _watch(slot: int, state: State) -> None:
    """Put a decoding sequence into its unit's heap, at the clock at which it finishes or outgrows its next window."""
    one = state.slots[slot]
    unit = state.units[one.unit]
    pool = state.pools[state.ranks[one.rank].pool]
    moment = one.end
    if one.crossed < pool.reaches:
        moment = min(moment, _crossing(one, state.reaches[pool.reaches_at + one.crossed].window))
    _push(state.heap, unit.heap_at, unit.heap, float(moment), one.serial, slot)
    unit.heap += 1


@inlined
def _outgrow(slot: int, state: State) -> None:
    """Windows that a sequence has more tokens than grow no more with it."""
    one = state.slots[slot]
    clock = state.batches[one.batch].clock
    pool = state.pools[state.ranks[one.rank].pool]
    known = one.base + one.rate * (clock - one.joined)
    while one.crossed < pool.reaches and state.reaches[pool.reaches_at + one.crossed].window < known:
        sums = state.sums[one.unit, one.crossed]
        sums.context -= known - state.reaches[pool.reaches_at + one.crossed].window
        sums.grown -= one.rate
        if pool.width == 1:
            state.residues[one.unit, one.crossed, (one.joined - int(one.base) + 1) % pool.block_size] -= 1
        one.crossed += 1


@compiled
def _join(slot: int, batch: int, unit: int, state: State) -> None:
    """A sequence decodes in a micro-batch from its next step on."""
    one, row = state.slots[slot], state.rows[state.slots[slot].row]
    pool = state.pools[state.ranks[one.rank].pool]
    clock = state.batches[batch].clock
    one.state, one.batch, one.unit, one.joined, one.emitted = DECODING, batch, unit, clock, row.emitted
    one.base, one.rate, one.gap, one.crossed = row.input + 1 + row.rate * (row.emitted - 1), row.rate, row.largest_gap, 0
    one.end = clock + 1 + row.steps - row.emitted
    for place in range(pool.reaches):
        state.sums[unit, place].context += one.base
        state.sums[unit, place].grown += one.rate
        if pool.width == 1:
            state.residues[unit, place, (clock - int(one.base) + 1) % pool.block_size] += 1
    _outgrow(slot, state)
    one.fresh, one.before, one.after = 1, NONE, state.units[unit].fresh
    if one.after != NONE:
        state.slots[one.after].before = slot
    state.units[unit].fresh = slot
    state.units[unit].count += 1
    state.replicas[state.ranks[one.rank].replica].decoding += 1
    _watch(slot, state)


@inlined
def _not_fresh(slot: int, state: State) -> None:
    """A sequence had its first step among the others."""
    slots = state.slots
    before, after = slots[slot].before, slots[slot].after
    slots[slot].fresh = 0
    if before == NONE:
        state.units[slots[slot].unit].fresh = after
    else:
        slots[before].after = after
    if after != NONE:
        slots[after].before = before


@inlined
def _part(slot: int, state: State) -> None:
    """A sequence decodes no more: its row says how far it is. Its heap entry is for the caller to drop, its memory to give back."""
    one, row = state.slots[slot], state.rows[state.slots[slot].row]
    batch, unit = state.batches[one.batch], state.units[one.unit]
    pool = state.pools[state.ranks[one.rank].pool]
    steps = batch.clock - one.joined
    known = one.base + one.rate * steps
    for place in range(pool.reaches):
        sums = state.sums[one.unit, place]
        if place < one.crossed:
            sums.context -= state.reaches[pool.reaches_at + place].window
            continue
        sums.context -= known
        sums.grown -= one.rate
        if pool.width == 1:
            state.residues[one.unit, place, (one.joined - int(one.base) + 1) % pool.block_size] -= 1
    row.emitted = one.emitted + steps
    row.largest_gap = one.gap
    if one.fresh:
        _not_fresh(slot, state)
    else:
        row.last = batch.last
        row.largest_gap = max(one.gap, _largest(batch, one.joined + 1, state.peaks))
    unit.count -= 1
    state.replicas[state.ranks[one.rank].replica].decoding -= 1


@inlined
def _largest(batch: Any, step: int, peaks: Records) -> float:
    """The largest gap of the steps from `step` on: of the first entry that reaches so far; entries fall."""
    low, high = batch.stack_at, batch.stack_at + batch.peaks
    end = high
    while low < high:
        middle = (low + high) // 2
        if peaks[middle].step >= step:
            high = middle
        else:
            low = middle + 1
    return peaks[low].gap if low < end else 0.0


@inlined
def _raise(batch: Any, step: int, gap: float, state: State) -> None:
    """Note the gap of a step."""
    peaks = state.peaks
    top = batch.stack_at + batch.peaks - 1
    while top >= batch.stack_at and peaks[top].gap <= gap:
        top -= 1
    if top + 1 == batch.stack_at + batch.room:
        top = _thin_out(batch, state)
    peaks[top + 1].step, peaks[top + 1].gap = step, gap
    batch.peaks = top + 2 - batch.stack_at


@compiled
def _thin_out(batch: Any, state: State) -> int:
    """Keep of a full stack only entries that some sequence may still read; returns the last one."""
    peaks, slots = state.peaks, state.slots
    for at in range(batch.stack_at, batch.stack_at + batch.room):
        peaks[at].gap = -peaks[at].gap
    for slot in range(len(slots)):
        one = slots[slot]
        if one.state != DECODING or state.batches[one.batch].stack_at != batch.stack_at:
            continue
        low, high = batch.stack_at, batch.stack_at + batch.room
        while low < high:
            middle = (low + high) // 2
            if peaks[middle].step >= one.joined + 1:
                high = middle
            else:
                low = middle + 1
        if low < batch.stack_at + batch.room:
            peaks[low].gap = abs(peaks[low].gap)
    kept = batch.stack_at
    for at in range(batch.stack_at, batch.stack_at + batch.room):
        if peaks[at].gap > 0:
            peaks[kept] = peaks[at]
            kept += 1
    return kept - 1


# What a rank puts into a step: see reference.rank.


@inlined
def _growth(unit: int, clock: int, steps: int, rank: int, state: State) -> float:
    """Bytes that the sequences of a unit take in steps from `clock` on."""
    pool = state.pools[state.ranks[rank].pool]
    size = pool.block_size
    total = 0.0
    for place in range(pool.reaches):
        each = state.reaches[pool.reaches_at + place].bytes
        if pool.width > 1:
            total += each * state.sums[unit, place].grown * steps
            continue
        grown = steps // size * int(state.sums[unit, place].grown)
        for step in range(steps % size):
            grown += state.residues[unit, place, (clock + step) % size]
        total += each * size * grown
    return total


@compiled
def _preempt_last(rank: int, state: State) -> None:
    """The sequence of the lowest class admitted last that is in no step gives way, to be computed again before all others."""
    slots, classes = state.slots, state.fleet[0].classes
    slot = NONE
    for queue in range((rank + 1) * classes - 1, rank * classes - 1, -1):
        slot = state.queues[queue].run_tail
        while slot != NONE:
            one = slots[slot]
            if one.state == PROMPT or (one.state == DECODING and state.batches[one.batch].moment == math.inf):
                break
            slot = one.prev
        if slot != NONE:
            break
    row = slots[slot].row
    _give_back(slot, state)
    if slots[slot].state == PROMPT:
        _unlink_prompt(slot, state)
    else:
        _unwatch(slot, state)
        _part(slot, state)
    _no_longer_running(slot, state)
    _free_slot(slot, state)
    state.rows[row].preemptions += 1
    _wait(row, rank, True, state)


@inlined
def _unwatch(slot: int, state: State) -> None:
    """Take a sequence out of its unit's heap before its time."""
    unit = state.units[state.slots[slot].unit]
    place = 0
    while state.heap[unit.heap_at + place].item != slot:
        place += 1
    _drop_entry(state.heap, unit.heap_at, unit.heap, place)
    unit.heap -= 1


@inlined
def _hold(row: int, rank: int, state: State) -> int:
    """Admit a row if there is room for its whole prompt, after what of it is cached; its slot, or NONE.

    The last token of a prompt is computed in any case, for its logits.
    """
    one, request, fleet = state.ranks[rank], state.rows[row], state.fleet[0]
    pool, blocks = state.pools[one.pool], state.blocks
    prompt = int(_known(row, state.rows))
    needed = _footprint(prompt + pool.width - 1, pool, state.reaches)
    shared = used = hosted = 0
    if pool.caches and request.source == NONE and request.blocks > 0:
        most = min(request.blocks, (prompt - 1) // fleet.prefix_block)
        while shared < most:
            place = _find(state.ids[request.first_block + shared], rank, state)
            if place == NONE:
                break
            used += blocks[place].users > 0
            hosted += blocks[place].users == HOST
            shared += 1
    if not _fits(needed - used * pool.block_bytes, one, pool):
        return NONE
    for at in range(request.first_block, request.first_block + shared):
        _acquire(_find(state.ids[at], rank, state), rank, state)
    _take(needed - shared * pool.block_bytes, rank, state)
    slot = _new_slot(row, rank, state)
    new = state.slots[slot]
    new.prompt, new.reserved, new.shared, new.hit = prompt, needed, shared, shared * fleet.prefix_block
    new.computed, new.state = new.hit, FLYING
    if request.source != NONE:
        sent = 0.0
        for at in range(pool.reaches_at, pool.reaches_at + pool.reaches):
            sent += state.reaches[at].bytes * min(prompt, state.reaches[at].window)
        _load(slot, fleet.link_latency + sent / fleet.link_bandwidth, state)
        return slot
    if request.preemptions == 0:
        request.prefix_hit = new.hit
    if hosted > 0:
        _load(slot, hosted * pool.block_bytes / pool.host_bandwidth, state)
    return slot


@compiled
def _load(slot: int, seconds: float, state: State) -> None:
    """The cache of a slot comes over the link of its rank, or from host memory, after those that were called for before."""
    one, fleet = state.ranks[state.slots[slot].rank], state.fleet[0]
    one.link_free = max(fleet.now, one.link_free) + seconds
    state.slots[slot].state = LOADING
    _push(state.heap, fleet.transfers_at, fleet.transfers, one.link_free, fleet.tickets, slot)
    fleet.transfers += 1
    fleet.tickets += 1


@inlined
def _plan(rank: int, batch: int, unit: int, prompts: bool, decodes: bool, state: State) -> None:
    """Fill a step of a micro-batch: its decodes, the prompts under way, and the requests that can be admitted."""
    one, group = state.ranks[rank], state.units[unit]
    pool = state.pools[one.pool]
    one.tokens = one.sampled = one.decoders = one.prompted = 0
    quota = -(-min(one.running + one.waiting, pool.max_num_seqs) // pool.depth)
    while one.ready != NONE and group.count < quota:
        slot = one.ready
        one.ready = state.slots[slot].after
        _join(slot, batch, unit, state)
    roomy = True
    if decodes and group.count > 0:
        growth = _growth(unit, state.batches[batch].clock, 1, rank, state)
        while not _fits(growth, one, pool):
            roomy = False
            _preempt_last(rank, state)
            growth = _growth(unit, state.batches[batch].clock, 1, rank, state)
        if growth > 0:
            _take(growth, rank, state)
        one.decoders = group.count
        one.tokens = one.sampled = group.count * pool.width
    for place in range(pool.reaches):
        sums = state.sums[unit, place]
        sums.decode = sums.context if one.decoders > 0 else 0.0
        sums.pairs = sums.reread = sums.bare_pairs = sums.bare_reread = 0.0
    one.busy = one.used - one.idle * pool.block_bytes
    if prompts and (one.prompts != NONE or one.waiting > 0):
        _fill(rank, batch, unit, quota - group.count, roomy, state)


@compiled
def _fill(rank: int, batch: int, unit: int, places: int, roomy: bool, state: State) -> None:
    """Chunks of the prompts under way, then of those that can be admitted."""
    one, slots, rows = state.ranks[rank], state.slots, state.rows
    pool = state.pools[one.pool]
    left = pool.token_budget - one.tokens
    if pool.batching == STATIC and one.running == 0:
        one.forming = 1
    count = 0
    slot = one.prompts
    while slot != NONE:
        chunk = min(slots[slot].prompt - slots[slot].computed, left)
        ends = chunk == slots[slot].prompt - slots[slot].computed
        if left == 0 or (ends and places == 0):
            break
        _add_chunk(slot, chunk, count, unit, state)
        count, left, places = count + 1, left - chunk, places - ends
        slot = slots[slot].after
    while roomy and (pool.batching != STATIC or one.forming == 1):
        row = _first_waiting(rank, state)
        if row == NONE:
            break
        source = rows[row].source
        if source != NONE and slots[source].state == LOST:
            _no_longer_waiting(row, rank, state)
            one.requests -= 1
            _lose_source(row, state)
            continue
        if one.running == pool.max_num_seqs or (source == NONE and (left == 0 or places == 0)):
            break
        slot = _hold(row, rank, state)
        if slot == NONE:
            break
        _no_longer_waiting(row, rank, state)
        if slots[slot].state == LOADING:
            continue
        _link_prompt(slot, state)
        chunk = min(slots[slot].prompt - slots[slot].computed, left)
        places -= chunk == slots[slot].prompt - slots[slot].computed
        _add_chunk(slot, chunk, count, unit, state)
        count, left = count + 1, left - chunk
    one.prompted = pool.token_budget - one.tokens - left
    one.tokens = pool.token_budget - left
    one.busy = one.used - one.idle * pool.block_bytes
    _compute(rank, batch, unit, count, state)


@inlined
def _add_chunk(slot: int, chunk: int, place: int, unit: int, state: State) -> None:
    """Put a chunk into the step: add its P and R, with and without prefix hits; a prompt that it ends samples."""
    one = state.slots[slot]
    pool = state.pools[state.ranks[one.rank].pool]
    state.chunks[place].slot, state.chunks[place].size = slot, chunk
    state.ranks[one.rank].sampled += chunk == one.prompt - one.computed
    before, bare = one.computed, one.computed - one.hit
    for place in range(pool.reaches):
        window = state.reaches[pool.reaches_at + place].window
        sums = state.sums[unit, place]
        sums.pairs += _attended(before, chunk, window)
        sums.reread += min(before, window)
        sums.bare_pairs += _attended(bare, chunk, window)
        sums.bare_reread += min(bare, window)


@inlined
def _compute(rank: int, batch: int, unit: int, count: int, state: State) -> None:
    """Chunks that are in a step are in the cache, and their blocks can be shared; prompts that end wait for their token."""
    slots, group = state.slots, state.units[unit]
    caches = state.pools[state.ranks[rank].pool].caches
    for place in range(count):
        slot = state.chunks[place].slot
        one = slots[slot]
        one.computed += state.chunks[place].size
        if caches and state.rows[one.row].blocks > 0:
            _publish(slot, state)
        if one.computed < one.prompt:
            continue
        _unlink_prompt(slot, state)
        one.state, one.batch, one.after = FLYING, batch, NONE
        if group.ending == NONE:
            group.ending = slot
        else:
            slots[group.ending_tail].after = slot
        group.ending_tail = slot


# A step begins: see reference.replica.


@compiled
def _schedule(replica: int, state: State) -> None:
    """Start the next step when the first stage is free and there is something to do."""
    here, fleet = state.replicas[replica], state.fleet[0]
    pool = state.pools[here.pool]
    if here.free_at > fleet.now:
        return
    if here.unseen >= pool.look_interval or here.decoding == 0:
        here.unseen = 0
        if pool.look_interval > 1:
            _look(replica, state)
    having = 0
    if pool.prefill_wait > 0:
        for rank in range(here.first_rank, here.first_rank + pool.ranks):
            having += state.ranks[rank].prompts != NONE or state.ranks[rank].waiting > 0
    here.held = 0 < having < pool.ranks and here.decoding > 0 and here.waited < pool.prefill_wait
    for place in range(here.idle):
        batch = state.order[replica, place]
        if _try(replica, batch, state):
            for after in range(place, here.idle - 1):
                state.order[replica, after] = state.order[replica, after + 1]
            here.idle -= 1
            state.order[replica, pool.depth + here.flying] = batch
            here.flying += 1
            _set_moment(replica, min(state.batches[here.first_batch + state.order[replica, pool.depth]].moment, here.free_at), state)
            return


@inlined
def _look(replica: int, state: State) -> None:
    """See the requests that have come."""
    here = state.replicas[replica]
    for rank in range(here.first_rank, here.first_rank + state.pools[here.pool].ranks):
        one = state.ranks[rank]
        while one.inbox != NONE:
            row = one.inbox
            one.inbox = state.rows[row].next
            _wait(row, rank, False, state)


@inlined
def _try(replica: int, batch: int, state: State) -> bool:
    """Start a step of a micro-batch; False when there is nothing to do."""
    here = state.replicas[replica]
    pool = state.pools[here.pool]
    prompts = here.held == 0
    decodes = pool.batching == MIXED or not prompts
    while True:
        chunks = tokens = 0
        for at in range(pool.ranks):
            rank = here.first_rank + at
            unit = state.ranks[rank].first_unit + batch
            _plan(rank, here.first_batch + batch, unit, prompts, decodes, state)
            chunks += state.ranks[rank].prompted
            tokens += state.ranks[rank].tokens
            _times(rank, unit, state)
        if chunks > 0 or decodes:
            break
        prompts, decodes = False, True
    if tokens == 0:
        return False
    _issue(replica, batch, tokens, chunks > 0, state)
    return True


@inlined
def _times(rank: int, unit: int, state: State) -> None:
    """Time and energy of what a rank does in the step at hand; interval also without its prompts, and without its prefix hits."""
    one = state.ranks[rank]
    pool = state.pools[one.pool]
    one.interval = one.latency = one.joules = one.alone = one.bare = 0.0
    if one.tokens == 0:
        return
    size, sample = state.sizes[pool.sizes_at + one.tokens], state.samples[pool.samples_at + one.sampled]
    mixed = one.prompted > 0
    interval = (size.interval_mixed if mixed else size.interval_decode) + sample.interval
    latency = (size.latency_mixed if mixed else size.latency_decode) + sample.latency
    joules = (size.joules_mixed if mixed else size.joules_decode) + sample.joules
    decode = decode_latency = decode_joules = 0.0
    if pool.draft > 0:
        draft = state.samples[pool.draft_at + one.decoders]
        decode, decode_latency, decode_joules = draft.interval, draft.latency, draft.joules
    for place in range(pool.reaches):
        reach, context = state.reaches[pool.reaches_at + place], state.sums[unit, place].decode
        decode += reach.interval_decode * context
        decode_latency += reach.latency_decode * context
        decode_joules += reach.joules_decode * context
    interval, latency, joules = interval + decode, latency + decode_latency, joules + decode_joules
    if mixed:
        bare = interval
        for place in range(pool.reaches):
            reach, sums = state.reaches[pool.reaches_at + place], state.sums[unit, place]
            pairs, reread = sums.pairs, sums.reread
            interval += max(
                reach.interval_pairs * pairs + reach.interval_reread * reread,
                reach.interval_pairs2 * pairs + reach.interval_reread2 * reread,
            )
            bare += max(
                reach.interval_pairs * sums.bare_pairs + reach.interval_reread * sums.bare_reread,
                reach.interval_pairs2 * sums.bare_pairs + reach.interval_reread2 * sums.bare_reread,
            )
            latency += max(
                reach.latency_pairs * pairs + reach.latency_reread * reread,
                reach.latency_pairs2 * pairs + reach.latency_reread2 * reread,
            )
            joules += reach.joules_pairs * pairs + reach.joules_reread * reread
        one.bare = bare
        if one.decoders > 0:
            width = one.decoders * pool.width
            one.alone = state.sizes[pool.sizes_at + width].interval_decode + state.samples[pool.samples_at + width].interval + decode
    else:
        one.bare = one.alone = interval
    one.interval, one.latency, one.joules = interval, latency, joules


@inlined
def _issue(replica: int, batch: int, tokens: int, mixed: bool, state: State) -> None:
    """Start a step, or of steps without prompts all up to the next event; their tokens exist after the latency."""
    here, fleet = state.replicas[replica], state.fleet[0]
    pool, flight = state.pools[here.pool], state.batches[here.first_batch + batch]
    interval = latency = joules = alone = bare = busy = 0.0
    decodes = 0
    slowest = here.first_rank
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        one = state.ranks[rank]
        if one.interval > interval:
            interval, slowest = one.interval, rank
        latency, alone, bare = max(latency, one.latency), max(alone, one.alone), max(bare, one.bare)
        joules += one.joules
        busy = max(busy, one.busy)
        decodes += one.decoders * pool.width
        if one.decoders > 0:
            one.forming = 0
    if pool.joint > 0:
        size = state.sizes[pool.joint_at + tokens]
        interval += size.interval_mixed if mixed else size.interval_decode
        latency += size.latency_mixed if mixed else size.latency_decode
        bare += size.interval_mixed if mixed else size.interval_decode
        joules += size.joules_mixed if mixed else size.joules_decode
        if decodes > 0:
            alone += state.sizes[pool.joint_at + decodes].interval_decode
    spill = pool.spill * max(0.0, busy - pool.spill_after) if pool.spill > 0 else 0.0
    here.start, here.constant, here.slope, here.joules, here.joules_slope = fleet.now, interval + spill, 0.0, joules, 0.0
    here.slowest, here.leap_tokens, here.leap_running = slowest, tokens, here.running
    flight.decodes = decodes > 0
    here.leap = 0
    steps = 1
    if mixed:
        here.unseen, here.waited = pool.look_interval, 0
        fleet.prefill += interval - alone
        fleet.cached += interval - bare
    elif pool.depth == 1:
        steps = _leap(replica, batch, busy, state)
    if steps == 1:
        _account(replica, batch, 1, mixed, state)
        here.unseen += not mixed
        here.waited += here.held
    else:
        here.leap = steps
    if pool.depth == 1:
        _fly(replica, batch, steps, state)
        return
    here.landing = max(fleet.now + (latency + spill), here.landing)
    flight.moment = here.landing
    here.free_at = fleet.now + here.constant


@inlined
def _fly(replica: int, batch: int, steps: int, state: State) -> None:
    """A flight without a pipeline takes some steps."""
    here = state.replicas[replica]
    here.free_at = here.start + _lasting(here.constant, here.slope, steps)
    state.batches[here.first_batch + batch].moment = here.free_at


@inlined
def _leap(replica: int, batch: int, busy: float, state: State) -> int:
    """How many steps without prompts can be taken at once: until a sequence finishes or outgrows a window, memory is full, prompts were
    held long enough, or another rank is the slowest; the first step has its memory already.
    """
    here = state.replicas[replica]
    pool, clock = state.pools[here.pool], state.batches[here.first_batch + batch].clock
    steps = FOREVER
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        unit = state.units[state.ranks[rank].first_unit + batch]
        if unit.count > 0:
            steps = min(steps, int(state.heap[unit.heap_at].moment) - clock)
    if here.held:
        steps = min(steps, pool.prefill_wait - here.waited)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        one = state.ranks[rank]
        unit = one.first_unit + batch
        if state.units[unit].count == 0 or steps == 1:
            continue
        growth = _growth(unit, clock + 1, steps - 1, rank, state)
        while steps > 1 and not _fits(growth, one, pool):
            steps //= 2
            growth = _growth(unit, clock + 1, steps - 1, rank, state)
        if pool.spill > 0 and busy + growth > pool.spill_after:
            steps = 1
    slope = _slope(here.slowest, batch, False, state)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        here.joules_slope += _slope(rank, batch, True, state)
        if rank != here.slowest and steps > 1 and state.ranks[rank].tokens > 0:
            lead = state.ranks[here.slowest].interval - state.ranks[rank].interval
            steps = _until_slower(lead, _slope(rank, batch, False, state) - slope, steps, rank < here.slowest)
    here.slope = slope
    return steps


@inlined
def _slope(rank: int, batch: int, joules: bool, state: State) -> float:
    """By how much each decode step of a rank is longer than the one before it, or takes more energy."""
    one = state.ranks[rank]
    pool = state.pools[one.pool]
    slope = 0.0
    if one.decoders > 0:
        for place in range(pool.reaches):
            reach = state.reaches[pool.reaches_at + place]
            slope += (reach.joules_decode if joules else reach.interval_decode) * state.sums[one.first_unit + batch, place].grown
    return slope


@inlined
def _until_slower(lead: float, faster: float, most: int, first: bool) -> int:
    """Steps before a rank that is `lead` seconds faster and loses `faster` a step is the slowest; of equals the first rank is."""
    if faster <= 0:
        return most
    steps = int(min(lead / faster, float(most))) + 1
    while steps > 1 and (faster * (steps - 1) > lead or (first and faster * (steps - 1) == lead)):
        steps -= 1
    while steps < most and (faster * steps < lead or (not first and faster * steps == lead)):
        steps += 1
    return min(steps, most)


@inlined
def _account(replica: int, batch: int, steps: int, mixed: bool, state: State) -> None:
    """Count steps that were issued: see reference.replica and Tally."""
    here, fleet = state.replicas[replica], state.fleet[0]
    pool, one = state.pools[here.pool], state.ranks[here.slowest]
    seconds = _lasting(here.constant, here.slope, steps)
    fleet.steps += steps
    fleet.busy += seconds
    fleet.batch += seconds * here.leap_running
    fleet.joules += _lasting(here.joules, here.joules_slope, steps)
    if one.prompted > 0:
        state.sizes[pool.sizes_at + one.tokens].mixed += steps
    else:
        state.sizes[pool.sizes_at + one.tokens].decodes += steps
    state.samples[pool.samples_at + one.sampled].steps += steps
    if pool.draft > 0:
        state.samples[pool.draft_at + one.decoders].steps += steps
    if pool.joint > 0 and mixed:
        state.sizes[pool.joint_at + here.leap_tokens].mixed += steps
    elif pool.joint > 0:
        state.sizes[pool.joint_at + here.leap_tokens].decodes += steps
    for place in range(pool.reaches):
        reach, sums = state.reaches[pool.reaches_at + place], state.sums[one.first_unit + batch, place]
        reach.sum_decode += _lasting(sums.decode, sums.grown if steps > 1 else 0.0, steps)
        if one.prompted > 0:
            first = reach.latency_pairs * sums.pairs + reach.latency_reread * sums.reread
            second = reach.latency_pairs2 * sums.pairs + reach.latency_reread2 * sums.reread
            if first >= second:
                pool.line += first
            else:
                pool.line2 += second


@compiled
def _interrupt(replica: int, moment: float, looked_for: bool, state: State) -> None:
    """Something comes at `moment`: a leap ends with the step during which it does, if it is a request with the step before the next look."""
    here = state.replicas[replica]
    if here.leap < 2 or here.free_at <= moment:
        return
    steps = _until(here.constant, here.slope, moment - here.start, here.leap)
    pool = state.pools[here.pool]
    if looked_for and pool.look_interval > 1:
        first = pool.look_interval - here.unseen
        steps = first + max(0, -(-(steps - first) // pool.look_interval)) * pool.look_interval
    if steps < here.leap:
        batch = state.order[replica, pool.depth]
        here.leap = steps
        _fly(replica, batch, steps, state)
        _set_moment(replica, here.free_at, state)


@inlined
def _until(constant: float, slope: float, wait: float, most: int) -> int:
    """The fewest steps, at most `most`, that last at least `wait`."""
    steps = most
    if slope > 0:
        half = constant - slope / 2
        steps = int((math.sqrt(max(half * half + 2 * slope * max(wait, 0.0), 0.0)) - half) / slope)
    elif constant > 0:
        steps = int(min(wait / constant, float(most)))
    steps = min(max(steps, 1), most)
    while steps > 1 and _lasting(constant, slope, steps - 1) >= wait:
        steps -= 1
    while steps < most and _lasting(constant, slope, steps) < wait:
        steps += 1
    return steps


# A step ends.


@inlined
def _land(replica: int, state: State) -> None:
    """Steps whose latency has passed give their tokens."""
    here, fleet = state.replicas[replica], state.fleet[0]
    depth = state.pools[here.pool].depth
    while here.flying > 0:
        batch = state.order[replica, depth]
        if state.batches[here.first_batch + batch].moment > fleet.now:
            break
        steps = 1
        if here.leap > 0:
            steps = here.leap
            _end_leap(replica, batch, steps, state)
        here.flying -= 1
        for place in range(here.flying):
            state.order[replica, depth + place] = state.order[replica, depth + place + 1]
        state.order[replica, here.idle] = batch
        here.idle += 1
        _give_tokens(replica, batch, steps, state)
    moment = math.inf
    if here.flying > 0:
        moment = state.batches[here.first_batch + state.order[replica, depth]].moment
    if here.free_at > fleet.now:
        moment = min(moment, here.free_at)
    _set_moment(replica, moment, state)
    _wake(replica, state)


@inlined
def _end_leap(replica: int, batch: int, steps: int, state: State) -> None:
    """Count the steps of a leap, and the memory that they took after the first."""
    here = state.replicas[replica]
    pool = state.pools[here.pool]
    _account(replica, batch, steps, False, state)
    clock = state.batches[here.first_batch + batch].clock
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        growth = _growth(state.ranks[rank].first_unit + batch, clock + 1, steps - 1, rank, state)
        if growth > 0:
            _take(growth, rank, state)
    here.unseen = (here.unseen + steps - 1) % pool.look_interval + 1
    here.waited += here.held * steps
    here.leap = 0


@inlined
def _wake(replica: int, state: State) -> None:
    """Let a replica look whether it can start a step, in this instant."""
    here = state.replicas[replica]
    if here.up and not here.awake:
        here.awake = 1
        state.fleet[0].awake += 1


@inlined
def _give_tokens(replica: int, batch: int, steps: int, state: State) -> None:
    """Tokens of a flight exist: of all ranks first those of decodes, then those of prompts that ended."""
    here = state.replicas[replica]
    pool, flight = state.pools[here.pool], state.batches[here.first_batch + batch]
    moment = flight.moment
    flight.moment = math.inf
    if flight.decodes:
        _count_gaps(replica, batch, steps, moment, state)
        flight.clock += steps
        flight.last = moment
        for rank in range(here.first_rank, here.first_rank + pool.ranks):
            unit = state.ranks[rank].first_unit + batch
            for place in range(pool.reaches):
                state.sums[unit, place].context += state.sums[unit, place].grown * steps
            _finish_due(unit, flight.clock, moment, state)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        unit = state.ranks[rank].first_unit + batch
        slot = state.units[unit].ending
        state.units[unit].ending = NONE
        while slot != NONE:
            following = state.slots[slot].after
            _end_prompt(slot, here.first_batch + batch, unit, moment, state)
            slot = following


@inlined
def _count_gaps(replica: int, batch: int, steps: int, moment: float, state: State) -> None:
    """Gaps before the tokens of a flight: the first one of each sequence, then equal ones or such as grow evenly."""
    here = state.replicas[replica]
    pool, flight = state.pools[here.pool], state.batches[here.first_batch + batch]
    first = here.start + here.constant if steps > 1 else moment
    common = first - flight.last
    count = others = 0
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        unit = state.units[state.ranks[rank].first_unit + batch]
        count += unit.count
        others += unit.count
        while unit.fresh != NONE:
            one = state.slots[unit.fresh]
            gap = first - state.rows[one.row].last
            state.gaps[_gap_bin(gap)] += 1
            one.gap = max(one.gap, gap)
            others -= 1
            _not_fresh(unit.fresh, state)
    if others > 0:
        state.gaps[_gap_bin(common)] += others
    _raise(flight, flight.clock, common, state)
    if steps > 1:
        _raise(flight, flight.clock + steps - 1, here.constant + here.slope * (steps - 1), state)
        _count_later_gaps(count, steps, here.constant, here.slope, state)


@inlined
def _count_later_gaps(count: int, steps: int, constant: float, slope: float, state: State) -> None:
    """Histogram of the gaps after the first step of a leap: gap i is constant + slope i; runs that share a bin are counted at once."""
    step = 1
    while step < steps:
        held = _gap_bin(constant + slope * step)
        end = steps
        if slope > 0 and _gap_bin(constant + slope * (steps - 1)) != held:
            octave, place = (held + 1) // GAP_STEPS, (held + 1) % GAP_STEPS
            edge = GAP_SMALLEST * 2.0**octave * (1 + place / GAP_STEPS)
            end = min(steps, max(step + 1, int((edge - constant) / slope)))
            while end < steps and _gap_bin(constant + slope * end) == held:
                end += 1
            while end > step + 1 and _gap_bin(constant + slope * (end - 1)) != held:
                end -= 1
        state.gaps[held] += count * (end - step)
        step = end


@inlined
def _finish_due(unit: int, clock: int, moment: float, state: State) -> None:
    """Of the sequences of a unit those with all their tokens leave, in order of admission; those that outgrow a window are noted."""
    group, heap = state.units[unit], state.heap
    while group.heap > 0 and heap[group.heap_at].moment <= clock:
        slot = heap[group.heap_at].item
        _drop_entry(heap, group.heap_at, group.heap, 0)
        group.heap -= 1
        if state.slots[slot].end > clock:
            _outgrow(slot, state)
            _watch(slot, state)
            continue
        _give_back(slot, state)
        _part(slot, state)
        _finish(slot, moment, state)


@compiled
def _finish(slot: int, moment: float, state: State) -> None:
    """A request has all its tokens; its memory is given back already."""
    rank, row = state.slots[slot].rank, state.slots[slot].row
    state.rows[row].finish = moment
    state.ranks[rank].requests -= 1
    _no_longer_running(slot, state)
    _free_slot(slot, state)
    _ended(row, moment, state)


@inlined
def _end_prompt(slot: int, batch: int, unit: int, moment: float, state: State) -> None:
    """A prompt is computed: it decodes from now on, or is handed over."""
    one, row = state.slots[slot], state.rows[state.slots[slot].row]
    last = row.emitted == row.steps
    if not last and state.pools[state.ranks[one.rank].pool].role == PREFILL:
        _hand_over(slot, state)
        return
    _give_first(one.row, moment, state)
    if last:
        _give_back(slot, state)
        _finish(slot, moment, state)
    else:
        _join(slot, batch, unit, state)


@inlined
def _give_first(row: int, moment: float, state: State) -> None:
    """The token after a prompt: the first of the request, or the next one after a recomputation."""
    one = state.rows[row]
    if one.emitted > 0:
        gap = moment - one.last
        state.gaps[_gap_bin(gap)] += 1
        one.largest_gap = max(one.largest_gap, gap)
    else:
        one.first_token = moment
    one.last = moment
    one.emitted += 1


# Arrivals: see reference.arrivals.


@compiled
def _send(row: int, moment: float, state: State) -> None:
    fleet = state.fleet[0]
    state.rows[row].sent = moment
    _push(state.heap, fleet.arrivals_at, fleet.arrivals, moment + fleet.delay, row, row)
    fleet.arrivals += 1


@compiled
def _ended(row: int, moment: float, state: State) -> None:
    """A request ended: its session goes on after a time to think, or its user begins another."""
    rows, fleet = state.rows, state.fleet[0]
    fleet.ended += 1
    following = rows[row].following
    if following != NONE:
        _send(following, moment + rows[following].think, state)
    elif fleet.users > 0 and fleet.later < len(rows):
        _send(fleet.later, moment, state)
        fleet.later = _next_opening(fleet.later + 1, rows)


@inlined
def _next_opening(row: int, rows: Records) -> int:
    """The first row from here on that opens a session."""
    while row < len(rows) and rows[row].turn:
        row += 1
    return row


@inlined
def _next_arrival(state: State) -> float:
    """When a scheduler sees the next request."""
    fleet = state.fleet[0]
    moment = math.inf
    if fleet.next < len(state.rows):
        moment = state.rows[fleet.next].sent + fleet.delay
    if fleet.arrivals > 0:
        moment = min(moment, state.heap[fleet.arrivals_at].moment)
    return moment


@inlined
def _arrive(state: State) -> None:
    """Requests that are seen by now are routed, by moment and row."""
    rows, heap, fleet = state.rows, state.heap, state.fleet[0]
    while _next_arrival(state) <= fleet.now:
        row = fleet.next
        if fleet.arrivals > 0:
            sent = heap[fleet.arrivals_at]
            known = rows[row].sent + fleet.delay if row < len(rows) else math.inf
            if sent.moment < known or (sent.moment == known and sent.order < row):
                row = sent.item
                _drop_entry(heap, fleet.arrivals_at, fleet.arrivals, 0)
                fleet.arrivals -= 1
        if row == fleet.next:
            fleet.next = _next_opening(row + 1, rows)
        _route(row, state)


# Routing: see reference.router.


@compiled
def _route(row: int, state: State) -> None:
    """Send a request to a rank; hold it while none is up, reject it when it could not run there alone."""
    rows, fleet = state.rows, state.fleet[0]
    handed = rows[row].source != NONE
    count = fleet.decode_targets if handed else fleet.prompt_targets
    if count == 0:
        rows[row].next = NONE
        if fleet.hold == NONE:
            fleet.hold = row
        else:
            rows[fleet.hold_tail].next = row
        fleet.hold_tail = row
        return
    first = len(state.ranks) if handed else 0
    rank = state.targets[first]
    if fleet.routing == ROUND_ROBIN:
        if handed:
            rank = state.targets[first + fleet.decode_turns % count]
            fleet.decode_turns += 1
        else:
            rank = state.targets[first + fleet.prompt_turns % count]
            fleet.prompt_turns += 1
    elif count > 1:
        rank = _choose(row, first, count, handed, state)
    if fleet.routing == PREFIX_AFFINITY and not handed:
        for at in range(rows[row].first_block, rows[row].first_block + rows[row].blocks):
            state.home[state.ids[at]] = rank
    if not _can_run(row, rank, state):
        rows[row].first_token = math.nan
        _ended(row, fleet.now, state)
        return
    _deliver(row, rank, state)


@inlined
def _choose(row: int, first: int, count: int, handed: bool, state: State) -> int:
    """The rank by a rule that looks at loads."""
    ranks, targets, fleet = state.ranks, state.targets, state.fleet[0]
    if fleet.routing == POWER_OF_TWO:
        drawn = row * MIXER % 2**32
        one, other = targets[first + drawn % count], targets[first + drawn // count % count]
        return other if ranks[other].requests < ranks[one].requests else one
    chosen = targets[first]
    total = 0
    for at in range(first, first + count):
        total += ranks[targets[at]].requests
        if ranks[targets[at]].requests < ranks[chosen].requests:
            chosen = targets[at]
    if fleet.routing == LEAST_LOADED or handed:
        return chosen
    home = NONE
    for at in range(state.rows[row].first_block, state.rows[row].first_block + state.rows[row].blocks):
        if state.home[state.ids[at]] == NONE:
            break
        home = state.home[state.ids[at]]
    if home != NONE and state.replicas[ranks[home].replica].up and ranks[home].requests <= fleet.load_bound * ((total + 1) / count):
        return home
    return chosen


@inlined
def _can_run(row: int, rank: int, state: State) -> bool:
    """Whether a request could run alone on a rank, and where it goes after its prompt: see Policy.most."""
    one, fleet = state.rows[row], state.fleet[0]
    place = state.ranks[rank].pool
    longest = one.input + max(one.output, 1) - 1
    for at in range(len(state.pools)):
        pool = state.pools[at]
        if at != place and not (fleet.hands_over and pool.role != PREFILL):
            continue
        spare = pool.width - 1 + pool.block_size if pool.width > 1 else 0
        if one.input + one.output > pool.max_context or _footprint(longest + spare, pool, state.reaches) > pool.kv_capacity:
            return False
    return True


@inlined
def _deliver(row: int, rank: int, state: State) -> None:
    """A request comes to a rank; it is seen at the next look."""
    rows, one = state.rows, state.ranks[rank]
    one.requests += 1
    _wake(one.replica, state)
    if one.waiting == 0 or state.fleet[0].classes > 1:
        _interrupt(one.replica, state.fleet[0].now, True, state)
    if state.pools[one.pool].look_interval == 1:
        _wait(row, rank, False, state)
        return
    rows[row].next = NONE
    if one.inbox == NONE:
        one.inbox = row
    else:
        rows[one.inbox_tail].next = row
    one.inbox_tail = row


# Caches that go from one place to another: see reference.fleet.


@compiled
def _hand_over(slot: int, state: State) -> None:
    """A prompt is computed: its cache stays until a decode rank has fetched it."""
    one = state.slots[slot]
    _no_longer_running(slot, state)
    state.ranks[one.rank].requests -= 1
    _link_handed(slot, state)
    state.rows[one.row].source = slot
    _route(one.row, state)


@compiled
def _receive_caches(state: State) -> None:
    """Caches that are here by now: their prompts go on, or decode after what another rank computed."""
    heap, slots, fleet = state.heap, state.slots, state.fleet[0]
    while fleet.transfers > 0 and heap[fleet.transfers_at].moment <= fleet.now:
        moment, slot = heap[fleet.transfers_at].moment, heap[fleet.transfers_at].item
        _drop_entry(heap, fleet.transfers_at, fleet.transfers, 0)
        fleet.transfers -= 1
        one, rank = slots[slot], state.ranks[slots[slot].rank]
        row = one.row
        _wake(rank.replica, state)
        _interrupt(rank.replica, fleet.now, False, state)
        source = state.rows[row].source
        if source == NONE:
            _link_prompt(slot, state)
            continue
        if slots[source].state == LOST:
            _give_back(slot, state)
            _no_longer_running(slot, state)
            _free_slot(slot, state)
            rank.requests -= 1
            _lose_source(row, state)
            continue
        _unlink_handed(source, state)
        _give_back(source, state)
        _wake(state.ranks[slots[source].rank].replica, state)
        _free_slot(source, state)
        state.rows[row].source = NONE
        _give_first(row, moment, state)
        one.after = NONE
        if rank.ready == NONE:
            rank.ready = slot
        else:
            slots[rank.ready_tail].after = slot
        rank.ready_tail = slot


@compiled
def _lose_source(row: int, state: State) -> None:
    """The cache of a prompt is no more where it was: the request starts again."""
    _free_slot(state.rows[row].source, state)
    state.rows[row].source = NONE
    _route(row, state)


# Replicas that start and fail: see reference.fleet.


@compiled
def _find_targets(state: State) -> None:
    """Which ranks are up and take prompts, and which of them decode what others computed."""
    fleet, ranks = state.fleet[0], state.ranks
    fleet.prompt_targets = fleet.decode_targets = 0
    for rank in range(len(ranks)):
        if not state.replicas[ranks[rank].replica].up:
            continue
        if fleet.hands_over and state.pools[ranks[rank].pool].role != PREFILL:
            state.targets[len(ranks) + fleet.decode_targets] = rank
            fleet.decode_targets += 1
        else:
            state.targets[fleet.prompt_targets] = rank
            fleet.prompt_targets += 1


@compiled
def _switch(state: State) -> None:
    """Replicas that start or fail by now."""
    outages, fleet = state.outages, state.fleet[0]
    while fleet.outage < len(outages) and outages[fleet.outage].moment <= fleet.now:
        replica, up = outages[fleet.outage].replica, outages[fleet.outage].up
        here = state.replicas[replica]
        fleet.outage += 1
        if here.up == up:
            continue
        here.up = up
        _find_targets(state)
        if not up:
            if here.awake:
                here.awake = 0
                fleet.awake -= 1
            _fail(replica, state)
            continue
        _wake(replica, state)
        row, last = fleet.hold, fleet.hold_tail
        fleet.hold = NONE
        while row != NONE:
            following = state.rows[row].next if row != last else NONE
            _route(row, state)
            row = following


@compiled
def _fail(replica: int, state: State) -> None:
    """All that a replica holds is lost; its requests go elsewhere with the tokens they have, those that ran first."""
    here = state.replicas[replica]
    pool = state.pools[here.pool]
    _break_off(replica, state)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        first = _clear_rank(rank, state)
        while first != NONE:
            row = first
            first = state.rows[row].next
            source = state.rows[row].source
            if source != NONE and state.slots[source].state == LOST:
                _free_slot(source, state)
                state.rows[row].source = NONE
            _route(row, state)


@compiled
def _break_off(replica: int, state: State) -> None:
    """Steps of a leap that ended by now count; nothing stays in the pipeline."""
    here, fleet = state.replicas[replica], state.fleet[0]
    depth = state.pools[here.pool].depth
    if here.leap > 0:
        batch = state.order[replica, depth]
        steps = _until(here.constant, here.slope, fleet.now - here.start, here.leap)
        _end_leap(replica, batch, steps, state)
        if steps > 1:
            flight = state.batches[here.first_batch + batch]
            flight.moment = here.start + _lasting(here.constant, here.slope, steps - 1)
            _give_tokens(replica, batch, steps - 1, state)
    for batch in range(depth):
        state.order[replica, batch] = batch
        state.batches[here.first_batch + batch].moment = math.inf
        state.batches[here.first_batch + batch].decodes = 0
    here.idle, here.flying, here.leap, here.waited = depth, 0, 0, 0
    here.unseen = state.pools[here.pool].look_interval
    here.free_at = here.landing = fleet.now
    _set_moment(replica, math.inf, state)


@compiled
def _clear_rank(rank: int, state: State) -> int:
    """Empty a rank; returns the first of its rows, those that ran in order of admission and then those that waited, linked by `next`."""
    slots, rows, one, fleet = state.slots, state.rows, state.ranks[rank], state.fleet[0]
    first = last = NONE
    slot = one.handed
    while slot != NONE:
        slots[slot].state = LOST
        slot = slots[slot].after
    while True:
        slot = _first_running(rank, state)
        if slot == NONE:
            break
        if slots[slot].state == DECODING:
            _part(slot, state)
        if slots[slot].state == LOADING:
            _call_off(slot, state)
        _no_longer_running(slot, state)
        _free_slot(slot, state)
        row = slots[slot].row
        rows[row].preemptions += 1
        rows[row].next = NONE
        if first == NONE:
            first = row
        else:
            rows[last].next = row
        last = row
    while True:
        row = _first_waiting(rank, state)
        if row != NONE:
            _no_longer_waiting(row, rank, state)
        elif one.inbox != NONE:
            row = one.inbox
            one.inbox = rows[row].next
        else:
            break
        rows[row].next = NONE
        if first == NONE:
            first = row
        else:
            rows[last].next = row
        last = row
    for place in range(2 * len(state.ranks), len(state.blocks)):
        if state.blocks[place].users != FREE and state.blocks[place].rank == rank:
            _forget(place, state)
    for ring in (one.ring, one.ring + 1):
        state.blocks[ring].before = state.blocks[ring].after = ring
    for unit in range(one.first_unit, one.first_unit + state.pools[one.pool].depth):
        state.units[unit].ending = NONE
        state.units[unit].heap = 0
        for place in range(state.pools[one.pool].reaches):
            state.sums[unit, place].context = state.sums[unit, place].grown = 0.0
    one.prompts = one.prompts_tail = one.ready = one.handed = NONE
    one.used, one.forming = 0.0, 1
    one.idle = one.hosted = one.requests = 0
    return first


@inlined
def _first_running(rank: int, state: State) -> int:
    """Of the slots that run the one admitted first."""
    classes, first = state.fleet[0].classes, NONE
    for queue in range(rank * classes, (rank + 1) * classes):
        slot = state.queues[queue].run
        if slot != NONE and (first == NONE or state.slots[slot].serial < state.slots[first].serial):
            first = slot
    return first


@inlined
def _call_off(slot: int, state: State) -> None:
    """A cache is no more waited for."""
    fleet = state.fleet[0]
    place = 0
    while state.heap[fleet.transfers_at + place].item != slot:
        place += 1
    _drop_entry(state.heap, fleet.transfers_at, fleet.transfers, place)
    fleet.transfers -= 1


# The run: see reference.fleet.


@inlined
def _next_moment(state: State) -> float:
    """When something happens next; infinite when nothing will."""
    fleet, outages = state.fleet[0], state.outages
    if fleet.awake > 0:
        return fleet.now
    moment = min(state.tree[1], _next_arrival(state))
    if fleet.transfers > 0:
        moment = min(moment, state.heap[fleet.transfers_at].moment)
    if fleet.outage < len(outages) and (fleet.hold != NONE or moment < math.inf):
        moment = min(moment, outages[fleet.outage].moment)
    return max(fleet.now, moment)


@inlined
def _land_all(state: State) -> None:
    """Steps of all replicas that end by now, by index."""
    tree, fleet = state.tree, state.fleet[0]
    while tree[1] <= fleet.now:
        place = 1
        while place < fleet.leaves:
            place *= 2
            if tree[place] > fleet.now:
                place += 1
        _land(place - fleet.leaves, state)


@entry
def serve(arrays: tuple[Any, ...], turns: int) -> bool:
    """Go on for so many turns; False when nothing is left to do. See reference.fleet.Simulation.run; `arrays` are the fields of State.

    A plain tuple, since what is kept on disk must not depend on a class that a later version may rename.
    """
    state = State(*arrays)
    fleet = state.fleet[0]
    for _ in range(turns):
        moment = _next_moment(state)
        if moment == math.inf:
            return False
        fleet.now = moment
        _land_all(state)
        if fleet.transfers > 0:
            _receive_caches(state)
        if len(state.outages) > 0:
            _switch(state)
        _arrive(state)
        replica = 0
        while fleet.awake > 0 and replica < len(state.replicas):
            if state.replicas[replica].awake:
                state.replicas[replica].awake = 0
                fleet.awake -= 1
                _schedule(replica, state)
            replica += 1
    return True
