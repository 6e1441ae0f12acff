"""Lays a workload and a fleet out as the kernel's tables, runs it, and reads the outcome."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from assay._base.errors import InputError
from assay.simulate.fleet import Fleet, Pool
from assay.simulate.layout import FOREVER, FREE, NONE, TABLES
from assay.simulate.policies import DECODE, PREFIX_AFFINITY
from assay.simulate.program import program
from assay.simulate.records import GAP_BINS, Integers, Outcome
from assay.simulate.speculation import decode_steps
from assay.simulate.tally import Tally
from assay.steptime import Curve, StepTime
from assay.workloads import Workload

Records = NDArray[np.void]  # tables of the dtypes in `layout`
Tables = dict[str, Records]
Progress = Callable[[int, int], None]

TURNS = 200_000  # events between two looks at the clock and at Ctrl-C: some tenths of a second
MOST_ENTRIES = 2**27  # of one table: gigabytes
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
    _lay_blocks(tables)
    _lay_slots(tables, workload, fleet)
    _lay_lists(tables)
    _lay_heap(tables, workload)
    _lay_outages(tables, fleet)
    _lay_targets(tables)
    run["prefix_block"], run["users"], run["delay"] = workload.prefix_block, workload.concurrency, fleet.pools[0].policy.admission_delay
    for name in ("routing", "load_bound", "link_bandwidth", "link_latency"):
        run[name] = getattr(fleet, name)
    for name, table in (
        ("requests", "rows"),
        ("all_ranks", "ranks"),
        ("all_pools", "pools"),
        ("all_outages", "outages"),
        ("all_replicas", "replicas"),
        ("all_slots", "slots"),
        ("all_blocks", "blocks"),
    ):
        run[name] = len(tables[table])
    _start_arrivals(workload, tables)
    return tables


# Requests.


def _lay_rows(tables: Tables, workload: Workload, fleet: Fleet, seed: int) -> None:
    """The requests, and the dense ids of their prefix blocks (none without a prefix cache)."""
    tables["rows"] = rows = np.zeros(workload.requests, TABLES["rows"])
    looped = bool(workload.concurrency or workload.session.size)
    tables["arrivals"] = np.array(workload.arrival, np.float64, copy=looped or None).view(
        TABLES["arrivals"]
    )  # the kernel says when others are sent
    tables["inputs"] = np.ascontiguousarray(workload.input).view(TABLES["inputs"])
    tables["outputs"] = np.ascontiguousarray(workload.output).view(TABLES["outputs"])
    steps, rate = decode_steps(workload.output, fleet.width, fleet.acceptance, seed)
    tables["decodes"] = steps.view(TABLES["decodes"])
    for name in ("first_tokens", "finishes"):
        tables[name] = np.full(workload.requests, np.nan).view(TABLES[name])
    if fleet.width > 1:
        rows["faster"] = rate - 1
    if workload.session.size:
        rows["following"] = np.maximum(workload.following(), 0)
    opening = np.flatnonzero(workload.opens) if workload.session.size else np.arange(workload.requests)
    tables["openings"] = opening.astype(np.int32).view(TABLES["openings"])
    if workload.think.size:
        rows["think"] = workload.think
    if workload.priority.size:
        rows["priority"] = np.unique(workload.priority, return_inverse=True)[1]
    tables["fleet"]["classes"] = int(rows["priority"].max()) + 1 if workload.priority.size else 1
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
    sent, run = tables["arrivals"]["moment"], tables["fleet"]
    run["openings"] = len(tables["openings"])
    if not workload.concurrency:
        return
    first = tables["openings"]["row"][: workload.concurrency]
    sent[first] = np.arange(len(first)) * (workload.ramp / workload.concurrency)
    arrivals = tables["heap"][: len(first)]
    arrivals["moment"], arrivals["order"], arrivals["what"] = sent[first] + run["delay"], first, first
    run["arrivals"] = run["next"] = len(first)


# Machines.


def _lay_pools(tables: Tables, fleet: Fleet, prefix_block: int) -> None:
    """Pools, and the tables of all of them one after the other: reaches, sizes of steps, samples."""
    tables["pools"] = pools = np.zeros(len(fleet.pools), TABLES["pools"])
    parts: dict[str, list[Records]] = {"reaches": [], "slopes": [], "sizes": [], "samples": []}
    for row, pool in zip(pools, fleet.pools, strict=True):
        _limits(row, pool, prefix_block)
        made = {
            "reaches": ("reaches", _reaches(pool)),
            "slopes": ("slopes", _slopes(pool)),
            "sizes": ("sizes", _sizes(pool.times, "tokens")),
            "joint": ("sizes", _sizes(pool.times, "joint")),
            "samples": ("samples", _samples(pool.times, "sampled")),
            "draft": ("samples", _samples(pool.times, "draft")),
        }
        for name, (table, part) in made.items():
            each = 1 if name == "reaches" else len(CURVES)
            if name != "slopes":
                row[f"{name}_at"] = sum(map(len, parts[table])) // each
            if name in ("reaches", "joint", "draft"):
                row[name] = len(part) // each
            parts[table].append(part)
    tables.update({name: _end_to_end(part) for name, part in parts.items()})


def _end_to_end(parts: Sequence[Records]) -> Records:
    """Records of one kind as one table: copied as bytes, since field by field it took as long as half of the simulation."""
    return np.concatenate([part.view(np.uint8) for part in parts]).view(parts[0].dtype)


def _limits(row: np.void, pool: Pool, prefix_block: int) -> None:
    policy, times = pool.policy, pool.times
    names = (
        "token_budget max_num_seqs block_size batching max_context look_interval overlap prefill_wait kv_capacity reserve host_bandwidth"
    )
    for name in names.split():
        row[name] = getattr(policy, name)
    row["role"], row["ranks"], row["depth"], row["width"] = pool.role, times.ranks, times.depth, times.width
    row["spill"], row["spill_after"] = times.spill, times.spill_after
    row["block_bytes"] = block = policy.unbounded_bytes * prefix_block
    row["caches"] = policy.prefix_cache and block > 0
    row["host_blocks"] = policy.host_capacity // block if row["caches"] else 0


def _windows(pool: Pool) -> list[int]:
    """Reaches of steps and of the cache, ascending, the unbounded one last."""
    return sorted({reach or FOREVER for reach in (*pool.times.reaches, *(reach for reach, _ in pool.policy.kv_bytes))})


def _reaches(pool: Pool) -> Records:
    windows = _windows(pool)
    table = np.zeros(len(windows), TABLES["reaches"])
    table["window"] = windows
    for reach, each in pool.policy.kv_bytes:
        table["bytes"][windows.index(reach or FOREVER)] += each
    return table


def _slopes(pool: Pool) -> Records:
    """By reach and curve."""
    windows = _windows(pool)
    table = np.zeros((len(windows), len(CURVES)), TABLES["slopes"])
    places = [windows.index(reach or FOREVER) for reach in pool.times.reaches]
    for at, name in enumerate(CURVES):
        curve: Curve = getattr(pool.times, name)
        table["decode"][places, at] = curve.decode.sum(axis=1)
        for line, suffix in zip(range(curve.prefill.shape[1]), ("", "2"), strict=False):
            table[f"pairs{suffix}"][places, at], table[f"reread{suffix}"][places, at] = curve.prefill[:, line].T
    return table.ravel()


def _sizes(times: StepTime, column: str) -> Records:
    """By tokens of a rank, or of all ranks (joint), and curve."""
    table = np.zeros((getattr(times.interval, column).shape[2], len(CURVES)), TABLES["sizes"])
    for at, name in enumerate(CURVES):
        table["decode"][:, at], table["mixed"][:, at] = getattr(getattr(times, name), column).sum(axis=1)
    return table.ravel()


def _samples(times: StepTime, column: str) -> Records:
    """By samples, or by sequences that draft, and curve."""
    table = np.zeros((getattr(times.interval, column).shape[1], len(CURVES)), TABLES["samples"])
    for at, name in enumerate(CURVES):
        table["each"][:, at] = getattr(getattr(times, name), column).sum(axis=0)
    return table.ravel()


def _lay_machines(tables: Tables, fleet: Fleet) -> None:
    """Replicas with their ranks and micro-batches, the micro-batches of each rank, and what is counted of these."""
    pools, run = tables["pools"], tables["fleet"]
    pool = np.repeat(np.arange(len(pools)), [each.replicas for each in fleet.pools])
    tables["replicas"] = replicas = np.zeros(len(pool), TABLES["replicas"])
    ranks_of, depth_of = pools["ranks"][pool], pools["depth"][pool]
    stages = int((ranks_of * depth_of).sum())
    _refuse_many(int((2 * pools["max_num_seqs"][pool] * ranks_of + 64) @ depth_of), "replicas, max_num_seqs")
    _refuse_many(stages * int(pools["reaches"].max()) * int(pools["block_size"].max()), "replicas, block_size")
    replicas["pool"], replicas["up"], replicas["unseen"] = pool, 1, pools["look_interval"][pool]
    replicas["first_rank"], replicas["first_batch"] = _starts(ranks_of), _starts(depth_of)
    tables["ranks"] = ranks = np.zeros(int(ranks_of.sum()), TABLES["ranks"])
    ranks["replica"] = np.repeat(np.arange(len(replicas)), ranks_of)
    ranks["pool"], depths = pool[ranks["replica"]], depth_of[ranks["replica"]]
    ranks["first_unit"], ranks["forming"] = _starts(depths), 1
    tables["batches"] = batches = np.zeros(int(depth_of.sum()), TABLES["batches"])
    batches["moment"] = np.inf
    batches["room"] = np.repeat(2 * pools["max_num_seqs"][pool] * ranks_of + 64, depth_of)
    batches["stack_at"] = _starts(batches["room"])
    units, width, size = int(depths.sum()), int(pools["reaches"].max()), int(pools["block_size"].max())
    tables["units"], tables["sums"] = np.zeros(units, TABLES["units"]), np.zeros(units * width, TABLES["sums"])
    tables["residues"] = np.zeros(units * width * size, TABLES["residues"])
    tables["peaks"] = np.zeros(int(batches["room"].sum()), TABLES["peaks"])
    run["reaches"], run["block_sizes"] = width, size
    run["leaves"] = 1 << (len(replicas) - 1).bit_length()
    tables["tree"] = np.full(2 * int(run["leaves"][0]), np.inf).view(TABLES["tree"])


def _refuse_many(entries: int, fields: str) -> None:
    if entries > MOST_ENTRIES:
        problem = f"take a table of {entries:.2g} entries to simulate"
        raise InputError("deployment", fields, problem, f"Give smaller ones, which take at most {MOST_ENTRIES:.2g}")


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of several runs of elements begins."""
    return np.asarray(np.cumsum(counts) - counts)


