"""
A fitted craft <-> one file, without its model: what a fit left behind, the settings, and what the
model is told by.

The model itself is the user's, and is given again. It must be the same one: its fingerprint is
compared, and what it makes of one image of noise, for two models may have the same layers and
weights and yet compute something else. docs/saved_files.md says what a file holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ._checks import check_choice, warn
from ._files import check_can_write, check_path
from .checkpoint import parts_of_bank
from .compatibility import Sensitivity
from .concept_model import Concepts, ExtractionSettings, no_images
from .factorization import Factorized, Factorizer, type_of_factorizer
from .questions import AnsweringModel
from .sampling import Crops, Stream
from .sampling.extent import Extent
from .sampling.told_images import SavedImages
from .saving import Kinds, read_saved, write_saved
from .saving.container import refuse
from .saving.records import SCALARS
from .splitting import Split, split_model
from .splitting.fingerprint import LayerPrint, WeightPrint, fingerprint_of, first_difference
from .splitting.flatten import flat_graph
from .splitting.graph import calls_of
from .splitting.network import Network
from .splitting.probe import Probe

BATCH = 64  # images that are read at a time to tell them by


@dataclass(frozen=True)
class SavedFactorizer:
    """
    A factorizer, without its code.

    Parameters
    ----------
    name
        What `Craft(factorizer=...)` calls it; None for one that is not of this package.
    text
        What it looks like when it is printed.
    settings
        What its class is made with; empty for one that is not of this package.
    """

    name: str | None
    text: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, factorizer: Factorizer) -> SavedFactorizer:
        """What is saved of a factorizer."""
        name = factorizer.name if hasattr(factorizer, "name") else ""
        if type(factorizer) is not type_of_factorizer(name):
            return cls(None, repr(factorizer), {})
        return cls(name, repr(factorizer), dict(vars(factorizer)))

    def made(self, given: Factorizer | None, path: Path) -> Factorizer:
        """The factorizer; `given` stands for one that is not of this package."""
        if self.name is None:
            if given is None:
                raise ValueError(
                    f"factorizer must be given: the concepts were found by {self.text}, which is "
                    "not of xplique_craft, and no code is loaded from a file. Call "
                    "Craft.load(path, model, factorizer=...) with the same one."
                )
            return given
        found = type_of_factorizer(self.name)
        if found is None:
            refuse(path, f"this version has no factorizer {self.name[:50]!r}; a newer one may")
        try:
            return found(**self.settings)
        except (TypeError, ValueError) as error:
            refuse(path, f"{self.name} has no such settings ({error})", error)


@dataclass(frozen=True)
class SavedFit:
    """What a fit left behind: see `Concepts`, `Factorized` and `ExtractionSettings`."""

    class_id: int
    bank: np.ndarray
    offset: np.ndarray
    converged: bool
    iterations: int
    relative_error: float
    extent: Extent
    boxes: np.ndarray
    crops_u: np.ndarray
    images: SavedImages
    factorizer: SavedFactorizer
    number_of_concepts: int
    patch_size: tuple[int, ...] | None
    max_crops: int
    position_weight: float | None = 0.0  # files of before had none
    scale: np.ndarray | None = None
    special_tokens: int | None = 0  # before, all tokens were taken for places


@dataclass(frozen=True)
class SavedCraft:
    """A craft: where its model is cut and what that is told by, its settings, its fit."""

    layer: str
    place: int
    model: tuple[LayerPrint, ...]
    probe: Probe | None
    fit: SavedFit
    sensitivity: Sensitivity | None
    number_of_concepts: int
    batch_size: int
    patch_size: tuple[int, ...] | None
    factorizer: SavedFactorizer
    keep_residual: bool
    baseline: str
    max_crops: int
    seed: int
    verbose: bool
    tolerance: float
    position_weight: float | None = None
    special_tokens: int | None = None
    keep_special_tokens: bool | None = None


KINDS: Kinds = {
    "Craft": SavedCraft,
    "Extent": Extent,
    "Factorizer": SavedFactorizer,
    "Fit": SavedFit,
    "Images": SavedImages,
    "Layer": LayerPrint,
    "Probe": Probe,
    "Sensitivity": Sensitivity,
    "Weight": WeightPrint,
}
"""By the names that files know them by, which stay when a class is called otherwise."""


# ------------------------------------------------------------------------------------------- saving
def save_craft(
    craft: AnsweringModel, looked_for: ExtractionSettings, path: Any, with_inputs: bool | None
) -> Path:
    """Write a fitted craft; `looked_for` is how its next fit would look for concepts."""
    craft.check_if_fitted()
    check_choice("with_inputs", with_inputs, (None, True, False))
    path = check_can_write("path", path)
    model = _same_model(craft)
    fit = _saved_fit(craft, with_inputs)
    saved = SavedCraft(
        layer=craft.layer,
        place=_place_of(craft.split),
        model=model,
        probe=Probe.steady(craft.network, fit.images.shape, fit.images.low, fit.images.high),
        fit=fit,
        sensitivity=craft.sensitivity,
        number_of_concepts=looked_for.number_of_concepts,
        batch_size=craft.batch_size,
        patch_size=looked_for.patch_size,
        factorizer=SavedFactorizer.of(looked_for.factorizer),
        keep_residual=craft.keep_residual,
        baseline=craft.baseline,
        max_crops=looked_for.max_crops,
        position_weight=looked_for.position_weight,
        special_tokens=looked_for.special_tokens,
        keep_special_tokens=craft.keep_special_tokens,
        seed=craft.seed,
        verbose=craft.verbose,
        tolerance=craft.tolerance,
    )
    return write_saved("craft", saved, path, KINDS)


def _same_model(craft: AnsweringModel) -> tuple[LayerPrint, ...]:
    """What the model is told by, which is what it was told by at `fit`."""
    now = fingerprint_of(craft.split.model)
    different = first_difference(craft.concepts.known(LayerPrint) or now, now)
    if different is not None:
        raise ValueError(
            "The model was changed after `fit`, so it is not the one that the concepts were found "
            f"in: {different}. Give it back what it had then, or call fit again, and save then."
        )
    return now


def _saved_fit(craft: AnsweringModel, with_inputs: bool | None) -> SavedFit:
    concepts = craft.concepts
    if concepts.crops is None or concepts.crops_u is None or concepts.settings is None:
        raise ValueError("The concepts must have been found by fit, not given.")
    factorized, settings = concepts.factorized, concepts.settings
    return SavedFit(
        class_id=concepts.class_id,
        **parts_of_bank(factorized),
        extent=concepts.extent,
        boxes=concepts.crops.boxes,
        crops_u=concepts.crops_u,
        images=_saved_images(craft, with_inputs),
        factorizer=SavedFactorizer.of(settings.factorizer),
        number_of_concepts=settings.number_of_concepts,
        patch_size=settings.patch_size,
        max_crops=settings.max_crops,
        position_weight=settings.position_weight,
        special_tokens=settings.special_tokens,
    )


def _saved_images(craft: AnsweringModel, with_inputs: bool | None) -> SavedImages:
    """The images, where they are wanted and there: None wants those that are in memory."""
    inputs, told = craft.concepts.inputs, craft.concepts.known(SavedImages)
    if inputs is None:  # it was loaded without them
        return no_images() if with_inputs else told
    in_memory = isinstance(inputs, (np.ndarray, tf.Tensor, list, tuple))
    in_memory = in_memory and not isinstance(inputs, np.memmap)
    if with_inputs is None and not in_memory:
        warn(
            "The images of `fit` are not saved, for they are not in memory as an array. Give them "
            "again, Craft.load(path, model, inputs=...), or have them saved too, craft.save(path, "
            "with_inputs=True)."
        )
    keep = in_memory if with_inputs is None else with_inputs
    if told is not None and not keep:
        return told
    images = np.asarray(inputs) if keep and in_memory else None
    if images is not None and images.dtype.name not in SCALARS:
        images = images.astype(np.float32)  # as the model is given them
    found = SavedImages.of(craft.stream(inputs), images, keep=keep)
    if told is not None and found.told != told.told:
        raise ValueError(
            "The images of `fit` were changed after it, so they are not those that the concepts "
            "were found in. Change them back, give `fit` a copy of its own (images.copy()), or "
            "save without them: craft.save(path, with_inputs=False)."
        )
    return found


def _place_of(split: Split) -> int:
    """Which call of the flat model gives the activations."""
    return [call.name for call in calls_of(split.model)].index(split.layer)


# ------------------------------------------------------------------------------------------ loading
@dataclass(frozen=True)
class LoadedCraft:
    """What a `Craft` is made of again: the model, the file, and what the fit left behind."""

    split: Split
    saved: SavedCraft
    factorizer: Factorizer
    concepts: Concepts


def load_craft(
    path: Any, model: keras.Model | Split, inputs: Any, factorizer: Factorizer | None
) -> LoadedCraft:
    """Read what `save_craft` wrote, on its model: see `Craft.load`."""
    path = check_path("path", path)
    saved: SavedCraft = read_saved("craft", path, KINDS)
    split = _split_of(model, saved, path)
    _check(saved, split.network, path)
    fit = saved.fit
    found_with = fit.factorizer.made(factorizer, path)
    images = fit.images.images
    if inputs is not None:
        _check_images(inputs, fit.images, split.network)
        images = inputs
    source: Callable[[np.ndarray], np.ndarray] = no_images
    if images is not None:
        source = Stream(images, split.network.input_shape, saved.batch_size).images
    concepts = Concepts(
        factorized=Factorized(found_with, **parts_of_bank(fit)),
        class_id=fit.class_id,
        inputs=images,
        extent=fit.extent,
        crops=Crops(fit.boxes, source, fit.images.shape[-1]),
        crops_u=fit.crops_u,
        settings=ExtractionSettings(
            found_with,
            fit.number_of_concepts,
            fit.patch_size,
            fit.max_crops,
            fit.position_weight,
            fit.special_tokens,
        ),
    )
    concepts.keep(SavedImages, replace(fit.images, images=None))
    concepts.keep(LayerPrint, saved.model)
    return LoadedCraft(split, saved, saved.factorizer.made(factorizer, path), concepts)


def _split_of(model: keras.Model | Split, saved: SavedCraft, path: Path) -> Split:
    """The model, cut where the craft's was; refused if it is another one."""
    flat = model.model if isinstance(model, Split) else flat_graph(model, "model").model
    different = first_difference(saved.model, fingerprint_of(flat))
    if different is None and not 0 <= saved.place < len(saved.model):
        refuse(path, f"it says that its model is cut at layer {saved.place}")
    if different is None:
        name = calls_of(flat)[saved.place].name
        split = model if isinstance(model, Split) else split_model(flat, name)
        if split.layer != name:
            raise ValueError(
                f"model is split at {split.layer!r}, and the Craft that was saved at {name!r}: "
                "split it there, or give the Keras model itself."
            )
        different = _computed_otherwise(saved.probe, split.network)
    if different is not None:
        raise ValueError(
            "model must be the one whose concepts were saved, with its weights. This one differs "
            f"from it: {different}."
        )
    return split


