"""Lays a workload and a fleet out as the kernel's tables, runs it, and reads the outcome."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from assay.simulate.fleet import Fleet, Pool
from assay.simulate.layout import FOREVER, FREE, NONE, TABLES
from assay.simulate.policies import DECODE, PREFIX_AFFINITY
from assay.simulate.program import program
from assay.simulate.records import GAP_BINS, Integers, Outcome
from assay.simulate.speculation import decode_steps
from assay.simulate.tally import Tally
from assay.steptime import DECODE as DECODES
from assay.steptime import MIXED, Curve, StepTime
from assay.workloads import Workload

Records = NDArray[np.void]  # tables of the dtypes in `layout`
Tables = dict[str, Records]
Progress = Callable[[int, int], None]

TURNS = 200_000  # events between two looks at the clock and at Ctrl-C: some tenths of a second
CURVES = ("interval", "latency", "joules")


def serve(workload: Workload, fleet: Fleet, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Serve the workload on a fleet whose policies are within its step times."""
    tables = _laid_out(workload, fleet, seed)
    addresses = np.array([tables[name].ctypes.data for name in TABLES], np.int64)
    go_on = program()
    while go_on(addresses.ctypes.data, TURNS):
        if progress:
            progress(int(tables["fleet"]["ended"][0]), workload.requests)
    return _outcome(fleet, tables)


def warm_up() -> None:
    """Compile the kernel, or load it from disk, so that many workers need not each do so."""
    program()


def _laid_out(workload: Workload, fleet: Fleet, seed: int) -> Tables:
    tables = {name: np.zeros(0, kind) for name, kind in TABLES.items()}
    tables["fleet"] = run = np.zeros(1, TABLES["fleet"])
    tables["gaps"] = np.zeros(GAP_BINS, TABLES["gaps"])
    _lay_rows(tables, workload, fleet, seed)
    _lay_pools(tables, fleet, workload.prefix_block)
    _lay_machines(tables, fleet)
    _lay_blocks(tables, fleet)
    _lay_slots(tables, workload, fleet)
    _lay_heap(tables, workload)
    _lay_outages(tables, fleet)
    _lay_targets(tables)
    run["prefix_block"], run["users"], run["delay"] = workload.prefix_block, workload.concurrency, fleet.pools[0].policy.admission_delay
    for name in ("routing", "load_bound", "link_bandwidth", "link_latency"):
        run[name] = getattr(fleet, name)
    for name, table in (("requests", "rows"), ("all_ranks", "ranks"), ("all_pools", "pools"), ("all_outages", "outages"),
                        ("all_replicas", "replicas"), ("all_slots", "slots"), ("all_blocks", "blocks")):
        run[name] = len(tables[table])
    _start_arrivals(workload, tables)
    return tables


# Requests.


