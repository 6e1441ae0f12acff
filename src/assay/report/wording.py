"""Deployments, targets and workloads in words."""

from assay.report import formats
from assay.report.fields import METRICS, Record, at, number, quantile, rows, targets, text

TITLES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}


def parallelism(part: Record, gap: str = " ") -> str:
    """The group of one replica: `tp 8`, with pp, dp and ep where they are above one."""
    shown = [(key, number(part, key)) for key in ("tp", "pp", "dp", "ep")]
    return " ".join(f"{key}{gap}{value:.0f}" for key, value in shown if value is not None and (key == "tp" or value > 1))


def precisions(part: Record) -> str:
    """`fp8` where weights, activations and KV agree, else who has which: `fp4 weights, fp8 activations and KV`."""
    owners: dict[str, list[str]] = {}
    for name, field in (("weights", "weights"), ("activations", "activations"), ("KV", "kv")):
        owners.setdefault(text(part, field), []).append(name)
    owners.pop("", None)
    return next(iter(owners), "") if len(owners) <= 1 else ", ".join(f"{value} {' and '.join(names)}" for value, names in owners.items())


def deployment(run: Record) -> str:
    """Each part in words: `tp 2 x 3 replicas, fp8`."""
    return "; ".join(filter(None, (_part(part) for part in rows(run, "deployment", "parts"))))


def _part(part: Record) -> str:
    replicas = number(part, "replicas") or 1
    copies = f" × {replicas:.0f} replicas" if replicas > 1 else ""
    return _role(part) + ", ".join(filter(None, (parallelism(part) + copies, precisions(part))))


def brief(run: Record) -> str:
    """Each part in the fewest letters: `tp8 x3 ENGINE fp8`; of the precisions only that of the weights."""
    return " + ".join(_brief_part(part) for part in rows(run, "deployment", "parts")) or text(run, "engine")


def _brief_part(part: Record) -> str:
    replicas = number(part, "replicas") or 1
    words = (parallelism(part, ""), f"x{replicas:.0f}" if replicas > 1 else "", text(part, "engine"), text(part, "weights"))
    return _role(part) + " ".join(filter(None, words))


def _role(part: Record) -> str:
    role = text(part, "role")
    return f"{role}: " if role not in ("", "all") else ""


def goals(slo: Record | None) -> str:
    """The targets in words: `p99 TTFT 2 s and TPOT 50 ms`; empty without targets."""
    found = targets(slo)
    shown = [f"{TITLES[metric]} {formats.seconds(found[metric])}" for metric in METRICS if metric in found]
    if not shown:
        return ""
    head = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
    return f"{quantile(slo)} {head}"


def load(workload: Record | None) -> str:
    """The traffic in words: requests per second, or how many requests."""
    rate, requests = number(workload, "rate"), number(workload, "requests")
    if rate is not None:
        return f"{formats.digits(rate)} requests/s"
    return f"{formats.count(requests)} requests" if requests is not None else text(workload, "name") or "this traffic"


def engine(run: Record) -> str:
    """The engine's name; of a deployment in parts, each name once."""
    named = dict.fromkeys(filter(None, (text(part, "engine") for part in rows(run, "deployment", "parts"))))
    return " + ".join(named) or text(run, "engine")


def label(run: Record) -> str:
    """The evidence label: measured, calibrated, spec-only."""
    evidence = at(run, "evidence")
    return text(run, "evidence", "label") if isinstance(evidence, dict) else text(run, "evidence")
