"""
Checks of arguments. Every message names the argument, the rule, what was received and the remedy.

What a parameter may be stands once, in `RULES`, and `check(name, value)` holds a value against it:
the same wrong value gets the same answer wherever a parameter of that name is.
"""

import difflib
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import numpy as np

PACKAGE = __name__.partition(".")[0]

BETWEEN = {"xplique", "functools", "contextlib"}  # what may stand between the user and us
NEAREST = 3  # names that a suggestion holds at most
SHOWN = 80  # characters of a value that an error shows
LARGEST = 2**63 - 1  # of whole numbers: TensorFlow and NumPy count no further
LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one
MOST = 1_000_000  # of what is drawn or repeated: more take more memory or time than there is

Kind = TypeVar("Kind")


def shown(value: Any) -> str:
    """What was received, in words that fit into a sentence."""
    if isinstance(value, np.ndarray) and value.size > 1:
        return f"an array of shape {value.shape} of type {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # of whoever made the object, or a number of too many digits
        text = ""
    if text and len(text) <= SHOWN and "\n" not in text:
        return text
    return (
        f"{text[: SHOWN // 2].splitlines()[0]}... ({type(value).__name__})"
        if text
        else (f"an object of type {type(value).__name__}")
    )


def check_int(name: str, value: Any, minimum: int = 1, maximum: int = LARGEST) -> int:
    """`value` as an int; a TypeError if it is none (booleans are not), a ValueError if too low."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be an integer, received {shown(value)} of type {type(value).__name__}."
        )
    value = int(value)
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, received {shown(value)}.")
    if value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, received {shown(value)}.")
    return value


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
    every = np.atleast_1d(check_array(name, value, finite=False, empty=True))
    if every.ndim > 1:
        raise ValueError(f"{name} must be indices (j,), received shape {every.shape}.")
    indices = [check_concept(name, one, number) for one in every.tolist()]
    if not indices:
        raise ValueError(
            f"{name} must be at least one index, or None for all, received {shown(value)}."
        )
    return np.array(indices)


def check_number(name: str, value: Any, *, finite: bool = False, maximum: float = np.inf) -> float:
    """
    `value` as a float; a TypeError if it is no number, a ValueError if it is below 0 or NaN.

    Infinity is a number, for limits, unless `finite` is asked for.
    """
    number = _as_number(name, value, "")
    if not number >= 0.0:
        raise ValueError(f"{name} must be at least 0, received {value!r}.")
    if finite and not np.isfinite(number):
        raise ValueError(f"{name} must be finite, received {value!r}.")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum:g}, received {value!r}.")
    return number


def check_range(name: str, value: Any, interval: str) -> float:
    """
    `value` as a float; a TypeError if it is no number, a ValueError if it is outside an interval.

    That is written as mathematicians write it: in "[0, 100)" 0 is allowed and 100 is not.
    """
    number = _as_number(name, value, f" in {interval}")
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):
        raise ValueError(f"{name} must be in {interval}, received {value!r}.")
    return number


def _as_number(name: str, value: Any, where: str) -> float:
    known = (int, float, np.integer, np.floating)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, known):
        raise TypeError(f"{name} must be a number{where}, received {shown(value)}.")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be a number{where} that a float can hold, received {shown(value)}."
        ) from None


def check_bool(name: str, value: Any) -> bool:
    """`value` as a bool; a TypeError if it is none, for "no" and 2 would count as True."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, received {shown(value)}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """`value`, if it is one of the choices, or a ValueError that says which there are."""
    choices = list(choices)
    if not any(value is one or (isinstance(value, str) and value == one) for one in choices):
        raise ValueError(f"{name} must be {either(choices)}, received {shown(value)}.")
    return value


# ------------------------------------------------------------------------ arrays and other objects
def as_array(name: str, value: Any, what: str = "an array or a tensor of real numbers") -> Any:
    """
    `value` as an array of real numbers of any shape, or an error that says what it is instead.

    Objects, strings, dates and complex numbers are no real numbers, and neither are masked values.

    Raises
    ------
    TypeError
        If it is no array, or one of something else.
    ValueError
        If it is a list of lists of different lengths, or some values are masked.
    """
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or value is None:
        raise TypeError(f"{name} must be {what}, received {type(value).__name__}.")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must be {what}, received one of which some values are masked.")
    try:
        array = np.asarray(value)
    except Exception as error:  # each library has its own for what is no array
        if isinstance(value, (list, tuple)):
            raise ValueError(
                f"{name} must be {what}, received lists of different lengths, or of no numbers."
            ) from error
        raise TypeError(f"{name} must be {what}, received {type(value).__name__}.") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        received = type(value).__name__
        if array.dtype != object or array.ndim:
            received += f" of type {array.dtype}"
        raise TypeError(f"{name} must be {what}, received {received}.")
    return array


def check_array(
    name: str, value: Any, axes: str | None = None, *, finite: bool = True, empty: bool = False
) -> np.ndarray:
    """
    `value` as an array of real numbers, see `as_array`, of the shape that `axes` writes.

    Parameters
    ----------
    name
        The name of the argument.
    value
        An array, a tensor, or lists of numbers.
    axes
        The shape as docstrings write it, "n, c" or "n, ..., 3": letters stand for any size. None
        for any shape.
    finite
        Whether NaN and infinity are refused.
    empty
        Whether a size may be 0.

    Raises
    ------
    TypeError, ValueError
        If it is none, has another shape, or holds something that it may not.
    """
    array = as_array(name, value)
    if axes is not None and not _fits(array.shape, axes.split(", ")):
        raise ValueError(f"{name} must have shape ({axes}), received {array.shape}.")
    if array.size == 0 and not empty:
        raise ValueError(f"{name} must not be empty, received shape {array.shape}.")
    if finite and array.dtype.kind not in "biu" and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, received NaN or infinite values.")
    return array


def _fits(shape: tuple[int, ...], axes: list[str]) -> bool:
    if "..." in axes:
        place = axes.index("...")
        after = len(axes) - place - 1
        if len(shape) < len(axes) - 1:
            return False
        shape = shape[:place] + shape[len(shape) - after :]
        axes = [axis for axis in axes if axis != "..."]
    return len(shape) == len(axes) and all(
        not axis.isdigit() or int(axis) == size for axis, size in zip(axes, shape, strict=True)
    )


def check_is(name: str, value: Any, kind: type[Kind] | tuple[type, ...], what: str) -> Kind:
    """`value`, if it is of that kind, or a TypeError that says what it should have been."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, received {shown(value)}.")
    return value  # type: ignore[return-value]


