"""
Random draws of Xplique's explainers, made to depend on a seed alone.

Some explainers of Xplique draw random numbers from TensorFlow's global generator, inside a
`tf.function`. Such a function keeps the seed that was set when it was first traced, and its draws
go on from call to call, so setting a seed later changes nothing. The functions that draw are few
(`_draws`). While an explainer runs they are replaced by copies that have not been traced yet, and
are traced under our seed. An explainer that is not Xplique's may draw anywhere: for it the global
generators themselves are seeded. In the end all is put back as it was.

These are states of the whole process, and explainers also keep what they have summed so far in
themselves. So only one of them runs at a time: threads wait for each other at `RUNNING`. A thread
that runs Xplique's explainers by itself meanwhile has the functions that it had before. Only what
is not Xplique's is felt elsewhere: while it runs, what other threads draw from the global
generators of NumPy and TensorFlow follows our seed too.

There is one order of locks: `RUNNING` first, then those of `_once`. An explainer is a value of
`_once` that waits for `RUNNING` while it is made, so whoever asks for one holds `RUNNING` already.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import RLock, get_ident
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context
from xplique.attributions import Lime, Rise
from xplique.attributions.base import BlackBoxExplainer
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

from ._once import FILTERING

RUNNING = RLock()  # held by the thread whose explainer runs
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

    They are put back whatever ends the block. Other threads wait until then.

    Parameters
    ----------
    seed
        A non-negative number. The same seed gives the same draws, whatever ran before.
    explainer
        The explainer that runs in the block, one of Xplique's or any other.
    """
    with RUNNING, FILTERING if isinstance(explainer, Lime) else nullcontext():
        replaced = [
            (owner, name)
            for owner, name in _draws(explainer)
            if hasattr(getattr(owner, name), "python_function")
        ]
        changed: list[Callable[[], Any]] = []
        try:
            if _draws_elsewhere(explainer, len(replaced)):
                _seed_globals(seed, changed)
            for owner, name in replaced:
                changed.append(partial(setattr, owner, name, vars(owner)[name]))
                setattr(owner, name, _untraced(owner, name, seed))
            yield
        finally:
            try:
                _put_back(changed)
            finally:  # once more, for Ctrl-C may have broken in
                _put_back(changed)


def _put_back(changed: list[Callable[[], Any]]) -> None:
    for put_back in changed:
        put_back()


def _draws_elsewhere(explainer: Any, replaced: int) -> bool:
    """Whether an explainer may draw by other functions than those, so many, that are replaced."""
    ours_or_xpliques = type(explainer).__module__.partition(".")[0] in _KNOWN
    known = ours_or_xpliques and isinstance(explainer, BlackBoxExplainer)
    return not known or replaced < len(_draws(explainer)) or tf.config.functions_run_eagerly()


def _seed_globals(seed: int, changed: list[Callable[[], Any]]) -> None:
    """Seed the global generators of NumPy and TensorFlow; `changed` learns how to put them back."""
    eager = context.context()
    # TensorFlow has no public way back; where no seed was set, there is no generator yet.
    changed += [
        partial(setattr, eager, name, getattr(eager, name, None)) for name in ("_seed", "_rng")
    ]
    changed.append(partial(np.random.set_state, np.random.get_state()))  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    tf.random.set_seed(seed)


def _untraced(owner: Any, name: str, seed: int) -> Any:
    """A seeded copy of a TensorFlow function, not traced yet; other threads get the original."""
    original, ours = getattr(owner, name), get_ident()

    def draw(*args: Any, **kwargs: Any) -> Any:
        tf.compat.v1.get_default_graph().seed = seed  # of this function's graph, and of no other
        return original.python_function(*args, **kwargs)

    copy = tf.function(draw)
    copy._omit_frequent_tracing_warning = True  # each seed traces it on purpose

    def dispatch(*args: Any, **kwargs: Any) -> Any:
        return (copy if get_ident() == ours else original)(*args, **kwargs)

    dispatch.python_function = original.python_function  # type: ignore[attr-defined]
    return staticmethod(dispatch) if isinstance(owner, type) else dispatch
