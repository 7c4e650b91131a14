"""
Claim: concepts are faithful, clean and stable at once, on photographs they were not found in.

Protocol, fixed before the numbers of the classes other than tench and parachute were computed, on
which the crops and the weight of the positions were chosen:

- Three ImageNet classifiers, each cut at its last block: mobilenet and efficientnet, whose heads
  after it are affine, and squeezenet, whose head is not; six classes; 10 and 25 concepts.
- Of 140 photographs of a class in a fixed shuffled order concepts are found in those of the first
  80 that the model predicts as the class; everything is measured on those of the other 60 that it
  predicts as the class.
- Four methods: `xplique_craft.Craft` at its defaults; its *crops alone*, 30 of them at several
  scales, as the default was before positions were added; Xplique's `CraftTf` (pooled 64-pixel
  crops) and `HolisticCraftTf` (positions of the feature map), whose factorisations are run here as
  their `fit` runs them, with a seed. All are encoded exactly.

Measured, residual dropped:

- *agreement*: the share of photographs with argmax h(UW) = argmax h(A). Target 0.98.
- *reconstruction*: sum(h(UW) - h(0)) / sum(h(A) - h(0)) of the class score. Target: within 0.06 of
  1 where the head is affine.
- *explained*: sum(f_x(1) - f_x(0)) / sum(score - h(0)), residual kept. Target on squeezenet: 0.88.
- *purity*: how often another network finds the odd crop among five. Of each concept the 20 crops
  with the largest coefficients are taken, each of another held-out photograph, out of 30 a
  photograph, the same for all methods. Squeezenet judges mobilenet, mobilenet the two others.
  Chance is 0.2. Targets: within 0.02 of crops alone on average, above HolisticCraftTf's everywhere.
- *stability*, 25 concepts: the mean cosine of concepts matched one to one between banks found in
  five times 80% of the photographs, all pairs; *disjoint*: between two banks that share no
  photograph; *floor*: a concept and the one most like it in its own bank. Targets 0.90 and 0.75.
  Of Xplique's methods it is measured on tench and parachute alone, for the time it takes.

Intervals are 90%: Wilson's for agreement, a bootstrap over photographs for shares, and those of
`xplique_craft.metrics.intruder_test` for purity.
"""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions
from scipy.optimize import linear_sum_assignment

JUDGES = {"mobilenet": "squeezenet", "squeezenet": "mobilenet", "efficientnet": "mobilenet"}
CLASSES = ("tench", "parachute", "french_horn", "chain_saw", "english_springer", "church")
CONCEPTS = (10, 25)
FITTED, HELD_OUT, BATCH, SEED, FOLDS, SHOWN = 80, 60, 35, 0, 5, 20
LEVEL, RESAMPLES = 0.90, 2000
STABILITY_OF = 25
CHOSEN_ON = OTHERS_STABILITY = ("tench", "parachute")
OURS, ALONE, CRAFT_TF, HOLISTIC = "xplique_craft", "crops alone", "CraftTf", "HolisticCraftTf"
METHODS = (OURS, ALONE, CRAFT_TF, HOLISTIC)

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Seen:
    """What a model makes of the photographs of a class."""

    activations: np.ndarray  # (n, h, w, c)
    logits: np.ndarray  # (n, classes)
    windows: np.ndarray  # (n, 30, c): pooled activations of crops
    class_id: int

    @property
    def fitted(self) -> np.ndarray:
        """Numbers of the photographs that concepts are found in."""
        return np.flatnonzero(self.logits[:FITTED].argmax(1) == self.class_id)

    @property
    def held_out(self) -> np.ndarray:
        """Numbers of those that are measured."""
        return FITTED + np.flatnonzero(self.logits[FITTED:].argmax(1) == self.class_id)


@dataclass(frozen=True)
class Row:
    """One method fitted once; stability is None where it was not measured."""

    model: str
    class_name: str
    concepts: int
    method: str
    agreement: Interval
    reconstruction: Interval
    explained: Interval
    purity: Interval
    stability: tuple[float, float, float] | None


# ---------------------------------------------------------------------------- what models see
def split_of(kit: Any, model_name: str) -> Any:
    """The model, cut at its last block."""
    from xplique_craft import split_model

    return split_model(kit.load_model(model_name), kit.SPLIT_LAYERS[model_name][0])


