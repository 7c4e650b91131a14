"""
Claim: the heavy steps run on a GPU unchanged, and give the CPU's numbers to 1e-4.

Encoding with its gradient, on 100,000 random rows of 512 channels and 25 concepts, and gated scores
of a small convolutional head: seconds on both devices (medians, warm), their ratio, the largest
relative difference, and the GPU's peak memory.

    python benchmarks/gpu.py [--rows N]
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _kit import markdown_table, versions

CONCEPTS, CHANNELS, REPEATS = 25, 512, 5


def encoding(rows: int) -> Callable[[], Any]:
    """Coefficients of random rows and the gradient of their sum, concatenated."""
    import tensorflow as tf

    from xplique_craft.factorization.implicit import encode

    rng = np.random.default_rng(0)
    activations = tf.constant(rng.random((rows, CHANNELS)), tf.float32)
    bank = rng.random((CONCEPTS, CHANNELS)).astype(np.float32)

    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(activations)
            u = encode(activations, bank)[0]
            total = tf.reduce_sum(u)
        return tf.concat([u, tape.gradient(total, activations)], axis=1)

    return run


def gated_scores() -> Callable[[], Any]:
    """f_x(m) of 16 images under 256 gates each."""
    import keras
    import tensorflow as tf

    from xplique_craft.gates import Coded, GatedHead
    from xplique_craft.splitting.split import split_model

    keras.utils.set_random_seed(0)
    x = image = keras.Input((14, 14, CHANNELS))
    x = keras.layers.Identity(name="latent")(x)
    x = keras.layers.Conv2D(256, 1, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = split_model(keras.Model(image, keras.layers.Dense(10)(x)), "latent").network
    rng = np.random.default_rng(0)
    u = tf.constant(rng.random((16, 14, 14, CONCEPTS)), tf.float32)
    bank = rng.random((CONCEPTS, CHANNELS)).astype(np.float32)
    activations = tf.constant(rng.random((16, 14, 14, CHANNELS)), tf.float32)
    coded = Coded(
        indices=np.arange(16),
        images=np.zeros((16, 14, 14, 3), np.float32),
        targets=np.eye(10, dtype=np.float32)[np.zeros(16, int)],
        activations=activations,
        u=u,
        gated=u,
        constant=activations,
        kkt=u[..., 0],
        bank=bank,
    )
    gates = rng.random((16, 256, CONCEPTS)).astype(np.float32)
    head = GatedHead(network, None, 64)
    return lambda: head.evaluate(coded, gates)


def run_on(device: str, make: Callable[[], Callable[[], Any]]) -> tuple[float, np.ndarray]:
    """Median seconds and the values."""
    import tensorflow as tf

    with tf.device(device):
        run = make()
        values = np.asarray(run())
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            np.asarray(run())
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        sys.exit("Skipped: TensorFlow sees no GPU here.")
    table = []
    for name, make in (("encoding", lambda: encoding(rows)), ("gates", gated_scores)):
        cpu, expected = run_on("/CPU:0", make)
        tf.config.experimental.reset_memory_stats("GPU:0")
        gpu, found = run_on("/GPU:0", make)
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        table.append([name, f"{cpu / gpu:.1f}", f"{difference:.0e}", f"{peak / 2**20:.0f} MiB"])
    print(markdown_table(["step", "CPU / GPU time", "largest difference", "peak"], table))
    print(f"\n{versions()}")


if __name__ == "__main__":
    main()
