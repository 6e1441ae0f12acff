"""Errors that are meant for the user."""

from assay._base.errors import AssayError, CannotHold, InputError


def test_an_input_error_reads_as_one_message() -> None:
    """File, field, problem and remedy, each once, and one full stop at the end."""
    error = InputError("chip.toml", "power.tdp", "is -1", "Give watts.")
    assert str(error) == "chip.toml: power.tdp: is -1. Give watts."
    assert str(InputError("--tp", "", "is 0", "Give at least 1")) == "--tp: is 0. Give at least 1."
    assert (error.file, error.field, error.problem, error.remedy) == ("chip.toml", "power.tdp", "is -1", "Give watts.")


def test_one_except_catches_all() -> None:
    """The command line needs to know one class."""
    assert issubclass(InputError, AssayError)
    assert issubclass(CannotHold, AssayError)
