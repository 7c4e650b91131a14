"""Multiply-adds, which the benchmarks count: of layers and of heads, against counts by hand."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from test_folding import CHANNELS, Case, K, fire

from xplique_craft.gates import GatedHead
from xplique_craft.splitting.graph import calls_of

PATH = Path(__file__).parents[1] / "benchmarks" / "_multiply_adds.py"
SPEC = importlib.util.spec_from_file_location("multiply_adds", PATH)
multiply_adds = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(multiply_adds)


def test_a_head_by_hand() -> None:
    """conv 5 -> 4 (1x1), then 4 -> 6 (1x1) and 4 -> 6 (3x3), 12 -> 4 (1x1), on 8 x 8 places."""
    case = Case(fire)
    head = GatedHead(case.craft.network, None, 64)
    whole = 64 * (5 * 4 + 4 * 6 + 9 * 4 * 6 + 12 * 4)
    tail = 64 * (4 * 6 + 9 * 4 * 6 + 12 * 3)  # three logits are needed by the two targets
    gates = K * 64 * 4
    expected = 2 * (9 * (tail + gates) + 64 * 5 * 4)
    assert multiply_adds.spent(head, case.coded, 9) == expected
    assert multiply_adds.whole(head, case.coded, 9) == 18 * (whole + K * 64 * CHANNELS)
    saved = 1.0 - expected / (18 * (whole + K * 64 * CHANNELS))
    assert multiply_adds.saved(head, case.coded, 9) == pytest.approx(saved)


def test_sizes_that_are_left_open() -> None:
    case = Case(fire, size=None)
    assert np.isnan(multiply_adds.spent(GatedHead(case.craft.network, None, 64), case.coded, 9))


def test_layers() -> None:
    image = keras.Input((8, 8, 6))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", groups=2)(x)
    x = layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = layers.SeparableConv2D(5, 3)(x)
    model = keras.Model(image, layers.Dense(7)(layers.Flatten()(x)))
    found = [multiply_adds.of_call(step) for step in calls_of(model) if step.inputs]
    assert found == [
        64 * 9 * 12,
        16 * 9 * 6 * 8,
        16 * 4 * 8 * 4,
        36 * (9 * 4 + 4 * 5),
        0,
        36 * 5 * 7,
    ]
