"""Lays a workload and a fleet out as the kernel's arrays, runs it, and reads the outcome."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from assay.simulate import kernel
from assay.simulate.fleet import Fleet, Pool
from assay.simulate.policies import ALL, DECODE, PREFIX_AFFINITY
from assay.simulate.records import GAP_BINS, Integers, Outcome
from assay.simulate.speculation import decode_steps
from assay.simulate.tally import Tally
from assay.steptime import DECODE as DECODES
from assay.steptime import MIXED, Curve, StepTime
from assay.workloads import Workload

Records = NDArray[np.void]  # arrays of the kernel's dtypes
Progress = Callable[[int, int], None]

TURNS = 200_000  # events between two looks at the clock and at Ctrl-C: some tenths of a second
CURVES = ("interval", "latency", "joules")


def serve(workload: Workload, fleet: Fleet, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Serve the workload on a fleet whose policies are within its step times."""
    state = _state(workload, fleet, seed)
    arrays = tuple(state)
    while kernel.serve(arrays, TURNS):
        if progress:
            progress(int(state.fleet["ended"][0]), workload.requests)
    return _outcome(workload, fleet, state)


def warm_up() -> None:
    """Compile the kernel, or load it from disk, so that many workers need not each do so."""
    from assay.simulate.policies import Policy

    one = Workload.draw(1, 1, requests=1)
    policy = Policy(token_budget=1, max_num_seqs=1, block_size=1, kv_capacity=2.0, kv_bytes=((0, 1.0),))
    serve(one, Fleet.of(StepTime.constant(1.0, most=1), policy).within())


def _state(workload: Workload, fleet: Fleet, seed: int) -> kernel.State:
    rows, ids = _rows(workload, fleet, seed)
    pools, reaches, sizes, samples = _tables(fleet)
    replicas, ranks, units, batches = _machines(fleet, workload.prefix_block, pools)
    distinct = int(ids.max()) + 1 if ids.size else 0
    blocks = _blocks(ranks, pools, distinct)
    classes = int(rows["priority"].max()) + 1
    width, size = int(pools["reaches"].max()), int(pools["block_size"].max())
    run = _fleet(workload, fleet, classes)
    state = kernel.State(
        rows=rows,
        ids=ids,
        where=np.full(distinct, kernel.NONE, np.int32),
        home=np.full(distinct if fleet.routing == PREFIX_AFFINITY else 0, kernel.NONE, np.int32),
        blocks=blocks,
        slots=_slots(workload, fleet, run),
        heap=_heap(workload, ranks, pools, units, run),
        peaks=np.zeros(_room(pools, replicas, batches), kernel.PEAK),
        pools=pools,
        reaches=reaches,
        sizes=sizes,
        samples=samples,
        replicas=replicas,
        order=np.tile(np.arange(int(pools["depth"].max()), dtype=np.int32), (len(replicas), 2)),
        batches=batches,
        units=units,
        sums=np.zeros((len(units), width), kernel.SUMS),
        residues=np.zeros((len(units), width, size), np.int32),
        ranks=ranks,
        queues=np.full(len(ranks) * classes, kernel.NONE, np.int32).repeat(4).view(kernel.QUEUE),
        chunks=np.zeros(int(pools["max_num_seqs"].max()) + 1, kernel.CHUNK),
        targets=np.zeros(2 * len(ranks), np.int32),
        outages=_outages(fleet, replicas),
        tree=np.full(2 * int(run["leaves"][0]), np.inf),
        gaps=np.zeros(GAP_BINS, np.int64),
        fleet=run,
    )
    _targets(state)
    _start_arrivals(workload, state)
    return state


# Requests.


