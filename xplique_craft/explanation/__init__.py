"""Explanations of a class: everything that is said of it, as one record; by how many concepts."""

from .. import _backend as _backend
from .number_of_concepts import choose_number_of_concepts
from .of_class import explain_class

__all__ = ["choose_number_of_concepts", "explain_class"]
