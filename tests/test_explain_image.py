"""One image explained: which concepts misled the model, where, and by how much."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

import xplique_craft as xc
from xplique_craft import plots
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.results.of_image import ImageExplanation

SIZE = (16, 24)
NAMES = ["shovel", "moon", "tench"]
# Of each concept for each class: concept 0 is a shovel's, concept 1 the moon's, concept 2 both's.
KERNEL = np.array([[6.0, 1.0, 0.0], [0.5, 3.0, 0.0], [2.0, 2.0, 0.0]], np.float32)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A moon (concept 1) with something like a shovel (concept 0) in it, and a little of both's."""
    moon = planted.square(SIZE, 2, 12, 10, 1)
    shovel = planted.square(SIZE, 4, 2, 8, 0)
    both = planted.square(SIZE, 12, 4, 4, 2)
    return moon + shovel + both


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    """Concepts of shovels: everything is a colour."""
    model = planted.network(np.eye(3), "affine", size=SIZE)
    model.get_layer("logits").set_weights([KERNEL, np.array([0.1, 0.2, 0.0], np.float32)])
    images = [planted.square(SIZE, i, 2 * i, 8, 0) for i in range(4)]
    images += [planted.square(SIZE, 2, 3, 6, j) for j in (1, 2)]
    return planted.fitted(model, np.eye(3), np.stack(images))


@pytest.fixture(scope="module")
def explanation(craft: xc.Craft, image: np.ndarray) -> ImageExplanation:
    return craft.explain_image(
        image, 1, photograph=(255 * image).astype(np.uint8), class_names=NAMES,
        restore=lambda pixels: 255.0 * pixels,
    )  # fmt: skip


def test_what_misled_the_model(explanation: ImageExplanation, image: np.ndarray) -> None:
    """Contributions to the difference of the scores, by hand: u_j (K_j0 - K_j1)."""
    u = image.mean(axis=(0, 1))
    assert explanation.prediction == 0
    assert explanation.right is False
    assert explanation.names == ("shovel", "moon")
    assert_allclose(explanation.coefficients, u, atol=1e-6)
    assert_allclose(explanation.contributions.phi[0], u * KERNEL[:, 0], atol=1e-5)
    assert_allclose(explanation.against.phi[0], u * (KERNEL[:, 0] - KERNEL[:, 1]), atol=1e-5)
    assert explanation.misleading == [0]
    assert explanation.order[0] == 0
    assert explanation.order[-1] == 1


def test_it_adds_up(explanation: ImageExplanation, craft: xc.Craft, image: np.ndarray) -> None:
    logits = craft.model(image[None]).numpy()[0]
    assert logits.argmax() == 0
    found = explanation.against
    assert found.score[0] == pytest.approx(logits[0] - logits[1], abs=1e-5)
    total = found.base[0] + found.residual[0] + found.phi.sum() + found.gap[0]
    assert total == pytest.approx(found.score[0], abs=1e-5)
    powers = np.exp(logits - logits.max())
    assert explanation.probability == pytest.approx(powers[0] / powers.sum(), abs=1e-5)


def test_where(explanation: ImageExplanation, craft: xc.Craft, image: np.ndarray) -> None:
    """Strongest where each concept is; the class map is signed: the moon speaks against."""
    assert explanation.maps.shape == (*SIZE, 3)
    assert explanation.map_crops == 29
    by_crops = ConceptAttribution(craft, by="crops").explain_concepts(image[None])[0]
    assert_allclose(explanation.maps, np.clip(by_crops, 0.0, 1.0), atol=1e-6)
    for concept in range(3):
        found, inside = explanation.maps[..., concept], image[..., concept] > 0.0
        assert found[inside].mean() > 1.5 * found[~inside].mean()
    assert explanation.class_map.shape == SIZE
    assert explanation.class_map[image[..., 0] > 0].mean() > 0.0
    assert explanation.class_map[image[..., 1] > 0].mean() < 0.0
    assert explanation.with_residual
    found = explanation.against
    assert explanation.class_map.mean() * np.prod(SIZE) == pytest.approx(
        float(found.score[0] - found.base[0]), rel=1e-3
    )


