"""
Training of the classifiers of shapes: `python tools/train_shapes.py [--output FOLDER] [--seed 0]`.

It writes the files that the package ships, xplique_craft/ground_truth/shapes_affine.npz and
shapes_relu.npz.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xplique_craft.demo.model import named_weights
from xplique_craft.ground_truth import Shapes, build_shapes_model, make_shapes
from xplique_craft.ground_truth.model import HEADS, shapes_weights

TRAINED_ON, TESTED_ON = 1_000_000, 2_000_000  # added to the seed, so that no image is of both


def train(
    head: str, *, number: int = 8000, epochs: int = 20, seed: int = 0, verbose: bool = True
) -> keras.Model:
    """
    Train a classifier.

    Sets the global seeds of Python, NumPy and TensorFlow.

    Parameters
    ----------
    head
        "affine" learns the planted scores, by their squared error; "relu" the labels, by cross
        entropy.
    number
        How many images it learns from.
    epochs
        How many times it sees each.
    seed
        Decides the images, the first weights and the order: training repeats itself.
    verbose
        Whether Keras's progress bar is shown.

    Returns
    -------
    model
        The trained classifier.
    """
    keras.utils.set_random_seed(seed)
    shapes = make_shapes(number, seed=TRAINED_ON + seed)
    model = build_shapes_model(head)
    wanted = shapes.scores.astype(np.float32) if head == "affine" else shapes.labels
    loss = (
        keras.losses.MeanSquaredError()
        if head == "affine"
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    batch_size = 64
    steps = epochs * -(-number // batch_size)
    trained = keras.Sequential([keras.Input(model.input_shape[1:]), model])
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    trained.compile(keras.optimizers.AdamW(rate, weight_decay=0.05), loss, jit_compile=False)
    trained.fit(
        shapes.images,
        wanted,
        batch_size=batch_size,
        epochs=epochs,
        verbose="auto" if verbose else 0,
    )
    return model


def accuracy(model: keras.Model, shapes: Shapes) -> float:
    """Share of the images that the model predicts right."""
    logits = model.predict(shapes.images, batch_size=64, verbose=0)
    return float(np.mean(logits.argmax(axis=1) == shapes.labels))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both, print their accuracy on other images, save; the same bits on one machine."""
    parser = argparse.ArgumentParser(
        prog="python tools/train_shapes.py",
        description="Train the classifiers of shapes (a few minutes on two cores).",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=shapes_weights().parent,
        help="folder to write to (default: %(default)s)",
    )
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    options = parser.parse_args(arguments)

    tf.config.experimental.enable_op_determinism()
    others = make_shapes(2000, seed=TESTED_ON + options.seed)
    for head in options.heads:
        model = train(head, seed=options.seed)
        print(f"{head}: accuracy {accuracy(model, others):.4f} on {len(others.labels)} images")
        path = options.output / shapes_weights(head).name
        np.savez(path, **{name: np.asarray(one) for name, one in named_weights(model).items()})
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
