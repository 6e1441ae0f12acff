"""Writes the parts of the docs that follow from data, from the command line, and from what commands print.

    python docs/make_tables.py          # after a change of data, flags or physics

In README.md and docs/*.md it fills the parts between `<!-- NAME ARGUMENTS -->` and `<!-- end of NAME ARGUMENTS -->` (see PARTS) and the
output under each command in a ```console block. The commands of a page of FOLLOWED run in an empty folder with the files that the page
has the reader write. It makes examples/*.out, the output of the command that the second line of each numbered example names.
tests/test_docs.py fails where one of them is stale.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import polars as pl

from assay import offers
from assay._base.catalogue import names
from assay._base.facts import Fact
from assay._base.schema import DATA, Field, read, schema
from assay.calibrate.terms import SYSTEM
from assay.cli.commands import cli
from assay.models.kinds import kinds_document
from assay.points import SHIPPED
from assay.report.errors import beside, simulator

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FOLLOWED = tuple(ROOT / "docs" / f"{name}.md" for name in ("tutorial", "calibration"))
CONSTANTS = {"generic": "calibration", "energy": "energy"}
PART = re.compile(r"<!-- (\w+)((?: [\w./-]+)*) -->\n(?:.*\n)*?<!-- end of \1\2 -->")
CONSOLE = re.compile(r"^```console\n\$ (.+)\n(?:.*\n)*?```$", re.MULTILINE)
WRITTEN = re.compile(r"^```\w+ (\S+)\n((?:.*\n)*?)```$", re.MULTILINE)
PLACE = re.compile(r"github\.com/[\w.-]+/[\w.-]+|[^/]+")
MOST = 3  # places of publication that are named
EXAMPLE = re.compile(r"^# \$ (assay .+)$", re.MULTILINE)


def row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)])


def sizes() -> str:
    """How much there is in the catalogue, in a sentence."""
    counts = {noun: len(names(noun)) for noun in ("chips", "models", "engines", "workloads")} | {"offers": len(offers.load())}
    said = [f"{count} {noun}" for noun, count in counts.items()]
    kinds = len(kinds_document()["kind"])
    return f"The catalogue holds {', '.join(said[:-1])} and {said[-1]}; a `config.json` may be of {kinds} kinds (`model_type`)."


def commands() -> str:
    """Every flag of every command."""
    return "\n\n".join(f"## assay {name}\n\n{command.help}\n\n{_flags(command.params)}" for name, command in cli.commands.items())


def flags(command: str, *some: str) -> str:
    """Some flags of a command."""
    return _flags(option for option in cli.commands[command].params if option.opts[0].strip("-") in some)


def fields(name: str) -> str:
    """The fields of a file, as data/schema/NAME.toml has them."""
    return table(("field", "type", "unit", "limits", "meaning"), (_field(field) for field in schema(name).values()))


def example(name: str) -> str:
    """A file of examples/ as it stands."""
    file = ROOT / "examples" / name
    return f"```{file.suffix[1:]}\n{file.read_text(encoding='utf-8')}```\n\n[examples/{name}](../examples/{name})"


def _flags(options: Iterable[click.Parameter]) -> str:
    return table(("flag", "value", "meaning"), (_flag(option) for option in options))


def _flag(option: click.Parameter) -> tuple[str, str, str]:
    if not isinstance(option, click.Option):
        return f"`{option.human_readable_name}`", "" if option.required else "optional", ""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = f" Default {option.default}." if option.show_default else ""
    return names, "" if option.is_flag else option.make_metavar(click.Context(cli)), f"{option.help}{default}"


def _field(field: Field) -> tuple[str, str, str, str, str]:
    kind = field.type + ", fact" * field.fact + ", required" * field.required
    return f"`{field.path}`", kind, field.unit, _limits(field), field.description


def _limits(field: Field) -> str:
    if field.allowed:
        return ", ".join(f"`{value}`" for value in field.allowed)
    bounds = (("at least", field.minimum), ("above", field.above), ("at most", field.maximum))
    return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


def constants() -> str:
    """The constants of data/calibration as one table per file."""
    tables = []
    for name, kind in CONSTANTS.items():
        facts = _facts(read(DATA / "calibration" / f"{name}.toml", kind))
        tables.append(f"`{name}.toml`\n\n" + table(("constant", "value", "interval", "source", "confidence"), facts))
    return "\n\n".join(tables)


def _facts(values: Mapping[str, Any], place: str = "") -> Iterator[Sequence[str]]:
    for key, value in values.items():
        if isinstance(value, Fact):
            yield f"`{place}{key}`", _number(value.value), _interval(value), value.source, value.confidence
        else:
            yield from _facts(value, f"{place}{key}.")


def _interval(fact: Fact[float]) -> str:
    return "" if fact.low is None and fact.high is None else f"{_number(fact.low)} to {_number(fact.high)}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def modules() -> str:
    """Every module of the source with the first sentence of what it says of itself."""
    files = sorted((SOURCE / "assay").rglob("*.py"), key=lambda file: (file.parent.parts, file.name != "__init__.py", file.name))
    return table(("module", "what it is"), (cells for file in files if (cells := _module(file))))


def _module(file: Path) -> tuple[str, str] | None:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    place = file.relative_to(SOURCE / "assay").with_suffix("").as_posix()
    name = f"{place.removesuffix('__init__')}" if place.endswith("/__init__") else place
    return (f"`{name}`", " ".join(said.split("\n\n")[0].split())) if said else None


_WORDS = {"output_tokens_per_second": "output tokens/s", "total_tokens_per_second": "tokens/s", "requests_per_second": "requests/s"}
_SETTLED = ("tpot", "e2e", "output_tokens_per_second", "ttft")
_FIGURES = ("median_error", "p90_error", "bias", "coverage", "datasheet", "nearest")


def accuracy(kind: str) -> str:
    """The last errors of runs left out of the fit (docs/accuracy.json), written by `make calibrate`.

    Errors as a `whole`, by `load` or in `short`, of configurations left out; by kind of fold (`folds`); of the `decisions`; those of other
    simulators (`peers`, `stated`); what was `reached` or `skipped`. And those without each of the `terms` (docs/ablation.json), and
    after points of one's `own` (docs/own_points.json).
    """
    if kind in _ASIDE:
        file, said = _ASIDE[kind]
        return said(json.loads((ROOT / "docs" / file).read_text(encoding="utf-8")))
    told = json.loads((ROOT / "docs" / "accuracy.json").read_text(encoding="utf-8"))
    first = told["folds"]["configuration"]
    if kind == "reached":
        shares = [f"{row['predicted']:,} of {row['rows']:,} of quality {quality}" for quality, row in first["by_quality"].items()]
        return f"{first['predicted']:,} of {first['rows']:,} numbers are predicted: {', '.join(shares)}."
    whole = {"skipped": _skipped, "decisions": _decisions, "peers": _beside, "stated": _stated}
    if kind in (*whole, "folds"):
        return _folds(told["folds"]) if kind == "folds" else whole[kind](told["peers" if kind == "stated" else kind])
    if kind == "load":
        found = {(group["load"], group["metric"]): _share(group["median_error"]) for group in first["by_load"]}
        loads = dict.fromkeys(load for load, _ in found)
        return table(("load", *map(_metric, _SETTLED)), ([load, *(found.get((load, metric), "") for metric in _SETTLED)] for load in loads))
    groups = [group for group in first["by_set"] if kind == "whole" or (group["metric"] in _SETTLED and group["rows"] >= 20)]
    heads = ("set", "metric", "numbers", "median", "p90", "bias", "in band", "data sheet", "nearest point")
    return table(heads, map(_errors, groups))


_FEWEST = 15  # numbers of a line that says something of a set


def _folds(folds: Mapping[str, Any]) -> str:
    """By set, serving and metric what a chip and model typically has, for each kind of fold; and how bands did on configurations."""
    by_kind = {kind: {_typical(row): row for row in each["typical"]} for kind, each in folds.items()}
    first = by_kind["configuration"]
    heads = ("set", "serving", "metric", "groups", "numbers", *(f"{kind} left out" for kind in folds), "in band", "half width of the band")
    rows = (
        [
            *(*key, str(row["groups"]), f"{row['rows']:,}"),
            *(_share(by_kind[kind][key]["median_error"]) for kind in folds),
            *(_share(row[name]) for name in ("coverage", "half_width")),
        ]
        for key, row in first.items()
        if row["rows"] >= _FEWEST
    )
    return table(heads, rows)


_ABLATED = {
    "inferencex tpot": "InferenceX TPOT",
    "inferencex throughput": "InferenceX throughput",
    "inferencex ttft": "InferenceX TTFT",
    "argonne e2e": "Argonne E2E",
    "mlperf throughput": "MLPerf throughput",
    "tensorrt-llm throughput": "TensorRT-LLM throughput",
    "serving e2e": "serving E2E",
    "serving ttft": "serving TTFT",
    "all": "all numbers",
}


def _terms(told: Mapping[str, Any]) -> str:
    """Errors of left-out configurations with all that is fitted, without levels of systems, and with each constant in turn as generic.

    They take longer than the constants themselves, and may be of those before: the page then says so.
    """
    errors: Mapping[str, Mapping[str, float]] = told["terms"]
    shipped = json.loads((ROOT / "docs" / "own_points.json").read_text(encoding="utf-8"))["constants"]
    said = "" if told["constants"] == shipped else "Of constants that shipped before those of today.\n\n"
    rows = ([_less(name), *(f"{each[key] * 100:.1f}" for key in _ABLATED)] for name, each in errors.items())
    return said + table(("constants", *_ABLATED.values()), rows)


def _less(name: str) -> str:
    return "without levels of systems" if name == SYSTEM else f"without `{name}`" if name else "all"


def _own(told: Mapping[str, Any]) -> str:
    """By set, chip and engine the errors of a chip that was left out, before and after two runs of its own."""
    groups = told["groups"]
    medians = ", ".join(f"{told[name]:.1%} {name}".replace("%", " %") for name in ("before", "after"))
    said = f"Medians of {len(groups)} sets, chips and engines: {medians}; {told['worse']} of them became worse."
    heads = ("set", "chip", "engine", "numbers", "before", "after")
    rows = ([*(row[name] for name in heads[:3]), str(row["numbers"]), _share(row["before"]), _share(row["after"])] for row in groups)
    return f"{said}\n\n{table(heads, rows)}"


_ASIDE = {"terms": ("ablation.json", _terms), "own": ("own_points.json", _own)}


def _typical(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["set"], row["serving"], _measured(row)


def _decisions(told: Mapping[str, Any]) -> str:
    """How often the chip that was picked was the cheapest, and what following it costs, by load."""
    heads = ("load", "decisions", "right", "mean regret", "p90 regret", "$ lost per million output tokens", "rank correlation", "failed")
    rows = [{"load": "all", **told}, *told["by_load"]]
    return table(heads, ([row["load"], str(row["decisions"]), *_choice(row), str(row["failed"])] for row in rows))


def _choice(row: Mapping[str, Any]) -> Sequence[str]:
    lost, rank = (row[name] for name in ("lost", "rank_correlation"))
    shares = (_share(row[name]) for name in ("right", "mean_regret", "p90_regret"))
    return *shares, "" if lost is None else f"{lost:.3f}", "" if rank is None else f"{rank:.2f}"


def _skipped(reasons: Mapping[str, int]) -> str:
    return table(("rows", "not predicted, because"), ([str(rows), reason] for reason, rows in reasons.items()))


def _stated(told: Mapping[str, Any]) -> str:
    """Errors that are stated of other simulators, beside ours, by metric."""
    heads = ("simulator", "metric", "points", "theirs", "ours", "ours is over")
    return table(heads, ([simulator(row), *_peer(row, "points"), f"{row['rows']:,}"] for row in told["stated"]))


def _beside(told: Mapping[str, Any]) -> str:
    """Median errors of other simulators beside ours, on the same numbers."""
    rows = [*beside(told), *(row for row in told["same_rows"] if row["metric"] == "all")]
    return table(("simulator", "metric", "numbers", "theirs", "ours"), ([simulator(row), *_peer(row, "rows")] for row in rows))


def _peer(row: Mapping[str, Any], count: str) -> Sequence[str]:
    return _measured(row), f"{row[count]:,}", *(_share(row[name]) for name in ("error", "ours"))


def _errors(group: Mapping[str, Any]) -> Sequence[str]:
    return group["set"], _measured(group), f"{group['rows']:,}", *(_share(group[name]) for name in _FIGURES)


def _measured(row: Mapping[str, Any]) -> str:
    return f"{_metric(row['metric'])} {row['statistic']}".strip()


def _metric(name: str) -> str:
    return _WORDS.get(name, name.upper() if len(name) == 4 or name in ("itl", "e2e") else name.replace("_", " "))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value * 100:,.0f}"


def published() -> str:
    """The sets of the table that ships with the package: how much each holds, and where it was published."""
    frame = pl.read_parquet(SHIPPED)
    sets = frame.group_by("set").len().sort("len", descending=True)["set"]
    heads = ("set", "numbers", "runs", "chips", "models", "quality", "dates", "published in")
    return table(heads, (_set(name, frame.filter(pl.col("set") == name)) for name in sets))


def _set(name: str, rows: pl.DataFrame) -> Sequence[str]:
    counts = [f"{rows[column].drop_nulls().n_unique():,}" for column in ("point", "chip", "model")]
    quality = ", ".join(f"{mark} {count:,}" for mark, count in rows.group_by("quality").len().sort("quality").iter_rows())
    dates = rows["source_date"].str.slice(0, 7)
    places = [place for place, _ in Counter(PLACE.match(source)[0] for source in rows["source"]).most_common()]
    others = f" and {len(places) - MOST} more" if len(places) > MOST else ""
    return name, f"{len(rows):,}", *counts, quality, f"{dates.min()} to {dates.max()}", ", ".join(places[:MOST]) + others


PARTS: dict[str, Callable[..., str]] = {
    function.__name__: function for function in (sizes, commands, flags, fields, example, constants, modules, accuracy, published)
}


def filled(text: str) -> str:
    """A text with each of its marked parts as it should be."""

    def part(found: re.Match[str]) -> str:
        name, given = found[1], found[2]
        return f"<!-- {name}{given} -->\n\n{PARTS[name](*given.split())}\n\n<!-- end of {name}{given} -->"

    return PART.sub(part, text)


def printed(command: str, folder: Path = ROOT) -> str:
    """What a shell command prints on stdout, 100 columns wide, with this checkout's Assay; raises when it fails."""
    python = f'"{sys.executable}"'
    shell = f'set -eu; assay() {{ {python} -m assay "$@"; }}; python() {{ {python} "$@"; }}; {command}'
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100", "NO_COLOR": "1"}
    ended = subprocess.run(["sh", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode:
        raise RuntimeError(f"{command}: exit code {ended.returncode}\n{ended.stderr}")
    return "".join(line.rstrip() + "\n" for line in ended.stdout.splitlines())


def pages() -> dict[Path, str]:
    """README.md and docs/*.md as they stand."""
    return {file: file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def consoles(text: str) -> list[str]:
    """The commands of a page whose output stands under them."""
    return CONSOLE.findall(text)


def shown(text: str, folder: Path = ROOT) -> str:
    """A page with the output of each command as it should be; the commands run one after the other in `folder`."""
    return CONSOLE.sub(lambda found: f"```console\n$ {found[1]}\n{printed(found[1], folder)}```", text)


def followed(text: str, folder: Path) -> str:
    """A page as `shown`, once the files that its blocks name after their language are written into `folder`."""
    for name, content in WRITTEN.findall(text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return shown(text, folder)


def examples() -> dict[Path, str]:
    """The numbered examples and the command that each names."""
    files = sorted((ROOT / "examples").glob("[0-9]*.toml"))
    return {file: EXAMPLE.findall(file.read_text(encoding="utf-8"))[0] for file in files}


def main() -> None:
    """Write whatever is not as it should be, and name it."""
    made = {file: filled(text) for file, text in pages().items()}
    for file, text in made.items():
        with tempfile.TemporaryDirectory() as folder:
            made[file] = followed(text, Path(folder)) if file in FOLLOWED else shown(text)
    made |= {file.with_suffix(".out"): printed(command) for file, command in examples().items()}
    for file, text in made.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
