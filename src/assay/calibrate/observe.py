"""One measured run, simulated under given constants, and how its figures answer to the times of its steps.

Simulations are repeated with the times of some steps a little longer: that gives the elasticity of each figure. Together with the
time of all steps in closed form (`cost.totals`), which holds for any constants, that says what the figures would be under other
constants nearby, without another simulation.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay._base.errors import AssayError
from assay.cost.constants import Calibration, Constants, Where
from assay.cost.roofline import Machine
from assay.cost.totals import Steps, counted, together, totals
from assay.points import Point
from assay.search.assembly import Assembly
from assay.search.plant import Plant
from assay.simulate import Fleet, Outcome, run
from assay.simulate.tally import Tally
from assay.steptime import DECODE, MIXED, Curve, Floats, StepTime
from assay.validate.figures import LATENCIES, Figures
from assay.validate.setting import replayed
from assay.validate.traffic import Unpredicted
from assay.workloads import Workload

LONGER = 0.1  # steps are made so much longer: enough for the figures to move by more than single requests make them jump
LIKELIER = 0.04  # drafted tokens are accepted so much more often
STEEPEST = 3.0  # elasticity; at the edge of what a system sustains waiting answers without bounds, and says little
PARTS = ("decode", "mixed", "shared")


@dataclass(frozen=True)
class Stage:
    """A pool of a run: its ops and machine, and the counts of its steps."""

    plant: Plant
    steps: Steps


@dataclass(frozen=True, eq=False)
class Observation:
    """A run under `constants`: the logarithm of each of its n predicted numbers (nan where there is none), and elasticities.

    `answers` has shape (n, 3), to the time of decode steps, of mixed steps and of what both share; `waits` (n,) to the time before the
    scheduler sees a request, `hands` (n,) to that of handing a cache over, `accepts` (n,) to the chance that a drafted token is accepted
    (zeros without prefill and decode apart, and without speculation).
    """

    point: Point
    stages: tuple[Stage, ...]
    constants: Constants
    figures: Floats
    answers: Floats
    waits: Floats
    hands: Floats
    accepts: Floats

    @property
    def where(self) -> Where:
        """Whose levels hold for it."""
        plant = self.stages[0].plant
        part, client = plant.part, self.point.said("set") or ""
        quarter = part.engine.period(part.chip.family)
        return Where(part.engine.name, part.chip.family, part.chip.name, quarter, client, plant.model.name, part.weights.name)

    @property
    def execution(self) -> str:
        """Way of execution of its chips."""
        return self.stages[0].plant.part.chip.execution

    @property
    def like(self) -> Hashable:
        """Equal for runs whose steps cost the same: of the same ops on the same machines, under the same constants."""
        return tuple(_like(stage) for stage in self.stages), self.where


def _like(stage: Stage) -> Hashable:
    part, residency = stage.plant.part, stage.plant.machine.residency
    laid = residency.weight_second, residency.activation_second, residency.kv_second
    return stage.plant.ops, part.pp, part.width, part.speculation and part.speculation.tokens, stage.steps.ranks, laid


class Runs:
    """Observations whose steps cost the same, whose figures under other constants are found together."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self.observations = observations
        stages = zip(*(each.stages for each in observations), strict=True)
        self.stages = [Stage(alike[0].plant, together([stage.steps for stage in alike])) for alike in stages]
        self.base = self.seconds(observations[0].constants)[:, 0]

    def seconds(self, constants: Constants) -> Floats:
        """Logarithm of the time of all decode steps, mixed steps and what they share, shape (3, P, R), under columns of constants."""
        sums: Floats = np.zeros(())
        for stage in self.stages:
            plant = stage.plant
            machine = Machine(plant.part.chip, plant.machine.residency, constants)
            found = totals(plant.ops, plant.part, machine, stage.steps)
            sums = sums + np.array([found.decode, found.mixed, found.shared])
        logarithms: Floats = np.log(np.maximum(sums, 1e-12))
        return logarithms

    def under(self, constants: Constants) -> list[Floats]:
        """Logarithm of each run's figures under columns of other constants nearby, shapes (P, n)."""
        moved = self.seconds(constants) - self.base[:, None]
        found = []
        for place, each in enumerate(self.observations):
            figures = each.figures + moved[:, :, place].T @ each.answers.T
            for table, key, answers in (
                ("host", "request", each.waits),
                ("host", "transfer", each.hands),
                ("speculation", "acceptance", each.accepts),
            ):
                there, here = (getattr(some, table)[key] for some in (constants, each.constants))
                figures = figures + np.log(there / here) * answers
            found.append(figures)
        return found


