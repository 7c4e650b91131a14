"""
Sampling: from images, however they are given, to the rows that a bank is fitted on.

    stream           images in batches: arrays, tensors, tf.data
    lazy_images      images that are read when they are asked for, with known activations
    told_images      what images are told by: were they changed, are others given?
    crops            where crops are: their sizes, how they are cut and resized
    lazy_crops       a sequence of crops, whose pixels are cut when they are asked for
    rows             crops -> g -> one row of pooled activations each
    settings         how concepts are looked for
    extent           how large the coefficients of a bank get in whole images
    representatives  the crops that show a concept best
    held_out         a random part of the images, to check on what was found on the others
"""

from .. import _backend as _backend
from .lazy_crops import Crops
from .stream import ImageBatch, Stream

__all__ = ["Crops", "ImageBatch", "Stream"]
