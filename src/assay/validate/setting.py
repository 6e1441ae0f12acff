"""The deployment of a published run: its chips, engine, layout and limits; where no layout is stated, the best one on those chips."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from assay._base.errors import AssayError, CannotHold, InputError
from assay.chips import Chip
from assay.cost.constants import Calibration, shipped
from assay.deployments import Asked, resolve
from assay.engines import Engine, at
from assay.models import Model
from assay.models.shapes import ExpertsFfn
from assay.points import Point
from assay.search.assembly import Assembly
from assay.search.candidates import find
from assay.search.estimate import guess
from assay.search.plant import Plant, build
from assay.slo import Slo
from assay.validate.traffic import Unpredicted, repeated, traffic
from assay.validate.unstated import cached, drafted, drafting, ranked, seated
from assay.workloads import Workload

GENERIC = "generic"
FULLEST = 0.97  # share of memory that an engine can be told to use
_LIMITS = {
    "max_num_seqs": "max_num_seqs",
    "token_budget": "token_budget",
    "block_size": "block_size",
    "kv_memory_fraction": "kv_memory_fraction",
    "prefix_cache": "prefix_cache",
    "recv_interval": "look_interval",
    "dp_wait_steps": "prefill_wait",
}  # columns of a table, and the fields of Asked that they are


def replayed(point: Point, calibration: Calibration | None = None) -> tuple[Workload, Assembly, list[str]]:
    """Requests like those of the run, the deployment that ran, and what was assumed of both. Raises what traffic and setting do."""
    model = point.said("model") or ""
    workload, asked = traffic(point, model)
    assembly, said = setting(point, workload, calibration)
    if repeated(point, model):
        workload, asked = traffic(point, model, sum(_served(plant, workload) for plant in assembly.plants))
    return workload, assembly, [*asked, *said]


def setting(point: Point, workload: Workload, calibration: Calibration | None = None) -> tuple[Assembly, list[str]]:
    """The deployment that ran, and what was assumed of it.

    Requests of a batch, or all at once, are handed to the engine in its own process: they do not wait for a server. Constants are those
    of `calibration`, of the shipped one when None. Raises AssayError when the model does not fit, and Unpredicted when chip or model is
    not stated.
    """
    assembly, said = _deployed(point, workload, calibration or shipped())
    if point.said("kv_memory_fraction") is None and any(part.kv_memory_fraction == FULLEST for part in assembly.parts):
        said.append(f"the engine uses {FULLEST:.0%} of the memory: under its default share the model does not fit")
    if workload.at_once:
        plants = tuple(replace(plant, policy=replace(plant.policy, admission_delay=0.0)) for plant in assembly.plants)
        assembly = replace(assembly, plants=plants)
    return assembly, said


def _deployed(point: Point, workload: Workload, calibration: Calibration) -> tuple[Assembly, list[str]]:
    for name in ("chip", "model"):
        if point.said(name) is None:
            raise Unpredicted(f"the {name} is not stated")
    model, chip = _model(point.said("model")), _chip(point.said("chip"))
    calibration = calibration.seen_by(point.said("set") or "")
    asked, said = _asked(point, chip, workload)
    if point.said("prefill_tp") and point.said("decode_tp"):
        parts = [_worker(point, model, asked, role, calibration) for role in ("prefill", "decode")]
        plants = tuple(_plant(model, chip, part, calibration) for part in parts)
        seats = _seats(point, parts[1])
        taken = [f"a rank that decodes takes {seats} sequences at once, as recipes of its engine do"] if seats else []
        return Assembly(plants), [*said, *taken, *_speculated(point, chip, parts[1], calibration)[1]]
    if point.said("tp") is None:
        asked, drafts = _speculated(point, chip, asked, calibration)
        chosen = _best(_possible(model, chip, asked, calibration), point, workload)
        drafts.append(f"parallelism is not stated: tp {chosen.part.tp}, pp {chosen.part.pp}, the best on these chips")
        return Assembly((chosen,)), [*said, *drafts]
    layout, ranks = _layout(point, model)
    group = layout["tp"] * (layout["pp"] or 1)
    replicas = point.said("replicas") or max(1, (point.said("chips") or group) // group)
    asked, drafts = _speculated(point, chip, replace(asked, replicas=replicas, **layout), calibration)
    return Assembly((_plant(model, chip, asked, calibration),)), [*said, *ranks, *drafts]


@lru_cache(maxsize=256)
def _model(name: str) -> Model:
    return Model.load(name)


def _chip(name: str) -> Chip:
    file = Path(name)
    return _chip_of(name, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=256)
def _chip_of(name: str, _: int) -> Chip:
    """The chip, read anew when its file has changed."""
    return Chip.load(name)


@lru_cache(maxsize=8)
def _plant(model: Model, chip: Chip, asked: Asked, calibration: Calibration) -> Plant:
    """One replica. It did run: where it does not fit under an engine's default share of memory, nearly all memory is given to it."""
    engine = Engine.load(asked.engine or GENERIC)
    try:
        return build(model, resolve(model, chip, engine, asked), calibration)
    except CannotHold:
        if asked.kv_memory_fraction is not None:
            raise
        return build(model, resolve(model, chip, engine, replace(asked, kv_memory_fraction=FULLEST)), calibration)


