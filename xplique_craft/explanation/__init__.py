"""Explanations of a class: everything that is said of it, as one record."""

from .of_class import explain_class

__all__ = ["explain_class"]
