"""
Claim: what a concept map is strongest at shows the concept, as another network judges.

Protocol: as `concepts.py`, with 10 concepts of each class. Of each concept the 20 held-out
photographs are taken in which its map reaches highest, and of each the window of 3/7 of the side
around the map's maximum. Another network looks for the odd window among five, chance 0.2; who
judges whom is said in `concepts.py`. Maps: coefficients at positions as they are (*raw*, the
default before), smoothed by 3/4 of a cell (the default), and by crops, in 29 passes a photograph
(what pages draw). The smoothing of positions, and the blur of maps by crops, were chosen on tench
and parachute by mobilenet and squeezenet; the others only report.

Target: the default's windows are purer than those of raw positions on every pair, by at least 0.05
on average.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions
from concepts import CLASSES, FITTED, HELD_OUT, JUDGES, SEED, SHOWN

CONCEPTS, SIDE = 10, 3 / 7
MAPS: dict[str, dict[str, Any]] = {
    "raw": {"smoothing": 0.0},
    "positions": {},
    "crops": {"by": "crops"},
}


def windows(maps: np.ndarray, pictures: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each concept its windows (m, side, side, 3), and the photographs (m,) they are of."""
    n, height, width, k = maps.shape
    size = pictures.shape[1]
    side = round(SIDE * size)
    found = []
    for j in range(k):
        flat = maps[..., j].reshape(n, -1)
        chosen = np.argsort(-flat.max(axis=1), kind="stable")[:SHOWN]
        chosen = chosen[flat[chosen].max(axis=1) > 0.0]
        cut = []
        for i in chosen:
            row, column = np.divmod(int(flat[i].argmax()), width)
            centre = ((row + 0.5) / height * size, (column + 0.5) / width * size)
            top, left = (int(np.clip(round(c - side / 2), 0, size - side)) for c in centre)
            cut.append(pictures[i, top : top + side, left : left + side])
        found.append((np.array(cut), chosen))
    return found


def measure(kit: Any, model_name: str, class_name: str) -> dict[str, float]:
    """Share of trials that the judge wins, of each kind of map."""
    from keras import Model

    from xplique_craft import Craft, split_model
    from xplique_craft.attributions import ConceptAttribution
    from xplique_craft.metrics import embed_crops, intruder_test

    model = kit.load_model(model_name)
    split = split_model(model, kit.SPLIT_LAYERS[model_name][0])
    class_id, judge_name = kit.class_index(class_name), JUDGES[model_name]
    judge: Model = split_model(
        kit.load_model(judge_name), kit.SPLIT_LAYERS[judge_name][0]
    ).input_to_latent
    images, held_out = photographs(kit, model_name, class_name, FITTED, HELD_OUT)
    size = kit.INPUT_SIZE[judge_name]
    pictures = kit.load_images(class_name, FITTED + HELD_OUT, size=size)[FITTED:]

    def predicted(x: np.ndarray) -> np.ndarray:
        return split.model.predict(x, batch_size=32, verbose=0).argmax(1) == class_id

    craft = Craft.from_model(split, number_of_concepts=CONCEPTS)
    craft.fit(images[predicted(images)], class_id)
    right = predicted(held_out)
    found = {}
    for name, settings in MAPS.items():
        maps = ConceptAttribution(craft, **settings).explain_concepts(held_out[right])
        clusters = [
            embed_crops(judge, list(cut), of, prepare=lambda x: kit.preprocess(x, judge_name))
            for cut, of in windows(maps, pictures[right])
            if len(of) >= 5
        ]
        found[name] = intruder_test(clusters, seed=SEED).accuracy.value
    return found


def write_page(rows: list[list[str]]) -> str:
    """The whole result in Markdown."""
    means = [f"{np.mean([float(row[i]) for row in rows]):.2f}" for i in range(2, 2 + len(MAPS))]
    table = markdown_table(["model", "class", *MAPS], [*rows, ["**mean**", "", *means]])
    about = (
        "What is measured, on what, and the target are said at the top of `benchmarks/places.py`."
    )
    return "\n\n".join(["# What maps are strongest at", about, versions(), table]) + "\n"


def main() -> None:
    """Read the arguments, measure class by class, print and write."""
    parser = argparse.ArgumentParser(description="Windows at the maxima of concept maps.")
    parser.add_argument("--models", nargs="+", choices=JUDGES, default=list(JUDGES))
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="CLASS")
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    given = parser.parse_args()
    kit = load_kit()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    rows = []
    for class_name in given.classes:
        for model_name in given.models:
            found = measure(kit, model_name, class_name)
            rows.append([model_name, class_name, *(f"{value:.2f}" for value in found.values())])
            print(rows[-1], file=sys.stderr, flush=True)
            if given.output is not None:
                given.output.write_text(write_page(rows), encoding="utf-8")
    print(write_page(rows))


if __name__ == "__main__":
    main()
