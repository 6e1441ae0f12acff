"""Models: what is computed, read from config.json files and from the shipped catalogue."""

from assay.models.model import Model

__all__ = ["Model"]
