"""
Random draws of Xplique's explainers, made to depend on a seed alone.

Some explainers of Xplique draw random numbers from TensorFlow's global generator, inside a
`tf.function`. Such a function keeps the seed that was set when it was first traced, and its draws
go on from call to call, so setting a seed later changes nothing. The functions that draw are few
(`_draws`). While an explainer runs they are replaced by copies that have not been traced yet, and
are traced under our seed. An explainer that is not Xplique's may draw anywhere: for it the global
generators themselves are seeded. In the end all is put back as it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context
from xplique.attributions import Lime, Rise
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

_KNOWN = ("xplique", __name__.partition(".")[0])  # our own explainers seed what they run


def _draws(explainer: Any) -> list[tuple[Any, str]]:
    """The functions by which an explainer of Xplique draws, each as (its owner, its name)."""
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
    Maps of images, which do not depend on the batch that an image comes in.

    Parameters
    ----------
    seed
        A non-negative number. All images get the same draws, so that a map depends on the seed and
        on its image alone.
    explainer
        One of Xplique's that draws explains the images one by one, each from the seed. Any other
        explains them all at once.
    explain
        Runs that explainer: (images (m, H, W, channels), targets (m, d)) -> maps (m, ...).
    images, targets
        What to explain, (n, H, W, channels), and for which outputs, (n, d).

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
    Seed what an explainer draws inside a `with` block, and put the generators back afterwards.

    Parameters
    ----------
    seed
        A non-negative number. The same seed gives the same draws, whatever ran before.
    explainer
        The explainer that runs in the block, one of Xplique's or any other.
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
                untraced = tf.function(function.python_function)
                untraced._omit_frequent_tracing_warning = True  # each seed traces it on purpose
                method = staticmethod(untraced) if isinstance(owner, type) else untraced
                setattr(owner, name, method)
        yield
    finally:
        for owner, name, function in replaced:
            setattr(owner, name, function)
        np.random.set_state(numpy_before)  # noqa: NPY002
        for name, value in before.items():
            setattr(eager, name, value)
