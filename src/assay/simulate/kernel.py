"""The compiled simulator: the scheduler of `reference`, in one file. `layout` says what its arrays hold, `program` keeps its machine code.

Between two events a micro-batch only decodes and contexts grow by a constant a step, so a run of such steps is a series with a closed
form: one flight takes them all, and what comes meanwhile shortens it. Nothing loops over tokens or over the sequences of a batch: a
micro-batch counts its steps (`clock`), its sequences wait in a heap for the step at which they finish or outgrow a window, those that
need a new block at the same step are counted together, and the largest gap of each is read from a stack of maxima when it leaves.

Nothing is allocated while it runs. Functions take `m`, the address of a list of the addresses of all tables: a record is then a load and
an addition away, and a call passes one number. On step times and arrivals that are multiples of 2^-20 s sums are exact, and both simulators
give the same bits.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from numba import from_dtype, njit, types
from numba.extending import intrinsic

from assay.simulate.layout import DECODING, FLYING, FOREVER, FREE, HANDED, HOST, LOADING, LOST, NONE, PROMPT, TABLES
from assay.simulate.policies import LEAST_LOADED, MIXED, POWER_OF_TWO, PREFILL, PREFIX_AFFINITY, ROUND_ROBIN, STATIC
from assay.simulate.records import GAP_BINS, GAP_SMALLEST

Record = Any  # a record of a table: mypy cannot know its fields
MIXER = 2654435761  # see reference.router
FIRST_GAP = (1023 - 20) << 7  # exponent and leading bits of the smallest gap

Function = TypeVar("Function", bound=Callable[..., Any])
_njit: Any = njit  # its type hints leave out the options about wrappers
_intrinsic: Any = intrinsic


def compiled(function: Function) -> Function:
    """Compile a function that only compiled code calls: it needs no wrappers for Python."""
    made: Function = _njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return made


def _table(name: str) -> Callable[[int, int], Record]:
    """What gives the record of a table at an index."""
    record, size, place = from_dtype(TABLES[name]), TABLES[name].itemsize, list(TABLES).index(name)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.int64)
        addresses = builder.inttoptr(arguments[0], word.as_pointer())
        table = builder.load(builder.gep(addresses, [word(place)]))
        table.set_metadata("invariant.load", builder.module.add_metadata([]))  # addresses never change: no need to load them again
        return builder.inttoptr(builder.add(table, builder.mul(arguments[1], word(size))), context.get_value_type(record))

    @_intrinsic
    def at(typingctx: Any, m: Any, index: Any) -> Any:
        return record(types.int64, types.int64), emit

    found: Callable[[int, int], Record] = at
    return found


def _reinterpreted(source: Any, target: Any) -> Callable[[Any], Any]:
    """What gives the same 64 bits as another type."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(target))

    @_intrinsic
    def bits(typingctx: Any, value: Any) -> Any:
        return target(source), emit

    found: Callable[[Any], Any] = bits
    return found


_bits, _real = _reinterpreted(types.float64, types.int64), _reinterpreted(types.int64, types.float64)
rows, ids, where, home, blocks, slots = map(_table, ("rows", "ids", "where", "home", "blocks", "slots"))
links, lists, heap, peaks, pools, reaches = map(_table, ("links", "lists", "heap", "peaks", "pools", "reaches"))
sizes, samples, replicas, order, batches, units = map(_table, ("sizes", "samples", "replicas", "order", "batches", "units"))
ranks, chunks, targets, outages, tree, gaps = map(_table, ("ranks", "chunks", "targets", "outages", "tree", "gaps"))
_sums, _residues, _fleet = map(_table, ("sums", "residues", "fleet"))


@compiled
def fleet(m: int) -> Record:
    """The run."""
    return _fleet(m, 0)


@compiled
def sums(m: int, unit: int, place: int) -> Record:
    """Contexts of a unit within a reach."""
    return _sums(m, unit * fleet(m).reaches + place)


@compiled
def residues(m: int, unit: int, place: int, residue: int) -> Record:
    """Sequences of a unit that need a new block of a reach when the clock has a residue."""
    return _residues(m, (unit * fleet(m).reaches + place) * fleet(m).block_sizes + residue)


# Formulas.


