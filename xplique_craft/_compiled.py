"""Functions compiled for one signature, and loops inside them."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def compile_function(function: Callable[..., Any], signature: Sequence[tf.TensorSpec]) -> Any:
    """
    Compile a function of tensors once, for tensors of these shapes and types.

    What is returned also takes arrays and numbers, and calls TensorFlow's concrete function
    directly. A `tf.function` would count the first trace of each of several models as a retrace,
    and warn of it.
    """
    concrete = tf.function(function, input_signature=list(signature)).get_concrete_function()

    def call(*arguments: Any) -> Any:
        return concrete(
            *(
                tf.convert_to_tensor(argument, spec.dtype)
                for argument, spec in zip(arguments, signature, strict=True)
            )
        )

    return call


def one_after_the_other(
    function: Callable[[tf.Tensor], tf.Tensor], number: tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """The rows (..., d) that a function gives for 0, 1, ..., number - 1, inside a compiled one."""
    parts = tf.TensorArray(dtype, number, infer_shape=False, element_shape=[None, None])
    _, parts = tf.while_loop(
        lambda i, _: i < number,
        lambda i, parts: (i + 1, parts.write(i, function(i))),
        (tf.constant(0), parts),
        parallel_iterations=1,
    )
    return parts.concat()
