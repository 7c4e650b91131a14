"""A model made in the scope of a `tf.distribute` strategy: g and h on all of its replicas."""

import subprocess
import sys
from pathlib import Path

REPLICAS = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import colours
import xplique_craft as xc

images, labels = colours.images(4)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = colours.model()
one, two = colours.split().network, xc.split_model(model, "colours").network
assert (one.strategy, two.strategy) == (None, strategy)

for number in (1, 2, 5, 12):
    latents = two.latents(images[:number])
    np.testing.assert_allclose(latents, one.latents(images[:number]), atol=1e-4)
    np.testing.assert_allclose(two.logits(latents), one.logits(latents), atol=1e-4)

splits = (colours.split(), xc.split_model(model, "colours"))
crafts = [xc.Craft.from_model(split, None, 2, 7, 12) for split in splits]
for craft in crafts:
    craft.fit(images[labels == 0], 0)
first, second = (craft.contributions(images[labels == 0]) for craft in crafts)
np.testing.assert_allclose(first.phi, second.phi, rtol=1e-3, atol=1e-4)
graph = tf.function(two.activations).get_concrete_function(tf.TensorSpec([None, 24, 24, 3])).graph
print(len({op.device for op in graph.get_operations() if op.type == "Conv2D"}))
"""


def test_two_replicas_say_what_one_says() -> None:
    """Each of them runs g on its own device."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REPLICAS],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"
