"""
What Xplique's explainers draw, drawn from a seed, with the global generators put back.

Xplique draws from TensorFlow's global generator, and inside a `tf.function`: that remembers for
ever the seed that was set when it was first traced, or that there was none, and goes on from its
last draw. Its drawing functions are few (`_draws`). For the while they are replaced by the same
functions, to be traced anew under the seed. What is no class of Xplique's may draw anywhere: for it
the global generators are seeded as a whole, which makes TensorFlow prepare its functions again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context
from xplique.attributions import Lime, Rise
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

__all__ = ["explain_seeded", "seeded"]

_KNOWN = ("xplique", __name__.partition(".")[0])  # ours seed what they run themselves


def _draws(explainer: Any) -> list[tuple[Any, str]]:
    """Where an explainer of Xplique keeps its drawing functions: (owner, name) each."""
    if isinstance(explainer, Rise):
        return [(Rise, "_get_masks"), (Rise, "_apply_masks")]
    if isinstance(explainer, GradientStatistic):
        return [(GradientStatistic, "_perturb_samples")]
    if isinstance(explainer, Lime):
        return [(explainer, "pertub_func")]
    return []


def explain_seeded(
    seed: int,
    explainer: Any,
    explain: Callable[[np.ndarray, np.ndarray], Any],
    images: np.ndarray,
    targets: np.ndarray,
) -> np.ndarray:
    """
    Maps of images, each with the draws of the seed, whatever its batch.

    Parameters
    ----------
    seed
        Non-negative. All images have the same draws: a map depends on the seed and on its image.
    explainer
        Of Xplique: one that draws explains the images one after the other. Another explains them
        all at once, and what it draws for each is its own affair.
    explain
        (images (m, H, W, channels), targets (m, d)) -> maps (m, ...), by that explainer.
    images, targets
        (n, H, W, channels), and (n, d).

    Returns
    -------
    maps
        (n, ...) float32.
    """
    step = 1 if _draws(explainer) else max(1, len(images))
    found = []
    for start in range(0, len(images), step):
        some = slice(start, start + step)
        with seeded(seed, explainer):
            found.append(np.asarray(explain(images[some], targets[some]), np.float32))
    return np.concatenate(found)


@contextmanager
def seeded(seed: int, explainer: Any) -> Iterator[None]:
    """
    Run an explainer with what it draws seeded.

    Parameters
    ----------
    seed
        Non-negative. The same seed gives the same draws, whatever ran before.
    explainer
        Of Xplique, or another.
    """
    eager = context.context()
    # TensorFlow has no public way back; where no seed was set, there is no generator yet.
    before = {name: getattr(eager, name, None) for name in ("_seed", "_rng")}
    numpy_before = np.random.get_state()  # noqa: NPY002 - the generator that Xplique draws from
    replaced = []
    try:
        np.random.seed(seed % 2**32)  # noqa: NPY002
        if type(explainer).__module__.partition(".")[0] not in _KNOWN:
            tf.random.set_seed(seed)
        eager._seed = seed
        for owner, name in _draws(explainer):
            function = getattr(owner, name)
            if hasattr(function, "python_function"):
                replaced.append((owner, name, vars(owner)[name]))
                anew = tf.function(function.python_function)
                anew._omit_frequent_tracing_warning = True  # it is traced anew on purpose
                setattr(owner, name, staticmethod(anew) if isinstance(owner, type) else anew)
        yield
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
        np.random.set_state(numpy_before)  # noqa: NPY002
        for name, value in before.items():
            setattr(eager, name, value)
