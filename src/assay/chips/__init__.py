"""Chips: what computes, read from TOML files of sourced facts."""

from assay.chips.chip import Chip, Link, Memory, Power

__all__ = ["Chip", "Link", "Memory", "Power"]