def seen_by(kit: Any, model_name: str, class_name: str, folder: Path) -> Seen:
    """Computed once, and kept in a folder."""
    import tensorflow as tf

    from xplique_craft.sampling.crops import IMAGE_WINDOWS
    from xplique_craft.sampling.rows import crop_latents

    path = folder / f"{model_name}_{class_name}.npz"
    if not path.exists():
        network = split_of(kit, model_name).network
        images = np.concatenate(photographs(kit, model_name, class_name, FITTED, HELD_OUT))
        shape = images.shape[1:]
        boxes = [*IMAGE_WINDOWS.candidates(shape), (0, 0, *shape[:2])]
        parts: list[list[np.ndarray]] = [[], [], []]
        for start in range(0, len(images), BATCH):
            some = tf.constant(images[start : start + BATCH])
            activations = network.latents(some)
            pooled = [crop_latents(network, some, box)[0].numpy() for box in boxes]
            found = (activations.numpy(), network.logits(activations).numpy(), np.stack(pooled, 1))
            for part, one in zip(parts, found, strict=True):
                part.append(one)
        activations, logits, windows = (np.concatenate(part) for part in parts)
        np.savez(path, activations=activations, logits=logits, windows=windows)
    with np.load(path) as kept:
        return Seen(
            **{name: kept[name] for name in kept.files}, class_id=kit.class_index(class_name)
        )


# ------------------------------------------------------------------------------------ methods
class Method:
    """
    How one method finds banks in some of the photographs.

    Parameters
    ----------
    rows
        Photograph numbers (n,) -> what is factorised of them.
    factorise
        What is factorised, number of concepts -> bank.
    """

    def __init__(self, rows: Callable[[np.ndarray], Any], factorise: Callable[[Any, int], Any]):
        self._rows, self._factorise = rows, factorise

    def bank(self, photographs: np.ndarray, k: int) -> np.ndarray:
        """(k, c)."""
        return np.asarray(self._factorise(self._rows(photographs), k), np.float32)


def by_sklearn(**settings: Any) -> Callable[[np.ndarray, int], np.ndarray]:
    """NMF with the settings that a method of Xplique gives it."""
    from sklearn.decomposition import NMF

    def factorise(rows: np.ndarray, k: int) -> np.ndarray:
        return NMF(n_components=k, random_state=SEED, **settings).fit(rows).components_

    return factorise


