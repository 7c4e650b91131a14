"""
Malformed calls: every public function with valid arguments, but for one, which is anything else.

A call is answered well by a result without NaN (but where a warning says so), or by an error that
the package raises itself, in a sentence that names the argument. `python tests/malformed.py
--number 2000 --seed 0` makes so many calls and prints what was answered otherwise; one that hangs
ends the process with its traceback.
"""

import argparse
import ast
import collections
import dataclasses
import enum
import faulthandler
import functools
import inspect
import json
import linecache
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
import planted
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from xplique.attributions import Saliency
from xplique.concepts import CraftTf
from xplique.concepts.tf.holistic_craft import HolisticCraftTf
from xplique.concepts.tf.layered_model_latent_extractor import LayeredModelExtractorBuilder

import xplique_craft as xc
from xplique_craft import (
    attributions,
    comparison,
    demo,
    factorization,
    ground_truth,
    importance,
    metrics,
    plots,
    report,
    results,
)
from xplique_craft.importance import METHODS

PACKAGE = Path(xc.__file__).parent
SIZE = (16, 24)
N = 6
LONGEST = 60.0  # seconds of one call
CALM: dict[str, dict[str, Any]] = {
    "compare": {"methods": ["Saliency", "random"], "measures": [comparison.Deletion(steps=2)]}
}


# ------------------------------------------------------------------------ what calls are made of
class World:
    """A small fitted craft and one of everything that is made of it, each made once."""

    @functools.cached_property
    def images(self) -> np.ndarray:
        return np.random.default_rng(0).random((N, *SIZE, 3)).astype(np.float32)

    @functools.cached_property
    def pictures(self) -> np.ndarray:
        return (255.0 * self.images).astype(np.uint8)

    @functools.cached_property
    def model(self) -> keras.Model:
        return planted.convolutional(SIZE)

    @functools.cached_property
    def split(self) -> xc.Split:
        return xc.split_model(self.model, planted.LAYER)

    @functools.cached_property
    def class_id(self) -> int:
        return planted.predicted(self.model, self.images)

    @functools.cached_property
    def craft(self) -> xc.Craft:
        return self.new_craft()

    def new_craft(self) -> xc.Craft:
        craft = xc.Craft.from_model(self.split, None, 3, batch_size=4)
        craft.fit(self.images, self.class_id)
        return craft

    @functools.cached_property
    def targets(self) -> np.ndarray:
        return planted.one_hot([self.class_id] * N, 3)

    @functools.cached_property
    def u(self) -> np.ndarray:
        return self.craft.transform(self.images)

    @functools.cached_property
    def contributions(self) -> Any:
        return self.craft.contributions(self.images)

    @functools.cached_property
    def importance(self) -> Any:
        return importance.OcclusionImportance(self.craft).summary(self.images)

    @functools.cached_property
    def fidelity(self) -> Any:
        return metrics.ConceptDeletion(self.craft, self.images).summary(self.importance.per_image)

    @functools.cached_property
    def complexity(self) -> Any:
        return metrics.measure_complexity(self.craft, self.images, folds=2)

    @functools.cached_property
    def node(self) -> Any:
        return self.craft.decompose(0, "half", 2, 50.0)

    @functools.cached_property
    def tree(self) -> Any:
        return self.craft.grow(1, 0.01, 0.0, 2, 50.0, layers=["first"], max_unexplained=9.0)

    @functools.cached_property
    def explanation(self) -> Any:
        craft = xc.Craft.from_model(self.split, None, 3, batch_size=4)
        return xc.explain_class(
            craft, self.images, self.class_id, photographs=self.pictures, nb_design=8
        )

    @functools.cached_property
    def summary(self) -> Any:
        one = results.ClassSummary(self.class_id, "a", N, None, None, N, np.ones(3))
        return results.ModelSummary("a model", planted.LAYER, 0, {}, N, [one])

    @functools.cached_property
    def atlas(self) -> xc.Atlas:
        return xc.explain_model(
            self.split,
            self.images,
            classes=[self.class_id],
            number_of_concepts=2,
            folder=Path(self.folder) / "atlas",
            photographs=self.pictures,
            nb_design=8,
            number_of_views=0,
        )

    @functools.cached_property
    def of_image(self) -> Any:
        return self.craft.explain_image(self.images[0], photograph=self.pictures[0])

    @functools.cached_property
    def comparison(self) -> Any:
        return xc.compare(self.craft, self.images, photographs=self.pictures, **CALM["compare"])

    @functools.cached_property
    def craft_tf(self) -> CraftTf:
        """Xplique's own, fitted."""
        craft = CraftTf(self.split.input_to_latent, self.split.latent_to_logit, 3, patch_size=8)
        craft.fit(self.images, class_id=self.class_id)
        return craft

    @functools.cached_property
    def holistic(self) -> HolisticCraftTf:
        """Xplique's own, fitted."""
        number = [layer.name for layer in self.model.layers].index(planted.LAYER)
        craft = HolisticCraftTf(LayeredModelExtractorBuilder.build(self.model, number), 3)
        craft.fit(self.images, class_id=self.class_id)
        return craft

    @functools.cached_property
    def rows(self) -> np.ndarray:
        return np.random.default_rng(1).random((20, 5)).astype(np.float32)

    @functools.cached_property
    def factorized(self) -> Any:
        return factorization.NMF().fit(self.rows, 2)

    @functools.cached_property
    def fitted_adapter(self) -> Any:
        adapter = factorization.XpliqueFactorizer(factorization.NMF(), 2)
        adapter.fit(self.rows)
        return adapter

    @functools.cached_property
    def clusters(self) -> list[Any]:
        rng = np.random.default_rng(2)
        return [metrics.CropCluster(rng.random((12, 3)), np.arange(12)) for _ in range(3)]

    @functools.cached_property
    def shapes(self) -> Any:
        return ground_truth.make_shapes(4, class_id=1)

    @functools.cached_property
    def craft_of_shapes(self) -> xc.Craft:
        model = ground_truth.load_shapes_model()
        craft = xc.Craft.from_model(model, ground_truth.SHAPES_LAYER, 3, batch_size=4)
        craft.fit(self.shapes.images, 1)
        return craft

    @functools.cached_property
    def trials(self) -> Any:
        return metrics.intruder_test(self.clusters, trials=20)

    @functools.cached_property
    def judge(self) -> keras.Model:
        """Sees the mean colour."""
        image = keras.Input((8, 8, 3))
        return keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))

    @functools.cached_property
    def numbers(self) -> Any:
        craft = xc.Craft.from_model(self.split, None, 3, batch_size=4)
        return xc.choose_number_of_concepts(
            craft, self.images, self.class_id, (2, 3), held_out=None, folds=2
        )

    @functools.cached_property
    def folder(self) -> str:
        """Where calls write files: `main` makes it the working directory, and removes it."""
        return str(Path.cwd())

    @functools.cached_property
    def saved(self) -> str:
        path = str(Path(self.folder) / "encoder.keras")
        self.craft.encoder.save(path)
        return path

    @functools.cached_property
    def saved_craft(self) -> str:
        return str(self.craft.save(Path(self.folder) / "craft.safetensors"))

    @functools.cached_property
    def saved_result(self) -> str:
        return str(xc.save({"u": self.u}, Path(self.folder) / "result.safetensors"))


