"""All replicas in one time: arrivals, routing, transfers, failures.

At one instant things happen in this order: steps end (tokens, finishes), caches arrive, replicas start or fail, requests arrive by
index and are routed, schedulers fill steps by replica. An arrival during a step is seen at its end.
"""

import heapq
import math
from collections import deque

from assay.simulate.fleet import Fleet
from assay.simulate.policies import DECODE, PREFILL
from assay.simulate.records import GAP_BINS, Outcome, gap_bin
from assay.simulate.reference.arrivals import Arrivals
from assay.simulate.reference.rank import Link, Log, Rank
from assay.simulate.reference.replica import Replica, Totals
from assay.simulate.reference.router import Router
from assay.simulate.reference.sequence import LOADING, WAITING, Sequence
from assay.simulate.speculation import decode_steps
from assay.simulate.tally import Tally
from assay.workloads import Workload


class Simulation:
    """A workload on a fleet, step by step."""

    def __init__(self, workload: Workload, fleet: Fleet, seed: int = 0) -> None:
        self.workload, self.fleet = workload, fleet
        self.outcome = Outcome.empty(workload.arrival)
        self.steps, self.rates = decode_steps(workload.output, fleet.width, fleet.acceptance, seed)
        self.log = Log(self.outcome.preemptions, self.outcome.prefix_hit)
        self.totals, self.gaps = Totals(), [0] * GAP_BINS
        self.tallies = [Tally(pool.times) for pool in fleet.pools]
        self.replicas: list[Replica] = []
        self.ranks: list[Rank] = []
        link = Link(fleet.link_latency, fleet.link_bandwidth)
        for pool, tally in zip(fleet.pools, self.tallies, strict=True):
            for _ in range(pool.replicas):
                index = len(self.replicas)
                ranks = [Rank(index, pool, link, workload.prefix_block, self.log) for _ in range(pool.times.ranks)]
                self.replicas.append(Replica(ranks, pool.role, tally, self.totals))
                self.ranks += ranks
        self.router = Router(self.replicas, fleet)
        self.arrivals = Arrivals(workload, fleet.pools[0].policy.admission_delay, self.outcome.arrival)
        self.transfers: list[tuple[float, int, Rank, Sequence]] = []
        self.tickets = 0
        self.holders: dict[Sequence, Rank] = {}  # where caches are that wait to be fetched
        self.outages = deque(sorted(fleet.outages, key=lambda outage: outage.time))
        self.held: deque[Sequence] = deque()  # requests for which no replica is up
        self.now = 0.0
        self._start_down()

    def run(self) -> Outcome:
        """Serve every request; each admitted one finishes with exactly its tokens."""
        while (moment := self._next_moment()) < math.inf:
            self.now = moment
            self._land()
            self._receive_caches()
            self._switch()
            self._arrive()
            self._schedule()
        return self._outcome()

    def _next_moment(self) -> float:
        if any(replica.awake and replica.up for replica in self.replicas):
            return self.now
        moments = [replica.next_moment(self.now) for replica in self.replicas]
        moments += [self.arrivals.next_moment(), *(transfer[0] for transfer in self.transfers[:1])]
        if self.outages and (self.held or min(moments) < math.inf):  # when all is done, they matter no more
            moments.append(self.outages[0].time)
        return max(self.now, min(moments))

    # Steps.

    def _land(self) -> None:
        for replica in self.replicas:
            replica.awake |= replica.land(self.now, self._deliver) or replica.free_at == self.now

    def _schedule(self) -> None:
        for replica in self.replicas:
            if replica.awake and replica.up:
                replica.awake = False
                replica.schedule(self.now)
                for rank in replica.ranks:
                    self._start_loads(rank)
                    while rank.lost:
                        self._move(rank, rank.lost.pop(0))

    def _deliver(self, rank: Rank, sequence: Sequence, moment: float, batch: int | None) -> None:
        """A token of a sequence exists; a prompt that ended in `batch` decodes there, or is handed over."""
        last = sequence.emitted + 1 == sequence.emissions
        if batch is not None and not last and self.replicas[rank.replica].role == PREFILL:
            self._hand_over(rank, sequence)
            return
        self._give_token(sequence, moment)
        if last:
            self._finish(rank, sequence, moment)
        elif batch is not None:
            rank.start_decoding(sequence, batch)

    def _give_token(self, sequence: Sequence, moment: float) -> None:
        if sequence.emitted:
            gap = moment - sequence.last
            self.gaps[gap_bin(gap)] += 1
            sequence.largest_gap = max(sequence.largest_gap, gap)
        else:
            self.outcome.first_token[sequence.row] = moment
        sequence.last = moment
        sequence.emitted += 1

    def _finish(self, rank: Rank, sequence: Sequence, moment: float) -> None:
        self.outcome.finish[sequence.row] = moment
        self.outcome.largest_gap[sequence.row] = sequence.largest_gap
        rank.leave(sequence)
        rank.requests -= 1
        self.arrivals.ended(sequence.row, moment)

    # Arrivals.

    def _arrive(self) -> None:
        for row in self.arrivals.due(self.now):
            self._route(self._sequence(row))

    def _sequence(self, row: int) -> Sequence:
        workload = self.workload
        prompt = int(workload.input[row])
        first, last = workload.prefix_offsets[row], workload.prefix_offsets[row + 1]
        whole = prompt // workload.prefix_block if workload.prefix_block else 0
        priority = int(workload.priority[row]) if workload.priority.size else 0
        blocks = workload.prefix[first:last][:whole].tolist()
        return Sequence(row, prompt, int(workload.output[row]), 1 + int(self.steps[row]), float(self.rates[row]), priority, blocks)

    def _route(self, sequence: Sequence) -> None:
        """Send a request to a rank; hold it while none is up, reject it when it could not run there alone."""
        rank = self.router.choose(sequence)
        if rank is None:
            self.held.append(sequence)
        elif self._fits(sequence, rank):
            sequence.came = self.now
            rank.inbox.append(sequence)
            rank.requests += 1
            self.replicas[rank.replica].awake = True
        else:
            self._reject(sequence)

    def _fits(self, sequence: Sequence, rank: Rank) -> bool:
        """Whether the request could run alone here, and where it goes after its prompt."""
        pools = [pool for pool in self.fleet.pools if pool.role == DECODE]
        places = [(rank.times, rank.policy), *((pool.times, pool.policy) for pool in pools)]
        return all(
            sequence.prompt + sequence.output <= policy.max_context
            and policy.most(sequence.prompt, sequence.output, times.width) <= policy.kv_capacity
            for times, policy in places
        )

    def _reject(self, sequence: Sequence) -> None:
        self.outcome.first_token[sequence.row] = math.nan
        self.arrivals.ended(sequence.row, self.now)

    # Caches that go from one place to another.

    def _hand_over(self, rank: Rank, sequence: Sequence) -> None:
        """A prompt is computed: its cache stays until a decode rank has fetched it."""
        rank.stop(sequence)
        rank.requests -= 1
        rank.handed.append(sequence)
        made = (sequence.row, sequence.prompt, sequence.output, sequence.emissions, sequence.rate, sequence.priority, sequence.blocks)
        copy = Sequence(*made)
        copy.emitted, copy.last, copy.largest_gap, copy.source = sequence.emitted, sequence.last, sequence.largest_gap, sequence
        self.holders[sequence] = rank
        self._route(copy)

    def _start_loads(self, rank: Rank) -> None:
        """Note when caches will be here that were called for."""
        for sequence, moment in rank.loads:
            sequence.ticket = self.tickets
            heapq.heappush(self.transfers, (moment, self.tickets, rank, sequence))
            self.tickets += 1
        rank.loads.clear()

    def _receive_caches(self) -> None:
        while self.transfers and self.transfers[0][0] <= self.now:
            moment, ticket, rank, sequence = heapq.heappop(self.transfers)
            if sequence.ticket != ticket or sequence.state != LOADING:
                continue  # its replica failed
            self.replicas[rank.replica].awake = True
            source = sequence.source
            if source and source.lost:
                rank.leave(sequence)
                self._move(rank, sequence)
                continue
            if source:
                self._release_source(source)
                self._give_token(sequence, moment)
            rank.arrived(sequence)

    def _release_source(self, source: Sequence) -> None:
        holder = self.holders.pop(source)
        holder.handed.remove(source)
        holder.drop(source)
        self.replicas[holder.replica].awake = True

    # Replicas that start and fail.

    def _start_down(self) -> None:
        """A replica whose first entry is a start is down before."""
        seen: set[int] = set()
        for outage in self.outages:
            if outage.replica not in seen:
                self.replicas[outage.replica].up = not outage.up
            seen.add(outage.replica)
        self.router.update()

    def _switch(self) -> None:
        while self.outages and self.outages[0].time <= self.now:
            outage = self.outages.popleft()
            replica = self.replicas[outage.replica]
            if replica.up == outage.up:
                continue
            replica.up = replica.awake = outage.up
            self.router.update()
            if outage.up:
                replica.clear(self.now)
                self._route_held()
            else:
                self._fail(replica)

    def _route_held(self) -> None:
        for _ in range(len(self.held)):
            self._again(self.held.popleft())

    def _fail(self, replica: Replica) -> None:
        """All that a replica holds is lost; its requests go elsewhere with the tokens they have, those that ran first."""
        replica.clear(self.now)
        for rank in replica.ranks:
            running = sorted(rank.running, key=lambda each: (each.priority, each.serial))
            rank.look()
            waiting = list(rank.queue())
            for sequence in rank.handed:
                sequence.lost = True
            rank.requests -= len(running) + len(waiting)
            rank.peak = max(rank.peak, rank.cache.peak)
            rank.clear()
            for sequence in running:
                self.log.preemptions[sequence.row] += 1
            for sequence in (*running, *waiting):
                self._again(sequence)

    def _move(self, rank: Rank, sequence: Sequence) -> None:
        """A request leaves a rank that cannot go on with it."""
        rank.requests -= 1
        self._again(sequence)

    def _again(self, sequence: Sequence) -> None:
        """Route a request once more; what it has in a cache counts only where it is still held."""
        sequence.state = WAITING
        sequence.private, sequence.shared, sequence.computed, sequence.hit, sequence.ticket = 0.0, 0, 0, 0, -1
        if sequence.source and sequence.source.lost:
            sequence.source = None
        self._route(sequence)

    # The end.

    def _outcome(self) -> Outcome:
        outcome, totals = self.outcome, self.totals
        outcome.gaps[:] = self.gaps
        outcome.kv_peak = max(max(rank.peak, rank.cache.peak) / rank.policy.kv_capacity for rank in self.ranks)
        for tally in self.tallies:
            outcome.resource_seconds += tally.resource_seconds()
        outcome.tallies = tuple(self.tallies)
        outcome.joules, outcome.steps, outcome.busy_seconds = totals.joules, totals.steps, totals.busy
        outcome.prefill_seconds, outcome.cached_seconds, outcome.batch_seconds = totals.prefill, totals.cached, totals.batch
        return outcome
