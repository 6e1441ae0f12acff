"""The specification of a serving engine's scheduler, in plain Python: it takes every step and favours clarity over speed.

At one instant things happen in this order: steps end (tokens, finishes), requests arrive by index, the scheduler fills a step. An
arrival during a step is seen at its end.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from assay.simulate.blocks import KvPool
from assay.simulate.policies import Policy
from assay.simulate.records import GAP_BINS, Outcome, gap_bin
from assay.simulate.tally import Tally
from assay.steptime import DECODE, MIXED, Step, StepTime, total
from assay.workloads import Workload


class _Sequence:
    """A request that arrived: `known` tokens (prompt and generated), of which `computed` are in the cache and `covered` have room.

    Of its prompt `blocks` the first `shared` are held in common, the first `hit` were found there; `private` bytes are its own. It is
    `decoding` when only its newest token is not in the cache. While `flying` it waits for a token of a step that was issued.
    """

    __slots__ = (
        "blocks", "computed", "covered", "decoding", "flying", "generated", "hit", "index", "known", "largest_gap", "last", "output",
        "private", "running", "shared",
    )  # fmt: skip

    def __init__(self, index: int, known: int, output: int, blocks: list[int]) -> None:
        self.index, self.known, self.output, self.blocks = index, known, output, blocks
        self.generated = self.computed = self.covered = self.shared = self.hit = 0
        self.private = self.last = self.largest_gap = 0.0
        self.decoding = self.flying = self.running = False

    @property
    def remaining(self) -> int:
        return self.known - self.computed


@dataclass
class _Batch:
    """What one step will do within a token budget: sequences that decode one token each, and prompts that get a chunk.

    A chunk is (sequence, tokens, whether it ends the prompt and samples).
    """

    left: int
    decodes: list[_Sequence] = field(default_factory=list)
    chunks: list[tuple[_Sequence, int, bool]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.decodes or self.chunks)

    def add_chunk(self, sequence: _Sequence, chunk: int) -> None:
        """Give `chunk` tokens of the budget to a prompt; it samples when they are its last."""
        self.left -= chunk
        self.chunks.append((sequence, chunk, chunk == sequence.remaining))

    def add_decode(self, sequence: _Sequence) -> None:
        """Give one token of the budget to a sequence that decodes."""
        self.left -= 1
        self.decodes.append(sequence)


class Replica:
    """One replica serving one workload, step by step."""

    def __init__(self, workload: Workload, times: StepTime, policy: Policy) -> None:
        self.workload, self.times, self.policy = workload, times, policy
        self.outcome = Outcome.empty(workload.arrival)
        block = policy.unbounded_bytes * workload.prefix_block
        self.pool = KvPool(policy.kv_capacity, block)
        self.tally = Tally(times)
        self.waiting: deque[_Sequence] = deque()
        self.running: list[_Sequence] = []
        self.flights: deque[tuple[float, _Batch]] = deque()
        self.gaps = [0] * GAP_BINS
        self.last_gap = (0.0, 0)
        self.now = self.landing = 0.0
        self._start_arrivals()

    def run(self) -> Outcome:
        """Serve every request; each admitted one finishes with exactly its tokens."""
        while self.waiting or self.running or self.arrivals or self.flights:
            self._land()
            self._receive()
            batch = self._schedule()
            if not batch.empty:
                self._issue(batch)
            elif not self._skip_to_next_event():
                break
        self.outcome.gaps[:] = self.gaps
        self.outcome.kv_peak = self.pool.peak / self.policy.kv_capacity
        self.outcome.resource_seconds = self.tally.resource_seconds()
        self.outcome.joules, self.outcome.steps = self.tally.joules(), self.tally.steps
        return self.outcome

    # The policy. Running sequences go on first, in order of admission; then waiting ones are admitted, first come, first served.

    def _schedule(self) -> _Batch:
        batch = _Batch(self.policy.token_budget)
        alone = self.policy.prefill_first  # prompts run before decodes go on; else chunks and decodes share a step
        if self._continue(batch, prefills=True, decodes=not alone):
            self._admit(batch)
        if alone and batch.empty:
            self._continue(batch, prefills=False, decodes=True)
        return batch

    def _continue(self, batch: _Batch, prefills: bool, decodes: bool) -> bool:
        """Give running sequences their next token or chunk; False when one had to be preempted, so that none is admitted now."""
        quota = math.ceil(len(self.running) / self.times.depth)  # a pipeline's stages share the decodes evenly
        roomy = True
        for sequence in tuple(self.running):
            if not batch.left:
                break
            wanted = decodes and len(batch.decodes) < quota if sequence.decoding else prefills
            if not wanted or sequence.flying or not sequence.running:
                continue
            chunk = 1 if sequence.decoding else min(sequence.remaining, batch.left)
            while sequence.computed + chunk > sequence.covered and not self._grow(sequence, chunk):
                roomy = False
                if not self._preempt_last(batch, sequence):
                    break
            else:
                if sequence.decoding:
                    batch.add_decode(sequence)
                else:
                    batch.add_chunk(sequence, chunk)
        return roomy

    def _admit(self, batch: _Batch) -> None:
        while self.waiting and batch.left and len(self.running) < self.policy.max_num_seqs:
            sequence = self.waiting[0]
            self._reuse_prefix(sequence)
            chunk = min(sequence.remaining, batch.left)
            if not self._grow(sequence, chunk):
                self._drop_memory(sequence)
                return
            if not self.outcome.preemptions[sequence.index]:
                self.outcome.prefix_hit[sequence.index] = sequence.hit
            sequence.running = True
            self.running.append(self.waiting.popleft())
            batch.add_chunk(sequence, chunk)

    def _preempt_last(self, batch: _Batch, needy: _Sequence) -> bool:
        """Take the memory of the sequence admitted last that is not in this step or in flight; it will be recomputed from its start.

        False when the needy sequence is itself the one that gives way, or none can.
        """
        scheduled = {*map(id, batch.decodes), *(id(sequence) for sequence, _, _ in batch.chunks)}
        for victim in reversed(self.running):
            if victim.flying or id(victim) in scheduled:
                continue
            self._leave(victim)
            self.outcome.preemptions[victim.index] += 1
            self.waiting.appendleft(victim)
            return victim is not needy
        return False

    def _leave(self, sequence: _Sequence) -> None:
        sequence.running = False
        self.running.remove(sequence)
        self._drop_memory(sequence)

    # Memory.

    def _reuse_prefix(self, sequence: _Sequence) -> None:
        """Start after the cached blocks of the prompt; its last token is computed in any case, for its logits."""
        if not self.policy.prefix_cache or not sequence.blocks:
            return
        size = self.workload.prefix_block
        sequence.shared = min(self.pool.leading(sequence.blocks), (sequence.known - 1) // size)
        self.pool.acquire(sequence.blocks[: sequence.shared])
        sequence.computed = sequence.hit = sequence.shared * size

    def _grow(self, sequence: _Sequence, chunk: int) -> bool:
        """Hold the cache of `chunk` more tokens; False when there is no room."""
        needed = self.policy.footprint(sequence.computed + chunk) - sequence.shared * self.pool.block_bytes - sequence.private
        if needed > 0 and not self.pool.take(needed):
            return False
        sequence.private += max(needed, 0.0)
        sequence.covered = -(-(sequence.computed + chunk) // self.policy.block_size) * self.policy.block_size
        return True

    def _publish(self, sequence: _Sequence) -> None:
        """Share the whole blocks of the prompt that are computed by now."""
        whole = min(len(sequence.blocks), sequence.computed // self.workload.prefix_block) if sequence.blocks else 0
        for block in sequence.blocks[sequence.shared : whole]:
            self.pool.publish(block)
            sequence.private -= self.pool.block_bytes
            sequence.shared += 1

    def _drop_memory(self, sequence: _Sequence) -> None:
        self.pool.give(sequence.private)
        self.pool.release(sequence.blocks[: sequence.shared])
        sequence.private, sequence.shared, sequence.computed, sequence.covered, sequence.hit = 0.0, 0, 0, 0, 0
        sequence.decoding = False

    # Time.

    def _issue(self, batch: _Batch) -> None:
        """Start a step: its tokens exist after the latency, the next step may start after the interval."""
        step = self._measure(batch)
        interval = latency = total(self.times.interval, step)
        if self.times.depth > 1:
            latency = total(self.times.latency, step)
        spill = self.times.spill * max(0.0, self.pool.busy - self.times.spill_after) if self.times.spill else 0.0
        self.tally.add(step)
        self._account(batch, step, interval + spill)
        for sequence in batch.decodes:
            sequence.computed += 1
            sequence.flying = True
        for sequence, chunk, samples in batch.chunks:
            sequence.computed += chunk
            sequence.flying = samples
            if sequence.blocks and self.policy.prefix_cache:
                self._publish(sequence)
        self.landing = max(self.now + (latency + spill), self.landing)  # no step overtakes another in the pipeline
        if step.sampled:
            self.flights.append((self.landing, batch))
        self.now += interval + spill

    def _measure(self, batch: _Batch) -> Step:
        known = [sequence.known for sequence in batch.decodes]
        decode = [float(sum([min(context, reach) for context in known] if reach else known)) for reach in self.times.reaches]
        sampled = len(known) + sum(samples for _, _, samples in batch.chunks)
        tokens = len(known) + sum(chunk for _, chunk, _ in batch.chunks)
        return Step(MIXED if batch.chunks else DECODE, tokens, sampled, decode, *self._prefill_sums(batch, with_hits=True))

    def _prefill_sums(self, batch: _Batch, with_hits: bool) -> tuple[list[float], list[float]]:
        """P and R by reach; without hits, as if the tokens found in the prefix cache were not attended to."""
        reaches = self.times.reaches
        pairs, reread = [0.0] * len(reaches), [0.0] * len(reaches)
        for sequence, chunk, _ in batch.chunks:
            before = sequence.computed if with_hits else sequence.computed - sequence.hit
            for place, reach in enumerate(reaches):
                pairs[place] += attended(before, chunk, reach)
                reread[place] += min(before, reach) if reach else before
        return pairs, reread

    def _account(self, batch: _Batch, step: Step, seconds: float) -> None:
        outcome = self.outcome
        outcome.busy_seconds += seconds
        outcome.batch_seconds += seconds * len(self.running)
        if step.kind == MIXED:
            whole = total(self.times.interval, step)
            outcome.prefill_seconds += whole - self._without_prefill(batch, step)
            outcome.cached_seconds += whole - self._without_hits(batch, step)

    def _without_prefill(self, batch: _Batch, step: Step) -> float:
        """Time of the same step had it only decoded."""
        decodes = len(batch.decodes)
        nothing = [0.0] * len(step.decode)
        return total(self.times.interval, Step(DECODE, decodes, decodes, step.decode, nothing, nothing)) if decodes else 0.0

    def _without_hits(self, batch: _Batch, step: Step) -> float:
        """Time of the same step had its prefill attended to no cached prefix."""
        sums = self._prefill_sums(batch, with_hits=False)
        return total(self.times.interval, Step(step.kind, step.tokens, step.sampled, step.decode, *sums))

    def _land(self) -> None:
        """Steps whose latency has passed give their tokens; sequences with all their tokens leave."""
        while self.flights and self.flights[0][0] <= self.now:
            moment, batch = self.flights.popleft()
            for sequence in batch.decodes:
                self._count_gap(sequence, moment - sequence.last)
                self._give_token(sequence, moment)
            for sequence, _, samples in batch.chunks:
                if samples:
                    self._give_first(sequence, moment)

    def _give_first(self, sequence: _Sequence, moment: float) -> None:
        """The token after a prompt: the first of the request, or the next one after a recomputation."""
        if sequence.generated:
            self._count_gap(sequence, moment - sequence.last)
        else:
            self.outcome.first_token[sequence.index] = moment
        sequence.decoding = True
        self._give_token(sequence, moment)

    def _give_token(self, sequence: _Sequence, moment: float) -> None:
        sequence.flying = False
        sequence.last = moment
        sequence.generated += 1
        sequence.known += 1
        if sequence.generated == sequence.output:
            self.outcome.finish[sequence.index] = moment
            self.outcome.largest_gap[sequence.index] = sequence.largest_gap
            self._leave(sequence)
            self._next_of_user(moment)

    def _count_gap(self, sequence: _Sequence, gap: float) -> None:
        if gap != self.last_gap[0]:
            self.last_gap = gap, gap_bin(gap)
        self.gaps[self.last_gap[1]] += 1
        sequence.largest_gap = max(sequence.largest_gap, gap)

    def _skip_to_next_event(self) -> bool:
        """Wait for the next landing or arrival; False when nothing will ever happen."""
        moments = [self.flights[0][0]] if self.flights else []
        if self.arrivals:
            moments.append(self.arrivals[0][0])
        self.now = max(self.now, min(moments, default=math.inf))
        return bool(moments)

    # Arrivals: by the clock in an open loop; in a closed loop each user sends the next request when the last one ends.

    def _start_arrivals(self) -> None:
        count, users = self.workload.requests, self.workload.concurrency
        self.later = deque(range(min(users, count), count)) if users else deque[int]()
        first = range(min(users, count)) if users else range(count)
        if users:
            self.outcome.arrival[:] = 0.0
        times = self.outcome.arrival.tolist()
        delay = self.policy.admission_delay
        self.arrivals = [(times[index] + delay, index) for index in first]
        heapq.heapify(self.arrivals)

    def _next_of_user(self, moment: float) -> None:
        if self.later:
            index = self.later.popleft()
            self.outcome.arrival[index] = moment
            heapq.heappush(self.arrivals, (moment + self.policy.admission_delay, index))

    def _receive(self) -> None:
        while self.arrivals and self.arrivals[0][0] <= self.now:
            moment, index = heapq.heappop(self.arrivals)
            sequence = self._sequence(index)
            if self._fits(sequence):
                self.waiting.append(sequence)
            else:
                self._next_of_user(moment)

    def _sequence(self, index: int) -> _Sequence:
        workload = self.workload
        known = int(workload.input[index])
        first, last = workload.prefix_offsets[index], workload.prefix_offsets[index + 1]
        whole = known // workload.prefix_block if workload.prefix_block else 0
        return _Sequence(index, known, int(workload.output[index]), workload.prefix[first:last][:whole].tolist())

    def _fits(self, sequence: _Sequence) -> bool:
        """Whether the request could run alone: a longer one is rejected when it arrives."""
        longest = sequence.known + sequence.output  # its last token is never put into the cache
        return longest <= self.policy.max_context and self.policy.footprint(longest - 1) <= self.policy.kv_capacity


def attended(before: int, chunk: int, reach: int) -> float:
    """Pairs of a chunk after `before` cached tokens: each of its tokens attends to all up to itself, within `reach` (0: all)."""
    if not reach:
        return chunk * before + chunk * (chunk + 1) / 2
    growing = max(0, min(chunk, reach - before))
    return growing * before + growing * (growing + 1) / 2 + (chunk - growing) * reach
