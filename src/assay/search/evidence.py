"""How far a prediction can be trusted: what was measured that is like it, and the band around each metric that follows."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from assay._base.facts import Fact
from assay._base.schema import DATA, read
from assay.chips import Chip
from assay.cost.constants import Calibration, shipped
from assay.deployments import Part
from assay.engines import Engine, for_family
from assay.search.runs import Evidence
from assay.workloads import Workload

Band = tuple[float, float]
Pair = tuple[str, str]
"""An engine, and the chip family that it runs on; ANYONE stands for all."""
Table = dict[tuple[str, str, str, Pair], Band]
"""Bands by what is known, load, metric and pair."""

KNOWN = ("chip", "model", "sibling", "relative", "nothing")  # what was measured that is like a deployment, the most telling first
CROWDED, BUSY = 64, 8  # requests on a chip
ANY = "any"
ANYONE = ("", "")


def known(chip: Chip, engine: Engine, calibration: Calibration | None = None, model: str = "") -> str:
    """Which of KNOWN constants were fitted to: this engine on this chip (but not with this model), on a chip of its family, and less."""
    levels = [level for level in (calibration or shipped()).holding(chip, engine) if level.runs]
    if any(level.where.engine and level.where.chip for level in levels):  # without its model systems do not hold: this is the owner's
        return "chip"
    pair = [level for level in levels if level.where.engine and level.where.family]
    if pair and any(level.where.chip for level in levels):
        return "chip" if not model or any(model in level.models for level in pair) else "model"
    if pair:
        return "sibling"
    return "relative" if any(level.where.engine or level.where.family for level in levels) else "nothing"


def circumstances(workload: Workload, parts: Sequence[Part], stable: bool) -> str:
    """How a deployment is loaded, in words that bands are told apart by; `stable` says whether an open loop's backlog does not grow."""
    chips = sum(part.chips * part.replicas for part in parts)
    if workload.at_once:
        load = "all at once"
    elif not workload.concurrency:
        load = "open" if stable else "open, unstable"
    else:
        load = f"closed, {crowd(workload.concurrency / chips)}"
    speculates = any(part.speculation for part in parts)
    return load + ", speculation" * speculates + ", disaggregated" * (len({part.role for part in parts}) > 1)


def crowd(users: float) -> str:
    """How crowded a chip is with so many requests on it, in a word."""
    return "crowded" if users >= CROWDED else "busy" if users >= BUSY else "light"


def evidence_of(chip: Chip, engine: Engine | None = None, model: str = "") -> Evidence:
    """What is known of predictions for this chip under an engine, of the best known one when none is named."""
    found = known(chip, engine, model=model) if engine else min((known(chip, each) for each in for_family(chip.family)), key=KNOWN.index)
    why = f"{chip.name}: {_WORDS[found]}; {_lacks(chip)}"
    weak = [name for name, fact in _used(chip).items() if fact.confidence in ("C", "D")]
    doubts = f"; weakly sourced: {', '.join(weak)}" if weak else ""
    return Evidence("calibrated" if found in KNOWN[:3] else "spec-only", why + doubts)


_WORDS = {
    "chip": "constants fitted to serving runs of this engine, and of this chip",
    "model": "constants fitted to serving runs of this engine, and of this chip, but of other models",
    "sibling": "constants fitted to serving runs of this engine on chips of its family, none of this chip",
    "relative": "constants fitted to serving runs of this engine or of this family, none of both together",
    "nothing": "data sheet and generic constants, none fitted to serving runs of its engine or family",
}


def _lacks(chip: Chip) -> str:
    return f"its file lacks {', '.join(chip.missing)}" if chip.missing else "its file lacks nothing that predictions use"


def _used(chip: Chip) -> dict[str, Fact[float]]:
    facts = {f"peak.{rate}": fact for rate, fact in chip.peak.items()}
    facts |= {f"memory {tier.name} bandwidth": tier.bandwidth for tier in chip.memory}
    facts |= {f"memory {tier.name} bytes": tier.bytes for tier in chip.memory}
    return facts | {f"link {link.name} bandwidth": link.bandwidth for link in chip.links[:1]}


