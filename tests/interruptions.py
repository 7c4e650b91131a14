"""For the tests of checkpoints: Ctrl-C at a chosen place, and results as bytes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from xplique_craft.saving import RESULTS, write_saved


class Calls:
    """Counts the calls of a function, and interrupts one of them."""

    def __init__(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self.interrupts = 0, 0
        module, _, names = path.partition(":")
        *owner, name = names.split(".")
        holder = reduce(getattr, owner, sys.modules[f"xplique_craft.{module}"])
        inner = getattr(holder, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.number += 1
            if self.number == self.interrupts:
                raise KeyboardInterrupt
            return inner(*args, **kwargs)

        monkeypatch.setattr(holder, name, counted)

    @contextmanager
    def interrupted(self, at: int) -> Iterator[None]:
        """Ctrl-C when the function is called for that time."""
        self.number, self.interrupts = 0, at
        with pytest.raises(KeyboardInterrupt) as found:
            yield
        self.number, self.interrupts, self.said = 0, 0, str(found.value)


def written(value: Any, folder: Path) -> bytes:
    """A result as the bytes of a file: the same ones for the same numbers."""
    return write_saved("test", value, folder / "value.safetensors", RESULTS).read_bytes()
