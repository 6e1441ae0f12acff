"""The two sentences and the notes."""

from types import ModuleType

from assay.report import verdict
from assay.report.standings import standings


def test_cheapest_and_fastest(sample: ModuleType) -> None:
    """The verdict names how many of which chip, how they are set up, the price and the targets."""
    first, second = map(str, verdict.sentences(sample.comparison()))
    setup = "16 × MI355X under vllm (tp 4 × 4 replicas, fp4 weights, fp8 activations and KV)"
    assert first == f"Cheapest: {setup} at $0.14 per million tokens within p99 TTFT 2 s and TPOT 50 ms."
    assert second.startswith("Fastest: 384 × Groq LPU v3 under sram-compiler (tp 64 × 6 replicas, fp8) at 396 tokens/s per user, ")
    assert "without an offer; worth $0.11 per chip-hour" in second


def test_verdict_without_the_named_best(sample: ModuleType) -> None:
    """When the comparison names no best, it is found again from the candidates."""
    document = sample.comparison()
    document["best"] = {}
    first, second = verdict.sentences(document)
    assert "16 × MI355X" in first.rest
    assert "384 × Groq" in second.rest


def test_one_chip_cheapest_and_fastest(sample: ModuleType) -> None:
    """Where the same chip wins both, the second sentence tells the next one and how much dearer it is."""
    document = sample.comparison()
    document["chips"] = [info for info in document["chips"] if info["name"] in ("b200-sxm", "h100-sxm")]
    document["candidates"] = [row for row in document["candidates"] if row["chip"] in ("b200-sxm", "h100-sxm")]
    document["best"] = {}
    first, second = verdict.sentences(document)
    assert first.lead == "Cheapest and fastest"
    assert second.lead == "Next"
    assert "H100 SXM" in second.rest
    assert "(+53 %)" in second.rest


def test_no_offer_at_all(sample: ModuleType) -> None:
    """Without prices the fewest chips lead, and it is said that nothing has a price."""
    document = sample.comparison()
    for row in document["candidates"]:
        row |= {"cost_per_million_tokens": None, "cost_per_hour": None, "offer": None, "worth": None}
    document["best"]["cost"] = None
    first, _ = verdict.sentences(document)
    assert first.lead == "Fewest chips"
    assert "nothing that meets the targets has a price" in first.rest


def test_nothing_meets_the_targets(sample: ModuleType) -> None:
    """The nearest deployment and its shortfall are named, even where no reason is given."""
    document = sample.infeasible()
    for row in document["candidates"]:
        row["why_not"] = None if row["tpot"] else row["why_not"]
    first, second = map(str, verdict.sentences(document))
    assert first.startswith("Nothing meets the targets: none of the 8 compared chips serves 60 requests/s")
    assert second == "Closest: 384 × Groq LPU v3 under sram-compiler (tp 64 × 6 replicas, fp8): p99 TPOT 3.13 ms against 500 µs."


def test_nothing_fits(sample: ModuleType) -> None:
    """When no chip holds the model, the reason is the second sentence."""
    document = sample.comparison()
    document["chips"], document["candidates"], document["best"] = document["chips"][-1:], document["candidates"][-1:], {}
    first, second = map(str, verdict.sentences(document))
    assert "the chip does not serve 60 requests/s" in first
    assert second.startswith("Why: SN40L, weights take 70.6 GB")


def test_notes_tell_what_is_left_out(sample: ModuleType) -> None:
    """Chips that miss, chips that cannot hold the model, chips without an offer, thin evidence."""
    said = verdict.notes(sample.comparison())
    assert any(note.startswith("Gaudi 3 does not meet the targets: p99 TPOT") for note in said)
    assert any(note.startswith("SN40L has no deployment") for note in said)
    assert any(note.startswith("No offer for Groq LPU v3") for note in said)
    assert any("specifications alone" in note and "MI355X" in note for note in said)


def test_mixed_bases_are_said(sample: ModuleType) -> None:
    """Rented and owned chips in one ranking are called out."""
    document = sample.comparison()
    for row in document["candidates"]:
        if row["chip"] == "b200-sxm":
            row["cost_basis"] = "tco"
    assert any("different bases (rent, tco)" in note for note in verdict.notes(document))


def test_standings_put_the_cheapest_first(sample: ModuleType) -> None:
    """Served chips by cost, then those without a price, then the near misses, then those where nothing fits."""
    found = standings(sample.comparison())
    assert [standing.name for standing in found][:5] == ["mi355x", "b200-sxm", "mi300x", "h100-sxm", "groq-lpu-v3"]
    assert found[-1].name == "sn40l"
    assert found[-1].best is None