def test_a_right_prediction(craft: xc.Craft, image: np.ndarray) -> None:
    found = craft.explain_image(image, 0, class_names=NAMES)
    assert found.right is True
    assert found.against is None
    assert found.misleading == []
    assert found.explained is found.contributions
    assert "That is right." in found.summary()
    assert found.class_map.min() >= 0.0


def test_without_the_truth(craft: xc.Craft, image: np.ndarray) -> None:
    found = craft.explain_image(image[None])
    assert found.right is None
    assert found.names == ("class 0", None)
    assert found.misleading == []
    assert found.summary().splitlines()[0].startswith("Predicted as class 0 with probability 0.")


def test_the_summary(explanation: ImageExplanation) -> None:
    lines = explanation.summary().splitlines()
    assert lines[0] == f"Predicted as shovel with probability {explanation.probability:.3f}."
    assert lines[1] == "It is moon; the concepts that misled the model:"
    phi = explanation.against.phi[0, 0]
    assert lines[2:] == [f"  concept 0: {phi:+.3f} of its score above that of moon"]


def test_crops_are_restored(explanation: ImageExplanation, craft: xc.Craft) -> None:
    """As people look at them, best first, each of another image."""
    assert [len(crops) for crops in explanation.crops] == [4, 1, 1]
    for concept, crops in enumerate(explanation.crops):
        for crop in crops:
            assert crop.dtype == np.uint8
            assert crop[..., concept].max() == 255
            assert crop[..., np.arange(3) != concept].max() == 0
    few = craft.explain_image(
        planted.square(SIZE, 0, 0, 4, 0), restore=lambda x: 255 * x, number_of_crops=2
    )
    assert [len(crops) for crops in few.crops] == [2, 1, 1]


def test_pictures_that_are_not_known(craft: xc.Craft, image: np.ndarray) -> None:
    """Values in [0, 1] are no pixels: they are not shown, and it is said how they would be."""
    found = craft.explain_image(image)
    assert found.photograph is None
    assert found.crops == [[], [], []]
    with pytest.raises(ValueError, match="The photograph is not known: give it to explain_image"):
        plots.image_explanation(found)
    restored = craft.explain_image(image, restore=lambda pixels: 255.0 * pixels)
    assert_array_equal(restored.photograph, np.rint(255.0 * image))


def test_a_restored_black_crop_is_black(craft: xc.Craft, image: np.ndarray) -> None:
    """It is a picture, whatever it is of: 0 is a pixel's value."""
    found = craft.explain_image(image, restore=lambda pixels: 0.0 * pixels)
    assert found.photograph.max() == 0
    assert [len(crops) for crops in found.crops] == [4, 1, 1]


@pytest.mark.parametrize("photograph", [None, np.zeros((*SIZE, 3), np.uint8)])
@pytest.mark.parametrize(
    ("restore", "message"),
    [
        (lambda x: x, r"in \[0, 255\], received values from 0 to 1: .* multiply them by 255"),
        (lambda x: 2.0 * x - 1.0, r"received values from -1 to 1: "),
        (lambda x: np.nan * x, r"in \[0, 255\], received values that are not finite"),
        (lambda x: 255.0 * x[0], r"have shape \(1, H, W, 3\) .* received \(16, 24, 3\)"),
    ],
)
def test_restore_that_gives_no_pixels(
    craft: xc.Craft, image: np.ndarray, restore: Any, message: str, photograph: Any
) -> None:
    with pytest.raises(ValueError, match=rf"restore\(images\) must .*{message}"):
        craft.explain_image(image, restore=restore, photograph=photograph)


