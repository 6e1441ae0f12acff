"""The compiled simulator: the scheduler of `reference`, in one file. `layout` says what its tables hold, `program` keeps its machine code.

Between two events a micro-batch only decodes and contexts grow by a constant a step, so a run of such steps is a series with a closed
form: one flight takes them all, and what comes meanwhile shortens it. Nothing loops over tokens or over the sequences of a batch: a
micro-batch counts its steps (`clock`), its sequences wait in a heap for the step at which they finish or outgrow a window, those that
need a new block at the same step are counted together, and the largest gap of each is read from a stack of maxima when it leaves.

Nothing is allocated while it runs. `m` is the address of the addresses of all tables; where step times and arrivals are multiples of
2^-20 s both simulators give the same bits. All its functions are compiled into `serve`.
"""

import math
from collections.abc import Callable
from inspect import isfunction

from assay.simulate.access import Record, bits, compiled, single, table
from assay.simulate.layout import DECODING, FLYING, FOREVER, FREE, HANDED, HOST, LOADING, LOST, NONE, PROMPT
from assay.simulate.policies import LEAST_LOADED, MIXED, POWER_OF_TWO, PREFILL, PREFIX_AFFINITY, ROUND_ROBIN, STATIC
from assay.simulate.records import GAP_BINS, GAP_SMALLEST

INTERVAL, LATENCY, JOULES = range(3)  # curves
WHOLE, ALONE, BARE = range(3)  # a step as it is, without its prompts, without attending to prefix hits
MIXER = 2654435761  # see reference.router
FIRST_GAP = (1023 - 20) << 7  # exponent and leading bits of the smallest gap

rows, arrivals, inputs, outputs, decodes = map(table, ("rows", "arrivals", "inputs", "outputs", "decodes"))
first_tokens, finishes, openings = map(table, ("first_tokens", "finishes", "openings"))
ids, where, home, blocks = map(table, ("ids", "where", "home", "blocks"))
slots, links, lists, heap, peaks, pools = map(table, ("slots", "links", "lists", "heap", "peaks", "pools"))
reaches, slopes, sizes, samples, replicas, batches = map(table, ("reaches", "slopes", "sizes", "samples", "replicas", "batches"))
units, ranks, targets, outages, tree, gaps = map(table, ("units", "ranks", "targets", "outages", "tree", "gaps"))
all_sums, all_residues, fleet = table("sums"), table("residues"), single("fleet")


def _sums(m: int, unit: int, place: int) -> Record:
    return all_sums(m, unit * fleet(m).reaches + place)


def _residues(m: int, unit: int, place: int, residue: int) -> Record:
    return all_residues(m, (unit * fleet(m).reaches + place) * fleet(m).block_sizes + residue)