def methods_of(kit: Any, model_name: str, class_name: str, split: Any, seen: Seen) -> Any:
    """All methods by name; ours is a fitted craft's own settings."""
    from dataclasses import replace

    from xplique.concepts import CraftTf

    from xplique_craft import Craft
    from xplique_craft.extraction import fit_bank
    from xplique_craft.factorization import NMF
    from xplique_craft.sampling.rows import CropRows

    images, _ = photographs(kit, model_name, class_name, FITTED, HELD_OUT)
    craft = Craft.from_model(split, number_of_concepts=10)
    craft.fit(images[seen.fitted], seen.class_id)
    every = craft.concepts.known(CropRows)
    theirs = CraftTf(split.input_to_latent, split.latent_to_logit, number_of_concepts=10)
    _, patches = theirs._extract_patches(images[seen.fitted])
    patches = np.asarray(patches).reshape(len(seen.fitted), -1, patches.shape[-1])

    def of_craft(chosen: np.ndarray) -> Any:
        numbers = np.searchsorted(seen.fitted, chosen)
        crops = np.isin(every.boxes[:, 0], numbers)
        positions = np.isin(every.position_images, numbers)
        return replace(
            every,
            boxes=every.boxes[crops],
            rows=every.rows[crops],
            positions=every.positions[positions],
            position_images=every.position_images[positions],
        )

    def ours(rows: Any, k: int) -> np.ndarray:
        settings = replace(craft.extraction_settings, number_of_concepts=k)
        return fit_bank(settings, rows, craft.seed).bank

    def flat(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(-1, rows.shape[-1])

    return {
        OURS: Method(of_craft, ours),
        ALONE: Method(lambda n: flat(seen.windows[n]), lambda rows, k: NMF().fit(rows, k).bank),
        CRAFT_TF: Method(
            lambda n: flat(patches[np.searchsorted(seen.fitted, n)]), by_sklearn(alpha_W=1e-2)
        ),
        HOLISTIC: Method(
            lambda n: flat(seen.activations[n]), by_sklearn(alpha_W=1e-2, max_iter=200)
        ),
    }


# ----------------------------------------------------------------------------------- measures
def share(numerator: np.ndarray, denominator: np.ndarray) -> Interval:
    """A ratio of sums over photographs, with its bootstrap interval."""
    n = len(numerator)
    draws = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    ratios = numerator[draws].sum(1) / denominator[draws].sum(1)
    low, high = np.quantile(ratios, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(numerator.sum() / denominator.sum()), float(low), float(high)


def proportion(same: np.ndarray) -> Interval:
    """A proportion with Wilson's interval."""
    from scipy.stats import binomtest

    interval = binomtest(int(same.sum()), len(same)).proportion_ci(LEVEL, method="wilson")
    return float(same.mean()), float(interval.low), float(interval.high)


def encoded(bank: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Exact coefficients."""
    from xplique_craft.factorization.implicit import encode

    return encode(activations, bank)[0].numpy()


def faithfulness(split: Any, seen: Seen, bank: np.ndarray) -> tuple[Interval, Interval, Interval]:
    """Agreement, reconstruction and explained share on held-out photographs."""
    activations, j = seen.activations[seen.held_out], seen.class_id
    rebuilt = encoded(bank, activations) @ bank

    def logits(a: np.ndarray) -> np.ndarray:
        parts = [split.network.logits(a[i : i + BATCH]).numpy() for i in range(0, len(a), BATCH)]
        return np.concatenate(parts).astype(np.float64)

    whole, alone = logits(activations), logits(rebuilt)
    without = logits(activations - rebuilt)[:, j]
    base = logits(np.zeros_like(activations[:1]))[0, j]
    above = whole[:, j] - base
    return (
        proportion(alone.argmax(1) == whole.argmax(1)),
        share(alone[:, j] - base, above),
        share(whole[:, j] - without, above),
    )


def purity(seen: Seen, judge: Seen, bank: np.ndarray) -> Interval:
    """The intruder test on crops of held-out photographs."""
    from xplique_craft.metrics import CropCluster, intruder_test
    from xplique_craft.sampling.representatives import best_crops

    held_out = seen.held_out
    windows = seen.windows[held_out]
    image = np.repeat(held_out, windows.shape[1])
    u = encoded(bank, windows).reshape(len(image), -1)
    embeddings = judge.windows[held_out].reshape(len(image), -1)
    best = best_crops(image[:, None], u, SHOWN)
    clusters = [CropCluster(embeddings[b], image[b]) for b in best if len(b) >= 5]
    found = intruder_test(clusters, seed=SEED).accuracy
    return found.value, found.low, found.high


def matched(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine of concepts matched one to one."""
    cosines = unit(first) @ unit(second).T
    rows, columns = linear_sum_assignment(-cosines)
    return float(cosines[rows, columns].mean())


def unit(bank: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return bank / np.maximum(np.linalg.norm(bank, axis=1, keepdims=True), 1e-12)


def stability(method: Method, fitted: np.ndarray) -> tuple[float, float, float]:
    """Over folds, between two that share nothing, and the floor."""
    order = np.random.default_rng(SEED).permutation(fitted)
    parts = np.array_split(order, FOLDS)
    folds = [np.sort(np.setdiff1d(order, part)) for part in parts]
    banks = [method.bank(fold, STABILITY_OF) for fold in folds]
    halves = [method.bank(np.sort(half), STABILITY_OF) for half in np.array_split(order, 2)]
    pairs = [matched(banks[i], banks[j]) for i in range(FOLDS) for j in range(i)]
    own = unit(banks[0]) @ unit(banks[0]).T
    np.fill_diagonal(own, -1.0)
    return float(np.mean(pairs)), matched(*halves), float(own.max(axis=1).mean())


def measure(kit: Any, model_name: str, class_name: str, folder: Path) -> Iterator[Row]:
    """All rows of one class of one model."""
    split = split_of(kit, model_name)
    seen = seen_by(kit, model_name, class_name, folder)
    judge = seen_by(kit, JUDGES[model_name], class_name, folder)
    for name, method in methods_of(kit, model_name, class_name, split, seen).items():
        stable = None
        if name == OURS or class_name in OTHERS_STABILITY:
            stable = stability(method, seen.fitted)
        for k in CONCEPTS:
            bank = method.bank(seen.fitted, k)
            yield Row(
                model_name,
                class_name,
                k,
                name,
                *faithfulness(split, seen, bank),
                purity(seen, judge, bank),
                stable if k == STABILITY_OF else None,
            )


# --------------------------------------------------------------------------------------- page
def _number(interval: Interval) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*interval)


def detail_table(rows: list[Row]) -> str:
    """One line a row."""
    header = "model class concepts method agreement reconstruction explained purity"
    lines = [
        [
            row.model,
            row.class_name,
            str(row.concepts),
            row.method,
            *map(_number, (row.agreement, row.reconstruction, row.explained, row.purity)),
            "-" if row.stability is None else "{:.2f}, {:.2f} ({:.2f})".format(*row.stability),
        ]
        for row in rows
    ]
    return markdown_table([*header.split(), "stability, disjoint (floor)"], lines)


def summary_table(rows: list[Row]) -> str:
    """One line a model, number of concepts and method, over classes."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.concepts, row.method), []).append(row)
    lines = []
    for (model, k, method), group in groups.items():
        stable = [row.stability for row in group if row.stability is not None]
        mean = np.mean(stable, axis=0) if stable else None
        lines.append(
            [
                model,
                str(k),
                f"**{method}**" if method == OURS else method,
                f"{min(row.agreement[0] for row in group):.2f}",
                *(
                    f"{min(values):.2f} to {max(values):.2f}"
                    for values in (
                        [row.reconstruction[0] for row in group],
                        [row.explained[0] for row in group],
                    )
                ),
                f"{np.mean([row.purity[0] for row in group]):.2f}",
                "-" if mean is None else "{:.2f}, {:.2f} ({:.2f})".format(*mean),
            ]
        )
    header = [
        *("model", "concepts", "method", "agreement, least", "reconstruction", "explained"),
        *("purity, mean", "stability, disjoint (floor)"),
    ]
    return markdown_table(header, lines)


def verdicts(rows: list[Row]) -> str:
    """What of the targets is missed by ours, line by line."""
    lines = []
    ours = [row for row in rows if row.method == OURS]
    others = {(row.model, row.class_name, row.concepts, row.method): row for row in rows}
    for row in ours:
        missed = []
        if row.agreement[0] < 0.98:
            missed.append(f"agreement {row.agreement[0]:.2f}")
        if row.model != "squeezenet" and abs(row.reconstruction[0] - 1.0) > 0.0601:
            missed.append(f"reconstruction {row.reconstruction[0]:.2f}")
        if row.model == "squeezenet" and row.explained[0] < 0.88:
            missed.append(f"explained share {row.explained[0]:.2f}")
        holistic = others[row.model, row.class_name, row.concepts, HOLISTIC]
        if row.purity[0] <= holistic.purity[0]:
            missed.append(f"purity {row.purity[0]:.2f}, HolisticCraftTf's {holistic.purity[0]:.2f}")
        if row.stability is not None and (row.stability[0] < 0.9 or row.stability[1] < 0.75):
            missed.append("stability {:.2f}, disjoint {:.2f}".format(*row.stability))
        if missed:
            what = f"{row.model}, {row.class_name}, {row.concepts} concepts"
            lines.append(f"- {what}: {'; '.join(missed)}.")
    gains = [
        row.purity[0] - others[row.model, row.class_name, row.concepts, ALONE].purity[0]
        for row in ours
    ]
    lines.append(f"- Purity against crops alone, mean of {len(gains)} fits: {np.mean(gains):+.3f}.")
    return "\n".join(lines)


def write_page(rows: list[Row]) -> str:
    """The whole result in Markdown."""
    chosen = [row for row in rows if row.class_name in CHOSEN_ON]
    confirming = [row for row in rows if row.class_name not in CHOSEN_ON]
    parts = [
        "# Faithful, clean and stable",
        "What is measured, on what and against which targets is said at the top of "
        "`benchmarks/concepts.py`. Intervals are 90%.",
        versions(),
        "## Over the classes that confirm",
        "Nothing was chosen on these. Stability is of ours alone here.",
        summary_table(confirming),
        "## Over the classes that crops and weight were chosen on",
        summary_table(chosen),
        "## Targets that are missed, all classes",
        verdicts(rows),
        "## Every class",
        detail_table(rows),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the arguments, measure class by class, print and write."""
    parser = argparse.ArgumentParser(description="Concepts that are faithful, clean and stable.")
    parser.add_argument("--models", nargs="+", choices=JUDGES, default=list(JUDGES))
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="CLASS")
    parser.add_argument("--cache", type=Path, help="Folder that keeps what models see.")
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    given = parser.parse_args()
    kit = load_kit()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # Xplique's methods stop at scikit-learn's limit of iterations
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.cache or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for class_name in given.classes:
            for model_name in given.models:
                part = list(measure(kit, model_name, class_name, folder))
                rows += part
                print(detail_table(part), file=sys.stderr, flush=True)
                if given.output is not None:
                    given.output.parent.mkdir(parents=True, exist_ok=True)
                    given.output.write_text(write_page(rows), encoding="utf-8")
    print(write_page(rows))


if __name__ == "__main__":
    main()
