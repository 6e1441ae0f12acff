"""Option groups that commands share, and what their values become."""

import json
import math
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from assay import __version__
from assay._base.errors import InputError
from assay._base.schema import schema

if TYPE_CHECKING:
    from rich.console import Console

    from assay.api import Prices
    from assay.deployments import Asked, Deployment
    from assay.slo import Slo
    from assay.workloads import Workload

Command = TypeVar("Command", bound=Callable[..., Any])

LAYOUT = (
    "engine", "replicas", "tp", "pp", "ep", "dp", "weights", "activations", "kv", "max_num_seqs", "token_budget", "block_size",
    "kv_memory_fraction", "prefix_cache", "speculate",
)  # fmt: skip
LENGTHS = ("isl", "osl", "spread", "shared_prefix")
DRAWN = 20_000  # requests of fixed or uniform lengths that come at a rate, when nobody says how many: enough to judge a p99
DRAWN_AT_ONCE = 256  # or all at once
_TYPES: dict[str, Any] = {"integer": click.INT, "number": click.FLOAT, "text": click.STRING}

json_flag = click.option("--json", "json", is_flag=True, help="Print one JSON object and nothing else.")
chip_flag = click.option("--chip", help="Chip: a catalogue name, an alias, or a .toml file.")


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _layout_option(name: str) -> Callable[[Any], Any]:
    """A deployment flag, with its help from the schema of deployment files."""
    field = schema("deployment")[f"part[].{name}"]
    flag = f"--{name.replace('_', '-')}"
    if field.type == "boolean":
        return click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=f"{field.description}.")
    unit = f" [{field.unit}]" if field.unit else ""
    return click.option(flag, name, type=_TYPES[field.type], help=f"{field.description}{unit}.")


layout = _together(*(_layout_option(name) for name in LAYOUT))
measured = _together(*(_layout_option(name) for name in LAYOUT if name != "speculate"))  # a table itself says what was drafted
deployment = _together(
    layout,
    click.option("--deployment", "deployment_file", type=click.Path(path_type=Path), help="A TOML file with the deployment instead."),
)
disaggregate = click.option(
    "--disaggregate", metavar="PREFILL:DECODE", help="Replicas that compute prompts, and replicas that decode, alike but for that."
)
workload = _together(
    click.option("--workload", help="A workload of the catalogue, or a trace or description file."),
    click.option("--isl", type=click.INT, help="Prompt tokens, instead of a workload."),
    click.option("--osl", type=click.INT, help="Output tokens, with --isl."),
    click.option("--spread", metavar="LOW:HIGH", help="Draw lengths between these multiples of --isl and --osl."),
    click.option("--shared-prefix", type=click.INT, default=0, help="Tokens at the start of every prompt that are the same."),
    click.option("--rate", type=click.FLOAT, help="Requests per second over the whole deployment."),
    click.option("--concurrency", type=click.INT, help="Users of a closed loop, each with one request at a time."),
    click.option("--ramp", type=click.FLOAT, metavar="S", help="Seconds over which the users of a closed loop start."),
    click.option("--requests", type=click.INT, help="Requests to draw, or to take from the start of a trace."),
    click.option("--seed", type=click.INT, default=0, show_default=True, help="Seed of the draw."),
)
slo = _together(
    click.option("--ttft", type=click.FLOAT, help="Target of time to first token [s]."),
    click.option("--tpot", type=click.FLOAT, help="Target of time per output token [s]."),
    click.option("--e2e", type=click.FLOAT, help="Target of end-to-end latency [s]."),
    click.option("--percentile", type=click.FLOAT, default=99.0, show_default=True, help="Share of requests that must meet each target."),
)
offers = _together(
    click.option("--tier", help="Rank on this kind of offer alone."),
    click.option("--offers", "offer_files", type=click.Path(path_type=Path), multiple=True, help="A TOML file with more offers."),
)


def asked(flags: Mapping[str, Any]) -> "Asked":
    """The deployment flags."""
    from assay.deployments import Asked

    return Asked(**{name: flags[name] for name in LAYOUT})


