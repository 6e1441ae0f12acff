"""One choice of a chip: which is cheapest per token for some traffic, as it was measured, and which by what was said beforehand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.offers import Offer
from assay.validate.options import Option, Service, Traffic

View = Callable[[Option], Service | None]

FEWEST = 3  # chips to choose from, or to rank


@dataclass(frozen=True)
class Choice:
    """Which of `chips` serves some traffic at an interactivity (output tokens/s of one user; None: whatever it is) at least cost.

    Costs are in dollars per million output tokens. `measured` and `predicted` have the cost of each chip's cheapest run that reaches the
    interactivity, the cheapest first, without chips of which no run does. `paid` is the measured cost of the run that was picked, or where
    that one misses the interactivity the cheapest of its chip that reaches it; None where there is none, or nothing was picked.
    """

    traffic: Traffic
    interactivity: float | None
    chips: tuple[str, ...]
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    paid: float | None

    @property
    def best(self) -> str:
        """The chip that was cheapest."""
        return next(iter(self.measured))

    @property
    def picked(self) -> str | None:
        """The chip that was predicted to be cheapest; None where none was predicted to reach the interactivity."""
        return next(iter(self.predicted), None)

    @property
    def right(self) -> bool:
        """Whether they are one, or cost the same."""
        return self.picked is not None and self.measured.get(self.picked) == self.measured[self.best]

    @property
    def lost(self) -> float | None:
        """What was paid above the cheapest."""
        return None if self.paid is None else self.paid - self.measured[self.best]

    @property
    def regret(self) -> float | None:
        """The same as a fraction of the cheapest."""
        return None if self.paid is None else self.paid / self.measured[self.best] - 1

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, of what chips cost as measured and as predicted; None where fewer than three do both, or all cost the same."""
        both = [chip for chip in self.measured if chip in self.predicted]
        costs = [[view[chip] for chip in both] for view in (self.measured, self.predicted)]
        if len(both) < FEWEST or any(len(set(view)) == 1 for view in costs):
            return None
        from scipy.stats import spearmanr

        return float(spearmanr(*costs).statistic)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        costs = {chip: {"measured": self.measured.get(chip), "predicted": self.predicted.get(chip)} for chip in self.chips}
        told = ("best", "picked", "right", "paid", "lost", "regret", "rank_correlation")
        return {**vars(self.traffic), "interactivity": self.interactivity, "chips": costs, **{name: getattr(self, name) for name in told}}


def chosen(runs: Sequence[Option], level: float | None, view: View, prices: Mapping[str, Offer]) -> Choice:
    """The choice between runs of one traffic by what `view` says of them; one of them reaches the level as measured."""
    measured, predicted = _cheapest(runs, level, _measured, prices), _cheapest(runs, level, view, prices)
    paid = None
    if predicted:
        chip, (_, run) = next(iter(predicted.items()))
        reached, _ = measured.get(chip, (None, run))
        paid = _cost(run.measured, prices[chip]) if run.measured.reaches(level) else reached
    costs = [{chip: cost for chip, (cost, _) in found.items()} for found in (measured, predicted)]
    return Choice(runs[0].traffic, level, tuple(sorted({run.chip for run in runs})), costs[0], costs[1], paid)


def _measured(run: Option) -> Service:
    return run.measured


def _cheapest(runs: Sequence[Option], level: float | None, view: View, prices: Mapping[str, Offer]) -> dict[str, tuple[float, Option]]:
    """By chip the cost of its cheapest run that reaches the level, and that run, the cheapest first; of equal ones the first."""
    found: dict[str, tuple[float, Option]] = {}
    for run in runs:
        service = view(run)
        if service and service.reaches(level):
            cost = _cost(service, prices[run.chip])
            if run.chip not in found or cost < found[run.chip][0]:
                found[run.chip] = (cost, run)
    return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))


def _cost(service: Service, offer: Offer) -> float:
    return offer.dollars / 3600 / service.output * 1e6
