"""Fixtures and settings of all tests; the settings come before anything imports TensorFlow."""

import importlib
import os
import sys
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest

REALKIT = "XPLIQUE_CRAFT_REALKIT"


@pytest.fixture
def rng() -> np.random.Generator:
    """The one source of random numbers in tests, the same for each."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def realkit() -> ModuleType:
    """The loader of real models and photographs; tests that ask for it are skipped without."""
    folder = os.environ.get(REALKIT)
    if not folder:
        pytest.skip(f"{REALKIT} is unset: it names the folder of real models and photographs")
    sys.path.insert(0, folder)
    return importlib.import_module("load")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked gpu where TensorFlow sees none; imported only if there are such."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="TensorFlow sees no GPU"))
