"""The deployments of a model on a chip that are worth simulating: engines, precisions and layouts that fit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeVar

from assay._base.errors import AssayError, CannotHold
from assay._base.precisions import precisions
from assay.chips import Chip
from assay.cost.constants import Calibration, shipped
from assay.deployments import Asked, check_asked, resolve
from assay.engines import Engine, for_family
from assay.models import Model
from assay.models.compressed import CompressedAttention
from assay.models.shapes import ExpertsFfn, LatentAttention
from assay.search.estimate import prompt_latency
from assay.search.plant import Plant, build

Layout = TypeVar("Layout")

MOST_RANKS = 64  # no tensor-parallel group wider than this is tried unless asked for
WIDER = 16  # nor one this many times wider than the narrowest that fits
CHUNKS = (64, 128, 256, 512, 1024, 2048)  # prefill chunks tried on a resident pipeline, where a long chunk holds up every stage
TYPICAL_PROMPT = 1024  # tokens of the prompt that the chunk is chosen for


@dataclass(frozen=True)
class Found:
    """What fits, and when nothing does, why."""

    plants: tuple[Plant, ...]
    why_not: str | None


@dataclass(frozen=True)
class _Search:
    """What is laid out, on what chips, under which constants; why what does not fit was refused is added to `refusals`."""

    model: Model
    chip: Chip
    calibration: Calibration
    refusals: list[AssayError]


def find(model: Model, chip: Chip, asked: Asked, calibration: Calibration | None = None) -> Found:
    """Every deployment of one replica that fits, within what was asked; equal ones under one engine count once.

    Constants are those of `calibration`, of the shipped one when None. Raises InputError on a value that is wrong on any chip.
    """
    check_asked(asked)
    if chip.unpublished:
        return Found((), f"{chip.name}: its maker has published no numbers ({chip.unpublished})")
    plants: list[Plant] = []
    here = _Search(model, chip, calibration or shipped(), [])
    for engine in _engines(chip, asked):
        for weights in _weights(model, chip, engine, asked):
            plants += _fitting(here, engine, replace(asked, weights=weights))
    return Found(tuple(plants), None if plants else _reason(here.refusals, model, chip))


def smallest(model: Model, chip: Chip, engine: Engine, asked: Asked) -> Plant:
    """The deployment of the fewest chips that fits.

    Raises CannotHold with the last reason when none does, InputError on a chip without numbers.
    """
    chip.check_published()
    refusals: list[AssayError] = []
    layouts = _resident(model, chip, asked) if chip.resident else (*_kernels(model, chip, engine, asked), *_stages(chip, engine, asked))
    for layout in sorted(layouts, key=lambda layout: (layout.tp or 1) * (layout.pp or 1)):
        try:
            return build(model, resolve(model, chip, engine, layout))
        except AssayError as error:
            refusals.append(error)
    raise CannotHold(_reason(refusals, model, chip))


def _reason(refusals: list[AssayError], model: Model, chip: Chip) -> str:
    """The widest layout that lacked room says most; else what was refused last."""
    crowded = [str(error) for error in refusals if isinstance(error, CannotHold)]
    others = [str(error) for error in refusals] or [f"no engine serves {model.name}'s precision on {chip.name}"]
    return (crowded or others)[-1]


def _engines(chip: Chip, asked: Asked) -> tuple[Engine, ...]:
    return (Engine.load(asked.engine),) if asked.engine else for_family(chip.family)


def _weights(model: Model, chip: Chip, engine: Engine, asked: Asked) -> tuple[str | None, ...]:
    """The checkpoint's own precision and, of a 16-bit checkpoint, the 8-bit format that the chip computes in."""
    if asked.weights:
        return (asked.weights,)
    native = model.architecture.precision
    formats: list[str | None] = [None] if native in engine.weights else []
    if precisions()[native].width == 16:
        formats += [name for name in ("fp8", "int8") if name in chip.peak and name in engine.weights][:1]
    return tuple(formats)


def _fitting(here: _Search, engine: Engine, asked: Asked) -> Iterator[Plant]:
    model, chip = here.model, here.chip
    if asked.parallelism_given:
        yield from _built(here, engine, (asked,))
        return
    if chip.resident:
        yield from _pipelines(here, engine, asked)
        return
    single: list[Plant] = []
    for plant in _built(here, engine, _kernels(model, chip, engine, asked)):
        if plant.part.tp <= WIDER * (single[0].part.tp if single else plant.part.tp):
            single.append(plant)
    yield from single or list(_built(here, engine, _stages(chip, engine, asked)))[:2]


