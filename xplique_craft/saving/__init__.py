"""
Saving and loading without pickle: one file for one thing, whole or not there, checked when read.

    container    a record and arrays <-> one file, bounded and checked (docs/saved_files.md)
    records      values <-> JSON and arrays, by a closed list of kinds
    files        what a file holds, of which version; results are saved here

A fitted craft is saved by `Craft.save`, with these; a stage that keeps its own progress writes
`write_saved("its kind", {...}, path, {})`: numbers, texts, lists, dictionaries and arrays need no
kinds. Nothing here loads TensorFlow.
"""

from .container import UnreadableFile
from .files import RESULTS, VERSION, load, read_saved, save, write_saved
from .records import Kinds

__all__ = [
    "RESULTS",
    "VERSION",
    "Kinds",
    "UnreadableFile",
    "load",
    "read_saved",
    "save",
    "write_saved",
]