def _lay_rows(tables: Tables, workload: Workload, fleet: Fleet, seed: int) -> None:
    """The requests, and the dense ids of their prefix blocks (none without a prefix cache)."""
    tables["rows"] = rows = np.zeros(workload.requests, TABLES["rows"])
    rows["sent"] = workload.arrival
    rows["input"], rows["output"] = workload.input, workload.output
    rows["steps"], rows["rate"] = decode_steps(workload.output, fleet.width, fleet.acceptance, seed)
    rows["first_token"] = rows["finish"] = np.nan
    rows["source"] = rows["next"] = NONE
    rows["following"] = workload.following() if workload.session.size else NONE
    if workload.session.size:
        rows["turn"] = ~workload.opens
    if workload.think.size:
        rows["think"] = workload.think
    if workload.priority.size:
        rows["priority"] = np.unique(workload.priority, return_inverse=True)[1]
    tables["fleet"]["classes"] = int(rows["priority"].max()) + 1
    affine = fleet.routing == PREFIX_AFFINITY
    if workload.prefix.size and (affine or any(pool.policy.prefix_cache for pool in fleet.pools)):
        rows["first_block"] = workload.prefix_offsets[:-1]
        rows["blocks"] = np.minimum(np.diff(workload.prefix_offsets), workload.input // workload.prefix_block)
        ids = _dense(workload.prefix)
        tables["ids"] = ids.view(TABLES["ids"])
        tables["where"] = np.full(int(ids.max()) + 1, NONE, np.int32).view(TABLES["where"])
        tables["home"] = np.full(len(tables["where"]) if affine else 0, NONE, np.int32).view(TABLES["home"])


def _dense(ids: Integers) -> Integers:
    """The ids as they are when they are nearly dense, else numbered anew."""
    if ids.min() >= 0 and ids.max() < 2 * ids.size:
        return np.ascontiguousarray(ids)
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def _start_arrivals(workload: Workload, tables: Tables) -> None:
    """In a closed loop each user sends the first request in turn; in an open loop rows are read in order, later turns left out."""
    rows, run = tables["rows"], tables["fleet"]
    opening = np.flatnonzero(rows["turn"] == 0) if workload.session.size else np.arange(len(rows))
    run["next"] = opening[0]
    if not workload.concurrency:
        return
    first = opening[: workload.concurrency]
    rows["sent"][first] = np.arange(len(first)) * (workload.ramp / workload.concurrency)
    arrivals = tables["heap"][: len(first)]
    arrivals["moment"], arrivals["order"], arrivals["what"] = rows["sent"][first] + run["delay"], first, first
    run["arrivals"], run["next"] = len(first), len(rows)
    run["later"] = opening[len(first)] if len(first) < len(opening) else len(rows)


# Machines.


def _lay_pools(tables: Tables, fleet: Fleet, prefix_block: int) -> None:
    """Pools, and the tables of all of them one after the other: reaches, sizes of steps, samples."""
    tables["pools"] = pools = np.zeros(len(fleet.pools), TABLES["pools"])
    parts: dict[str, list[Records]] = {"reaches": [], "sizes": [], "samples": []}
    for row, pool in zip(pools, fleet.pools, strict=True):
        _limits(row, pool, prefix_block)
        made = {
            "reaches": ("reaches", _reaches(pool)),
            "sizes": ("sizes", _sizes(pool.times, "tokens")),
            "joint": ("sizes", _sizes(pool.times, "joint")),
            "samples": ("samples", _samples(pool.times, "sampled")),
            "draft": ("samples", _samples(pool.times, "draft")),
        }
        for name, (table, part) in made.items():
            row[f"{name}_at"] = sum(map(len, parts[table]))
            if name in ("reaches", "joint", "draft"):
                row[name] = len(part)
            parts[table].append(part)
    tables.update({name: np.concatenate(part) for name, part in parts.items()})


def _limits(row: Records, pool: Pool, prefix_block: int) -> None:
    policy, times = pool.policy, pool.times
    names = "token_budget max_num_seqs block_size batching max_context look_interval prefill_wait kv_capacity host_bandwidth"
    for name in names.split():
        row[name] = getattr(policy, name)
    row["role"], row["ranks"], row["depth"], row["width"] = pool.role, times.ranks, times.depth, times.width
    row["spill"], row["spill_after"] = times.spill, times.spill_after
    row["block_bytes"] = block = policy.unbounded_bytes * prefix_block
    row["caches"] = policy.prefix_cache and block > 0
    row["host_blocks"] = policy.host_capacity // block if row["caches"] else 0


def _reaches(pool: Pool) -> Records:
    """By window, ascending, the unbounded one last: slopes of steps, and bytes of cache."""
    times, kept = pool.times, pool.policy.kv_bytes
    windows = sorted({reach or FOREVER for reach in (*times.reaches, *(reach for reach, _ in kept))})
    table = np.zeros(len(windows), TABLES["reaches"])
    table["window"] = windows
    for reach, each in kept:
        table["bytes"][windows.index(reach or FOREVER)] += each
    places = [windows.index(reach or FOREVER) for reach in times.reaches]
    for name in CURVES:
        curve: Curve = getattr(times, name)
        table[f"{name}_decode"][places] = curve.decode.sum(axis=1)
        for line, suffix in zip(range(curve.prefill.shape[1]), ("", "2") if name != "joules" else ("",), strict=False):
            table[f"{name}_pairs{suffix}"][places], table[f"{name}_reread{suffix}"][places] = curve.prefill[:, line].T
    return table


def _sizes(times: StepTime, column: str) -> Records:
    """By tokens of a rank, or of all ranks (joint)."""
    table = np.zeros(getattr(times.interval, column).shape[2], TABLES["sizes"])
    for name in CURVES:
        table[f"{name}_decode"], table[f"{name}_mixed"] = getattr(getattr(times, name), column).sum(axis=1)
    return table


def _samples(times: StepTime, column: str) -> Records:
    """By samples, or by sequences that draft."""
    table = np.zeros(getattr(times.interval, column).shape[1], TABLES["samples"])
    for name in CURVES:
        table[name] = getattr(getattr(times, name), column).sum(axis=0)
    return table


def _lay_machines(tables: Tables, fleet: Fleet) -> None:
    """Replicas with their ranks and micro-batches, the micro-batches of each rank, and what is counted of these."""
    pools, run = tables["pools"], tables["fleet"]
    pool = np.repeat(np.arange(len(pools)), [each.replicas for each in fleet.pools])
    tables["replicas"] = replicas = np.zeros(len(pool), TABLES["replicas"])
    ranks_of, depth_of = pools["ranks"][pool], pools["depth"][pool]
    replicas["pool"], replicas["up"], replicas["idle"], replicas["unseen"] = pool, 1, depth_of, pools["look_interval"][pool]
    replicas["first_rank"], replicas["first_batch"] = _starts(ranks_of), _starts(depth_of)
    tables["ranks"] = ranks = np.zeros(int(ranks_of.sum()), TABLES["ranks"])
    ranks["replica"] = np.repeat(np.arange(len(replicas)), ranks_of)
    ranks["pool"], depths = pool[ranks["replica"]], depth_of[ranks["replica"]]
    ranks["first_unit"], ranks["ring"], ranks["forming"] = _starts(depths), 2 * np.arange(len(ranks)), 1
    tables["batches"] = batches = np.zeros(int(depth_of.sum()), TABLES["batches"])
    batches["moment"] = np.inf
    batches["room"] = np.repeat(2 * pools["max_num_seqs"][pool] * ranks_of + 64, depth_of)
    batches["stack_at"] = _starts(batches["room"])
    units, width, size, deepest = int(depths.sum()), int(pools["reaches"].max()), int(pools["block_size"].max()), int(pools["depth"].max())
    tables["units"], tables["sums"] = np.zeros(units, TABLES["units"]), np.zeros(units * width, TABLES["sums"])
    tables["residues"] = np.zeros(units * width * size, TABLES["residues"])
    tables["peaks"] = np.zeros(int(batches["room"].sum()), TABLES["peaks"])
    tables["order"] = np.tile(np.arange(deepest, dtype=np.int32), 2 * len(replicas)).view(TABLES["order"])
    tables["chunks"] = np.zeros(int(pools["max_num_seqs"].max()) + 1, TABLES["chunks"])
    run["reaches"], run["block_sizes"], run["depths"] = width, size, deepest
    run["leaves"] = 1 << (len(replicas) - 1).bit_length()
    tables["tree"] = np.full(2 * int(run["leaves"][0]), np.inf).view(TABLES["tree"])
    _lay_lists(tables)


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of several runs of elements begins."""
    return np.asarray(np.cumsum(counts) - counts)


def _lay_lists(tables: Tables) -> None:
    """Lists of slots and rows, all empty: by rank and class those that run, then those that wait; by rank; by micro-batch of a rank."""
    run, ranks, units = tables["fleet"], len(tables["ranks"]), len(tables["units"])
    queues = ranks * int(run["classes"][0])
    place = queues
    for name, count in (("waits_at", queues), ("inboxes_at", ranks), ("prompts_at", ranks), ("ready_at", ranks), ("handed_at", ranks),
                        ("fresh_at", units), ("ending_at", units), ("hold", 1), ("again", 1)):
        run[name] = place
        place += count
    tables["lists"] = np.full(2 * place, NONE, np.int32).view(TABLES["lists"])


def _lay_blocks(tables: Tables, fleet: Fleet) -> None:
    """Prefix blocks, none in use: first the two rings of each rank, without members, then the free ones, linked."""
    pools, ranks, distinct = tables["pools"], tables["ranks"], len(tables["where"])
    each = np.zeros(len(pools))
    held = pools["caches"] > 0
    each[held] = np.minimum(pools["kv_capacity"][held] // pools["block_bytes"][held] + pools["host_blocks"][held] + 2, distinct)
    tables["blocks"] = blocks = np.zeros(2 * len(ranks) + int(each[ranks["pool"]].sum()) + 1, TABLES["blocks"])
    places = np.arange(len(blocks), dtype=np.int32)
    blocks["before"] = blocks["after"] = places
    blocks["chain"], blocks["users"] = places + 1, FREE
    tables["fleet"]["blocks"] = 2 * len(ranks)


def _lay_slots(tables: Tables, workload: Workload, fleet: Fleet) -> None:
    """Room for all that can run, and for what prefill ranks hold for others; free ones are linked."""
    tables["fleet"]["hands_over"] = hands_over = any(pool.role == DECODE for pool in fleet.pools)
    count = 1
    for pool in fleet.pools:
        seats = pool.policy.max_num_seqs
        if hands_over and pool.policy.footprint(1) > 0:
            seats += int(min(pool.policy.kv_capacity // pool.policy.footprint(1), workload.requests))
        count += pool.replicas * pool.times.ranks * seats
    count = min(count, 2 * workload.requests + 1)
    tables["slots"] = np.zeros(count, TABLES["slots"])
    tables["links"] = links = np.zeros(2 * count, TABLES["links"])
    links["after"][:count] = np.arange(1, count + 1)


def _lay_heap(tables: Tables, workload: Workload) -> None:
    """One array for all heaps: requests that were sent, caches on their way, and the sequences of each micro-batch of a rank."""
    pool = tables["pools"][tables["ranks"]["pool"]]
    sent = min(workload.requests, max(workload.concurrency, int(workload.opens.sum()) if workload.session.size else 0))
    seats = int(pool["max_num_seqs"].sum())
    tables["fleet"]["transfers_at"] = sent
    each = np.repeat(pool["max_num_seqs"], pool["depth"])
    tables["units"]["heap_at"] = sent + seats + _starts(each)
    tables["heap"] = np.zeros(sent + seats + int(each.sum()) + 1, TABLES["heap"])


def _lay_outages(tables: Tables, fleet: Fleet) -> None:
    """Starts and failures in time; a replica whose first entry is a start is down before."""
    ordered = sorted(fleet.outages, key=lambda outage: outage.time)
    for outage in reversed(ordered):
        tables["replicas"]["up"][outage.replica] = not outage.up
    tables["outages"] = table = np.zeros(len(ordered), TABLES["outages"])
    table["moment"] = [outage.time for outage in ordered]
    table["replica"], table["up"] = [outage.replica for outage in ordered], [outage.up for outage in ordered]


def _lay_targets(tables: Tables) -> None:
    """Ranks that take prompts, and those that decode what others computed, of the replicas that are up at first."""
    ranks, run = tables["ranks"], tables["fleet"]
    tables["targets"] = targets = np.zeros(2 * len(ranks), TABLES["targets"])
    up = tables["replicas"]["up"][ranks["replica"]] > 0
    decodes = tables["pools"]["role"][ranks["pool"]] == DECODE
    for name, start, which in (("prompt_targets", 0, up & ~decodes), ("decode_targets", len(ranks), up & decodes)):
        found = np.flatnonzero(which)
        targets["rank"][start : start + len(found)] = found
        run[name] = len(found)


# The outcome.


def _outcome(fleet: Fleet, tables: Tables) -> Outcome:
    run, rows, ranks = tables["fleet"][0], tables["rows"], tables["ranks"]
    return Outcome(
        arrival=rows["sent"].copy(),
        first_token=rows["first_token"].copy(),
        finish=rows["finish"].copy(),
        preemptions=rows["preemptions"].astype(np.int64),
        prefix_hit=rows["prefix_hit"].astype(np.int64),
        largest_gap=np.where(np.isfinite(rows["finish"]), rows["largest_gap"], 0.0),
        gaps=tables["gaps"]["count"],
        resource_seconds=np.sum([tally.resource_seconds() for tally in _tallies(fleet, tables)], axis=0),
        joules=float(run["joules"]),
        steps=int(run["steps"]),
        busy_seconds=float(run["busy"]),
        prefill_seconds=float(run["prefill"]),
        cached_seconds=float(run["cached"]),
        batch_seconds=float(run["batch"]),
        kv_peak=float((ranks["most"] / tables["pools"]["kv_capacity"][ranks["pool"]]).max()),
    )


def _tallies(fleet: Fleet, tables: Tables) -> Iterator[Tally]:
    for pool, row in zip(fleet.pools, tables["pools"], strict=True):
        tally = Tally(pool.times)
        sizes = tables["sizes"][row["sizes_at"] :][: tally.tokens.shape[1]]
        tally.tokens[DECODES], tally.tokens[MIXED] = sizes["decodes"], sizes["mixed"]
        joint = tables["sizes"][row["joint_at"] :][: row["joint"]]
        tally.joint[DECODES], tally.joint[MIXED] = joint["decodes"], joint["mixed"]
        steps = tables["samples"]["steps"]
        tally.sampled[:], tally.draft[:] = steps[row["samples_at"] :][: len(tally.sampled)], steps[row["draft_at"] :][: row["draft"]]
        reaches = tables["reaches"][row["reaches_at"] :][: row["reaches"]]
        places = np.searchsorted(reaches["window"], [reach or FOREVER for reach in pool.times.reaches])
        tally.decode[:] = reaches["sum_decode"][places]
        tally.line_seconds[:2] = [row["line"], row["line2"]][: len(tally.line_seconds)]
        yield tally
