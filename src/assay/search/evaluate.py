"""One deployment under one load: simulate, measure, price."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from assay import metrics
from assay.cost.energy import provisioned_watts
from assay.deployments import Part
from assay.metrics import Columns, Distribution, Mask
from assay.search.assembly import Assembly, joined
from assay.search.evidence import circumstances, weakest
from assay.search.price import Flow, Lot, Market, price
from assay.search.runs import Requests, Run
from assay.simulate import Outcome, run
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


def evaluate(assembly: Assembly, question: Question, markets: Sequence[Market], progress: Progress | None = None) -> Run:
    """Simulate a deployment, all replicas of all parts, and say what its users feel and what it costs; `markets` has one for each part."""
    workload = question.workload
    outcome = run(workload, assembly.fleet(), reference=question.reference, seed=workload.seed, progress=progress)
    columns = Columns(outcome.arrival, outcome.first_token, outcome.finish, workload.output)
    judged = metrics.judged(columns, workload.concurrency)
    return _Summary(assembly, question, outcome, columns, judged).run(markets)


@dataclass(frozen=True, eq=False)
class _Summary:
    """A finished simulation on its way to a Run."""

    assembly: Assembly
    question: Question
    outcome: Outcome
    columns: Columns
    judged: Mask

    def run(self, markets: Sequence[Market]) -> Run:
        """The Run; `markets` has one for each part."""
        workload, parts = self.question.workload, self.assembly.parts
        flow, requests = self.flow()
        stable = bool(metrics.stable(self.columns)) or workload.concurrency > 0
        why_not = self.why_not(stable)
        lots = [self.lot(part, market) for part, market in zip(parts, markets, strict=True)]
        label, bands = weakest(parts, circumstances(workload, parts, stable), model=self.assembly.plants[0].model.name)
        return Run(
            model=self.assembly.plants[0].model.name,
            chip=joined(part.chip.name for part in parts),
            family=joined(part.chip.family for part in parts),
            chips=self.assembly.chips,
            engine=joined(part.engine.name for part in parts),
            deployment=self.assembly.to_dict(),
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
            power=_sum(None if lot.watts is None else lot.watts * lot.chips for lot in lots),
            price=price(lots, self.outcome, flow),
            bottleneck=self.bottleneck(),
            error_band=bands,
            evidence=label,
            assumptions=(*self.assembly.assumptions(), *workload.assumptions, *self.short()),
            feasible=why_not is None,
            why_not=why_not,
            each=self.each(),
        )

    @staticmethod
    def lot(part: Part, market: Market) -> Lot:
        """The chips of a part, to be paid for."""
        return Lot(part.chip.name, part.chips * part.replicas, provisioned_watts(part.chip), market)

    def each(self) -> Requests:
        """What became of each request."""
        seen = self.outcome
        return Requests(self.columns, self.question.workload.input, seen.largest_gap, seen.preemptions, seen.prefix_hit, self.judged)

    def latencies(self) -> dict[str, Distribution]:
        """Distributions over the judged requests; gaps between tokens over all."""
        sent = np.argsort(self.columns.arrival, kind="stable")
        rows = sent[self.judged[sent]]
        seen = {metric: metrics.distribution(self.columns.column(metric)[rows]) for metric in ("ttft", "tpot", "e2e")}
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

    def joules(self) -> float | None:
        """Chip energy per output token: work and, over the whole run, idle power of every chip; None without output."""
        tokens = int(self.question.workload.output[self.outcome.served].sum())
        waiting = self.assembly.idle_watts * self.outcome.duration
        return float(self.outcome.joules + waiting) / tokens if tokens else None

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
            down = ", or found no replica up" if self.assembly.router.outages else ""
            return f"{lost:.0%} of the requests are longer than the KV cache or the model's context{down}"
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

    def short(self) -> list[str]:
        """In what the run was too short for its percentile."""
        return [f"short run: {text}" for text in metrics.enough(self.columns, self.judged, self.question.slo.percentile)]


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
