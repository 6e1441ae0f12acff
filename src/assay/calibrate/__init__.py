"""Fits the constants of the cost model to measured runs, in levels, and writes them as data."""