@compiled
def _footprint(m: int, pool: Record, context: int) -> float:
    """Bytes of cache that a sequence of `context` tokens takes alone: see Policy.footprint."""
    total = 0.0
    for at in range(pool.reaches_at, pool.reaches_at + pool.reaches):
        reach = reaches(m, at)
        total += reach.bytes * (-(-min(context, reach.window) // pool.block_size) * pool.block_size)
    return total


@compiled
def _attended(before: int, chunk: int, window: int) -> float:
    """Pairs of a chunk after `before` cached tokens within `window`: see reference.attended."""
    growing = max(0, min(chunk, window - before))
    rest = chunk - growing
    return growing * before + growing * (growing + 1) / 2 + (rest * window if rest else 0)


@compiled
def _gap_bin(seconds: float) -> int:
    """Bin of a gap, from its exponent and leading bits: see records.gap_bin."""
    return min((_bits(seconds) >> 45) - FIRST_GAP, GAP_BINS - 1) if seconds >= GAP_SMALLEST else 0


@compiled
def _known(m: int, row: int) -> float:
    """Tokens that are known of a request that does not decode."""
    one = rows(m, row)
    return one.input + 1 + one.rate * (one.emitted - 1) if one.emitted > 0 else float(one.input)


@compiled
def _lasting(constant: float, slope: float, steps: int) -> float:
    """Time of the first steps of a leap."""
    return steps * constant + slope * (steps * (steps - 1) / 2)


# Lists of slots, linked among those that run (`of` 0) or by state (`of` 1), and of rows.


@compiled
def _link(m: int, which: int, of: int, slot: int) -> None:
    """Put a slot at the end of a list."""
    place, one = of * fleet(m).all_slots, lists(m, which)
    link = links(m, place + slot)
    link.before, link.after = one.tail, NONE
    if one.tail == NONE:
        one.head = slot
    else:
        links(m, place + one.tail).after = slot
    one.tail = slot


@compiled
def _unlink(m: int, which: int, of: int, slot: int) -> None:
    """Take a slot out of a list."""
    place, one = of * fleet(m).all_slots, lists(m, which)
    before, after = links(m, place + slot).before, links(m, place + slot).after
    if before == NONE:
        one.head = after
    else:
        links(m, place + before).after = after
    if after == NONE:
        one.tail = before
    else:
        links(m, place + after).before = before


@compiled
def _enqueue(m: int, which: int, row: int) -> None:
    """Put a row at the end of a list."""
    one = lists(m, which)
    rows(m, row).next = NONE
    if one.head == NONE:
        one.head = row
    else:
        rows(m, one.tail).next = row
    one.tail = row


@compiled
def _dequeue(m: int, which: int) -> int:
    """Take the first row of a list."""
    row = lists(m, which).head
    lists(m, which).head = rows(m, row).next
    return row


@compiled
def _wait(m: int, row: int, rank: int) -> None:
    """A row is seen by the scheduler of a rank, and waits behind the others of its class."""
    _enqueue(m, fleet(m).waits_at + rank * fleet(m).classes + rows(m, row).priority, row)
    ranks(m, rank).waiting += 1


@compiled
def _first_waiting(m: int, rank: int) -> int:
    """The list of the row that goes next, or NONE."""
    run = fleet(m)
    for which in range(run.waits_at + rank * run.classes, run.waits_at + (rank + 1) * run.classes):
        if lists(m, which).head != NONE:
            return which
    return NONE


# Heaps.


@compiled
def _sooner(m: int, one: int, other: int) -> bool:
    a, b = heap(m, one), heap(m, other)
    return a.moment < b.moment or (a.moment == b.moment and a.order < b.order)


@compiled
def _copy(m: int, target: int, source: int) -> None:
    a, b = heap(m, target), heap(m, source)
    a.moment, a.order, a.what = b.moment, b.order, b.what


@compiled
def _push(m: int, at: int, size: int, moment: float, order: int, what: int) -> None:
    """Add an entry to the heap of `size` entries that begins at `at`."""
    place = size
    while place > 0:
        parent = heap(m, at + (place - 1) // 2)
        if parent.moment < moment or (parent.moment == moment and parent.order < order):
            break
        _copy(m, at + place, at + (place - 1) // 2)
        place = (place - 1) // 2
    one = heap(m, at + place)
    one.moment, one.order, one.what = moment, order, what


@compiled
def _drop(m: int, at: int, size: int, place: int) -> None:
    """Take the entry at `place` out of a heap of `size` entries: the last one is sifted into its stead."""
    last = at + size - 1
    while place > 0 and _sooner(m, last, at + (place - 1) // 2):
        _copy(m, at + place, at + (place - 1) // 2)
        place = (place - 1) // 2
    while 2 * place + 1 < size - 1:
        child = 2 * place + 1
        if child + 1 < size - 1 and _sooner(m, at + child + 1, at + child):
            child += 1
        if _sooner(m, last, at + child):
            break
        _copy(m, at + place, at + child)
        place = child
    _copy(m, at + place, last)


@compiled
def _find(m: int, at: int, what: int) -> int:
    """Where in a heap a slot is that is in it."""
    place = 0
    while heap(m, at + place).what != what:
        place += 1
    return place


@compiled
def _set_moment(m: int, replica: int, moment: float) -> None:
    """Say when a replica next does something by itself."""
    place = fleet(m).leaves + replica
    tree(m, place).moment = moment
    while place > 1:
        place //= 2
        tree(m, place).moment = min(tree(m, 2 * place).moment, tree(m, 2 * place + 1).moment)


# The cache: see reference.blocks.


@compiled
def _block_of(m: int, block: int, rank: int) -> int:
    """The block of an id on a rank."""
    place = where(m, block).block
    while place != NONE and blocks(m, place).rank != rank:
        place = blocks(m, place).chain
    return place


@compiled
def _leave_ring(m: int, place: int) -> None:
    """Take a block out of its LRU ring."""
    one = blocks(m, place)
    blocks(m, one.before).after = one.after
    blocks(m, one.after).before = one.before


@compiled
def _enter_ring(m: int, place: int, ring: int) -> None:
    """Make a block the newest of a ring; the ring's own entry stands between newest and oldest."""
    newest = blocks(m, ring).before
    blocks(m, newest).after = blocks(m, ring).before = place
    blocks(m, place).before, blocks(m, place).after = newest, ring


@compiled
def _forget(m: int, place: int) -> None:
    """A block is nowhere any more."""
    one, run = blocks(m, place), fleet(m)
    if where(m, one.id).block == place:
        where(m, one.id).block = one.chain
    else:
        other = where(m, one.id).block
        while blocks(m, other).chain != place:
            other = blocks(m, other).chain
        blocks(m, other).chain = one.chain
    one.users, one.chain = FREE, run.blocks
    run.blocks = place


@compiled
def _evict(m: int, rank: int) -> None:
    """The block unused longest goes, to host memory where there is some."""
    one = ranks(m, rank)
    pool, place = pools(m, one.pool), blocks(m, one.ring).after
    _leave_ring(m, place)
    one.idle -= 1
    one.used -= pool.block_bytes
    if pool.host_blocks == 0:
        _forget(m, place)
        return
    if one.hosted == pool.host_blocks:
        oldest = blocks(m, one.ring + 1).after
        _leave_ring(m, oldest)
        _forget(m, oldest)
        one.hosted -= 1
    blocks(m, place).users = HOST
    _enter_ring(m, place, one.ring + 1)
    one.hosted += 1


@compiled
def _busy(m: int, rank: int) -> float:
    """Bytes that running sequences hold."""
    return ranks(m, rank).used - ranks(m, rank).idle * pools(m, ranks(m, rank).pool).block_bytes


@compiled
def _fits(m: int, rank: int, size: float) -> bool:
    return _busy(m, rank) + size <= pools(m, ranks(m, rank).pool).kv_capacity


@compiled
def _take(m: int, rank: int, size: float) -> None:
    """Take bytes that fit, evicting idle blocks as needed."""
    one = ranks(m, rank)
    one.used += size
    while one.used > pools(m, one.pool).kv_capacity:
        _evict(m, rank)
    one.most = max(one.most, _busy(m, rank))


@compiled
def _acquire(m: int, place: int, rank: int) -> None:
    """Become a user of a block that is here or in host memory."""
    one, block = ranks(m, rank), blocks(m, place)
    if block.users == HOST:
        one.hosted -= 1
        one.used += pools(m, one.pool).block_bytes
        block.users = 0
        _leave_ring(m, place)
    elif block.users == 0:
        one.idle -= 1
        _leave_ring(m, place)
    block.users += 1


@compiled
def _publish(m: int, slot: int) -> None:
    """Share the whole blocks of a prompt that are computed by now; where one is here already, the copy is freed."""
    one, run = slots(m, slot), fleet(m)
    rank, row = ranks(m, one.rank), rows(m, one.row)
    for at in range(one.shared, min(row.blocks, one.computed // run.prefix_block)):
        one.shared = at + 1
        block = ids(m, row.first_block + at).id
        place = _block_of(m, block, one.rank)
        if place == NONE:
            place = run.blocks
            new = blocks(m, place)
            run.blocks = new.chain
            new.id, new.rank, new.chain, new.users = block, one.rank, where(m, block).block, 1
            where(m, block).block = place
        elif blocks(m, place).users == HOST:
            _leave_ring(m, place)
            rank.hosted -= 1
            blocks(m, place).users = 1
        else:
            _acquire(m, place, one.rank)
            rank.used -= pools(m, rank.pool).block_bytes


@compiled
def _crossing(one: Record, window: int) -> int:
    """Clock at which a decoding sequence has more tokens than a window."""
    if window == FOREVER:
        return FOREVER
    return one.joined + (int((window - one.context) / one.rate) + 1 if one.context <= window else 0)


@compiled
def _held(m: int, slot: int) -> float:
    """Bytes that a slot holds, shared blocks included."""
    one = slots(m, slot)
    pool = pools(m, ranks(m, one.rank).pool)
    if one.state != DECODING:
        return one.reserved
    clock = batches(m, one.batch).clock
    if pool.width == 1:
        return _footprint(m, pool, int(one.context) + clock - one.joined - 1)
    held = one.reserved
    for place in range(pool.reaches):
        reach = reaches(m, pool.reaches_at + place)
        until = clock if place >= one.crossed else max(one.joined, _crossing(one, reach.window))
        held += reach.bytes * one.rate * (until - one.joined)
    return held


@compiled
def _give_back(m: int, slot: int) -> None:
    """Give back all memory of a slot; the first block of a prompt is the last to be evicted."""
    one = slots(m, slot)
    rank = ranks(m, one.rank)
    rank.used -= _held(m, slot) - one.shared * pools(m, rank.pool).block_bytes
    start = rows(m, one.row).first_block
    for at in range(start + one.shared - 1, start - 1, -1):
        place = _block_of(m, ids(m, at).id, one.rank)
        blocks(m, place).users -= 1
        if blocks(m, place).users == 0:
            _enter_ring(m, place, rank.ring)
            rank.idle += 1


# Slots.


@compiled
def _new_slot(m: int, row: int, rank: int) -> int:
    """A slot for a sequence that is admitted, last of those that run."""
    run, here = fleet(m), ranks(m, rank)
    slot = run.slots
    run.slots = links(m, slot).after
    one = slots(m, slot)
    one.row, one.rank, one.serial, one.fresh = row, rank, run.admissions, 0
    run.admissions += 1
    _link(m, rank * run.classes + rows(m, row).priority, 0, slot)
    here.running += 1
    replicas(m, here.replica).running += 1
    return slot


@compiled
def _leave(m: int, slot: int) -> None:
    """A sequence runs no more."""
    rank = slots(m, slot).rank
    _unlink(m, rank * fleet(m).classes + rows(m, slots(m, slot).row).priority, 0, slot)
    ranks(m, rank).running -= 1
    replicas(m, ranks(m, rank).replica).running -= 1


@compiled
def _free(m: int, slot: int) -> None:
    slots(m, slot).state = FLYING
    links(m, slot).after = fleet(m).slots
    fleet(m).slots = slot


@compiled
def _start_prompt(m: int, slot: int) -> None:
    """A prompt is under way, after the others of its rank."""
    slots(m, slot).state = PROMPT
    _link(m, fleet(m).prompts_at + slots(m, slot).rank, 1, slot)


# Sequences that decode.


@compiled
def _watch(m: int, slot: int) -> None:
    """Put a decoding sequence into its unit's heap, at the clock at which it finishes or outgrows its next window."""
    one = slots(m, slot)
    unit, pool = units(m, one.unit), pools(m, ranks(m, one.rank).pool)
    clock = one.end
    if one.crossed < pool.reaches:
        clock = min(clock, _crossing(one, reaches(m, pool.reaches_at + one.crossed).window))
    _push(m, unit.heap_at, unit.heap, float(clock), one.serial, slot)
    unit.heap += 1


@compiled
def _count_in(m: int, slot: int, place: int, sign: int) -> None:
    """Count a sequence among those that grow within a reach, or no more."""
    one = slots(m, slot)
    pool = pools(m, ranks(m, one.rank).pool)
    sums(m, one.unit, place).grown += sign * one.rate
    if pool.width == 1:
        residues(m, one.unit, place, (one.joined - int(one.context) + 1) % pool.block_size).count += sign


@compiled
def _outgrow(m: int, slot: int) -> None:
    """Windows that a sequence has more tokens than grow no more with it."""
    one = slots(m, slot)
    pool = pools(m, ranks(m, one.rank).pool)
    known = one.context + one.rate * (batches(m, one.batch).clock - one.joined)
    while one.crossed < pool.reaches and reaches(m, pool.reaches_at + one.crossed).window < known:
        sums(m, one.unit, one.crossed).context -= known - reaches(m, pool.reaches_at + one.crossed).window
        _count_in(m, slot, one.crossed, -1)
        one.crossed += 1


@compiled
def _join(m: int, slot: int, batch: int, unit: int) -> None:
    """A sequence decodes in a micro-batch from its next step on."""
    one, row = slots(m, slot), rows(m, slots(m, slot).row)
    clock = batches(m, batch).clock
    one.state, one.batch, one.unit, one.joined, one.emitted = DECODING, batch, unit, clock, row.emitted
    one.context, one.rate, one.gap, one.crossed = row.input + 1 + row.rate * (row.emitted - 1), row.rate, row.largest_gap, 0
    one.end = clock + 1 + row.steps - row.emitted
    for place in range(pools(m, ranks(m, one.rank).pool).reaches):
        sums(m, unit, place).context += one.context
        _count_in(m, slot, place, 1)
    _outgrow(m, slot)
    one.fresh = 1
    _link(m, fleet(m).fresh_at + unit, 1, slot)
    units(m, unit).count += 1
    replicas(m, ranks(m, one.rank).replica).decoding += 1
    _watch(m, slot)


@compiled
def _part(m: int, slot: int) -> None:
    """A sequence decodes no more: its row says how far it is. Its heap entry is for the caller to drop, its memory to give back."""
    one, row = slots(m, slot), rows(m, slots(m, slot).row)
    batch, pool = batches(m, one.batch), pools(m, ranks(m, one.rank).pool)
    steps = batch.clock - one.joined
    for place in range(pool.reaches):
        if place < one.crossed:
            sums(m, one.unit, place).context -= reaches(m, pool.reaches_at + place).window
        else:
            sums(m, one.unit, place).context -= one.context + one.rate * steps
            _count_in(m, slot, place, -1)
    row.emitted = one.emitted + steps
    row.largest_gap = one.gap
    if one.fresh:
        _unlink(m, fleet(m).fresh_at + one.unit, 1, slot)
    else:
        row.last = batch.last
        at = _first_peak(m, one.batch, one.joined + 1)
        if at < batch.stack_at + batch.peaks:
            row.largest_gap = max(one.gap, peaks(m, at).gap)
    units(m, one.unit).count -= 1
    replicas(m, ranks(m, one.rank).replica).decoding -= 1


@compiled
def _first_peak(m: int, batch: int, step: int) -> int:
    """The first entry of a stack that reaches `step`: the largest gap from there on, since entries fall."""
    low = batches(m, batch).stack_at
    high = low + batches(m, batch).peaks
    while low < high:
        middle = (low + high) // 2
        if peaks(m, middle).step >= step:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _raise(m: int, batch: int, step: int, gap: float) -> None:
    """Note the gap of a step."""
    one = batches(m, batch)
    if one.peaks == one.room:
        _thin_out(m, batch)
    top = one.stack_at + one.peaks
    while top > one.stack_at and peaks(m, top - 1).gap <= gap:
        top -= 1
    peaks(m, top).step, peaks(m, top).gap = step, gap
    one.peaks = top + 1 - one.stack_at


@compiled
def _thin_out(m: int, batch: int) -> None:
    """Keep of a full stack only entries that some sequence may still read: these are marked by a negative gap."""
    one = batches(m, batch)
    end = one.stack_at + one.peaks
    for slot in range(fleet(m).all_slots):
        if slots(m, slot).state == DECODING and slots(m, slot).batch == batch:
            at = _first_peak(m, batch, slots(m, slot).joined + 1)
            if at < end:
                peaks(m, at).gap = -abs(peaks(m, at).gap)
    one.peaks = 0
    for at in range(one.stack_at, end):
        if peaks(m, at).gap < 0:
            kept = peaks(m, one.stack_at + one.peaks)
            kept.step, kept.gap = peaks(m, at).step, -peaks(m, at).gap
            one.peaks += 1


# What a rank puts into a step: see reference.rank.


@compiled
def _growth(m: int, rank: int, unit: int, clock: int, steps: int) -> float:
    """Bytes that the sequences of a unit take in steps from `clock` on."""
    pool = pools(m, ranks(m, rank).pool)
    size, total = pool.block_size, 0.0
    for place in range(pool.reaches):
        each, grown = reaches(m, pool.reaches_at + place).bytes, sums(m, unit, place).grown
        if pool.width > 1:
            total += each * grown * steps
            continue
        count = steps // size * int(grown)
        for step in range(steps % size):
            count += residues(m, unit, place, (clock + step) % size).count
        total += each * size * count
    return total


@compiled
def _preempt_last(m: int, rank: int) -> None:
    """The sequence of the lowest class admitted last that is in no step gives way, to be computed again before all others."""
    run = fleet(m)
    which, slot = (rank + 1) * run.classes, NONE
    while slot == NONE:
        which -= 1
        slot = lists(m, which).tail
        while slot != NONE and not _can_give_way(m, slot):
            slot = links(m, slot).before
    one = slots(m, slot)
    _give_back(m, slot)
    if one.state == PROMPT:
        _unlink(m, run.prompts_at + rank, 1, slot)
    else:
        unit = units(m, one.unit)
        _drop(m, unit.heap_at, unit.heap, _find(m, unit.heap_at, slot))
        unit.heap -= 1
        _part(m, slot)
    _leave(m, slot)
    _free(m, slot)
    rows(m, one.row).preemptions += 1
    rows(m, one.row).next = lists(m, run.waits_at + which).head
    if rows(m, one.row).next == NONE:
        lists(m, run.waits_at + which).tail = one.row
    lists(m, run.waits_at + which).head = one.row
    ranks(m, rank).waiting += 1


@compiled
def _can_give_way(m: int, slot: int) -> bool:
    one = slots(m, slot)
    if one.state != DECODING:
        return one.state == PROMPT
    return batches(m, one.batch).moment == math.inf or batches(m, one.batch).decodes == 0


@compiled
def _hold(m: int, row: int, rank: int) -> int:
    """Admit a row if there is room for its whole prompt, after what of it is cached; its slot, or NONE.

    The last token of a prompt is computed in any case, for its logits.
    """
    one, request, run = ranks(m, rank), rows(m, row), fleet(m)
    pool, prompt = pools(m, one.pool), int(_known(m, row))
    needed = _footprint(m, pool, prompt + pool.width - 1)
    shared = used = hosted = most = 0
    if pool.caches and request.source == NONE and request.blocks > 0:
        most = min(request.blocks, (prompt - 1) // run.prefix_block)
    while shared < most:
        place = _block_of(m, ids(m, request.first_block + shared).id, rank)
        if place == NONE:
            break
        used += blocks(m, place).users > 0
        hosted += blocks(m, place).users == HOST
        shared += 1
    if not _fits(m, rank, needed - used * pool.block_bytes):
        return NONE
    for at in range(request.first_block, request.first_block + shared):
        _acquire(m, _block_of(m, ids(m, at).id, rank), rank)
    _take(m, rank, needed - shared * pool.block_bytes)
    slot = _new_slot(m, row, rank)
    new = slots(m, slot)
    new.prompt, new.reserved, new.shared, new.hit = prompt, needed, shared, shared * run.prefix_block
    new.computed, new.state = new.hit, FLYING
    if request.source != NONE:
        sent = 0.0
        for at in range(pool.reaches_at, pool.reaches_at + pool.reaches):
            sent += reaches(m, at).bytes * min(prompt, reaches(m, at).window)
        _load(m, slot, run.link_latency + sent / run.link_bandwidth)
        return slot
    if request.preemptions == 0:
        request.prefix_hit = new.hit
    if hosted > 0:
        _load(m, slot, hosted * pool.block_bytes / pool.host_bandwidth)
    return slot


@compiled
def _load(m: int, slot: int, seconds: float) -> None:
    """The cache of a slot comes over the link of its rank, or from host memory, after those that were called for before."""
    one, run = ranks(m, slots(m, slot).rank), fleet(m)
    one.link_free = max(run.now, one.link_free) + seconds
    slots(m, slot).state = LOADING
    _push(m, run.transfers_at, run.transfers, one.link_free, run.tickets, slot)
    run.transfers += 1
    run.tickets += 1


@compiled
def _plan(m: int, rank: int, batch: int, unit: int, prompts: bool, decodes: bool) -> None:
    """Fill a step of a micro-batch: its decodes, the prompts under way, and the requests that can be admitted."""
    one, group, ready = ranks(m, rank), units(m, unit), fleet(m).ready_at + rank
    pool = pools(m, one.pool)
    one.tokens = one.sampled = one.decoders = one.prompted = one.gave_way = 0
    quota = -(-min(one.running + one.waiting, pool.max_num_seqs) // pool.depth)
    while lists(m, ready).head != NONE and group.count < quota:
        slot = lists(m, ready).head
        _unlink(m, ready, 1, slot)
        _join(m, slot, batch, unit)
    if decodes and group.count > 0:
        growth = _growth(m, rank, unit, batches(m, batch).clock, 1)
        while not _fits(m, rank, growth):
            one.gave_way = 1
            _preempt_last(m, rank)
            growth = _growth(m, rank, unit, batches(m, batch).clock, 1)
        if growth > 0:
            _take(m, rank, growth)
        one.decoders = group.count
        one.tokens = one.sampled = group.count * pool.width
    for place in range(pool.reaches):
        part = sums(m, unit, place)
        part.decode = part.context if one.decoders > 0 else 0.0
        part.pairs = part.reread = part.bare_pairs = part.bare_reread = 0.0
    one.busy = _busy(m, rank)
    if prompts and (one.waiting > 0 or lists(m, fleet(m).prompts_at + rank).head != NONE):
        _fill(m, rank, batch, unit, quota - group.count)


@compiled
def _fill(m: int, rank: int, batch: int, unit: int, places: int) -> None:
    """Chunks of the prompts under way, then of those that can be admitted."""
    one, run = ranks(m, rank), fleet(m)
    pool, count = pools(m, one.pool), 0
    left = pool.token_budget - one.tokens
    if pool.batching == STATIC and one.running == 0:
        one.forming = 1
    slot = lists(m, run.prompts_at + rank).head
    while slot != NONE:
        missing = slots(m, slot).prompt - slots(m, slot).computed
        if left == 0 or (missing <= left and places == 0):
            break
        chunk = min(missing, left)
        _add_chunk(m, slot, chunk, unit, count)
        count, left, places = count + 1, left - chunk, places - (chunk == missing)
        slot = links(m, run.all_slots + slot).after
    while not one.gave_way and (pool.batching != STATIC or one.forming):
        which = _first_waiting(m, rank)
        if which == NONE:
            break
        row = lists(m, which).head
        source = rows(m, row).source
        if source != NONE and slots(m, source).state == LOST:
            one.waiting -= 1
            one.requests -= 1
            _start_again(m, _dequeue(m, which))
            continue
        if one.running == pool.max_num_seqs or (source == NONE and (left == 0 or places == 0)):
            break
        slot = _hold(m, row, rank)
        if slot == NONE:
            break
        _dequeue(m, which)
        one.waiting -= 1
        if slots(m, slot).state == LOADING:
            continue
        _start_prompt(m, slot)
        missing = slots(m, slot).prompt - slots(m, slot).computed
        chunk = min(missing, left)
        _add_chunk(m, slot, chunk, unit, count)
        count, left, places = count + 1, left - chunk, places - (chunk == missing)
    one.prompted = pool.token_budget - one.tokens - left
    one.tokens = pool.token_budget - left
    one.busy = _busy(m, rank)
    for place in range(count):
        _compute(m, chunks(m, place).slot, chunks(m, place).tokens, batch, unit)


@compiled
def _add_chunk(m: int, slot: int, chunk: int, unit: int, count: int) -> None:
    """Put a chunk into the step: add its P and R, with and without prefix hits; a prompt that it ends samples."""
    one = slots(m, slot)
    rank, before, bare = ranks(m, one.rank), one.computed, one.computed - one.hit
    pool = pools(m, rank.pool)
    chunks(m, count).slot, chunks(m, count).tokens = slot, chunk
    rank.sampled += chunk == one.prompt - before
    for place in range(pool.reaches):
        part, window = sums(m, unit, place), reaches(m, pool.reaches_at + place).window
        part.pairs += _attended(before, chunk, window)
        part.reread += min(before, window)
        part.bare_pairs += _attended(bare, chunk, window)
        part.bare_reread += min(bare, window)


@compiled
def _compute(m: int, slot: int, chunk: int, batch: int, unit: int) -> None:
    """A chunk that is in a step is in the cache, and its blocks can be shared; a prompt that ends waits for its token."""
    one = slots(m, slot)
    one.computed += chunk
    if rows(m, one.row).blocks > 0 and pools(m, ranks(m, one.rank).pool).caches:
        _publish(m, slot)
    if one.computed == one.prompt:
        _unlink(m, fleet(m).prompts_at + one.rank, 1, slot)
        one.state, one.batch = FLYING, batch
        _link(m, fleet(m).ending_at + unit, 1, slot)


# A step begins: see reference.replica.


@compiled
def _schedule(m: int, replica: int) -> None:
    """Start the next step when the first stage is free and there is something to do."""
    here, run = replicas(m, replica), fleet(m)
    pool = pools(m, here.pool)
    if here.free_at > run.now:
        return
    here.looked = here.unseen >= pool.look_interval or here.decoding == 0
    having = 0
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        while here.looked and lists(m, run.inboxes_at + rank).head != NONE:
            _wait(m, _dequeue(m, run.inboxes_at + rank), rank)
        having += ranks(m, rank).waiting > 0 or lists(m, run.prompts_at + rank).head != NONE
    here.held = 0 < having < pool.ranks and here.decoding > 0 and here.waited < pool.prefill_wait
    first = 2 * run.depths * replica
    for place in range(here.idle):
        batch = order(m, first + place).batch
        if _try(m, replica, batch):
            for after in range(place + 1, here.idle):
                order(m, first + after - 1).batch = order(m, first + after).batch
            here.idle -= 1
            order(m, first + run.depths + here.flying).batch = batch
            here.flying += 1
            _set_moment(m, replica, min(batches(m, here.first_batch + order(m, first + run.depths).batch).moment, here.free_at))
            return


@compiled
def _try(m: int, replica: int, batch: int) -> bool:
    """Start a step of a micro-batch; False when there is nothing to do."""
    here = replicas(m, replica)
    pool = pools(m, here.pool)
    prompts = here.held == 0
    decodes = pool.batching == MIXED or not prompts
    while True:
        prompted = tokens = 0
        for rank in range(here.first_rank, here.first_rank + pool.ranks):
            one = ranks(m, rank)
            _plan(m, rank, here.first_batch + batch, one.first_unit + batch, prompts, decodes)
            prompted += one.prompted
            tokens += one.tokens
        if prompted > 0 or decodes:
            break
        prompts, decodes = False, True
    if tokens == 0:
        return False
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        _time(m, rank, ranks(m, rank).first_unit + batch)
    here.tokens = tokens
    _issue(m, replica, batch, prompted > 0)
    return True


@compiled
def _time(m: int, rank: int, unit: int) -> None:
    """Time and energy of what a rank does in the step at hand; its interval also without prompts, and without prefix hits."""
    one = ranks(m, rank)
    pool = pools(m, one.pool)
    one.interval = one.latency = one.joules = one.alone = one.bare = 0.0
    if one.tokens == 0:
        return
    size, sample = sizes(m, pool.sizes_at + one.tokens), samples(m, pool.samples_at + one.sampled)
    decode = latency = joules = 0.0
    if pool.draft > 0:
        draft = samples(m, pool.draft_at + one.decoders)
        decode, latency, joules = draft.interval, draft.latency, draft.joules
    for place in range(pool.reaches):
        reach, context = reaches(m, pool.reaches_at + place), sums(m, unit, place).decode
        decode += reach.interval_decode * context
        latency += reach.latency_decode * context
        joules += reach.joules_decode * context
    if one.prompted == 0:
        one.interval = one.alone = one.bare = size.interval_decode + sample.interval + decode
        one.latency, one.joules = size.latency_decode + sample.latency + latency, size.joules_decode + sample.joules + joules
        return
    interval = size.interval_mixed + sample.interval + decode
    bare = interval
    for place in range(pool.reaches):
        reach, part = reaches(m, pool.reaches_at + place), sums(m, unit, place)
        interval += _prefill(reach, part.pairs, part.reread)
        bare += _prefill(reach, part.bare_pairs, part.bare_reread)
        latency += max(
            reach.latency_pairs * part.pairs + reach.latency_reread * part.reread,
            reach.latency_pairs2 * part.pairs + reach.latency_reread2 * part.reread,
        )
        joules += reach.joules_pairs * part.pairs + reach.joules_reread * part.reread
    one.interval, one.bare = interval, bare
    one.latency, one.joules = size.latency_mixed + sample.latency + latency, size.joules_mixed + sample.joules + joules
    if one.decoders > 0:
        tokens = one.decoders * pool.width
        one.alone = sizes(m, pool.sizes_at + tokens).interval_decode + samples(m, pool.samples_at + tokens).interval + decode


@compiled
def _prefill(reach: Record, pairs: float, reread: float) -> float:
    """Interval of prefill attention of one reach: the longer of its two lines."""
    first = reach.interval_pairs * pairs + reach.interval_reread * reread
    return max(first, reach.interval_pairs2 * pairs + reach.interval_reread2 * reread)


@compiled
def _issue(m: int, replica: int, batch: int, mixed: bool) -> None:
    """Start a step, or of steps without prompts all up to the next event; their tokens exist after the latency."""
    here, run = replicas(m, replica), fleet(m)
    pool, flight = pools(m, here.pool), batches(m, here.first_batch + batch)
    interval = latency = joules = alone = bare = busy = 0.0
    decodes, here.slowest = 0, here.first_rank
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        one = ranks(m, rank)
        if one.interval > interval:
            interval, here.slowest = one.interval, rank
        latency, alone, bare, busy = max(latency, one.latency), max(alone, one.alone), max(bare, one.bare), max(busy, one.busy)
        joules += one.joules
        decodes += one.decoders * pool.width
        one.forming = one.forming and one.decoders == 0
    if pool.joint > 0:
        size = sizes(m, pool.joint_at + here.tokens)
        interval += size.interval_mixed if mixed else size.interval_decode
        bare += size.interval_mixed if mixed else size.interval_decode
        latency += size.latency_mixed if mixed else size.latency_decode
        joules += size.joules_mixed if mixed else size.joules_decode
        alone += sizes(m, pool.joint_at + decodes).interval_decode if decodes > 0 else 0.0
    spill = pool.spill * max(0.0, busy - pool.spill_after) if pool.spill > 0 else 0.0
    here.start, here.constant, here.slope, here.joules, here.joules_slope = run.now, interval + spill, 0.0, joules, 0.0
    here.ran, here.leap, flight.decodes = here.running, 0, decodes > 0
    here.unseen = 0 if here.looked else here.unseen
    if mixed:
        here.unseen, here.waited = pool.look_interval, 0
        run.prefill += interval - alone
        run.cached += interval - bare
    elif pool.depth == 1:
        here.leap = _leap(m, replica, busy)
    if here.leap < 2:
        here.leap = 0
        _account(m, replica, batch, 1, mixed)
        here.unseen += not mixed
        here.waited += here.held
    here.free_at = run.now + _lasting(here.constant, here.slope, max(here.leap, 1))
    here.landing = max(run.now + (latency + spill), here.landing) if pool.depth > 1 else here.free_at
    flight.moment = here.landing


@compiled
def _leap(m: int, replica: int, busy: float) -> int:
    """How many steps without prompts can be taken at once: until a sequence finishes or outgrows a window, memory is full, requests are
    looked for or prompts were held long enough, or another rank is the slowest; the first step has its memory already.
    """
    here, run = replicas(m, replica), fleet(m)
    pool, clock = pools(m, here.pool), batches(m, here.first_batch).clock
    last = here.first_rank + pool.ranks
    steps = pool.prefill_wait - here.waited if here.held else FOREVER
    for rank in range(here.first_rank, last):
        unit = units(m, ranks(m, rank).first_unit)
        if unit.count > 0:
            steps = min(steps, int(heap(m, unit.heap_at).moment) - clock)
        if ranks(m, rank).gave_way:
            steps = 1  # none was admitted in this step, the next one may do so
        if lists(m, run.inboxes_at + rank).head != NONE:
            steps = min(steps, pool.look_interval - here.unseen)
    for rank in range(here.first_rank, last):
        growth = _growth(m, rank, ranks(m, rank).first_unit, clock + 1, steps - 1) if steps > 1 else 0.0
        while steps > 1 and not _fits(m, rank, growth):
            steps //= 2
            growth = _growth(m, rank, ranks(m, rank).first_unit, clock + 1, steps - 1)
        if pool.spill > 0 and busy + growth > pool.spill_after:
            steps = 1
    here.slope = _slope(m, here.slowest, False)
    for rank in range(here.first_rank, last):
        here.joules_slope += _slope(m, rank, True)
        if rank != here.slowest and steps > 1 and ranks(m, rank).tokens > 0:
            lead = ranks(m, here.slowest).interval - ranks(m, rank).interval
            steps = _until_slower(lead, _slope(m, rank, False) - here.slope, steps, rank < here.slowest)
    return steps


@compiled
def _slope(m: int, rank: int, joules: bool) -> float:
    """By how much each decode step of a rank is longer than the one before it, or takes more energy."""
    one, slope = ranks(m, rank), 0.0
    pool = pools(m, one.pool)
    if one.decoders > 0:
        for place in range(pool.reaches):
            reach = reaches(m, pool.reaches_at + place)
            slope += (reach.joules_decode if joules else reach.interval_decode) * sums(m, one.first_unit, place).grown
    return slope


@compiled
def _until_slower(lead: float, loses: float, most: int, first: bool) -> int:
    """Steps before a rank that is `lead` seconds faster and loses some a step is the slowest; of equals the first rank is."""
    if loses <= 0:
        return most
    steps = int(min(lead / loses, float(most))) + 1
    while steps > 1 and (loses * (steps - 1) > lead or (first and loses * (steps - 1) == lead)):
        steps -= 1
    while steps < most and (loses * steps < lead or (not first and loses * steps == lead)):
        steps += 1
    return min(steps, most)


@compiled
def _account(m: int, replica: int, batch: int, steps: int, mixed: bool) -> None:
    """Count steps that were issued: see reference.replica and Tally."""
    here, run = replicas(m, replica), fleet(m)
    pool, one = pools(m, here.pool), ranks(m, here.slowest)
    seconds = _lasting(here.constant, here.slope, steps)
    run.steps += steps
    run.busy += seconds
    run.batch += seconds * here.ran
    run.joules += _lasting(here.joules, here.joules_slope, steps)
    size, joint = sizes(m, pool.sizes_at + one.tokens), sizes(m, pool.joint_at + (here.tokens if pool.joint > 0 else 0))
    if one.prompted > 0:
        size.mixed += steps
    else:
        size.decodes += steps
    if pool.joint > 0 and mixed:
        joint.mixed += steps
    elif pool.joint > 0:
        joint.decodes += steps
    samples(m, pool.samples_at + one.sampled).steps += steps
    if pool.draft > 0:
        samples(m, pool.draft_at + one.decoders).steps += steps
    for place in range(pool.reaches):
        reach, part = reaches(m, pool.reaches_at + place), sums(m, one.first_unit + batch, place)
        reach.sum_decode += _lasting(part.decode, part.grown if steps > 1 else 0.0, steps)
        first = reach.latency_pairs * part.pairs + reach.latency_reread * part.reread
        second = reach.latency_pairs2 * part.pairs + reach.latency_reread2 * part.reread
        if first >= second:
            pool.line += first
        else:
            pool.line2 += second


@compiled
def _interrupt(m: int, replica: int, looked_for: bool) -> None:
    """Something comes now: a leap ends with the step during which it does; if it is a request, with the step before the next look."""
    here, run = replicas(m, replica), fleet(m)
    if here.leap < 2 or here.free_at <= run.now:
        return
    steps, interval = _until(here.constant, here.slope, run.now - here.start, here.leap), pools(m, here.pool).look_interval
    if looked_for and interval > 1:
        first = interval - here.unseen
        steps = first + max(0, -(-(steps - first) // interval)) * interval
    if steps < here.leap:
        here.leap = steps
        here.free_at = here.landing = here.start + _lasting(here.constant, here.slope, steps)
        batches(m, here.first_batch).moment = here.free_at
        _set_moment(m, replica, here.free_at)


@compiled
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


@compiled
def _land(m: int, replica: int) -> None:
    """Steps whose latency has passed give their tokens."""
    here, run = replicas(m, replica), fleet(m)
    idle = 2 * run.depths * replica
    flying = idle + run.depths
    while here.flying > 0:
        batch = order(m, flying).batch
        if batches(m, here.first_batch + batch).moment > run.now:
            break
        steps = max(here.leap, 1)
        if here.leap > 0:
            _end_leap(m, replica, steps)
        here.flying -= 1
        for place in range(flying, flying + here.flying):
            order(m, place).batch = order(m, place + 1).batch
        order(m, idle + here.idle).batch = batch
        here.idle += 1
        _give_tokens(m, replica, batch, steps)
    moment = batches(m, here.first_batch + order(m, flying).batch).moment if here.flying > 0 else math.inf
    _set_moment(m, replica, min(moment, here.free_at) if here.free_at > run.now else moment)
    _wake(m, replica)


@compiled
def _end_leap(m: int, replica: int, steps: int) -> None:
    """Count the steps of a leap, and the memory that they took after the first."""
    here = replicas(m, replica)
    pool = pools(m, here.pool)
    _account(m, replica, 0, steps, False)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        growth = _growth(m, rank, ranks(m, rank).first_unit, batches(m, here.first_batch).clock + 1, steps - 1)
        if growth > 0:
            _take(m, rank, growth)
    here.unseen = (here.unseen + steps - 1) % pool.look_interval + 1
    here.waited += here.held * steps
    here.leap = 0


@compiled
def _wake(m: int, replica: int) -> None:
    """Let a replica look whether it can start a step, in this instant."""
    here = replicas(m, replica)
    if here.up and not here.awake:
        here.awake = 1
        fleet(m).awake += 1


@compiled
def _give_tokens(m: int, replica: int, batch: int, steps: int) -> None:
    """Tokens of a flight exist: of all ranks first those of decodes, then those of prompts that ended."""
    here = replicas(m, replica)
    pool, flight = pools(m, here.pool), batches(m, here.first_batch + batch)
    moment, last = flight.moment, here.first_rank + pool.ranks
    flight.moment = math.inf
    if flight.decodes:
        _count_gaps(m, replica, batch, steps, moment)
        flight.clock += steps
        flight.last = moment
        for rank in range(here.first_rank, last):
            unit = ranks(m, rank).first_unit + batch
            for place in range(pool.reaches):
                sums(m, unit, place).context += sums(m, unit, place).grown * steps
            _finish_due(m, unit, flight.clock, moment)
    for rank in range(here.first_rank, last):
        unit = ranks(m, rank).first_unit + batch
        ending = fleet(m).ending_at + unit
        while lists(m, ending).head != NONE:
            slot = lists(m, ending).head
            _unlink(m, ending, 1, slot)
            _end_prompt(m, slot, here.first_batch + batch, unit, moment)


@compiled
def _count_gaps(m: int, replica: int, batch: int, steps: int, moment: float) -> None:
    """Gaps before the tokens of a flight: the first one of each sequence, then equal ones or such as grow evenly."""
    here = replicas(m, replica)
    flight, others = batches(m, here.first_batch + batch), 0
    first = here.start + here.constant if steps > 1 else moment
    common, count = first - flight.last, 0
    for rank in range(here.first_rank, here.first_rank + pools(m, here.pool).ranks):
        unit = ranks(m, rank).first_unit + batch
        count += units(m, unit).count
        fresh = fleet(m).fresh_at + unit
        while lists(m, fresh).head != NONE:
            slot = lists(m, fresh).head
            one = slots(m, slot)
            gap = first - rows(m, one.row).last
            gaps(m, _gap_bin(gap)).count += 1
            one.gap, one.fresh = max(one.gap, gap), 0
            others += 1
            _unlink(m, fresh, 1, slot)
    if count > others:
        gaps(m, _gap_bin(common)).count += count - others
    _raise(m, here.first_batch + batch, flight.clock, common)
    if steps > 1:
        _raise(m, here.first_batch + batch, flight.clock + steps - 1, here.constant + here.slope * (steps - 1))
    step = 1
    while step < steps:  # runs of gaps that share a bin are counted at once
        held, end = _gap_bin(here.constant + here.slope * step), steps
        if _gap_bin(here.constant + here.slope * (steps - 1)) != held:
            edge = _real((held + 1 + FIRST_GAP) << 45)
            end = min(steps, max(step + 1, int((edge - here.constant) / here.slope)))
            while end < steps and _gap_bin(here.constant + here.slope * end) == held:
                end += 1
            while end > step + 1 and _gap_bin(here.constant + here.slope * (end - 1)) != held:
                end -= 1
        gaps(m, held).count += count * (end - step)
        step = end


@compiled
def _finish_due(m: int, unit: int, clock: int, moment: float) -> None:
    """Of the sequences of a unit those with all their tokens leave, in order of admission; those that outgrow a window are noted."""
    group = units(m, unit)
    while group.heap > 0 and heap(m, group.heap_at).moment <= clock:
        slot = heap(m, group.heap_at).what
        _drop(m, group.heap_at, group.heap, 0)
        group.heap -= 1
        if slots(m, slot).end > clock:
            _outgrow(m, slot)
            _watch(m, slot)
            continue
        _give_back(m, slot)
        _part(m, slot)
        _finish(m, slot, moment)


@compiled
def _finish(m: int, slot: int, moment: float) -> None:
    """A request has all its tokens; its memory is given back already."""
    row = slots(m, slot).row
    rows(m, row).finish = moment
    ranks(m, slots(m, slot).rank).requests -= 1
    _leave(m, slot)
    _free(m, slot)
    _ended(m, row, moment)


@compiled
def _end_prompt(m: int, slot: int, batch: int, unit: int, moment: float) -> None:
    """A prompt is computed: its sequence decodes from now on, or its cache stays until a decode rank has fetched it."""
    one, row, run = slots(m, slot), rows(m, slots(m, slot).row), fleet(m)
    last = row.emitted == row.steps
    if not last and pools(m, ranks(m, one.rank).pool).role == PREFILL:
        _leave(m, slot)
        ranks(m, one.rank).requests -= 1
        one.state, row.source = HANDED, slot
        _link(m, run.handed_at + one.rank, 1, slot)
        _route(m, one.row)
        return
    _give_first(m, one.row, moment)
    if last:
        _give_back(m, slot)
        _finish(m, slot, moment)
    else:
        _join(m, slot, batch, unit)


@compiled
def _give_first(m: int, row: int, moment: float) -> None:
    """The token after a prompt: the first of the request, or the next one after a recomputation."""
    one = rows(m, row)
    if one.emitted > 0:
        gap = moment - one.last
        gaps(m, _gap_bin(gap)).count += 1
        one.largest_gap = max(one.largest_gap, gap)
    else:
        one.first_token = moment
    one.last = moment
    one.emitted += 1


# Arrivals: see reference.arrivals.


@compiled
def _ended(m: int, row: int, moment: float) -> None:
    """A request ended: its session goes on after a time to think, or its user begins another."""
    run, sent = fleet(m), rows(m, row).following
    run.ended += 1
    if sent != NONE:
        moment += rows(m, sent).think
    elif run.users > 0 and run.later < run.requests:
        sent = run.later
        run.later = _next_opening(m, sent + 1)
    else:
        return
    rows(m, sent).sent = moment
    _push(m, run.arrivals_at, run.arrivals, moment + run.delay, sent, sent)
    run.arrivals += 1


@compiled
def _next_opening(m: int, row: int) -> int:
    """The first row from here on that opens a session."""
    while row < fleet(m).requests and rows(m, row).turn:
        row += 1
    return row


@compiled
def _next_arrival(m: int) -> float:
    """When a scheduler sees the next request."""
    run = fleet(m)
    moment = rows(m, run.next).sent + run.delay if run.next < run.requests else math.inf
    return min(moment, heap(m, run.arrivals_at).moment) if run.arrivals > 0 else moment


@compiled
def _arrive(m: int) -> None:
    """Requests that are seen by now are routed, by moment and row."""
    run = fleet(m)
    while _next_arrival(m) <= run.now:
        row = run.next
        known = rows(m, row).sent + run.delay if row < run.requests else math.inf
        sent = heap(m, run.arrivals_at)
        if run.arrivals > 0 and (sent.moment < known or (sent.moment == known and sent.order < row)):
            row = sent.what
            _drop(m, run.arrivals_at, run.arrivals, 0)
            run.arrivals -= 1
        else:
            run.next = _next_opening(m, row + 1)
        _route(m, row)


# Routing: see reference.router.


@compiled
def _route(m: int, row: int) -> None:
    """Send a request to a rank; hold it while none is up, reject it when it could not run there alone."""
    run, one = fleet(m), rows(m, row)
    handed = one.source != NONE
    first, count = (run.all_ranks, run.decode_targets) if handed else (0, run.prompt_targets)
    if count == 0:
        _enqueue(m, run.hold, row)
        return
    rank = targets(m, first).rank
    if run.routing == ROUND_ROBIN and handed:
        rank = targets(m, first + run.decode_turns % count).rank
        run.decode_turns += 1
    elif run.routing == ROUND_ROBIN:
        rank = targets(m, run.prompt_turns % count).rank
        run.prompt_turns += 1
    elif count > 1:
        rank = _choose(m, row, first, count)
    if run.routing == PREFIX_AFFINITY and not handed:
        for at in range(one.first_block, one.first_block + one.blocks):
            home(m, ids(m, at).id).rank = rank
    if not _can_run(m, row, rank):
        one.first_token = math.nan
        _ended(m, row, run.now)
        return
    to = ranks(m, rank)
    to.requests += 1
    _wake(m, to.replica)
    if to.waiting == 0 or run.classes > 1:
        _interrupt(m, to.replica, True)
    if pools(m, to.pool).look_interval == 1:
        _wait(m, row, rank)
    else:
        _enqueue(m, run.inboxes_at + rank, row)


@compiled
def _choose(m: int, row: int, first: int, count: int) -> int:
    """The rank by a rule that looks at loads."""
    run, one = fleet(m), rows(m, row)
    if run.routing == POWER_OF_TWO:
        drawn = row * MIXER % 2**32
        a, b = targets(m, first + drawn % count).rank, targets(m, first + drawn // count % count).rank
        return b if ranks(m, b).requests < ranks(m, a).requests else a
    chosen, total = targets(m, first).rank, 0
    for at in range(first, first + count):
        rank = targets(m, at).rank
        total += ranks(m, rank).requests
        if ranks(m, rank).requests < ranks(m, chosen).requests:
            chosen = rank
    if run.routing == LEAST_LOADED or first > 0:
        return chosen
    nearest = NONE
    for at in range(one.first_block, one.first_block + one.blocks):
        if home(m, ids(m, at).id).rank == NONE:
            break
        nearest = home(m, ids(m, at).id).rank
    if nearest == NONE or not replicas(m, ranks(m, nearest).replica).up:
        return chosen
    return nearest if ranks(m, nearest).requests <= run.load_bound * ((total + 1) / count) else chosen


@compiled
def _can_run(m: int, row: int, rank: int) -> bool:
    """Whether a request could run alone on a rank, and where it goes after its prompt: see Policy.most."""
    one, run = rows(m, row), fleet(m)
    for at in range(run.all_pools):
        pool = pools(m, at)
        if at != ranks(m, rank).pool and not (run.hands_over and pool.role != PREFILL):
            continue
        spare = pool.width - 1 + pool.block_size if pool.width > 1 else 0
        if one.input + one.output > pool.max_context:
            return False
        if _footprint(m, pool, one.input + max(one.output, 1) - 1 + spare) > pool.kv_capacity:
            return False
    return True


# Caches that go from one place to another: see reference.fleet.


@compiled
def _receive_caches(m: int) -> None:
    """Caches that are here by now: their prompts go on, or decode after what another rank computed."""
    run = fleet(m)
    while run.transfers > 0 and heap(m, run.transfers_at).moment <= run.now:
        moment, slot = heap(m, run.transfers_at).moment, heap(m, run.transfers_at).what
        _drop(m, run.transfers_at, run.transfers, 0)
        run.transfers -= 1
        row, rank = slots(m, slot).row, ranks(m, slots(m, slot).rank)
        source = rows(m, row).source
        _wake(m, rank.replica)
        _interrupt(m, rank.replica, False)
        if source == NONE:
            _start_prompt(m, slot)
        elif slots(m, source).state == LOST:
            _give_back(m, slot)
            _leave(m, slot)
            _free(m, slot)
            rank.requests -= 1
            _start_again(m, row)
        else:
            _unlink(m, run.handed_at + slots(m, source).rank, 1, source)
            _give_back(m, source)
            _wake(m, ranks(m, slots(m, source).rank).replica)
            _free(m, source)
            rows(m, row).source = NONE
            _give_first(m, row, moment)
            _link(m, run.ready_at + slots(m, slot).rank, 1, slot)


@compiled
def _start_again(m: int, row: int) -> None:
    """Route a request once more; the cache of its prompt counts only where it is still held."""
    source = rows(m, row).source
    if source != NONE and slots(m, source).state == LOST:
        _free(m, source)
        rows(m, row).source = NONE
    _route(m, row)


# Replicas that start and fail: see reference.fleet.


@compiled
def _find_targets(m: int) -> None:
    """Which ranks are up and take prompts, and which of them decode what others computed."""
    run = fleet(m)
    run.prompt_targets = run.decode_targets = 0
    for rank in range(run.all_ranks):
        if not replicas(m, ranks(m, rank).replica).up:
            continue
        if run.hands_over and pools(m, ranks(m, rank).pool).role != PREFILL:
            targets(m, run.all_ranks + run.decode_targets).rank = rank
            run.decode_targets += 1
        else:
            targets(m, run.prompt_targets).rank = rank
            run.prompt_targets += 1


@compiled
def _switch(m: int) -> None:
    """Replicas that start or fail by now."""
    run = fleet(m)
    while run.outage < run.all_outages and outages(m, run.outage).moment <= run.now:
        replica, up = outages(m, run.outage).replica, outages(m, run.outage).up
        here = replicas(m, replica)
        run.outage += 1
        if here.up == up:
            continue
        here.up = up
        _find_targets(m)
        if up:
            _wake(m, replica)
            while lists(m, run.hold).head != NONE:
                _enqueue(m, run.again, _dequeue(m, run.hold))
        else:
            run.awake -= here.awake
            here.awake = 0
            _fail(m, replica)
        while lists(m, run.again).head != NONE:
            _start_again(m, _dequeue(m, run.again))


@compiled
def _fail(m: int, replica: int) -> None:
    """All that a replica holds is lost, and nothing stays in its pipeline; steps of a leap that ended by now count."""
    here, run = replicas(m, replica), fleet(m)
    pool = pools(m, here.pool)
    if here.leap > 0:
        steps = _until(here.constant, here.slope, run.now - here.start, here.leap)
        _end_leap(m, replica, steps)
        if steps > 1:
            batches(m, here.first_batch).moment = here.start + _lasting(here.constant, here.slope, steps - 1)
            _give_tokens(m, replica, 0, steps - 1)
    for batch in range(pool.depth):
        order(m, 2 * run.depths * replica + batch).batch = batch
        batches(m, here.first_batch + batch).moment = math.inf
        batches(m, here.first_batch + batch).decodes = 0
    here.idle, here.flying, here.waited, here.unseen = pool.depth, 0, 0, pool.look_interval
    here.free_at = here.landing = run.now
    _set_moment(m, replica, math.inf)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        _clear(m, rank)
        while lists(m, run.again).head != NONE:
            _start_again(m, _dequeue(m, run.again))


@compiled
def _clear(m: int, rank: int) -> None:
    """Empty a rank; its requests go to the list of those that start again: those that ran by admission, then those that waited."""
    run, one = fleet(m), ranks(m, rank)
    while one.running > 0:
        slot = NONE
        for which in range(rank * run.classes, (rank + 1) * run.classes):
            other = lists(m, which).head
            if other != NONE and (slot == NONE or slots(m, other).serial < slots(m, slot).serial):
                slot = other
        if slots(m, slot).state == DECODING:
            _part(m, slot)
        elif slots(m, slot).state == LOADING and _is_coming(m, slot):
            _drop(m, run.transfers_at, run.transfers, _find(m, run.transfers_at, slot))
            run.transfers -= 1
        _leave(m, slot)
        _free(m, slot)
        rows(m, slots(m, slot).row).preemptions += 1
        _enqueue(m, run.again, slots(m, slot).row)
    which = _first_waiting(m, rank)
    while which != NONE:
        _enqueue(m, run.again, _dequeue(m, which))
        which = _first_waiting(m, rank)
    while lists(m, run.inboxes_at + rank).head != NONE:
        _enqueue(m, run.again, _dequeue(m, run.inboxes_at + rank))
    slot = lists(m, run.handed_at + rank).head
    while slot != NONE:
        slots(m, slot).state = LOST
        slot = links(m, run.all_slots + slot).after
    for place in range(2 * run.all_ranks, run.all_blocks):
        if blocks(m, place).users != FREE and blocks(m, place).rank == rank:
            _forget(m, place)
    for ring in range(one.ring, one.ring + 2):
        blocks(m, ring).before = blocks(m, ring).after = ring
    for unit in range(one.first_unit, one.first_unit + pools(m, one.pool).depth):
        units(m, unit).heap = 0
        _empty(m, run.ending_at + unit)
    _empty(m, run.prompts_at + rank)
    _empty(m, run.ready_at + rank)
    _empty(m, run.handed_at + rank)
    one.used, one.forming = 0.0, 1
    one.waiting = one.idle = one.hosted = one.requests = 0


@compiled
def _empty(m: int, which: int) -> None:
    lists(m, which).head = lists(m, which).tail = NONE


@compiled
def _is_coming(m: int, slot: int) -> bool:
    """Whether the cache of a slot is on its way, not here already."""
    for place in range(fleet(m).transfers):
        if heap(m, fleet(m).transfers_at + place).what == slot:
            return True
    return False


# The run: see reference.fleet.


@compiled
def _next_moment(m: int) -> float:
    """When something happens next; infinite when nothing will."""
    run = fleet(m)
    if run.awake > 0:
        return run.now
    moment = min(tree(m, 1).moment, _next_arrival(m))
    if run.transfers > 0:
        moment = min(moment, heap(m, run.transfers_at).moment)
    if run.outage < run.all_outages and (moment < math.inf or lists(m, run.hold).head != NONE):
        moment = min(moment, outages(m, run.outage).moment)
    return max(run.now, moment)


@compiled
def _land_all(m: int) -> None:
    """Steps of all replicas that end by now, by index."""
    run = fleet(m)
    while tree(m, 1).moment <= run.now:
        place = 1
        while place < run.leaves:
            place *= 2
            place += tree(m, place).moment > run.now
        _land(m, place - run.leaves)


def serve(m: int, turns: int) -> int:
    """Go on for so many turns; 0 when nothing is left to do. See reference.fleet.Simulation.run."""
    run = fleet(m)
    for _ in range(turns):
        moment = _next_moment(m)
        if moment == math.inf:
            return 0
        run.now = moment
        _land_all(m)
        if run.transfers > 0:
            _receive_caches(m)
        if run.outage < run.all_outages:
            _switch(m)
        _arrive(m)
        replica = 0
        while run.awake > 0:
            if replicas(m, replica).awake:
                replicas(m, replica).awake = 0
                run.awake -= 1
                _schedule(m, replica)
            replica += 1
            if replica == run.all_replicas:
                break
    return 1
