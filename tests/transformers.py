"""Small transformers, of random weights, with any number of tokens before the patches."""

from typing import Any

import keras
from keras import layers

SIDE, CHANNELS = 32, 12


class ClassToken(layers.Layer):
    """Learned tokens before the others."""

    def __init__(self, number: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def build(self, input_shape: tuple[int, ...]) -> None:
        shape = (1, self.number, input_shape[-1])
        self.token = self.add_weight(shape=shape, name="token", initializer="random_normal")

    def call(self, x):
        return keras.ops.concatenate(
            [keras.ops.repeat(self.token, keras.ops.shape(x)[0], axis=0), x], axis=1
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "number": self.number}


def transformer(special: int = 1) -> keras.Model:
    """Two blocks of attention over 4 x 4 patches and special tokens; the first one decides."""
    x = image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(CHANNELS, 8, strides=8, name="patches")(x)
    x = layers.Reshape((16, CHANNELS), name="tokens")(x)
    if special:
        x = ClassToken(special, name="class_token")(x)
    for i in range(2):
        y = layers.LayerNormalization(name=f"norm{i}")(x)
        x = layers.Add(name=f"attended{i}")([x, layers.MultiHeadAttention(2, 6)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(CHANNELS)(layers.Dense(24, activation="gelu")(y))
        x = layers.Add(name=f"block{i}")([x, y])
    x = layers.LayerNormalization(name="last_norm")(x)
    taken = layers.Cropping1D((0, 15 + special))(x)
    x = layers.Reshape((CHANNELS,), name="taken")(taken)
    return keras.Model(image, layers.Dense(3, name="logits")(x), name="transformer")
