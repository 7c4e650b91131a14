"""
Which tokens a head reads at its end: the others need not be computed there.

Most transformers read the class token alone, after the last block. What treats every token by
itself (normalisation of channels, dense layers, activations, sums) then needs that token alone too,
and attention needs it as the only query, though keys and values are of all tokens. Of a last block
of 197 tokens this leaves the keys and values, about a sixth of its cost.

From the end backwards every reader of a tensor says which tokens it wants; where all want the same
ones, only these are computed. What is not known wants all of them.
"""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from ..splitting.graph import Call
from ..splitting.structure import is_attention_call, is_tokenwise_call, tokens_taken


def tokens_read(steps: Sequence[Call]) -> dict[int, slice]:
    """
    `id` of those tensors (n, t, c) made by these last steps of a head of which only some tokens are
    read -> these tokens.
    """
    wanted: dict[int, list[slice | None]] = {}
    read: dict[int, slice] = {}
    for step in reversed(steps):
        here = id(step.outputs[0])
        asked = wanted.get(here, [None])  # of what nobody reads, as of the logits, all
        tokens = asked[0]
        alone = len(step.outputs) == 1
        if alone and tokens is not None and all(one == tokens for one in asked):
            read[here] = tokens
        for number, tensor in enumerate(step.inputs):
            passed = is_tokenwise_call(step) or (is_attention_call(step) and number == 0)
            one = read.get(here) if passed else tokens_taken(step)
            wanted.setdefault(id(tensor), []).append(one)
    return read


def is_narrow(step: Call, tokens: slice | None) -> bool:
    """Whether a step can compute these tokens alone."""
    return tokens is not None and (is_tokenwise_call(step) or is_attention_call(step))


def inputs_of(
    step: Call, values: Mapping[int, tf.Tensor], read: Mapping[int, slice]
) -> dict[int, tf.Tensor]:
    """What a step reads, by `id`: where it treats tokens by themselves, those that are read."""
    tokens = read.get(id(step.outputs[0]))
    found = {id(tensor): values[id(tensor)] for tensor in step.inputs}
    if tokens is not None and is_tokenwise_call(step):
        found.update({key: x[:, tokens] for key, x in found.items() if key not in read})
    return found


def taken(
    step: Call, values: Mapping[int, tf.Tensor], read: Mapping[int, slice]
) -> tf.Tensor | None:
    """What a step that only takes tokens out gives, where no others were computed; else None."""
    tensor: keras.KerasTensor = step.inputs[0]
    if id(tensor) not in read or tokens_taken(step) is None:
        return None
    x = values[id(tensor)]
    return x if len(step.outputs[0].shape) == 3 else x[:, 0]
