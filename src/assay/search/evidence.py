"""How far a prediction can be trusted: its label, why, and the band around each metric."""

from collections.abc import Sequence
from functools import cache

from assay._base.facts import Fact
from assay._base.schema import DATA, read
from assay.chips import Chip
from assay.deployments import Part
from assay.search.runs import Evidence


def evidence_of(chip: Chip) -> Evidence:
    """What is known of predictions for this chip.

    Nothing is measured or calibrated as a whole yet: constants are generic, so every label is spec-only and says what is missing.
    """
    known = f"{chip.name}: data sheet and generic constants, none fitted to serving runs of this chip"
    lacks = f"its file lacks {', '.join(chip.missing)}" if chip.missing else "its file lacks nothing that predictions use"
    weak = [name for name, fact in _used(chip).items() if fact.confidence in ("C", "D")]
    doubts = f"; weakly sourced: {', '.join(weak)}" if weak else ""
    return Evidence("spec-only", f"{known}; {lacks}{doubts}")


def _used(chip: Chip) -> dict[str, Fact[float]]:
    facts = {f"peak.{rate}": fact for rate, fact in chip.peak.items()}
    facts |= {f"memory {tier.name} bandwidth": tier.bandwidth for tier in chip.memory}
    facts |= {f"memory {tier.name} bytes": tier.bytes for tier in chip.memory}
    return facts | {f"link {link.name} bandwidth": link.bandwidth for link in chip.links[:1]}


def bands(part: Part, label: Evidence) -> dict[str, tuple[float, float]]:
    """90 % bands as factors on each metric, by way of execution and label; that of cost and energy follows throughput's.

    Where sources disagree on the chip's peak or bandwidth, times may be as much longer or shorter as these say.
    """
    table = _table()[part.chip.execution][label.label]
    found = {metric: (float(fact.low or fact.value), float(fact.high or fact.value)) for metric, fact in table.items()}
    shorter, longer = _disputed(part)
    for metric, (low, high) in found.items():
        rate = metric == "output_tokens_per_second"
        found[metric] = (low / longer, high / shorter) if rate else (low * shorter, high * longer)
    low, high = found["output_tokens_per_second"]
    return {**found, "cost_per_million_tokens": (1 / high, 1 / low), "joules_per_token": (1 / high, 1 / low)}


def _disputed(part: Part) -> tuple[float, float]:
    """Factors on times, (shorter, longer): of the arithmetic's peak and the weights' bandwidth the one that sources disagree on most."""
    tiers = [tier.bandwidth for tier in part.chip.memory if "weights" in tier.holds]
    facts = [fact for fact in (part.chip.peak.get(part.rate()), *tiers[:1]) if fact]
    return min(fact.value / (fact.high or fact.value) for fact in facts), max(fact.value / (fact.low or fact.value) for fact in facts)


_LABELS = ("measured", "calibrated", "spec-only")  # the surest first


def weakest(parts: Sequence[Part]) -> tuple[Evidence, dict[str, tuple[float, float]]]:
    """Of several parts the label of the least sure, why, and for each metric the widest of their bands."""
    found = [(part, evidence_of(part.chip)) for part in parts]
    label = max((evidence.label for _, evidence in found), key=_LABELS.index)
    why = dict.fromkeys(evidence.why for _, evidence in found if evidence.label == label)
    each = [bands(part, evidence) for part, evidence in found]
    widest = {metric: (min(row[metric][0] for row in each), max(row[metric][1] for row in each)) for metric in each[0]}
    return Evidence(label, "; ".join(why)), widest


@cache
def _table() -> dict[str, dict[str, dict[str, Fact[float]]]]:
    table: dict[str, dict[str, dict[str, Fact[float]]]] = read(DATA / "calibration" / "bands.toml", "bands")
    return table
