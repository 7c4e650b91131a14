"""What contract tests share: every entry of the registries as a question, and what it may touch."""

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import explainers
import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import planted
import tensorflow as tf
import xplique.attributions
from keras.src.backend.common import global_state as keras_state
from tensorflow.python.eager import context

import xplique_craft as xc
from xplique_craft import comparison, importance, metrics
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance.contributions import contributions_of
from xplique_craft.metrics.quality import measure_quality
from xplique_craft.questions import AnsweringModel
from xplique_craft.results import Quality

SIZE = (8, 12)
# So few draws that methods draw though there are three concepts only.
DRAWN: dict[str, dict[str, Any]] = {
    "banzhaf": {"nb_samples": 46},
    "hsic": {"nb_design": 7},
    "rise": {"nb_samples": 7},
    "shapley": {"nb_permutations": 3},
    "smooth grad": {"nb_samples": 5},
    "sobol total": {"nb_design": 16},
}
# What draws from the seed of the craft; FEM knows of no target, so it has no map of a concept.
DRAWING = ("KernelShap", "Lime", "Rise", "SmoothGrad", "SquareGrad", "VarGrad")
MAPS = [None, *(name for name in explainers.ARGUMENTS if name != "FEM")]
MEASURES = (
    comparison.Deletion(steps=2),
    comparison.Insertion(steps=2),
    comparison.MuFidelity(grid_size=2, nb_subsets=6),
    comparison.Stability(images=5, nb_neighbours=2),
    comparison.Randomisation(images=5),
)
METRICS = (metrics.ConceptDeletion, metrics.ConceptInsertion, metrics.ConceptMuFidelity)


@dataclass(frozen=True)
class Question:
    """
    An entry of a registry, as what it answers of images.

    Parameters
    ----------
    name
        What to call it.
    ask
        (a fitted craft, images, targets, batch size, seed) -> an array.
    shape
        The shape of the answer to five images of `SIZE` and three concepts.
    dtype
        Its type.
    draws
        Whether another seed gives another answer.
    own_draws
        Whether every image, or concept, has draws of its own: where it stands then matters.
    by_image, by_concept
        Whether the first axis of the answer is the images, and its last one the concepts.
    datasets
        Whether a tf.data.Dataset is taken too.
    """

    name: str
    ask: Callable[[xc.Craft, Any, Any, int, int], np.ndarray]
    shape: tuple[int, ...]
    dtype: type = np.float64
    draws: bool = False
    own_draws: bool = False
    by_image: bool = True
    by_concept: bool = True
    datasets: bool = True

    def __str__(self) -> str:
        return self.name


def _by_method(name: str) -> Question:
    def ask(craft: xc.Craft, images: Any, targets: Any, batch_size: int, seed: int) -> np.ndarray:
        method = importance.METHODS[name](
            craft, batch_size=batch_size, seed=seed, **DRAWN.get(name, {})
        )
        return method.explain(images, targets)

    return Question(name, ask, (5, 3), draws=name in DRAWN, own_draws=name in DRAWN)


@contextmanager
def _with_seed(craft: xc.Craft, seed: int) -> Iterator[None]:
    before, craft.seed = craft.seed, seed
    try:
        yield
    finally:
        craft.seed = before


def attribution(craft: xc.Craft, name: str | None, **settings: Any) -> ConceptAttribution:
    """Concept attribution by the class of Xplique's of that name."""
    if name is None:
        return ConceptAttribution(craft, **settings)
    # What they draw, they draw in batches of their own: their draws follow from its size too.
    arguments = explainers.ARGUMENTS[name] | ({"batch_size": 16} if name in DRAWING else {})
    return ConceptAttribution(craft, getattr(xplique.attributions, name), arguments, **settings)


def _by_maps(name: str | None, output: str, of: str) -> Question:
    def ask(craft: xc.Craft, images: Any, targets: Any, batch_size: int, seed: int) -> np.ndarray:
        with _with_seed(craft, seed):
            maps = attribution(craft, name, output=output, batch_size=batch_size)
            if of == "concepts":
                return maps.explain_concepts(images, targets=targets)
            return np.asarray(maps.explain(images, targets))

    channels = 3 if of == "concepts" else 1
    title = f"{name or 'own'} {output} of {of}"
    shape = (5, *SIZE, channels)
    draws = name in DRAWING
    return Question(title, ask, shape, np.float32, draws, by_concept=of == "concepts")


def _by_measure(measure: comparison.MapMeasure) -> Question:
    key = measure.column.key

    def ask(craft: xc.Craft, images: Any, targets: Any, batch_size: int, seed: int) -> np.ndarray:
        methods = {
            "Saliency": xplique.attributions.Saliency,
            "concepts": ConceptAttribution(craft, batch_size=batch_size),
        }
        found = xc.compare(
            craft,
            images,
            targets,
            methods=methods,
            measures=[measure],
            photographs=np.zeros((5, 2, 2, 3), np.uint8),
            batch_size=batch_size,
            seed=seed,
        )
        return np.stack([one.per_image[key] for one in found.methods], axis=-1)

    draws = key in ("mu_fidelity", "stability", "randomisation")
    return Question(key, ask, (5, 2), draws=draws, by_concept=False, datasets=False)


def _prevalence(craft: xc.Craft, images: Any, targets: Any, *_: Any) -> np.ndarray:
    labels = np.argmax(targets, axis=1) if np.ndim(targets) > 1 else targets
    found = xc.measure_prevalence(craft, images, labels)
    shares = [(one.value, one.low, one.high) for one in (*found.prevalence, *found.reliability)]
    return np.array(shares).reshape(2, -1, 3).swapaxes(1, 2)


