"""
What the benchmarks share: real models, real photographs, versions and Markdown.

The models and photographs are not part of this project. The environment variable
XPLIQUE_CRAFT_REALKIT names a folder whose `load.py` has

    load_model(name)                 a Keras model from images to logits
    INPUT_SIZE, SPLIT_LAYERS         of each model; the first layer is the one that is explained
    load_images(class, n, size)      uint8 (n, size, size, 3), always in the same shuffled order
    preprocess(images, name)         what the model takes
    class_index(class)               its index among the logits
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

__all__ = [
    "forget_peak_memory",
    "load_kit",
    "markdown_table",
    "peak_memory",
    "photographs",
    "versions",
]

VARIABLE = "XPLIQUE_CRAFT_REALKIT"


def load_kit() -> ModuleType:
    """
    The module that loads models and photographs; ends the program in one sentence without it.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        sys.exit(
            f"{VARIABLE} must name the folder of real models and photographs, and is not set; "
            f"what has to be in it is said in {Path(__file__).name}."
        )
    path = Path(folder) / "load.py"
    if not path.is_file():
        sys.exit(f"{VARIABLE} must name a folder that holds load.py, and {folder} does not.")
    spec = importlib.util.spec_from_file_location("realkit_load", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{VARIABLE}: {path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photographs(
    kit: ModuleType, model_name: str, class_name: str, fitted: int, held_out: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    Preprocessed photographs of a class, (fitted, H, W, 3) to fit on and (held_out, H, W, 3) others.
    """
    number = fitted + held_out
    images = kit.load_images(class_name, number, size=kit.INPUT_SIZE[model_name])
    if len(images) < number:
        sys.exit(f"{number} photographs of {class_name} are needed, and there are {len(images)}.")
    inputs = kit.preprocess(images, model_name)
    return inputs[:fitted], inputs[fitted:]


def peak_memory() -> int:
    """Most bytes that this process has held at once, as Linux counts them."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    sys.exit("Peak memory is read from /proc/self/status, which has no VmHWM here.")


def forget_peak_memory() -> None:
    """Let the peak start again from what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def versions() -> str:
    """What the numbers were computed with, in one line."""
    names = ("xplique-craft", "xplique", "tensorflow", "keras", "numpy", "scikit-learn")
    found = [f"{name} {version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()}", *found])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