def bands(part: Part, load: str = ANY, calibration: Calibration | None = None, model: str = "") -> dict[str, Band]:
    """90 % bands as factors on each metric under a load (`circumstances`); that of cost and energy follows throughput's.

    They are as left-out runs had it that were known as well: see data/calibration/bands.toml. Where constants were not fitted to the chip
    and sources disagree on its peak or bandwidth, times may be as much longer or shorter as these say.
    """
    least = known(part.chip, part.engine, calibration, model)
    table = _table()[part.chip.execution]
    found = {metric: band(table, least, load, metric, (part.engine.name, part.chip.family)) for metric in METRICS}
    if least not in ("chip", "model"):
        shorter, longer = _disputed(part)
        for metric, (low, high) in found.items():
            rate = metric == "output_tokens_per_second"
            found[metric] = (low / longer, high / shorter) if rate else (low * shorter, high * longer)
    low, high = found["output_tokens_per_second"]
    return {**found, "cost_per_million_tokens": (1 / high, 1 / low), "joules_per_token": (1 / high, 1 / low)}


METRICS = ("ttft", "tpot", "itl", "e2e", "ttft_mean", "ttft_tail", "tpot_tail", "e2e_tail", "output_tokens_per_second")
"""Those with bands of their own; a tail is the 95th percentile and those above, and the mean of TTFT has the start of all users in it."""


def band(table: Table, least: str, load: str, metric: str, pair: Pair = ANYONE) -> Band:
    """The band of the nearest kind of run that was measured: as well known, then less well; under its load, of its engine and family."""
    for level in KNOWN[KNOWN.index(least) :]:
        for key in ((level, under, metric, who) for under in (load, ANY) for who in (pair, ANYONE)):
            if key in table:
                return table[key]
    return table[KNOWN[-1], ANY, metric, ANYONE]


def _disputed(part: Part) -> tuple[float, float]:
    """Factors on times, (shorter, longer): of the arithmetic's peak and the weights' bandwidth the one that sources disagree on most."""
    tiers = [tier.bandwidth for tier in part.chip.memory if "weights" in tier.holds]
    facts = [fact for fact in (part.chip.peak.get(part.rate()), *tiers[:1]) if fact]
    return min(fact.value / (fact.high or fact.value) for fact in facts), max(fact.value / (fact.low or fact.value) for fact in facts)


_LABELS = ("measured", "calibrated", "spec-only")  # the surest first


def weakest(
    parts: Sequence[Part], load: str = ANY, calibration: Calibration | None = None, model: str = ""
) -> tuple[Evidence, dict[str, Band]]:
    """Of several parts the label of the least sure, why, and for each metric the widest of their bands."""
    found = [evidence_of(part.chip, part.engine, model) for part in parts]
    label = max((evidence.label for evidence in found), key=_LABELS.index)
    why = dict.fromkeys(evidence.why for evidence in found if evidence.label == label)
    each = [bands(part, load, calibration, model) for part in parts]
    widest = {metric: (min(row[metric][0] for row in each), max(row[metric][1] for row in each)) for metric in each[0]}
    return Evidence(label, "; ".join(why)), widest


@cache
def _table() -> dict[str, Table]:
    return tables(read(DATA / "calibration" / "bands.toml", "bands"))


def tables(document: Mapping[str, Any]) -> dict[str, Table]:
    """The bands of a document by way of execution."""
    found: dict[str, Table] = {}
    for row in document["band"]:
        for metric, fact in row.get("factor", {}).items():
            each = float(fact.low or fact.value), float(fact.high or fact.value)
            pair = row.get("engine", ""), row.get("family", "")
            found.setdefault(row["execution"], {})[row["known"], row["load"], metric, pair] = each
    return found
