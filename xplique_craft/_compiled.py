"""
Functions compiled for one signature, loops inside them, and what is done where memory runs out.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import tensorflow as tf

from ._checks import warn

OUT_OF_MEMORY = "Out of memory in"  # how its messages begin


class Room:
    """
    How many images one part of a model takes at a time, as far as the memory goes.

    There is no bound until the memory runs out. Then it is half of what was tried, for all that is
    still to come, and a warning says so once something went through. Numbers do not depend on it:
    whatever is drawn is drawn by image, never by batch.

    Parameters
    ----------
    part
        What messages call the part of the model.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self._most = self._told = float("inf")
        self._lock = Lock()  # several threads may run out of memory at the same time

    def bounded(self, wanted: float) -> float:
        """As many as are wanted, or as there is room for."""
        return min(wanted, self._most)

    def halve(self, tried: float, error: tf.errors.ResourceExhaustedError, *, alone: bool) -> None:
        """
        From now on, take half of what was tried.

        Raises
        ------
        tf.errors.ResourceExhaustedError
            If it was one image alone, of which there is no half.
        """
        if alone:
            raise tf.errors.ResourceExhaustedError(
                error.node_def,
                error.op,
                f"{OUT_OF_MEMORY} {self.part}, for one image alone, so no batch_size is small "
                "enough. Free memory that other programs hold, give smaller images to a model that "
                "takes them, or use a device with more memory.",
            ) from error
        with self._lock:
            self._most = min(self._most, tried / 2)  # another thread may have found less room

    def went_through(self) -> None:
        """Say what there is room for, if that is news."""
        with self._lock:
            most, told, self._told = self._most, self._told, self._most
        if most < told:
            size = max(1, int(most))
            warn(
                f"{OUT_OF_MEMORY} {self.part}: it goes on with {size} "
                f"image{'s' if size > 1 else ''} at a time, which changes no number. Set "
                f"batch_size={size} to begin with that."
            )


def compile_function(
    function: Callable[..., Any],
    signature: Sequence[tf.TensorSpec],
    *,
    rows: Sequence[int] = (),
    room: Room | None = None,
) -> Any:
    """
    Compile a function of tensors once, for tensors of these shapes and types.

    What is returned also takes arrays and numbers, and calls TensorFlow's concrete function
    directly. A `tf.function` would count the first trace of each of several models as a retrace,
    and warn of it.

    Parameters
    ----------
    function, signature
        What is compiled, and for which tensors.
    rows
        Which of its arguments hold a row for each image, as all that it returns must, so that it
        can be called with fewer images at a time where memory runs out.
    room
        How many these are; None calls it with all, whatever happens.
    """
    concrete = tf.function(function, input_signature=list(signature)).get_concrete_function()

    def call(*arguments: Any) -> Any:
        return concrete(
            *(
                tf.convert_to_tensor(argument, spec.dtype)
                for argument, spec in zip(arguments, signature, strict=True)
            )
        )

    if room is None:
        return call
    return _in_parts(call, frozenset(rows), room)


def _in_parts(call: Callable[..., Any], rows: frozenset[int], room: Room) -> Callable[..., Any]:
    """The same function, called with as many images at a time as there is room for."""

    def call_in_parts(*arguments: Any) -> Any:
        number, start = len(arguments[min(rows)]), 0
        parts: list[Any] = []
        while start < number or not parts:
            size = max(1, int(room.bounded(number - start)))
            some = slice(start, start + size)
            try:
                found = call(*(a[some] if i in rows else a for i, a in enumerate(arguments)))
            except tf.errors.ResourceExhaustedError as error:
                room.halve(size, error, alone=size == 1)
                continue
            room.went_through()
            parts.append(found)
            start += size
        if len(parts) == 1:
            return parts[0]
        return tf.nest.map_structure(lambda *each: tf.concat(each, axis=0), *parts)

    return call_in_parts


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
