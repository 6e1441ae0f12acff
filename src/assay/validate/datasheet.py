"""The baseline of anybody with a data sheet: bytes over bandwidth and FLOPs over peak, at full rate, with nothing in between."""

from collections.abc import Callable
from dataclasses import dataclass

from assay.deployments import Part
from assay.models import Model
from assay.models.shapes import ExpertsFfn
from assay.search.assembly import Assembly
from assay.validate.figures import Figures
from assay.workloads import Workload

ROUNDS = 50  # of the fixed point between load and latency


@dataclass(frozen=True)
class Sheet:
    """A replica of a part as its data sheet has it: bytes/s and FLOP/s of its chips together, and bytes for weights and cache."""

    model: Model
    part: Part

    @property
    def bandwidth(self) -> float:
        """Bytes per second of the memory that holds the weights."""
        tiers = [tier for tier in self.part.chip.memory if "weights" in tier.holds]
        return float(tiers[0].bandwidth.value) * self.part.chips

    @property
    def peak(self) -> float:
        """FLOP per second at the precision of the weights."""
        return float(self.part.chip.peak[self.part.rate()].value) * self.part.chips

    @property
    def room(self) -> float:
        """Bytes left for cache."""
        tiers = [tier for tier in self.part.chip.memory if "kv" in tier.holds]
        held = sum(float(tier.bytes.value) for tier in tiers) * self.part.chips
        return max(held - self.weights(1e9), 0.1 * held)

    def weights(self, batch: float) -> float:
        """Bytes of the weights that a step of `batch` tokens reads: of experts those that one of them picks."""
        bits = self.part.weights.bits
        parts = self.model.architecture.weights().values()
        ffns = [group.ffn for group in self.model.architecture.layers if isinstance(group.ffn, ExpertsFfn)]
        touched = 1 - (1 - ffns[0].active / ffns[0].count) ** batch if ffns else 1.0
        counted = sum(part.total * (touched if part.kind == "experts" else 1.0) for part in parts if part.kind != "embedding")
        return counted * bits / 8

    def kv(self, context: float) -> float:
        """Bytes of cache of a sequence."""
        return self.model.kv_bytes_per_token(self.part.kv.width) * context

    def step(self, batch: float, context: float) -> float:
        """Seconds of a decode step."""
        moved = self.weights(batch) + batch * self.kv(context)
        return max(moved / self.bandwidth, 2 * self.model.active_parameters * batch / self.peak)

    def prefill(self, tokens: float) -> float:
        """Seconds of the prompts of so many tokens."""
        return max(self.weights(tokens) / self.bandwidth, 2 * self.model.active_parameters * tokens / self.peak)


def from_datasheet(assembly: Assembly, workload: Workload) -> Figures:
    """What the data sheet says of a run: all its requests alike, at the mean lengths.

    In a closed loop of u users a request takes its output's decode steps and, meanwhile, the prefill of one prompt of each user; all
    at once, and at random, as many are in flight as memory or Little's law has it. Prefill and decode apart do not wait for each other.
    """
    first, last = assembly.parts[0], assembly.parts[-1]
    model = assembly.plants[0].model
    prompts, decodes = Sheet(model, first), Sheet(model, last)
    apart = first.role == "prefill"
    isl, osl = float(workload.input.mean()), float(workload.output.mean())
    context = isl + osl / 2
    most = max(1.0, decodes.room / decodes.kv(isl + osl))
    alone = prompts.prefill(isl)

    def lasts(batch: float) -> float:
        return osl * decodes.step(batch, context) + (alone if apart else batch * alone)

    def rate(batch: float) -> float:
        decoding = last.replicas * batch / lasts(batch)
        return min(decoding, first.replicas / alone) if apart else decoding

    batch = min(most, _in_flight(workload, last.replicas, lasts))
    requests = rate(batch)
    if workload.rate:
        requests = min(requests, workload.rate)
    ttft = prompts.prefill(isl * batch) if workload.at_once and batch == workload.requests / last.replicas else alone
    return Figures.alike(ttft, max(lasts(batch), ttft), requests, (isl, osl), assembly.chips)


def _in_flight(workload: Workload, replicas: int, lasts: Callable[[float], float]) -> float:
    """Requests on a replica."""
    if workload.concurrency:
        return max(1.0, workload.concurrency / replicas)
    if not workload.rate:
        return max(1.0, workload.requests / replicas)
    batch = 1.0
    for _ in range(ROUNDS):
        batch = max(1.0, min(workload.requests, workload.rate / replicas * lasts(batch)))
    return batch