def observe(point: Point, calibration: Calibration) -> Observation | None:
    """Simulate a run and its answers; None where it cannot be predicted."""
    try:
        workload, assembly, _ = replayed(point, calibration)
    except (AssayError, Unpredicted):
        return None
    asked = _Asked(point, workload, assembly)
    outcome = run(workload, assembly.fleet(), seed=workload.seed)
    if not outcome.served.any():
        return None
    figures, constants = asked.figures(outcome), assembly.plants[-1].machine.constants
    tallied = zip(assembly.plants, outcome.tallies, strict=True)
    stages = tuple(Stage(_light(plant), steps_of(tally, plant.machine.constants)) for plant, tally in tallied)
    waits, accepts = asked.delayed(outcome, assembly.plants[0].policy.admission_delay), np.zeros_like(figures)
    hands = asked.delayed(outcome, constants.host["transfer"] if assembly.wire else 0.0)
    answers = np.array([asked.answer(figures, _stretched(assembly, name)) for name in PARTS]).T
    if not workload.rate:
        answers = asked.balanced(_bounded(answers), waits + hands)
    if assembly.fleet().acceptance:
        fleet = assembly.fleet()
        likelier = min(fleet.acceptance * (1 + LIKELIER), 1.0)
        accepts = asked.moved(figures, replace(fleet, acceptance=likelier)) / math.log(likelier / fleet.acceptance)
    return Observation(point, stages, constants, figures, _bounded(answers), waits, hands, _bounded(accepts))


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked of each simulation of a run."""

    point: Point
    workload: Workload
    assembly: Assembly

    def figures(self, outcome: Outcome) -> Floats:
        """Logarithm of each number of the run."""
        said = Figures.of(outcome, self.workload, self.assembly.chips)
        values = np.array([said.value(number) or np.nan for number in self.point.numbers], np.float64)
        logarithms: Floats = np.log(np.where(values > 0, values, np.nan))
        return logarithms

    def moved(self, figures: Floats, fleet: Fleet) -> Floats:
        """How far another fleet moves the figures."""
        return self.figures(run(self.workload, fleet, seed=self.workload.seed)) - figures

    def delayed(self, outcome: Outcome, delay: float) -> Floats:
        """Elasticity of each number to a delay (s) of each request before its first token.

        TTFT and E2E grow by it; in a closed loop rates fall by its share of E2E. A simulation would show the same in steps, since requests
        join at the end of one.
        """
        said = Figures.of(outcome, self.workload, self.assembly.chips)
        whole = delay / said.latencies["e2e"]["mean"] if self.workload.concurrency and said.latencies["e2e"] else 0.0
        found = []
        for number in self.point.numbers:
            value = said.value(number)
            later = delay / value if value and number.metric in ("ttft", "e2e") else 0.0
            speed = number.metric.endswith("per_user")  # of one user who is served: no waiting is in it
            found.append(min(later, 1.0) if number.metric in LATENCIES else 0.0 if speed else -whole)
        return np.array(found)

    def balanced(self, answers: Floats, waits: Floats) -> Floats:
        """Answers that add up to what they must where no arrivals keep time: twice all times are twice each latency, and half each rate."""
        rates = np.array([number.metric not in LATENCIES for number in self.point.numbers])
        lacking = np.where(rates, -1.0, 1.0) - waits - answers.sum(axis=1)
        size = np.abs(answers)
        shares = size / np.maximum(size.sum(axis=1, keepdims=True), 1e-9)
        balanced: Floats = answers + lacking[:, None] * shares
        return balanced

    def answer(self, figures: Floats, assembly: Assembly) -> Floats:
        """Elasticity to what is LONGER in another assembly."""
        return self.moved(figures, assembly.fleet()) / math.log(1 + LONGER)


def _light(plant: Plant) -> Plant:
    """The plant without its tables, which are large."""
    nothing = StepTime.constant(0.0, most=1)
    return replace(plant, times=nothing)


def _bounded(answers: Floats) -> Floats:
    return np.clip(np.nan_to_num(answers), -STEEPEST, STEEPEST)


def steps_of(tally: Tally, under: Constants) -> Steps:
    """A tally as counts of the sizes that occurred."""
    own, shared = ((counted(table[DECODE]), counted(table[MIXED])) for table in (tally.tokens, tally.joint))
    arithmetic, reading, *_ = (*tally.line_seconds.tolist(), 0.0)
    lines, ranks, reaches = np.array([[arithmetic], [reading]]), tally.times.ranks, tally.times.reaches
    return Steps(own, shared, counted(tally.sampled), counted(tally.draft), tally.decode[:, None], reaches, ranks, lines, under)


def _stretched(assembly: Assembly, name: str) -> Assembly:
    """The assembly with the times of one of PARTS LONGER."""
    factors = tuple(1 + LONGER if part == name else 1.0 for part in PARTS)
    return replace(assembly, plants=tuple(replace(plant, times=_longer(plant.times, factors)) for plant in assembly.plants))


def _longer(times: StepTime, factors: Sequence[float]) -> StepTime:
    interval = _curve(times.interval, factors)
    return replace(times, interval=interval, latency=interval if times.latency is times.interval else _curve(times.latency, factors))


def _curve(curve: Curve, factors: Sequence[float]) -> Curve:
    decode, mixed, shared = factors
    kinds = np.array([decode, mixed])[:, None, None]
    return replace(
        curve,
        tokens=curve.tokens * kinds,
        joint=curve.joint * kinds,
        prefill=curve.prefill * mixed,
        sampled=curve.sampled * shared,
        decode=curve.decode * shared,
        draft=curve.draft * shared,
    )
