"""
What all importance methods share: Xplique's interface, both intervals, several targets.

A method gives values for a batch of images, and, where it draws at random, what they would be
without each of several independent groups of draws. From these come both intervals, which are
reported apart: *estimation*, a t-interval of the jackknife over the groups; and *images*, a
bootstrap over images.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from .._checks import check_int
from .._intervals import LEVEL, bootstrap_mean
from ..explainer import ConceptExplainer
from ..gates.coded import Coded
from ..gates.contributions import concatenate_contributions, contributions
from ..gates.head import GatedHead
from ..results import Contributions, Importance
from ..sampling.stream import Stream
from ..targets import one_hot

if TYPE_CHECKING:
    from ..concept_model import ConceptModel

__all__ = ["METHODS", "ImportanceMethod", "Values", "jackknife_interval"]

METHODS: dict[str, type[ImportanceMethod]] = {}


@dataclass(frozen=True)
class Values:
    """
    Importances of a batch of images.

    Parameters
    ----------
    values
        (n, k).
    without
        (r, n, k): the same without each of r independent groups of draws; None where nothing is
        drawn, or the draws make no independent groups.
    exact
        Whether nothing was drawn or approximated.
    constant
        (n,): whether the score of an image does not depend on the concepts; None where its values
        are then, and only then, zeros.
    contributions
        Those of the same images, where the method has computed them; None where it has not.
    """

    values: np.ndarray
    without: np.ndarray | None = None
    exact: bool = False
    constant: np.ndarray | None = None
    contributions: Contributions | None = None


class ImportanceMethod(ConceptExplainer):
    """
    Base of the importance methods, as Xplique explainers: (n, k) out.

    A method sets `method`, `signed` and `plain_evaluations`, and answers for a batch in `_batch`.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    keep_residual
        Whether f_x keeps what the concepts do not explain; None for the craft's own setting.
    batch_size
        Images times gates evaluated at once.
    operator
        Xplique's operator (model, inputs, targets) -> (n,), a Tasks or its string, called with the
        head h as the model; None for the sum of logits times targets.
    seed
        Of everything random: draws are keyed by it and by the number of the image.
    """

    method: str
    signed: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "method" in cls.__dict__:
            METHODS[cls.method] = cls

    def __init__(
        self,
        craft: ConceptModel,
        *,
        keep_residual: bool | None = None,
        batch_size: int = 64,
        operator: Callable[..., Any] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(craft, batch_size, operator, keep_residual)
        self.seed = check_int("seed", seed, minimum=0)

    @abstractmethod
    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        """Importances of a batch of images; `without` is left out if no intervals are wanted."""

    @abstractmethod
    def plain_evaluations(self, number_of_concepts: int) -> float:
        """Evaluations of the whole head an image would take; a gradient counts as three."""

    @property
    def bank(self) -> np.ndarray:
        """W, (k, c)."""
        return self.craft.factorized.bank

    def explain(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        Importance of every concept for every image.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels): array, tensor, or tf.data.Dataset of (image, target).
        targets
            (n, classes) one-hot or any other weights of the logits, a class index, or a
            `ClassDifference` for "why A and not B"; None for a dataset's labels, else for the class
            of the craft.

        Returns
        -------
        importances
            (n, k) float64.
        """
        head = self._gated_head()
        parts = [
            self._batch(c, head, intervals=False) for c in self._coded(inputs, targets, self.method)
        ]
        self._warn_constant(parts)
        return np.concatenate([part.values for part in parts])

    def summary(self, inputs: Any, targets: Any = None) -> Importance:
        """
        Importances per image and overall with both intervals, and what they are part of.

        Parameters
        ----------
        inputs, targets
            As in `explain`.

        Returns
        -------
        importance
            With the contributions to the same scores, from which sign, share, base and residual
            part come: they cost a few gradients an image.
        """
        gathered = _Gathered(self)
        for coded in self._coded(inputs, targets, self.method):
            gathered.add(coded)
        return gathered.importance()

    def summaries(self, inputs: Any, targets: Mapping[str, Any]) -> dict[str, Importance]:
        """
        Several targets from one bank: the images are encoded once.

        Parameters
        ----------
        inputs
            Images, as in `explain`.
        targets
            Name -> target, each as in `explain`.

        Returns
        -------
        importances
            Name -> `Importance`.
        """
        if not isinstance(targets, Mapping):
            raise TypeError(
                "targets must be a mapping, name -> target, received "
                f"{type(targets).__name__}. For one target, call summary."
            )
        if not targets:
            raise ValueError("targets must name at least one target, received none.")
        number = Stream(inputs, self._network().input_shape, self.batch_size).length
        whole = {name: self._whole(name, target, number) for name, target in targets.items()}
        gathered = {name: _Gathered(self) for name in targets}
        seen = 0
        for coded in self._coded(inputs, self.craft.class_id, self.method):
            start, seen = seen, seen + len(coded.targets)
            for name, target in whole.items():
                some = target if np.ndim(target) == 0 else target[start:seen]
                one = self._whole(name, some, len(coded.targets))
                gathered[name].add(replace(coded, targets=one))
        for name, target in whole.items():
            if np.ndim(target) > 0 and len(target) != seen:
                raise ValueError(
                    f"targets[{name!r}] must be {seen}, one for each image, received {len(target)}."
                )
        return {name: one.importance() for name, one in gathered.items()}

    def _whole(self, name: str, target: Any, number: int | None) -> Any:
        """A target as weights of the logits, once the number of images is known."""
        if number is None:
            return target
        return one_hot(target, number, self._network().number_of_classes, f"targets[{name!r}]")

    def _warn_constant(self, parts: list[Values]) -> None:
        constant = np.concatenate(
            [
                np.logical_not(part.values.any(axis=1)) if part.constant is None else part.constant
                for part in parts
            ]
        )
        if constant.any():
            warnings.warn(
                f"The importances of {constant.sum()} of {len(constant)} images are the same for "
                "all concepts: as far as this method looks, the score does not depend on the "
                "concepts. Is it the right class, and do they occur in these images?",
                stacklevel=3,
            )


