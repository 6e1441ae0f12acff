"""Writes the parts of the docs that follow from data, from the command line, and from what commands print.

    python docs/make_tables.py          # after a change of data, flags or physics

It makes docs/fields.md, the tables of constants in docs/physics.md and of modules in docs/structure.md, the output under each command
in a ```console block of README.md, and examples/*.out, the output of the command that the second line of each numbered example names.
tests/test_docs.py fails where one of them is stale.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from assay._base.facts import Fact
from assay._base.schema import DATA, Field, read, schema
from assay.cli.commands import cli

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
SCHEMAS = {
    "chip": "A chip: `--chip FILE`, `src/assay/data/chips/`",
    "model": "A model of the catalogue: `src/assay/data/models/`",
    "engine": "An engine: `--engine FILE`, `src/assay/data/engines/`",
    "deployment": "A deployment: `--deployment FILE`",
    "workload": "A workload description: `--workload FILE`, `src/assay/data/workloads/`",
    "scenario": "A scenario: `--scenario FILE`",
    "offer": "Offers: `--offers FILE`, `src/assay/data/offers/`",
    "ownership": "What owning a chip costs: `src/assay/data/ownership.toml`",
    "calibration": "Constants of the cost model: `src/assay/data/calibration/generic.toml`",
    "energy": "Constants of the energy model: `src/assay/data/calibration/energy.toml`",
    "bands": "Error bands: `src/assay/data/calibration/bands.toml`",
    "points": "A table of measured points: `validate --data FILE`, one column for each field",
    "conditions": "What measured runs leave unstated: `src/assay/data/calibration/conditions.toml`",
    "model_kinds": "How config.json files are read: `src/assay/data/model_kinds.toml`",
    "model_entry": "What `assay models NAME` shows",
    "workload_entry": "What `assay workloads NAME` shows",
}
CONSTANTS = {"generic": "calibration", "energy": "energy", "bands": "bands"}
PATHS = """Paths: `a.b` is field `b` of table `[a]`, `a[].b` that of each `[[a]]`, `*` any name. A field marked *fact* is a bare value, or
`{ value, low, high, source, confidence, date }`; confidence is A (the vendor's document) to D (no usable source)."""
CONSOLE = re.compile(r"^```console\n\$ (.+)\n(?:.*\n)*?```$", re.MULTILINE)
EXAMPLE = re.compile(r"^# \$ (assay .+)$", re.MULTILINE)


def row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)])


def fields() -> str:
    """docs/fields.md: every flag of every command, and every field of every file."""
    parts = [
        "# Flags and fields",
        "Made by `python docs/make_tables.py` from the command line and from `src/assay/data/schema`; do not edit.",
        "## Flags",
        *(f"### assay {name}\n\n{command.help}\n\n{_flags(command)}" for name, command in cli.commands.items()),
        "## Files",
        PATHS,
        *(f"### {title}\n\n{_fields(name)}" for name, title in SCHEMAS.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _flags(command: click.Command) -> str:
    return table(("flag", "value", "meaning"), (_flag(option) for option in command.params))


def _flag(option: click.Parameter) -> tuple[str, str, str]:
    if not isinstance(option, click.Option):
        return f"`{option.human_readable_name}`", "" if option.required else "optional", ""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = f" Default {option.default}." if option.show_default else ""
    return names, "" if option.is_flag else option.make_metavar(click.Context(cli)), f"{option.help}{default}"


def _fields(name: str) -> str:
    return table(("field", "type", "unit", "limits", "meaning"), (_field(field) for field in schema(name).values()))


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


def between(text: str, name: str, content: str) -> str:
    """A text with the part between its `<!-- NAME -->` and `<!-- end of NAME -->` lines replaced."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = text.split(start)
    return f"{head}{start}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def printed(command: str) -> str:
    """What a shell command prints on stdout, 100 columns wide, with this checkout's Assay; raises when it fails."""
    shell = f'set -eu; assay() {{ "{sys.executable}" -m assay "$@"; }}; {command}'
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100", "NO_COLOR": "1"}
    ended = subprocess.run(["sh", "-c", shell], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if ended.returncode:
        raise RuntimeError(f"{command}: exit code {ended.returncode}\n{ended.stderr}")
    return "".join(line.rstrip() + "\n" for line in ended.stdout.splitlines())


def tables() -> dict[Path, str]:
    """Each file with a part that follows from data or source, as it should be."""
    docs = ROOT / "docs"
    parts = {"physics.md": ("constants", constants()), "structure.md": ("modules", modules())}
    made = {docs / name: between((docs / name).read_text(encoding="utf-8"), *part) for name, part in parts.items()}
    return {docs / "fields.md": fields(), **made}


def consoles() -> list[str]:
    """The commands of README.md whose output stands under them."""
    return CONSOLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def readme(outputs: Callable[[str], str] = printed) -> str:
    """README.md with the output of each command as it should be."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return CONSOLE.sub(lambda found: f"```console\n$ {found[1]}\n{outputs(found[1])}```", text)


def examples() -> dict[Path, str]:
    """The numbered examples and the command that each names."""
    files = sorted((ROOT / "examples").glob("[0-9]*.toml"))
    return {file: EXAMPLE.findall(file.read_text(encoding="utf-8"))[0] for file in files}


def main() -> None:
    """Write whatever is not as it should be, and name it."""
    made = {**tables(), ROOT / "README.md": readme()}
    made |= {file.with_suffix(".out"): printed(command) for file, command in examples().items()}
    for file, text in made.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
