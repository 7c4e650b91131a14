"""
One file: arrays as safetensors, and beside them, in its header, a record as JSON with a checksum.

    8 bytes, the header's length | header, JSON | arrays, one after the other
    header["__metadata__"]["xplique_craft"] = sha256 in hexadecimal, a line's end, the record

Any reader of safetensors reads the arrays. This one trusts nothing: it holds the header against the
size of the file before it takes memory for anything, and the checksum before it reads an array, so
what it takes is bounded by the size of the file. docs/saved_files.md says it in full.
"""

import hashlib
import json
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from safetensors.numpy import save as to_safetensors

from .._files import check_path, write_file

METADATA = "xplique_craft"
LARGEST_HEADER = 16 * 2**20  # bytes
MOST_VALUES = 1_000_000  # of the header, told by its commas and brackets: each may take 100 bytes
MOST_AXES = 32
MOST_DIGITS = 100  # of a whole number, its sign among them
LARGEST_EMPTY_AXIS = 2**31 - 1  # of an array without numbers, whose bytes bound nothing
CHUNK = 2**20

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}
"""Kinds of numbers that files hold: their names in safetensors and in NumPy."""


class UnreadableFile(ValueError):
    """A file that is no whole file of xplique_craft, or that this version cannot read."""


@dataclass(frozen=True)
class _Place:
    """Where an array stands in the file: what the header says of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def label(self) -> bytes:
        """What the checksum takes of it before its bytes."""
        return f"\n{self.name}\n{self.dtype} {list(self.shape)}\n".encode()


def write_container(path: Any, record: Any, arrays: dict[str, np.ndarray]) -> Path:
    """
    Write a record and its arrays; the file is moved into place when it is whole.

    Parameters
    ----------
    path
        The file to write; folders above it are made.
    record
        What `json` can write: dictionaries of str, lists, str, int, finite float, bool, None.
    arrays
        By name; C-contiguous, of the kinds in `DTYPES`.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    ValueError
        If the record is larger than what files are read with.
    OSError
        If the file cannot be written.
    """
    path = check_path("path", path)
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    names = {numpy: name for name, numpy in DTYPES.items()}
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_Place(name, names[array.dtype.name], array.shape, 0, 0).label)
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    content = to_safetensors(arrays, {METADATA: f"{digest.hexdigest()}\n{text}"})
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    if len(header) > LARGEST_HEADER or _number_of_values(header) > MOST_VALUES:
        raise ValueError(
            f"What is to be saved has too many parts for one file ({len(arrays)} arrays and "
            f"{len(text)} characters beside them): save its parts to files of their own."
        )
    return write_file(path, content)


def read_container(path: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """
    The record and the arrays of a file, checked.

    Parameters
    ----------
    path
        What `write_container` wrote.

    Returns
    -------
    record, arrays
        The record as `json` reads it, and the arrays by name.

    Raises
    ------
    UnreadableFile
        If it is another file, or not whole, or changed; a ValueError.
    OSError
        If it cannot be read.
    """
    path = check_path("path", path)
    try:
        opened = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - closed below
    except OSError as error:
        raise type(error)(
            error.errno, f"`path` must be a file that can be read ({error.strerror})", str(path)
        ) from error
    with opened as file:
        known = os.fstat(file.fileno())
        if not stat.S_ISREG(known.st_mode):
            refuse(path, "it is a device, a pipe or a socket, not a file")
        try:
            start, header = _header_of(file, known.st_size)
            digest, text = _metadata_of(header)
            places = _places_of(header, known.st_size - start)
            if _digest_of(file, start, text, places) != digest:
                raise _Fault("its checksum is another: it was changed after it was written")
            record = _parse(text)
            arrays = {place.name: _read(file, start, place) for place in places}
        except _Fault as fault:
            refuse(path, str(fault), fault)
    return record, arrays


def refuse(path: Path, why: str, cause: Exception | None = None) -> NoReturn:
    """Raise that a file cannot be read, and why."""
    raise UnreadableFile(f"{os.fspath(path)!r} cannot be loaded: {why}.") from cause


class _Fault(Exception):
    """What is wrong with a file, in words that follow a colon."""


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe too, without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _header_of(file: BinaryIO, size: int) -> tuple[int, dict[str, Any]]:
    """Where the arrays begin, and the header."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8 or length < 2:
        raise _Fault("it is cut short, or of another kind")
    if length > LARGEST_HEADER:
        raise _Fault(f"its header has {length} bytes, at most {LARGEST_HEADER} are allowed")
    raw = file.read(length)
    if len(raw) != length or not raw.startswith(b"{"):
        raise _Fault("it is cut short, or of another kind")
    if _number_of_values(raw) > MOST_VALUES:
        raise _Fault(f"its header holds more than {MOST_VALUES} values")
    try:
        header = _parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Fault("its header is no text") from error
    if not isinstance(header, dict):
        raise _Fault("its header is no JSON object")
    return 8 + length, header


