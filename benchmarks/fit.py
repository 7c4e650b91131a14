"""
Claim: finding concepts costs at most 15 passes of g a photograph, and next to nothing besides.

Protocol: mobilenet, squeezenet and efficientnet at their last block, tench and parachute; concepts
are found in those of the first 100 photographs that the model predicts as the class, 10 and 25 of
them. Counted is every image that goes through g in `fit`, examples on cards included. The time of
`fit`, a second call so that nothing is traced, is divided by that of as many passes of g over the
same photographs in batches of 64, taken before and after it in the same process; the median
ratio of three. Target: at most 15 passes, at most 1.15 times their time.
"""

import argparse
import os
import sys
import time
import warnings

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions

MODELS = ("mobilenet", "squeezenet", "efficientnet")
CLASSES = ("tench", "parachute")
CONCEPTS = (10, 25)
FITTED, BATCH_SIZE, REPEATS = 100, 64, 3


def main() -> None:
    """Measure every pair and print a table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from xplique_craft import Craft, split_model
    from xplique_craft.splitting.network import Network

    parser = argparse.ArgumentParser(description="Passes and time of fit.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="CLASS")
    given = parser.parse_args()
    kit = load_kit()
    warnings.simplefilter("ignore")
    seen: list[int] = []
    activations = Network.activations

    def counted(self: Network, images: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda batch: seen.append(len(batch)), [images], [])
        return activations(self, images)

    rows = []
    for model_name in given.models:
        for class_name in given.classes:
            model = kit.load_model(model_name)
            layer, class_id = kit.SPLIT_LAYERS[model_name][0], kit.class_index(class_name)
            images, _ = photographs(kit, model_name, class_name, FITTED, 0)
            predicted = model.predict(images, batch_size=32, verbose=0).argmax(1) == class_id
            images = images[predicted]
            for k in CONCEPTS:
                Network.activations = counted
                counting = Craft.from_model(model, layer, k, BATCH_SIZE)
                seen.clear()
                counting.fit(images, class_id)
                passes = sum(seen)
                Network.activations = activations
                craft = Craft.from_model(split_model(model, layer), number_of_concepts=k)
                craft.fit(images, class_id)
                ratios = []
                for _ in range(REPEATS):
                    before = _time_of_passes(craft, images)
                    start = time.perf_counter()
                    craft.fit(images, class_id)
                    fit = time.perf_counter() - start
                    a_pass = (before + _time_of_passes(craft, images)) / 2.0 / len(images)
                    ratios.append(fit / (a_pass * passes))
                rows.append(
                    [
                        *(model_name, class_name, str(k), str(len(images))),
                        f"{passes / len(images):.1f}",
                        f"{np.median(ratios):.2f}",
                    ]
                )
                print(rows[-1], file=sys.stderr, flush=True)
    header = ["model", "class", "concepts", "photographs", "passes", "time / that of the passes"]
    print(f"{versions()}\n\n{markdown_table(header, rows)}")


def _time_of_passes(craft: object, images: np.ndarray) -> float:
    """Seconds that g takes for all images once."""
    start = time.perf_counter()
    for first in range(0, len(images), BATCH_SIZE):
        craft.network.latents(images[first : first + BATCH_SIZE]).numpy()  # type: ignore[attr-defined]
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
