"""
Claim: maps of concepts forget a model whose weights are at random, as GradCAM's do.

Protocol: mobilenet and squeezenet, cut at their last block; 25 concepts of tench, found in those of
the first 100 photographs that the model predicts as tench; 16 others are explained, by the logit.
The last share of the layers with weights is put at random, in a clone, in two ways: Xplique's own
(`ProgressiveLayerRandomization`: every number uniform in [0, 1), so that what was trained to be
above or below 0 is above it), and each layer's own initialiser (Adebayo et al., 2018). Given is the
mean over photographs and 3 seeds of the Spearman correlation of the clone's map with the model's:
for concept maps by Xplique's `ModelRandomizationMetric`, for GradCAM, which cannot be handed
another model, by the same correlation of the map of a GradCAM made anew.

    python benchmarks/randomisation.py [--output FILE]
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions

MODELS = ("mobilenet", "squeezenet")
SHARES = (0.02, 0.1, 0.25, 0.5)
CLASS, FITTED, HELD_OUT, CONCEPTS, SEEDS = "tench", 100, 16, 25, 3


def own_initialisers(share: float) -> Any:
    """A strategy for Xplique's metric: the last layers as they are before training."""
    import keras
    from xplique.metrics import ProgressiveLayerRandomization

    class OwnInitialisers(ProgressiveLayerRandomization):
        def randomize(self, model: Any) -> Any:
            untrained = keras.models.clone_model(model)
            layers = [layer for layer in model.layers if layer.get_weights()][::-1]
            for layer in layers[: int(len(layers) * self.stop_layer)]:
                layer.set_weights(untrained.get_layer(layer.name).get_weights())
            return model

    return OwnInitialisers(share)


def measure(model_name: str) -> list[list[str]]:
    """A row for each way and share."""
    import keras
    import tensorflow as tf
    from xplique.attributions import GradCAM
    from xplique.metrics import ModelRandomizationMetric, ProgressiveLayerRandomization

    from xplique_craft import Craft, split_model
    from xplique_craft.attributions import ConceptAttribution
    from xplique_craft.comparison.fidelity import rank_correlation

    kit = load_kit()
    layer = kit.SPLIT_LAYERS[model_name][0]
    split = split_model(kit.load_model(model_name), layer)
    class_id = kit.class_index(CLASS)
    images, held_out = photographs(kit, model_name, CLASS, FITTED, HELD_OUT)
    predicted = split.model.predict(images, batch_size=32, verbose=0).argmax(1) == class_id
    craft = Craft.from_model(split, number_of_concepts=CONCEPTS)
    craft.fit(images[predicted], class_id)
    targets = tf.one_hot([class_id] * len(held_out), split.model.output_shape[-1])
    ours = [ConceptAttribution(craft, output=output) for output in ("activation", "relevance")]

    def cam(model: Any) -> np.ndarray:
        return np.asarray(GradCAM(model, conv_layer=layer).explain(held_out, targets))[..., 0]

    original = cam(craft.model)
    rows = []
    for way, strategy_of in (
        ("uniform in [0, 1)", ProgressiveLayerRandomization),
        ("own initialisers", own_initialisers),
    ):
        for share in SHARES:
            strategy, found = strategy_of(share), []
            for seed in range(SEEDS):
                metric = ModelRandomizationMetric(
                    craft.model, held_out, targets, randomization_strategy=strategy, seed=seed
                )
                other = keras.models.clone_model(craft.model)
                other.set_weights(craft.model.get_weights())
                tf.random.set_seed(seed)
                strategy.randomize(other)
                theirs = rank_correlation(original, cam(other)).mean()
                found.append([*(metric(one) for one in ours), theirs])
            means = np.mean(found, axis=0)
            rows.append([model_name, way, f"{share:.0%}", *(f"{value:.2f}" for value in means)])
            print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
            keras.backend.clear_session()
    return rows


def write_page(rows: list[list[str]]) -> str:
    """The whole result in Markdown."""
    header = ["model", "at random", "layers", "activation", "relevance", "GradCAM"]
    parts = [
        "# Maps of a model whose weights are at random",
        "What is measured, and on what, is said at the top of `benchmarks/randomisation.py`: "
        "rank correlation with the trained model's maps, 1 being the same map.",
        versions(),
        markdown_table(header, rows),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description="Maps of randomised models.")
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    output = parser.parse_args().output
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    page = write_page([row for model_name in MODELS for row in measure(model_name)])
    print(page)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
