"""
A whole model explained, class by class, in a folder that a call goes on from and a browser opens.

    explain_model   the call
    sources         images of many classes: arrays, tensors, tf.data, or a
    picture_folder  folder of pictures
    routing         one pass over them: which class is predicted, and g of the images that are kept
    all_classes     which classes are asked for, and what is said of all
    of_one_class    one class, explained into files, in this process or in another
    merged          the concepts of all classes as one bank
    confusions      what is taken for what, in terms of both classes' concepts
    spread          classes through joblib, so that its backends spread them
    folder          `Atlas`: what the folder holds, read back
"""

from .. import _backend as _backend
from .explain_model import explain_model
from .folder import Atlas
from .picture_folder import PictureFolder

__all__ = ["Atlas", "PictureFolder", "explain_model"]
