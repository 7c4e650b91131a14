"""
Claim: importance is more accurate than CraftTf's at its own number of head evaluations, and orders
of magnitude faster, because heads are folded, sliced and evaluated for many images at once.

    python benchmarks/importance.py [--parts accuracy stage whole layers] [--output FILE]

Protocol, fixed before these numbers were computed. Tench; concepts are found in 60 photographs and
importance is measured on the next ones; both sides get the same images, coefficients and bank.

- *accuracy*: 25 concepts, the residual kept. The error of an image is sum |estimate - reference| /
  sum reference; the reference has 4,096 designs of another seed. Both sides spend 32 (k + 2)
  evaluations of f_x an image: ours with its defaults, over five seeds; CraftTf's way with its
  sampler (unscrambled Halton) and its estimator (Jansen), which have no seed. The top concept is
  counted where the reference's first two differ by more than a tenth. How far Jansen's plain
  estimator is from ours on the reference's very scores says what the reference is worth.
  Targets: at most half of CraftTf's error; the top concept right in 95%.
- *stage*: the importance stage alone, U, E and W given to both sides, last block of both models,
  10 and 16 concepts (CraftTf fails above), 20 photographs. CraftTf's own `estimate_importance`
  runs, its `transform` answering with the given U at once. HolisticCraftTf's Sobol beside it, on
  one photograph. Target: 1,000 times.
- *whole*: `estimate_importance(images)`, g included, against g alone on the same 100 photographs,
  25 concepts. Target: g is at least 80% of it.
- *layers*: 64 masks of 8 photographs, folded and sliced against the whole head compiled and batched
  in the same way, at earlier layers. Target: at least 70% of the multiply-adds that are saved are
  saved in time, and nothing is slower. CraftTf's `predict` per image on the same masks beside it.

Times are the best of several alternating runs, and only their ratios are given.
"""

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions
from _multiply_adds import saved

CLASS, FITTED, DESIGN, REFERENCE, REFERENCE_SEED = "tench", 60, 32, 4096, 10_000
ACCURACY = [  # model, layer, photographs
    ("squeezenet", "fire9_concat", 40),
    ("squeezenet", "fire8_concat", 8),
    ("squeezenet", "fire6_concat", 4),
    ("mobilenet", "conv_pw_11_relu", 4),
]
LAST = {"mobilenet": "conv_pw_13_relu", "squeezenet": "fire9_concat"}
EARLIER = [
    ("squeezenet", "fire9_concat"),
    ("squeezenet", "fire8_concat"),
    ("squeezenet", "fire6_concat"),
    ("mobilenet", "conv_pw_11_relu"),
]


def fitted(kit: Any, model: Any, name: str, layer: str, k: int, number: int) -> Any:
    """A craft, and held-out photographs."""
    import xplique_craft as xc

    first, held_out = photographs(kit, name, CLASS, FITTED, number)
    craft = xc.Craft.from_model(model, layer, k)
    craft.fit(first, kit.class_index(CLASS))
    return craft, held_out


def coded_of(craft: Any, images: np.ndarray) -> Any:
    """The images as one batch of U and E."""
    whole = craft.variant(batch_size=len(images), keep_residual=True, baseline="zero")
    (batch,) = whole.batches(images)
    return batch


