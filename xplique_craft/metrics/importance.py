"""
Does an importance name the concepts that the score depends on? Three metrics, as Xplique's.

    C-Deletion     area under f_x while gates close, the most important first; low is good
    C-Insertion    area under f_x while gates open, the most important first; high is good
    C-MuFidelity   Spearman correlation, over random sets S of concepts, of what S is worth,
                   f_x(1) - f_x(1 without S), with the sum of its importances; high is good

Areas are by trapezoids over the k + 1 points s / k, and normalised by a ratio of sums over images,
(area - f_x(0)) / (f_x(1) - f_x(0)): so 0 is the score without concepts, and 1 that with all of
them. (Other authors count C-Deletion the other way round.) Areas below 0 or above 1 are possible
where concepts speak against the target.

Importances are (n, k), an order for each image, or (k,), one order for all images. Each form has
its own random floor, optimum and worst: an order for each image fits images that one for all cannot
fit, and random orders average out over images only where each image has its own.

From Petsiuk et al. (RISE, 2018), Bhatt et al. (2020), Ghorbani et al. (ACE, 2019) and Fel et al.
(CRAFT, 2023; Holistic, 2023).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from xplique.metrics.base import ExplanationMetric

from .._checks import check, check_array, warn
from .._intervals import SMALLEST_DENOMINATOR, UNKNOWN, bootstrap_ratio
from .._once import cached_property
from ..concept_model import ConceptModel, check_craft
from ..gates.activated import activated_operator
from ..results import Estimate, Importance, ImportanceFidelity
from ..targets import Targets
from .orders import MOST_TIED, number_of_orders, tied_orders, weights_of_orders
from .ranks_and_areas import area
from .subset_scores import SubsetScores


def spread(draws: np.ndarray) -> Estimate:
    """The mean of draws (r,), and between which values 90% of them lie."""
    return Estimate(float(draws.mean()), *map(float, np.percentile(draws, [5.0, 95.0])))


class ConceptMetric(ExplanationMetric):
    """
    Base of the metrics of concept importances.

    Images are encoded once, when the first importances are evaluated; after that, other importances
    of the same images cost little. Of encoded images at most 256 MB are kept; where they need more,
    each evaluation encodes them again. Beside them a few numbers of each image stay: two scores,
    slopes (k) where the head is affine, and for MuFidelity what each set is worth (nb_samples).

    Parameters
    ----------
    concepts
        A fitted `Craft`, or any other concepts: children of a concept, adapted ones of Xplique.
    inputs
        The images that the importances are of, as `craft.fit` takes them; better not those of the
        fit. They are kept as they are given.
    targets
        Which score is meant, as for an importance method; None takes a dataset's labels, else the
        class of the concepts.
    batch_size
        How many images, or images times sets of concepts, are evaluated at once; it bounds the
        memory.
    operator
        Xplique's operator (model, inputs, targets) -> (n,), a Tasks or its string, called with the
        head h as the model; None for the sum of logits times targets.
    activation
        "softmax" or "sigmoid" is applied to the logits before the operator sees them, so that
        scores are probabilities; None leaves the raw scores, which add up.
    keep_residual
        True leaves what the concepts do not explain in place when they go, False takes it away;
        None does as the concepts' own setting says.
    seed
        Random orders and random sets of concepts follow from it.
    nb_random
        How many importances at random `summary` compares with.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If there are no concepts yet.
    """

    metric = ""
    better = 1

    def __init__(
        self,
        concepts: ConceptModel,
        inputs: Any,
        targets: Any = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        activation: str | None = None,
        *,
        keep_residual: bool | None = None,
        seed: int = 0,
        nb_random: int = 64,
    ) -> None:
        concepts = check_craft(concepts, "concepts")
        if keep_residual is None:
            keep_residual = concepts.keep_residual
        batch_size = check("batch_size", batch_size)
        self.concepts = concepts.variant(
            batch_size=batch_size, keep_residual=check("keep_residual", keep_residual)
        )
        self.operator = activated_operator(operator, activation)
        if self.operator is not None:
            self.concepts.head(self.operator).check()
        nothing = np.zeros((0, 1), np.float32)  # Xplique would hold all images as one array
        super().__init__(concepts.model, nothing, nothing, batch_size, operator, activation)
        self.inputs, self.targets = inputs, targets
        self.activation = activation
        self.keep_residual: bool = keep_residual
        self.seed = check("seed", seed)
        self.nb_random = check("nb_random", nb_random)
        # What is wrong with them is said now.
        self._stream = self.concepts.stream(inputs)  # of all passes: it knows another order
        number, classes = self._stream.length, concepts.network.number_of_classes
        Targets(targets, number, classes, concepts.class_id, use_labels=True)

    def summary(self, importances: Any) -> ImportanceFidelity:
        """
        The number with its interval, beside random importances, and the best and the worst ones.

        These are of the same form, one importance for all images or one for each.

        Parameters
        ----------
        importances
            (k,) for all images, or (n, k), one row for each image, as methods of
            `xplique_craft.importance` give them.

        Returns
        -------
        fidelity
            It states its direction.
        """
        raise NotImplementedError

    def _scores(self) -> SubsetScores:
        """The scores of the images, of which none was read yet."""
        return SubsetScores(
            self.concepts,
            self._stream,
            self.targets,
            self.operator,
            self.metric,
            self.seed,
            self.nb_random,
        )

    def _rows(self, importances: Any, number_of_images: int) -> np.ndarray:
        """Importances as (n, k), or (1, k) for all images."""
        if isinstance(importances, Importance):
            raise TypeError(
                "importances must be an array, received an Importance: give its per_image, (n, k), "
                "or its overall, (k,), one order for all images."
            )
        found = check_array("importances", importances)
        n, k = number_of_images, len(self.concepts.bank)
        if found.shape not in ((k,), (n, k)):
            raise ValueError(
                f"importances must have shape ({k},), one for each concept, or ({n}, {k}), a row "
                f"for each image too, received {found.shape}."
            )
        return found.astype(np.float64).reshape(-1, k)


class _ConceptCurves(ConceptMetric):
    """What Deletion and Insertion share: scores along an order of the concepts."""

    def evaluate(self, importances: Any) -> float:
        """
        The number of all images together.

        Parameters
        ----------
        importances
            (k,) for all images, or (n, k), one row for each image; larger ones come first, so what
            speaks against the target comes last only in importances that have signs. Equal ones
            count as the mean over the orders that they allow: over all of them where they are at
            most 24, else over 24 drawn ones, which leaves an error of drawing on heads that bend.

        Returns
        -------
        score
            The normalised area, which is below 0 or above 1 where concepts speak against the target
            and the score leaves the range between none of them and all; NaN, with a warning, where
            the concepts raise the score of the images by less than 1e-3 of the mean |score|.
        """
        return self._estimate(self._curves(importances)).value

    def detailed_evaluate(self, importances: Any) -> dict[int, float]:
        """
        The normalised curve.

        Parameters
        ----------
        importances
            The same as for `evaluate`.

        Returns
        -------
        scores
            How many concepts were taken out, or put in -> the score that is left of all images, 0
            without concepts and 1 with all of them. The area under it is what `evaluate` gives.
        """
        curve = self._ratio(self._curves(importances).sum(axis=0))
        self._tell()
        return dict(enumerate(curve.tolist()))

    def summary(self, importances: Any) -> ImportanceFidelity:
        """
        The number with its interval, beside random orders and, where they are known, the best and
        the worst order: of importances (k,) one order for all images, of (n, k) one for each.

        The best and the worst are known of affine heads, and for up to 12 concepts: the first call
        then evaluates all 2^k sets of concepts, once for all importances.

        Parameters
        ----------
        importances
            The same as for `evaluate`.

        Returns
        -------
        fidelity
            With the curves of all images.
        """
        curves = self._curves(importances)
        shared = np.ndim(importances) == 1
        beside = self._known.of_all if shared else self._known.of_each
        drawn = self._ratio(self._turned(beside.random))  # (draws, k + 1)
        ends: list[np.ndarray | None] = [None, None]
        if beside.lowest is not None and beside.highest is not None:
            ends = [self._ratio(self._turned(one)) for one in (beside.highest, beside.lowest)]
        best, worst = ends[:: self.better]
        return ImportanceFidelity(
            metric=self.metric,
            better=self.better,
            estimate=self._estimate(curves),
            random=spread(area(drawn)),
            optimum=None if best is None else float(area(best)),
            worst=None if worst is None else float(area(worst)),
            per_image=area(curves),
            curves=curves,
            random_curve=np.stack([drawn.mean(axis=0), *np.percentile(drawn, [5, 95], axis=0)]),
            optimum_curve=best,
            shared=shared,
        )

    @cached_property
    def _known(self) -> SubsetScores:
        return self._scores()

    def _curves(self, importances: Any) -> np.ndarray:
        """f_x (n, k + 1), float64, in the order of importances."""
        rows = self._rows(importances, self._known.number_of_images)
        allowed = number_of_orders(rows)
        number = int(min(allowed.max(), MOST_TIED))
        weights = weights_of_orders(allowed, number)

        def opening(indices: np.ndarray) -> np.ndarray:
            some = indices if len(rows) > 1 else np.zeros(1, int)
            orders = tied_orders(rows[some], self.seed, some, number)
            return orders if self.better > 0 else orders[..., ::-1]

        parts = list[np.ndarray]()
        seen = 0
        for curves in self._known.along(opening, number):
            some = weights[seen : seen + len(curves)] if len(rows) > 1 else weights
            parts.append((curves * some[..., None]).sum(axis=1))
            seen += len(curves)
        return self._turned(np.concatenate(parts))

    def _turned(self, curves: np.ndarray) -> np.ndarray:
        """Curves of concepts that open as curves of this metric."""
        return curves if self.better > 0 else curves[..., ::-1]

    @cached_property
    def _gained(self) -> float:
        """Sum of f_x(1) - f_x(0); NaN where it is too small to divide by, or turns directions."""
        scores = self._known
        gained = scores.opened - scores.closed
        scale = np.abs(scores.opened).mean()
        if gained.mean() <= SMALLEST_DENOMINATOR * scale:
            return float("nan")
        return float(gained.sum())

    def _ratio(self, summed: np.ndarray) -> np.ndarray:
        """Scores that were summed over the images, normalised."""
        return (summed - self._known.closed.sum()) / self._gained

    def _estimate(self, curves: np.ndarray) -> Estimate:
        self._tell()
        if np.isnan(self._gained):
            return UNKNOWN
        scores = self._known
        above = area(curves) - scores.closed
        return bootstrap_ratio(above, scores.opened - scores.closed, self.seed)

    def _tell(self) -> None:
        """Warn where the number is not defined."""
        if np.isnan(self._gained):
            scores = self._known
            warn(
                f"The concepts raise the score by {(scores.opened - scores.closed).mean():.3g} on "
                f"average, which is not above 1e-3 of the mean |score|, "
                f"{np.abs(scores.opened).mean():.3g}: {self.metric} is not defined and is NaN. "
                "Is it the right class, and do the concepts occur in these images?"
            )


class ConceptDeletion(_ConceptCurves):
    """
    C-Deletion: the score while concepts are taken out, the most important first. Low is good.

    It is near 0 where all that the concepts raise the score by goes with the first of them, near 1
    where nothing goes before the last, and outside where concepts speak against the target. Other
    authors give one minus that and call high good.

    Parameters: see `ConceptMetric`.
    """

    metric = "C-Deletion"
    better = -1


class ConceptInsertion(_ConceptCurves):
    """
    C-Insertion: the score while concepts are put in, the most important first. High is good.

    It is near 1 where the first of them brings all that the concepts raise the score by, near 0
    where nothing comes before the last, and outside where concepts speak against the target.

    Parameters: see `ConceptMetric`.
    """

    metric = "C-Insertion"
    better = 1
