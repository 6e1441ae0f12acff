"""Writes docs/accuracy.json, from which docs/accuracy.md and the README's accuracy section are made.

PYTHONPATH=src python docs/make_accuracy.py && PYTHONPATH=src python docs/make_tables.py
"""

import json
from pathlib import Path

import assay
from assay.cli import validating

KEPT = ("rows", "predicted", "scored", "stated", "median_error", "by_quality", "by_set", "by_load", "peers", "skipped", "assumptions")


def main() -> None:
    """Predict every published run that ships with the package and keep the summary."""
    told = validating.found([], None, 0).to_dict()
    kept = {"assay_version": assay.__version__, **{name: told[name] for name in KEPT}}
    Path(__file__).with_name("accuracy.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
