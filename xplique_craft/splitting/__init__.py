"""
Splitting: a model and one of its layers give g and h, with h(g(x)) the model itself.

    graph      a flat view of any Keras model: one list of calls
    structure  which calls are affine, keep values non-negative, go channel by channel
    flatten    the flat view of what people give, or an error that says what is wrong with it
    layers     where it can be cut, where to begin, and the place that people mean by a layer
    tokens     which tokens of a layer are patches, and which belong to no place
    network    the two halves as compiled functions
    split      the two halves
"""

from .. import _backend as _backend
from .layers import Candidate
from .split import Split, join_models, split_model

__all__ = ["Candidate", "Split", "join_models", "split_model"]
