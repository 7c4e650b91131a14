"""
Sampling: from images, however they are given, to the rows that a bank is fitted on.

    stream           images in batches: arrays, tensors, tf.data
    windows          where crops are, how they are cut and resized
    crops            a lazy sequence of crops
    rows             crops -> g -> one row of pooled activations each
    representatives  the crops that show a concept best
    held_out         a random part of the images, to check on what was found on the others
"""

from .crops import Crops
from .stream import ImageBatch, Stream

__all__ = ["Crops", "ImageBatch", "Stream"]
