"""The arrays that the compiled simulator works on: what a record of each holds.

Requests are rows; running sequences are slots. Lists are a head and a tail in `lists`; their members are linked in `links`.
"""

import numpy as np

NONE = -1  # of a link: nothing follows
LOADING, PROMPT, FLYING, DECODING, HANDED, LOST = range(6)  # of a slot: see reference.sequence; handed over, and lost before it was fetched
FREE, HOST = -1, -2  # of a prefix block instead of a count of users: not in use, in host memory
FOREVER = 2**62


def _record(small: str, integers: str, reals: str) -> np.dtype[np.void]:
    kinds = ((reals, np.float64), (integers, np.int64), (small, np.int32))
    return np.dtype([(name, kind) for names, kind in kinds for name in names.split()])


TABLES = {
    # A request that is not its columns' alone: its class of priority; its prefix blocks; the row of the next turn of its session (0: none);
    # the tokens beyond one that it gets in a decode step; when it `came` to a rank; while it does not decode, the tokens it `emitted`, the
    # moment of the last, and the slot that holds its prompt's cache elsewhere (`source`, 0: none); what it saw. Without much said all is 0.
    "rows": _record(
        "priority blocks following emitted source preemptions prefix_hit", "first_block", "think came largest_gap last faster"
    ),
    # Columns of requests: when each was sent, its lengths, its steps after the first token; when it had the first and the last.
    "arrivals": _record("", "", "moment"),
    "inputs": _record("", "tokens", ""),
    "outputs": _record("", "tokens", ""),
    "decodes": _record("", "steps", ""),
    "first_tokens": _record("", "", "moment"),
    "finishes": _record("", "", "moment"),
    # Rows that are the first turn of a session, or requests of their own.
    "openings": _record("row", "", ""),
    # Prefix blocks of all rows; the block of each id, or NONE; the rank to which each id went last, or NONE.
    "ids": _record("", "id", ""),
    "where": _record("block", "", ""),
    "home": _record("rank", "", ""),
    # A prefix block: its id and rank, its users, and the next block of the same id on another rank; when it is here that was called for.
    "blocks": _record("id rank users chain", "", "here"),
    # A running sequence, or one handed over (slot 0 is never used): `prompt` tokens of which `computed`; shared blocks, hit tokens;
    # `reserved` bytes for its prompt, `promise` at its longest. Since its micro-batch's clock was `joined` it decodes, from `context`
    # tokens, until `end`; it has outgrown the first `crossed` reaches, and is `fresh` until its first step.
    "slots": _record(
        "row state rank batch unit prompt computed shared hit crossed emitted fresh",
        "serial joined end",
        "reserved promise context rate gap",
    ),
    # Neighbours of a slot among those that run, of each in the list of its state; of a block in LRU order, of a row that waits, of a
    # micro-batch among the idle or the flying ones of its replica.
    "links": _record("before after", "", ""),
    "lists": _record("head tail", "", ""),
    # An entry of a heap, ordered by moment, then order.
    "heap": _record("", "order what", "moment"),
    # The largest gap of the steps up to `step`, from the entry below.
    "peaks": _record("", "step", "gap"),
    # Like replicas: where their tables begin, the limits of each rank's scheduler (see Policy), its machine.
    "pools": _record(
        "", "reaches_at reaches sizes_at joint_at joint samples_at draft_at draft role ranks depth width token_budget max_num_seqs "
        "block_size batching caches max_context look_interval overlap prefill_wait host_blocks",
        "kv_capacity reserve host_bandwidth block_bytes spill_after spill line line2",
    ),
    # A reach of attention or of the cache, ascending: its window (FOREVER: unbounded), its bytes of cache per token, and the sum of D.
    "reaches": _record("", "window", "bytes sum_decode"),
    # Of each reach by curve (interval, latency, joules) the slope of D, and those of two lines in P and R.
    "slopes": _record("", "", "decode pairs reread pairs2 reread2"),
    # A size of step by curve: what it takes, of decodes alone or mixed; how many steps of each kind (in place of curves) had it. By tokens
    # of a rank, then of all ranks together.
    "sizes": _record("", "steps", "decode mixed"),
    # A count of samples by curve, and how many steps had it; then of sequences that draft.
    "samples": _record("", "steps", "each"),
    # A replica: see reference.replica. Of its flight: when it began (and its last step, while which the next is `planned`), the steps of a
    # leap (0: none), of which the first takes `constant` and each more by `slope`, joules likewise; its slowest rank, its tokens, and how
    # many sequences ran.
    "replicas": _record(
        "", "pool first_rank first_batch up awake decoding running looked pending unseen waited held mixed leap slowest tokens ran",
        "free_at landing planned start constant slope joules joules_slope",
    ),
    # A micro-batch: steps in which it decoded, sequences that decode, whether they do in the step at hand; the moment at which that ends
    # (idle: infinite), and that of its last tokens; its stack of largest gaps.
    "batches": _record("", "clock count decodes stack_at peaks room", "moment last"),
    # A micro-batch on a rank: sequences that decode, and its heap, of the clock at which each finishes or outgrows a window.
    "units": _record("", "count heap_at heap", ""),
    # Of a unit by reach: sum of contexts, its growth per step; of the step at hand D, P, R, P and R without prefix hits.
    "sums": _record("", "", "context grown decode pairs reread bare_pairs bare_reread"),
    # Of a unit by reach: how many sequences need a new block when the clock has a residue.
    "residues": _record("count", "", ""),
    # A scheduler: how many run and wait; bytes of cache in use and promised, idle blocks, the most that was busy; the step at hand.
    "ranks": _record(
        "", "pool replica first_unit running waiting requests forming gave_way idle hosted tokens sampled decoders prompted",
        "used promised most link_free interval slope",
    ),
    # Ranks that take prompts, then those that decode what others computed; how many requests each list had, at its first.
    "targets": _record("rank", "turns", ""),
    "outages": _record("", "replica up", "moment"),
    # The next moment of each replica, and above them the least of each pair.
    "tree": _record("", "", "moment"),
    "gaps": _record("", "count", ""),
    # The run: sizes of tables, places of lists and heaps, arrivals, the router, totals (see Outcome).
    "fleet": _record(
        "", "requests openings all_ranks all_pools all_outages all_replicas all_slots all_blocks classes reaches block_sizes prefix_block "
        "state_links block_links row_links batch_links waits_at inboxes_at prompts_at ready_at handed_at idle_at hosted_at fresh_at "
        "ending_at turns_at hold again free_slots free_blocks users next arrivals arrivals_at transfers transfers_at tickets admissions "
        "awake outage routing prompt_targets decode_targets leaves ended steps hands_over",
        "now delay load_bound link_bandwidth link_latency busy batch prefill cached joules",
    ),
}  # fmt: skip
