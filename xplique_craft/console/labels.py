"""
Names of classes, read from a file of labels, and the class that a word means.
"""

import json
from pathlib import Path
from typing import Any

from .._checks import nearest

_DIGITS = 10  # indices of classes have fewer

_FORMS = (
    "a text file with one name a line, or JSON: a list of names, a list of [id, names], "
    "{index: name} or {name: index}"
)


def read_labels(path: Path) -> dict[int, list[str]]:
    """
    The names of a model's classes, index -> names: the one to show first, then synonyms, then id.

    The file is text with one name a line, the first being that of class 0; or, where its name ends
    in ".json", a list of names, a list of [id, names] as ImageNet's, {index: name},
    {index: [id, name]} or {name: index}. Synonyms are separated by commas.
    """
    if not path.is_file():
        raise ValueError(f"labels must be a file, and there is none at {path}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"labels must be {_FORMS}, in UTF-8; {path} is not: {error}.") from None
    if path.suffix.lower() != ".json":
        lines = text.rstrip().splitlines()
        return {index: _names(line) for index, line in enumerate(lines)}
    try:
        return _from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"labels must be {_FORMS}; {path} is not: {error}.") from None


def find_class(word: str, labels: dict[int, list[str]] | None) -> tuple[int, str | None]:
    """
    The index of the class that a word means, and its name to show (None where labels lack it).

    The word is an index, or one of the names in `labels`, in small or capital letters.
    """
    if word.isdecimal() and len(word) < _DIGITS:
        class_id = int(word)
        return class_id, (labels or {}).get(class_id, [""])[0] or None
    if labels is None:
        raise ValueError(
            f"class must be an index where there are no labels, not {word[:40]!r}; give the "
            "names with --labels FILE."
        )
    known: dict[str, list[int]] = {}
    for class_id, names in labels.items():
        for name in {name.casefold() for name in names}:
            known.setdefault(name, []).append(class_id)
    found = known.get(word.casefold(), [])
    if len(found) == 1:
        return found[0], labels[found[0]][0]
    if found:
        which = " or ".join(f"{index} ({', '.join(labels[index])})" for index in found)
        raise ValueError(f"class {word!r} is the name of several: give the index, {which}.")
    hint = nearest(word.casefold(), known) or "None of them is near."
    raise ValueError(f"class must be an index or one of the labels, not {word!r}. {hint}")


def names_of(labels: dict[int, list[str]] | None, number: int) -> list[str] | None:
    """First names of so many classes, "class 3" where one has none; None without labels."""
    if labels is None:
        return None
    return [labels.get(i, [""])[0] or f"class {i}" for i in range(number)]


def _names(text: str) -> list[str]:
    """The whole text, for names that have commas, after the parts between its commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return parts if len(parts) == 1 else [*parts, text.strip()]


def _from_json(content: Any) -> dict[int, list[str]]:
    """Labels from any of the forms of JSON; a ValueError says which entry has none."""
    if isinstance(content, list):
        return {index: _entry(value) for index, value in enumerate(content)}
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}")
    if content and all(isinstance(value, int) for value in content.values()):
        return {index: _names(name) for name, index in content.items()}
    if not all(key.isdecimal() for key in content):
        raise ValueError("its keys are not indices, nor all its values")
    return {int(key): _entry(value) for key, value in content.items()}


def _entry(value: Any) -> list[str]:
    """Names of one entry, "names" or [id, names]."""
    if isinstance(value, str):
        return _names(value)
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return [*_names(value[1]), value[0]]
    raise ValueError(f"it holds the entry {json.dumps(value)[:60]}")
