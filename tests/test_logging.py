"""facesym.logging: one level for warnings, progress bars and messages."""

import io
import sys
import warnings

import pytest

import facesym
from facesym.logging import get_verbosity, progress_bar, set_verbosity, warn


@pytest.fixture(autouse=True)
def verbosity():
    before = get_verbosity()
    yield
    set_verbosity(before)


def test_warnings_end_above_their_level():
    with pytest.warns(UserWarning, match="turned") as caught:
        warn("turned too far")
    assert caught[0].filename == __file__
    facesym.logging.set_verbosity(facesym.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn("turned too far")


def test_bars_are_for_terminals_and_end_with_the_warnings(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress_bar([1, 2], "faces", file=terminal)) == [1, 2] and "faces" in terminal.getvalue()
    set_verbosity("error")
    assert progress_bar([1]).disable
    assert progress_bar([1], file=io.StringIO()).disable  # no terminal


def test_messages_come_at_info(capsys):
    logger = facesym.logging.get_logger()
    logger.handlers[0].setStream(sys.stderr)
    logger.info("one")
    set_verbosity("info")
    logger.info("two")
    assert capsys.readouterr().err == "facesym: two\n"


def test_unknown_levels_are_refused():
    with pytest.raises(ValueError, match="LOUD"):
        set_verbosity("loud")
