"""What is kept of a long validation, read back as it was."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.validate import journal
from assay.validate.journal import Journal
from assay.validate.predict import Guess, Told

TEXT = st.text(max_size=8)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
GUESSES = st.builds(Guess, st.integers(0, 99), NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.none() | TEXT)
TOLD = st.builds(
    Told, st.lists(GUESSES, max_size=3).map(tuple), st.lists(TEXT, max_size=2).map(tuple), TEXT, TEXT, TEXT, TEXT, st.tuples(TEXT, TEXT)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(TOLD, min_size=1, max_size=4))
def test_what_an_interruption_left_is_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Told]) -> None:
    """Every field, so that bands made of what was done before and after an interruption are those of an undisturbed run."""
    assert {field.name for field in fields(Told)} == {"guesses", "assumed", "layout", "known", "load", "execution", "pair"}
    monkeypatch.setattr(journal, "folder", lambda: tmp_path)
    Journal("key").add(range(len(told)), told)
    again = Journal("key")
    again.done()
    assert again.told == dict(enumerate(told))
