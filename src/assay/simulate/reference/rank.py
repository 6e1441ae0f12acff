"""One scheduler with a cache of its own: what an attention rank puts into a step. A replica without such ranks is one rank."""

import math
from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.simulate.fleet import Pool
from assay.simulate.policies import STATIC
from assay.simulate.records import Integers
from assay.simulate.reference.blocks import KvPool
from assay.simulate.reference.sequence import DECODING, FLYING, LOADING, PROMPT, WAITING, Sequence


@dataclass(frozen=True)
class Chunk:
    """Tokens of a prompt after those `before` that are in the cache, of which `hit` were found there; with its last it `ends`."""

    sequence: Sequence
    tokens: int
    before: int
    hit: int
    ends: bool


@dataclass
class Plan:
    """What a rank does in one step: sequences that decode, and chunks of prompts."""

    decodes: list[Sequence] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing is done."""
        return not (self.decodes or self.chunks)

    @property
    def ending(self) -> list[Sequence]:
        """Sequences whose prompt this step ends: they get a token."""
        return [chunk.sequence for chunk in self.chunks if chunk.ends]


@dataclass(frozen=True)
class Link:
    """Over which the caches of prompts come: bytes/s, and seconds from a byte being sent to its being there."""

    latency: float
    bandwidth: float


@dataclass
class Log:
    """What all ranks write to: how often each request was preempted, what it found cached, and a count of admissions."""

    preemptions: Integers
    prefix_hit: Integers
    admissions: int = 0


class Rank:
    """The queue, the cache and the running sequences of one scheduler.

    `batches` are the decoding sequences by micro-batch, of which a pipeline has as many as stages; `handed` those whose prompt is
    computed and whose cache another rank has yet to fetch. `loads` are the sequences whose cache was called for in the step at hand,
    and when it is here; `lost` those whose cache is no more where it was.
    """

    def __init__(self, replica: int, pool: Pool, link: Link, prefix_block: int, log: Log) -> None:
        self.replica, self.link, self.prefix_block, self.log = replica, link, prefix_block, log
        self.times, self.policy = pool.times, pool.policy
        self.now = 0.0
        self.peak = 0.0  # most bytes of cache that were busy before the last failure
        self.requests = 0  # waiting or running: what a router sees
        self.link_free = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        block = self.policy.unbounded_bytes * self.prefix_block
        self.caches = self.policy.prefix_cache and block > 0
        self.cache = KvPool(self.policy.kv_capacity, block, int(self.policy.host_capacity // block) if block else 0)
        self.inbox: deque[Sequence] = deque()
        self.waiting: dict[int, deque[Sequence]] = {}
        self.running: list[Sequence] = []
        self.prompts: list[Sequence] = []
        self.ready: deque[Sequence] = deque()
        self.batches: list[list[Sequence]] = [[] for _ in range(self.times.depth)]
        self.handed: list[Sequence] = []
        self.loads: list[tuple[Sequence, float]] = []
        self.lost: list[Sequence] = []
        self.forming = True
        self.promised = 0.0  # bytes that those who run will take at their longest, as far as that is reserved

    # The queue.

    def look(self, until: float = math.inf) -> None:
        """See the requests that came until some moment."""
        while self.inbox and self.inbox[0].came <= until:
            sequence = self.inbox.popleft()
            self.waiting.setdefault(sequence.priority, deque()).append(sequence)

    def queue(self) -> Iterator[Sequence]:
        """Requests that wait and were seen, in the order in which they go."""
        for priority in sorted(self.waiting):
            yield from self.waiting[priority]

    @property
    def has_prompts(self) -> bool:
        """Whether a prompt is under way or waits."""
        return bool(self.prompts) or any(self.waiting.values())

    # A step.

    def plan(self, batch: int, *, prompts: bool, decodes: bool) -> Plan:
        """Fill a step of a micro-batch: its decodes, the prompts under way, and the requests that can be admitted."""
        self._join(batch)
        plan = Plan()
        roomy = True
        if decodes:
            roomy = self._make_room(batch)
            plan.decodes = list(self.batches[batch])
        if prompts:
            self._fill(plan, batch, roomy)
        return plan

    def _places(self, batch: int) -> int:
        """How many sequences more may decode in a micro-batch: a pipeline shares them evenly."""
        there = min(len(self.running) + sum(map(len, self.waiting.values())), self.policy.max_num_seqs)
        return max(0, -(-there // self.times.depth) - len(self.batches[batch]))

    def _join(self, batch: int) -> None:
        """Sequences whose cache has come over the link decode from now on."""
        for _ in range(min(self._places(batch), len(self.ready))):
            self.start_decoding(self.ready.popleft(), batch)

    def start_decoding(self, sequence: Sequence, batch: int) -> None:
        """A sequence decodes in a micro-batch from its next step on."""
        sequence.state = DECODING
        insort(self.batches[batch], sequence, key=lambda each: each.serial)

    def _fill(self, plan: Plan, batch: int, roomy: bool) -> None:
        left = self.policy.token_budget - len(plan.decodes) * self.times.width
        places = self._places(batch)
        if self.policy.batching == STATIC and not self.running:
            self.forming = True
        for sequence in list(self.prompts):
            if not left or (sequence.to_compute <= left and not places):
                break
            chunk = self._compute(sequence, left)
            plan.chunks.append(chunk)
            left, places = left - chunk.tokens, places - chunk.ends
        if roomy and (self.policy.batching != STATIC or self.forming):
            self._admit(plan, left, places)

    def _admit(self, plan: Plan, left: int, places: int) -> None:
        """Admit those who wait, first come, first served within a priority, while there is budget, a place and room for the prompt."""
        while sequence := next(self.queue(), None):
            if sequence.source and sequence.source.lost:
                self.lost.append(self.waiting[sequence.priority].popleft())
                continue
            stuck = sequence.source is None and not (left and places)
            if len(self.running) == self.policy.max_num_seqs or stuck or not self._hold(sequence):
                return
            self._run(self.waiting[sequence.priority].popleft())
            if sequence.state == LOADING:
                continue
            self.prompts.append(sequence)
            chunk = self._compute(sequence, left)
            plan.chunks.append(chunk)
            left, places = left - chunk.tokens, places - chunk.ends

    def _compute(self, sequence: Sequence, most: int) -> Chunk:
        """Take the next tokens of a prompt, at most so many, into a step; prompts that come later find its blocks."""
        tokens, before = min(sequence.to_compute, most), sequence.computed
        sequence.computed += tokens
        self._publish(sequence)
        if not sequence.to_compute:
            self.prompts.remove(sequence)
            sequence.state = FLYING
        return Chunk(sequence, tokens, before, sequence.hit, not sequence.to_compute)

    def _run(self, sequence: Sequence) -> None:
        sequence.serial = self.log.admissions
        self.log.admissions += 1
        self.running.append(sequence)
        self.promised += sequence.promise
        if not sequence.source and not self.log.preemptions[sequence.row]:
            self.log.prefix_hit[sequence.row] = sequence.hit

    # Memory.

    def _hold(self, sequence: Sequence) -> bool:
        """Take room for the whole prompt and use what of it is cached; False, and nothing taken, when there is no room.

        The last token of a prompt is computed in any case, for its logits.
        """
        context = int(sequence.known) + self.times.width - 1
        needed = self.policy.footprint(context)
        promise = self.policy.promise(context, sequence.prompt, sequence.output)
        if self.running and self.promised + promise > self.policy.kv_capacity:
            return False
        most = (int(sequence.known) - 1) // self.prefix_block if self.caches and not sequence.source else 0
        shared, used, host = self.cache.leading(sequence.blocks[:most])
        if not self.cache.fits(needed - used * self.cache.block_bytes):
            return False
        if sequence.source or host:
            self.link_free = max(self.now, self.link_free) + self._seconds(sequence, host)
        here = self.cache.acquire(sequence.blocks[:shared], self.link_free)
        sequence.private = needed - shared * self.cache.block_bytes
        self.cache.take(sequence.private)
        sequence.promise = promise
        sequence.shared, sequence.hit, sequence.computed = shared, shared * self.prefix_block, shared * self.prefix_block
        sequence.state = PROMPT
        if sequence.source or here > self.now:
            sequence.state = LOADING
            self.loads.append((sequence, self.link_free + self.link.latency if sequence.source else here))
        return True

    def _seconds(self, sequence: Sequence, host: int) -> float:
        """Time that blocks take from host memory, or the cache of a prompt over the link."""
        if host:
            return host * self.cache.block_bytes / self.policy.host_bandwidth
        context = int(sequence.known)
        sent = sum(each * (min(context, reach) if reach else context) for reach, each in self.policy.kv_bytes)
        return sent / self.link.bandwidth

    def _make_room(self, batch: int) -> bool:
        """Hold the next token of each sequence of a micro-batch; False when others had to give way for that."""
        roomy = True
        while not self.cache.fits(sum(map(self._growth, self.batches[batch]))):
            roomy = False
            self._preempt_last()
        for sequence in self.batches[batch]:
            growth = self._growth(sequence)
            sequence.private += growth
            self.cache.take(growth)
        return roomy

    def _growth(self, sequence: Sequence) -> float:
        """Bytes that the next decode step of a sequence takes: whole blocks; with speculation its mean tokens per step."""
        if self.times.width == 1:
            return self.policy.footprint(int(sequence.known)) - self.policy.footprint(int(sequence.known) - 1)
        return sum(each * sequence.rate for reach, each in self.policy.kv_bytes if not reach or sequence.known <= reach)

    def _preempt_last(self) -> None:
        """Take the memory of a sequence of the lowest priority, of those the one admitted last, that is in no step.

        It will be computed again from its start, before all others of its priority.
        """
        able = [sequence for sequence in self.running if sequence.state in (PROMPT, DECODING)]
        victim = max(able, key=lambda sequence: (sequence.priority, sequence.serial))
        self.leave(victim)
        victim.state = WAITING
        self.waiting.setdefault(victim.priority, deque()).appendleft(victim)
        self.log.preemptions[victim.row] += 1

    def leave(self, sequence: Sequence) -> None:
        """A sequence runs no more."""
        self.stop(sequence)
        for members in (self.prompts, *self.batches):
            if sequence in members:
                members.remove(sequence)
        if sequence in self.ready:
            self.ready.remove(sequence)
        self.drop(sequence)

    def stop(self, sequence: Sequence) -> None:
        """A sequence has no seat any more; its memory is for others to give back."""
        self.running.remove(sequence)
        self.promised -= sequence.promise

    def drop(self, sequence: Sequence) -> None:
        """Give back the memory of a sequence."""
        self.cache.give(sequence.private)
        self.cache.release(sequence.blocks[: sequence.shared])
        sequence.private, sequence.shared, sequence.computed, sequence.hit = 0.0, 0, 0, 0

    def _publish(self, sequence: Sequence) -> None:
        """Share the whole blocks of a prompt that are computed by now."""
        whole = min(len(sequence.blocks), sequence.computed // self.prefix_block) if self.caches else 0
        for block in sequence.blocks[sequence.shared : whole]:
            self.cache.publish(block)
            sequence.private -= self.cache.block_bytes
            sequence.shared += 1

    def arrived(self, sequence: Sequence) -> None:
        """The cache of a sequence is here: its prompt can go on, or it decodes after what another rank computed."""
        if sequence.source:
            sequence.source = None
            self.ready.append(sequence)
        else:
            sequence.state = PROMPT
            self.prompts.append(sequence)

    def fly(self, plan: Plan) -> None:
        """Sequences that decode in a step wait for its end."""
        for sequence in plan.decodes:
            sequence.state = FLYING
            self.forming = False
