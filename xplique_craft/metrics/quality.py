"""
Quality: three numbers that say whether the concepts explain the user's model.

agreement             share of images with argmax h(UW) = argmax h(A)
reconstruction share  sum(h(UW) - h(0)) / sum(h(A) - h(0)) of the class score
explained share       sum(f_x(1) - f_x(0)) / sum(score - h(0)), residual kept

The first has a floor that can be high: without any concept, h(0) may be predicted as the class too.
Of concepts around a mean, as those of `SignedNMF`, h(0) is the score of the mean of the class's own
activations, which often knows the class, and shares are of the score above it.

Ratios of sums over images, not means of ratios. None depends on whether the residual is kept.

At layers with special tokens, which are no part of concepts, all of them are measured with these
tokens at their mean, or as they are where the concept model keeps them: `Quality.special_tokens`
says which. Both A and U W have them so, and what the score is counted from has too; only the
prediction that is to be agreed with is the model's own.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from .._checks import warn
from .._intervals import SMALLEST_DENOMINATOR, UNKNOWN, bootstrap_ratio, proportion
from ..concept_model import ConceptModel
from ..results import Quality


def measure_quality(concept_model: ConceptModel, inputs: Any, targets: Any = None) -> Quality:
    """
    The three numbers with their intervals, and the relative error, sparsity and KKT residual.

    Parameters
    ----------
    concept_model
        With concepts, as a fitted `Craft`. Its own choice of residual and baseline does not matter;
        that of special tokens does, and where it leaves that to the residual they are at their
        mean.
    inputs, targets
        The images, and which score the shares are of, see `Craft.quality`.

    Returns
    -------
    quality
        A share is NaN, with a warning, where the mean of its denominator, score - h(0), is below
        1e-3 of the mean |score|; so is the agreement of a model of one output, whose argmax is
        always the same.
    """
    kept = bool(concept_model.keep_special_tokens)
    model = concept_model.variant(keep_residual=True, baseline="zero", keep_special_tokens=kept)
    head, factorized = model.head(), model.factorized
    rows = []
    error = norm = zeros = size = kkt = 0.0
    for coded in model.batches(inputs, targets, description="quality"):
        rebuilt = coded.with_special(factorized.decode(coded.u))
        gated = coded.with_special(coded.activations)  # what is rebuilt
        original = model.network.logits(coded.activations).numpy()
        same = model.network.logits(rebuilt).numpy().argmax(1) == original.argmax(1)
        stays = model.network.logits(coded.empty).numpy().argmax(1) == original.argmax(1)
        base = head.baseline(coded).astype(np.float64)
        score = head.scores(gated, coded.targets).astype(np.float64)
        above = head.scores(rebuilt, coded.targets) - base
        explained = score - head.scores(coded.constant, coded.targets)
        rows.append(np.stack([same, stays, above, explained, score - base, score]))
        places = coded.at_places(coded.activations)
        error += float(tf.reduce_sum(tf.square(places - coded.at_places(rebuilt))))
        norm += float(tf.reduce_sum(tf.square(places)))
        u = coded.at_places(coded.u)
        zeros += float(tf.reduce_sum(tf.cast(u == 0, tf.float32)))
        size += float(tf.size(u))
        kkt = float(np.maximum(kkt, np.max(coded.kkt)))  # NaN stays
    same, stays, above, explained, full, score = np.concatenate(rows, axis=1)
    decides = model.network.number_of_classes > 1
    if not decides:
        warn(
            "The model has one output, so nothing says what it decides: the agreement is not "
            "defined and is NaN."
        )
    scale = np.abs(score).mean()
    if abs(full.mean()) <= SMALLEST_DENOMINATOR * scale:
        warn(
            f"The mean of score - h(0) is {full.mean():.3g}, below 1e-3 of the mean |score|, "
            f"{scale:.3g}: shares of it are not defined and are NaN."
        )
        full = np.zeros(len(full))  # of which no share is defined
    return Quality(
        agreement=proportion(same) if decides else UNKNOWN,
        reconstruction_share=bootstrap_ratio(above, full, model.seed),
        explained_share=bootstrap_ratio(explained, full, model.seed),
        relative_error=float(np.sqrt(error / norm)) if norm > 0.0 else float("nan"),
        sparsity=zeros / size,
        kkt_residual=kkt,
        number_of_images=len(same),
        special_tokens=("kept" if kept else "mean") if len(model.special) else None,
        agreement_without_concepts=proportion(stays) if decides else UNKNOWN,
    )
