"""What a buyer can choose from: published runs with their throughput and interactivity as measured, predicted, and by the data sheet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from assay._base.catalogue import find
from assay._base.errors import InputError
from assay.points import Number, Point
from assay.validate.predict import Guess
from assay.validate.unstated import of_dataset

Pair = tuple[Number, Guess]

LOADS = ("closed", "offline", "static")  # an open loop has the throughput of its arrivals, whatever it costs
_THROUGHPUTS = ("output_tokens_per_second", "total_tokens_per_second", "e2e")  # the surest first
_TYPICAL = ("p50", "mean", "")  # statistics of TPOT that stand for what a user sees
# Conditions that do not make a setup: what the traffic was, and how and when it was measured.
_SHARING = ("shared_prefix", "distinct_prompts")
_TRAFFIC = ("chip", "model", "load", "isl", "osl", "isl_nominal", "osl_nominal", "spread_low", "spread_high", *_SHARING)
_MEASURING = ("point", "set", "source_date", "engine_version", "requests", "duration")


@dataclass(frozen=True, order=True)
class Traffic:
    """What is to be served: a model, the kind of load, tokens in and out as asked for; of a data set its means, else the means used.

    `shared_prefix` and `distinct_prompts` are those of the table, 0 where prompts share nothing.
    """

    model: str
    load: str
    isl: float
    osl: float
    shared_prefix: int = 0
    distinct_prompts: int = 0


@dataclass(frozen=True)
class Service:
    """What a run gives: output tokens per second of a chip, and in closed loops of one user (interactivity, 1 / TPOT; else None)."""

    output: float
    interactivity: float | None = None

    def reaches(self, level: float | None) -> bool:
        """Whether a user is served so fast; None asks for nothing."""
        return level is None or (self.interactivity is not None and self.interactivity >= level)


@dataclass(frozen=True)
class Option:
    """A published run that a buyer can copy; `predicted` and `sheet` are None where the prediction, or the data sheet, has no figure."""

    traffic: Traffic
    chip: str
    date: str
    measured: Service
    predicted: Service | None
    sheet: Service | None


def options(runs: Iterable[tuple[Point, Sequence[Guess]]]) -> list[Option]:
    """The runs that have a throughput, and in closed loops a TPOT, the latest first.

    Of runs with the same setup the latest stands for all, of those of one date the one with the highest throughput.
    """
    kept: dict[tuple[Any, ...], Option] = {}
    for point, guesses in runs:
        option = _option(point, guesses)
        if option:
            setup = sorted((name, value) for name, value in point.conditions.items() if name not in (*_TRAFFIC, *_MEASURING))
            key = (option.traffic, option.chip, *setup)
            kept[key] = max(kept.get(key, option), option, key=lambda each: (each.date, each.measured.output))
    return sorted(kept.values(), key=lambda each: each.date, reverse=True)


def _option(point: Point, guesses: Sequence[Guess]) -> Option | None:
    traffic, chip = _traffic(point), point.said("chip")
    pairs = [(number, guess) for number, guess in zip(point.numbers, guesses, strict=True) if number.scored]
    throughputs = [pair for pair in pairs if _output(point, pair[0], pair[0].value)]
    paces = [pair for pair in pairs if pair[0].metric == "tpot" and pair[0].statistic in _TYPICAL]
    closed = point.said("load") == "closed"
    if traffic is None or chip is None or not throughputs or (closed and not paces):
        return None
    throughput = min(throughputs, key=lambda pair: _THROUGHPUTS.index(pair[0].metric))
    pace = min(paces, key=lambda pair: _TYPICAL.index(pair[0].statistic)) if closed else None
    measured, predicted, sheet = (_service(point, throughput, pace, said) for said in (_measured, _predicted, _sheet))
    assert measured is not None
    return Option(traffic, _named("chips", chip), point.said("source_date") or "", measured, predicted, sheet)


def _measured(pair: Pair) -> float | None:
    return pair[0].value


def _predicted(pair: Pair) -> float | None:
    return pair[1].predicted


def _sheet(pair: Pair) -> float | None:
    return pair[1].sheet


def _service(point: Point, throughput: Pair, pace: Pair | None, said: Callable[[Pair], float | None]) -> Service | None:
    output, tpot = _output(point, throughput[0], said(throughput)), said(pace) if pace else None
    if not output or (pace and not tpot):
        return None
    return Service(output, 1 / tpot if tpot else None)


def _traffic(point: Point) -> Traffic | None:
    """None where it is not stated, or the load tells nothing of what a chip can do."""
    model, load = point.said("model"), point.said("load")
    isl, osl = _asked(point, "isl", "input"), _asked(point, "osl", "output")
    if model is None or load not in LOADS or isl is None or osl is None:
        return None
    return Traffic(_named("models", model), load, isl, osl, *(point.said(name) or 0 for name in _SHARING))


def _asked(point: Point, column: str, name: str) -> float | None:
    """Tokens. A data set goes before the means used: answers to it are of another length in each run."""
    found = point.said(f"{column}_nominal") or of_dataset(point.said("set"), point.said("model") or "", name) or point.said(column)
    return None if found is None else float(found)


def _output(point: Point, number: Number, value: float | None) -> float | None:
    """Output tokens per second of a chip, from a throughput or from how long one batch took; None where the number tells neither."""
    isl, osl = (point.said(column) or point.said(f"{column}_nominal") for column in ("isl", "osl"))
    chips = 1 if number.per == "chip" else point.said("chips")
    if not value or not chips:
        return None
    rate = number.per in ("chip", "system")
    match number.metric:
        case "output_tokens_per_second" if rate:
            return value / chips
        case "total_tokens_per_second" if rate and isl and osl:
            return float(value * osl / (isl + osl) / chips)
        case "e2e" if point.said("load") == "static" and point.said("batch") and osl and number.statistic in ("mean", ""):
            return float(point.said("batch") * osl / value / chips)
    return None


@lru_cache(maxsize=1024)
def _named(noun: str, reference: str) -> str:
    """The catalogue's name of what a table may call by an alias; what the catalogue lacks keeps its own."""
    try:
        return find(noun, reference).stem
    except InputError:
        return reference
