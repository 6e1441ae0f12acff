"""One deployment under one load: simulate, measure, price."""

from dataclasses import dataclass

import numpy as np

from assay import metrics
from assay.cost.energy import provisioned_watts
from assay.metrics import Columns, Distribution, Mask
from assay.search.evidence import bands, evidence_of
from assay.search.plant import Plant
from assay.search.price import Flow, Market, price
from assay.search.runs import Requests, Run
from assay.simulate import Fleet, Outcome, run
from assay.simulate.records import gap_middles
from assay.simulate.run import Progress
from assay.slo import Slo
from assay.steptime import RESOURCES
from assay.workloads import Workload


@dataclass(frozen=True)
class Question:
    """What is asked of every deployment: this traffic, within these targets; by the reference simulator instead of the compiled one."""

    workload: Workload
    slo: Slo
    reference: bool = False


def evaluate(plant: Plant, question: Question, market: Market, progress: Progress | None = None) -> Run:
    """Simulate a deployment, all of its replicas, and say what its users feel and what it costs."""
    workload = question.workload
    fleet = Fleet.of(plant.times, plant.policy, plant.part.replicas)
    outcome = run(workload, fleet, reference=question.reference, progress=progress)
    columns = Columns(outcome.arrival, outcome.first_token, outcome.finish, workload.output)
    judged = metrics.judged(columns, workload.concurrency)
    return _Summary(plant, question, outcome, columns, judged).run(market)


@dataclass(frozen=True, eq=False)
class _Summary:
    """A finished simulation on its way to a Run."""

    plant: Plant
    question: Question
    outcome: Outcome
    columns: Columns
    judged: Mask

    def run(self, market: Market) -> Run:
        plant, workload, part = self.plant, self.question.workload, self.plant.part
        chips = part.chips * part.replicas
        each = provisioned_watts(part.chip)
        flow, requests = self.flow()
        stable = bool(metrics.stable(self.columns)) or workload.concurrency > 0
        why_not = self.why_not(stable)
        label = evidence_of(part.chip)
        return Run(
            model=plant.model.name,
            chip=part.chip.name,
            family=part.chip.family,
            chips=chips,
            engine=part.engine.name,
            deployment={"parts": [part.to_dict()]},
            workload=workload.to_dict(),
            requests=workload.requests,
            completed=int(self.outcome.served.sum()),
            rejected=int((~self.outcome.served).sum()),
            judged=int(self.judged.sum()),
            stable=stable,
            duration=self.outcome.duration,
            wall_time=self.outcome.wall_time,
            latencies=self.latencies(),
            output_tokens_per_second=flow.output,
            total_tokens_per_second=flow.input + flow.cached + flow.output,
            requests_per_second=requests,
            goodput=requests * self.kept(),
            preemptions=int(self.outcome.preemptions.sum()),
            prefix_hit_rate=float(self.outcome.prefix_hit.sum() / workload.input.sum()),
            kv_peak=self.outcome.kv_peak,
            joules_per_token=self.joules(),
            power=None if each is None else each * chips,
            price=price(market, chips, each, self.outcome, flow),
            bottleneck=self.bottleneck(),
            error_band=bands(part, label),
            evidence=label,
            assumptions=(*part.assumptions, *workload.assumptions, *self.assumptions()),
            feasible=why_not is None,
            why_not=why_not,
            each=self.each(),
        )

    def each(self) -> Requests:
        """What became of each request."""
        seen = self.outcome
        return Requests(self.columns, self.question.workload.input, seen.largest_gap, seen.preemptions, seen.prefix_hit, self.judged)

    def latencies(self) -> dict[str, Distribution]:
        """Distributions over the judged requests; gaps between tokens over all."""
        seen = {metric: metrics.distribution(self.columns.column(metric)[self.judged]) for metric in ("ttft", "tpot", "e2e")}
        return {**seen, "itl": metrics.weighted(gap_middles(), self.outcome.gaps)}

    def flow(self) -> tuple[Flow, float]:
        """Tokens and requests per second over all replicas: of a steady open loop what is offered, else what the window finished."""
        served, workload = self.outcome.served, self.question.workload
        hits = np.minimum(self.outcome.prefix_hit, workload.input)
        rate = workload.rate
        if rate and metrics.stable(self.columns):
            per_second = rate / workload.requests
            counted = served
        else:
            counted, seconds = self._window()
            per_second = 1 / seconds if seconds else 0.0
        tokens = [float(values[counted].sum()) * per_second for values in (workload.input - hits, hits, workload.output)]
        return Flow(*tokens), float(counted.sum()) * per_second

    def _window(self) -> tuple[Mask, float]:
        served, finish = self.outcome.served, self.outcome.finish
        if self.judged.all() or not (served & self.judged).any():
            return served, self.outcome.duration
        opens, closes = np.nanmin(finish[self.judged]), np.nanmax(finish[self.judged])
        return served & (finish > opens) & (finish <= closes), float(closes - opens)

    def kept(self) -> float:
        """Share of judged requests that keep every target."""
        return float(metrics.met(self.columns, self.judged, self.question.slo.targets()).sum() / max(1, self.judged.sum()))

    def joules(self) -> float:
        """Chip energy per output token: work and, over the whole run, idle power of every chip."""
        waiting = self.plant.times.idle_watts * self.plant.part.replicas * self.outcome.duration
        return float((self.outcome.joules + waiting) / max(1, self.question.workload.output[self.outcome.served].sum()))

    def bottleneck(self) -> dict[str, float]:
        """Shares of step time by what set it."""
        seconds = self.outcome.resource_seconds
        whole = seconds.sum() or 1.0
        return {name: float(part / whole) for name, part in zip(RESOURCES, seconds, strict=True)}

    def why_not(self, stable: bool) -> str | None:
        """What keeps the run from being feasible; None when nothing does."""
        slo, count = self.question.slo, len(self.columns.arrival)
        lost = float((~self.outcome.served).sum()) / count
        if lost > 1 - slo.percentile / 100:
            return f"{lost:.0%} of the requests are longer than the KV cache or the model's context"
        missed = [self._missed(metric, target) for metric, target in slo.targets().items()]
        found = [text for text in missed if text]
        if not stable:
            found.append("the backlog grows: more arrives than is served")
        return "; ".join(found) or None

    def _missed(self, metric: str, target: float) -> str | None:
        values = self.columns.column(metric)[self.judged]
        values = values[np.isfinite(values)]
        reached = float(np.percentile(values, self.question.slo.percentile)) if len(values) else 0.0
        if reached <= target:
            return None
        return f"p{self.question.slo.percentile:g} {metric.upper()} {reached:.3g} s is over the target of {target:g} s"

    def assumptions(self) -> list[str]:
        """What this run took for granted beside the deployment's defaults."""
        said = [f"short run: {text}" for text in metrics.enough(self.columns, self.judged, self.question.slo.percentile)]
        if self.plant.part.replicas > 1:
            said.append("requests go to the replicas in turn")
        if self.plant.part.dp > 1:
            said.append("attention ranks are evenly loaded")
        if self.plant.part.chip.power.tdp is None:
            said.append("energy from generic constants: the chip file gives no TDP")
        return said