def _computed_otherwise(probe: Probe | None, network: Network) -> str | None:
    if probe is None:
        return None
    return probe.difference(Probe.of(network, probe.shape, probe.low, probe.high))


def _check_images(inputs: Any, saved: SavedImages, network: Network) -> None:
    """Refuse images that are not those of `fit`."""
    stream = Stream(inputs, network.input_shape, BATCH)
    found = SavedImages.of(stream, keep=False)
    if found.told != saved.told:
        what = f"{found.number} of shape {found.shape}"
        if (found.number, found.shape) == (saved.number, saved.shape):
            what += " with other values, or in another order"
        raise ValueError(
            "inputs must be the images that the concepts were found in, preprocessed as they were, "
            f"{saved.number} of shape {saved.shape}; received {what}."
        )


def _check(saved: SavedCraft, network: Network, path: Path) -> None:
    """Refuse a file whose arrays do not fit each other or the model."""
    fit = saved.fit
    k, m = fit.bank.shape[0] if fit.bank.ndim else 0, len(fit.boxes) if fit.boxes.ndim else 0
    expected = {
        "bank": (fit.bank, (k, network.channels), "f"),
        "offset": (fit.offset, (network.channels,), "f"),
        "extent.largest": (fit.extent.largest, (k,), "f"),
        "extent.mean": (fit.extent.mean, (k,), "f"),
        "boxes": (fit.boxes, (m, 5), "i"),
        "crops_u": (fit.crops_u, (m, k), "f"),
    }
    if fit.scale is not None:
        expected["scale"] = (fit.scale, (network.channels,), "f")
    special = fit.extent.special
    if special.size:
        expected["extent.special"] = (special, (len(special), network.channels), "f")
    if saved.sensitivity is not None:
        order = saved.sensitivity.most_important_concepts
        expected["importances"] = (saved.sensitivity.importances, (k,), "f")
        expected["most_important_concepts"] = (order, (k,), "i")
    if fit.images.images is not None:
        whole = (fit.images.number, *fit.images.shape)
        expected["images"] = (fit.images.images, whole, "")
    for name, (array, shape, kind) in expected.items():
        if array.shape != shape or array.dtype.kind not in (kind or "fiub"):
            refuse(path, f"its {name} are {array.dtype} {array.shape}, and must be {shape}")
    if k == 0 or not 0 <= fit.class_id < network.number_of_classes:
        refuse(path, f"it has {k} concepts, of class {fit.class_id}")
    ends = fit.boxes[:, 1:3] + fit.boxes[:, 3:]
    inside = (fit.boxes[:, 0] < fit.images.number) & (ends <= fit.images.shape[:2]).all(axis=1)
    if m == 0 or not inside.all() or fit.boxes.min() < 0 or fit.boxes[:, 3:].min() < 1:
        refuse(path, "its crops are not inside of its images")
