"""
Prevalence and reliability of concepts (Fel et al., A Holistic Approach, NeurIPS 2023).

Of images with a label, let j*(x) be the concept that contributes most to the score of the label.

    prevalence_j  = share of the images with j*(x) = j
    reliability_j = share of those that the model predicts right

A concept with a high prevalence is a strategy that the model uses often; one with a low reliability
is a strategy that fails.
"""

from typing import Any

import numpy as np

from .._checks import as_array, check_is, shown
from .._intervals import proportion
from ..concept_model import ConceptModel, check_craft
from ..importance import IntegratedGradientsImportance
from ..importance.base import ImportanceMethod
from ..results import Prevalence
from ..targets import ClassDifference


def measure_prevalence(
    craft: ConceptModel, inputs: Any, labels: Any = None, explainer: ImportanceMethod | None = None
) -> Prevalence:
    """
    How often each concept matters most, and how often the model is right where it does.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    inputs
        Images (n, H, W, channels), right and wrong ones: array, tensor, or tf.data.Dataset.
    labels
        What the images are: a class index, or (n,) of them; None for the class of the craft.
    explainer
        A signed importance method of the same craft; None for the contributions phi.

    Returns
    -------
    prevalence
        An image whose concepts all speak against its label counts for none of them.

    Raises
    ------
    ValueError
        If labels are no classes, or the explainer says nothing of for and against.
    """
    craft = check_craft(craft)
    if explainer is not None:
        check_is("explainer", explainer, ImportanceMethod, "an importance method, or None")
    if explainer is not None and not explainer.signed:
        raise ValueError(
            f"explainer must be a signed method, received {type(explainer).__name__}: the most "
            "important concept is the one that speaks for the label most. Leave it out for the "
            "contributions."
        )
    if explainer is not None and explainer.craft is not craft:
        raise ValueError("explainer must be of the same craft, received one of another.")
    if craft.network.number_of_classes == 1:
        raise ValueError("The model has one output, so nothing says whether it is right.")
    labels = craft.class_id if labels is None else labels
    if not isinstance(labels, ClassDifference):
        labels = as_array("labels", labels, "a class index or one for each image")
    if isinstance(labels, ClassDifference) or labels.ndim > 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be a class index or one for each image, received {shown(labels)}."
        )
    if explainer is None:
        explainer = IntegratedGradientsImportance(craft, batch_size=craft.batch_size)
    head = explainer._head()
    found, right = [], []
    for coded in explainer._batches(inputs, labels, "prevalence"):
        found.append(explainer._batch(coded, head, intervals=False).values)
        predicted = head.network.logits(coded.activations).numpy().argmax(axis=1)
        right.append(coded.targets[np.arange(len(predicted)), predicted] == 1.0)
    importances, correct = np.concatenate(found), np.concatenate(right)
    most = np.where(importances.max(axis=1) > 0.0, importances.argmax(axis=1), -1)
    concepts = range(importances.shape[1])
    return Prevalence(
        prevalence=[proportion(most == j) for j in concepts],
        reliability=[proportion(correct[most == j]) for j in concepts],
        most_important=most,
        correct=correct,
    )
