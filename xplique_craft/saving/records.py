"""
Values <-> JSON and arrays, by a closed list of kinds.

A number, a text, True, None and a list are what JSON has for them. Everything else is an object
whose "$" says what it is:

    {"$": "tuple", "items": [...]}                 {"$": "dict", "items": {name: ...}}
    {"$": "array", "name": ..., "axes": [...]}     {"$": "scalar", "dtype": ..., "value": ...}
    {"$": "float", "value": "nan"}                 {"$": "Estimate", "fields": {"value": ..., ...}}
    {"$": "BranchState", "member": "OF_ONE_PIECE"}

The last two are of kinds, names of classes that the reader gives: no name of a file is imported, so
loading runs no code from it. A field that a later version adds must have a default, for files of
this one lack it.
"""

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from .container import DTYPES, LARGEST_EMPTY_AXIS, MOST_AXES, MOST_DIGITS

Kinds = Mapping[str, type]
LONGEST_NAME = 200  # of an array
MOST_LEVELS = 200  # of values within values
SCALARS = frozenset(DTYPES.values())
_TWO_FOR_ONE = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # JSON reads one character there
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class NotARecord(ValueError):
    """A record that does not say what it should; the message follows a colon."""


class Encoder:
    """
    Values -> JSON; their arrays are collected.

    Parameters
    ----------
    kinds
        The classes whose objects are saved, frozen dataclasses and enums, by the names that files
        know them by.

    Attributes
    ----------
    arrays
        The arrays of all that was encoded, C-contiguous, by name.
    """

    def __init__(self, kinds: Kinds) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names = {kind: name for name, kind in kinds.items()}
        self._known: dict[int, tuple[np.ndarray, dict[str, Any]]] = {}

    def encode(self, value: Any, where: str = "value", level: int = 0) -> Any:
        """
        A value as JSON has it.

        Raises
        ------
        TypeError
            If it is, or holds, something that files have no kind for; `where` says what is meant.
        ValueError
            If it is nested too deeply, or beyond the limits that files are read with.
        """
        if level > MOST_LEVELS:
            name = where.partition(".")[0]
            raise ValueError(f"{name} is nested too deeply to be saved, or holds itself.")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum) and type(value) in self._names:
            return {"$": self._names[type(value)], "member": value.name}
        if isinstance(value, str):
            return _text(value, where)
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, np.generic):
            return self._scalar(value, where)
        if type(value) is int:
            if not -(10 ** (MOST_DIGITS - 1)) < value < 10**MOST_DIGITS:
                raise ValueError(
                    f"{where} cannot be saved: it has more than {MOST_DIGITS} digits, its sign "
                    "counted."
                )
            return value
        if type(value) is float:
            return _float(value)
        if type(value) is list:
            return self._items(value, where, level)
        if type(value) is tuple:
            return {"$": "tuple", "items": self._items(value, where, level)}
        if type(value) is dict and all(type(name) is str for name in value):
            items = {
                _text(name, f"{where}.{name!r}"): self.encode(one, f"{where}.{name}", level + 1)
                for name, one in value.items()
            }
            return {"$": "dict", "items": items}
        if type(value) in self._names and dataclasses.is_dataclass(value):
            return {"$": self._names[type(value)], "fields": self._fields(value, where, level)}
        raise TypeError(
            f"{where} cannot be saved: it is of type {type(value).__name__}. Saved are arrays of "
            f"numbers, numbers, texts, lists and dictionaries of them, and "
            f"{', '.join(sorted(self._names.values()))}."
        )

    def _fields(self, value: Any, where: str, level: int) -> dict[str, Any]:
        hints, fields = _hints(value.__class__), {}
        for field in dataclasses.fields(value):
            if field.init:
                one, name = getattr(value, field.name), f"{where}.{field.name}"
                if not fits(one, hints[field.name]):  # it could not be loaded
                    raise TypeError(
                        f"{name} cannot be saved: it must be {field.type}, received a "
                        f"{type(one).__name__}."
                    )
                fields[field.name] = self.encode(one, name, level + 1)
        return fields

    def _items(self, values: Any, where: str, level: int) -> list[Any]:
        return [self.encode(one, f"{where}.{i}", level + 1) for i, one in enumerate(values)]

    def _scalar(self, value: np.generic, where: str) -> dict[str, Any]:
        if value.dtype.name not in SCALARS:
            raise TypeError(f"{where} cannot be saved: it is a number of type {value.dtype}.")
        return {"$": "scalar", "dtype": value.dtype.name, "value": self.encode(value.item())}

    def _array(self, array: np.ndarray, where: str) -> dict[str, Any]:
        """An array is saved once; with its order in memory, by which sums are rounded."""
        if id(array) in self._known:
            return self._known[id(array)][1]
        if array.dtype.name not in SCALARS:
            raise TypeError(
                f"{where} cannot be saved: it is an array of type {array.dtype}, not of numbers."
            )
        if type(array) not in (np.ndarray, np.memmap):
            raise TypeError(
                f"{where} cannot be saved: it is a {type(array).__name__}, and files hold plain "
                "arrays. Save np.asarray of it, a masked array once it is filled."
            )
        if array.ndim > MOST_AXES:
            raise ValueError(
                f"{where} cannot be saved: it has {array.ndim} axes, at most {MOST_AXES} are read."
            )
        if array.size == 0 and max(array.shape) > LARGEST_EMPTY_AXIS:
            raise ValueError(
                f"{where} cannot be saved: it is an empty array of shape {array.shape}, and an "
                f"axis of one has a length of at most {LARGEST_EMPTY_AXIS}."
            )
        name = where.encode("ascii", "replace").decode()[:LONGEST_NAME]
        whole, number = name, 1
        while name in self.arrays:  # shortened, or with a dot in the name of an item
            number += 1
            name = f"{whole} {number}"
        reference: dict[str, Any] = {"$": "array", "name": name}
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        in_order = array
        if not array.flags.c_contiguous and axes != list(range(array.ndim)):
            reference["axes"] = axes
            in_order = array.transpose(axes)
        native = array.dtype.newbyteorder("=")
        self.arrays[name] = in_order.astype(native, order="C", copy=False)
        self._known[id(array)] = (array, reference)
        return reference


