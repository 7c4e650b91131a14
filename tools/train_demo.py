"""
Training of the demo's classifiers: `python tools/train_demo.py [--models NAME ...] [--seed 0]`.

It writes the files that the package ships, xplique_craft/demo/photographs.npz (convolutions) and
transformer.npz.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xplique_craft.demo import (
    CLASS_NAMES,
    TRANSFORMER_PATH,
    WEIGHTS_PATH,
    build_model,
    build_transformer,
    crops,
)
from xplique_craft.demo.data import Sample
from xplique_craft.demo.model import named_weights

# name -> (what builds it, the file that ships, the precision in which its weights are kept)
MODELS = {
    "convolutions": (build_model, WEIGHTS_PATH, np.float32),
    "transformer": (build_transformer, TRANSFORMER_PATH, np.float16),
}


def labelled_crops(
    crops_per_class: int, split: Sample, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """
    Crops of every class, with their labels.

    Parameters
    ----------
    crops_per_class
        How many crops are drawn of each class.
    split, seed
        Which of the three draws, and what it depends on, as for `crops`.

    Returns
    -------
    images, labels
        (n, 96, 96, 3) uint8 and (n,) class ids, class after class.
    """
    images = [crops(name, crops_per_class, split=split, seed=seed) for name in CLASS_NAMES]
    return np.concatenate(images), np.repeat(np.arange(len(CLASS_NAMES)), crops_per_class)


def train(
    build: Callable[[], keras.Model] = build_model,
    *,
    crops_per_class: int = 600,
    epochs: int = 10,
    seed: int = 0,
    verbose: bool = True,
) -> keras.Model:
    """
    Train a classifier on crops of the "train" split, mirrored and brightened at random.

    Sets the global seeds of Python, NumPy and TensorFlow.

    Parameters
    ----------
    build
        Makes the classifier with random weights.
    crops_per_class
        How many crops of each class it learns from.
    epochs
        How many times it sees each crop.
    seed
        Decides the crops, the first weights, the order and the augmentation: with the same seed,
        training repeats itself.
    verbose
        Whether Keras's progress bar is shown.

    Returns
    -------
    model
        The trained classifier, without optimizer or loss.
    """
    keras.utils.set_random_seed(seed)
    images, labels = labelled_crops(crops_per_class, "train", seed)
    model = build()
    # The augmentation wraps the model, so that the model itself is saved bare.
    augmented = keras.Sequential(
        [
            keras.Input(model.input_shape[1:]),
            keras.layers.RandomFlip("horizontal", seed=seed),
            keras.layers.RandomBrightness(0.1, value_range=(0, 255), seed=seed),
            model,
        ]
    )
    batch_size = 64
    steps = epochs * -(-len(images) // batch_size)
    augmented.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(2e-3, steps), weight_decay=0.1
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    augmented.fit(
        images, labels, batch_size=batch_size, epochs=epochs, verbose="auto" if verbose else 0
    )
    return model


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """
    Share of the images that the model predicts right.

    Parameters
    ----------
    model
        A classifier, from images to logits.
    images
        The crops to classify, (n, 96, 96, 3).
    labels
        The class ids they should get, (n,).

    Returns
    -------
    share
        Between 0 and 1.
    """
    logits = model.predict(images, batch_size=64, verbose=0)
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the accuracy on held-out crops, save; bit for bit the same on one machine."""
    parser = argparse.ArgumentParser(
        prog="python tools/train_demo.py",
        description="Train the demo's classifiers (about two and five minutes on two cores).",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=WEIGHTS_PATH.parent,
        help="folder to write to (default: %(default)s)",
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    options = parser.parse_args(arguments)

    tf.config.experimental.enable_op_determinism()
    images, labels = labelled_crops(100, "held_out", options.seed)
    for name in options.models:
        build, shipped, precision = MODELS[name]
        model = train(build, seed=options.seed)
        weights = {}
        for path, weight in named_weights(model).items():
            weights[path] = np.asarray(weight).astype(precision)
            weight.assign(weights[path])  # so that what is measured is what is kept
        share = accuracy(model, images, labels)
        print(f"{name}: held-out accuracy {share:.4f} on {len(images)} crops")
        file = options.output / shipped.name
        np.savez(file, **weights)
        print(f"wrote {file} ({file.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