def _footprint(m: int, pool: Record, context: int, size: int) -> float:
    """Bytes of cache that `context` tokens take alone, in blocks of `size`: see Policy.footprint."""
    total = 0.0
    for at in range(pool.reaches_at, pool.reaches_at + pool.reaches):
        total += reaches(m, at).bytes * (-(-min(context, reaches(m, at).window) // size) * size)
    return total


def _attended(before: int, chunk: int, window: int) -> float:
    """Pairs of a chunk after `before` cached tokens within `window`: see reference.attended."""
    growing = max(0, min(chunk, window - before))
    rest = chunk - growing
    return growing * before + growing * (growing + 1) / 2 + (rest * window if rest else 0)


def _gap_bin(seconds: float) -> int:
    """Bin of a gap, from its exponent and leading bits: see records.gap_bin."""
    return min((bits(seconds) >> 45) - FIRST_GAP, GAP_BINS - 1) if seconds >= GAP_SMALLEST else 0


def _lasting(constant: float, slope: float, steps: int) -> float:
    """Time of the first steps of a leap."""
    return steps * constant + slope * (steps * (steps - 1) / 2)


def _until(constant: float, slope: float, wait: float, most: int) -> int:
    """The fewest steps, at most `most`, that last at least `wait`."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if _lasting(constant, slope, middle) >= wait:
            high = middle
        else:
            low = middle + 1
    return low


def _link(m: int, which: int, at: int, item: int) -> None:
    """Put an item at the end of a list; its links begin at `at`: of slots that run, slots by state, blocks, rows, micro-batches."""
    one, link = lists(m, which), links(m, at + item)
    link.before, link.after = one.tail, NONE
    if one.tail == NONE:
        one.head = item
    else:
        links(m, at + one.tail).after = item
    one.tail = item


def _unlink(m: int, which: int, at: int, item: int) -> None:
    one, before, after = lists(m, which), links(m, at + item).before, links(m, at + item).after
    if before == NONE:
        one.head = after
    else:
        links(m, at + before).after = after
    if after == NONE:
        one.tail = before
    else:
        links(m, at + after).before = before


def _pop(m: int, which: int, at: int) -> int:
    """Take the first item of a list; NONE when there is none."""
    item = lists(m, which).head
    if item != NONE:
        _unlink(m, which, at, item)
    return item


def _wait(m: int, row: int, rank: int) -> None:
    """A row is seen by the scheduler of a rank, and waits behind the others of its class."""
    _link(m, fleet(m).waits_at + rank * fleet(m).classes + rows(m, row).priority, fleet(m).row_links, row)
    ranks(m, rank).waiting += 1


def _first_waiting(m: int, rank: int) -> int:
    """The list of the row that goes next; NONE when none waits."""
    run = fleet(m)
    for which in range(run.waits_at + rank * run.classes, run.waits_at + (rank + 1) * run.classes):
        if lists(m, which).head != NONE:
            return which
    return NONE


def _sooner(m: int, one: int, other: int) -> bool:
    a, b = heap(m, one), heap(m, other)
    return a.moment < b.moment or (a.moment == b.moment and a.order < b.order)


def _copy(m: int, target: int, source: int) -> None:
    a, b = heap(m, target), heap(m, source)
    a.moment, a.order, a.what = b.moment, b.order, b.what


def _push(m: int, at: int, size: int, moment: float, order: int, what: int) -> None:
    """Add an entry to the heap of `size` entries from `at` on."""
    one, place = heap(m, at + size + 1), size  # the entry after the last is free, for this
    one.moment, one.order, one.what = moment, order, what
    while place > 0 and _sooner(m, at + size + 1, at + (place - 1) // 2):
        _copy(m, at + place, at + (place - 1) // 2)
        place = (place - 1) // 2
    _copy(m, at + place, at + size + 1)


def _drop(m: int, at: int, size: int, place: int) -> None:
    """Take the entry at `place` out: the last one is sifted into its stead."""
    last = at + size - 1
    while place > 0 and _sooner(m, last, at + (place - 1) // 2):
        _copy(m, at + place, at + (place - 1) // 2)
        place = (place - 1) // 2
    child = 2 * place + 1
    while child < size - 1:
        if child + 1 < size - 1 and _sooner(m, at + child + 1, at + child):
            child += 1
        if _sooner(m, last, at + child):
            break
        _copy(m, at + place, at + child)
        place, child = child, 2 * child + 1
    _copy(m, at + place, last)


def _find(m: int, at: int, size: int, what: int) -> int:
    """Where an item is; `size` when it is not there."""
    for place in range(size):
        if heap(m, at + place).what == what:
            return place
    return size


def _set_moment(m: int, replica: int, moment: float) -> None:
    """Say when a replica next does something by itself."""
    place = fleet(m).leaves + replica
    tree(m, place).moment = moment
    while place > 1:
        place //= 2
        tree(m, place).moment = min(tree(m, 2 * place).moment, tree(m, 2 * place + 1).moment)


def _block_of(m: int, block: int, rank: int) -> int:
    """The block of an id on a rank; NONE when it is not there."""
    place = where(m, block).block
    while place != NONE and blocks(m, place).rank != rank:
        place = blocks(m, place).chain
    return place


def _forget(m: int, place: int) -> None:
    """A block is nowhere any more."""
    one, other = blocks(m, place), where(m, blocks(m, place).id).block
    if other == place:
        where(m, one.id).block = one.chain
    else:
        while blocks(m, other).chain != place:
            other = blocks(m, other).chain
        blocks(m, other).chain = one.chain
    one.users = FREE
    _link(m, fleet(m).free_blocks, fleet(m).block_links, place)


def _busy(m: int, rank: int) -> float:
    """Bytes that sequences hold: all in use but for blocks without a user."""
    return ranks(m, rank).used - ranks(m, rank).idle * pools(m, ranks(m, rank).pool).block_bytes


def _fits(m: int, rank: int, size: float) -> bool:
    return _busy(m, rank) + size <= pools(m, ranks(m, rank).pool).kv_capacity


def _take(m: int, rank: int, size: float) -> None:
    """Take bytes that fit: as needed the block unused longest goes, to host memory where there is some."""
    one, run = ranks(m, rank), fleet(m)
    pool = pools(m, one.pool)
    one.used += size
    while one.used > pool.kv_capacity:
        place = _pop(m, run.idle_at + rank, run.block_links)
        one.idle -= 1
        one.used -= pool.block_bytes
        if pool.host_blocks == 0:
            _forget(m, place)
            continue
        if one.hosted == pool.host_blocks:
            _forget(m, _pop(m, run.hosted_at + rank, run.block_links))
            one.hosted -= 1
        blocks(m, place).users = HOST
        _link(m, run.hosted_at + rank, run.block_links, place)
        one.hosted += 1
    one.most = max(one.most, _busy(m, rank))


def _acquire(m: int, place: int, rank: int) -> None:
    """Become a user of a block that is here or in host memory."""
    one, block, run = ranks(m, rank), blocks(m, place), fleet(m)
    if block.users == HOST:
        _unlink(m, run.hosted_at + rank, run.block_links, place)
        block.users, one.hosted, one.used = 0, one.hosted - 1, one.used + pools(m, one.pool).block_bytes
    elif block.users == 0:
        _unlink(m, run.idle_at + rank, run.block_links, place)
        one.idle -= 1
    block.users += 1


def _publish(m: int, slot: int) -> None:
    """Share the whole blocks of a prompt that are computed by now; where one is here already, the copy is freed."""
    one, run = slots(m, slot), fleet(m)
    row = rows(m, one.row)
    while one.shared < min(row.blocks, one.computed // run.prefix_block):
        block = ids(m, row.first_block + one.shared).id
        place = _block_of(m, block, one.rank)
        if place == NONE:
            place = lists(m, run.free_blocks).tail
            _unlink(m, run.free_blocks, run.block_links, place)
            new = blocks(m, place)
            new.id, new.rank, new.chain, new.users, where(m, block).block = block, one.rank, where(m, block).block, 1, place
        else:
            _acquire(m, place, one.rank)
            ranks(m, one.rank).used -= pools(m, ranks(m, one.rank).pool).block_bytes
        blocks(m, place).here = 0.0
        one.shared += 1


def _crossing(one: Record, window: int) -> int:
    """Clock at which a decoding sequence has more tokens than a window."""
    if window == FOREVER:
        return FOREVER
    return one.joined + (int((window - one.context) / one.rate) + 1 if one.context <= window else 0)


def _held(m: int, slot: int) -> float:
    """Bytes that a slot holds, shared blocks included."""
    one = slots(m, slot)
    pool, held, clock = pools(m, ranks(m, one.rank).pool), one.reserved, batches(m, one.batch).clock
    if one.state == DECODING and pool.width == 1:
        return _footprint(m, pool, int(one.context) + clock - one.joined - 1, pool.block_size)
    for place in range(pool.reaches if one.state == DECODING else 0):
        reach = reaches(m, pool.reaches_at + place)
        until = clock if place >= one.crossed else max(one.joined, _crossing(one, reach.window))
        held += reach.bytes * one.rate * (until - one.joined)
    return held


def _give_back(m: int, slot: int) -> None:
    """Give back all memory of a slot; the first block of a prompt is the last to be evicted."""
    one, run = slots(m, slot), fleet(m)
    rank, start = ranks(m, one.rank), rows(m, one.row).first_block
    rank.used -= _held(m, slot) - one.shared * pools(m, rank.pool).block_bytes
    for at in range(start + one.shared - 1, start - 1, -1):
        place = _block_of(m, ids(m, at).id, one.rank)
        blocks(m, place).users -= 1
        if blocks(m, place).users == 0:
            _link(m, run.idle_at + one.rank, run.block_links, place)
            rank.idle += 1


def _leave(m: int, slot: int) -> None:
    one, which = ranks(m, slots(m, slot).rank), slots(m, slot).rank * fleet(m).classes + rows(m, slots(m, slot).row).priority
    _unlink(m, which, 0, slot)
    one.running, one.promised = one.running - 1, one.promised - slots(m, slot).promise
    replicas(m, one.replica).running -= 1
    if slots(m, slot).state != HANDED:
        _free(m, slot)


def _free(m: int, slot: int) -> None:
    slots(m, slot).state = FLYING
    _link(m, fleet(m).free_slots, fleet(m).state_links, slot)


def _start_prompt(m: int, slot: int) -> None:
    slots(m, slot).state = PROMPT
    _link(m, fleet(m).prompts_at + slots(m, slot).rank, fleet(m).state_links, slot)


def _count_in(m: int, slot: int, place: int, sign: int) -> None:
    """Count a sequence among those that grow within a reach, or no more."""
    one = slots(m, slot)
    pool = pools(m, ranks(m, one.rank).pool)
    _sums(m, one.unit, place).grown += sign * one.rate
    if pool.width == 1:
        _residues(m, one.unit, place, (one.joined - int(one.context) + 1) % pool.block_size).count += sign


def _watch(m: int, slot: int) -> None:
    """Put a decoding sequence into its unit's heap, at the clock at which it finishes or outgrows a window: those it has grow no more."""
    one, clock = slots(m, slot), slots(m, slot).end
    unit, pool, known = units(m, one.unit), pools(m, ranks(m, one.rank).pool), one.context
    known += one.rate * (batches(m, one.batch).clock - one.joined)
    while one.crossed < pool.reaches and reaches(m, pool.reaches_at + one.crossed).window < known:
        _sums(m, one.unit, one.crossed).context -= known - reaches(m, pool.reaches_at + one.crossed).window
        _count_in(m, slot, one.crossed, -1)
        one.crossed += 1
    if one.crossed < pool.reaches:
        clock = min(clock, _crossing(one, reaches(m, pool.reaches_at + one.crossed).window))
    _push(m, unit.heap_at, unit.heap, float(clock), one.serial, slot)
    unit.heap += 1


def _join(m: int, slot: int, batch: int, unit: int) -> None:
    """A sequence decodes in a micro-batch from its next step on."""
    one, row = slots(m, slot), rows(m, slots(m, slot).row)
    one.state, one.batch, one.unit, one.joined, one.emitted = DECODING, batch, unit, batches(m, batch).clock, row.emitted
    one.rate, one.gap, one.crossed, one.fresh = 1.0 + row.faster, row.largest_gap, 0, 1
    one.context = inputs(m, one.row).tokens + 1 + one.rate * (row.emitted - 1)
    one.end = one.joined + 1 + decodes(m, one.row).steps - row.emitted
    for place in range(pools(m, ranks(m, one.rank).pool).reaches):
        _sums(m, unit, place).context += one.context
        _count_in(m, slot, place, 1)
    _link(m, fleet(m).fresh_at + unit, fleet(m).state_links, slot)
    units(m, unit).count += 1
    batches(m, batch).count += 1
    replicas(m, ranks(m, one.rank).replica).decoding += 1
    _watch(m, slot)


def _part(m: int, slot: int) -> None:
    """A sequence decodes no more: its row says how far it is. Its heap entry is for the caller to drop, its memory to give back."""
    one, row = slots(m, slot), rows(m, slots(m, slot).row)
    batch, pool = batches(m, one.batch), pools(m, ranks(m, one.rank).pool)
    steps = batch.clock - one.joined
    for place in range(pool.reaches):
        if place < one.crossed:
            _sums(m, one.unit, place).context -= reaches(m, pool.reaches_at + place).window
        else:
            _sums(m, one.unit, place).context -= one.context + one.rate * steps
            _count_in(m, slot, place, -1)
    row.emitted, row.largest_gap = one.emitted + steps, one.gap
    if one.fresh:
        _unlink(m, fleet(m).fresh_at + one.unit, fleet(m).state_links, slot)
    else:
        row.last, at = batch.last, _first_peak(m, one.batch, one.joined + 1)
        row.largest_gap = max(one.gap, peaks(m, at).gap) if at < batch.stack_at + batch.peaks else one.gap
    units(m, one.unit).count -= 1
    batch.count -= 1
    replicas(m, ranks(m, one.rank).replica).decoding -= 1


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


def _raise(m: int, batch: int, step: int, gap: float) -> None:
    """Note the gap of a step."""
    one = batches(m, batch)
    if one.peaks == one.room:
        _thin_out(m, batch)
    while one.peaks > 0 and peaks(m, one.stack_at + one.peaks - 1).gap <= gap:
        one.peaks -= 1
    peaks(m, one.stack_at + one.peaks).step, peaks(m, one.stack_at + one.peaks).gap = step, gap
    one.peaks += 1


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


def _growth(m: int, rank: int, unit: int, clock: int, steps: int) -> float:
    """Bytes that the sequences of a unit take in steps from `clock` on."""
    pool, total = pools(m, ranks(m, rank).pool), 0.0
    size = pool.block_size
    for place in range(pool.reaches):
        each, grown = reaches(m, pool.reaches_at + place).bytes, _sums(m, unit, place).grown
        if pool.width > 1:
            total += each * grown * steps
            continue
        count = steps // size * int(grown)
        for step in range(steps % size):
            count += _residues(m, unit, place, (clock + step) % size).count
        total += each * size * count
    return total


def _preempt_last(m: int, rank: int) -> None:
    """The sequence of the lowest class admitted last that is in no step gives way, to be computed again before all others."""
    run, which, slot = fleet(m), (rank + 1) * fleet(m).classes, NONE
    while slot == NONE:
        which -= 1
        slot = lists(m, which).tail
        while (
            slot != NONE
            and slots(m, slot).state != PROMPT
            and (slots(m, slot).state != DECODING or batches(m, slots(m, slot).batch).decodes)
        ):
            slot = links(m, slot).before
    one, queue = slots(m, slot), lists(m, run.waits_at + which)
    _give_back(m, slot)
    if one.state == PROMPT:
        _unlink(m, run.prompts_at + rank, run.state_links, slot)
    else:
        unit = units(m, one.unit)
        _drop(m, unit.heap_at, unit.heap, _find(m, unit.heap_at, unit.heap, slot))
        unit.heap -= 1
        _part(m, slot)
    _leave(m, slot)
    rows(m, one.row).preemptions += 1
    links(m, run.row_links + one.row).before, links(m, run.row_links + one.row).after = NONE, queue.head
    if queue.head == NONE:
        queue.tail = one.row
    else:
        links(m, run.row_links + queue.head).before = one.row
    queue.head = one.row
    ranks(m, rank).waiting += 1


def _hold(m: int, row: int, rank: int) -> int:
    """Admit a row if there is room for its whole prompt, after what of it is cached but its last token; its slot, or NONE."""
    one, request, run = ranks(m, rank), rows(m, row), fleet(m)
    pool, prompt = pools(m, one.pool), inputs(m, row).tokens
    prompt = int(prompt + 1 + (1.0 + request.faster) * (request.emitted - 1)) if request.emitted > 0 else prompt
    needed = _footprint(m, pool, prompt + pool.width - 1, pool.block_size)
    longest = max(prompt + pool.width - 1, inputs(m, row).tokens + int(pool.reserve * outputs(m, row).tokens))
    promise = _footprint(m, pool, longest, pool.block_size) if pool.reserve > 0 else 0.0
    shared = used = hosted = most = 0
    if pool.caches and request.source == 0 and request.blocks > 0:
        most = min(request.blocks, (prompt - 1) // run.prefix_block)
    while shared < most:
        place = _block_of(m, ids(m, request.first_block + shared).id, rank)
        if place == NONE:
            break
        used += blocks(m, place).users > 0
        hosted += blocks(m, place).users == HOST
        shared += 1
    if (one.running > 0 and one.promised + promise > pool.kv_capacity) or not _fits(m, rank, needed - used * pool.block_bytes):
        return NONE
    if request.source > 0 or hosted > 0:  # over the link of the rank, or from host memory, after what was called for before
        seconds = _footprint(m, pool, prompt, 1) / run.link_bandwidth
        one.link_free = max(run.now, one.link_free) + (seconds if hosted == 0 else hosted * pool.block_bytes / pool.host_bandwidth)
    here = one.link_free + run.link_latency if request.source > 0 else 0.0
    for at in range(request.first_block, request.first_block + shared):
        block = blocks(m, _block_of(m, ids(m, at).id, rank))
        block.here = one.link_free if block.users == HOST else block.here
        here = max(here, block.here)
        _acquire(m, _block_of(m, ids(m, at).id, rank), rank)
    _take(m, rank, needed - shared * pool.block_bytes)
    slot = lists(m, run.free_slots).tail  # the one freed last: it is still in the processor's cache
    _unlink(m, run.free_slots, run.state_links, slot)
    _link(m, rank * run.classes + request.priority, 0, slot)
    one.running, one.promised, new = one.running + 1, one.promised + promise, slots(m, slot)
    replicas(m, one.replica).running += 1
    new.row, new.rank, new.serial, new.fresh, new.state = row, rank, run.admissions, 0, FLYING
    new.prompt, new.reserved, new.promise, new.shared, new.computed = prompt, needed, promise, shared, shared * run.prefix_block
    new.hit, run.admissions = new.computed, run.admissions + 1
    if request.source == 0 and request.preemptions == 0:
        request.prefix_hit = new.hit
    if request.source > 0 or here > run.now:
        new.state = LOADING
        _push(m, run.transfers_at, run.transfers, here, run.tickets, slot)
        run.transfers, run.tickets = run.transfers + 1, run.tickets + 1
    return slot


def _plan(m: int, rank: int, batch: int, unit: int, prompts: bool, decoding: bool) -> None:
    """Fill a step of a micro-batch: decodes, prompts under way, and requests that can be admitted: see reference.rank."""
    one, group, run = ranks(m, rank), units(m, unit), fleet(m)
    pool = pools(m, one.pool)
    one.tokens = one.sampled = one.decoders = one.prompted = one.gave_way = 0
    quota = -(-min(one.running + one.waiting, pool.max_num_seqs) // pool.depth)
    while lists(m, run.ready_at + rank).head != NONE and group.count < quota:
        _join(m, _pop(m, run.ready_at + rank, run.state_links), batch, unit)
    if decoding and group.count > 0:
        growth = _growth(m, rank, unit, batches(m, batch).clock, 1)
        while not _fits(m, rank, growth):
            one.gave_way = replicas(m, one.replica).pending = 1
            _preempt_last(m, rank)
            growth = _growth(m, rank, unit, batches(m, batch).clock, 1)
        if growth > 0:
            _take(m, rank, growth)
        one.decoders = group.count
        one.tokens = one.sampled = group.count * pool.width
    for place in range(pool.reaches):
        work = _sums(m, unit, place)
        work.decode = work.context if one.decoders > 0 else 0.0
        work.pairs = work.reread = work.bare_pairs = work.bare_reread = 0.0
    if prompts and (one.waiting > 0 or lists(m, run.prompts_at + rank).head != NONE):
        _fill(m, rank, batch, unit, max(quota - group.count, 0))


def _fill(m: int, rank: int, batch: int, unit: int, places: int) -> None:
    """Chunks of the prompts under way, then of those that can be admitted."""
    one, run = ranks(m, rank), fleet(m)
    pool, slot, left = pools(m, one.pool), lists(m, run.prompts_at + rank).head, pools(m, one.pool).token_budget - one.tokens
    if pool.batching == STATIC and one.running == 0:
        one.forming = 1
    while slot != NONE:
        missing, following = slots(m, slot).prompt - slots(m, slot).computed, links(m, run.state_links + slot).after
        if left == 0 or (missing <= left and places == 0):
            break
        left, places = left - _add_chunk(m, slot, min(missing, left), batch, unit), places - (missing <= left)
        slot = following
    while not one.gave_way and (pool.batching != STATIC or one.forming):
        which = _first_waiting(m, rank)
        if which == NONE:
            break
        row = lists(m, which).head
        source = rows(m, row).source
        if source > 0 and slots(m, source).state == LOST:
            one.waiting, one.requests = one.waiting - 1, one.requests - 1
            _start_again(m, _pop(m, which, run.row_links))
            continue
        if one.running == pool.max_num_seqs or (source == 0 and (left == 0 or places == 0)):
            break
        slot = _hold(m, row, rank)
        if slot == NONE:
            break
        _pop(m, which, run.row_links)
        one.waiting -= 1
        if slots(m, slot).state != LOADING:
            _start_prompt(m, slot)
            missing = slots(m, slot).prompt - slots(m, slot).computed
            left, places = left - _add_chunk(m, slot, min(missing, left), batch, unit), places - (missing <= left)
    one.prompted, one.tokens = pool.token_budget - one.tokens - left, pool.token_budget - left


def _add_chunk(m: int, slot: int, chunk: int, batch: int, unit: int) -> int:
    """Put a chunk into the step: its P and R, with and without prefix hits; its blocks can be shared; a prompt that it ends samples."""
    one, run = slots(m, slot), fleet(m)
    rank, before, bare = ranks(m, one.rank), one.computed, one.computed - one.hit
    pool = pools(m, rank.pool)
    for place in range(pool.reaches):
        work, window = _sums(m, unit, place), reaches(m, pool.reaches_at + place).window
        work.pairs += _attended(before, chunk, window)
        work.reread += min(before, window)
        work.bare_pairs += _attended(bare, chunk, window)
        work.bare_reread += min(bare, window)
    one.computed += chunk
    if pool.caches and rows(m, one.row).blocks > 0:
        _publish(m, slot)
    if one.computed == one.prompt:
        rank.sampled += 1
        _unlink(m, run.prompts_at + one.rank, run.state_links, slot)
        one.state, one.batch = FLYING, batch
        _link(m, run.ending_at + unit, run.state_links, slot)
    return chunk


def _schedule(m: int, replica: int) -> None:
    """Start the next step when the first stage is free and there is something to do: see reference.replica."""
    here, run = replicas(m, replica), fleet(m)
    pool, having = pools(m, here.pool), 0
    if here.free_at > run.now or lists(m, run.turns_at + 2 * replica).head == NONE:
        return
    here.looked, here.pending, busy = here.unseen >= pool.look_interval or here.decoding == 0, 0, here.decoding
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        busy += ranks(m, rank).waiting > 0 or lists(m, run.prompts_at + rank).head != NONE
    until = here.planned if pool.overlap and busy > 0 else math.inf
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        inbox = run.inboxes_at + rank
        while here.looked and lists(m, inbox).head != NONE and rows(m, lists(m, inbox).head).came <= until:
            _wait(m, _pop(m, inbox, run.row_links), rank)
        having += ranks(m, rank).waiting > 0 or lists(m, run.prompts_at + rank).head != NONE
        here.pending += lists(m, run.ready_at + rank).head != NONE
    here.held = 0 < having < pool.ranks and here.decoding > 0 and here.waited < pool.prefill_wait
    here.pending += having
    while True:
        batch = lists(m, run.turns_at + 2 * replica).head
        while batch != NONE and ((here.pending == 0 and batches(m, batch).count == 0) or not _try(m, replica, batch - here.first_batch)):
            batch = links(m, run.batch_links + batch).after
        if batch != NONE or not here.held:
            break
        here.held = 0  # those that decoded gave way
    if batch != NONE:
        _issue(m, replica, batch - here.first_batch)
        _unlink(m, run.turns_at + 2 * replica, run.batch_links, batch)
        _link(m, run.turns_at + 2 * replica + 1, run.batch_links, batch)
        _set_moment(m, replica, min(batches(m, lists(m, run.turns_at + 2 * replica + 1).head).moment, here.free_at))


def _try(m: int, replica: int, batch: int) -> bool:
    """Fill a step of a micro-batch; False when there is nothing to do."""
    here = replicas(m, replica)
    pool, prompts = pools(m, here.pool), here.held == 0
    decoding = pool.batching == MIXED or not prompts
    while True:
        here.mixed = here.tokens = 0
        for rank in range(here.first_rank, here.first_rank + pool.ranks):
            _plan(m, rank, here.first_batch + batch, ranks(m, rank).first_unit + batch, prompts, decoding)
            here.mixed |= ranks(m, rank).prompted > 0
            here.tokens += ranks(m, rank).tokens
        if here.mixed or decoding:
            return here.tokens > 0
        prompts, decoding = False, True


def _own(m: int, rank: int, unit: int, curve: int, part: int) -> float:
    """Time or energy of what a rank does in the step at hand, or of a part of it: see steptime.total."""
    one = ranks(m, rank)
    pool, tokens, sampled, mixed = pools(m, one.pool), one.tokens, one.sampled, one.prompted > 0 and part != ALONE
    if part == ALONE:
        tokens = sampled = one.decoders * pool.width
    if tokens == 0:
        return 0.0
    size = sizes(m, 3 * (pool.sizes_at + tokens) + curve)
    seconds = (size.mixed if mixed else size.decode) + samples(m, 3 * (pool.samples_at + sampled) + curve).each
    if pool.draft > 0:
        seconds += samples(m, 3 * (pool.draft_at + one.decoders) + curve).each
    for place in range(pool.reaches):
        slope, work = slopes(m, 3 * (pool.reaches_at + place) + curve), _sums(m, unit, place)
        seconds += slope.decode * work.decode
        if mixed:
            pairs, reread = (work.bare_pairs, work.bare_reread) if part == BARE else (work.pairs, work.reread)
            seconds += max(slope.pairs * pairs + slope.reread * reread, slope.pairs2 * pairs + slope.reread2 * reread)
    return seconds


def _whole(m: int, replica: int, batch: int, curve: int, part: int) -> float:
    """Time of the slowest rank, or energy of all, in the step at hand or a part of it, and of what they spend together."""
    here, whole, tokens = replicas(m, replica), -1.0, 0
    pool, mixed = pools(m, here.pool), here.mixed and part != ALONE
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        one, own = ranks(m, rank), _own(m, rank, ranks(m, rank).first_unit + batch, curve, part)
        tokens += one.decoders * pool.width if part == ALONE else one.tokens
        if curve == INTERVAL and part == WHOLE:
            one.interval, here.slowest = own, rank if own > whole else here.slowest
        whole = max(whole, 0.0) + own if curve == JOULES else max(whole, own)
    if pool.joint > 0 and tokens > 0:
        size = sizes(m, 3 * (pool.joint_at + tokens) + curve)
        whole += size.mixed if mixed else size.decode
    return whole


def _issue(m: int, replica: int, batch: int) -> None:
    """Start a step, or of steps without prompts all up to the next event; their tokens exist after the latency."""
    here, run = replicas(m, replica), fleet(m)
    pool, flight, busy = pools(m, here.pool), batches(m, here.first_batch + batch), 0.0
    interval, here.joules = _whole(m, replica, batch, INTERVAL, WHOLE), _whole(m, replica, batch, JOULES, WHOLE)
    here.planned = here.start = run.now
    here.slope, here.joules_slope, here.ran, here.leap = 0.0, 0.0, here.running, 0
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        busy = max(busy, _busy(m, rank))
        if ranks(m, rank).decoders > 0:
            flight.decodes, ranks(m, rank).forming = 1, 0
    spill = pool.spill * max(0.0, busy - pool.spill_after) if pool.spill > 0 else 0.0
    here.constant, here.unseen = interval + spill, 0 if here.looked else here.unseen
    if here.mixed:
        here.unseen, here.waited = pool.look_interval, 0
        run.prefill += interval - _whole(m, replica, batch, INTERVAL, ALONE)
        run.cached += interval - _whole(m, replica, batch, INTERVAL, BARE) if pool.caches else 0.0
    elif pool.depth == 1:
        here.leap = _leap(m, replica, busy)
    if here.leap < 2:
        here.leap = 0
        _account(m, replica, batch, 1)
        here.unseen += not here.mixed
        here.waited += here.held
    here.free_at = flight.moment = run.now + _lasting(here.constant, here.slope, max(here.leap, 1))
    if pool.depth > 1:  # no step overtakes another in the pipeline
        here.landing = flight.moment = max(run.now + (_whole(m, replica, batch, LATENCY, WHOLE) + spill), here.landing)


def _leap(m: int, replica: int, busy: float) -> int:
    """Steps without prompts until a sequence finishes or outgrows a window, memory is full, or something else may change what runs."""
    here, run = replicas(m, replica), fleet(m)
    pool, clock, steps, having = pools(m, here.pool), batches(m, here.first_batch).clock, FOREVER, 0
    if here.held:
        steps = pool.prefill_wait - here.waited
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        unit = units(m, ranks(m, rank).first_unit)
        if unit.count > 0:
            steps = min(steps, int(heap(m, unit.heap_at).moment) - clock)
        if ranks(m, rank).gave_way:
            steps = 1  # none was admitted in this step, the next one may do so
        if lists(m, run.inboxes_at + rank).head != NONE:
            steps = min(steps, pool.look_interval - here.unseen)
        having += ranks(m, rank).waiting > 0 or lists(m, run.prompts_at + rank).head != NONE
        ranks(m, rank).slope = 0.0
        for place in range(pool.reaches if ranks(m, rank).decoders > 0 else 0):
            slope, grown = 3 * (pool.reaches_at + place), _sums(m, ranks(m, rank).first_unit, place).grown
            ranks(m, rank).slope += slopes(m, slope + INTERVAL).decode * grown
            here.joules_slope += slopes(m, slope + JOULES).decode * grown
    if not here.held and 0 < having < pool.ranks and here.waited < pool.prefill_wait:
        steps = 1  # after what was admitted in this step prompts wait in the next one
    here.slope = ranks(m, here.slowest).slope
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        lead, loses = ranks(m, here.slowest).interval - ranks(m, rank).interval, ranks(m, rank).slope - here.slope
        while steps > 1 and loses > 0 and (loses * (steps - 1) > lead or (loses * (steps - 1) == lead and rank < here.slowest)):
            steps //= 2
        growth = _growth(m, rank, ranks(m, rank).first_unit, clock + 1, steps - 1)
        while steps > 1 and not _fits(m, rank, growth):
            steps //= 2
            growth = _growth(m, rank, ranks(m, rank).first_unit, clock + 1, steps - 1)
        if pool.spill > 0 and busy + growth > pool.spill_after:
            steps = 1
    return steps


def _account(m: int, replica: int, batch: int, steps: int) -> None:
    """Count steps that were issued: see reference.replica and Tally."""
    here, run = replicas(m, replica), fleet(m)
    pool, one, seconds = pools(m, here.pool), ranks(m, here.slowest), _lasting(here.constant, here.slope, steps)
    run.steps += steps
    run.busy += seconds
    run.batch += seconds * here.ran
    run.joules += _lasting(here.joules, here.joules_slope, steps)
    sizes(m, 3 * (pool.sizes_at + one.tokens) + (one.prompted > 0)).steps += steps
    samples(m, 3 * (pool.samples_at + one.sampled)).steps += steps
    if pool.draft > 0:
        samples(m, 3 * (pool.draft_at + one.decoders)).steps += steps
    if pool.joint > 0:
        sizes(m, 3 * (pool.joint_at + here.tokens) + here.mixed).steps += steps
    for place in range(pool.reaches):
        slope, work = slopes(m, 3 * (pool.reaches_at + place) + LATENCY), _sums(m, one.first_unit + batch, place)
        reaches(m, pool.reaches_at + place).sum_decode += _lasting(work.decode, work.grown if steps > 1 else 0.0, steps)
        first, second = slope.pairs * work.pairs + slope.reread * work.reread, slope.pairs2 * work.pairs + slope.reread2 * work.reread
        pool.line += first if first >= second else 0.0
        pool.line2 += second if second > first else 0.0


def _interrupt(m: int, replica: int, looked_for: bool) -> None:
    """Something comes now: a leap ends with the step during which it does; if it is a request, with the step before the next look."""
    here, run = replicas(m, replica), fleet(m)
    if here.leap < 2 or here.free_at <= run.now:
        return
    steps, interval = _until(here.constant, here.slope, run.now - here.start, here.leap), pools(m, here.pool).look_interval
    if looked_for:
        steps, first = steps + pools(m, here.pool).overlap, interval - here.unseen
        steps = first + max(0, -(-(steps - first) // interval)) * interval
    if steps < here.leap:
        here.leap = steps
        here.free_at = batches(m, here.first_batch).moment = here.start + _lasting(here.constant, here.slope, steps)
        _set_moment(m, replica, here.free_at)


def _land(m: int, replica: int) -> None:
    """Steps whose latency has passed give their tokens."""
    here, run, moment = replicas(m, replica), fleet(m), math.inf
    idle, flying = run.turns_at + 2 * replica, run.turns_at + 2 * replica + 1
    while lists(m, flying).head != NONE and batches(m, lists(m, flying).head).moment <= run.now:
        batch, steps = _pop(m, flying, run.batch_links), max(here.leap, 1)
        if here.leap > 0:
            _end_leap(m, replica, steps)
        _link(m, idle, run.batch_links, batch)
        _give_tokens(m, replica, batch - here.first_batch, steps)
    if lists(m, flying).head != NONE:
        moment = batches(m, lists(m, flying).head).moment
    _set_moment(m, replica, min(moment, here.free_at) if here.free_at > run.now else moment)
    _wake(m, replica)


def _end_leap(m: int, replica: int, steps: int) -> None:
    """Count the steps of a leap, and the memory that they took after the first."""
    here = replicas(m, replica)
    pool = pools(m, here.pool)
    _account(m, replica, 0, steps)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        growth = _growth(m, rank, ranks(m, rank).first_unit, batches(m, here.first_batch).clock + 1, steps - 1)
        if growth > 0:
            _take(m, rank, growth)
    here.planned = here.start + _lasting(here.constant, here.slope, steps - 1)
    here.unseen, here.leap = (here.unseen + steps - 1) % pool.look_interval + 1, 0
    here.waited += here.held * steps


def _wake(m: int, replica: int) -> None:
    """Let a replica look whether it can start a step, in this instant."""
    here = replicas(m, replica)
    if here.up and not here.awake:
        here.awake, fleet(m).awake = 1, fleet(m).awake + 1


def _give_tokens(m: int, replica: int, batch: int, steps: int) -> None:
    """Tokens of a flight exist: of all ranks first those of decodes, then those of prompts that ended."""
    here, run = replicas(m, replica), fleet(m)
    flight, last = batches(m, here.first_batch + batch), here.first_rank + pools(m, here.pool).ranks
    moment, flight.moment = flight.moment, math.inf
    if flight.decodes:
        flight.decodes = 0
        _count_gaps(m, replica, batch, steps, moment)
        flight.clock, flight.last = flight.clock + steps, moment
        for rank in range(here.first_rank, last):
            unit = ranks(m, rank).first_unit + batch
            for place in range(pools(m, here.pool).reaches):
                _sums(m, unit, place).context += _sums(m, unit, place).grown * steps
            _finish_due(m, unit, flight.clock, moment)
    for rank in range(here.first_rank, last):
        unit = ranks(m, rank).first_unit + batch
        while lists(m, run.ending_at + unit).head != NONE:
            _end_prompt(m, _pop(m, run.ending_at + unit, run.state_links), here.first_batch + batch, unit, moment)


def _count_gaps(m: int, replica: int, batch: int, steps: int, moment: float) -> None:
    """Gaps before the tokens of a flight: the first one of each sequence, then equal ones or such as grow evenly."""
    here, run, flight = replicas(m, replica), fleet(m), batches(m, replicas(m, replica).first_batch + batch)
    count, common, step = flight.count, flight.count, 1
    first = here.start + here.constant if steps > 1 else moment
    for rank in range(here.first_rank, here.first_rank + pools(m, here.pool).ranks):
        unit = ranks(m, rank).first_unit + batch
        while lists(m, run.fresh_at + unit).head != NONE:
            one = slots(m, _pop(m, run.fresh_at + unit, run.state_links))
            gap = first - rows(m, one.row).last
            gaps(m, _gap_bin(gap)).count += 1
            one.gap, one.fresh = max(one.gap, gap), 0
            common -= 1
    gaps(m, _gap_bin(first - flight.last)).count += common
    _raise(m, here.first_batch + batch, flight.clock, first - flight.last)
    if steps > 1:
        _raise(m, here.first_batch + batch, flight.clock + steps - 1, here.constant + here.slope * (steps - 1))
    while step < steps:  # gap i is constant + slope i: those that share a bin are counted at once
        held, low, high = _gap_bin(here.constant + here.slope * step), step + 1, steps
        while low < high:
            middle = (low + high) // 2
            if _gap_bin(here.constant + here.slope * middle) == held:
                low = middle + 1
            else:
                high = middle
        gaps(m, held).count += count * (low - step)
        step = low


def _finish_due(m: int, unit: int, clock: int, moment: float) -> None:
    """Of the sequences of a unit those with all their tokens leave, in order of admission; those that outgrow a window are noted."""
    group = units(m, unit)
    while group.heap > 0 and heap(m, group.heap_at).moment <= clock:
        slot = heap(m, group.heap_at).what
        _drop(m, group.heap_at, group.heap, 0)
        group.heap -= 1
        if slots(m, slot).end > clock:
            _watch(m, slot)
        else:
            _give_back(m, slot)
            _part(m, slot)
            _finish(m, slot, moment)


def _finish(m: int, slot: int, moment: float) -> None:
    """A request has all its tokens; its memory is given back already."""
    row = slots(m, slot).row
    finishes(m, row).moment = moment
    ranks(m, slots(m, slot).rank).requests -= 1
    _leave(m, slot)
    _ended(m, row, moment)


def _end_prompt(m: int, slot: int, batch: int, unit: int, moment: float) -> None:
    """A prompt is computed: its sequence decodes from now on, or its cache stays until a decode rank has fetched it."""
    one, row, run = slots(m, slot), rows(m, slots(m, slot).row), fleet(m)
    last = row.emitted == decodes(m, one.row).steps
    if not last and pools(m, ranks(m, one.rank).pool).role == PREFILL:
        one.state, row.source = HANDED, slot
        _leave(m, slot)
        ranks(m, one.rank).requests -= 1
        _link(m, run.handed_at + one.rank, run.state_links, slot)
        _route(m, one.row)
        return
    _give_first(m, one.row, moment)
    if last:
        _give_back(m, slot)
        _finish(m, slot, moment)
    else:
        _join(m, slot, batch, unit)


def _give_first(m: int, row: int, moment: float) -> None:
    """The token after a prompt: the first of the request, or the next one after a recomputation."""
    one = rows(m, row)
    if one.emitted > 0:
        gaps(m, _gap_bin(moment - one.last)).count += 1
        one.largest_gap = max(one.largest_gap, moment - one.last)
    else:
        first_tokens(m, row).moment = moment
    one.last = moment
    one.emitted += 1


def _ended(m: int, row: int, moment: float) -> None:
    """A request ended: its session goes on after a time to think, or its user begins another."""
    run, sent = fleet(m), rows(m, row).following
    run.ended += 1
    if sent > 0:
        moment += rows(m, sent).think
    elif run.users > 0 and run.next < run.openings:
        sent = openings(m, run.next).row
        run.next += 1
    else:
        return
    arrivals(m, sent).moment = moment
    _push(m, run.arrivals_at, run.arrivals, moment + run.delay, sent, sent)
    run.arrivals += 1


def _next_arrival(m: int) -> tuple[float, int]:
    """When a scheduler sees the next request, and its row: in an open loop the next one in order, or one that was sent meanwhile."""
    run, moment, row, sent = fleet(m), math.inf, fleet(m).requests, heap(m, fleet(m).arrivals_at)
    if run.users == 0 and run.next < run.openings:
        row = openings(m, run.next).row
        moment = arrivals(m, row).moment + run.delay
    if run.arrivals > 0 and (sent.moment < moment or (sent.moment == moment and sent.order < row)):
        return sent.moment, sent.what
    return moment, row


def _arrive(m: int) -> None:
    """Requests that are seen by now are routed, by moment and row."""
    run = fleet(m)
    moment, row = _next_arrival(m)
    while moment <= run.now:
        if run.arrivals > 0 and heap(m, run.arrivals_at).what == row:
            _drop(m, run.arrivals_at, run.arrivals, 0)
            run.arrivals -= 1
        else:
            run.next += 1
        _route(m, row)
        moment, row = _next_arrival(m)


def _route(m: int, row: int) -> None:
    """Send a request to a rank; hold it while none is up, reject it when it could not run there alone."""
    run, one = fleet(m), rows(m, row)
    handed = one.source > 0
    first, count = (run.all_ranks, run.decode_targets) if handed else (0, run.prompt_targets)
    if count == 0:
        _link(m, run.hold, run.row_links, row)
        return
    rank = targets(m, first + targets(m, first).turns % count).rank
    targets(m, first).turns += 1
    if run.routing != ROUND_ROBIN:
        rank = _choose(m, row, first, count)
    if run.routing == PREFIX_AFFINITY and not handed:
        for at in range(one.first_block, one.first_block + one.blocks):
            home(m, ids(m, at).id).rank = rank
    if not _can_run(m, row, rank):
        first_tokens(m, row).moment = math.nan
        _ended(m, row, run.now)
        return
    to = ranks(m, rank)
    to.requests, one.came, at_once = to.requests + 1, run.now, pools(m, to.pool).look_interval == 1 and not pools(m, to.pool).overlap
    _wake(m, to.replica)
    if to.waiting == 0 or run.classes > 1 or not at_once:
        _interrupt(m, to.replica, True)
    if at_once:
        _wait(m, row, rank)
    else:
        _link(m, run.inboxes_at + rank, run.row_links, row)


def _choose(m: int, row: int, first: int, count: int) -> int:
    """The rank by a rule that looks at loads."""
    run, one = fleet(m), rows(m, row)
    chosen, nearest, total = targets(m, first).rank, NONE, 0
    if run.routing == POWER_OF_TWO:
        drawn = row * MIXER % 2**32
        drawn = (drawn ^ drawn >> 16) * MIXER % 2**32 >> 8
        a, b = targets(m, first + drawn % count).rank, targets(m, first + drawn // count % count).rank
        return b if ranks(m, b).requests < ranks(m, a).requests else a
    for at in range(first, first + count):
        rank = targets(m, at).rank
        total += ranks(m, rank).requests
        if ranks(m, rank).requests < ranks(m, chosen).requests:
            chosen = rank
    if run.routing == LEAST_LOADED or first > 0:
        return chosen
    for at in range(one.first_block, one.first_block + one.blocks):
        if home(m, ids(m, at).id).rank == NONE:
            break
        nearest = home(m, ids(m, at).id).rank
    if nearest == NONE or not replicas(m, ranks(m, nearest).replica).up:
        return chosen
    return nearest if ranks(m, nearest).requests <= run.load_bound * ((total + 1) / count) else chosen


def _can_run(m: int, row: int, rank: int) -> bool:
    """Whether a request could run alone on a rank, and where it goes after its prompt: see Policy.most."""
    run, prompt, output = fleet(m), inputs(m, row).tokens, outputs(m, row).tokens
    for at in range(run.all_pools):
        pool = pools(m, at)
        if at == ranks(m, rank).pool or (run.hands_over and pool.role != PREFILL):
            longest = _footprint(m, pool, prompt + max(output, 1) - 1, pool.block_size)
            longest += _footprint(m, pool, 1, 1) * (2 * pool.width + pool.block_size) if pool.width > 1 else 0.0
            if prompt + output > pool.max_context or longest > pool.kv_capacity:
                return False
    return True


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
        if source == 0:
            _start_prompt(m, slot)
        elif slots(m, source).state == LOST:
            _give_back(m, slot)
            _leave(m, slot)
            rank.requests -= 1
            _start_again(m, row)
        else:
            _unlink(m, run.handed_at + slots(m, source).rank, run.state_links, source)
            _give_back(m, source)
            _wake(m, ranks(m, slots(m, source).rank).replica)
            _free(m, source)
            rows(m, row).source = 0
            _give_first(m, row, moment)
            _link(m, run.ready_at + slots(m, slot).rank, run.state_links, slot)


def _start_again(m: int, row: int) -> None:
    """Route a request once more; the cache of its prompt counts only where it is still held."""
    source = rows(m, row).source
    if source > 0 and slots(m, source).state == LOST:
        _free(m, source)
        rows(m, row).source = 0
    _route(m, row)


def _find_targets(m: int) -> None:
    """Which ranks are up and take prompts, and which of them decode what others computed."""
    run = fleet(m)
    run.prompt_targets = run.decode_targets = 0
    for rank in range(run.all_ranks):
        if replicas(m, ranks(m, rank).replica).up and run.hands_over and pools(m, ranks(m, rank).pool).role != PREFILL:
            targets(m, run.all_ranks + run.decode_targets).rank = rank
            run.decode_targets += 1
        elif replicas(m, ranks(m, rank).replica).up:
            targets(m, run.prompt_targets).rank = rank
            run.prompt_targets += 1


def _switch(m: int) -> None:
    """Replicas that start or fail by now: see reference.fleet."""
    run = fleet(m)
    while run.outage < run.all_outages and outages(m, run.outage).moment <= run.now:
        replica, up = outages(m, run.outage).replica, outages(m, run.outage).up
        here, run.outage = replicas(m, replica), run.outage + 1
        if here.up == up:
            continue
        here.up = up
        _find_targets(m)
        if up:
            _wake(m, replica)
            while lists(m, run.hold).head != NONE:
                _link(m, run.again, run.row_links, _pop(m, run.hold, run.row_links))
            _start_all_again(m)
        else:
            run.awake, here.awake = run.awake - here.awake, 0
            _fail(m, replica)


def _start_all_again(m: int) -> None:
    while lists(m, fleet(m).again).head != NONE:
        _start_again(m, _pop(m, fleet(m).again, fleet(m).row_links))


def _fail(m: int, replica: int) -> None:
    """All that a replica holds is lost, and nothing stays in its pipeline; steps of a leap that ended by now count."""
    here, run = replicas(m, replica), fleet(m)
    pool, idle = pools(m, here.pool), run.turns_at + 2 * replica
    if here.leap > 0:
        steps = _until(here.constant, here.slope, run.now - here.start, here.leap)
        _end_leap(m, replica, steps)
        steps -= here.start + _lasting(here.constant, here.slope, steps) > run.now  # the step at hand is lost
        if steps > 0:
            batches(m, here.first_batch).moment = here.start + _lasting(here.constant, here.slope, steps)
            _give_tokens(m, replica, 0, steps)
        batches(m, here.first_batch).moment = run.now
    for batch in range(here.first_batch, here.first_batch + pool.depth):
        _unlink(m, idle + (batches(m, batch).moment < math.inf), run.batch_links, batch)
        _link(m, idle, run.batch_links, batch)
        batches(m, batch).moment, batches(m, batch).decodes = math.inf, 0
    here.waited, here.unseen, here.free_at, here.landing = 0, pool.look_interval, run.now, run.now
    _set_moment(m, replica, math.inf)
    for rank in range(here.first_rank, here.first_rank + pool.ranks):
        _clear(m, rank)
        _start_all_again(m)
    for other in range(run.all_replicas):  # what waits there for a cache that is lost leaves with the next step
        _interrupt(m, other, False)


def _clear(m: int, rank: int) -> None:
    """Empty a rank; its requests are to start again, by class and admission those that ran, then those that waited."""
    run, one = fleet(m), ranks(m, rank)
    for which in range(rank * run.classes, (rank + 1) * run.classes):
        while lists(m, which).head != NONE:
            slot = lists(m, which).head
            coming = _find(m, run.transfers_at, run.transfers, slot)
            if coming < run.transfers:
                _drop(m, run.transfers_at, run.transfers, coming)
                run.transfers -= 1
            if slots(m, slot).state == DECODING:
                _part(m, slot)
            _leave(m, slot)
            rows(m, slots(m, slot).row).preemptions += 1
            _link(m, run.again, run.row_links, slots(m, slot).row)
    while lists(m, run.inboxes_at + rank).head != NONE:
        _wait(m, _pop(m, run.inboxes_at + rank, run.row_links), rank)
    while _first_waiting(m, rank) != NONE:
        _link(m, run.again, run.row_links, _pop(m, _first_waiting(m, rank), run.row_links))
    while lists(m, run.handed_at + rank).head != NONE:
        slots(m, _pop(m, run.handed_at + rank, run.state_links)).state = LOST
    for which in (run.prompts_at + rank, run.ready_at + rank, run.idle_at + rank, run.hosted_at + rank):
        lists(m, which).head = lists(m, which).tail = NONE
    for place in range(run.all_blocks):
        if blocks(m, place).users != FREE and blocks(m, place).rank == rank:
            _forget(m, place)
    for unit in range(one.first_unit, one.first_unit + pools(m, one.pool).depth):
        units(m, unit).heap = 0
        lists(m, run.ending_at + unit).head = lists(m, run.ending_at + unit).tail = NONE
    one.used, one.forming, one.waiting, one.idle, one.hosted, one.requests = 0.0, 1, 0, 0, 0, 0


def serve(m: int, turns: int) -> int:
    """Go on for so many turns; 0 when nothing is left to do. See reference.fleet.Simulation.run."""
    run = fleet(m)
    for _ in range(turns):
        moment = min(tree(m, 1).moment, _next_arrival(m)[0])
        if run.transfers > 0:
            moment = min(moment, heap(m, run.transfers_at).moment)
        if run.outage < run.all_outages and (moment < math.inf or lists(m, run.hold).head != NONE):
            moment = min(moment, outages(m, run.outage).moment)
        if run.awake == 0 and moment == math.inf:
            return 0
        run.now = run.now if run.awake > 0 else max(run.now, moment)
        while tree(m, 1).moment <= run.now:  # steps of all replicas that end by now, by index
            place = 1
            while place < run.leaves:
                place *= 2
                place += tree(m, place).moment > run.now
            _land(m, place - run.leaves)
        _receive_caches(m)
        _switch(m)
        _arrive(m)
        replica = 0
        while run.awake > 0 and replica < run.all_replicas:
            if replicas(m, replica).awake:
                replicas(m, replica).awake, run.awake = 0, run.awake - 1
                _schedule(m, replica)
            replica += 1
    return 1


def serve_compiled() -> Callable[[int, int], int]:
    """The same, and all that it calls, made to be compiled."""
    own = {name: each for name, each in globals().items() if isfunction(each) and each.__module__ == __name__ and name[0] == "_"}
    compiled(own)
    return serve