def _number_of_values(header: bytes) -> int:
    return header.count(b",") + header.count(b"[") + header.count(b"{")


def _metadata_of(header: dict[str, Any]) -> tuple[str, str]:
    """The checksum and the record's text."""
    metadata = header.pop("__metadata__", None)
    text = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if not isinstance(text, str) or text[64:65] != "\n":
        raise _Fault("it is a file of another program")
    return text[:64], text[65:]


def _places_of(header: dict[str, Any], size: int) -> list[_Place]:
    """Where the arrays are: they fill the rest of the file, of that size, without gaps."""
    places = sorted((_place_of(*item) for item in header.items()), key=lambda p: (p.begin, p.end))
    end = 0
    for place in places:
        if place.begin != end:
            raise _Fault(f"its array {place.name!r} overlaps another one, or leaves a gap")
        end = place.end
    if end != size:
        raise _Fault(f"its arrays have {end} bytes, and it has room for {size}")
    return places


def _place_of(name: str, said: Any) -> _Place:
    if not isinstance(said, dict) or set(said) != {"dtype", "shape", "data_offsets"}:
        raise _Fault(f"of its array {name!r} other things are said than kind, shape and place")
    dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _Fault(f"its array {name!r} is of the kind {dtype!r}, which it may not be")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _Fault(f"the shape or the place of its array {name!r} is none")
    begin, end = offsets
    size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if end - begin != size or (size == 0 and max(shape) > LARGEST_EMPTY_AXIS):
        raise _Fault(f"its array {name!r} has not the size that its shape {shape} says")
    return _Place(name, dtype, tuple(shape), begin, end)


def _are_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST_AXES
        and all(type(one) is int and 0 <= one < 2**63 for one in value)
    )


def _digest_of(file: BinaryIO, start: int, text: str, places: list[_Place]) -> str:
    """The checksum of the record and the arrays, read a little at a time."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for place in sorted(places, key=lambda place: place.name):
        digest.update(place.label)
        file.seek(start + place.begin)
        for begin in range(place.begin, place.end, CHUNK):
            digest.update(file.read(min(CHUNK, place.end - begin)))
    return digest.hexdigest()


def _read(file: BinaryIO, start: int, place: _Place) -> np.ndarray:
    little = np.dtype(DTYPES[place.dtype]).newbyteorder("<")
    file.seek(start + place.begin)
    raw = np.fromfile(file, np.uint8, place.end - place.begin)
    if len(raw) != place.end - place.begin:
        raise _Fault("it became shorter while it was read")
    if place.dtype == "BOOL" and raw.max(initial=0) > 1:
        raise _Fault(f"its array {place.name!r} holds other values than True and False")
    return raw.view(little).reshape(place.shape).astype(little.newbyteorder("="), copy=False)


def _parse(text: str) -> Any:
    """JSON, and nothing but: no NaN, no name twice, no number without end."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise _Fault("its header is nested too deeply") from error
    except ValueError as error:
        raise _Fault(f"its header is no JSON ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _bounded_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:MOST_DIGITS]} is no number")
    return value
