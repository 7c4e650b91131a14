"""Memory is bounded by the batch: how many batches are alive at once, and peaks by process."""

import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import planted
import pytest
import tensorflow as tf

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.importance import SobolImportance
from xplique_craft.sampling import rows

SIZE, BATCH, IMAGES = (8, 12), 4, 40

QUESTIONS: dict[str, Callable[[xc.Craft, Any], object]] = {
    "fit": lambda craft, x: craft.fit(x, craft.class_id),
    "transform": lambda craft, x: craft.transform(x),
    "contributions": lambda craft, x: craft.contributions(x),
    "ablation_effects": lambda craft, x: craft.ablation_effects(x),
    "quality": lambda craft, x: craft.quality(x),
    "estimate_importance": lambda craft, x: craft.estimate_importance(x, 8),
    "SobolImportance": lambda craft, x: SobolImportance(craft, 8, batch_size=BATCH).summary(x),
    "class maps": lambda craft, x: ConceptAttribution(craft, batch_size=BATCH).explain(x),
    "concept maps": lambda craft, x: ConceptAttribution(craft, batch_size=BATCH).explain_concepts(
        x
    ),
}


class Alive:
    """Counts arrays and tensors that have not been freed."""

    def __init__(self) -> None:
        self.seen = self.most = 0
        self._references: list[weakref.ref] = []

    def add(self, *values: Any) -> None:
        self.seen += 1
        self._references += [weakref.ref(value) for value in values]
        self._references = [r for r in self._references if r() is not None]
        self.most = max(self.most, len(self._references))


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    bank = planted.bank()
    images = planted.paintings(6, SIZE)
    model = planted.network(bank, "attention", size=SIZE)
    return planted.fitted(model, bank, images, planted.predicted(model, images), batch_size=BATCH)


def dataset(number: int) -> tf.data.Dataset:
    images = planted.paintings(number, SIZE)

    def one_by_one() -> Iterator[np.ndarray]:
        yield from images

    return tf.data.Dataset.from_generator(
        one_by_one, output_signature=tf.TensorSpec((*SIZE, 3), tf.float32)
    )


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_batches_are_alive_at_most(
    craft: xc.Craft, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one at work, and the one before it until it is replaced: images and activations."""
    network, images, activations = craft.network, Alive(), Alive()
    latents, crop_latents = network.latents, rows.crop_latents

    def watched(batch: np.ndarray) -> Any:
        found = latents(batch)
        images.add(batch)
        activations.add(found)
        return found

    def watched_crops(network: Any, batch: np.ndarray, box: np.ndarray, *others: Any) -> Any:
        if box[2] == SIZE[0]:  # the whole image, once a batch
            images.add(batch)
        return crop_latents(network, batch, box, *others)

    monkeypatch.setattr(network, "latents", watched)
    monkeypatch.setattr(rows, "crop_latents", watched_crops)
    QUESTIONS[question](craft, dataset(IMAGES))
    assert images.seen >= IMAGES // BATCH
    assert images.most <= 2
    assert activations.seen >= IMAGES // BATCH
    assert activations.most <= 2


PEAK = """
import sys, warnings
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import xplique_craft as xc

warnings.simplefilter("ignore")
SIDE = 64

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024

def images(number):
    def one_by_one():
        rng = np.random.default_rng(0)
        for _ in range(number):
            yield rng.random((SIDE, SIDE, 3), np.float32)
    return tf.data.Dataset.from_generator(
        one_by_one, output_signature=tf.TensorSpec((SIDE, SIDE, 3), tf.float32))

keras.utils.set_random_seed(0)
image = keras.Input((SIDE, SIDE, 3))
x = keras.layers.Conv2D(64, 3, strides=4, padding="same", activation="relu", name="cut")(image)
x = keras.layers.Conv2D(8, 1, activation="softplus")(x)
model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
craft = xc.Craft.from_model(model, "cut", 4, batch_size=16, factorizer=xc.factorization.NMF(20),
                            max_crops=500)
for number in map(int, sys.argv[1:]):
    data = images(number)
    craft.fit(data, 0)
    craft.quality(data)
    craft.estimate_importance(data, 16)
    craft.contributions(data)
    print(peak(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_the_peak_does_not_grow_with_the_images() -> None:
    """1,200 images more are 56 MiB of pixels, 75 MiB of activations, 30 crops of each."""
    run = subprocess.run(
        [sys.executable, "-c", PEAK, "100", "300", "1500"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    _, warm, large = map(float, run.stdout.split())
    assert large - warm < 30.0


DESIGNS = """
import sys, warnings
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import xplique_craft as xc
from keras import layers

warnings.simplefilter("ignore")

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024

keras.utils.set_random_seed(0)
image = keras.Input((14, 14, 1024))
x = layers.Identity(name="cut")(image)
x = layers.ReLU()(x) if sys.argv[1] == "plain" else layers.DepthwiseConv2D(3, padding="same")(x)
x = layers.ReLU()(layers.Conv2D(64, 1)(layers.Activation("tanh")(x)))
model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
rng = np.random.default_rng(0)
images = rng.random((6, 14, 14, 1024), np.float32)
craft = xc.Craft.from_model(model, "cut", 25, batch_size=2, factorizer=xc.factorization.NMF(5))
craft.fit(images, 0)
xc.importance.SobolImportance(craft, 2, batch_size=2).explain(images[:2])  # all is traced
craft.contributions(images[:2])
Path("/proc/self/clear_refs").write_text("5")
before = peak()
importance = xc.importance.SobolImportance(craft, 32, batch_size=64)
assert importance.explain(images).shape == (6, 25)
craft.batch_size = 64
craft.contributions(images)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("head", ["plain", "folded"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_importance_at_a_large_layer_needs_under_500_mib(head: str) -> None:
    """Activations 14 x 14 x 1024, 25 concepts, 32 designs: 864 masks of 0.8 MB are 660 MiB."""
    run = subprocess.run(
        [sys.executable, "-c", DESIGNS, head], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout) < 500.0


TARGETS = """
import gc, sys, warnings
from pathlib import Path
import keras, numpy as np
import xplique.attributions, xplique_craft as xc
from keras import layers

warnings.simplefilter("ignore")

def now():
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024

keras.utils.set_random_seed(0)
image = keras.Input((16, 16, 3))
x = layers.Conv2D(8, 3, padding="same", activation="relu", name="cut")(image)
for _ in range(4):
    x = layers.Conv2D(8, 3, padding="same", activation="softplus")(x)
model = keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
rng = np.random.default_rng(0)
images = rng.random((12, 16, 16, 3), np.float32)
craft = xc.Craft.from_model(model, "cut", 3)
craft.fit(images, 0)
explainer = getattr(xplique.attributions, sys.argv[1])
attribution = xc.attributions.ConceptAttribution(craft, explainer, output="relevance")
for i in range(330):
    target = rng.normal(size=(1, 10)).astype(np.float32)
    attribution.explain_concepts(images[i % 12][None], 0, targets=target)
    if i == 29:
        before = now()
print(now() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GradCAM", "Saliency"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_memory_does_not_grow_with_targets(name: str) -> None:
    """Of 300 maps of relevance, each for another target; at 17 MB each that would be 5 GB."""
    run = subprocess.run(
        [sys.executable, "-c", TARGETS, name], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout) < 20.0
