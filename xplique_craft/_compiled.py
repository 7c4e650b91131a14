"""Compiled functions of one signature."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["compile_function"]


def compile_function(function: Callable[..., Any], signature: Sequence[tf.TensorSpec]) -> Any:
    """
    A function traced once, for tensors of these shapes and types.

    It is called as the concrete function that it is: TensorFlow then does not count the first
    trace of each of several models' functions as retracing, which it warns of.

    Parameters
    ----------
    function
        Of tensors.
    signature
        One specification for each of them.

    Returns
    -------
    compiled
        Takes tensors, arrays or numbers.
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
