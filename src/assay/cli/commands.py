"""The commands: parse, call the api, hand the result to report, print."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay import __version__
from assay._base.errors import AssayError, InputError
from assay.cli import options

if TYPE_CHECKING:
    from rich.console import Console


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """What a chip is worth to those who serve a language model: latency, throughput, cost and power, with the error shown."""


@cli.command()
@click.argument("name", required=False)
@options.json_flag
def chips(name: str | None, json: bool) -> None:
    """List chips, or show one (NAME or FILE) with unit and source of each number."""
    _catalogue("chips", name, json)


@cli.command()
@click.argument("name", required=False)
@options.json_flag
def models(name: str | None, json: bool) -> None:
    """List models, or show one (NAME, config.json or folder)."""
    _catalogue("models", name, json)


@cli.command()
@click.argument("name", required=False)
@options.json_flag
def engines(name: str | None, json: bool) -> None:
    """List engines, or show one (NAME or FILE) with the source of each default."""
    _catalogue("engines", name, json)


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Of a trace, write a description that draws alike (.toml) or a page with pictures (.html). May be given twice.",
)
@options.json_flag
def workloads(name: str | None, out: tuple[Path, ...], json: bool) -> None:
    """List workloads, or describe one (NAME or FILE); of a trace also how far a draw of its description is from it."""
    from assay import api
    from assay.cli import progress
    from assay.report import table

    if name is None or not api.is_trace(name):
        if out:
            problem = "given without a trace" if name is None else f"given with {name}, which is no trace"
            raise InputError("--out", "", problem, "Give a .csv, .jsonl, .json or .parquet file to describe")
        return _catalogue("workloads", name, json)
    for path in out:
        options.writable("--out", path, (".toml", ".html"))
    with progress.bar("reading", counted=False) as told:
        found, annotated = api.trace(name, told)
    result = options.headed(found, None)
    for path in out:
        _write_trace(result, path)

    def show(console: "Console") -> None:
        table.entry(annotated, console)
        for path in out:
            console.print(f"{'report' if path.suffix == '.html' else 'description'}: {path}")

    return options.emit(result, json, show)


def _write_trace(found: dict[str, Any], path: Path) -> None:
    from assay.report import files, trace_page
    from assay.workloads import write_description

    if path.suffix == ".html":
        trace_page.write(found, path)
        return
    with files.whole(path) as draft:
        write_description(found["description"], draft)


@cli.command()
@click.argument("name", required=False)
@options.json_flag
def offers(name: str | None, json: bool) -> None:
    """List offers, of all chips or of one (NAME, alias or file)."""
    _catalogue("offers", name, json)


# What a terminal of 80 columns has room for; --json gives the rest.
_COLUMNS = {
    "chips": ("name", "title", "family", "status"),
    "models": ("name", "parameters", "active_parameters", "weight_bytes", "precision"),
    "engines": ("name", "version", "of", "until", "runs_on"),
    "workloads": ("name", "requests", "rate", "source"),
    "offers": ("chip", "dollars", "basis", "tier", "date"),
}


def _catalogue(noun: str, name: str | None, json: bool) -> None:
    from assay import api

    listed = name is None or noun == "offers"
    rows = api.listing(noun, name) if listed else []
    found, annotated = api.entry(noun, name) if name and not listed else ({noun: rows}, {})

    def show(console: "Console") -> None:
        from assay.report import table

        if listed:
            table.listing([{key: row.get(key) for key in _COLUMNS[noun]} for row in rows], console)
        else:
            table.entry(annotated, console)

    options.emit(options.headed(found, None), json, show)


@cli.command()
@click.argument("model")
@options.chip_flag
@options.deployment
@click.option("--prefill", type=click.IntRange(min=0), default=0, help="Prompt tokens of one sequence in the step.")
@click.option("--decode", type=click.IntRange(min=0), default=0, help="Sequences that decode in the step.")
@click.option("--context", type=click.IntRange(min=0), default=0, help="Tokens that each decoding sequence has in the cache.")
@options.json_flag
def predict(model: str, chip: str | None, prefill: int, decode: int, context: int, json: bool, **flags: Any) -> None:
    """Predict one step: a prompt chunk of --prefill tokens beside --decode sequences with --context tokens each."""
    from assay import api
    from assay.models import Model

    if not prefill and not decode:
        raise click.UsageError("give --prefill, --decode or both: a step does something")
    if decode and not context:
        raise click.UsageError("give --context: the tokens that each decoding sequence has in the cache")
    step = api.predict(Model.load(model), options.deployed(chip, flags), prefill=prefill, decode=decode, context=context).to_dict()

    def show(console: "Console") -> None:
        from assay.report import table

        table.step(step, console)

    options.emit(options.headed(step, None), json, show)


@cli.command()
@click.argument("model")
@options.chip_flag
@options.deployment
@options.disaggregate
@options.workload
@options.slo
@options.offers
@click.option("--requests-out", type=click.Path(path_type=Path), help="Write what became of each request to this .parquet file.")
@click.option("--reference", is_flag=True, help="Take every step in plain Python: slow, the same figures.")
@options.json_flag
def simulate(model: str, chip: str | None, requests_out: Path | None, reference: bool, json: bool, **flags: Any) -> None:
    """Simulate one deployment under one load: what users feel, what it costs."""
    from assay import api
    from assay.cli import progress
    from assay.models import Model
    from assay.report import files

    if requests_out:
        options.writable("--requests-out", requests_out, (".parquet",))
    deployment, workload, slo, prices = options.deployed(chip, flags), options.drawn(flags), options.targets(flags), options.prices(flags)
    with progress.bar("simulating") as told:
        found = api.simulate(Model.load(model), deployment, workload, slo, prices, reference=reference, progress=told)
    if requests_out:
        with files.whole(requests_out) as draft:
            found.frame().write_parquet(draft)
    run = found.to_dict()

    def show(console: "Console") -> None:
        from assay.report import histogram, table

        chart = histogram.lines("TTFT", found.each.times.ttft[found.each.judged], slo.ttft, console.width) if found.each else ()
        table.run(run, console, chart)
        if requests_out:
            console.print(f"requests: {requests_out}")

    options.emit(options.headed(run, flags["seed"]), json, show)


@cli.command()
@click.argument("model", required=False)
@click.option("--chips", help="Chips to compare, by name or file, with commas between; all of the catalogue when left out.")
@click.option("--scenario", type=click.Path(path_type=Path), help="A TOML file with [[traffic]]: model, workload, rate, slo.")
@options.layout
@options.workload
@options.slo
@options.offers
@click.option("--out", type=click.Path(path_type=Path), help="Write an HTML report to this file.")
@options.json_flag
def compare(model: str | None, chips: str | None, scenario: Path | None, out: Path | None, json: bool, **flags: Any) -> None:
    """Compare chips: for each the deployments that fit, sized to the traffic within the targets, priced and ranked."""
    from assay.cli import questions
    from assay.report import page, table

    asked = questions.read(model, chips, scenario, flags)
    if out:
        options.writable("--out", out)
    answers = list(questions.answered(asked, flags))
    found = [options.headed(answer.to_dict(), question.seed) for question, answer in answers]
    if out:
        page.write(found, out)
    result = found[0] if scenario is None else {**options.headed({}, None), "comparisons": found}

    def show(console: "Console") -> None:
        for comparison in found:
            table.comparison(comparison, console)
        if out:
            console.print(f"report: {out}")

    options.emit(result, json, show)
    if not all(answer.complete for _, answer in answers):
        raise KeyboardInterrupt


@cli.command()
@click.argument("data", type=click.Path(path_type=Path), nargs=-1, required=True)
@options.chip_flag
@click.option("--model", help="Model of runs whose table does not say it.")
@options.measured
@click.option("--out", type=click.Path(path_type=Path), help="Write the chip's file with the updated constants to this .toml file.")
@options.json_flag
def calibrate(data: tuple[Path, ...], chip: str | None, model: str | None, out: Path | None, json: bool, **flags: Any) -> None:
    """Update a chip's constants by a few measured points: DATA are tables as `validate` reads them; flags fill what they leave out."""
    from assay import api
    from assay.calibrate.record import chip_document
    from assay.deployments import Asked, check_asked
    from assay.engines import Engine
    from assay.models import Model
    from assay.report import files

    if chip is None:
        raise InputError("--chip", "", "is missing", "Name the chip that the points were measured on, or its .toml file")
    if out:
        options.writable("--out", out, (".toml",))
    check_asked(Asked(**flags))
    for load, name in ((Model.load, model), (Engine.load, flags["engine"])):
        if name:
            load(name)
    found = api.calibrate(data, chip, {"model": model, **flags})
    if out:
        with files.whole(out) as draft:
            draft.write_text(chip_document(found.chip, found.levels), encoding="utf-8")

    def show(console: "Console") -> None:
        console.print(found.summary())
        if out:
            console.print(f"chip: {out}")

    options.emit(options.headed(found.to_dict(), None), json, show)


