"""
Concepts as Keras models: images -> concept scores, and concept coefficients -> logits.

Banks are constants in the configuration of a layer, not weights: models save and reload, and
randomising their weights randomises the network, not the concepts. What is done to coefficients is
done in float32 whatever Keras' policy: concepts of a network of mixed precision are float32 scores.

A file holds the user's own layers too, as Keras writes them. The Keras that saved it reads it, and
so do newer ones; an older Keras may not know what a newer one wrote. docs/versions.md says which
were tried.
"""

from . import _backend as _backend

# isort: split
import base64
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ._files import check_path
from ._once import cached_property
from .concept_model import ConceptModel
from .factorization import Factorized, Factorizer, get_factorizer, type_of_factorizer
from .gates.coded import encode_places, with_special
from .splitting import Split, join_models
from .splitting.graph import call_unnoticed


def load_model(path: str | Path) -> keras.Model:
    """
    Load a saved `craft.encoder`, `craft.decoder` or flat model, in any process.

    It is `keras.models.load_model` with the layers of this package known to Keras. The version of
    Keras that wrote the file reads it, and newer ones of Keras 3; older ones may refuse it.

    Parameters
    ----------
    path
        A file that `model.save(path)` wrote, with this Keras or an older one.

    Raises
    ------
    TypeError
        If `path` is no path.
    ValueError
        If there is no file at `path`, or one that Keras cannot load; where a newer Keras wrote it,
        the error says so.
    """
    path = check_path("path", path)
    try:
        there = path.is_file()
    except OSError:  # too long a name
        there = False
    if not there:
        found = "a folder" if os.path.isdir(path) else "no file"
        raise ValueError(
            f"`path` must be a file that model.save(path) wrote, and there is {found} at {path}."
        )
    try:
        return keras.models.load_model(path)
    except Exception as error:
        written = _written_by(path)
        if _number(written) <= _number(keras.__version__):
            raise ValueError(
                "`path` must be a file that model.save(path) wrote, and "
                f"{str(path)!r} cannot be read: {error}"
            ) from error
        raise ValueError(
            f"{str(path)!r} was saved by Keras {written}, and this is Keras {keras.__version__}, "
            "which cannot read it. A newer Keras reads what an older one saved, not always the "
            f"reverse: install keras>={written}, or save the model again with the older one."
        ) from error


