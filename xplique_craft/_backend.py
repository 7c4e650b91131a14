"""
What everything that computes needs: Keras 3 on TensorFlow, the one that Xplique works with too.

Importing this file checks it, so it is imported before Keras and Xplique are: with another backend
these fail in words of their own, or later, in the middle of the work.
"""

import json
import os
import sys
from pathlib import Path

NEEDED = "tensorflow"


def check_backend() -> None:
    """An ImportError if Keras runs, or would run, on another backend, or if TensorFlow is told to
    take the older Keras 2 for its own."""
    backend, where = _backend()
    if backend != NEEDED:
        raise ImportError(
            f"xplique_craft needs Keras with TensorFlow as its backend, and {where} says "
            f"{backend!r}. Set KERAS_BACKEND={NEEDED} before Python starts, or before Keras is "
            "imported for the first time."
        )
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("true", "True", "1"):
        raise ImportError(
            "xplique_craft needs Keras 3, and TF_USE_LEGACY_KERAS tells TensorFlow to take Keras 2 "
            "(tf_keras). Unset it; a model of Keras 2 that is saved as model.h5 can be loaded by "
            "keras.saving.load_model, of Keras 3."
        )


def _backend() -> tuple[str, str]:
    """The backend that Keras runs on, or would if it were imported now; and what says so."""
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is not None:
        return config.backend(), "keras.config.backend()"
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend, "KERAS_BACKEND"
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    settings = Path(home).expanduser() / "keras.json"
    try:
        backend = json.loads(settings.read_text(encoding="utf-8")).get("backend", NEEDED)
    except (OSError, ValueError, AttributeError):  # none, or one that Keras cannot read either
        backend = NEEDED
    return backend, str(settings)


check_backend()
