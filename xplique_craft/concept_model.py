"""
A split model with a concept bank: the state that every question reads.

What one asks of concepts (contributions, importance, quality, maps, ...) are stages of their own,
which read a `ConceptModel` through `batches`, the images in terms of concepts, and `head`, the
score of gated concepts. How a bank is found is the business of `extraction`.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import NotFittedError

from ._checks import check, check_array, check_choice, check_is
from ._once import once
from .factorization.base import Factorized
from .gates import Coded, GatedHead
from .gates.coded import encode_batch, with_special
from .sampling import Crops, Stream
from .sampling.extent import Extent
from .sampling.settings import ExtractionSettings
from .sampling.stream import concatenate_known
from .splitting import Split
from .splitting.network import Network
from .targets import Targets

BASELINES = ("zero", "mean")


@dataclass(frozen=True)
class Concepts:
    """
    What a fit leaves behind.

    Parameters
    ----------
    factorized
        The bank with its encoding and decoding.
    class_id
        The class that the concepts are of.
    inputs
        The images that they were found in.
    extent
        How large coefficients get in these images, and what they are on average.
    crops
        The crops that the bank was fitted on, then those that only show a concept well; None where
        it was found elsewhere.
    crops_u
        (m, k): coefficients of the crops, by pooled activations or by place (see
        `Factorizer.crops_by_place`); None as above.
    settings
        How the bank was looked for; None as above.
    """

    factorized: Factorized
    class_id: int
    inputs: Any
    extent: Extent
    crops: Crops | None = None
    crops_u: np.ndarray | None = None
    settings: ExtractionSettings | None = None
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made of these concepts under this key, or is made now; gone with a new fit."""
        return once(self._made, key, make)

    def keep(self, key: Any, value: Any) -> None:
        """Keep what was found of these concepts; it is gone with a new fit."""
        self._made[key] = value

    def known(self, key: Any) -> Any:
        """What is kept under this key; None where nothing is."""
        return self._made.get(key)


def no_images(_: Any = None) -> NoReturn:
    """Raise that images of `fit` are needed, of a craft that was loaded without them."""
    raise ValueError(
        "The images of `fit` are needed for this (crops are parts of them), and they were not "
        "saved with this Craft: give them when it is loaded, Craft.load(path, model, inputs=...)."
    )


