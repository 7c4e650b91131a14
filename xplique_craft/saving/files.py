"""What a file holds, and of which version; results are saved here: `save`, `load`."""

from pathlib import Path
from typing import Any

from .. import __version__
from .. import results as _results
from .._files import check_path
from .container import read_container, refuse, write_container
from .records import Encoder, Kinds, NotARecord, decode

VERSION = 1
"""Of the format. Files of every version up to this one are read."""

RESULTS: Kinds = {
    kind.__name__: kind
    for kind in (
        _results.BranchState,
        _results.ClassExplanation,
        _results.ClassSummary,
        _results.Comparison,
        _results.Complexity,
        _results.ConceptCard,
        _results.ConceptInteractions,
        _results.ConceptStability,
        _results.Confusion,
        _results.Contributions,
        _results.Estimate,
        _results.EvaluationPath,
        _results.Extraction,
        _results.ImageExplanation,
        _results.ImageView,
        _results.Importance,
        _results.ImportanceFidelity,
        _results.Measure,
        _results.MergedConcepts,
        _results.MethodScores,
        _results.ModelSummary,
        _results.NumberOfConcepts,
        _results.NumberTried,
        _results.OutputFidelity,
        _results.OutputScores,
        _results.Prevalence,
        _results.Purity,
        _results.Quality,
        _results.RecoveredOrder,
        _results.RecoveredPlaces,
        _results.Recovery,
        _results.SanityCheck,
        _results.TreeBranch,
        _results.TreeView,
    )
}
"""The records that are saved, by the names that files know them by."""

_RESULTS_IN_FILES = "results"
_REMEDIES = {
    _RESULTS_IN_FILES: "results, which xplique_craft.load(path) reads",
    "craft": "a Craft, which is loaded with its model: xplique_craft.Craft.load(path, model)",
}


def write_saved(kind: str, value: Any, path: Any, kinds: Kinds, name: str = "value") -> Path:
    """
    Save a value of any stage; the file is moved into place when it is whole.

    Parameters
    ----------
    kind
        What the file holds, in a word; `read_saved` asks for the same.
    value
        Numbers, texts, arrays, lists, tuples and dictionaries of them, and objects of `kinds`.
    path
        The file to write; folders above it are made.
    kinds
        Frozen dataclasses and enums that it may hold, by the names that the file gives them.
    name
        What messages of errors call the value.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    TypeError
        If the value holds something else.
    ValueError
        If it has too many parts for one file, or is nested too deeply.
    OSError
        If the file cannot be written.
    """
    encoder = Encoder(kinds)
    try:
        encoded = encoder.encode(value)
    except (TypeError, ValueError) as error:  # which begin with "value", and where in it
        raise type(error)(f"{name}{str(error).removeprefix('value')}") from error
    record = {"version": VERSION, "written_by": __version__, "kind": kind, "value": encoded}
    return write_container(path, record, encoder.arrays)


def read_saved(kind: str, path: Any, kinds: Kinds) -> Any:
    """
    Load what `write_saved` saved under the same kind.

    Raises
    ------
    UnreadableFile
        If the file is another one, not whole, changed, or of a newer version; a ValueError.
    OSError
        If it cannot be read.
    """
    path = check_path("path", path)
    record, arrays = read_container(path)
    if not isinstance(record, dict) or type(record.get("version")) is not int:
        refuse(path, "it does not say of which version it is")
    if record["version"] > VERSION:
        writer = str(record.get("written_by"))[:50]
        refuse(
            path,
            f"it has version {record['version']} of the format, and this xplique_craft, "
            f"{__version__}, reads up to {VERSION}: install a newer one (the file is of {writer})",
        )
    if record["version"] < 1 or set(record) != {"version", "written_by", "kind", "value"}:
        refuse(path, "it says other things than version, kind and value")
    found = str(record["kind"])
    if found != kind:
        refuse(path, f"it holds {_REMEDIES.get(found, repr(found[:50]))}")
    try:
        return decode(record["value"], arrays, kinds)
    except NotARecord as error:
        refuse(path, str(error), error)


def save(result: Any, path: str | Path) -> Path:
    """
    Save a result: an importance, contributions, an explanation, a comparison, a tree's view, ...

    It is one file, without pickle, that any reader of safetensors can open; see `load`. A fitted
    `Craft` has a `save` of its own.

    Parameters
    ----------
    result
        A record of `xplique_craft.results`, or a list, tuple or dictionary of them.
    path
        The file to write, best with the suffix ".safetensors"; folders above it are made. A file
        that is there is replaced when the new one is whole.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    TypeError
        If it is no result, or holds what cannot be saved, as an array of texts.
    ValueError
        If it has too many parts for one file.
    OSError
        If the file cannot be written.
    """
    if hasattr(result, "save"):
        raise TypeError(
            f"result must be no {type(result).__name__}, which is saved by its own method: call "
            "its save(path)."
        )
    if hasattr(result, "view") and hasattr(result, "nodes"):
        raise TypeError(
            f"result must be no {type(result).__name__}, which is saved as what it shows: "
            "save(tree.view(photographs), path)."
        )
    return write_saved(_RESULTS_IN_FILES, result, path, RESULTS, "result")


def load(path: str | Path) -> Any:
    """
    Load what `save` saved: equal to the bit, arrays and numbers of the same types.

    No code of the file is run, and no more memory taken than it has bytes, and a little. Files of
    this and all earlier versions are read.

    Parameters
    ----------
    path
        The file that `save` wrote.

    Returns
    -------
    result
        As it was given to `save`.

    Raises
    ------
    ValueError
        If the file is no saved result, not whole, or of a newer version of xplique_craft.
    OSError
        If it cannot be read.
    """
    return read_saved(_RESULTS_IN_FILES, path, RESULTS)