def _written_by(path: str | Path) -> str:
    """The version of the Keras that wrote a file; nothing where that is not to be found."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return ""


def _number(version: str) -> tuple[int, ...]:
    """A version to compare, (3, 12) of "3.12.4"."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON can hold it: float32, exactly."""
    array = np.ascontiguousarray(array, np.float32)
    return {"shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode("ascii")}


def _unpack(packed: np.ndarray | dict[str, Any]) -> np.ndarray:
    if not isinstance(packed, dict):
        return np.asarray(packed, np.float32)
    array = np.frombuffer(base64.b64decode(packed["data"]), np.float32)
    return array.reshape(packed["shape"])


@keras.saving.register_keras_serializable(package="xplique_craft")
class ConceptEncoding(keras.layers.Layer):
    """
    Activations (n, ..., c) -> concept coefficients (n, ..., k), exact and differentiable.

    Parameters
    ----------
    factorizer
        The factorizer whose encoding this is, or the name of one of the package's own.
    bank
        W, (k, c).
    offset
        (c,).
    scale
        (c,): what channels are divided by before they are encoded; None where they are not.
    special_tokens
        How many of the first tokens belong to no place, and have coefficients 0.
    """

    def __init__(
        self,
        factorizer: str | Factorizer,
        bank: Any,
        offset: Any,
        scale: Any = None,
        special_tokens: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trainable = False
        self.factorizer = get_factorizer(factorizer)
        self.bank, self.offset = _unpack(bank), _unpack(offset)
        self.scale = None if scale is None else _unpack(scale)
        self.special_tokens = special_tokens
        self.supports_jit = False  # supports differ in size from row to row

    def call(self, activations: tf.Tensor) -> tf.Tensor:
        """Encode."""
        found = Factorized(
            self.factorizer, self.bank, self.offset, True, 0, float("nan"), self.scale
        )
        u, _ = encode_places(activations, found, self.special_tokens)
        return tf.ensure_shape(u, self.compute_output_shape(activations.shape))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, ..., k)."""
        return (*input_shape[:-1], len(self.bank))

    def get_config(self) -> dict[str, Any]:
        """The bank is part of it; a TypeError for factorizers of other packages."""
        if type(self.factorizer) is not type_of_factorizer(self.factorizer.name):
            raise TypeError(
                f"A model with the encoding of {self.factorizer!r} cannot be saved: only those of "
                "xplique_craft's own factorizers can be made again from a file."
            )
        return {
            **super().get_config(),
            "factorizer": self.factorizer.name,
            "bank": _pack(self.bank),
            "offset": _pack(self.offset),
            "scale": None if self.scale is None else _pack(self.scale),
            "special_tokens": self.special_tokens,
        }


@keras.saving.register_keras_serializable(package="xplique_craft")
class ConceptDecoding(keras.layers.Layer):
    """
    Concept coefficients (n, ..., k) -> activations U W + C, (n, ..., c).

    Parameters
    ----------
    bank
        W, (k, c).
    constant
        C: (c,) for all images, (1, ..., c) of one image, whose coefficients may come in any number,
        or (n, ..., c), one for each image of a batch of exactly n.
    special
        (s, c): what stands at the first tokens, which belong to no place, whatever their
        coefficients; None where there are none, or where C holds them.
    """

    def __init__(self, bank: Any, constant: Any, special: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trainable = False
        self.bank, self.constant = _unpack(bank), _unpack(constant)
        self.special = None if special is None else _unpack(special)

    def call(self, u: tf.Tensor) -> tf.Tensor:
        """Decode."""
        if self.constant.ndim > 1 and len(self.constant) > 1:
            u = tf.ensure_shape(u, [len(self.constant), *u.shape[1:]])
        found = tf.tensordot(u, tf.cast(self.bank, u.dtype), 1) + tf.cast(self.constant, u.dtype)
        if self.special is None:
            return found
        return with_special(tf.cast(self.special, u.dtype), found)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(n, ..., c)."""
        return (*input_shape[:-1], self.bank.shape[1])

    def get_config(self) -> dict[str, Any]:
        """Bank and constants are part of it."""
        packed = {
            "bank": _pack(self.bank),
            "constant": _pack(self.constant),
            "special": None if self.special is None else _pack(self.special),
        }
        return {**super().get_config(), **packed}


class KerasModels:
    """
    The Keras models of a concept bank, each made once: others cache what they compile by its
    identity. `of` gives those of a concept model.

    Parameters
    ----------
    split
        The model and where it is cut; the models share its layers.
    factorized
        The bank with its encoding.
    special
        (s, c): mean activations of the first tokens, which belong to no place; (0, c) or (0, 0)
        without any.
    """

    def __init__(self, split: Split, factorized: Factorized, special: np.ndarray) -> None:
        self._split = split
        self._factorized = factorized
        self._special = special

    @classmethod
    def of(cls, concept_model: ConceptModel) -> "KerasModels":
        """Those of a concept model, the same ones for as long as its concepts are the same."""
        split, factorized = concept_model.split, concept_model.factorized
        # The models hold the split, so its id stays its own.
        special = concept_model.special
        return concept_model.concepts.once(
            (cls, id(split)), lambda: cls(split, factorized, special)
        )

    @cached_property
    def position_encoder(self) -> keras.Model:
        """Images (n, H, W, channels) -> coefficients at every position, (n, ..., k)."""
        latent = self._split.input_to_latent
        encoding = ConceptEncoding(
            self._factorized.factorizer,
            self._factorized.bank,
            self._factorized.offset,
            self._factorized.scale,
            len(self._special),
            name="concept_coefficients",
            dtype="float32",
        )
        u = call_unnoticed(encoding, latent.outputs[0])
        return keras.Model(latent.inputs[0], u, name="concept_position_encoder")

    @cached_property
    def encoder(self) -> keras.Model:
        """Images (n, H, W, channels) -> coefficients (n, k), the mean over places."""
        coded = self.position_encoder
        u = coded.outputs[0]
        if len(self._special):
            u = keras.layers.Cropping1D((len(self._special), 0), name="concept_places")(u)
        pooling = {
            3: keras.layers.GlobalAveragePooling1D,
            4: keras.layers.GlobalAveragePooling2D,
        }.get(len(u.shape), keras.layers.Identity)
        scores = pooling(name="concept_scores", dtype="float32")(u)
        return keras.Model(coded.inputs[0], scores, name="concepts")

    @cached_property
    def decoder(self) -> keras.Model:
        """Coefficients (n, ..., k) -> logits h(U W + offset), (n, classes)."""
        return self.decoder_with(self._factorized.offset, self._special)

    def decoder_with(self, constant: np.ndarray, special: np.ndarray | None = None) -> keras.Model:
        """Coefficients (n, ..., k) -> logits h(U W + C), see `ConceptDecoding` for C."""
        head = self._split.latent_to_logit
        bank = self._factorized.bank
        u = keras.Input((*head.input_shape[1:-1], len(bank)), name="coefficients")
        if special is not None and len(special) == 0:
            special = None
        decoding = ConceptDecoding(
            bank, constant, special, name="concept_activations", dtype="float32"
        )
        return join_models(keras.Model(u, decoding(u)), head).model


def bound_decoder(concept_model: ConceptModel, inputs: Any) -> keras.Model:
    """A decoder with the residuals of given images, h(U W + E): see `Craft.bound_decoder`."""
    kept = concept_model.variant(keep_residual=True, baseline="zero")
    batches = kept.batches(inputs, description="residuals")
    residuals = np.concatenate([coded.constant.numpy() for coded in batches])
    return KerasModels.of(concept_model).decoder_with(residuals)