def _lay_lists(tables: Tables) -> None:
    """Lists, and the links of their members; of blocks and slots all are free, of micro-batches all are idle.

    By rank and class those that run, then those that wait; by rank, by micro-batch of a rank, by replica; one for all.
    """
    run, ranks, units, replicas = tables["fleet"], len(tables["ranks"]), len(tables["units"]), tables["replicas"]
    queues, place = ranks * int(run["classes"][0]), 0
    by_rank = ("inboxes_at", "prompts_at", "ready_at", "handed_at", "idle_at", "hosted_at")
    counts = {"": queues, "waits_at": queues, **dict.fromkeys(by_rank, ranks), "fresh_at": units, "ending_at": units}
    for name, count in {**counts, "turns_at": 2 * len(replicas), "hold": 1, "again": 1, "free_slots": 1, "free_blocks": 1}.items():
        if name:
            run[name] = place
        place += count
    slots, blocks, batches = len(tables["slots"]), len(tables["blocks"]), len(tables["batches"])
    run["state_links"], run["block_links"], run["row_links"] = slots, 2 * slots, 2 * slots + blocks
    run["batch_links"] = 2 * slots + blocks + len(tables["rows"])
    tables["lists"] = lists = np.full(2 * place, NONE, np.int32).view(TABLES["lists"])
    tables["links"] = links = np.zeros(int(run["batch_links"][0]) + batches, TABLES["links"])
    _filled(lists, int(run["free_slots"][0]), links[slots:][1:slots], 1)
    _filled(lists, int(run["free_blocks"][0]), links[2 * slots :][:blocks], 0)
    ends = np.append(replicas["first_batch"][1:], batches)
    for replica, (first, end) in enumerate(zip(replicas["first_batch"], ends, strict=True)):
        _filled(lists, int(run["turns_at"][0]) + 2 * replica, links[run["batch_links"][0] :][first:end], first)