Valid = dict[str, Any]
Make = Callable[[World], tuple[Callable[..., Any], Valid]]


def _entries(w: World) -> dict[str, tuple[Callable[[], Callable[..., Any]], Callable[[], Valid]]]:
    """
    name -> (what is called, valid values of its arguments); each made when it is first called.

    Arguments that are not named keep their defaults; any of the signature may be replaced.
    """
    asked = {"inputs": lambda: w.images}
    found: dict[str, tuple[Any, Any]] = {}

    def add(name: str, function: Callable[[], Any], **valid: Callable[[], Any]) -> None:
        found[name] = function, lambda: {key: make() for key, make in valid.items()}

    craft = lambda name: lambda: getattr(w.craft, name)  # noqa: E731
    fixed = lambda value: lambda: value  # noqa: E731
    models = {
        "input_to_latent_model": lambda: w.split.input_to_latent,
        "latent_to_logit_model": lambda: w.split.latent_to_logit,
    }
    # ------------------------------------------------------------------- splitting and models
    add("split_model", fixed(xc.split_model), model=lambda: w.model, layer=fixed(planted.LAYER))
    add(
        "candidate_layers",
        fixed(xc.candidate_layers),
        model=lambda: w.model,
        images=lambda: w.images,
        targets=lambda: w.targets,
    )
    add(
        "join_models",
        fixed(xc.join_models),
        input_to_latent=models["input_to_latent_model"],
        latent_to_logit=models["latent_to_logit_model"],
    )
    add("from_craft_tf", fixed(xc.from_craft_tf), craft=lambda: w.craft_tf)
    add("from_holistic", fixed(xc.from_holistic), craft=lambda: w.holistic, layer=lambda: w.split)
    add("load_model", fixed(xc.load_model), path=lambda: w.saved)
    add("load", fixed(xc.load), path=lambda: w.saved_result)
    add("save", fixed(xc.save), result=lambda: {"u": w.u}, path=fixed("new.safetensors"))
    # ------------------------------------------------------------------------------- Craft
    add("Craft.load", fixed(xc.Craft.load), path=lambda: w.saved_craft, model=lambda: w.model)
    add("Craft.save", craft("save"), path=fixed("new.safetensors"))
    add("Craft", fixed(xc.Craft), number_of_concepts=fixed(3), **models)
    add(
        "Craft.from_model",
        fixed(xc.Craft.from_model),
        model=lambda: w.model,
        layer=fixed(planted.LAYER),
    )
    add(
        "Craft.fit",
        lambda: xc.Craft.from_model(w.split, None, 3, batch_size=4).fit,
        class_id=lambda: w.class_id,
        **asked,
    )
    add("Craft.transform", craft("transform"), **asked)
    add(
        "Craft.transform of activations",
        craft("transform"),
        inputs=fixed(None),
        activations=lambda: w.split.network.latents(w.images).numpy(),
    )
    add("Craft.variant", craft("variant"), batch_size=fixed(4))
    add("Craft.head", craft("head"), operator=fixed(planted.by_sampling))
    add("Craft.stream", craft("stream"), **asked)
    add("Craft.batches", craft("batches"), targets=lambda: w.targets, **asked)
    add("Craft.inverse_transform", craft("inverse_transform"), u=lambda: w.u)
    add("Craft.bound_decoder", craft("bound_decoder"), **asked)
    for name in ("contributions", "ablation_effects", "quality"):
        add(f"Craft.{name}", craft(name), targets=lambda: w.targets, **asked)
    judged = {
        "judge": lambda: w.judge,
        "photographs": lambda: w.pictures,
        "prepare": fixed(lambda pictures: pictures / 2.0),
        "shown": fixed(6),
        "trials": fixed(20),
    }
    add("Craft.purity", craft("purity"), **judged)
    add("Craft.stability", craft("stability"), folds=fixed(2))
    add(
        "Craft.estimate_importance",
        craft("estimate_importance"),
        nb_design=fixed(4),
        targets=lambda: w.class_id,
        **asked,
    )
    add(
        "Craft.explain_image",
        craft("explain_image"),
        image=lambda: w.images[0],
        target=fixed(1),
        photograph=lambda: w.pictures[0],
        restore=fixed(lambda images: np.clip(255 * images, 0, 255)),
        class_names=fixed(["a", "b", "c"]),
        number_of_crops=fixed(2),
    )
    add(
        "Craft.decompose",
        craft("decompose"),
        concept_id=fixed(0),
        layer=fixed("first"),
        number_of_concepts=fixed(2),
        percentile=fixed(50.0),
        factorizer=fixed("nmf"),
        tolerance=fixed(0.1),
    )
    add(
        "Craft.grow",
        craft("grow"),
        depth=fixed(1),
        min_mixedness=fixed(0.0),
        number_of_concepts=fixed(2),
        percentile=fixed(50.0),
        layers=fixed(["first"]),
        tolerance=fixed(0.1),
        **asked,
    )
    # -------------------------------------------------------------------------------- nodes
    node = lambda name: lambda: getattr(w.node, name)  # noqa: E731
    add("ConceptNode.contributions", node("contributions"), score=fixed("parent"), **asked)
    add("ConceptNode.measure", node("measure"), **asked)
    add("ConceptNode.quality", node("quality"), score=fixed("class"), **asked)
    add("ConceptNode.maps", node("maps"), concepts=fixed([0]), **asked)
    add("Child.maps", lambda: w.node.children[0].maps, **asked)
    for owner in ("ConceptNode", "Child"):
        one = {"concept_id": fixed(0)} if owner == "ConceptNode" else {}
        of = (lambda: w.node) if one else (lambda: w.node.children[0])
        add(
            f"{owner}.decompose",
            lambda of=of: of().decompose,
            **one,
            layer=fixed("first"),
            number_of_concepts=fixed(2),
        )
    add(
        "ConceptTree.view",
        lambda: w.tree.view,
        photographs=lambda: w.pictures,
        number_of_crops=fixed(2),
    )
    # --------------------------------------------------------------------------- importance
    cheap = {"nb_design": 4, "nb_samples": 8, "nb_permutations": 2, "steps": 4}
    for method, cls in sorted(METHODS.items()):
        settings = {
            name: fixed(value)
            for name, value in cheap.items()
            if name in inspect.signature(cls).parameters
        }
        short = {name: make() for name, make in settings.items()}

        def used(cls: type = cls, **arguments: Any) -> Any:
            return cls(**arguments).explain(w.images)

        functools.update_wrapper(used, cls)
        used.__signature__ = inspect.signature(cls)
        add(f"importance {method}", fixed(used), craft=lambda: w.craft, **settings)
        for asking in ("explain", "summary"):

            def one(cls: type = cls, short: Valid = short, asking: str = asking) -> Any:
                return getattr(cls(w.craft, batch_size=8, **short), asking)

            add(f"importance {method}.{asking}", one, targets=lambda: w.targets, **asked)
    add(
        "importance.summaries",
        lambda: importance.SobolImportance(w.craft, 4).summaries,
        targets=fixed({"a": 0, "b": 1}),
        **asked,
    )
    add(
        "BanzhafImportance.interactions",
        lambda: importance.BanzhafImportance(w.craft).interactions,
        targets=lambda: w.targets,
        **asked,
    )
    add(
        "importance.interactions",
        lambda: importance.SobolImportance(w.craft, 4).interactions,
        targets=lambda: w.targets,
        **asked,
    )

    # ------------------------------------------------------------------------- attributions
    def attribution(**arguments: Any) -> Any:
        return attributions.ConceptAttribution(**arguments).explain_concepts(w.images[:2])

    attribution.__name__ = "ConceptAttribution"
    attribution.__signature__ = inspect.signature(attributions.ConceptAttribution)
    add(
        "ConceptAttribution",
        fixed(attribution),
        craft=lambda: w.craft,
        explainer=fixed(Saliency),
        explainer_args=fixed({"batch_size": 4}),
    )
    maps = lambda: attributions.ConceptAttribution(w.craft)  # noqa: E731
    add(
        "ConceptAttribution.explain",
        lambda: maps().explain,
        targets=lambda: w.targets,
        **asked,
    )
    add(
        "ConceptAttribution.explain_concepts",
        lambda: maps().explain_concepts,
        concepts=fixed([0, 2]),
        **asked,
    )
    # -------------------------------------------------------------------- metrics and compare
    add("metrics.purity", fixed(metrics.purity), craft=lambda: w.craft, **judged)
    for kind in (metrics.ConceptDeletion, metrics.ConceptInsertion, metrics.ConceptMuFidelity):

        def measured(kind: Any = kind, **arguments: Any) -> Any:
            return kind(**arguments).evaluate(np.arange(3.0))

        functools.update_wrapper(measured, kind)
        measured.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        settings = {"nb_random": fixed(4)}
        settings |= {"nb_samples": fixed(8)} if kind is metrics.ConceptMuFidelity else {}
        of = {"concepts": lambda: w.craft, "targets": lambda: w.targets, **settings, **asked}
        add(f"metrics.{kind.__name__}", fixed(measured), **of)
        for asking in ("evaluate", "detailed_evaluate", "summary"):
            if hasattr(kind, asking):

                def metric(kind: Any = kind, asking: str = asking) -> Any:
                    return getattr(kind(w.craft, w.images), asking)

                add(
                    f"{kind.__name__}.{asking}",
                    metric,
                    importances=lambda: w.importance.per_image,
                )
    add("metrics.stability", fixed(metrics.stability), craft=lambda: w.craft, folds=fixed(2))
    shown = {"concepts": lambda: w.craft, "inputs": lambda: 1.0 - w.images}
    add("measure_extraction", fixed(metrics.measure_extraction), folds=fixed(2), **shown)
    add(
        "measure_complexity",
        fixed(metrics.measure_complexity),
        craft=lambda: w.craft,
        layers=fixed(["half"]),
        folds=fixed(2),
        **asked,
    )
    pair = {"activations": lambda: w.rows, "rebuilt": lambda: 0.9 * w.rows}
    for name in (
        *("relative_error", "r_squared", "wasserstein_distance", "out_of_distribution"),
        "worst_explained",
    ):
        add(name, fixed(getattr(metrics, name)), **pair)
    for name in ("zero_share", "hoyer_sparsity", "dead_concepts"):
        add(name, fixed(getattr(metrics, name)), u=lambda: w.rows)
    add("duplicate_concepts", fixed(metrics.duplicate_concepts), bank=lambda: w.rows)
    add(
        "choose_number_of_concepts",
        fixed(xc.choose_number_of_concepts),
        craft=lambda: xc.Craft.from_model(w.split, None, 3, batch_size=4),
        images=lambda: w.images,
        class_id=lambda: w.class_id,
        numbers=fixed((2, 3)),
        held_out=fixed(None),
        folds=fixed(2),
        **judged,
    )
    for form in ("bank", "additive"):
        add(
            f"output_fidelity, {form}",
            fixed(xc.output_fidelity),
            concepts=lambda: w.craft,
            form=fixed(form),
            outputs=fixed([0, 2]),
            **({"reference": lambda: w.images} if form == "additive" else {}),
            **asked,
        )
    add("unite", fixed(xc.unite), concept_models=lambda: [w.craft, w.craft], **asked)
    add("sanity_check", fixed(xc.sanity_check), craft=lambda: w.craft, **asked)
    add(
        "measure_prevalence",
        fixed(xc.measure_prevalence),
        craft=lambda: w.craft,
        labels=lambda: np.arange(N) % 3,
        explainer=lambda: importance.OcclusionImportance(w.craft),
        **asked,
    )
    add(
        "compare",
        fixed(xc.compare),
        craft=lambda: w.craft,
        targets=lambda: w.targets,
        photographs=lambda: w.pictures,
        **{name: fixed(value) for name, value in CALM["compare"].items()},
        **asked,
    )
    for cls in (comparison.Deletion, comparison.MuFidelity, comparison.Stability):
        add(cls.__name__, fixed(cls))
    add("Insertion", fixed(comparison.Insertion))
    add("Randomisation", fixed(comparison.Randomisation))
    add(
        "explain_class",
        fixed(xc.explain_class),
        craft=lambda: xc.Craft.from_model(w.split, None, 3, batch_size=4),
        images=lambda: w.images,
        class_id=lambda: w.class_id,
        photographs=lambda: w.pictures,
        nb_design=fixed(8),
        folds=fixed(2),
        judge=lambda: w.judge,
        prepare=judged["prepare"],
    )
    add(
        "explain_model",
        fixed(xc.explain_model),
        model=lambda: w.split,
        images=lambda: w.images,
        labels=lambda: np.arange(N) % 3,
        classes=lambda: [w.class_id],
        number_of_concepts=fixed(2),
        folder=lambda: tempfile.mkdtemp(dir=w.folder),
        photographs=lambda: w.pictures,
        nb_design=fixed(8),
        number_of_views=fixed(0),
        batch_size=fixed(4),
    )
    add("Atlas", fixed(xc.Atlas), folder=lambda: str(w.atlas.folder))
    add(
        "Atlas.craft",
        lambda: w.atlas.craft,
        class_id=lambda: w.class_id,
        model=lambda: w.split,
    )
    for name in ("explanation", "images"):
        one = functools.partial(lambda n: getattr(w.atlas, n), name)
        add(f"Atlas.{name}", one, class_id=lambda: w.class_id)
    add(
        "metrics.CropCluster",
        fixed(metrics.CropCluster),
        embeddings=lambda: w.clusters[0].embeddings,
        photographs=lambda: w.clusters[0].photographs,
    )
    add(
        "metrics.embed_crops",
        fixed(metrics.embed_crops),
        judge=lambda: w.split.input_to_latent,
        crops=lambda: list(w.images),
        photographs=lambda: np.arange(N),
        prepare=fixed(lambda pictures: pictures / 2.0),
    )
    add(
        "metrics.intruder_test",
        fixed(metrics.intruder_test),
        clusters=lambda: w.clusters,
        trials=fixed(20),
    )
    add(
        "metrics.binary_choice",
        fixed(metrics.binary_choice),
        pairs=lambda: [(w.clusters[0], w.clusters[1])],
        trials=fixed(20),
    )
    add(
        "metrics.difference",
        fixed(metrics.difference),
        first=lambda: w.trials,
        second=lambda: w.trials,
    )
    # ------------------------------------------------------------------------ factorization
    for name in ("NMF", "SignedNMF", "SemiNMF", "KMeans", "PCA"):
        if name != "PCA":  # it has no settings
            add(f"factorization.{name}", fixed(getattr(factorization, name)))

        def fit(name: str = name) -> Any:
            return getattr(factorization, name)().fit

        add(f"{name}.fit", fit, rows=lambda: w.rows, number_of_concepts=fixed(2))
    for name in ("encode", "transform"):
        add(
            f"Factorized.{name}",
            functools.partial(lambda n: getattr(w.factorized, n), name),
            activations=lambda: w.rows,
        )
    add("Factorized.decode", lambda: w.factorized.decode, u=fixed(np.ones((3, 2), np.float32)))
    add("Factorized.explained", lambda: w.factorized.explained, u=fixed(np.ones((3, 2))))
    add("get_factorizer", fixed(factorization.get_factorizer), factorizer=fixed("nmf"))
    add(
        "XpliqueFactorizer",
        fixed(factorization.XpliqueFactorizer),
        factorizer=lambda: factorization.NMF(),
        n_components=fixed(2),
    )
    for name in ("encode", "encode_differentiable"):
        add(
            f"XpliqueFactorizer.{name}",
            functools.partial(lambda n: getattr(w.fitted_adapter, n), name),
            activations=lambda: w.rows,
        )
    add(
        "XpliqueFactorizer.fit",
        lambda: factorization.XpliqueFactorizer(factorization.NMF(), 2).fit,
        activations=lambda: w.rows,
    )
    add(
        "XpliqueFactorizer.decode",
        lambda: w.fitted_adapter.decode,
        coefficients=fixed(np.ones((3, 2), np.float32)),
    )
    # --------------------------------------------------------------------- results and crops
    add("Importance.select", lambda: w.importance.select, concepts=fixed([0]))
    add("Importance.top", lambda: w.importance.top, number=fixed(2))
    add("Comparison.measure", lambda: w.comparison.measure, key=fixed("deletion"))
    add("Comparison.best", lambda: w.comparison.best, key=fixed("deletion"))
    add("ImageExplanation.view", lambda: w.of_image.view)
    add("Crops.cut", lambda: w.craft.concepts.crops.cut, indices=fixed([0, 1]))
    add("Crops.__getitem__", lambda: w.craft.concepts.crops.__getitem__, index=fixed([0, 1]))
    # --------------------------------------------------------------------------------- plots
    result = lambda: w.contributions  # noqa: E731
    add("plots.waterfall", fixed(plots.waterfall), result=result)
    add("plots.waterfall_steps_of", fixed(plots.waterfall_steps_of), result=result)
    add("plots.importance_bars", fixed(plots.importance_bars), importance=lambda: w.importance)
    add(
        "plots.importance_against_complexity",
        fixed(plots.importance_against_complexity),
        importance=lambda: w.importance,
        complexity=lambda: w.complexity,
    )
    card = lambda: w.explanation.cards[0]  # noqa: E731
    add("plots.activation_histogram", fixed(plots.activation_histogram), card=card)
    add("plots.concept_crops", fixed(plots.concept_crops), card=card)
    add(
        "plots.histogram_bins",
        fixed(plots.histogram_bins),
        coefficients=lambda: card().coefficients,
    )
    add("plots.concept_ranks", fixed(plots.concept_ranks), explanation=lambda: w.explanation)
    add("plots.concept_style", fixed(plots.concept_style), rank=fixed(1))
    add(
        "plots.concept_overlay",
        fixed(plots.concept_overlay),
        photograph=lambda: w.pictures[0],
        maps=lambda: w.of_image.maps,
        concepts=fixed([0]),
        ranks=fixed([0, 1, 2]),
    )
    add("plots.class_map", fixed(plots.class_map), explanation=lambda: w.of_image)
    add("plots.image_explanation", fixed(plots.image_explanation), explanation=lambda: w.of_image)
    add("plots.fidelity_curves", fixed(plots.fidelity_curves), comparison=lambda: w.comparison)
    add(
        "plots.method_scores",
        fixed(plots.method_scores),
        comparison=lambda: w.comparison,
        measure=fixed("deletion"),
    )
    add("plots.maps_side_by_side", fixed(plots.maps_side_by_side), comparison=lambda: w.comparison)
    add("plots.concept_curves", fixed(plots.concept_curves), result=lambda: w.fidelity)
    add("plots.number_of_concepts", fixed(plots.number_of_concepts), result=lambda: w.numbers)
    add("plots.concept_tree", fixed(plots.concept_tree), view=lambda: w.tree.view(w.pictures))
    add("plots.tree_rows", fixed(plots.tree_rows), view=lambda: w.tree.view(w.pictures))
    # -------------------------------------------------------------------------------- report
    add(
        "report.write_report",
        fixed(report.write_report),
        explanations=lambda: [w.explanation],
        path=lambda: Path(w.folder) / "report.html",
    )
    add(
        "report.write_comparison",
        fixed(report.write_comparison),
        comparison=lambda: w.comparison,
        path=lambda: Path(w.folder) / "comparison.html",
    )
    add(
        "report.write_atlas",
        fixed(report.write_atlas),
        summary=lambda: w.summary,
        explanations=lambda: {w.class_id: w.explanation},
        folder=lambda: Path(w.folder) / "atlas",
    )
    # -------------------------------------------------------------------------- ground truth
    add("make_shapes", fixed(ground_truth.make_shapes), n=fixed(2), class_id=fixed(1))
    for name in ("build_shapes_model", "load_shapes_model"):
        add(f"ground_truth.{name}", fixed(getattr(ground_truth, name)), head=fixed("relu"))
    add(
        "measure_recovery",
        fixed(ground_truth.measure_recovery),
        concepts=lambda: w.craft_of_shapes,
        shapes=lambda: w.shapes,
        importances=fixed({"a": np.ones(3)}),
        maps=fixed({"a": np.ones((4, 64, 64))}),
    )
    add("demo.photograph", fixed(demo.photograph), class_name=fixed("coffee"))
    add("demo.crops", fixed(demo.crops), class_name=fixed("coffee"), number=fixed(2))
    return found


