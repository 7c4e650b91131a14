"""The encoding and its gradient, compiled once for each number of concepts."""

from functools import cache

import numpy as np
import tensorflow as tf

from xplique_craft.factorization.implicit import encode_rows


@cache
def compiled(k, dtype):
    """u and the gradients of sum(u * cotangent) by the activations and by the bank."""

    @tf.function(
        input_signature=[tf.TensorSpec(s, dtype) for s in ([None] * 2, [k, None], [None, k])]
    )
    def backward(activations, bank, cotangent):
        with tf.GradientTape() as tape:
            tape.watch([activations, bank])
            u, _ = encode_rows(activations, bank)
            total = tf.reduce_sum(u * cotangent)
        return u, *tape.gradient(total, (activations, bank))

    return backward


def gradients(activations, bank, cotangent, dtype=np.float64):
    inputs = (tf.constant(x, dtype) for x in (activations, bank, cotangent))
    found = compiled(len(bank), dtype)(*inputs)
    assert all(np.isfinite(x).all() for x in found)
    return [x.numpy() for x in found]