def test_a_map_of_one_place_is_seen(explanation: ImageExplanation) -> None:
    """In the colour of its sign, at full strength, be it the only place in hundreds."""
    lone = np.zeros(SIZE, np.float32)
    lone[3, 5] = -1e-3
    (picture,) = plots.class_map(replace(explanation, class_map=lone)).images
    red, _, blue = picture.get_array()[3, 5].astype(int)
    assert blue > red + 100


def test_the_concepts_of_another_class(craft: xc.Craft) -> None:
    moon = planted.square(SIZE, 2, 2, 10, 1)
    with pytest.warns(UserWarning, match="predicted as moon, and the concepts are those of shovel"):
        found = craft.explain_image(moon, class_names=NAMES)
    assert found.prediction == 1
    assert found.contributions.phi[0].argmax() == 1


def test_layers_without_places() -> None:
    images = planted.paintings(4)
    model = planted.network(planted.bank(), "affine", latent="pooled")
    craft = planted.fitted(model, planted.bank(), images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The image is predicted as")
        found = craft.explain_image(images[0], 2, photograph=(255 * images[0]).astype(np.uint8))
    assert found.maps.shape == (8, 8, 3)  # of crops, which need none
    assert np.ptp(found.maps, axis=(0, 1)).min() > 0.05
    assert found.class_map.shape == (8, 8)
    assert isinstance(plots.image_explanation(found), Figure)


def test_explanations_without_maps(explanation: ImageExplanation) -> None:
    """As earlier versions made of layers without places, and saved them."""
    bare = replace(explanation, maps=None, class_map=None, map_crops=0, with_residual=False)
    with pytest.raises(ValueError, match="an earlier version made none: explain the image anew"):
        plots.class_map(bare)
    assert isinstance(plots.image_explanation(bare), Figure)


def test_captions_say_what_the_maps_are(explanation: ImageExplanation) -> None:
    """Those of earlier versions were of single positions, and without the residual."""
    old = replace(explanation, map_crops=0, with_residual=False)
    for found, places, residual in (
        (explanation, ",\nof 29 crops laid back over the picture", True),
        (old, "", False),
    ):
        titles = [ax.get_title(loc="left") for ax in plots.image_explanation(found).axes]
        assert titles[0] == f"where they are: activation{places}"
        assert ("with the residual where it acts" in titles[1]) == residual
    assert explanation.view().map_crops == 29


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 3}, "target must be below the number of the model's outputs, 3, received 3"),
        ({"image": np.zeros((2, *SIZE, 3))}, "image must be one image, received a batch of 2"),
        ({"image": np.zeros((8, 8, 3))}, r"image must have the shape \(n, 16, 24, 3\)"),
        ({"class_names": ["a"]}, "class_names must name the model's 3 classes, received 1"),
        ({"photograph": np.zeros((4, 4, 2))}, r"photograph must have shape \(H, W, 3\)"),
        ({"photograph": np.full((4, 4, 3), -1.0)}, r"pixels in \[0, 255\], received .* from -1 to"),
    ],
)
def test_arguments_that_do_not_fit(
    craft: xc.Craft, image: np.ndarray, arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        craft.explain_image(**{"image": image, **arguments})


def test_the_figure(explanation: ImageExplanation, tmp_path: Path) -> None:
    """Photograph with its concepts, class map, waterfall, and the crops of three concepts."""
    figure = plots.image_explanation(explanation)
    assert figure.get_suptitle().startswith("Predicted as shovel (probability 0.")
    assert figure.get_suptitle().endswith("; it is moon")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0].startswith("where they are: activation")
    assert titles[1].startswith("why shovel instead of moon: contributions where they act")
    phi = explanation.against.phi[0]
    assert titles[3:] == [
        f"C0 misled the model by {phi[0]:+.2f}",
        f"C2 contributes {phi[2]:+.2f}",
        f"C1 contributes {phi[1]:+.2f}",
    ]
    assert figure.axes[2].get_xlabel() == "score of shovel less that of moon"
    figure.savefig(tmp_path / "figure.png", dpi=30)
    assert (tmp_path / "figure.png").stat().st_size > 1000