def _pool(w: World) -> dict[str, Callable[[], Any]]:
    """Values of every kind, most of which no argument takes; made anew for each call."""
    images = w.images
    spoilt = images.copy()
    spoilt[1, 2, 3, 0] = np.nan
    endless = images.copy()
    endless[0, 0, 0, 0] = np.inf
    slices = tf.data.Dataset.from_tensor_slices
    ragged = tf.ragged.constant([[1.0, 2.0], [3.0]])
    objects = images.astype(object)
    values: dict[str, Callable[[], Any]] = {
        "None": lambda: None,
        "True": lambda: True,
        "a string": lambda: "no",
        "an empty string": lambda: "",
        "bytes": lambda: b"bytes",
        "nan": lambda: float("nan"),
        "inf": lambda: float("inf"),
        "-inf": lambda: -float("inf"),
        "-1": lambda: -1,
        "0": lambda: 0,
        "1.5": lambda: 1.5,
        "-0.5": lambda: -0.5,
        "1e300": lambda: 1e300,
        "1e-300": lambda: 1e-300,
        "100": lambda: 100,
        "2**31": lambda: 2**31,
        "2**63": lambda: 2**63,
        "10**400": lambda: 10**400,
        "complex": lambda: 1 + 2j,
        "numpy nan": lambda: np.float32("nan"),
        "a numpy int": lambda: np.int64(1),
        "an array of one": lambda: np.array([1]),
        "a 0-d array": lambda: np.array(1),
        "an empty list": lambda: [],
        "an empty tuple": lambda: (),
        "a list of one": lambda: [1],
        "a list of strings": lambda: ["a", "b"],
        "a list of None": lambda: [None] * N,
        "a nested list": lambda: [[1, 2], [3, 4]],
        "a ragged list": lambda: [[1, 2], [3]],
        "a ragged list of arrays": lambda: [np.ones((2, 2)), np.ones((3, 3))],
        "a deep list": lambda: functools.reduce(lambda x, _: [x], range(80), 1),
        "a set": lambda: {1, 2},
        "a dict": lambda: {"x": 1},
        "an empty dict": lambda: {},
        "a function": lambda: lambda *_: None,
        "a function that fails": lambda: lambda *_: 1 / 0,
        "a function of no argument": lambda: lambda: 1,
        "a generator": lambda: (x for x in (1, 2)),
        "an iterator": lambda: iter(images),
        "an object": object,
        "a class": lambda: int,
        "an exception": lambda: ValueError("no"),
        "a module": lambda: np,
        "a path": lambda: Path("no/such/file"),
        "a folder": lambda: Path(w.folder),
        "a date": lambda: np.datetime64("2020-01-01"),
        "strings": lambda: np.array(["a", "b"]),
        "objects": lambda: objects,
        "an array of None": lambda: np.array([None, None]),
        "complex images": lambda: images.astype(np.complex64),
        "bool images": lambda: images > 0.5,
        "int images": lambda: (255 * images).astype(np.int64),
        "half images": lambda: images.astype(np.float16),
        "double images": lambda: images.astype(np.float64),
        "huge images": lambda: np.full_like(images, 3e38),
        "doubles beyond floats": lambda: np.full(images.shape, 1e300),
        "NaN images": lambda: spoilt,
        "infinite images": lambda: endless,
        "negative images": lambda: -images,
        "black images": lambda: np.zeros_like(images),
        "one image": lambda: images[0],
        "one image in a batch": lambda: images[:1],
        "no images": lambda: images[:0],
        "images of another size": lambda: images[:, :8],
        "grey images": lambda: images[..., :1],
        "images without channels": lambda: images[..., 0],
        "images of five axes": lambda: images[None],
        "images of no channels": lambda: images[..., :0],
        "images as lists": lambda: images[:2].tolist(),
        "a list of images": lambda: list(images),
        "masked images": lambda: np.ma.masked_less(images, 0.5),
        "a structured array": lambda: np.zeros(3, [("a", "f4")]),
        "a matrix": lambda: np.eye(3),
        "a matrix of NaN": lambda: np.full((N, 3), np.nan),
        "a vector of NaN": lambda: np.full(N, np.nan),
        "a vector": lambda: np.arange(N),
        "a vector of floats": lambda: np.linspace(0.0, 1.0, N),
        "a negative vector": lambda: -np.arange(N),
        "a large vector": lambda: np.arange(N) + 2**40,
        "a tensor": lambda: tf.constant(images),
        "a scalar tensor": lambda: tf.constant(1),
        "a tensor of strings": lambda: tf.constant(["a", "b"]),
        "a ragged tensor": lambda: ragged,
        "a sparse tensor": lambda: tf.sparse.from_dense(np.eye(3)),
        "a variable": lambda: tf.Variable(1.0),
        "a symbolic tensor": lambda: keras.Input((2,)),
        "a dataset": lambda: slices(images),
        "a dataset in batches": lambda: slices(images).batch(2),
        "a dataset batched twice": lambda: slices(images).batch(2).batch(2),
        "a dataset of pairs": lambda: slices((images, np.zeros(N, np.int64))).batch(4),
        "a dataset of wrong labels": lambda: slices((images, np.full(N, 9))).batch(4),
        "a dataset of string labels": lambda: slices((images, ["a"] * N)).batch(4),
        "a dataset of triples": lambda: slices((images, images, images)),
        "a dataset of dicts": lambda: slices({"image": images}),
        "a dataset of strings": lambda: slices(["a", "b"]),
        "a dataset without end": lambda: slices(images).repeat(),
        "a dataset of unknown length": lambda: slices(images).filter(lambda _: True),
        "a dataset that is empty when read": lambda: slices(images).filter(lambda _: False),
        "an empty dataset": lambda: slices(images).take(0),
        "a dataset of NaN": lambda: slices(spoilt).batch(2),
        "a dataset that fails": lambda: tf.data.Dataset.from_generator(
            lambda: (1 / 0 for _ in (1,)), output_signature=tf.TensorSpec((*SIZE, 3), tf.float32)
        ),
        "a layer": lambda: keras.layers.Dense(2),
        "another model": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        "an unbuilt model": lambda: keras.Sequential([keras.layers.Dense(2)]),
        "the model": lambda: w.model,
        "a split": lambda: w.split,
        "a craft": lambda: w.craft,
        "an unfitted craft": lambda: xc.Craft.from_model(w.split, None, 2),
        "the class Craft": lambda: xc.Craft,
        "a node": lambda: w.node,
        "a difference": lambda: xc.ClassDifference(0, 1),
        "a wrong difference": lambda: xc.ClassDifference(0, 9),
        "a difference of strings": lambda: xc.ClassDifference("a", "b"),  # type: ignore[arg-type]
        "an enum": lambda: results.BranchState.OF_ONE_PIECE,
        "an explainer": lambda: Saliency(w.model),
        "an importance": lambda: w.importance,
        "contributions": lambda: w.contributions,
        "NaN contributions": lambda: dataclasses.replace(
            w.contributions, phi=np.full_like(w.contributions.phi, np.nan)
        ),
        "a class explanation": lambda: w.explanation,
        "a figure": Figure,
        "a factorizer": lambda: factorization.PCA(),
    }
    return values


