"""
What all importance methods share: Xplique's interface, both intervals, several targets.

A method gives values for a batch of images, and, where it draws at random, what they would be
without each of several independent groups of draws. From these come both intervals, which are
reported apart: *estimation*, a t-interval of the jackknife over the groups; and *images*, a
bootstrap over images.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.stats import t as student

from .._checks import check, check_is, warn
from .._intervals import LEVEL, bootstrap_mean, jackknife_variance
from ..concept_model import ConceptModel
from ..explainer import ConceptExplainer
from ..gates import Coded, GatedHead
from ..results import Contributions, Importance
from ..targets import Targets
from .contributions import concatenate_contributions, contributions, warn_of_errors

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
    flat
        (n,): True for an image whose score stays the same whatever is done to its concepts, so that
        its values say nothing and a warning names it. None: these are the images whose values are
        all 0.
    contributions
        Those of the same images, where the method has computed them; None where it has not.
    """

    values: np.ndarray
    without: np.ndarray | None = None
    exact: bool = False
    flat: np.ndarray | None = None
    contributions: Contributions | None = None

    @classmethod
    def joined(cls, parts: list[Values]) -> Values:
        """Those of several batches as one; what one of them does not know is not known of all."""
        without = [part.without for part in parts if part.without is not None]
        found = [part.contributions for part in parts if part.contributions is not None]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate(without, axis=1) if len(without) == len(parts) else None,
            exact=all(part.exact for part in parts),
            flat=np.concatenate(
                [~part.values.any(axis=1) if part.flat is None else part.flat for part in parts]
            ),
            contributions=concatenate_contributions(found) if len(found) == len(parts) else None,
        )