def _built(here: _Search, engine: Engine, layouts: Iterable[Asked]) -> Iterator[Plant]:
    return _each(lambda layout: build(here.model, resolve(here.model, here.chip, engine, layout), here.calibration), layouts, here.refusals)


def _each(make: Callable[[Layout], Plant], layouts: Iterable[Layout], refusals: list[AssayError]) -> Iterator[Plant]:
    """The plants of the layouts that can be; why the others cannot is added to `refusals`."""
    for layout in layouts:
        try:
            yield make(layout)
        except AssayError as error:
            refusals.append(error)


def _pipelines(here: _Search, engine: Engine, asked: Asked) -> Iterator[Plant]:
    """For each width of a stage the fewest stages that fit and, for more cache, the most up to twice as many."""
    fitting: dict[int, list[Plant]] = {}
    shortest = replace(asked, token_budget=asked.token_budget or CHUNKS[0])
    for plant in _built(here, engine, _resident(here.model, here.chip, shortest)):
        fitting.setdefault(plant.part.tp, []).append(plant)
    for plants in fitting.values():
        fewest = plants[0]
        roomiest = [plant for plant in plants if plant.part.pp <= 2 * fewest.part.pp][-1]
        for plant in dict.fromkeys((fewest, roomiest)):
            yield plant if asked.token_budget else _chunked(plant, here.calibration)


def _chunked(plant: Plant, calibration: Calibration) -> Plant:
    """The same layout with the prefill chunk, of those that fit, that passes a typical prompt through all stages soonest."""
    parts = [replace(plant.part, token_budget=chunk) for chunk in CHUNKS]
    variants = [*_each(lambda part: build(plant.model, part, calibration), parts, [])]
    return min(variants, key=lambda variant: prompt_latency(variant, TYPICAL_PROMPT))


def _kernels(model: Model, chip: Chip, engine: Engine, asked: Asked) -> Iterator[Asked]:
    """Tensor parallel over powers of two inside the nearest link scope, with expert and attention-rank variants."""
    for tp in _widths(chip):
        yield replace(asked, tp=tp)
        yield from _expert_variants(model, engine, asked, tp)


def _stages(chip: Chip, engine: Engine, asked: Asked) -> Iterator[Asked]:
    """Pipelines over whole scopes, for a model that is too large for one."""
    if engine.has("pipeline_parallel"):
        for stages in (2, 3, 4, 6, 8, 12, 16):
            if _widths(chip)[-1] * stages <= _joined(chip):
                yield replace(asked, tp=_widths(chip)[-1], pp=stages)


def _joined(chip: Chip) -> int:
    """Chips that the widest link scope joins."""
    return max((int(link.size.value) for link in chip.links), default=1)


def _widths(chip: Chip) -> list[int]:
    return list(_powers(min(int(chip.links[0].size.value) if chip.links else 1, MOST_RANKS)))


def _expert_variants(model: Model, engine: Engine, asked: Asked, tp: int) -> Iterator[Asked]:
    layers = model.architecture.layers
    if tp == 1 or not any(isinstance(group.ffn, ExpertsFfn) for group in layers) or not engine.has("expert_parallel"):
        return
    yield replace(asked, tp=tp, ep=tp)
    if any(isinstance(group.attention, LatentAttention | CompressedAttention) for group in layers) and engine.has("attention_dp"):
        yield replace(asked, tp=tp, ep=tp, dp=tp)


def _resident(model: Model, chip: Chip, asked: Asked) -> Iterator[Asked]:
    """Every width of a stage with every number of stages that whole layers make, fewest first, as far as links reach."""
    depth = model.architecture.depth
    stages = sorted({ceil(depth / layers) for layers in range(1, depth + 1)})
    for tp in _powers(MOST_RANKS):
        for pp in stages:
            if tp * pp <= _joined(chip):
                yield replace(asked, tp=tp, pp=pp)


def _powers(most: int) -> Iterator[int]:
    width = 1
    while width <= most:
        yield width
        width *= 2