def _near(valid: Any) -> dict[str, Callable[[], Any]]:
    """What a valid value becomes by a mistake: the nearest that an argument does not take."""
    made: dict[str, Callable[[], Any]] = {
        "in a list": lambda: [valid],
        "in a tuple": lambda: (valid, valid),
        "in an array": lambda: np.array([valid, None], object)[:1],
        "as a string": lambda: str(valid)[:50],
        "by its name": lambda: type(valid).__name__,
        "as a function": lambda: lambda *_: valid,
        "its type": lambda: type(valid),
    }
    if isinstance(valid, tf.Tensor):
        valid = valid.numpy()
    if isinstance(valid, np.ndarray):

        def spoilt(value: float) -> np.ndarray:
            copy = valid.astype(np.float32)
            copy.reshape(-1)[copy.size // 2] = value
            return copy

        made |= {
            "with NaN": lambda: spoilt(np.nan),
            "with infinity": lambda: spoilt(np.inf),
            "with -1e38": lambda: spoilt(-1e38),
            "with -1": lambda: spoilt(-1.0),
            "of objects": lambda: valid.astype(object),
            "complex": lambda: valid.astype(np.complex128),
            "of strings": lambda: valid.astype(str),
            "of bools": lambda: valid.astype(bool),
            "of halves": lambda: valid.astype(np.float16),
            "of bytes": lambda: valid.astype(np.int8),
            "of dates": lambda: valid.astype(np.int64).astype("datetime64[D]"),
            "with one axis more": lambda: valid[None],
            "with one axis less": lambda: valid[0],
            "with a last axis": lambda: valid[..., None],
            "flat": lambda: valid.reshape(-1),
            "reversed axes": lambda: valid.T,
            "one row less": lambda: valid[:-1],
            "twice": lambda: np.concatenate([valid, valid]),
            "no row": lambda: valid[:0],
            "one channel less": lambda: valid[..., :-1],
            "every other": lambda: valid[..., ::2],
            "zeros": lambda: np.zeros_like(valid),
            "negative": lambda: -valid.astype(np.float32),
            "as lists": lambda: valid.tolist(),
            "as ragged lists": lambda: [valid[0], valid[:1]],
            "as a tensor": lambda: tf.constant(valid),
            "as a dataset": lambda: tf.data.Dataset.from_tensor_slices(valid),
            "as an iterator": lambda: iter(valid),
            "masked": lambda: np.ma.masked_array(valid, np.arange(valid.size) % 2),
            "read-only": lambda: np.broadcast_to(valid, valid.shape),
        }
    elif isinstance(valid, (bool, int, float)):
        made |= {
            "negative": lambda: -valid - 1,
            "far too large": lambda: valid + 10**7,
            "as a float": lambda: float(valid) + 0.25,
            "as an int": lambda: int(valid),
            "as a bool": lambda: bool(valid),
            "as a 0-d array": lambda: np.array(valid),
            "as a tensor": lambda: tf.constant(valid),
            "as int8": lambda: np.int8(valid),
            "complex": lambda: complex(valid),
            "NaN": lambda: np.float64("nan"),
            "infinite": lambda: float("inf"),
            "small": lambda: 1e-308,
        }
    elif isinstance(valid, str):
        made |= {
            "in capitals": lambda: valid.upper(),
            "with a letter more": lambda: valid + "x",
            "with NUL": lambda: valid + "\x00",
            "not UTF-8": lambda: valid + "\udcff",
            "as bytes": lambda: valid.encode(),
            "very long": lambda: valid * 1000,
        }
    elif isinstance(valid, (list, tuple)):
        made |= {
            "empty": lambda: type(valid)(),
            "twice": lambda: [*valid, *valid],
            "with None": lambda: [*valid, None],
            "one less": lambda: list(valid)[:-1],
            "as a set of ids": lambda: set(map(id, valid)),
            "as a dict": lambda: dict(enumerate(valid)),
            "as an iterator": lambda: iter(valid),
            "nested": lambda: [list(valid)],
        }
    elif isinstance(valid, Mapping):
        made |= {
            "empty": dict,
            "of numbers": lambda: dict.fromkeys(valid, 1),
            "of None": lambda: dict.fromkeys(valid),
            "with a key more": lambda: {**valid, "other": 1},
            "as a list": lambda: list(valid),
        }
    elif inspect.isfunction(valid):
        made |= {
            "that gives None": lambda: lambda *_: None,
            "that gives NaN": lambda: lambda x, *_: np.full(np.shape(x), np.nan),
            "that gives one less": lambda: lambda x, *_: x[1:],
            "that gives a scalar": lambda: lambda x, *_: 1.0,
            "that gives strings": lambda: lambda x, *_: ["a"] * len(x),
            "that fails": lambda: lambda *_: {}["missing"],
        }
    return made


# ------------------------------------------------------------------------ what came of it
PASSED_ON = (NotFittedError, FileNotFoundError, OSError)  # as documented, besides the two of all


class Verdict(enum.Enum):
    """How a call was answered."""

    RESULT = "a result"
    ERROR = "an error of the package's own"
    UNNAMED = "an error that does not name the argument"
    RAW = "an error of something else"
    NAN = "a result with NaN"


NEAR = "the valid one, "
BAD = (Verdict.UNNAMED, Verdict.RAW, Verdict.NAN)
WORDS = {  # an argument may be called by what it holds
    "inputs": ("inputs", "images", "activations", "targets must be"),  # as many as there are
    "image": ("image",),
    "images": ("images", "photographs must have"),
    "layers": ("layer",),
    "concepts": ("concept", "this craft is not fitted"),
    "concept_id": ("concept",),
    "targets": ("target", "classes"),
    "labels": ("label", "target"),
    "explainer_args": ("explainer", "argument"),
    "input_to_latent_model": ("input_to_latent",),
    "latent_to_logit_model": ("latent_to_logit", "model's output"),
    "path": ("path", "file"),
    "photographs": ("photograph", "picture"),
    "restore": ("restore",),
    "crops": ("crop",),
    "rows": ("rows", "activations", "crops"),
    "coefficients": ("coefficient", "u must"),
}


@functools.cache
def _raises_of(path: str) -> list[tuple[int, int]]:
    """First and last line of every `raise` of a file."""
    tree = ast.parse("".join(linecache.getlines(path)))
    return [
        (n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, ast.Raise)
    ]


def _is_own(error: BaseException) -> bool:
    """Whether an exception is one that a `raise` of the package made."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(frame.filename).is_relative_to(PACKAGE) or frame.lineno is None:
        return False
    return any(first <= frame.lineno <= last for first, last in _raises_of(frame.filename))


def _judge_error(error: BaseException, argument: str) -> Verdict:
    known = isinstance(error, (ValueError, TypeError, *PASSED_ON))
    if not known or not _is_own(error):
        return Verdict.RAW
    words = WORDS.get(argument, (argument, argument.rstrip("s").replace("_", " ")))
    text = str(error).lower()
    named = argument in text or any(word in text for word in words)
    return Verdict.ERROR if named else Verdict.UNNAMED


_MAY_BE_NAN = {  # documented: not measured, not defined, or of one image
    *("low", "high", "estimation_interval", "image_interval", "estimation", "kkt_residual"),
    *("TreeBranch.mixedness", "TreeBranch.unexplained", "TreeBranch.gap"),
    *("Prevalence.reliability", "Quality.relative_error", "MethodScores.seconds"),
    # of shapes that are in none of a few images
    *("Recovery.strength", "Recovery.direction", "Recovery.correlation"),
    *("Recovery.separation", "Recovery.orders", "Recovery.places"),
}


def numbers_of(value: Any, seen: set[int] | None = None) -> Iterator[np.ndarray]:
    """Every array of numbers in a result, but for those that may be NaN."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (str, bytes, keras.Model, type)):
        return
    seen.add(id(value))
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    if isinstance(value, (float, np.ndarray, np.number)):
        array = np.asarray(value)
        if array.dtype.kind in "fc":
            yield array
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            full = f"{type(value).__name__}.{field.name}"
            if _MAY_BE_NAN.isdisjoint((field.name, full)):
                yield from numbers_of(getattr(value, field.name, None), seen)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from numbers_of(one, seen)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from numbers_of(one, seen)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One call and what came of it."""

    name: str
    argument: str
    value: str
    verdict: Verdict
    said: str


class Caller:
    """Malformed calls, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.world = World()
        self.entries = _entries(self.world)
        self.pool = _pool(self.world)
        self.turn: list[str] = []

    def next(self) -> tuple[str, str, str]:
        """Of all functions in turn, one of its arguments, and what stands in its place."""
        if not self.turn:
            self.turn = list(self.entries)
            self.draw.shuffle(self.turn)
        name = self.turn.pop()
        function = self.entries[name][0]()
        arguments = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        argument = self.draw.choice(arguments)
        if self.draw.random() < 0.5:
            return name, argument, self.draw.choice(list(self.pool))
        near = _near(self._valid(name, argument))
        return name, argument, NEAR + self.draw.choice(list(near))

    def _valid(self, name: str, argument: str) -> Any:
        """A value that is valid there: what the entry gives, or the default."""
        make, valid = self.entries[name]
        default = inspect.signature(make()).parameters[argument].default
        return valid().get(argument, default)

    def value(self, name: str, argument: str, label: str) -> Any:
        """What stands in the place of an argument, made anew."""
        if label.startswith(NEAR):
            return _near(self._valid(name, argument))[label.removeprefix(NEAR)]()
        return self.pool[label]()

    def call(self, name: str, argument: str, value: str) -> Answer:
        """Make one call."""
        make, valid = self.entries[name]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                wrong = self.value(name, argument, value)
            except Exception:  # some values cannot be what the mistake would make of them
                wrong = None
            function, arguments = make(), {**valid(), argument: wrong}
            try:
                result = function(**arguments)
                result = list(result) if inspect.isgenerator(result) else result
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                if not _is_own(error):
                    frames = traceback.extract_tb(error.__traceback__)
                    own = [f for f in frames if Path(f.filename).is_relative_to(PACKAGE)]
                    at = [f"{Path(f.filename).relative_to(PACKAGE)}:{f.lineno}" for f in own[-2:]]
                    said = f"{said[:300]} [{' > '.join(at)}]"
                return Answer(name, argument, value, _judge_error(error, argument), said)
        told = any("NaN" in str(one.message) for one in caught)
        undefined = not told and any(np.isnan(numbers).any() for numbers in numbers_of(result))
        verdict = Verdict.NAN if undefined else Verdict.RESULT
        return Answer(name, argument, value, verdict, f"{type(result).__name__}")


def names_reached(caller: Caller) -> set[str]:
    """What is called, as "function" or "Class.method"."""
    found = set()
    for make, _ in caller.entries.values():
        function = make()
        owner = getattr(function, "__self__", None)
        name = function.__name__
        if owner is not None and not inspect.ismodule(owner):
            kinds = owner.__mro__ if isinstance(owner, type) else type(owner).__mro__
            found |= {f"{kind.__name__}.{name}" for kind in kinds}
        found.add(name)
    return found


def run(caller: Caller, number: int) -> list[Answer]:
    """So many calls; the process ends where one of them hangs."""
    answers = []
    for _ in range(number):
        call = caller.next()
        print(*call, sep=" | ", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        answers.append(caller.call(*call))
        faulthandler.cancel_dump_traceback_later()
    return answers


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:  # whatever is written stays in there
        os.chdir(folder)
        caller = Caller(options.seed)
        answers = run(caller, options.number)
        reached = sorted(names_reached(caller))
        os.chdir(home)
    bad = [
        dataclasses.asdict(one) | {"verdict": one.verdict.name}
        for one in answers
        if one.verdict in BAD
    ]
    counts = collections.Counter(one.verdict.name for one in answers)
    print(json.dumps({"counts": counts, "bad": bad, "reached": reached}, indent=1))


if __name__ == "__main__":
    main()
