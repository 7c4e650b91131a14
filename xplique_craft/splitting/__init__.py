"""
Splitting: a model and one of its layers give g and h, with h(g(x)) the model itself.

    split      where a model can be cut, and the two halves
    network    the halves as compiled functions
    graph      a flat view of any Keras model
    structure  which of its parts are affine, non-negative, channel by channel
"""

from .split import Candidate, Split, candidate_layers, join_models, split_model

__all__ = ["Candidate", "Split", "candidate_layers", "join_models", "split_model"]
