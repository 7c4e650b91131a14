"""
Concepts that Xplique's own CraftTf or HolisticCraftTf has found, for everything that is asked here.

    concepts = from_craft_tf(craft_tf)                     after craft_tf.fit(...)
    concepts = from_holistic(holistic_craft_tf, layer)     after holistic_craft_tf.fit(...)

Importance, attributions and metrics then take them as they take a `Craft`: for users who have such
concepts already, and for fair comparisons. Their bank stays as it is, and so does the way in which
Xplique encodes images with it, unless the exact encoding is asked for.
"""

from __future__ import annotations

from . import _backend as _backend

# isort: split
from collections.abc import Callable
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from sklearn.decomposition import NMF as SklearnNMF
from xplique.concepts import CraftTf
from xplique.concepts.tf.holistic_craft import HolisticCraftTf

from ._checks import check, check_choice, check_is
from .concept_model import Concepts
from .factorization import NMF, Factorized, Factorizer, SemiNMF, XpliqueFactorizer
from .factorization.nnls import kkt_residual
from .questions import AnsweringModel
from .sampling import Stream
from .sampling.extent import Extent, measure_extent
from .splitting import Split, join_models, split_model
from .targets import check_class_id

ENCODINGS = ("own", "exact")
SAME = 1e-3  # of the largest activation: how far two cuts of one model may be apart