def decode(value: Any, arrays: Mapping[str, np.ndarray], kinds: Kinds) -> Any:
    """
    A value from JSON and arrays.

    Parameters
    ----------
    value
        What `Encoder.encode` made.
    arrays
        The arrays that it refers to.
    kinds
        The classes that it may be of, by the names that files know them by.

    Raises
    ------
    NotARecord
        If it is anything else: an unknown kind, a field of the wrong type, an array that nothing
        refers to.
    """
    decoder = _Decoder(arrays, kinds)
    try:
        found = decoder.decode(value, "value", 0)
    except RecursionError as error:
        raise NotARecord("it is nested too deeply") from error
    unused = sorted(set(arrays) - decoder.used)
    if unused:
        raise NotARecord(f"nothing refers to its array {unused[0]!r}")
    return found


class _Decoder:
    def __init__(self, arrays: Mapping[str, np.ndarray], kinds: Kinds) -> None:
        self.arrays, self.kinds = arrays, kinds
        self.used: set[str] = set()

    def decode(self, value: Any, where: str, level: int) -> Any:
        if level > MOST_LEVELS:
            raise NotARecord("it is nested too deeply")
        if isinstance(value, list):
            return self._items(value, where, level)
        if not isinstance(value, dict):
            return value
        said = set(value) - {"$"}
        what = value.get("$")
        if what == "array" and said in ({"name"}, {"name", "axes"}):
            return self._array(value["name"], value.get("axes"), where)
        if what == "tuple" and said == {"items"} and isinstance(value["items"], list):
            return tuple(self._items(value["items"], where, level))
        if what == "dict" and said == {"items"} and isinstance(value["items"], dict):
            return {
                name: self.decode(one, f"{where}.{name}", level + 1)
                for name, one in value["items"].items()
            }
        if what == "float" and said == {"value"} and str(value["value"]) in _FLOATS:
            return _FLOATS[value["value"]]
        if what == "scalar" and said == {"dtype", "value"}:
            return self._scalar(value, where)
        if isinstance(what, str) and what in self.kinds:
            kind = self.kinds[what]
            if issubclass(kind, Enum) and said == {"member"}:
                return _member(kind, value["member"], where)
            if not issubclass(kind, Enum) and said == {"fields"}:
                return self._object(kind, value["fields"], where, level)
        raise NotARecord(
            f"{where} is of the kind {str(what)[:50]!r} with {', '.join(sorted(said))[:200]}, which"
            " this version of xplique_craft does not know; a newer one may"
        )

    def _items(self, values: list[Any], where: str, level: int) -> list[Any]:
        return [self.decode(one, f"{where}.{i}", level + 1) for i, one in enumerate(values)]

    def _array(self, name: Any, axes: Any, where: str) -> np.ndarray:
        if not isinstance(name, str) or name not in self.arrays:
            raise NotARecord(f"{where} is an array that is not there")
        self.used.add(name)
        array = self.arrays[name]
        if axes is None:
            return array
        if not isinstance(axes, list) or sorted(map(str, axes)) != sorted(
            map(str, range(array.ndim))
        ):
            raise NotARecord(f"the axes of {where} are none")
        return array.transpose(np.argsort(axes))

    def _scalar(self, value: dict[str, Any], where: str) -> Any:
        dtype, number = value["dtype"], self.decode(value["value"], where, MOST_LEVELS)
        if not isinstance(dtype, str) or dtype not in SCALARS:
            raise NotARecord(f"{where} is a number of another type")
        if not isinstance(number, (bool, int, float)):
            raise NotARecord(f"{where} is no number")
        try:
            return np.array(number, dtype)[()]
        except (OverflowError, ValueError) as error:
            raise NotARecord(f"{where} is no number of type {dtype}") from error

    def _object(self, kind: type, fields: Any, where: str, level: int) -> Any:
        known = {field.name: field for field in dataclasses.fields(kind) if field.init}
        if not isinstance(fields, dict) or not fields.keys() <= known.keys():
            extra = sorted(set(fields) - set(known)) if isinstance(fields, dict) else [fields]
            raise NotARecord(
                f"{where} says {str(extra[0])[:50]!r}, which this version of xplique_craft does "
                "not know; a newer one may"
            )
        hints = _hints(kind)
        values = {}
        for name, field in known.items():
            if name not in fields:
                if (
                    field.default is dataclasses.MISSING
                    and field.default_factory is dataclasses.MISSING
                ):
                    raise NotARecord(f"{where}.{name} is missing")
                continue
            values[name] = self.decode(fields[name], f"{where}.{name}", level + 1)
            if not fits(values[name], hints[name]):
                raise NotARecord(f"{where}.{name} is a {type(values[name]).__name__}")
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            raise NotARecord(f"{where} is no {kind.__name__} ({error})") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as annotations say it; a list does for a tuple, 1 for 1.0."""
    if hint is Any:
        return True
    if isinstance(hint, str):  # Python 3.10 leaves the name of a class within tuple[...]
        return type(value).__name__ == hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if hint is None or hint is type(None):
        return value is None
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return all(fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(name, arguments[0]) and fits(one, arguments[1]) for name, one in value.items()
        )
    if hint is float:
        return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    return isinstance(value, hint)


def _text(value: str, where: str) -> str:
    if _TWO_FOR_ONE.search(value):
        raise ValueError(
            f"{where} cannot be saved: it holds two halves of one character, which files cannot "
            "tell from the character. Save text.encode('utf-16', 'surrogatepass').decode('utf-16')."
        )
    return str.__str__(value)


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$": "float", "value": "nan" if math.isnan(value) else f"{value:.0f}"}


def _member(kind: type[Enum], name: Any, where: str) -> Enum:
    if not isinstance(name, str) or name not in kind.__members__:
        raise NotARecord(f"{where} is a {kind.__name__} of the name {str(name)[:50]!r}")
    return kind[name]
