"""Each command in a few lines: the chain can be read here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay import offers
from assay._base.catalogue import find as find_file
from assay._base.catalogue import names
from assay._base.errors import InputError
from assay._base.schema import annotated, read, schema
from assay.chips import Chip
from assay.cost.explain import Explained, Load, explain
from assay.deployments import Asked, Deployment, resolve
from assay.engines import Engine, for_family
from assay.models import Model
from assay.offers import Ownership
from assay.search.assembly import Assembly
from assay.search.candidates import find, smallest
from assay.search.comparison import Case, Comparison, Work, sized
from assay.search.evaluate import Question, evaluate
from assay.search.evidence import bands, evidence_of
from assay.search.plant import Plant, build
from assay.search.price import Market
from assay.search.runs import Evidence, Run
from assay.simulate.run import Progress
from assay.slo import Slo
from assay.workloads import LONGEST, TRACES, Workload, describe, drawn, picture

if TYPE_CHECKING:
    from assay.calibrate.few import Update
    from assay.validate.validation import Validation


@dataclass(frozen=True)
class Prices:
    """Where prices come from: the shipped offers and those of `files`; `tier` keeps one kind of seller."""

    tier: str | None = None
    files: tuple[Path, ...] = ()

    def markets(self, chips: Iterable[str]) -> dict[str, Market]:
        """The market of each chip by name; InputError when nobody sells in this tier."""
        listed, ownership = offers.load(self.files), Ownership.load()
        tiers = sorted({offer.tier for offer in listed})
        if self.tier and self.tier not in tiers:
            raise InputError("--tier", "", f"nobody offers tier {self.tier!r}", f"Use one of {', '.join(tiers)}")
        reason = f"no offer of tier {self.tier} for this chip" if self.tier else "no offer for this chip"
        return {name: Market(offers.choose(listed, name, self.tier), ownership, reason) for name in chips}


@dataclass(frozen=True)
class Prediction:
    """One step, taken apart, with its error band and evidence."""

    step: Explained
    error_band: dict[str, tuple[float, float]]
    evidence: Evidence
    deployment: dict[str, Any]
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that the command line promises."""
        step = {key: getattr(self.step, key) for key in ("seconds", "latency", "joules", "bottleneck")}
        return {
            **step,
            "ops": [op.to_dict() for op in self.step.ops],
            "error_band": {metric: list(band) for metric, band in self.error_band.items()},
            "evidence": self.evidence.to_dict(),
            "deployment": {"parts": [self.deployment]},
            "assumptions": list(self.assumptions),
        }

    def summary(self) -> str:
        """One line for people."""
        return f"{self.step.latency * 1e3:.3g} ms, {self.step.joules:.3g} J"


def predict(model: Model, deployment: Deployment, *, prefill: int = 0, decode: int = 0, context: int = 0) -> Prediction:
    """One step: `prefill` tokens of a prompt beside `decode` sequences of `context` tokens; AssayError when the chips cannot hold it."""
    load = Load(prefill, decode, context)
    _check_load(load)
    plant = _wide_enough(plan_one(model, deployment), load)
    step = explain(plant.machine, plant.ops, plant.times, load)
    label = evidence_of(plant.part.chip, plant.part.engine, model.name)
    found = bands(plant.part, model=model.name)
    band = {"seconds": found["tpot"], "latency": found["tpot"], "joules": found["joules_per_token"]}
    return Prediction(step, band, label, plant.part.to_dict(), plant.part.assumptions)


def simulate(
    model: Model,
    deployment: Deployment,
    workload: Workload,
    slo: Slo | None = None,
    prices: Prices | None = None,
    *,
    reference: bool = False,
    progress: Progress | None = None,
) -> Run:
    """One deployment under one load, by the compiled simulator or the reference; AssayError when the chips cannot hold the model.

    `progress` is called now and then with the number of finished requests and of all.
    """
    plants = tuple(_plant(model, chip, asked) for chip, asked in deployment.parts)
    names = [chip.name for chip, _ in deployment.parts]
    markets = (prices or Prices()).markets(names)
    question = Question(workload, slo or Slo(), reference)
    return evaluate(Assembly(plants, deployment.router), question, [markets[name] for name in names], progress)


def compare(
    model: Model,
    chips: Sequence[Chip],
    workload: Workload,
    slo: Slo | None = None,
    *,
    asked: Asked | None = None,
    prices: Prices | None = None,
    work: Work | None = None,
) -> Comparison:
    """Every deployment of the model that fits each chip, within what is asked of it, sized to the traffic, priced and ranked."""
    question = Question(workload, slo or Slo())
    markets = (prices or Prices()).markets(chip.name for chip in chips)
    found = {chip.name: find(model, chip, asked or Asked()) for chip in chips}
    cases = [Case(model, plant.part, question, markets[chip.name]) for chip in chips for plant in found[chip.name].plants]
    runs, complete = sized(cases, work or Work())
    unfit = {name: here.why_not for name, here in found.items() if here.why_not}
    return Comparison(model.name, question, tuple(chips), tuple(runs), unfit, complete)


