"""
Claim: memory is bounded by `batch_size`, not by the number of images.

Peak memory of `fit`, `transform` and `estimate_importance` on mobilenet, beyond the images given
and the arrays returned, with 1,000 photographs (200 tiled) and with 200; each in a process of its
own, the reservoir of crops being full in both. CraftTf's, with 10 concepts, beside it.

    python benchmarks/memory.py [--numbers 200 1000] [--output FILE]
"""

import argparse
import multiprocessing
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _kit import forget_peak_memory, load_kit, markdown_table, peak_memory, versions

MODEL, CLASS, CONCEPTS, BATCH_SIZE, MAX_CROPS = "mobilenet", "tench", 10, 32, 4000
WARM = 40  # photographs of the run that does not count: everything is loaded and traced then


def run_ours(split: Any, images: np.ndarray, class_id: int) -> int:
    """Bytes of the arrays returned."""
    import xplique_craft as xc

    craft = xc.Craft.from_model(split, None, CONCEPTS, BATCH_SIZE, max_crops=MAX_CROPS)
    _, crops_u, bank = craft.fit(images, class_id)
    u = craft.transform(images)
    importance = craft.estimate_importance(images)
    return crops_u.nbytes + bank.nbytes + u.nbytes + importance.nbytes


def run_upstream(split: Any, images: np.ndarray, class_id: int) -> int:
    """CraftTf's, as above; its crops are returned too."""
    from xplique.concepts import CraftTf

    craft = CraftTf(split.input_to_latent, split.latent_to_logit, CONCEPTS, BATCH_SIZE)
    crops, crops_u, bank = craft.fit(images, class_id)
    u = craft.transform(images)
    importance = craft.estimate_importance(images)
    sizes = [np.asarray(crops).nbytes, crops_u.nbytes, bank.nbytes, u.nbytes, importance.nbytes]
    return sum(sizes)


def measure(side: str, number: int, queue: Any) -> None:
    """Put into the queue how many bytes a run needs beyond what it is given and returns."""
    import tensorflow as tf

    from xplique_craft import split_model

    warnings.simplefilter("ignore")
    tf.get_logger().setLevel("ERROR")
    kit = load_kit()
    photographs = kit.load_images(CLASS, 200, size=kit.INPUT_SIZE[MODEL])
    inputs = kit.preprocess(photographs, MODEL)
    images = np.concatenate([inputs] * (number // len(inputs)))
    split = split_model(kit.load_model(MODEL), kit.SPLIT_LAYERS[MODEL][0])
    run = run_ours if side == "ours" else run_upstream
    run(split, inputs[:WARM], kit.class_index(CLASS))
    del inputs, photographs
    forget_peak_memory()
    before = peak_memory()
    returned = run(split, images, kit.class_index(CLASS))
    queue.put((peak_memory() - before, returned))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--numbers", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--upstream-numbers", nargs="+", type=int, default=[200])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    table = []
    jobs = [("ours", n) for n in arguments.numbers]
    jobs += [("CraftTf", n) for n in arguments.upstream_numbers]
    for side, number in jobs:
        queue = context.Queue()
        process = context.Process(target=measure, args=(side, number, queue))
        process.start()
        used, returned = queue.get()
        process.join()
        row = [side, str(number), f"{used / 2**20:.0f}", f"{returned / 2**20:.0f}"]
        print(" | ".join(row), flush=True)
        table.append(row)
    header = ["extractor", "photographs", "peak growth (MiB)", "of it returned (MiB)"]
    text = f"{markdown_table(header, table)}\n\n{versions()}\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
