"""
Fidelity over all outputs: how well the explanation alone predicts every logit.

That the winner stays says little of the other outputs. So the logits z of the model are compared
with those that the explanation predicts, y, on every output:

    EMD               half of sum_i |softmax(z)_i - softmax(y)_i|
    absolute error    mean_i |z_i - y_i|
    rank correlation  Spearman's, of the order of the outputs
    agreement         argmax z = argmax y

What predicts is, for `form="bank"`, the concepts through the head, y = h(U W) without residual, and
for `form="additive"` the surrogate of SURF (arXiv 2504.10833), linear in the mean coefficients:

    y_i = b_i + sum_k alpha_ik u_k(x),    alpha_ik = sum_r phi_ik(r) / sum_r u_k(r)

over reference images r, with phi_ik the contribution of concept k to output i, and b_i the mean
over them of h(0)_i and the residual's part. Both directions and optimum of each number are known,
and its floors are measured beside it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from .._checks import check, check_choice, check_indices, warn
from .._intervals import UNKNOWN, bootstrap_mean, proportion
from ..concept_model import ConceptModel, check_craft
from ..factorization.base import Factorized
from ..gates.coded import encode_batch
from ..results import Estimate, OutputFidelity, OutputScores
from .predictors import DRAWS, Predictor, by_bank, by_sum, check_models
from .ranks_and_areas import rank_correlation

FORMS = ("bank", "additive")
RANGE = np.array([[[0.0], [0.0], [-1.0], [0.0]], [[1.0], [np.inf], [1.0], [1.0]]])
LARGEST_GAP = 0.05  # of what the concepts add: above, contributions are warned of


def output_fidelity(
    concepts: ConceptModel | Sequence[ConceptModel],
    inputs: Any,
    form: str = "bank",
    *,
    outputs: Any = None,
    reference: Any = None,
    seed: int = 0,
) -> OutputFidelity:
    """
    How well the explanation alone predicts every output of the model.

    Two floors are measured on the same images, each the mean of three draws. *Random concepts* are
    banks of random directions of the same norms, encoded like the concepts and given contributions
    of their own: what any bank of that size would reach. *Random importances* keep the concepts and
    their coefficients, and draw at random what each of them does: what knowing the concepts, but
    not their effects, would reach. For `form="additive"` the mean contributions of all concepts to
    all outputs are permuted together, and each is divided by the mean coefficient of the concept
    that it went to; b stays. For `form="bank"` the directions of the rows of W are permuted, each
    row keeping its norm. So neither depends on the scale in which rows are written. A permutation
    is any, drawn evenly: it may leave some as they were, as guessing would. One concept alone acts
    as itself, and its random importances say nothing.

    Parameters
    ----------
    concepts
        A fitted `Craft` or any other concepts; or a list of those of several classes, of one model
        and layer. For `form="bank"` the banks of a list are encoded together, as one. For
        `form="additive"` each output of a list is predicted by the concepts of its own class, as
        SURF does; to let all concepts of all classes predict every output, give `unite(list)`.
    inputs
        Images (n, H, W, channels) that are predicted, better held-out ones and of all classes that
        are compared: array, tensor, or tf.data.Dataset.
    form
        "bank" predicts by the concepts through the head, h(U W); "additive" by a sum over concepts
        of importance times mean coefficient, which a person can add up.
    outputs
        Indices of the outputs that are compared: softmax, ranks and the largest are those among
        them. None compares all outputs; for a list with `form="additive"`, the classes of the list.
    reference
        The images that importances of `form="additive"` are means over. None takes the images that
        each of the concept sets was found in, which is kept from what it is measured on.
    seed
        The draws of the floors, and of the intervals, follow from it.

    Returns
    -------
    fidelity
        EMD, mean absolute error, rank correlation and agreement with intervals, of the concepts and
        of both floors. The residual is dropped in the form "bank", where tokens that belong to no
        place stand as `keep_special_tokens` says; in the other it is part of b as far as the
        concepts' own setting keeps it. Contributions are of gates that lead to 0, also where the
        concepts' own `baseline` is "mean": what is above a mean adds up to nothing over images, and
        no importance could be divided by it.

    Raises
    ------
    TypeError, ValueError
        If concepts are of different models or layers, or, for the form
        "additive", several sets are of one class; if an output is none of
        the model's, or has no concept set; if coefficients are signed, so that contributions
        cannot be divided by their mean; if there are no reference images.

    Warns
    -----
    UserWarning
        If one output is compared, of which only the absolute error is defined, or if contributions
        miss more than 5% of what the concepts add.
    """
    form = check_choice("form", form, FORMS)
    seed = check("seed", seed)
    models = _checked_models(concepts)
    one_each = form == "additive" and not isinstance(concepts, ConceptModel)
    compared = _checked_outputs(outputs, models, one_each)
    inputs = models[0].stream(inputs)  # what is wrong with them is said before anything is computed
    if form == "bank":
        if reference is not None:
            raise ValueError(
                "reference must be None for form='bank', which has no importances to find in "
                "images. Leave it out, or take form='additive'."
            )
        predictors: list[Predictor] = [*by_bank(models, seed)]
        gap = None
    else:
        sums, gap = by_sum(models, compared, one_each, reference, seed)
        predictors = [*sums]
    found = _predicted(models[0], inputs, compared, predictors)
    if len(compared) == 1:
        warn(
            "One output is compared, so there are no shares, no order and nothing that is decided: "
            "EMD, rank correlation and agreement are not defined and are NaN."
        )
    if gap is not None and gap > LARGEST_GAP:
        warn(
            f"The contributions miss {gap:.0%} of what the concepts add to the outputs: the head "
            "bends or jumps too much between closed and open gates for so many points of the "
            "integral. Keep the residual (keep_residual=True) where that is not done already."
        )
    return OutputFidelity(
        own=summed_up(found[:, :1], len(compared), seed),
        random_importances=summed_up(found[:, 1 : 1 + DRAWS], len(compared), seed),
        random_concepts=summed_up(found[:, 1 + DRAWS :], len(compared), seed),
        form=form,
        number_of_images=len(found),
        number_of_outputs=len(compared),
        draws=DRAWS,
        gap=gap,
    )


def compare_outputs(logits: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """
    The four numbers of every image.

    Parameters
    ----------
    logits, predicted
        (n, s): what the model says of the compared outputs, and what is predicted.

    Returns
    -------
    numbers
        (n, 4): EMD, mean absolute error, rank correlation (0 where one of the two puts all outputs
        level), and whether the largest is the same, 1 or 0.
    """
    logits, predicted = np.asarray(logits, np.float64), np.asarray(predicted, np.float64)
    emd = 0.5 * np.abs(softmax(logits, axis=1) - softmax(predicted, axis=1)).sum(axis=1)
    error = np.abs(logits - predicted).mean(axis=1)
    order = rank_correlation(logits, predicted)
    same = logits.argmax(axis=1) == predicted.argmax(axis=1)
    return np.stack([emd, error, order, same], axis=1)


def _predicted(
    model: ConceptModel, inputs: Any, outputs: np.ndarray, predictors: Sequence[Predictor]
) -> np.ndarray:
    """(n, p, 4): the numbers of every image and predictor; each bank encodes an image once."""
    network, own = model.network, predictors[0].encodings[0]
    rows = []
    for coded in model.variant(factorized=own).batches(inputs, description="outputs"):
        known = {id(own): coded.u}

        def encoded(
            bank: Factorized, activations: Any = coded.activations, known: dict[int, Any] = known
        ) -> Any:
            if id(bank) not in known:
                known[id(bank)] = encode_batch(activations, bank, len(model.special))[0]
            return known[id(bank)]

        truth = network.logits(coded.activations).numpy()[:, outputs]
        found = [
            one.predict(coded, network, [*map(encoded, one.encodings)], outputs)
            for one in predictors
        ]
        numbers = [compare_outputs(truth, one) for one in found]
        rows.append(np.stack(numbers, axis=1))
    return np.concatenate(rows)


def summed_up(numbers: np.ndarray, outputs: int, seed: int) -> OutputScores:
    """Means over images, and draws, of numbers (n, draws, 4), with their intervals."""
    each = numbers.mean(axis=1)
    ends = np.clip(bootstrap_mean(each, seed), *RANGE)  # which are stretched, see there
    emd, error, order, same = (
        Estimate(float(value), float(low), float(high))
        for value, (low, high) in zip(each.mean(axis=0), ends, strict=True)
    )
    if outputs == 1:
        return OutputScores(UNKNOWN, error, UNKNOWN, UNKNOWN)
    if numbers.shape[1] == 1:  # of several draws it is no proportion
        same = proportion(numbers[:, 0, 3] > 0.5)
    return OutputScores(emd, error, order, same)


# ------------------------------------------------------------------------------------------ checks
def _checked_models(concepts: Any) -> list[ConceptModel]:
    if isinstance(concepts, ConceptModel):
        return [check_craft(concepts, "concepts")]
    return check_models("concepts", concepts)


def _checked_outputs(outputs: Any, models: list[ConceptModel], one_each: bool) -> np.ndarray:
    """(s,): the outputs that are compared."""
    classes, known = models[0].network.number_of_classes, [model.class_id for model in models]
    if one_each and len(set(known)) < len(known):
        raise ValueError(
            f"concepts must be of different classes for form='additive', where each output has one "
            f"concept set, received sets of the classes {known}. Leave one of them out, or give "
            "xplique_craft.unite(concepts)."
        )
    if outputs is None:
        return np.array(known) if one_each else np.arange(classes)
    found = check_indices("outputs", outputs)
    if not len(found) or len(np.unique(found)) < len(found) or found.max() >= classes:
        raise ValueError(
            f"outputs must be different indices below the number of the model's outputs, {classes},"
            f" at least one, received {found.tolist()[:20]}."
        )
    missing = sorted(set(found.tolist()) - set(known)) if one_each else []
    if missing:
        raise ValueError(
            f"outputs must each have a concept set where form='additive' is given a list, and "
            f"{missing[:20]} have none: the sets are of the classes {known}. Leave them out, or "
            "give xplique_craft.unite(concepts), whose concepts predict every output."
        )
    return found
