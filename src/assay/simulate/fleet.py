"""What serves a workload: pools of like replicas behind one router."""

from dataclasses import dataclass, replace

from assay.simulate.policies import ALL, DECODE, PREFILL, ROUND_ROBIN, Policy
from assay.steptime import StepTime


@dataclass(frozen=True, eq=False)
class Pool:
    """Like replicas: their step times, the policy of each of their ranks, and their role (see policies.ROLES)."""

    times: StepTime
    policy: Policy
    replicas: int = 1
    role: int = ALL


@dataclass(frozen=True)
class Outage:
    """At `time` seconds a replica, counted over the pools, starts (`up`) or fails; one whose first entry is a start is down before."""

    time: float
    replica: int
    up: bool


@dataclass(frozen=True, eq=False)
class Fleet:
    """Pools behind a router (see policies.ROUTING), which chooses among all ranks of the replicas that may take a request.

    With pools of roles prefill and decode, the cache of a prompt goes over a link of `link_bandwidth` bytes/s into each decode rank,
    one after the other, and is there `link_latency` seconds after its last byte was sent. `acceptance` is the chance that a drafted
    token is accepted after those before it were.
    """

    pools: tuple[Pool, ...]
    routing: int = ROUND_ROBIN
    load_bound: float = 1.5
    link_bandwidth: float = float("inf")
    link_latency: float = 0.0
    acceptance: float = 0.0
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        """Refuse roles that leave a part of each request to nobody, or to two."""
        roles = {pool.role for pool in self.pools}
        if roles not in ({ALL}, {PREFILL, DECODE}):
            raise ValueError(f"roles {sorted(roles)}: give pools that do everything, or such as prefill and such as decode")

    @classmethod
    def of(cls, times: StepTime, policy: Policy, replicas: int = 1, routing: int = ROUND_ROBIN) -> "Fleet":
        """Like replicas that do everything."""
        return cls((Pool(times, policy, replicas),), routing)

    def within(self) -> "Fleet":
        """The same with every policy within the sizes that its step times know."""
        return replace(self, pools=tuple(replace(pool, policy=pool.policy.within(pool.times)) for pool in self.pools))

    @property
    def width(self) -> int:
        """Tokens that a decode step verifies of each sequence: one, and those that were drafted."""
        return max(pool.times.width for pool in self.pools)
