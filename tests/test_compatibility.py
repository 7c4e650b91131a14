"""A script written for Xplique's CraftTf runs with Craft, and at more concepts than CraftTf can."""

from typing import Any

import keras
import matplotlib
import numpy as np
import planted
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from xplique.concepts import CraftTf

import xplique_craft as xc

SIZE = (16, 16)
PLOTS = [name for name in dir(CraftTf) if name.startswith("plot_")]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(10, SIZE, seed=4)


@pytest.fixture(scope="module")
def halves() -> tuple[keras.Model, keras.Model]:
    split = xc.split_model(planted.convolutional(SIZE, filters=32), planted.LAYER)
    return split.input_to_latent, split.latent_to_logit


@pytest.fixture(scope="module")
def class_id(halves: tuple[keras.Model, keras.Model], images: np.ndarray) -> int:
    g, h = halves
    return int(np.bincount(h(g(images)).numpy().argmax(axis=1)).argmax())


def script(
    craft_class: type,
    halves: tuple[keras.Model, keras.Model],
    images: np.ndarray,
    class_id: int,
    number_of_concepts: int,
) -> dict[str, Any]:
    """What tutorials of CraftTf do, up to their figures."""
    g, h = halves
    craft = craft_class(
        input_to_latent_model=g,
        latent_to_logit_model=h,
        number_of_concepts=number_of_concepts,
        patch_size=8,
        batch_size=4,
    )
    crops, crops_u, concept_bank_w = craft.fit(images, class_id=class_id)
    importances = craft.estimate_importance(nb_design=32)
    local = craft.estimate_importance(images[:2], nb_design=32)
    images_u = craft.transform(images)
    found, sensitivity = craft.factorization, craft.sensitivity
    best = sensitivity.most_important_concepts[0]
    best_crops = np.array(crops)[np.argsort(crops_u[:, best])[::-1][:3]]
    pooled = np.asarray(g(resized(best_crops))).mean(axis=(1, 2))
    encoded = craft.transform(None, activations=pooled)
    return {
        "settings": (craft.number_of_concepts, craft.batch_size, int(np.max(craft.patch_size))),
        "crops": tuple(np.array(crops).shape[1:]),
        "crops.shape": tuple(crops.shape[1:]),
        "crops_u": crops_u.shape[1:],
        "as many": len(crops) == len(crops_u) == crops.shape[0],
        "bank": (concept_bank_w.shape, concept_bank_w.dtype),
        "same": found.concept_bank_w is concept_bank_w and found.crops_u is crops_u,
        "inputs": found.inputs is images,
        "class_id": found.class_id,
        "components": found.reducer.components_.shape,
        "images_u": images_u.shape,
        "importances": importances.shape,
        "local": local.shape,
        "kept": bool(np.all(sensitivity.importances == importances)),
        "order": sorted(int(c) for c in sensitivity.most_important_concepts),
        "sorted": bool(np.all(np.diff(importances[sensitivity.most_important_concepts]) <= 0)),
        "best crops": best_crops.shape,
        "encoded": encoded.shape,
        "enough colours": len(sensitivity.cmaps) >= number_of_concepts,
    }


def resized(crops: np.ndarray) -> np.ndarray:
    """Crops at the size of the images."""
    return np.asarray(keras.ops.image.resize(crops, SIZE))


@pytest.fixture(scope="module")
def upstream(
    halves: tuple[keras.Model, keras.Model], images: np.ndarray, class_id: int
) -> dict[str, Any]:
    return script(CraftTf, halves, images, class_id, 10)


def test_the_script_gives_the_same_with_both(
    upstream: dict[str, Any],
    halves: tuple[keras.Model, keras.Model],
    images: np.ndarray,
    class_id: int,
) -> None:
    assert script(xc.Craft, halves, images, class_id, 10) == upstream


def test_what_it_gives(upstream: dict[str, Any], class_id: int) -> None:
    """So that the comparison above is of something."""
    assert upstream["settings"] == (10, 4, 8)
    assert upstream["crops"] == upstream["crops.shape"] == (8, 8, 3)
    assert upstream["bank"] == ((10, 32), np.float32)
    assert upstream["images_u"] == (10, 8, 8, 10)
    assert upstream["order"] == list(range(10))
    assert upstream["class_id"] == class_id
    for name in ("as many", "same", "inputs", "kept", "sorted", "enough colours"):
        assert upstream[name]


def test_at_twenty_concepts(
    upstream: dict[str, Any],
    halves: tuple[keras.Model, keras.Model],
    images: np.ndarray,
    class_id: int,
) -> None:
    """CraftTf's own default, at which it runs out of colours."""
    found = script(xc.Craft, halves, images, class_id, 20)
    assert found["importances"] == (20,)
    assert found["images_u"] == (10, 8, 8, 20)
    assert found["enough colours"]
    assert found["crops"] == upstream["crops"]


def test_colour_maps_fade_in_from_transparency(
    halves: tuple[keras.Model, keras.Model], images: np.ndarray, class_id: int
) -> None:
    craft = xc.Craft(*halves, 5, 4)
    craft.fit(images, class_id)
    craft.estimate_importance()
    cmaps = craft.sensitivity.cmaps
    assert len(cmaps) == 5
    for cmap in cmaps:
        assert isinstance(cmap, matplotlib.colors.Colormap)
        assert cmap(0.0)[3] < 0.1 < 0.5 < cmap(1.0)[3]
    assert len({cmap(1.0)[:3] for cmap in cmaps}) == 5


def test_arguments_come_in_its_order(halves: tuple[keras.Model, keras.Model]) -> None:
    craft, upstream = (kind(*halves, 7, 5, 8) for kind in (xc.Craft, CraftTf))
    assert (craft.number_of_concepts, craft.batch_size) == (7, 5)
    assert (upstream.number_of_concepts, upstream.batch_size) == (7, 5)
    assert np.all(np.asarray(craft.patch_size) == upstream.patch_size)
    g, h = halves
    assert_array_equal(craft.input_to_latent_model.output.shape, g.output.shape)
    assert_array_equal(craft.latent_to_logit_model.output.shape, h.output.shape)


@pytest.mark.parametrize("craft_class", [CraftTf, xc.Craft])
def test_both_are_fitted_before_they_are_asked(
    craft_class: type, halves: tuple[keras.Model, keras.Model], images: np.ndarray
) -> None:
    craft = craft_class(*halves)
    for question in (craft.check_if_fitted, craft.estimate_importance):
        with pytest.raises(NotFittedError):
            question()
    with pytest.raises(NotFittedError):
        craft.transform(images)


@pytest.mark.parametrize("craft_class", [CraftTf, xc.Craft])
def test_both_take_keras_models_only(
    craft_class: type, halves: tuple[keras.Model, keras.Model]
) -> None:
    with pytest.raises(TypeError):
        craft_class(lambda x: x, halves[1])


@pytest.mark.parametrize("name", PLOTS)
def test_its_methods_that_draw_answer_with_ours(
    name: str, halves: tuple[keras.Model, keras.Model]
) -> None:
    craft = xc.Craft(*halves)
    with pytest.raises(AttributeError, match=rf"{name}: .*xplique_craft\.plots\.") as error:
        getattr(craft, name)
    named = str(error.value).split("xplique_craft.plots.")[1].split(",")[0]
    assert callable(getattr(xc.plots, named))
    assert len(PLOTS) >= 5
