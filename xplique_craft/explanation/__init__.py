"""Explanations of a class: everything that is said of it, as one record."""

from .. import _backend as _backend
from .of_class import explain_class

__all__ = ["explain_class"]