def _numbers(found: Quality) -> list[float]:
    """Without the intervals, which are of draws that every image has of its own."""
    shares = (found.agreement, found.reconstruction_share, found.explained_share)
    return [*(one.value for one in shares), found.relative_error, found.sparsity]


def _quality(craft: xc.Craft, images: Any, targets: Any, batch_size: int, _: int) -> np.ndarray:
    return np.array(
        _numbers(measure_quality(craft.variant(batch_size=batch_size), images, targets))
    )


def _sanity(craft: xc.Craft, images: Any, targets: Any, _: int, seed: int) -> np.ndarray:
    found = xc.sanity_check(craft, images, targets, seed)
    return np.array([_numbers(one) for one in (found.own, found.random_weights, found.random_bank)])


def _contributions(craft: xc.Craft, images: Any, targets: Any, size: int, _: int) -> np.ndarray:
    return contributions_of(craft.variant(batch_size=size), images, targets, craft.tolerance).phi


def _by_metric(kind: type[Any]) -> Question:
    def ask(craft: xc.Craft, images: Any, targets: Any, batch_size: int, seed: int) -> np.ndarray:
        order = importance.SaliencyImportance(craft).explain(images, targets)
        metric = kind(craft, images, targets, batch_size, seed=seed, nb_random=3)
        return metric.summary(order).per_image

    draws = kind is metrics.ConceptMuFidelity
    return Question(kind.metric, ask, (5,), draws=draws, own_draws=draws, by_concept=False)


IMPORTANCES = [_by_method(name) for name in sorted(importance.METHODS)]
ATTRIBUTIONS = [
    *(_by_maps(name, "activation", "concepts") for name in MAPS),
    *(_by_maps(name, "relevance", "the class") for name in (None, "Saliency", *explainers.SHARED)),
]
OTHERS = [
    *map(_by_measure, MEASURES),
    *map(_by_metric, METRICS),
    Question("contributions", _contributions, (5, 3)),
    Question("prevalence", _prevalence, (2, 3, 3), by_image=False),
    Question("quality", _quality, (5,), by_image=False, by_concept=False),
    Question("sanity check", _sanity, (3, 5), draws=True, by_image=False, by_concept=False),
]
QUESTIONS = [*IMPORTANCES, *ATTRIBUTIONS, *OTHERS]


# ------------------------------------------------------------------------------ what may be touched
def _draws_of(generator: Any) -> Any:
    return None if generator is None else generator.getstate()


def global_state() -> dict[str, Any]:
    """All that a call could leave behind for others, by name; equal where nothing was."""
    eager = context.context()
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    classes = {
        f"{value.__module__}.{value.__qualname__}": value
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").partition(".")[0] == "xplique"
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.startswith("xplique")
    }
    return {
        "the generator of random": random.getstate(),
        "the generator of numpy.random": (name, keys.tobytes(), *rest),
        "what NumPy does of errors": np.geterr(),
        "how NumPy prints": repr(np.get_printoptions()),
        "the seed of TensorFlow": getattr(eager, "_seed", None),
        "the generator of that seed": _draws_of(getattr(eager, "_rng", None)),
        "tf.random's generator": tf.random.get_global_generator().state.numpy().tolist(),
        "eager functions": tf.config.functions_run_eagerly(),
        "TensorFloat-32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "floats of Keras": keras.config.floatx(),
        "epsilon of Keras": keras.config.epsilon(),
        "layout of Keras": keras.config.image_data_format(),
        "policy of Keras": keras.config.dtype_policy().name,
        "seed of Keras": id(keras_state.get_global_attribute("global_seed_generator")),
        "traces of Keras": keras.config.is_traceback_filtering_enabled(),
        "names known to Keras": sorted(keras.saving.get_custom_objects()),
        "settings of Matplotlib": dict(matplotlib.rcParams),
        "figures of Matplotlib": plt.get_fignums(),
        "warnings": list(warnings.filters),
        "the environment": dict(os.environ),
        "the folder": os.getcwd(),
        "classes of Xplique": {
            name: {key: id(value) for key, value in vars(one).items()}
            for name, one in classes.items()
        },
    }


def state_of_model(model: keras.Model) -> dict[str, Any]:
    """What is to be seen of a model."""
    return {
        "weights": [weight.tobytes() for weight in model.get_weights()],
        "layers": [
            (layer.name, layer.trainable, getattr(layer, "activation", None))
            for layer in model.layers
        ],
        "compiled": model.compiled,
    }


def state_of_craft(craft: xc.Craft) -> dict[str, Any]:
    """What is to be seen of a craft."""
    concepts = craft.concepts
    settings = {key: value for key, value in vars(craft).items() if not key.startswith("_")}
    return {
        "settings": settings,
        "bank": concepts.factorized.bank.tobytes(),
        "coefficients": None if concepts.crops_u is None else concepts.crops_u.tobytes(),
        "images": np.asarray(concepts.inputs).tobytes(),
        **state_of_model(craft.model),
    }


def craft_of(images: np.ndarray) -> xc.Craft:
    """A craft of a small network that bends."""
    return planted.convolutional_craft(images, 3)


def in_order(craft: xc.Craft, order: np.ndarray) -> AnsweringModel:
    """As if a fit had found the concepts of a craft in that order."""
    concepts = craft.concepts
    reordered = replace(
        concepts,
        factorized=replace(concepts.factorized, bank=craft.bank[order]),
        extent=replace(
            concepts.extent,
            largest=concepts.extent.largest[order],
            mean=concepts.extent.mean[order],
        ),
        crops_u=concepts.crops_u[:, order],
    )
    return AnsweringModel(craft.split, reordered)