def validate(
    data: Sequence[Path] = (), *, sample: int | None = None, seed: int = 0, folds: str | None = None, work: Work | None = None
) -> "Validation":
    """Every published number of some tables beside what the chain predicts of its run, or those of `sample` runs drawn by `seed`.

    Without a table those that ship with the package. With `folds` (configuration, chip, model or engine) each run is predicted by
    constants that are fitted to the runs of other folds.
    """
    from assay.points import SHIPPED, read_points
    from assay.validate.validation import validated

    work, points = work or Work(), read_points(data or [SHIPPED])
    if not folds:
        return validated(points, sample, seed, work)
    from assay.calibrate.folds import refitted

    return replace(validated(points, sample, seed, work, refitted(folds, work, known=not data)), folds=folds)


def calibrate(data: Sequence[Path], chip: Chip | str, filled: Mapping[str, Any] | None = None) -> "Update":
    """A chip's constants updated by measured runs on it; `filled` are conditions of runs, by column, that their tables leave out."""
    from assay.calibrate.few import updated
    from assay.points import read_points

    return updated(read_points(data), chip if isinstance(chip, Chip) else Chip.load(chip), filled or {})


def plan_one(model: Model, deployment: Deployment) -> Plant:
    """The plant of a deployment of one part; without parallelism the fewest chips that fit, under the first engine of the chip's family."""
    return _plant(model, *deployment.one)


def _plant(model: Model, chip: Chip, asked: Asked) -> Plant:
    engine = Engine.load(asked.engine) if asked.engine else for_family(chip.family)[0]
    if asked.parallelism_given:
        return build(model, resolve(model, chip, engine, asked))
    return smallest(model, chip, engine, asked)


def _check_load(load: Load) -> None:
    """A step is within the largest limits that a part may have; InputError names the flag."""
    fields = schema("deployment")
    tokens, sequences = (int(fields[f"part[].{name}"].maximum or 0) for name in ("token_budget", "max_num_seqs"))
    for name, most in (("prefill", tokens), ("decode", sequences), ("context", LONGEST)):
        value = getattr(load, name)
        if not 0 <= value <= most:
            raise InputError(f"--{name}", "", f"is {value}", f"Give 0 to {most}")


def _wide_enough(plant: Plant, load: Load) -> Plant:
    """A step may be larger than the scheduler would make it: widen the tables to hold it."""
    part = plant.part
    busiest = load.spread(part.dp)[0]
    tokens, sequences = busiest.tokens(part.width), busiest.decode + 1
    if tokens <= part.token_budget and sequences <= part.max_num_seqs:
        return plant
    return build(plant.model, replace(part, token_budget=max(tokens, part.token_budget), max_num_seqs=max(sequences, part.max_num_seqs)))


_LOADERS: dict[str, Callable[[str], Any]] = {"chips": Chip.load, "models": Model.load, "engines": Engine.load, "workloads": Workload.load}
_SCHEMAS = {"chips": "chip", "models": "model_entry", "engines": "engine", "workloads": "workload_entry"}


def entry(noun: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A catalogue entry as JSON, and the same with the unit of every value, to be shown."""
    plain: dict[str, Any] = _LOADERS[noun](name).to_dict()
    if noun == "workloads":
        document = read(find_file(noun, name), "workload")
        plain |= {key: document[key] for key in ("notes", "distance") if key in document}
    return plain, annotated(plain, _SCHEMAS[noun])


def is_trace(name: str) -> bool:
    """Whether a workload that the user names is a trace file, not a description."""
    return Path(name).suffix in TRACES


def trace(file: str, progress: Progress | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A trace and what draws alike, as JSON, and its figures with units, to be shown.

    Beside what `entry` gives: the `distance` of a draw, the `description` and the `picture` of both.
    """
    workload = Workload.load(file, progress=progress)
    description = describe(workload, workload.name)
    figures = {**workload.to_dict(), "distance": description["distance"]}
    return {**figures, "description": description, "picture": picture(workload, drawn(description))}, annotated(figures, "workload_entry")


def listing(noun: str, name: str | None = None) -> list[dict[str, Any]]:
    """One row per entry of a noun's catalogue; of offers those of one chip when `name` is given."""
    if noun == "offers":
        chip = find_file("chips", name).stem if name else None
        return [offer.to_dict() for offer in offers.load() if chip in (None, offer.chip)]
    keys = _LISTED[noun]
    return [{key: row.get(key) for key in keys} for row in (_LOADERS[noun](name).to_dict() for name in names(noun))]


_LISTED = {
    "chips": ("name", "title", "vendor", "family", "status", "execution"),
    "models": ("name", "kind", "parameters", "active_parameters", "weight_bytes", "precision"),
    "engines": ("name", "title", "version", "of", "until", "runs_on"),
    "workloads": ("name", "requests", "rate", "source"),
}
