"""
What is made on first use and then kept, so that threads may ask for it at the same time.

The first thread that asks makes the value; the others wait for it and get the same one. Each value
has a lock of its own while it is made. So two threads cannot wait for each other, unless two values
need one another, and these could not be made by one thread either.
"""

import functools
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any, TypeVar

T = TypeVar("T")

_MISSING: Any = object()

_guard = Lock()
_at_work: dict[Hashable, tuple[Any, list[None]]] = {}  # by what is made: its lock, who needs it

# Keras numbers the calls of a layer in the order in which they come, and finds them by that number.
# Models that share layers are therefore built one after the other.
BUILDING = RLock()

# Scikit-learn changes Python's filters of warnings while it works, which are those of all threads,
# and puts back what it found; where two threads overlap, that is what the other had changed.
FILTERING = RLock()


@contextmanager
def alone(*key: Hashable) -> Iterator[None]:
    """
    Keep other threads out of what has this key; a thread that is in already goes on.

    The objects whose `id` is in the key must outlive the `with` block.
    """
    with _guard:
        lock, users = _at_work.setdefault(key, (RLock(), []))
        users.append(None)
    try:
        with lock:
            yield
    finally:
        with _guard:
            users.pop()
            if not users:
                _at_work.pop(key, None)


def once(values: MutableMapping[Any, Any], key: Hashable, make: Callable[[], T]) -> T:
    """
    The value that a mapping has under a key, which is made now if there is none yet.

    Parameters
    ----------
    values
        What was made so far.
    key
        What the value is found by.
    make
        Makes the value. Where it raises, nothing is kept, and the next one who asks tries again.
    """
    value = values.get(key, _MISSING)
    if value is _MISSING:
        with alone(id(values), key):
            value = values.get(key, _MISSING)
            if value is _MISSING:
                value = values[key] = make()
    return value


class cached_property(functools.cached_property[T]):
    """
    As `functools.cached_property`, with the value made once whatever number of threads ask.

    That of Python 3.12 and later makes it in each of these threads, and each may get another one;
    that of Python 3.10 and 3.11 locks all objects of the class at once.
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The property itself, of the class; of an object its value."""
        if instance is None:
            return self
        name = self.attrname or self.func.__name__
        return once(vars(instance), name, functools.partial(self.func, instance))