def _rows(workload: Workload, fleet: Fleet, seed: int) -> tuple[Records, Integers]:
    """The table of requests, and the dense ids of their prefix blocks (none without a prefix cache)."""
    rows = np.zeros(workload.requests, kernel.ROW)
    rows["sent"] = workload.arrival
    rows["input"], rows["output"] = workload.input, workload.output
    rows["steps"], rows["rate"] = decode_steps(workload.output, fleet.width, fleet.acceptance, seed)
    rows["first_token"] = rows["finish"] = np.nan
    rows["source"] = rows["next"] = kernel.NONE
    rows["following"] = workload.following() if workload.session.size else kernel.NONE
    if workload.session.size:
        rows["turn"] = ~workload.opens
    if workload.think.size:
        rows["think"] = workload.think
    if workload.priority.size:
        rows["priority"] = np.unique(workload.priority, return_inverse=True)[1]
    if not workload.prefix.size or not (any(pool.policy.prefix_cache for pool in fleet.pools) or fleet.routing == PREFIX_AFFINITY):
        return rows, np.zeros(0, np.int64)
    rows["first_block"] = workload.prefix_offsets[:-1]
    rows["blocks"] = np.minimum(np.diff(workload.prefix_offsets), workload.input // workload.prefix_block)
    return rows, _dense(workload.prefix)


def _dense(ids: Integers) -> Integers:
    """The ids as they are when they are nearly dense, else numbered anew."""
    if ids.min() >= 0 and ids.max() < 2 * ids.size:
        return ids
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def _start_arrivals(workload: Workload, state: kernel.State) -> None:
    """In a closed loop each user sends the first request in turn; in an open loop rows are read in order, later turns left out."""
    rows, run = state.rows, state.fleet
    opening = np.flatnonzero(rows["turn"] == 0)
    run["next"] = opening[0]
    if not workload.concurrency:
        return
    first = opening[: workload.concurrency]
    rows["sent"][first] = np.arange(len(first)) * (workload.ramp / workload.concurrency)
    arrivals = state.heap[: len(first)]
    arrivals["moment"], arrivals["order"], arrivals["item"] = rows["sent"][first] + run["delay"], first, first
    run["arrivals"], run["next"] = len(first), len(rows)
    run["later"] = opening[len(first)] if len(first) < len(opening) else len(rows)


# Machines.


def _tables(fleet: Fleet) -> tuple[Records, Records, Records, Records]:
    """Pools, and the tables of all of them one after the other: reaches, sizes of steps, samples."""
    pools = np.zeros(len(fleet.pools), kernel.POOL)
    reaches, sizes, samples = [], [], []
    for row, pool in zip(pools, fleet.pools, strict=True):
        _limits(row, pool)
        for name, tables, made in (
            ("reaches", reaches, [_reaches(pool)]),
            ("sizes", sizes, [_sizes(pool.times, "tokens")]),
            ("joint", sizes, [_sizes(pool.times, "joint")]),
            ("samples", samples, [_samples(pool.times, "sampled")]),
            ("draft", samples, [_samples(pool.times, "draft")]),
        ):
            row[f"{name}_at"] = sum(map(len, tables))
            if name in ("reaches", "joint", "draft"):
                row[name] = len(made[0])
            tables += made
    return pools, np.concatenate(reaches), np.concatenate(sizes), np.concatenate(samples)


def _limits(row: Records, pool: Pool) -> None:
    policy, times = pool.policy, pool.times
    names = "token_budget max_num_seqs block_size batching max_context look_interval prefill_wait kv_capacity host_bandwidth"
    for name in names.split():
        row[name] = getattr(policy, name)
    row["role"], row["ranks"], row["depth"], row["width"] = pool.role, times.ranks, times.depth, times.width
    row["spill"], row["spill_after"] = times.spill, times.spill_after


def _reaches(pool: Pool) -> Records:
    """By window, ascending, the unbounded one last: slopes of steps, and bytes of cache."""
    times, kept = pool.times, pool.policy.kv_bytes
    windows = sorted({reach or kernel.FOREVER for reach in (*times.reaches, *(reach for reach, _ in kept))})
    table = np.zeros(len(windows), kernel.REACH)
    table["window"] = windows
    for reach, each in kept:
        table["bytes"][windows.index(reach or kernel.FOREVER)] += each
    places = [windows.index(reach or kernel.FOREVER) for reach in times.reaches]
    for name in CURVES:
        curve: Curve = getattr(times, name)
        table[f"{name}_decode"][places] = curve.decode.sum(axis=1)
        for line, suffix in zip(range(curve.prefill.shape[1]), ("", "2") if name != "joules" else ("",), strict=False):
            table[f"{name}_pairs{suffix}"][places], table[f"{name}_reread{suffix}"][places] = curve.prefill[:, line].T
    return table


def _sizes(times: StepTime, column: str) -> Records:
    """By tokens of a rank, or of all ranks (joint)."""
    table = np.zeros(getattr(times.interval, column).shape[2], kernel.SIZE)
    for name in CURVES:
        table[f"{name}_decode"], table[f"{name}_mixed"] = getattr(getattr(times, name), column).sum(axis=1)
    return table


def _samples(times: StepTime, column: str) -> Records:
    """By samples, or by sequences that draft."""
    table = np.zeros(getattr(times.interval, column).shape[1], kernel.SAMPLES)
    for name in CURVES:
        table[name] = getattr(getattr(times, name), column).sum(axis=0)
    return table


def _machines(fleet: Fleet, prefix_block: int, pools: Records) -> tuple[Records, Records, Records, Records]:
    """Replicas, their ranks, the micro-batches of each rank and of each replica; the pools learn the size of prefix blocks."""
    pools["block_bytes"] = [pool.policy.unbounded_bytes * prefix_block for pool in fleet.pools]
    pools["caches"] = [pool.policy.prefix_cache for pool in fleet.pools] & (pools["block_bytes"] > 0)
    host = np.array([pool.policy.host_capacity for pool in fleet.pools])
    pools["host_blocks"] = np.divide(host, pools["block_bytes"], out=np.zeros_like(host), where=pools["caches"] > 0)
    pool = np.repeat(np.arange(len(pools)), [each.replicas for each in fleet.pools])
    replicas = np.zeros(len(pool), kernel.REPLICA)
    ranks_of, depth_of = pools["ranks"][pool], pools["depth"][pool]
    replicas["pool"], replicas["up"], replicas["idle"] = pool, 1, depth_of
    replicas["first_rank"], replicas["first_batch"] = np.cumsum(ranks_of) - ranks_of, np.cumsum(depth_of) - depth_of
    replicas["unseen"] = pools["look_interval"][pool]
    ranks = np.zeros(int(ranks_of.sum()), kernel.RANK)
    ranks["replica"] = np.repeat(np.arange(len(replicas)), ranks_of)
    ranks["pool"], depths = pool[ranks["replica"]], depth_of[ranks["replica"]]
    ranks["first_unit"], ranks["ring"], ranks["forming"] = np.cumsum(depths) - depths, 2 * np.arange(len(ranks)), 1
    for name in ("inbox", "prompts", "prompts_tail", "ready", "handed"):
        ranks[name] = kernel.NONE
    units = np.zeros(int(depths.sum()), kernel.UNIT)
    units["ending"] = units["fresh"] = kernel.NONE
    batches = np.zeros(int(depth_of.sum()), kernel.BATCH)
    batches["moment"] = np.inf
    return replicas, ranks, units, batches


def _blocks(ranks: Records, pools: Records, distinct: int) -> Records:
    """Prefix blocks, none in use: first the two rings of each rank, without members, then the free ones, linked."""
    each = np.zeros(len(pools))
    held = pools["caches"] > 0
    each[held] = np.minimum(pools["kv_capacity"][held] // pools["block_bytes"][held] + pools["host_blocks"][held] + 2, distinct)
    rings = 2 * len(ranks)
    blocks = np.zeros(rings + int(each[ranks["pool"]].sum()) + 1, kernel.BLOCK)
    places = np.arange(len(blocks), dtype=np.int32)
    blocks["before"] = blocks["after"] = places
    blocks["chain"], blocks["users"] = places + 1, kernel.FREE
    return blocks


def _slots(workload: Workload, fleet: Fleet, run: Records) -> Records:
    """Room for all that can run, and for what prefill ranks hold for others; free ones are linked."""
    count = 1
    for pool in fleet.pools:
        policy = pool.policy
        seats = policy.max_num_seqs
        if run["hands_over"][0] and policy.footprint(1) > 0:
            seats += int(min(policy.kv_capacity // policy.footprint(1), workload.requests))
        count += pool.replicas * pool.times.ranks * seats
    slots = np.zeros(min(count, 2 * workload.requests + 1), kernel.SLOT)
    slots["next"] = np.arange(1, len(slots) + 1)
    return slots


def _heap(workload: Workload, ranks: Records, pools: Records, units: Records, run: Records) -> Records:
    """One array for all heaps: requests that were sent, caches on their way, and the sequences of each micro-batch."""
    sent = min(workload.requests, max(workload.concurrency, int(workload.opens.sum()) if workload.session.size else 0))
    seats = pools["max_num_seqs"][ranks["pool"]]
    depths = pools["depth"][ranks["pool"]]
    run["transfers_at"] = sent
    each = np.repeat(seats, depths)
    units["heap_at"] = sent + int(seats.sum()) + np.cumsum(each) - each
    return np.zeros(sent + int(seats.sum()) + int(each.sum()), kernel.EVENT)


def _room(pools: Records, replicas: Records, batches: Records) -> int:
    """Room for the largest gaps of each micro-batch: twice as much as sequences can ask for."""
    of = pools[replicas["pool"]]
    batches["room"] = np.repeat(2 * of["max_num_seqs"] * of["ranks"] + 64, of["depth"])
    batches["stack_at"] = np.cumsum(batches["room"]) - batches["room"]
    return int(batches["room"].sum())


def _fleet(workload: Workload, fleet: Fleet, classes: int) -> Records:
    run = np.zeros(1, kernel.FLEET)
    run["classes"], run["prefix_block"], run["users"] = classes, workload.prefix_block, workload.concurrency
    run["delay"] = fleet.pools[0].policy.admission_delay
    for name in ("routing", "load_bound", "link_bandwidth", "link_latency"):
        run[name] = getattr(fleet, name)
    run["hold"] = kernel.NONE
    run["hands_over"] = any(pool.role == DECODE for pool in fleet.pools)
    run["blocks"] = 2 * sum(pool.replicas * pool.times.ranks for pool in fleet.pools)
    run["leaves"] = 1 << (sum(pool.replicas for pool in fleet.pools) - 1).bit_length()
    return run


def _outages(fleet: Fleet, replicas: Records) -> Records:
    """Starts and failures in time; a replica whose first entry is a start is down before."""
    ordered = sorted(fleet.outages, key=lambda outage: outage.time)
    for outage in reversed(ordered):
        replicas["up"][outage.replica] = not outage.up
    table = np.zeros(len(ordered), kernel.OUTAGE)
    table["moment"] = [outage.time for outage in ordered]
    table["replica"], table["up"] = [outage.replica for outage in ordered], [outage.up for outage in ordered]
    return table


def _targets(state: kernel.State) -> None:
    """Ranks that take prompts, and those that decode what others computed, of the replicas that are up at first."""
    ranks, run = state.ranks, state.fleet
    up = state.replicas["up"][ranks["replica"]] > 0
    decodes = (state.pools["role"][ranks["pool"]] == DECODE) & bool(run["hands_over"][0])
    for name, start, which in (("prompt_targets", 0, up & ~decodes), ("decode_targets", len(ranks), up & decodes)):
        found = np.flatnonzero(which)
        state.targets[start : start + len(found)] = found
        run[name] = len(found)


# The outcome.


def _outcome(workload: Workload, fleet: Fleet, state: kernel.State) -> Outcome:
    run, rows = state.fleet[0], state.rows
    peaks = state.ranks["most"] / state.pools["kv_capacity"][state.ranks["pool"]]
    finished = np.isfinite(rows["finish"])
    return Outcome(
        arrival=rows["sent"].copy(),
        first_token=rows["first_token"].copy(),
        finish=rows["finish"].copy(),
        preemptions=rows["preemptions"].astype(np.int64),
        prefix_hit=rows["prefix_hit"].astype(np.int64),
        largest_gap=np.where(finished, rows["largest_gap"], 0.0),
        gaps=state.gaps,
        resource_seconds=np.sum([tally.resource_seconds() for tally in _tallies(fleet, state)], axis=0),
        joules=float(run["joules"]),
        steps=int(run["steps"]),
        busy_seconds=float(run["busy"]),
        prefill_seconds=float(run["prefill"]),
        cached_seconds=float(run["cached"]),
        batch_seconds=float(run["batch"]),
        kv_peak=float(peaks.max()),
    )


def _tallies(fleet: Fleet, state: kernel.State) -> Iterator[Tally]:
    for pool, row in zip(fleet.pools, state.pools, strict=True):
        tally = Tally(pool.times)
        sizes = state.sizes[row["sizes_at"] :][: tally.tokens.shape[1]]
        tally.tokens[DECODES], tally.tokens[MIXED] = sizes["decodes"], sizes["mixed"]
        joint = state.sizes[row["joint_at"] :][: row["joint"]]
        tally.joint[DECODES], tally.joint[MIXED] = joint["decodes"], joint["mixed"]
        tally.sampled[:] = state.samples["steps"][row["samples_at"] :][: len(tally.sampled)]
        tally.draft[:] = state.samples["steps"][row["draft_at"] :][: row["draft"]]
        reaches = state.reaches[row["reaches_at"] :][: row["reaches"]]
        places = [int(np.flatnonzero(reaches["window"] == (reach or kernel.FOREVER))[0]) for reach in pool.times.reaches]
        tally.decode[:] = reaches["sum_decode"][places]
        tally.line_seconds[:2] = [row["line"], row["line2"]][: len(tally.line_seconds)]
        yield tally