class _Gathered:
    """Batches of one target, until they are a result."""

    def __init__(self, explainer: ImportanceMethod) -> None:
        self.explainer = explainer
        self.head, self.beside = explainer._gated_head(), explainer._gated_head()
        self.parts: list[Values] = []
        self.contributions: list[Contributions] = []

    def add(self, coded: Coded) -> None:
        """One more batch."""
        part = self.explainer._batch(coded, self.head, intervals=True)
        found = part.contributions
        if found is None:
            found = contributions(coded, self.explainer.bank, self.beside)
        self.parts.append(part)
        self.contributions.append(found)

    def importance(self) -> Importance:
        """The result."""
        explainer = self.explainer
        per_image = np.concatenate([part.values for part in self.parts])
        explainer._warn_constant(self.parts)
        overall = per_image.mean(axis=0)
        exact = all(part.exact for part in self.parts)
        without = [part.without for part in self.parts if part.without is not None]
        if len(without) == len(self.parts):
            left = np.concatenate(without, axis=1).mean(axis=1)
            interval = jackknife_interval(overall, left)
        elif exact:
            interval = np.stack([overall, overall], axis=1)
        else:
            interval = np.full((len(overall), 2), np.nan)
        plain = self.head.forward_passes
        if self.head.affine:  # what the closed form made unnecessary
            plain = len(per_image) * explainer.plain_evaluations(len(overall))
        return Importance(
            per_image=per_image,
            overall=overall,
            estimation_interval=interval,
            image_interval=bootstrap_mean(per_image, explainer.seed),
            method=explainer.method,
            evaluations=0 if self.head.affine and exact else self.head.evaluations,
            exact=exact,
            signed=explainer.signed,
            contributions=concatenate_contributions(self.contributions),
            path=self.head.path(plain, len(overall)),
        )


def jackknife_interval(overall: np.ndarray, left: np.ndarray) -> np.ndarray:
    """
    t-interval of pooled estimates over independent groups of draws.

    Parameters
    ----------
    overall
        (k,).
    left
        (r, k): the estimate without each group.

    Returns
    -------
    interval
        (k, 2); NaN where there is one group.
    """
    r = len(left)
    if r < 2:
        return np.full((len(overall), 2), np.nan)
    error = np.sqrt((r - 1) / r * np.square(left - left.mean(axis=0)).sum(axis=0))
    half = student.ppf(0.5 + LEVEL / 2.0, r - 1) * error
    return np.stack([overall - half, overall + half], axis=1)