def _asked(point: Point, chip: Chip, workload: Workload) -> tuple[Asked, list[str]]:
    """What the run says beside its layout. Limits above what can ever be in flight are lowered to it, which changes nothing."""
    engine, said = _engine(point, chip)
    named = f"{engine.name}@{engine.since}" if engine.since else engine.name
    given: dict[str, Any] = {"engine": named, **{name: point.said(name) for name in ("weights", "activations", "kv")}}
    given |= {field: point.said(column) for column, field in _LIMITS.items()}
    declared = cached(engine.current, given["weights"]) if given["kv"] is None else None
    if declared:
        given["kv"] = declared
        said.append(f"KV cache {declared}, as checkpoints for {engine.current} declare it")
    defaults = engine.defaults_on(chip.family)
    flying = workload.concurrency or workload.requests
    seats = given["max_num_seqs"] or max(defaults.max_num_seqs.value, workload.requests if point.said("load") == "static" else 0)
    budget = given["token_budget"] or defaults.token_budget.value
    longest = int(workload.input.max())
    given["max_num_seqs"] = max(1, min(seats, flying))
    given["token_budget"] = max(64, min(budget, flying * (longest + 32)))
    if given["prefix_cache"] is None and not workload.prefix.size:
        given["prefix_cache"] = False
    return Asked(**given), said


def _engine(point: Point, chip: Chip) -> tuple[Engine, list[str]]:
    """The engine of the run, as of its version or date, where its file exists and names the chip's family, else the generic one."""
    named, date = point.said("engine"), point.said("source_date")
    try:
        engine, said = _of_its_time(named, date, point.said("engine_version")) if named else (None, [])
    except AssayError:
        engine, said = None, []
    if engine and engine.runs(chip.family):
        return engine, said
    generic, said = _of_its_time(GENERIC, date)
    return generic, [*said, f"engine {named or 'not stated'}, taken as generic"]


def _of_its_time(name: str, date: str | None, version: str | None = None) -> tuple[Engine, list[str]]:
    """As of the day on which its version was published, where it states one that is known and was not measured before; else of its date."""
    published = Engine.load(name).released(version) if version else None
    try:
        return at(name, min(filter(None, (published, date)), default=None)), []
    except InputError:
        return Engine.load(name), [f"source_date {date!r} is no date: {name} is taken as it is today"]


def _layout(point: Point, model: Model) -> tuple[dict[str, Any], list[str]]:
    """How one aggregated server lies on its chips, and what was assumed of that."""
    stated, said = {name: point.said(name) for name in ("tp", "pp", "ep", "dp")}, []
    if stated["dp"] is None and _sparse(model) and ranked(point.said("set"), point.said("source_date")):
        stated["dp"] = stated["tp"]
        said.append("attention ranks are not stated: on all chips, as other runs of the set state")
    return _experts_wide(model, stated), said


def _sparse(model: Model) -> bool:
    return any(isinstance(group.ffn, ExpertsFfn) for group in model.architecture.layers)


