"""One published run: simulated as it was run, and what the data sheet says of it."""

from dataclasses import dataclass

from assay._base.errors import AssayError
from assay.cost.constants import Calibration
from assay.metrics import Columns, stable
from assay.points import Number, Point
from assay.search.evidence import ANYONE, KNOWN, Pair, circumstances, known, weakest
from assay.simulate import run
from assay.validate.datasheet import from_datasheet
from assay.validate.figures import LATENCIES, Figures
from assay.validate.setting import layouts, replayed
from assay.validate.traffic import Unpredicted

UNSTATED = ", layout not stated"  # beside a load: the layout that is simulated is then a guess


@dataclass(frozen=True)
class Guess:
    """A prediction of one row, in its own unit, with its 90 % band and the data sheet's figure; or the reason why there is none."""

    row: int
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    sheet: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Told:
    """The guesses for all rows of a run, and what was assumed of the run.

    `layout` in words, what was `known` and under which `load` its band was looked up, the chip's way of `execution`, for which `pair` of
    engine and family: empty where nothing was predicted.
    """

    guesses: tuple[Guess, ...]
    assumed: tuple[str, ...] = ()
    layout: str = ""
    known: str = ""
    load: str = ""
    execution: str = ""
    pair: Pair = ANYONE


def told(point: Point, calibration: Calibration | None = None) -> Told:
    """Predict every number of a run, under the shipped constants when none are given."""
    try:
        workload, assembly, said = replayed(point, calibration)
    except (AssayError, Unpredicted) as error:
        return Told(tuple(Guess(number.row, reason=_reason(error)) for number in point.numbers))
    outcome = run(workload, assembly.fleet(), seed=workload.seed)
    if not outcome.served.any():
        reason = "no request fits the KV cache or the model's context"
        return Told(tuple(Guess(number.row, reason=reason) for number in point.numbers))
    simulated = Figures.of(outcome, workload, assembly.chips)
    sheet = from_datasheet(assembly, workload)
    steady = stable(Columns(outcome.arrival, outcome.first_token, outcome.finish, workload.output))
    load = circumstances(workload, assembly.parts, steady) + UNSTATED * (point.said("tp") is None and len(assembly.parts) == 1)
    model = assembly.plants[0].model.name
    bands = weakest(assembly.parts, load, calibration, model)[1]
    guesses = tuple(_guess(number, simulated, sheet, bands) for number in point.numbers)
    least = max((known(part.chip, part.engine, calibration, model) for part in assembly.parts), key=KNOWN.index)
    first = assembly.parts[0]
    pair = first.engine.name, first.chip.family
    return Told(guesses, tuple(said), " + ".join(layouts(assembly)), least, load, first.chip.execution, pair)


def _guess(number: Number, simulated: Figures, sheet: Figures, bands: dict[str, tuple[float, float]]) -> Guess:
    value = simulated.value(number)
    if value is None:
        what = f"{number.statistic} {number.metric}" if number.statistic else number.metric
        return Guess(number.row, reason=f"{what} is not predicted")
    low, high = _band(number, bands)
    return Guess(number.row, value, value * low, value * high, sheet.value(number))


def kind(number: Number) -> str:
    """Whose band holds for a number: rates have that of throughput, the speed of one user that of TPOT (turned round)."""
    metric = "tpot" if number.metric.endswith("per_user") else number.metric
    if metric not in LATENCIES:
        return "output_tokens_per_second"
    if number.statistic in ("p95", "p99", "p999") and metric != "itl":
        return f"{metric}_tail"
    return "ttft_mean" if (metric, number.statistic) == ("ttft", "mean") else metric


def _band(number: Number, bands: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Factors around a prediction."""
    return turned(number, bands[kind(number)])


def turned(number: Number, band: tuple[float, float]) -> tuple[float, float]:
    """A band of `kind` as factors on the number itself."""
    low, high = band
    return (1 / high, 1 / low) if number.metric.endswith("per_user") else band


def _reason(error: Exception) -> str:
    """A reason short enough to be counted: what is wrong, without the remedy."""
    if isinstance(error, AssayError):
        where, what = getattr(error, "file", ""), getattr(error, "problem", "")
        return f"{where}: {what}" if what else str(error).split(". ")[0]
    return str(error)
