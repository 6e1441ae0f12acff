"""Which rank serves a request."""

from assay.simulate.fleet import Fleet
from assay.simulate.policies import DECODE, LEAST_LOADED, POWER_OF_TWO, PREFIX_AFFINITY, ROUND_ROBIN
from assay.simulate.reference.rank import Rank
from assay.simulate.reference.replica import Replica
from assay.simulate.reference.sequence import Sequence

MIXER = 2654435761  # Knuth's multiplicative hash: a draw that both simulators repeat


class Router:
    """Chooses among the ranks that are up: for prompts those that compute them, for handed-over caches those that decode."""

    def __init__(self, replicas: list[Replica], fleet: Fleet) -> None:
        self.replicas, self.fleet = replicas, fleet
        self.turns = [0, 0]
        self.home: dict[int, Rank] = {}
        self.update()

    def update(self) -> None:
        """Learn which replicas are up."""
        up = [replica for replica in self.replicas if replica.up]
        self.targets = [
            [rank for replica in up if (replica.role == DECODE) == decodes for rank in replica.ranks] for decodes in (False, True)
        ]

    def choose(self, sequence: Sequence) -> Rank | None:
        """The rank by the fleet's rule; None when there is none."""
        decodes = sequence.source is not None
        ranks = self.targets[decodes]
        if not ranks:
            return None
        routing = self.fleet.routing
        if routing == ROUND_ROBIN:
            self.turns[decodes] += 1
            return ranks[(self.turns[decodes] - 1) % len(ranks)]
        if routing == POWER_OF_TWO:
            drawn = sequence.row * MIXER % 2**32
            drawn = (drawn ^ drawn >> 16) * MIXER % 2**32 >> 8
            pair = (ranks[drawn % len(ranks)], ranks[drawn // len(ranks) % len(ranks)])
            return min(pair, key=lambda rank: rank.requests)
        if routing == PREFIX_AFFINITY and not decodes:
            return self._nearest(sequence, ranks)
        assert routing in (LEAST_LOADED, PREFIX_AFFINITY)
        return min(ranks, key=lambda rank: rank.requests)

    def _nearest(self, sequence: Sequence, ranks: list[Rank]) -> Rank:
        """Where the longest part of its prefix went last, unless that rank has more than its share of the requests."""
        chosen = min(ranks, key=lambda rank: rank.requests)
        home = None
        for block in sequence.blocks:
            if block not in self.home:
                break
            home = self.home[block]
        if home in ranks:
            share = (sum(rank.requests for rank in ranks) + 1) / len(ranks)
            if home.requests <= self.fleet.load_bound * share:
                chosen = home
        self.home.update(dict.fromkeys(sequence.blocks, chosen))
        return chosen