class ConceptModel:
    """
    A split model whose concepts are, or will be, known.

    Parameters
    ----------
    split
        The model and where it is cut.
    concepts
        The concepts; None until they are found.
    batch_size
        How many images, or images times gates, are run at a time; it bounds the memory.
    keep_residual
        True keeps the residual, what the concepts do not explain, in place when gates close, so
        that what is explained is the model itself; False takes it away, as the paper does.
    baseline
        What gates lead towards when they close: "zero", no activation, or "mean", the mean
        activation of the images that the concepts were found in.
    seed
        Everything random follows from it.
    verbose
        True shows a progress bar for long work.
    keep_special_tokens
        What gates leave of tokens that belong to no place, as a class token, which are never part
        of a concept: True leaves them as they are, False puts their mean over the images that the
        concepts were found in there; None does as `keep_residual` does.

    Raises
    ------
    TypeError, ValueError
        If a number is none or out of range, or there is no such baseline.
    """

    def __init__(
        self,
        split: Split,
        concepts: Concepts | None = None,
        *,
        batch_size: int = 64,
        keep_residual: bool = True,
        baseline: str = "zero",
        seed: int = 0,
        verbose: bool = False,
        keep_special_tokens: bool | None = None,
    ) -> None:
        self.split = split
        self.network: Network = split.network  # now, so that what is wrong with it is said now
        self.batch_size = check("batch_size", batch_size)
        self.keep_residual = check("keep_residual", keep_residual)
        self.baseline: str = check_choice("baseline", baseline, BASELINES)
        self.seed = check("seed", seed)
        self.verbose = check("verbose", verbose)
        if keep_special_tokens is not None:
            keep_special_tokens = check("keep_special_tokens", keep_special_tokens)
        self.keep_special_tokens = keep_special_tokens
        self._concepts = concepts

    def variant(
        self,
        *,
        split: Split | None = None,
        factorized: Factorized | None = None,
        batch_size: int | None = None,
        keep_residual: bool | None = None,
        baseline: str | None = None,
        keep_special_tokens: bool | None = None,
    ) -> ConceptModel:
        """The same concepts on another model, with another bank or settings; None keeps each."""
        concepts = self.concepts
        if split is not None:
            check_is("split", split, Split, "what split_model returns, or None")
        if factorized is not None:
            check_is("factorized", factorized, Factorized, "what a factorizer fits, or None")
        return ConceptModel(
            self.split if split is None else split,
            concepts if factorized is None else replace(concepts, factorized=factorized),
            batch_size=self.batch_size if batch_size is None else batch_size,
            keep_residual=self.keep_residual if keep_residual is None else keep_residual,
            baseline=self.baseline if baseline is None else baseline,
            seed=self.seed,
            verbose=self.verbose,
            keep_special_tokens=(
                self.keep_special_tokens if keep_special_tokens is None else keep_special_tokens
            ),
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Pickle and copy.deepcopy come here: a model's compiled functions cannot be pickled."""
        raise TypeError(
            f"A {type(self).__name__} cannot be pickled or copied deeply, for it holds a compiled "
            "model. Save a Craft with craft.save(path), and load it with "
            "xplique_craft.Craft.load(path, model); copy.copy(craft) shares its model."
        )

    def __copy__(self) -> ConceptModel:
        """The same model and concepts, with settings of its own."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    # --------------------------------------------------------------- the model
    @property
    def model(self) -> keras.Model:
        """The flat graph from images to logits."""
        return self.split.model

    @property
    def layer(self) -> str:
        """Name of the layer at which the model is cut."""
        return self.split.layer

    @property
    def input_to_latent_model(self) -> keras.Model:
        """g."""
        return self.split.input_to_latent

    @property
    def latent_to_logit_model(self) -> keras.Model:
        """h."""
        return self.split.latent_to_logit

    # ------------------------------------------------------------ the concepts
    def check_if_fitted(self) -> None:
        """Raise scikit-learn's NotFittedError if there are no concepts yet."""
        _ = self.concepts

    @property
    def concepts(self) -> Concepts:
        """What the fit left behind; NotFittedError before it."""
        if self._concepts is None:
            raise NotFittedError("This Craft is not fitted: call fit(inputs, class_id) first.")
        return self._concepts

    @property
    def class_id(self) -> int:
        """The class that was given to `fit`."""
        return self.concepts.class_id

    @property
    def inputs_of_fit(self) -> Any:
        """The images of `fit`; a ValueError where a craft was loaded without them."""
        return no_images() if self.concepts.inputs is None else self.concepts.inputs

    @property
    def factorized(self) -> Factorized:
        """The bank with its encoding and decoding."""
        return self.concepts.factorized

    @property
    def bank(self) -> np.ndarray:
        """W, (k, c)."""
        return self.factorized.bank

    @property
    def coefficient_scale(self) -> np.ndarray:
        """(k,): largest magnitude of each coefficient at any place of the images of `fit`."""
        return self.concepts.extent.largest

    @property
    def reference(self) -> np.ndarray | None:
        """
        (k,): coefficients that gates lead towards when they close, the mean of the images of `fit`
        where `baseline` is "mean"; None for 0.
        """
        return self.concepts.extent.mean if self.baseline == "mean" else None

    @property
    def special(self) -> np.ndarray:
        """
        (s, c): mean activations of the layer's s first tokens, which belong to no place of the
        image and have no coefficients; s is 0 where all of the layer has places.
        """
        return self.concepts.extent.special

    @property
    def keeps_special_tokens(self) -> bool:
        """Whether gates leave special tokens as they are; else their mean stands there."""
        kept = self.keep_special_tokens
        return self.keep_residual if kept is None else kept

    # --------------------------------------------------- what every stage reads
    def stream(self, inputs: Any) -> Stream:
        """Images in batches, from an array, a tensor or a tf.data.Dataset; a stream as it is."""
        if isinstance(inputs, Stream):
            return inputs
        return Stream(inputs, self.network.input_shape, self.batch_size)

    def batches(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        use_labels: bool = False,
        description: str = "encode",
    ) -> Iterator[Coded]:
        """
        The images in terms of concepts, batch by batch.

        Parameters
        ----------
        inputs
            Images, as `stream` takes them.
        targets
            What their scores are, see `targets.Targets`; None for the class of the concepts.
        use_labels
            Whether a dataset's labels are its targets where none are given.
        description
            What the progress bar calls it.
        """
        stream, factorized, network = self.stream(inputs), self.factorized, self.network
        reference = self.reference
        weights = Targets(
            targets,
            stream.length,
            network.number_of_classes,
            self.class_id,
            use_labels=use_labels,
        )
        seen = 0
        for batch in stream.progress(description, self.verbose):
            start, seen = seen, seen + len(batch.images)
            yield Coded.of(
                batch,
                weights.batch(start, len(batch.images), batch.targets),
                batch.latents(network),
                factorized,
                reference=reference,
                keep_residual=self.keep_residual,
                special=self.special,
                keep_special=self.keeps_special_tokens,
            )
        weights.check_number(seen)

    def head(self, operator: Callable[..., Any] | str | None = None) -> GatedHead:
        """The score of gated concepts, f_x(m); `operator` is Xplique's."""
        return GatedHead(self.network, operator, self.batch_size)

    # ------------------------------------------------------- encode and decode
    def transform(self, inputs: Any, activations: Any = None) -> np.ndarray:
        """
        Concept coefficients of images, exactly, at every position.

        Parameters
        ----------
        inputs
            Images, as in `fit`; ignored where activations are given.
        activations
            A, (n, h, w, c), (n, t, c) or (n, c): the model need not run again.

        Returns
        -------
        u
            U, (n, h, w, k), (n, t, k) or (n, k) float32; 0 at tokens that belong to no place.
        """
        factorized = self.factorized
        if activations is not None:
            activations = check_array("activations", activations, "n, ..., c", empty=True)
            number: int | None = len(activations)
            starts = range(0, max(1, len(activations)), self.batch_size)
            batches = (activations[i : i + self.batch_size] for i in starts)
        else:
            stream = self.stream(inputs)
            number = stream.length
            batches = (
                batch.latents(self.network) for batch in stream.progress("encode", self.verbose)
            )
        special = len(self.special)
        parts = (
            encode_batch(tf.cast(batch, tf.float32), factorized, special)[0].numpy()
            for batch in batches
        )
        return concatenate_known(parts, number)

    def inverse_transform(self, u: Any) -> np.ndarray:
        """
        Activations U W, (n, ..., c), of coefficients (n, ..., k).

        Tokens that belong to no place are at their mean.

        Raises
        ------
        ValueError
            If the last axis is not the concepts'.
        """
        found = self.factorized.decode(check_array("u", u, "n, ..., k", empty=True))
        return with_special(self.special, found).numpy()


def check_craft(craft: Any, name: str = "craft") -> ConceptModel:
    """
    `craft`, if it is a fitted one.

    Raises
    ------
    TypeError
        If it is something else.
    NotFittedError
        If there are no concepts yet.
    """
    check_is(name, craft, ConceptModel, "a fitted Craft")
    craft.check_if_fitted()
    return craft
