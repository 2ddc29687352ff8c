"""The logger ``facesym`` and the verbosity of warnings and progress bars.

    import facesym
    facesym.logging.set_verbosity(facesym.logging.ERROR)  # no warnings, no progress bars

Levels are Python's own. At WARNING, the default, facesym warns of what makes a result worse and shows progress bars on
terminals; at INFO it also says which weights it loads from where.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING
from typing import Any

from tqdm import tqdm

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "WARNING",
    "get_logger",
    "get_verbosity",
    "progress_bar",
    "set_verbosity",
    "warn",
]

_LOGGER = logging.getLogger("facesym")
_LOGGER.setLevel(WARNING)
_HANDLER = logging.StreamHandler()  # to stderr
_HANDLER.setFormatter(logging.Formatter("facesym: %(message)s"))
_LOGGER.addHandler(_HANDLER)
_LOGGER.propagate = False  # else applications with handlers of their own would print everything twice


def get_logger() -> logging.Logger:
    """Return the logger "facesym". It prints to stderr; applications may set other handlers."""
    return _LOGGER


def get_verbosity() -> int:
    """Return the current level, e.g. 30 for WARNING."""
    return _LOGGER.level


def set_verbosity(level: int | str) -> None:
    """Set the level of the logger.

    Args:
        level: one of Python's logging levels, as a number or a name, e.g. `facesym.logging.ERROR` or "error".

    Raises:
        ValueError: no such level.
    """
    _LOGGER.setLevel(level.upper() if isinstance(level, str) else level)


def warn(message: str, stacklevel: int = 1) -> None:
    """Issue a warning (`warnings.warn`) unless the level is above WARNING.

    Args:
        message: what happened and what to do.
        stacklevel: 1 names the caller's line, 2 its caller's, and so on.
    """
    if _LOGGER.isEnabledFor(WARNING):
        warnings.warn(message, stacklevel=stacklevel + 1)


def progress_bar(
    iterable: Iterable | None = None, desc: str | None = None, disable: bool = False, **options: Any
) -> tqdm:
    """Create a tqdm bar, shown only on terminals and up to the level WARNING.

    Args:
        iterable: to iterate over; None for a bar that the caller updates.
        desc: text before the bar.
        disable: never show it.
        options: further arguments of tqdm.
    """
    hidden = True if disable or not _LOGGER.isEnabledFor(WARNING) else None  # None: shown only on terminals
    return tqdm(iterable, desc, disable=hidden, **options)  # type: ignore