@cli.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A table of measured points: .parquet, .csv or .jsonl; the published numbers that ship with Assay when left out.",
)
@click.option("--sample", type=click.IntRange(min=1), help="Runs to draw, evenly over sets, chips and models; all when left out.")
@click.option("--seed", type=click.INT, default=0, show_default=True, help="Seed of the draw.")
@click.option(
    "--folds",
    type=click.Choice(["configuration", "chip", "model", "engine"]),
    help="Predict each run by constants fitted without its fold: its configuration, chip, model or engine.",
)
@click.option("--predictions", type=click.Path(path_type=Path), help="Write the rows with their predictions to this .parquet file.")
@click.option("--out", type=click.Path(path_type=Path), help="Write an HTML report to this file.")
@options.json_flag
def validate(
    data: tuple[Path, ...], sample: int | None, seed: int, folds: str | None, predictions: Path | None, out: Path | None, json: bool
) -> None:
    """Hold predictions against measured operating points, each run as it was run: errors by set, chip, model and metric."""
    from assay.cli import validating

    kept = {flag: path for flag, path in (("--predictions", predictions), ("--out", out)) if path}
    for flag, path in kept.items():
        options.writable(flag, path, (".parquet",) if flag == "--predictions" else (".html",))
    found = validating.found(data, sample, seed, folds)
    result = options.headed(found.to_dict(), seed)
    validating.keep(found, result, kept)

    def show(console: "Console") -> None:
        from assay.report import errors

        errors.tables(result, console)
        for flag, path in kept.items():
            console.print(f"{flag.strip('-')}: {path}")

    options.emit(result, json, show)
    if not found.complete:
        raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit 2 with one message on bad input, 130 when interrupted."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads that NumPy's import starts, and nothing here has work for
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(args=given, prog_name="assay", standalone_mode=False, obj=given)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except AssayError as error:
        click.echo(f"assay: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("assay: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