def best_of(functions: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Shortest time of each in seconds; they take turns, after one run that does not count."""
    for function in functions:
        function()
    times = [math.inf] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


# --------------------------------------------------------------------------------------- accuracy
def accuracy(kit: Any) -> str:
    from xplique.attributions.global_sensitivity_analysis import HaltonSequenceRS, JansenEstimator

    from xplique_craft.importance import SobolImportance

    rows = []
    for name, layer, number in ACCURACY:
        craft, images = fitted(kit, kit.load_model(name), name, layer, 25, number)
        reference, plain = reference_of(craft, images)
        total = reference.sum(axis=1)
        ordered = np.sort(reference, axis=1)
        clear = ordered[:, -1] > 1.1 * ordered[:, -2]
        top = reference.argmax(axis=1)

        def judged(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            errors = np.abs(found - reference).sum(axis=1) / total  # noqa: B023
            return errors, (found.argmax(axis=1) == top)[clear]  # noqa: B023

        ours = [judged(SobolImportance(craft, DESIGN, seed=s).explain(images)) for s in range(5)]
        upstream = SobolImportance(craft, DESIGN, HaltonSequenceRS(), JansenEstimator())
        theirs = judged(upstream.explain(images))
        error, right = (np.concatenate(part) for part in zip(*ours, strict=True))
        rows.append(
            [
                f"{name} {layer}",
                f"{number} ({clear.sum()} clear)",
                f"{DESIGN * 27}",
                f"{error.mean():.3f}",
                f"{theirs[0].mean():.3f}",
                f"{theirs[0].mean() / error.mean():.0f}",
                f"{right.mean():.0%} of {right.size}",
                f"{theirs[1].mean():.0%} of {theirs[1].size}",
                f"{(np.abs(plain - reference).sum(axis=1) / total).mean():.4f}",
            ]
        )
        print(rows[-1], flush=True)
    header = [
        "layer",
        "photographs",
        "evaluations an image",
        "error, ours",
        "error, CraftTf's way",
        "ratio",
        "top right, ours",
        "top right, CraftTf's way",
        "plain Jansen on the reference",
    ]
    return markdown_table(header, rows)


def reference_of(craft: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n, k) with 4,096 designs, by our estimator and by Jansen's plain one."""
    from xplique_craft.importance import SobolImportance
    from xplique_craft.importance.sobol_estimators import variances

    importance = SobolImportance(craft, REFERENCE, seed=REFERENCE_SEED, batch_size=64)
    head = importance._head()
    coded = coded_of(craft, images)
    found, plain = [], []
    for i in range(len(images)):
        sample = importance._sample(coded.rows(np.array([i])), head, REFERENCE)
        found.append(variances(sample, "total")[0])
        values = sample.values.astype(np.float64)
        numerators = 0.5 * np.square(values[:, :, :1] - values[:, :, 2:]).mean(axis=1)
        plain.append(numerators / values[:, :, :2].var(axis=(1, 2), ddof=1)[:, None])
    return np.concatenate(found), np.concatenate(plain)


# ------------------------------------------------------------------------------------------ stage
def stage(kit: Any) -> str:
    from xplique.concepts import CraftTf

    from xplique_craft.importance import SobolImportance

    rows = []
    for name, layer in LAST.items():
        model = kit.load_model(name)
        for k in (10, 16):
            craft, images = fitted(kit, model, name, layer, k, 20)
            coded = coded_of(craft, images)
            importance = SobolImportance(craft, DESIGN)
            head = importance._head()
            upstream = CraftTf(craft.input_to_latent_model, craft.latent_to_logit_model, k)
            upstream.factorization = craft.factorization
            given = coded.u.numpy()
            upstream.transform = lambda inputs, given=given: given
            ours, theirs = best_of(
                [
                    lambda i=importance, c=coded, h=head: i._batch(c, h, False).values.mean(axis=0),
                    lambda u=upstream, x=images: u.estimate_importance(x, DESIGN),
                ],
                3,
            )
            spent = importance._head()
            importance._batch(coded, spent, False)
            evaluations = 0 if spent.affine else spent.evaluations
            rows.append(
                [
                    f"{name} {layer}",
                    str(k),
                    f"{evaluations / 20:.0f}",
                    f"{DESIGN * (k + 2)}",
                    f"{theirs / ours:,.0f}",
                    f"{spent.path}, {saved(spent, coded, DESIGN * (k + 2)):.1%} of the "
                    "multiply-adds saved",
                    holistic(craft, images, ours / 20) if k == 10 else "-",
                ]
            )
            print(rows[-1], flush=True)
    header = [
        "layer",
        "concepts",
        "evaluations an image, ours",
        "CraftTf's",
        "times faster than CraftTf",
        "path",
        "times faster than HolisticCraftTf's Sobol (its evaluations an image)",
    ]
    return markdown_table(header, rows)


def holistic(craft: Any, images: np.ndarray, ours: float) -> str:
    """HolisticCraftTf's Sobol on one photograph: how much longer it takes, and its evaluations."""
    from xplique.attributions import SobolAttributionMethod

    u = craft.transform(images[:1])
    counted = [0]
    decoder = craft.decoder

    def score(model: Any, inputs: Any, targets: Any) -> Any:
        import tensorflow as tf

        counted[0] += int(inputs.shape[0])
        return tf.reduce_sum(model(inputs) * targets, axis=-1)

    target = np.zeros((1, craft.network.number_of_classes), np.float32)
    target[0, craft.class_id] = 1.0
    explainer = SobolAttributionMethod(
        decoder, operator=score, batch_size=64, nb_channels=u.shape[-1], grid_size=8
    )
    start = time.perf_counter()
    explainer.explain(u, target)
    return f"{(time.perf_counter() - start) / ours:,.0f} ({counted[0]:,})"


# ------------------------------------------------------------------------------------------ whole
def whole(kit: Any) -> str:
    from xplique_craft.sampling.stream import Stream

    rows = []
    for name, layer in LAST.items():
        craft, images = fitted(kit, kit.load_model(name), name, layer, 25, 100)

        def g_alone(craft: Any = craft, images: np.ndarray = images) -> None:
            for batch in Stream(images, craft.network.input_shape, 64).progress("g", False):
                craft.network.latents(batch.images)

        alone, all_of_it = best_of(
            [g_alone, lambda c=craft, x=images: c.estimate_importance(x, DESIGN)], 4
        )
        rows.append([f"{name} {layer}", f"{alone / all_of_it:.0%}"])
        print(rows[-1], flush=True)
    return markdown_table(["layer", "g alone, of estimate_importance"], rows)


# ----------------------------------------------------------------------------------------- layers
def layers(kit: Any) -> str:
    from xplique_craft.gates import GatedHead
    from xplique_craft.gates.compiled import HeadFunctions
    from xplique_craft.splitting.network import Network

    rows = []
    for name, layer in EARLIER:
        craft, images = fitted(kit, kit.load_model(name), name, layer, 25, 8)
        coded = coded_of(craft, images)
        gates = np.random.default_rng(0).random((8, 64, 25)).astype(np.float32)
        taken = GatedHead(craft.network, None, 64)
        other = Network(craft.input_to_latent_model, craft.latent_to_logit_model)
        other.share(None, HeadFunctions(other, None, taken_apart=False))
        plain = GatedHead(other, None, 64)

        def predicted(craft: Any = craft, coded: Any = coded, gates: np.ndarray = gates) -> None:
            for u, masks in zip(coded.u.numpy(), gates, strict=True):
                some = (u[None] * masks[:, None, None, :]).reshape(-1, 25)
                latent = some @ craft.factorized.bank
                craft.latent_to_logit_model.predict(
                    latent.reshape(64, *u.shape[:2], -1), batch_size=64, verbose=False
                )

        times = best_of(
            [
                lambda h=taken, c=coded, g=gates: h.evaluate(c, g),
                lambda h=plain, c=coded, g=gates: h.evaluate(c, g),
                predicted,
            ],
            4,
        )
        counted = saved(taken, coded, 64)
        in_time = 1.0 - times[0] / times[1]
        rows.append(
            [
                f"{name} {layer}",
                f"{counted:.1%}",
                f"{in_time:.1%}",
                f"{in_time / counted:.0%}",
                f"{times[1] / times[0]:.2f}",
                f"{times[2] / times[0]:.2f}",
            ]
        )
        print(rows[-1], flush=True)
    header = [
        "layer",
        "multiply-adds saved",
        "time saved",
        "of what is allowed",
        "times faster than the whole head",
        "times faster than predict per image",
    ]
    return markdown_table(header, rows)


PARTS = {"accuracy": accuracy, "stage": stage, "whole": whole, "layers": layers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="The score of .* does not depend")
    kit = load_kit()
    text = "\n\n".join(f"## {part}\n\n{PARTS[part](kit)}" for part in given.parts)
    text = f"# Importance\n\n{text}\n\n{versions()}\n"
    print(text)
    if given.output:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