def _experts_wide(model: Model, layout: dict[str, Any]) -> dict[str, Any]:
    """Where attention ranks are stated and expert ranks are not, experts are dealt out over all chips: that is how engines run both."""
    wide = _sparse(model) and layout["ep"] is None and (layout["dp"] or 1) > 1
    return {**layout, "ep": layout["tp"]} if wide else layout


def _worker(point: Point, model: Model, asked: Asked, role: str, calibration: Calibration) -> Asked:
    """The part of disaggregated prefill or decode."""
    layout = _experts_wide(model, {name: point.said(f"{role}_{name}") for name in ("tp", "ep", "dp")})
    part = replace(asked, role=role, replicas=point.said(f"{role}_workers") or 1, **layout)
    if role == "prefill":
        return part
    part = replace(part, prefix_cache=None, max_num_seqs=_seats(point, part) or part.max_num_seqs)
    return _speculated(point, _chip(point.said("chip")), part, calibration)[0]


def _seats(point: Point, decode: Asked) -> int | None:
    """Sequences at once on each rank of a decode pool, where the run leaves them out and its engine's recipes tell them."""
    if point.said("max_num_seqs") is not None:
        return None
    return seated(
        Engine.load(decode.engine or GENERIC).current, (point.said("concurrency") or 0) / ((decode.replicas or 1) * (decode.dp or 1))
    )


def _speculated(point: Point, chip: Chip, asked: Asked, calibration: Calibration) -> tuple[Asked, list[str]]:
    untold = point.said("speculate") is None and point.said("load") == "single" and drafting(chip.family, point.said("source_date"))
    if not (point.said("speculate") or untold):
        return asked, []
    engine = Engine.load(asked.engine or GENERIC)
    tokens = point.said("speculate_tokens") or drafted(engine.current, chip.family, asked.dp or 1)
    acceptance = calibration.constants(chip, engine).speculation["acceptance"]
    widened = max(asked.token_budget or 0, (asked.max_num_seqs or 1) * (1 + tokens))
    told = [f"drafts {tokens} tokens, each accepted with chance {acceptance:.2f}, which the run does not state"]
    if untold:
        told.append("shared endpoints of this chip draft since some date, whether they say so or not")
    return replace(asked, speculate=f"{tokens}:{acceptance:.4f}", token_budget=widened), told


def _best(plants: tuple[Plant, ...], point: Point, workload: Workload) -> Plant:
    """The replicas and layout of the run's chips that serve most, or of one user's the fastest, by the closed form."""
    chips = point.said("chips")
    fitting = [_shared(plant, chips) for plant in plants if chips is None or chips % plant.part.chips == 0]
    if not fitting:
        raise CannotHold(f"{point.said('model')} does not fit {chips} x {point.said('chip')} in a layout that divides them")
    return max(fitting, key=lambda plant: _served(plant, workload))


def _shared(plant: Plant, chips: int | None) -> Plant:
    return plant.sized(chips // plant.part.chips) if chips else plant


@lru_cache(maxsize=8)
def _possible(model: Model, chip: Chip, asked: Asked, calibration: Calibration) -> tuple[Plant, ...]:
    found = find(model, chip, asked, calibration)
    if found.why_not:
        raise CannotHold(found.why_not)
    return found.plants


def _served(plant: Plant, workload: Workload) -> float:
    """Requests per second of all replicas, each with its share of the users of a closed loop."""
    users = ceil(workload.concurrency / plant.part.replicas / plant.part.dp) if workload.concurrency else None
    busy = min(plant.part.replicas, workload.concurrency or plant.part.replicas)
    return guess(plant, workload, Slo(), users).rate * busy


def layouts(assembly: Assembly) -> Iterator[str]:
    """The layout of each part in words, for lists of the worst points."""
    for part in assembly.parts:
        sizes = {"tp": part.tp, "pp": part.pp, "dp": part.dp, "ep": part.ep}
        told = " ".join(f"{name}{size}" for name, size in sizes.items() if size > 1 or name == "tp")
        yield f"{part.replicas} x {told}"