def check_callable(name: str, value: Any, what: str) -> Any:
    """`value`, if it can be called, or a TypeError that says what it should have been."""
    if not callable(value):
        raise TypeError(f"{name} must be {what}, received {shown(value)}.")
    return value


def check_list(name: str, value: Any, what: str) -> list[Any]:
    """The items of a list, a tuple or an array, or a TypeError: a string or a set is none."""
    listed = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not (listed or (isinstance(value, np.ndarray) and value.ndim)):
        raise TypeError(f"{name} must be a list of {what}, received {shown(value)}.")
    return list(value)


def check_names(name: str, value: Any) -> list[str]:
    """Names in a list, a tuple or an array, as strings; a TypeError if one is none."""
    names = check_list(name, value, "names")
    for one in names:
        check_is(name, one, str, "a list of names")
    return [str(one) for one in names]


def check_indices(name: str, value: Any) -> np.ndarray:
    """Whole numbers from 0 on in a list or an array, (m,)."""
    array = check_array(name, value, "m", empty=True)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0):
        raise ValueError(f"{name} must be whole numbers from 0 on, received {shown(value)}.")
    return array.astype(int)


# ----------------------------------------------------------------- what each parameter may be, once
def _whole(minimum: int = 1, maximum: int = LARGEST) -> Callable[[str, Any], int]:
    return partial(check_int, minimum=minimum, maximum=maximum)


