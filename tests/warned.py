"""Warnings that were caught, without those of other libraries: each Python has its own of these."""

from collections.abc import Iterable
from warnings import WarningMessage


def ours(caught: Iterable[WarningMessage]) -> list[WarningMessage]:
    """Those that the package gives, all of which are UserWarnings."""
    return [one for one in caught if issubclass(one.category, UserWarning)]
