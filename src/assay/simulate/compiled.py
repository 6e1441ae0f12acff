"""Lays a workload, step times and a policy out as the kernel's arrays, runs it, and reads the outcome."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.simulate import kernel
from assay.simulate.policies import Policy
from assay.simulate.records import GAP_BINS, Integers, Outcome
from assay.simulate.tally import Tally
from assay.steptime import Curve, StepTime
from assay.workloads import Workload

Records = NDArray[np.void]  # arrays of the kernel's dtypes


def serve(workload: Workload, times: StepTime, policy: Policy) -> Outcome:
    """Serve the workload on one replica."""
    state = _state(workload, times, policy)
    kernel.serve(tuple(state))
    return _outcome(times, policy, state)


def warm_up() -> None:
    """Compile the kernel, or load it from disk, so that many workers need not each do so."""
    one = Workload.draw(1, 1, requests=1)
    times = StepTime.constant(1.0, most=1)
    serve(one, times, Policy(token_budget=1, max_num_seqs=1, block_size=1, kv_capacity=2.0, kv_bytes=((0, 1.0),)).within(times))


def _state(workload: Workload, times: StepTime, policy: Policy) -> kernel.State:
    rows, blocks = _rows(workload, policy)
    state = kernel.State(
        rows=rows,
        blocks=blocks,
        slots=np.zeros(policy.max_num_seqs + 1, kernel.SLOT),
        pool=_pool(int(blocks.max()) + 1 if blocks.size else 0),
        lists=np.zeros(max(policy.max_num_seqs, workload.concurrency) + 1, kernel.LIST),
        kv=np.array(list(policy.kv_bytes), kernel.KV),
        reach=_reach(times),
        table=_table(times),
        sampled=_sampled(times),
        gaps=np.zeros(GAP_BINS, np.int64),
        run=_run(workload, times, policy),
    )
    _start_arrivals(workload, state)
    return state


def _rows(workload: Workload, policy: Policy) -> tuple[Records, Integers]:
    """The table of requests, and the dense ids of their whole prefix blocks (none without a prefix cache)."""
    rows = np.zeros(workload.requests, kernel.ROW)
    rows["sent"] = rows["arrival"] = workload.arrival
    rows["input"], rows["output"] = workload.input, workload.output
    rows["first_token"] = rows["finish"] = np.nan
    if not policy.prefix_cache or not workload.prefix.size:
        return rows, np.zeros(0, np.int64)
    starts = workload.prefix_offsets[:-1]
    whole = np.minimum(np.diff(workload.prefix_offsets), workload.input // workload.prefix_block)
    first = np.cumsum(whole) - whole
    within = np.arange(int(whole.sum())) - np.repeat(first, whole)
    rows["first_block"], rows["blocks"] = first, whole
    kept = workload.prefix[np.repeat(starts, whole) + within]
    return rows, np.unique(kept, return_inverse=True)[1].astype(np.int64)


def _pool(blocks: int) -> Records:
    """No block is here, and the LRU ring has no members: its closing entry is its own neighbour."""
    pool = np.zeros(blocks + 1, kernel.BLOCK)
    pool["users"] = -1
    pool["before"] = pool["after"] = blocks
    return pool


def _reach(times: StepTime) -> Records:
    reach = np.zeros(len(times.reaches), kernel.REACH)
    reach["window"] = times.reaches
    for name, curve in _curves(times):
        reach[f"{name}_decode"] = curve.decode.sum(axis=1)
        for line, suffix in zip(range(curve.prefill.shape[1]), ("", "2"), strict=False):
            reach[f"{name}_pairs{suffix}"], reach[f"{name}_reread{suffix}"] = curve.prefill[:, line].T
    return reach


def _table(times: StepTime) -> Records:
    table = np.zeros(times.most_tokens + 1, kernel.SIZE)
    for name, curve in _curves(times):
        table[f"{name}_decode"], table[f"{name}_mixed"] = curve.tokens.sum(axis=1)
    return table


def _sampled(times: StepTime) -> Records:
    sampled = np.zeros(times.most_sampled + 1, kernel.SAMPLED)
    for name, curve in _curves(times):
        sampled[name] = curve.sampled.sum(axis=0)
    return sampled


def _curves(times: StepTime) -> tuple[tuple[str, Curve], ...]:
    return ("interval", times.interval), ("latency", times.latency)


def _run(workload: Workload, times: StepTime, policy: Policy) -> Records:
    run = np.zeros(1, kernel.RUN)
    for name in ("token_budget", "max_num_seqs", "block_size", "prefill_first", "max_context", "kv_capacity", "admission_delay"):
        run[name] = getattr(policy, name)
    run["prefix_block"], run["block_bytes"] = workload.prefix_block, policy.unbounded_bytes * workload.prefix_block
    run["users"], run["depth"] = workload.concurrency, times.depth
    run["spill"], run["spill_after"] = times.spill, times.spill_after
    return run


def _start_arrivals(workload: Workload, state: kernel.State) -> None:
    """In a closed loop the first request of each user is sent at 0; in an open loop arrivals are read in order."""
    first = min(workload.concurrency, workload.requests)
    if workload.concurrency:
        state.rows["arrival"] = 0.0
        state.lists["heap_key"][:first] = state.run["admission_delay"]
        state.lists["heap_row"][:first] = np.arange(first)
        state.run["heap"] = state.run["later"] = first


def _outcome(times: StepTime, policy: Policy, state: kernel.State) -> Outcome:
    run, rows, tally = state.run[0], state.rows, Tally(times)
    tally.tokens[kernel.DECODE], tally.tokens[kernel.MIXED] = state.table["decodes"], state.table["mixed"]
    tally.sampled[:] = state.sampled["steps"]
    for name in ("decode", "pairs", "reread"):
        getattr(tally, name)[:] = state.reach[f"sum_{name}"]
    tally.line_seconds[:2] = [run["line"], run["line2"]][: len(tally.line_seconds)]
    columns = ("arrival", "first_token", "finish", "preemptions", "prefix_hit", "largest_gap")
    seen: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in columns}
    return Outcome(
        **seen,
        gaps=state.gaps,
        resource_seconds=tally.resource_seconds(),
        joules=tally.joules(),
        steps=int(run["steps"]),
        busy_seconds=float(run["busy"]),
        prefill_seconds=float(run["prefill"]),
        cached_seconds=float(run["cached"]),
        batch_seconds=float(run["batch"]),
        kv_peak=float(run["most"] / policy.kv_capacity),
    )