def _filled(lists: Records, which: int, links: Records, first: int) -> None:
    """Put the items from `first` on, as many as there are links, into a list in order."""
    if len(links):
        items = np.arange(first, first + len(links))
        links["before"][1:], links["after"][:-1] = items[:-1], items[1:]
        links["before"][0] = links["after"][-1] = NONE
        lists["head"][which], lists["tail"][which] = items[0], items[-1]


def _lay_blocks(tables: Tables) -> None:
    """Prefix blocks, none in use."""
    pools, ranks, distinct = tables["pools"], tables["ranks"], len(tables["where"])
    each = np.zeros(len(pools))
    held = pools["caches"] > 0
    each[held] = np.minimum(pools["kv_capacity"][held] // pools["block_bytes"][held] + pools["host_blocks"][held] + 2, distinct)
    _refuse_many(int(each[ranks["pool"]].sum()), "replicas")
    tables["blocks"] = blocks = np.zeros(int(each[ranks["pool"]].sum()) + 1, TABLES["blocks"])
    blocks["users"] = FREE


def _lay_slots(tables: Tables, workload: Workload, fleet: Fleet) -> None:
    """Room for all that can run, and for what prefill ranks hold for others."""
    tables["fleet"]["hands_over"] = hands_over = any(pool.role == DECODE for pool in fleet.pools)
    count = 2
    for pool in fleet.pools:
        seats = pool.policy.max_num_seqs
        if hands_over and pool.policy.footprint(1) > 0:
            seats += int(min(pool.policy.kv_capacity // pool.policy.footprint(1), workload.requests))
        count += pool.replicas * pool.times.ranks * seats
    tables["slots"] = np.zeros(min(count, 2 * workload.requests + 2), TABLES["slots"])


def _lay_heap(tables: Tables, workload: Workload) -> None:
    """One array for all heaps: requests that were sent, caches on their way, and the sequences of each micro-batch of a rank."""
    pool = tables["pools"][tables["ranks"]["pool"]]
    spare = 2  # the kernel lays a new entry beyond the last
    sent = spare + min(workload.requests, max(workload.concurrency, len(tables["openings"]) if workload.session.size else 0))
    seats = spare + int(pool["max_num_seqs"].sum())
    tables["fleet"]["transfers_at"] = sent
    each = np.repeat(spare + pool["max_num_seqs"], pool["depth"])
    tables["units"]["heap_at"] = sent + seats + _starts(each)
    tables["heap"] = np.zeros(sent + seats + int(each.sum()), TABLES["heap"])


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
    tallies = tuple(_tallies(fleet, tables))
    return Outcome(
        arrival=tables["arrivals"]["moment"],
        first_token=tables["first_tokens"]["moment"],
        finish=tables["finishes"]["moment"],
        preemptions=rows["preemptions"].astype(np.int64),
        prefix_hit=rows["prefix_hit"].astype(np.int64),
        largest_gap=np.where(np.isfinite(tables["finishes"]["moment"]), rows["largest_gap"], 0.0),
        gaps=tables["gaps"]["count"],
        resource_seconds=np.sum([tally.resource_seconds() for tally in tallies], axis=0),
        joules=float(run["joules"]),
        steps=int(run["steps"]),
        busy_seconds=float(run["busy"]),
        prefill_seconds=float(run["prefill"]),
        cached_seconds=float(run["cached"]),
        batch_seconds=float(run["batch"]),
        kv_peak=float((ranks["most"] / tables["pools"]["kv_capacity"][ranks["pool"]]).max()),
        tallies=tallies,
    )


def _tallies(fleet: Fleet, tables: Tables) -> Iterator[Tally]:
    for pool, row in zip(fleet.pools, tables["pools"], strict=True):
        tally = Tally(pool.times)
        tally.tokens[:] = _counted(tables["sizes"], row["sizes_at"], tally.tokens.shape[1])[:, : len(tally.tokens)].T
        tally.joint[:] = _counted(tables["sizes"], row["joint_at"], row["joint"])[:, : len(tally.joint)].T
        tally.sampled[:] = _counted(tables["samples"], row["samples_at"], len(tally.sampled))[:, 0]
        tally.draft[:] = _counted(tables["samples"], row["draft_at"], row["draft"])[:, 0]
        reaches = tables["reaches"][row["reaches_at"] :][: row["reaches"]]
        places = np.searchsorted(reaches["window"], [reach or FOREVER for reach in pool.times.reaches])
        tally.decode[:] = reaches["sum_decode"][places]
        tally.line_seconds[:2] = [row["line"], row["line2"]][: len(tally.line_seconds)]
        yield tally


def _counted(table: Records, first: int, count: int) -> Integers:
    """Steps by size, in the places of curves; shape (count, curves)."""
    steps: Integers = table["steps"].reshape(-1, len(CURVES))[first : first + count]
    return steps
