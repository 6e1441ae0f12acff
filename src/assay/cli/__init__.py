"""The command line."""

from assay.cli.commands import main as main
