"""
Checkpoints: what a long call has finished is kept in a folder, from where the same call goes on.

    folder/fit/asked.safetensors     what the call was asked: model, images, settings
    folder/fit/crops.safetensors     a stage that it has finished, with the warnings that it gave
    folder/fit/bank.safetensors      ...

A stage that is there is read, any other is computed and written, so a call that was interrupted
goes on with the first stage that it had not finished, and ends with the same numbers, bit for bit.
What was asked decides what comes out: a folder of a call that was asked something else is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np

from . import __version__
from ._checks import caught_warnings, warn
from ._compiled import OUT_OF_MEMORY
from ._files import check_can_write, check_path
from .concept_model import ConceptModel, ExtractionSettings
from .factorization import Factorized, Factorizer
from .sampling import Stream
from .sampling.told_images import SavedImages
from .saving import RESULTS, Kinds, UnreadableFile, read_saved, write_saved
from .splitting.fingerprint import LayerPrint, WeightPrint, fingerprint_of, first_difference
from .splitting.probe import Probe

FINGERPRINTS: Kinds = {"Layer": LayerPrint, "Probe": Probe, "Weight": WeightPrint}
SHORT = (bool, int, float, str, type(None))  # what messages show, rather than that it is another
LONGEST_SHOWN = 40
SAME = 1e-4  # relative: what a model makes of noise, on one machine
LONGEST_NAME = 100  # of a file

T = TypeVar("T")


class Checkpoint:
    """
    What one call has finished so far.

    Within a `with` block Ctrl-C says where that is.

    Parameters
    ----------
    folder
        Where it is kept: each kind of call has a folder of its own in it, so that one folder will
        do for a fit and for what is asked of it. None keeps nothing.
    call
        What the user called, as "fit".
    asked
        Makes what the results of the call depend on, by name; "model" is a fingerprint. It is not
        called where nothing is kept, for images are read to tell them from others.
    name
        The user's name for the argument `folder`: any but "checkpoint" is one of this call alone,
        which needs no folder of its own in it.

    Raises
    ------
    TypeError, OSError
        If `folder` is no path, or nothing can be written there.
    ValueError
        If the folder holds what a call finished that was asked something else.
    """

    def __init__(
        self,
        folder: Any,
        call: str,
        asked: Callable[[], dict[str, Any]],
        name: str = "checkpoint",
    ) -> None:
        self.call, self._name = call, name
        self._troubles: list[str] = []
        self.folder: Path | None = None
        if folder is None:
            return
        given = check_path(name, folder)
        self._given, self.folder = given, given / call if name == "checkpoint" else given
        path = check_can_write(name, self.folder / "asked.safetensors")
        now = {"version": __version__, **asked()}
        if now.get("factorizer", "") is None:
            self.folder = None
            warn(
                f"{name}: nothing is kept, for the factorizer has settings that cannot be "
                "compared with those of another call: numbers, texts and arrays can."
            )
            return
        if path.exists():
            self._check_same(read_saved(f"{call}: asked", path, FINGERPRINTS), now)
        else:
            write_saved(f"{call}: asked", now, path, FINGERPRINTS)

    def _check_same(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        different: list[str] = []
        for name in sorted(before.keys() | now.keys()):
            old, new = before.get(name), now.get(name)
            if name in ("model", "probe"):
                where = _other_model(old, new)
                if where is not None and not any("another model" in one for one in different):
                    different.append(f"another model ({where})")
            elif type(old) is not type(new) or (old != new and repr(old) != repr(new)):  # NaN
                shown = [repr(one) for one in (old, new) if isinstance(one, SHORT)]
                if len(shown) == 2 and max(map(len, shown)) <= LONGEST_SHOWN:
                    different.append(f"another {name} ({shown[0]}, and it is {shown[1]} now)")
                else:
                    different.append(f"other {name}")
        if different:
            raise ValueError(
                f"{self._name} must be a folder of the same call, or a new one: "
                f"{str(self.folder)!r} holds what `{self.call}` finished for "
                f"{', '.join(different)}. Call it as it was called then, or name another folder."
            )

    def once(
        self,
        stage: str,
        make: Callable[[], T],
        kinds: Kinds = RESULTS,
        *,
        keep: bool = True,
        pack: Callable[[T], Any] = lambda value: value,
        unpack: Callable[[Any], T] = lambda value: value,
    ) -> T:
        """
        What a stage finished, now or before it was interrupted.

        Parameters
        ----------
        stage
            What it is called.
        make
            Goes through it.
        kinds
            Frozen dataclasses that the result may hold, see `saving.write_saved`.
        keep
            False goes through it anyhow, and keeps nothing.
        pack, unpack
            The result as files can hold it, and back.

        Returns
        -------
        value
            The result. Warnings that it gave are given again.
        """
        if self.folder is None or not keep:
            return make()
        path = self.folder / f"{_file_name(stage)}.safetensors"
        kind = f"{self.call}: {stage}"
        if path.exists():
            try:
                known = read_saved(kind, path, kinds)
            except UnreadableFile as error:
                self._troubles.append(f"{error} The stage {stage!r} was gone through again.")
            else:
                for message in known["warnings"]:
                    warn(message)
                return unpack(known["value"])
        with caught_warnings(or_given=True) as told:
            value = make()
        # Elsewhere, or later, there may be memory enough.
        again = [message for message in told if not message.startswith(OUT_OF_MEMORY)]
        try:
            write_saved(kind, {"value": pack(value), "warnings": again}, path, kinds)
        except (OSError, TypeError, ValueError) as error:  # what was computed is not lost for that
            self._troubles.append(f"The stage {stage!r} of {self.call} could not be kept: {error}")
        for message in told:  # after it was kept: a warning may be an error
            warn(message)
        return value

    def bank(
        self, stage: str, make: Callable[[], Factorized], factorizer: Factorizer
    ) -> Factorized:
        """A bank, found now or before; the factorizer is the one that it is found with."""
        return self.once(
            stage,
            make,
            pack=parts_of_bank,
            unpack=lambda parts: Factorized(factorizer, **parts),
        )

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: Any, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        troubles = " ".join(self._troubles)
        if error is None and troubles:
            warn(f"{self._name}: {troubles}")
        if self.folder is not None and isinstance(error, KeyboardInterrupt) and not error.args:
            sentence = (
                f"{self.call} was interrupted. What it had finished is kept: the same call with "
                f"{self._name}={os.fspath(self._given)!r} goes on from there."
            )
            error.args = (f"{sentence} {troubles}".strip(),)


def _other_model(before: Any, now: Any) -> str | None:
    """In what a model is not the one of before, by its fingerprints or what it makes of noise."""
    if isinstance(before, Probe) and isinstance(now, Probe):
        return before.difference(now, SAME)
    return first_difference(before or (), now or ()) if before or now else None


def _file_name(stage: str) -> str:
    """A name for any file system: names of layers and methods are among those of stages."""
    name = quote(stage, safe=" ")
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]} {hashlib.sha256(stage.encode()).hexdigest()[:16]}"
    return name


def parts_of_bank(found: Any) -> dict[str, Any]:
    """
    What a bank consists of, but for the factorizer, which the user brings; of a `Factorized`, or of
    a record that has the same fields.
    """
    return {
        "bank": found.bank,
        "offset": found.offset,
        "scale": found.scale,
        "converged": bool(found.converged),
        "iterations": int(found.iterations),
        "relative_error": float(found.relative_error),
    }


# ------------------------------------------------------------- what a call was asked
def of_model(concept_model: ConceptModel, images: np.ndarray) -> dict[str, Any]:
    """The model, where it is cut, and the settings that all stages share; some images do."""
    shape, low, high = images.shape[1:], float(images.min()), float(images.max())
    return {
        "probe": Probe.steady(concept_model.network, shape, low, high),
        "model": fingerprint_of(concept_model.model),
        "layer": concept_model.layer,
        "batch_size": concept_model.batch_size,  # sums are rounded by it
        "seed": concept_model.seed,
    }


def of_extraction(settings: ExtractionSettings) -> dict[str, Any]:
    """How concepts are looked for."""
    return {
        "factorizer": of_factorizer(settings.factorizer),
        "number_of_concepts": settings.number_of_concepts,
        "patch_size": str(settings.patch_size),
        "max_crops": settings.max_crops,
        "position_weight": settings.weight_of_positions,
        "special_tokens": settings.special_tokens,
    }


def of_concepts(concept_model: ConceptModel, images: np.ndarray) -> dict[str, Any]:
    """The concepts that a craft has, and what is done with them."""
    concepts = concept_model.concepts
    found, extent = concepts.factorized, concepts.extent
    made_of = (found.bank, found.offset, extent.largest, extent.mean, found.scale, extent.special)
    return {
        **of_model(concept_model, images),
        "class_id": concepts.class_id,
        "concepts": digest(*(array for array in made_of if array is not None and array.size)),
        "factorizer": of_factorizer(found.factorizer),
        "keep_residual": concept_model.keep_residual,
        "keep_special_tokens": concept_model.keep_special_tokens,
        "baseline": concept_model.baseline,
    }


def of_factorizer(factorizer: Factorizer) -> str | None:
    """A factorizer with its settings, in full; None where one of them cannot be told by a text."""
    kind = type(factorizer)
    told = {name: _told(value) for name, value in sorted(vars(factorizer).items())}
    if None in told.values():
        return None
    return f"{kind.__module__}.{kind.__qualname__} {told!r}"


def _told(value: Any) -> str | None:
    """A plain value in full, arrays by their checksum; None for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return digest(value)
    if isinstance(value, (list, tuple)):
        items = [_told(one) for one in value]
        return None if None in items else f"{type(value).__name__} {items!r}"
    plain = value is None or isinstance(value, (bool, int, float, str, np.generic))
    return repr(value) if plain else None


def of_images(stream: Stream) -> str:
    """A checksum of images, whatever they came in."""
    return SavedImages.of(stream, keep=False).told


def digest(*arrays: np.ndarray) -> str:
    """A checksum of arrays: of their numbers, shapes and types."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