def _name(name: str, value: Any) -> str | None:
    return value if value is None else check_is(name, value, str, "a string, or None")


def _number(interval: str) -> Callable[[str, Any], float]:
    return partial(check_range, interval=interval)


RULES: Mapping[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("keep_residual", "verbose", "residual"), check_bool),
    **dict.fromkeys(("batch_size", "number_of_concepts", "n_components", "patch_size"), check_int),
    **dict.fromkeys(("max_crops", "max_images", "max_concepts", "images", "depth"), check_int),
    **dict.fromkeys(("number_of_crops", "number_of_views", "tree_depth"), _whole(0)),
    **dict.fromkeys(("max_iter", "restarts", "trials", "shown", "steps"), _whole(1, MOST)),
    **dict.fromkeys(("nb_samples", "nb_permutations", "nb_neighbours"), _whole(1, MOST)),
    **dict.fromkeys(("nb_design", "max_design", "nb_subsets", "folds"), _whole(2, MOST)),
    **dict.fromkeys(("class_name", "model_name", "title"), _name),
    **{"seed": _whole(0, LARGEST_SEED), "special_tokens": _whole(0)},
    **dict.fromkeys(("grid_size", "nb_random"), _whole(1, 1000)),
    **{"columns": _whole(1, 100), "bins": _whole(1, 10_000), "images_per_class": _whole(2)},
    "max_size_of_image": _whole(32, 10_000),
    **dict.fromkeys(("tolerance", "min_share", "min_mixedness", "max_unexplained"), check_number),
    **{"least_share": check_number, "keep_special_tokens": check_bool},
    **dict.fromkeys(
        ("smoothing", "detail", "noise", "position_weight"),
        partial(check_number, finite=True, maximum=1e6),
    ),
    "radius": _number("(0, 1e6]"),
    "percentile": _number("[0, 100)"),
    "held_out": _number("[0, 1)"),
    "subset_share": _number("(0, 1)"),
    "preservation_probability": _number("(0, 1)"),
}
"""What a parameter of each name may be, wherever it is one: a function that checks it."""


def check(name: str, value: Any) -> Any:
    """`value`, if it is what a parameter of that name may be (see `RULES`), or why it is not."""
    return RULES[name](name, value)


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
    """
    Warn, pointing at the user's line: the one that called the package, however deep this is, and
    also where another library's code calls ours for the user, as Xplique's `explainer(...)` does.
    """
    for about, messages in reversed(_caught.get()):
        if re.match(about, message):
            messages.append(message)
            return
    frame: FrameType | None = sys._getframe()
    level, user = 1, 2
    while frame is not None:
        origin = frame.f_globals.get("__name__", "").partition(".")[0]
        if origin == PACKAGE or (level == user and origin in BETWEEN):
            user = level + 1
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=user)


_caught: ContextVar[tuple[tuple[str, list[str]], ...]] = ContextVar("_caught", default=())


@contextmanager
def caught_warnings(about: str = "", *, or_given: bool = False) -> Iterator[list[str]]:
    """
    Collect what the package warns of in this thread inside a `with` block, instead of warning.

    `warnings.catch_warnings` changes it for all threads, and for good where two of them overlap.

    Parameters
    ----------
    about
        A regular expression: only messages that begin with it are collected.
    or_given
        Whether they are given after all, each once, where an error ends the block.
    """
    messages: list[str] = []
    left = messages if or_given else []
    before = _caught.set((*_caught.get(), (about, messages)))
    try:
        yield messages
        left = []
    finally:
        _caught.reset(before)
        for message in dict.fromkeys(left):
            with suppress(UserWarning):  # where warnings are errors, it is the first that goes on
                warn(message)