@dataclass(eq=False, repr=False)
class ImportanceMethod(ConceptExplainer):
    """
    Base of the importance methods, as Xplique explainers: (n, k) out.

    A method is a dataclass whose fields are its settings; it sets `method` and `signed`, checks its
    settings in `__post_init__`, and answers for a batch in `_batch`.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    keep_residual
        Whether the score keeps what the concepts do not explain; None does as the craft does.
    batch_size
        How many images times gates are evaluated at once.
    operator
        Xplique's operator (model, inputs, targets) -> (n,), a Tasks or its string, called with the
        head h as the model; None for the sum of logits times targets.
    seed
        Everything random follows from it: draws are keyed by it and by the number of the image.
    """

    craft: ConceptModel
    _: KW_ONLY
    keep_residual: bool | None = None
    batch_size: int = 64
    operator: Callable[..., Any] | str | None = None
    seed: int = 0

    # No fields: they belong to a method, not to one use of it.
    method = ""
    signed = False
    least = -np.inf  # what it measures is never below: there its intervals end
    silent_are_zero = False  # whether a concept of which an image has nothing gets exactly 0 there

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "method" in cls.__dict__:
            METHODS[cls.method] = cls

    def __post_init__(self) -> None:
        super().__init__(self.craft, self.batch_size, self.operator, self.keep_residual)
        self.seed = check("seed", self.seed)

    @abstractmethod
    def _batch(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        """Importances of a batch of images; `without` is left out if no intervals are wanted."""

    def _answer(self, coded: Coded, head: GatedHead, intervals: bool) -> Values:
        """`_batch`, with exact zeros where the method promises them."""
        return self._silenced(self._batch(coded, head, intervals), coded)

    def _silenced(self, found: Values, coded: Coded) -> Values:
        """Values (n, k) or (n, k, k) that are 0 for concepts whose gates do nothing in an image."""
        if not self.silent_are_zero:
            return found
        places = list(range(1, coded.gated.shape.rank - 1))
        acts = tf.reduce_any(coded.gated != 0.0, axis=places).numpy()
        if acts.all():
            return found
        if found.values.ndim == 3:
            acts = acts[:, :, None] & acts[:, None]
        without = None if found.without is None else np.where(acts, found.without, 0.0)
        return replace(found, values=np.where(acts, found.values, 0.0), without=without)

    def explain(self, inputs: Any, targets: Any = None) -> np.ndarray:
        """
        Importance of every concept for every image.

        Parameters
        ----------
        inputs
            Images (n, H, W, channels): array, tensor, or tf.data.Dataset of (image, target).
        targets
            Which score is explained: a class index, (n, classes) one-hot or any other weights of
            the logits, or a `ClassDifference` for "why A and not B"; None takes a dataset's labels,
            else the class of the craft.

        Returns
        -------
        importances
            (n, k) float64.
        """
        head = self._head()
        found = Values.joined(
            [
                self._answer(coded, head, intervals=False)
                for coded in self._batches(inputs, targets, self.method)
            ]
        )
        warn_of_flat(found)
        if found.contributions is not None:
            warn_of_errors(found.contributions)
        return found.values

    def summary(
        self, inputs: Any, targets: Any = None, *, contributions: Contributions | None = None
    ) -> Importance:
        """
        Importances per image and overall with both intervals, and what they are part of.

        Parameters
        ----------
        inputs, targets
            The same as for `explain`.
        contributions
            Those of these inputs to the same scores, where they are known already; None computes
            them.

        Returns
        -------
        importance
            With the contributions to the same scores, from which sign, share, base and residual
            part come: they cost 24 gradients of the head an image, or more, see
            `Craft.contributions`, unless the head is affine.
        """
        if contributions is not None:
            what = "what craft.contributions gives, or None"
            check_is("contributions", contributions, Contributions, what)
        gathered = _Gathered(self, contributions)
        for coded in self._batches(inputs, targets, self.method):
            gathered.add(coded)
        return gathered.importance()

    def summaries(self, inputs: Any, targets: Mapping[str, Any]) -> dict[str, Importance]:
        """
        Several targets from one bank: the images are encoded once.

        Parameters
        ----------
        inputs
            The images, in any form that `explain` takes.
        targets
            Name -> target: each is explained as `explain` would, and found again by its name.

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
        model = self.concept_model
        stream, classes = model.stream(inputs), model.network.number_of_classes
        each = {
            name: Targets(target, stream.length, classes, model.class_id, name=f"targets[{name!r}]")
            for name, target in targets.items()
        }
        gathered = {name: _Gathered(self) for name in targets}
        seen = 0
        for coded in self._batches(stream, model.class_id, self.method):
            start, seen = seen, seen + len(coded.targets)
            for name, one in gathered.items():
                one.add(replace(coded, targets=each[name].batch(start, len(coded.targets))))
        for target in each.values():
            target.check_number(seen)
        return {name: one.importance() for name, one in gathered.items()}


def warn_of_flat(found: Values) -> None:
    """Warn of images whose score does not depend on the concepts."""
    flat = found.flat
    if flat is not None and flat.any():
        warn(
            f"The importances of {flat.sum()} of {len(flat)} images are the same for "
            "all concepts: as far as this method looks, the score does not depend on the "
            "concepts. Is it the right class, and do they occur in these images?"
        )


class _Gathered:
    """Batches of one target, until they are a result."""

    def __init__(self, explainer: ImportanceMethod, known: Contributions | None = None) -> None:
        self.explainer, self.known = explainer, known
        self.head, self.beside = explainer._head(), explainer._head()
        self.parts: list[Values] = []

    def add(self, coded: Coded) -> None:
        """One more batch."""
        part = self.explainer._answer(coded, self.head, intervals=True)
        if part.contributions is None and self.known is None:
            part = replace(part, contributions=contributions(coded, self.beside))
        self.parts.append(part)

    def importance(self) -> Importance:
        """The result."""
        explainer, found = self.explainer, Values.joined(self.parts)
        warn_of_flat(found)
        divided = found.contributions if self.known is None else self.known
        if divided is not None:
            if divided.phi.shape != found.values.shape:
                raise ValueError(
                    f"contributions must be of the {len(found.values)} images of the inputs and "
                    f"{found.values.shape[1]} concepts, received {divided.phi.shape}."
                )
            if self.known is None:
                warn_of_errors(divided)
        overall = found.values.mean(axis=0)
        if found.without is not None:
            interval = jackknife_interval(overall, found.without.mean(axis=1))
        elif found.exact:
            interval = np.stack([overall, overall], axis=1)
        else:
            interval = np.full((len(overall), 2), np.nan)
        least = np.minimum(explainer.least, overall)[:, None]
        return Importance(
            per_image=found.values,
            overall=overall,
            estimation_interval=np.maximum(interval, least),
            image_interval=np.maximum(bootstrap_mean(found.values, explainer.seed), least),
            method=explainer.method,
            evaluations=0 if self.head.affine and found.exact else self.head.evaluations,
            exact=found.exact,
            signed=explainer.signed,
            contributions=divided,
            path=self.head.path,
        )


def jackknife_interval(overall: np.ndarray, without: np.ndarray) -> np.ndarray:
    """
    t-interval (k, 2) of estimates (k,) by what they are without each of r independent groups of
    draws, (r, k); NaN where there is one group.
    """
    r = len(without)
    if r < 2:
        return np.full((len(overall), 2), np.nan)
    half = student.ppf(0.5 + LEVEL / 2.0, r - 1) * np.sqrt(jackknife_variance(without))
    return np.stack([overall - half, overall + half], axis=1)
