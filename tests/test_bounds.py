"""
The oldest libraries that pyproject.toml allows can read every file that is shipped.

So no file is in a form that a library makes anew from version to version, as Keras' models are: a
model is code, its weights are plain arrays. `tools/versions.py` runs the rest with these libraries.
"""

import json
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from numpy.lib import format as npy
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(__file__).parents[1]
TEXT = {
    *("", ".cff", ".cfg", ".css", ".csv", ".html", ".ini", ".j2", ".js", ".json", ".md", ".py"),
    *(".pyi", ".sh", ".svg", ".toml", ".txt", ".typed", ".yaml", ".yml"),
}
NAMES = {".gitignore", "LICENSE", "Makefile"}  # without a suffix, or nothing but one
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF"}
# Of the numbers that safetensors 0.4.3 knows, those that NumPy 2.0 has too.
SAFE_NUMBERS = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"}
NOTEBOOKS = (4, 5)  # the format of nbformat 5.10
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
]
BOUNDS = {
    one.name: Version(limit.version)
    for one in WANTED
    for limit in one.specifier
    if limit.operator == ">="
}


def shipped() -> list[Path]:
    """All files that git knows; without git, those of the package and the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    folders = (ROOT / "xplique_craft", ROOT / "tests", ROOT / "tutorials")
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _of_array(file: zipfile.ZipExtFile) -> str | None:
    version = npy.read_magic(file)
    if version != (1, 0):
        return f"it is of NumPy's format {version}"
    _, _, dtype = npy.read_array_header_1_0(file)
    return f"it holds {dtype}, which needs pickle" if dtype.hasobject else None


def _of_arrays(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return f"{entry.filename} is compressed as only newer Pythons can"
            with archive.open(entry) as file:
                if entry.filename.endswith(".npy") and (fault := _of_array(file)):
                    return f"{entry.filename}: {fault}"
    return None


def _of_safetensors(path: Path) -> str | None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    found = {one["dtype"] for name, one in header.items() if name != "__metadata__"}
    unknown = sorted(found - SAFE_NUMBERS)
    return f"it holds {', '.join(unknown)}" if unknown else None


def _of_notebook(path: Path) -> str | None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    version = notebook["nbformat"], notebook["nbformat_minor"]
    return f"it is a notebook of format {version}" if version > NOTEBOOKS else None


def _of_keras(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        written = json.loads(archive.read("metadata.json"))["keras_version"]
    oldest = BOUNDS["keras"]
    return f"Keras {written} wrote it, {oldest} may have to read it" * (Version(written) > oldest)


def fault(path: Path) -> str | None:
    """Why the oldest libraries may not read a file; None if they do."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        with Image.open(path) as image:
            return None if image.format == PICTURES[suffix] else f"it is a {image.format}"
    known = {
        ".npz": _of_arrays,
        ".safetensors": _of_safetensors,
        ".ipynb": _of_notebook,
        ".keras": _of_keras,
    }
    if suffix in known:
        return known[suffix](path) or None
    if suffix in TEXT and (suffix or path.name in NAMES or path.parent.name == ".ci"):
        path.read_text(encoding="utf-8")
        return None
    return f"nothing is known of {suffix or path.name}: say in this file who reads it since when"


def test_every_shipped_file_is_read_by_the_oldest_libraries() -> None:
    faults = {str(path.relative_to(ROOT)): fault(path) for path in shipped() if path.is_file()}
    assert len(faults) > 100
    assert {name: why for name, why in faults.items() if why} == {}


def faulty(folder: Path) -> Iterator[tuple[str, str]]:
    """Files that newer libraries wrote, with what is to be said of each."""
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(folder / "now.keras")
    with zipfile.ZipFile(folder / "newer.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "99.1.0"}))
    yield "newer.keras", "Keras 99.1.0 wrote it"
    np.savez(folder / "objects.npz", one=np.array([{}], object))
    yield "objects.npz", "object, which needs pickle"
    with zipfile.ZipFile(folder / "packed.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("one.npy", b"")
    yield "packed.npz", "one.npy is compressed"
    with (
        zipfile.ZipFile(folder / "version.npz", "w") as archive,
        archive.open("one.npy", "w") as entry,
    ):
        npy.write_array(entry, np.zeros(2), version=(3, 0))
    yield "version.npz", r"NumPy's format \(3, 0\)"
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [0], "data_offsets": [0, 0]}}).encode()
    (folder / "eight.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    yield "eight.safetensors", "holds F8_E4M3"
    (folder / "later.ipynb").write_text('{"nbformat": 5, "nbformat_minor": 0}', encoding="utf-8")
    yield "later.ipynb", r"format \(5, 0\)"
    for name in ("model.h5", "model.pkl", "array.npy", "noname"):
        (folder / name).write_bytes(b"")
        yield name, "nothing is known"
    Image.new("RGB", (2, 2)).save(folder / "other.png", format="WEBP")
    yield "other.png", "it is a WEBP"


def test_files_of_newer_libraries_are_found(tmp_path: Path) -> None:
    for name, why in faulty(tmp_path):
        assert re.search(why, fault(tmp_path / name) or "none"), name
    np.savez(tmp_path / "plain.npz", one=np.zeros(3, np.float32))
    assert fault(tmp_path / "plain.npz") is None
    newer = Version(keras.__version__) > BOUNDS["keras"]
    assert bool(fault(tmp_path / "now.keras")) == newer


def test_every_library_has_a_lower_bound() -> None:
    """One without is promised to work at any age."""
    assert len(WANTED) > 20
    assert [one.name for one in WANTED if one.name not in BOUNDS] == []
