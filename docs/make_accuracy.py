"""Writes docs/accuracy.json, from which docs/accuracy.md and the README's accuracy section are made.

PYTHONPATH=src python docs/make_accuracy.py TABLE.parquet... && PYTHONPATH=src python docs/make_tables.py
"""

import json
import sys
from pathlib import Path

import assay
from assay.cli import validating

KEPT = ("rows", "predicted", "scored", "stated", "median_error", "by_quality", "by_set", "by_load", "skipped", "assumptions")


def main(tables: list[str]) -> None:
    """Predict every run of the tables and keep the summary."""
    told = validating.found([Path(table) for table in tables], None, 0).to_dict()
    kept = {"assay_version": assay.__version__, **{name: told[name] for name in KEPT}}
    Path(__file__).with_name("accuracy.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