def deployed(chip: str | None, flags: Mapping[str, Any]) -> "Deployment":
    """The deployment of --deployment, or of --chip and the flags."""
    from assay.chips import Chip
    from assay.deployments import Deployment

    apart = flags.get("disaggregate")
    if flags["deployment_file"]:
        given = [f"--{name.replace('_', '-')}" for name in (*LAYOUT, "disaggregate") if flags.get(name) is not None]
        if given:
            raise InputError("--deployment", "", f"given together with {given[0]}", "Say it in the file, or leave the file out")
        return Deployment.read(flags["deployment_file"], chip)
    if not chip:
        raise InputError("--chip", "", "is missing", "Give a catalogue name (see `assay chips`) or a .toml file")
    said = vars(asked(flags))
    return Deployment.of(Chip.load(chip), **said) if apart is None else Deployment.disaggregated(Chip.load(chip), *_replicas(apart), **said)


def _replicas(text: str) -> tuple[int, int]:
    try:
        prefill, decode = (int(part) for part in text.split(":"))
    except ValueError:
        prefill = decode = 0
    if prefill < 1 or decode < 1:
        raise InputError("--disaggregate", "", f"is {text!r}", "Give PREFILL:DECODE, the replicas of each, as 2:3")
    return prefill, decode


def drawn(flags: Mapping[str, Any]) -> "Workload":
    """The workload that the flags describe."""
    from assay.cli import progress
    from assay.workloads import Workload

    load = {"rate": flags["rate"], "concurrency": flags["concurrency"], "ramp": flags["ramp"], "seed": flags["seed"]}
    if flags["workload"]:
        refuse_beside("--workload", LENGTHS, "They draw lengths; the workload has its own")
        with progress.bar("reading", counted=False) as told:
            return Workload.load(flags["workload"], requests=flags["requests"], progress=told, **load)
    if flags["isl"] is None or flags["osl"] is None:
        raise InputError("--workload", "", "is missing", "Give a workload (see `assay workloads`), or --isl and --osl")
    count = flags["requests"]
    if count is None:
        count = DRAWN if flags["rate"] else max(DRAWN_AT_ONCE, 10 * (flags["concurrency"] or 0))
    return Workload.draw(
        flags["isl"], flags["osl"], requests=count, spread=_spread(flags["spread"]), shared_prefix=flags["shared_prefix"], **load
    )


def refuse_beside(flag: str, others: Iterable[str], remedy: str) -> None:
    """InputError when one of `others` stands on the command line together with `flag`: nothing given is ignored."""
    for name in others:
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(flag, "", f"given together with --{name.replace('_', '-')}", remedy)


def _spread(text: str | None) -> tuple[float, float]:
    if text is None:
        return 1.0, 1.0
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError("--spread", "", f"is {text!r}", "Give LOW:HIGH, as 0.8:1.0") from None
    return low, high


def targets(flags: Mapping[str, Any]) -> "Slo":
    """The latency targets."""
    from assay.slo import Slo

    return Slo(**{name: flags[name] for name in ("ttft", "tpot", "e2e", "percentile")})


def prices(flags: Mapping[str, Any]) -> "Prices":
    """Where prices come from."""
    from assay.api import Prices

    return Prices(flags["tier"], tuple(flags["offer_files"]))


def headed(result: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """A result with what every JSON says: version, seed, command and assumptions."""
    command = shlex.join(["assay", *click.get_current_context().obj])
    return {"assay_version": __version__, "seed": seed, "command": command, "assumptions": [], **result}


def writable(flag: str, path: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuse an output path before the work starts; InputError when it has none of the suffixes, or no file can be written there."""
    if suffixes and path.suffix not in suffixes:
        either = " or ".join(suffixes)
        raise InputError(flag, "", f"{path} is no {either} file", f"Give a path that ends in {either}")
    folder = next(parent for parent in path.absolute().parents if os.access(parent, os.F_OK))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK) or path.is_dir():
        raise InputError(flag, "", f"{path} is not a file that can be written", "Give the path of a file in a folder of yours")


def emit(result: Mapping[str, Any], as_json: bool, show: Callable[["Console"], None]) -> None:
    """Print a result: one JSON object without NaN, or `show` it on the terminal."""
    if as_json:
        click.echo(json.dumps(_plain(result), allow_nan=False, indent=2))
        return
    from rich.console import Console

    show(Console(highlight=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
