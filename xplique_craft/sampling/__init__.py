"""
Sampling: from images, however they are given, to the rows that a bank is fitted on.

    stream           images in batches: arrays, tensors, tf.data
    crops            where crops are cut, and a lazy sequence of them
    rows             crops -> g -> one row of pooled activations each
    representatives  the crops that show a concept best
"""

from .crops import Crops
from .stream import ImageBatch, Stream

__all__ = ["Crops", "ImageBatch", "Stream"]