class XpliqueEncoding(Factorizer):
    """
    A bank that Xplique found, encoded as Xplique encodes: neither exactly nor differentiably.

    Parameters
    ----------
    encode_rows
        Rows (n, c) -> coefficients (n, k).
    requires_non_negative
        Whether rows must be >= 0.
    description
        What its coefficients are called.
    """

    name = "xplique"
    differentiable = False
    of_one_bank = True

    def __init__(
        self,
        encode_rows: Callable[[np.ndarray], Any],
        requires_non_negative: bool,
        description: str,
    ) -> None:
        self._encode_rows = encode_rows
        self.requires_non_negative = requires_non_negative  # type: ignore[misc]
        self.description = description

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.description!r})"

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> NoReturn:
        raise TypeError(
            f"{self!r} encodes with a bank that Xplique has found, and finds none itself: take a "
            "factorizer of xplique_craft.factorization."
        )

    def encode(
        self, activations: tf.Tensor | np.ndarray, bank: Any, offset: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Xplique's coefficients (..., k), and how far from exact they are (...)."""
        activations = tf.convert_to_tensor(activations)
        if tf.is_symbolic_tensor(activations):
            raise NotImplementedError(
                "Xplique's own encoding cannot run inside a Keras model or a compiled function: "
                "adapt the concepts with encoding='exact'."
            )
        rows = tf.reshape(activations, [-1, activations.shape[-1]]).numpy()
        found = np.asarray(self._encode_rows(rows)).astype(np.float32)
        u = tf.reshape(found, [*activations.shape[:-1], len(bank)])
        whole = np.asarray(bank, np.float64)
        products = tf.constant(rows.astype(np.float64) @ whole.T)
        residual = kkt_residual(tf.cast(found, tf.float64), tf.constant(whole @ whole.T), products)
        return u, tf.reshape(tf.cast(residual, tf.float32), activations.shape[:-1])


def from_craft_tf(
    craft: CraftTf,
    *,
    split: Split | None = None,
    encoding: str = "own",
    keep_residual: bool = False,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
) -> AnsweringModel:
    """
    The concepts of a fitted `xplique.concepts.CraftTf`.

    Parameters
    ----------
    craft
        The CraftTf, after its `fit`.
    split
        What `split_model` gave, where the two models of `craft` are its `input_to_latent` and its
        `latent_to_logit`: concepts of one split share its compiled functions, and can be united.
        None joins the two models anew.
    encoding
        "own" encodes images as CraftTf does (scikit-learn's iterations, with its hidden penalty);
        "exact" solves the non-negative least squares problem, so that maps can be differentiated.
    keep_residual
        Whether scores keep what the concepts do not explain; False, as CraftTf's, which explains
        h(U W).
    batch_size, seed, verbose
        They do what they do in `Craft`.

    Returns
    -------
    concepts
        Everything that a fitted `Craft` answers but for `decompose`, `grow`, `save`, and what goes
        back to how concepts were found, which raises: `stability`, `purity`, `sanity_check`.

    Raises
    ------
    TypeError
        If `craft` is no CraftTf.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If `split` is of another model or layer, or there is no such encoding.
    """
    check_is("craft", craft, CraftTf, "a fitted xplique.concepts.CraftTf")
    craft.check_if_fitted()
    encoding = check_choice("encoding", encoding, ENCODINGS)
    batch_size, verbose = check("batch_size", batch_size), check("verbose", verbose)
    found = craft.factorization
    if split is None:
        split = join_models(craft.input_to_latent_model, craft.latent_to_logit_model)
    else:
        check_is("split", split, Split, "what split_model returns, or None")
        _check_same(split, craft.input_to_latent_model, craft.latent_to_logit_model, "craft")
    bank = np.asarray(found.concept_bank_w, np.float32)
    reducer = found.reducer

    def own(rows: np.ndarray) -> Any:
        return reducer.transform(rows.astype(reducer.components_.dtype))

    theirs: Factorizer = NMF()
    if encoding == "own":
        theirs = XpliqueEncoding(own, isinstance(reducer, SklearnNMF), "CraftTf's coefficients")
    factorized, network = _given(theirs, bank), split.network
    stream = Stream(found.inputs, network.input_shape, batch_size)
    concepts = Concepts(
        factorized=factorized,
        class_id=check_class_id(found.class_id, network.number_of_classes, "craft.class_id"),
        inputs=found.inputs,
        extent=measure_extent(stream, network, factorized, verbose),
    )
    return AnsweringModel(
        split,
        concepts,
        batch_size=batch_size,
        keep_residual=keep_residual,
        seed=seed,
        verbose=verbose,
    )


def from_holistic(
    craft: HolisticCraftTf,
    layer: str | int | keras.layers.Layer | Split,
    *,
    inputs: Any = None,
    encoding: str = "own",
    keep_residual: bool = False,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = False,
) -> AnsweringModel:
    """
    The concepts of a fitted `HolisticCraftTf` of a classifier.

    Parameters
    ----------
    craft
        The HolisticCraftTf, after its `fit`.
    layer
        Where its latent extractor cuts the model, as for `split_model`, or what that returned:
        HolisticCraftTf does not keep it. It is checked on one image.
    inputs
        The images that it was fitted on, which HolisticCraftTf does not keep either; questions that
        go back to them (`estimate_importance()` without images) need them.
    encoding
        "own" encodes images as its factorizer does; "exact" solves the non-negative least squares
        problem. Concepts of a `XpliqueFactorizer` are encoded as ours in any case.
    keep_residual
        Whether scores keep what the concepts do not explain; False, as HolisticCraftTf's.
    batch_size, seed, verbose
        They do what they do in `Craft`.

    Returns
    -------
    concepts
        As of `from_craft_tf`.

    Raises
    ------
    TypeError
        If `craft` is no HolisticCraftTf, or its model is no Keras model.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If it was cut at another layer, or there is no such encoding.
    """
    check_is("craft", craft, HolisticCraftTf, "a fitted HolisticCraftTf of Xplique")
    craft.check_if_fitted()
    encoding = check_choice("encoding", encoding, ENCODINGS)
    extractor, found = craft.latent_extractor, craft.factorization
    if isinstance(layer, Split):
        split = layer
    else:
        check_is("craft.latent_extractor.model", extractor.model, keras.Model, "a Keras model")
        split = split_model(extractor.model, layer)

    def to_latent(images: tf.Tensor) -> Any:
        return extractor.input_to_latent(images).get_activations(as_numpy=True)

    _check_same(split, to_latent, None, "layer")
    concepts = Concepts(
        factorized=_of_their_factorizer(craft.factorizer, found.concept_bank_w, encoding),
        class_id=check_class_id(found.class_id, split.network.number_of_classes, "craft.class_id"),
        inputs=inputs,
        extent=_extent_of(np.asarray(found.coeffs_u)),
    )
    return AnsweringModel(
        split,
        concepts,
        batch_size=batch_size,
        keep_residual=keep_residual,
        seed=seed,
        verbose=verbose,
    )


def _of_their_factorizer(theirs: Any, bank: Any, encoding: str) -> Factorized:
    """The bank with the encoding of the factorizer that found it, or the exact one."""
    if isinstance(theirs, XpliqueFactorizer):
        return theirs.factorized
    positive = bool(theirs.requires_positive_activations)
    if encoding == "exact":
        return _given(NMF() if positive else SemiNMF(), np.asarray(bank))
    own = XpliqueEncoding(theirs.encode, positive, f"{type(theirs).__name__}'s coefficients")
    return _given(own, np.asarray(bank))


def _given(factorizer: Factorizer, bank: np.ndarray) -> Factorized:
    """A bank that was found elsewhere: nothing is known of how."""
    return Factorized(
        factorizer=factorizer,
        bank=np.ascontiguousarray(bank, np.float32),
        offset=np.zeros(bank.shape[1], np.float32),
        converged=True,
        iterations=0,
        relative_error=float("nan"),
    )


def _extent_of(u: np.ndarray) -> Extent:
    """How large coefficients (..., k) are where the bank was found."""
    rows = u.reshape(-1, u.shape[-1])
    return Extent(np.abs(rows).max(axis=0).astype(np.float32), rows.mean(axis=0, dtype=np.float32))


def _check_same(split: Split, to_latent: Any, to_logit: Any, name: str) -> None:
    """Raise a ValueError unless one image has the same activations, and logits, by both."""
    shape = [side or 32 for side in split.network.input_shape]
    image = tf.constant(np.random.default_rng(0).random((1, *shape)), tf.float32)
    ours, theirs = split.network.latents(image).numpy(), np.asarray(to_latent(image))
    pairs = [(ours, theirs)]
    if to_logit is not None and ours.shape == theirs.shape:
        logits = split.network.logits(tf.constant(ours)).numpy()
        pairs.append((logits, np.asarray(to_logit(tf.constant(ours)))))
    for one, other in pairs:
        if one.shape != other.shape or not np.allclose(one, other, atol=SAME * np.abs(one).max()):
            raise ValueError(
                f"{name} and the split at layer {split.layer!r} must be the same model cut at the "
                f"same layer, and on one image they give activations of shapes {theirs.shape} and "
                f"{ours.shape} with other values. Give the layer, or the split, that the concepts "
                "were found at."
            )
