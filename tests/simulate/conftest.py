"""Requests written down by hand, runs by both simulators, and the steps of a run, for every test here."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from assay.simulate import Fleet, Outcome, Policy, run
from assay.simulate.reference.rank import Plan
from assay.simulate.reference.replica import Replica
from assay.steptime import StepTime
from assay.workloads import Workload

Asked = Callable[..., Workload]
Serve = Callable[..., Outcome]
Step = tuple[list[int], dict[int, int]]
Watch = Callable[[Workload, Fleet], tuple[list[tuple[Step, ...]], Outcome]]
Schedule = Callable[[Workload, Policy], tuple[list[Step], Outcome]]


@pytest.fixture(scope="session")
def asked() -> Asked:
    """`asked((input, output), ..., at=times, ids=prefixes, block=tokens, priority=.., session=.., think=.., concurrency=..)`: requests.

    All come at 0 when no times are given.
    """

    def build(
        *lengths: tuple[int, int], at: Sequence[float] = (), ids: Sequence[Sequence[int]] = (), block: int = 0, **more: Any
    ) -> Workload:
        prompts, outputs = zip(*lengths, strict=True)
        rows = ids or [()] * len(lengths)
        return Workload(
            arrival=np.array(at or [0.0] * len(lengths)),
            input=np.array(prompts),
            output=np.array(outputs),
            prefix=np.array([block for row in rows for block in row], dtype=np.int64),
            prefix_offsets=np.cumsum([0, *map(len, rows)]),
            prefix_block=block,
            name="by hand",
            **{name: np.array(value) if isinstance(value, list) else value for name, value in more.items()},
        )

    return build


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`serve(workload, fleet, seed=0)`: the outcome, the same from the reference and from the compiled simulator."""

    def both(workload: Workload, fleet: Fleet, seed: int = 0) -> Outcome:
        specified, compiled = (run(workload, fleet, reference=reference, seed=seed) for reference in (True, False))
        pairs = [(name, specified, compiled) for name in {field.name for field in fields(Outcome)} - {"wall_time", "tallies"}]
        for first, second in zip(specified.tallies, compiled.tallies, strict=True):
            pairs += [(name, first, second) for name in set(vars(first)) - {"times"}]
        for name, first, second in pairs:
            ours, theirs = getattr(first, name), getattr(second, name)
            np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=f"{name} differs between the simulators")
        return specified

    return both


@pytest.fixture(scope="session")
def watch(serve: Serve) -> Watch:
    """`watch(workload, fleet)`: the steps of all replicas in order, and the outcome.

    A step is, for each rank, (who decodes, {whose prompt: tokens}).
    """

    def watched(workload: Workload, fleet: Fleet) -> tuple[list[tuple[Step, ...]], Outcome]:
        steps: list[tuple[Step, ...]] = []
        issue = Replica._issue

        def note(replica: Replica, now: float, batch: int, plans: list[Plan]) -> None:
            decodes = ([each.row for each in plan.decodes] for plan in plans)
            prompts = ({each.sequence.row: each.tokens for each in plan.chunks} for plan in plans)
            steps.append(tuple(zip(decodes, prompts, strict=True)))
            issue(replica, now, batch, plans)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Replica, "_issue", note)
            return steps, serve(workload, fleet)

    return watched


@pytest.fixture(scope="session")
def schedule(watch: Watch) -> Schedule:
    """`schedule(workload, policy)`: the same of one replica of one rank, each of whose steps takes a second."""

    def scheduled(workload: Workload, policy: Policy) -> tuple[list[Step], Outcome]:
        steps, outcome = watch(workload, Fleet.of(StepTime.constant(1.0, most=1000), policy))
        return [step for (step,) in steps], outcome

    return scheduled
