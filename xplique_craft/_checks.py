"""
Checks of arguments. Every message names the argument, the rule, what was received and the remedy.
"""

import difflib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

import numpy as np

PACKAGE = __name__.partition(".")[0]

NEAREST = 3  # names that a suggestion holds at most


def check_int(name: str, value: Any, minimum: int = 1) -> int:
    """`value` as an int; a TypeError if it is none (booleans are not), a ValueError if too low."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be an integer, received {value!r} of type {type(value).__name__}."
        )
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, received {value}.")
    return int(value)


def check_concept(name: str, value: Any, number: int) -> int:
    """
    Return `value` as the index of one of `number` concepts, or say why it is none.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If there is no such concept.
    """
    index = check_int(name, value, minimum=0)
    if index >= number:
        raise ValueError(
            f"{name} must be below the number of concepts, {number}, received {index}. "
            "Concepts are counted from 0."
        )
    return index


def check_concepts(name: str, value: Any, number: int) -> np.ndarray:
    """
    Return `value`, one index or several, as an array of indices; None stands for all concepts.

    Raises
    ------
    TypeError
        If one is not an integer.
    ValueError
        If there is none, or no such concept.
    """
    if value is None:
        return np.arange(number)
    indices = [check_concept(name, one, number) for one in np.atleast_1d(value).tolist()]
    if not indices:
        raise ValueError(f"{name} must be at least one index, or None for all, received {value!r}.")
    return np.array(indices)


def check_number(name: str, value: Any, *, finite: bool = False) -> float:
    """
    `value` as a float; a TypeError if it is no number, a ValueError if it is below 0 or NaN.

    Infinity is a number, for limits, unless `finite` is asked for.
    """
    _check_is_number(name, value, "")
    if not value >= 0.0:
        raise ValueError(f"{name} must be at least 0, received {value!r}.")
    if finite and not np.isfinite(value):
        raise ValueError(f"{name} must be finite, received {value!r}.")
    return float(value)


def check_range(name: str, value: Any, interval: str) -> float:
    """
    `value` as a float; a TypeError if it is no number, a ValueError if it is outside an interval.

    That is written as mathematicians write it: in "[0, 100)" 0 is allowed and 100 is not.
    """
    _check_is_number(name, value, f" in {interval}")
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    if not (above and below):
        raise ValueError(f"{name} must be in {interval}, received {value!r}.")
    return float(value)


def _check_is_number(name: str, value: Any, where: str) -> None:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number{where}, received {value!r}.")


def check_bool(name: str, value: Any) -> bool:
    """`value` as a bool; a TypeError if it is none, for "no" and 2 would count as True."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, received {value!r}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """`value`, if it is one of the choices, or a ValueError that says which there are."""
    choices = list(choices)
    if not any(value is one or (isinstance(value, str) and value == one) for one in choices):
        raise ValueError(f"{name} must be {either(choices)}, received {value!r}.")
    return value


def either(choices: Iterable[Any]) -> str:
    """Choices in words: "'auto', 'sklearn' or 'hals'"."""
    *first, last = map(repr, choices)
    return f"{', '.join(first)} or {last}" if first else last


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the known names nearest to an unknown one ('' if none is near)."""
    known = list(known)
    found = difflib.get_close_matches(name, known, n=NEAREST, cutoff=0.5)
    if not found:
        lowered = name.lower()
        found = [k for k in known if lowered in k.lower()][:NEAREST]
    return f"Did you mean {' or '.join(repr(f) for f in found)}?" if found else ""


def listing(names: Sequence[str], limit: int = 8) -> str:
    """The first names of a list, in words."""
    shown = ", ".join(repr(n) for n in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def warn(message: str) -> None:
    """Warn, pointing at the user's line: the one that called the package, however deep this is."""
    for about, messages in reversed(_caught.get()):
        if re.match(about, message):
            messages.append(message)
            return
    frame: FrameType | None = sys._getframe()
    level = user = 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
            user = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=user + 1)


_caught: ContextVar[tuple[tuple[str, list[str]], ...]] = ContextVar("_caught", default=())


@contextmanager
def caught_warnings(about: str = "") -> Iterator[list[str]]:
    """
    Collect what the package warns of inside a `with` block, instead of warning.

    It is what this thread warns of; `warnings.catch_warnings` would change it for all threads, and
    for good where two of them overlap.

    Parameters
    ----------
    about
        A regular expression: only messages that begin with it are collected.

    Returns
    -------
    messages
        Those that have come so far.
    """
    messages: list[str] = []
    before = _caught.set((*_caught.get(), (about, messages)))
    try:
        yield messages
    finally:
        _caught.reset(before)
