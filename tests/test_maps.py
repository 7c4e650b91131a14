"""Maps: where the planted squares are, in images that are wider than high."""

import numpy as np
import planted
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.attributions.class_map import activation_shares, explained_shares, lay_out
from xplique_craft.attributions.maps import (
    activation_maps,
    grid_of,
    has_places,
    resize_maps,
    resize_sums,
    to_grid,
)

SIZE = (32, 64)
# image -> (top, left, side, concept); far from the diagonal, so that a transposed map would show
SQUARES = [(4, 40, 12, 0), (16, 8, 8, 1), (10, 30, 16, 2), (20, 52, 8, 0)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([planted.square(SIZE, *square) for square in SQUARES])


@pytest.fixture(scope="module", params=[1, 2], ids=["full", "half"])
def craft(request: pytest.FixtureRequest, images: np.ndarray) -> xc.Craft:
    """Concepts are colours; activations have the image's resolution, or half of it."""
    model = planted.network(np.eye(3), "affine", size=SIZE, stride=request.param)
    kernel = np.array([[2.0, 0, 0], [-3.0, 0, 0], [1.0, 0, 0]], np.float32)
    model.get_layer("logits").set_weights([kernel, np.array([0.5, 0, 0], np.float32)])
    return planted.fitted(model, np.eye(3), images)


def mass_within(image: np.ndarray, top: int, left: int, side: int, margin: int) -> float:
    """Share of a map (H, W) that lies in a square."""
    rows = slice(max(0, top - margin), top + side + margin)
    columns = slice(max(0, left - margin), left + side + margin)
    return float(np.abs(image[rows, columns]).sum() / np.abs(image).sum())


def centroid(image: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(image.shape)
    return np.array([(image * rows).sum(), (image * columns).sum()]) / image.sum()


# ----------------------------------------------------------------------------- where concepts are
@pytest.mark.parametrize(("smoothing", "margin", "least"), [(0.0, 0.5, 0.999), (None, 2, 0.98)])
@pytest.mark.parametrize("number", range(len(SQUARES)))
def test_a_concept_is_where_its_square_is(
    craft: xc.Craft,
    images: np.ndarray,
    number: int,
    smoothing: float | None,
    margin: float,
    least: float,
) -> None:
    """Smoothed, it leaves the square by 2 cells at most."""
    top, left, side, concept = SQUARES[number]
    maps = ConceptAttribution(craft, smoothing=smoothing).explain_concepts(images)
    assert maps.shape == (4, *SIZE, 3)
    assert maps.dtype == np.float32
    found = maps[number, ..., concept]
    cell = 64 // craft.network.latents(images).shape[2]
    assert mass_within(found, top, left, side, int(margin * cell)) > least
    assert mass_within(found, top, left, side, 0) > (0.85 if smoothing == 0.0 else 0.65)
    middle = np.array([top, left]) + (side - 1) / 2
    assert_allclose(centroid(found), middle, atol=0.01)
    peak = 1e-5 if smoothing == 0.0 else 0.05
    assert_allclose(found[int(middle[0]), int(middle[1])], 1.0, atol=peak)


def test_absent_concepts_are_dark(craft: xc.Craft, images: np.ndarray) -> None:
    maps = ConceptAttribution(craft).explain_concepts(images)
    for number, (*_, concept) in enumerate(SQUARES):
        assert maps[number][..., np.arange(3) != concept].max() < 0.05


def test_one_scale_for_a_concept_over_all_images(craft: xc.Craft, images: np.ndarray) -> None:
    """A faint square is drawn faint, also where it is alone in its batch."""
    faint = 0.3 * images[:1]
    assert_allclose(craft.coefficient_scale, 1.0, atol=1e-5)
    attribution = ConceptAttribution(craft, batch_size=1, smoothing=0.0)
    assert attribution.explain_concepts(faint).max() == pytest.approx(0.3, abs=1e-5)
    both = attribution.explain_concepts(np.concatenate([images[:1], faint]))
    assert_allclose(both[1], 0.3 * both[0], atol=1e-6)


def test_a_concept_no_image_shows_is_dark_everywhere(craft: xc.Craft, images: np.ndarray) -> None:
    """Nor does its scale, which is 0, make it NaN."""
    few = planted.fitted(craft.split, np.eye(3), images[[0, 2, 3]])
    assert_allclose(few.coefficient_scale, [1.0, 0.0, 1.0], atol=1e-5)
    maps = ConceptAttribution(few).explain_concepts(images)
    assert np.isfinite(maps).all()
    assert_array_equal(maps[..., 1], 0.0)


def test_maps_of_some_concepts(craft: xc.Craft, images: np.ndarray) -> None:
    attribution = ConceptAttribution(craft)
    maps = attribution.explain_concepts(images)
    assert_array_equal(attribution.explain_concepts(images, [2, 0]), maps[..., [2, 0]])
    assert_array_equal(attribution.explain_concepts(images, 1), maps[..., [1]])


@pytest.mark.parametrize(
    ("concepts", "error", "message"),
    [
        (3, ValueError, "concepts must be below the number of concepts, 3, received 3"),
        (-1, ValueError, "concepts must be at least 0, received -1"),
        ([0, 5], ValueError, "concepts must be below the number of concepts, 3, received 5"),
        ([], ValueError, r"concepts must be at least one index, or None for all, received \[\]"),
        (1.0, TypeError, "concepts must be an integer, received 1.0"),
        ([True, False], TypeError, "concepts must be an integer, received True"),
    ],
)
def test_concepts_that_are_none(
    craft: xc.Craft, images: np.ndarray, concepts: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ConceptAttribution(craft).explain_concepts(images, concepts)


# -------------------------------------------------------------------------------------- class maps
@pytest.mark.parametrize(("smoothing", "margin", "least"), [(0.0, 0, 0.999), (None, 2, 0.98)])
def test_the_class_map_is_where_the_squares_are(
    craft: xc.Craft, images: np.ndarray, smoothing: float | None, margin: int, least: float
) -> None:
    """Signed: the second concept lowers the score. Smoothed, it leaves the square by 2 cells."""
    maps = ConceptAttribution(craft, smoothing=smoothing).explain(images, 0).numpy()
    assert maps.shape == (4, *SIZE, 1)
    signs = np.array([2.0, -3.0, 1.0])
    cell = SIZE[1] // craft.transform(images).shape[2]
    for found, (top, left, side, concept) in zip(maps[..., 0], SQUARES, strict=True):
        assert mass_within(found, top, left, side, max(1, margin * cell)) > least
        assert_allclose(centroid(np.abs(found)), np.array([top, left]) + (side - 1) / 2, atol=0.05)
        assert np.sign(found.sum()) == np.sign(signs[concept])


def test_class_maps_sum_to_the_contributions(craft: xc.Craft, images: np.ndarray) -> None:
    both = np.maximum(images[:2], images[2:])
    u, found = craft.transform(both), craft.contributions(both)
    maps = lay_out(activation_shares(u), found.phi, cells=u[0, ..., 0].size)
    assert maps.shape == (*u.shape[:3], 1)
    assert_allclose(maps.sum(axis=(1, 2, 3)), found.phi.sum(axis=1), rtol=1e-5)
    assert_allclose(maps.sum(axis=(1, 2, 3)), found.score - found.base - found.residual, rtol=1e-4)


def test_resizing_keeps_the_sum_of_what_is_inside(craft: xc.Craft, images: np.ndarray) -> None:
    maps = ConceptAttribution(craft).explain(images, 0).numpy()
    cells = np.prod(craft.transform(images).shape[1:3])
    total = craft.contributions(images).phi.sum(axis=1)
    assert_allclose(maps.mean(axis=(1, 2, 3)) * cells, total, rtol=1e-3)


def test_class_maps_by_hand() -> None:
    """Two concepts on 1x2 places; the third is nowhere and its contribution is 0."""
    u = np.array([[[[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]]]])
    maps = lay_out(activation_shares(u), np.array([[8.0, -5.0, 0.0]]), cells=2)
    assert_allclose(maps[0, 0, :, 0], [8.0 / 4 - 5.0, 8.0 * 3 / 4])
    assert maps.dtype == np.float32


# ----------------------------------------------------------------------------------------- resizing
def test_a_cell_stands_for_its_centre() -> None:
    """Bilinear with half-pixel centres, by hand; beyond the outer centres it stays as it is."""
    row = resize_maps(np.array([0.0, 4.0], np.float32).reshape(1, 1, 2, 1), (1, 8))
    assert_allclose(row.ravel(), [0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0])


def test_height_stays_height() -> None:
    column = resize_maps(np.array([0.0, 1.0], np.float32).reshape(1, 2, 1, 1), (4, 6))
    assert column.shape == (1, 4, 6, 1)
    assert_allclose(column[0, :, 0, 0], [0.0, 0.25, 0.75, 1.0])
    assert_allclose(column - column[:, :, :1], 0.0)


@pytest.mark.parametrize("size", [(7, 7), (14, 10), (224, 100)])
def test_a_constant_stays_constant(size: tuple[int, int]) -> None:
    assert_allclose(resize_maps(np.full((2, 7, 5, 3), 0.7, np.float32), size), 0.7, rtol=1e-6)


@pytest.mark.parametrize("size", [(14, 10), (17, 23), (227, 100)])
def test_what_sums_keeps_its_sum_at_any_size(size: tuple[int, int]) -> None:
    """Also where cells do not divide pixels; where they do, nothing is changed."""
    maps = np.random.default_rng(0).standard_normal((2, 7, 5, 1))
    resized = resize_sums(maps, size)
    assert resized.shape == (2, *size, 1)
    total = maps.sum(axis=(1, 2, 3))
    assert_allclose(resized.mean(axis=(1, 2, 3)) * 35, total, rtol=1e-4, atol=1e-5)
    plain = resize_maps(maps.astype(np.float32), size)
    assert np.abs(resized - plain).max() < 0.15 * np.abs(plain).max()
    if size == (14, 10):
        assert_allclose(resized, plain, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, None])
@pytest.mark.parametrize("size", [(8, 8), (5, 5), (3, 40), (17, 1), (16, 11)])
def test_what_sums_keeps_its_sum_in_images_of_fewer_pixels_than_cells(
    size: tuple[int, int], smoothing: float | None
) -> None:
    """Every cell by itself, so any map does."""
    one_each = np.eye(256, dtype=np.float32).reshape(256, 16, 16, 1)
    resized = resize_sums(one_each, size, smoothing)
    assert_allclose(resized.mean(axis=(1, 2, 3)) * 256, 1.0, rtol=1e-5)
    assert_allclose(resize_sums(np.ones((1, 16, 16, 1)), size, smoothing), 1.0, atol=0.05)


def test_pixels_are_means_of_the_cells_they_cover() -> None:
    row = resize_sums(np.array([3.0, 6.0, 12.0]).reshape(1, 1, 3, 1), (1, 2))
    assert_allclose(row.ravel(), [(3.0 + 6.0 / 2) / 1.5, (6.0 / 2 + 12.0) / 1.5])
    maps = np.random.default_rng(0).standard_normal((2, 6, 8, 3))
    blocks = maps.reshape(2, 2, 3, 4, 2, 3).mean(axis=(2, 4))
    assert_allclose(resize_sums(maps, (2, 4)), blocks, atol=1e-6)


def fine(cells: int) -> float:
    """With the variance of a triangle of one cell to either side it makes 1/17 of the side."""
    return min(0.75 / cells, max(0.0, 1 / 17**2 - 1 / (6 * cells**2)) ** 0.5)


def test_class_maps_of_coarse_layers_are_blurred_by_enlarging_alone() -> None:
    assert fine(5) == 0.0
    assert 0.0 < fine(7) < 0.02
    assert fine(14) == pytest.approx(0.0511, abs=1e-4)
    assert fine(56) == 0.75 / 56


@pytest.mark.parametrize("size", [(28, 40), (30, 44)])
def test_smoothing_is_a_gaussian_over_the_resized_map(size: tuple[int, int]) -> None:
    """In pixels, or by cells, which are not the same along both axes; the sum is kept."""
    maps = np.random.default_rng(0).standard_normal((2, 7, 5, 1)).astype(np.float32)
    total = maps.sum(axis=(1, 2, 3))
    plain = resize_sums(maps, size)
    for smoothing, sigmas in ((3.0, (3.0, 3.0)), (None, (fine(7) * size[0], fine(5) * size[1]))):
        smooth = resize_sums(maps, size, smoothing)
        expected = gaussian_filter(plain, (0, *sigmas, 0), mode="reflect")
        assert_allclose(smooth, expected, atol=1e-5 if size == (28, 40) else 0.02)
        assert_allclose(smooth.mean(axis=(1, 2, 3)) * 35, total, rtol=1e-4, atol=1e-5)


def test_maps_that_have_their_size_are_only_smoothed() -> None:
    maps = np.random.default_rng(0).standard_normal((2, 12, 9, 1)).astype(np.float32)
    assert_allclose(resize_sums(maps, (12, 9)), maps, atol=1e-6)
    expected = gaussian_filter(maps, (0, 2.0, 2.0, 0), mode="reflect")
    assert_allclose(resize_sums(maps, (12, 9), 2.0), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(12, 9), (24, 27), (5, 4)])
def test_a_little_smoothing_is_some_and_none_is_the_default(size: tuple[int, int]) -> None:
    """Half a pixel, where the map has the size of the image, and more or fewer cells than it."""
    maps = np.random.default_rng(0).standard_normal((2, 12, 9, 2))
    plain = resize_sums(maps, size)
    assert plain.dtype == np.float32
    assert_array_equal(plain, resize_sums(maps, size, 0.0))
    found = resize_sums(maps, size, 0.5)
    expected = gaussian_filter(plain, (0, 0.5, 0.5, 0), mode="reflect")
    assert_allclose(found, expected, atol=1e-2 * np.abs(plain).max())
    assert np.abs(found - plain).max() > 0.1 * np.abs(plain).max()


def test_smoothing_that_is_wider_than_any_image_leaves_the_mean() -> None:
    """And asks for no more memory: a Gaussian that wide would have 10^13 values."""
    maps = np.random.default_rng(0).random((2, 6, 4, 1)) + 1.0
    found = resize_sums(maps, (24, 16), 1e12)
    mean = maps.mean(axis=(1, 2, 3), keepdims=True)
    assert_allclose(found, np.broadcast_to(mean, found.shape), rtol=1e-5)
    # Up to ten times the map it is the Gaussian that was asked for.
    column = np.array([0.0, 1.0]).reshape(1, 2, 1, 1)
    found, plain = resize_sums(column, (2, 1), 1.5), resize_sums(column, (2, 1))
    expected = gaussian_filter(plain[0, :, 0, 0], 1.5, mode="reflect")
    assert_allclose(found[0, :, 0, 0], expected, rtol=1e-5)


def test_shares_of_an_explainers_maps_by_hand() -> None:
    """Above the least, or above 0; evenly where there is nothing."""
    maps = np.array([[3.0, 1.0, 2.0, 1.0], [-3.0, 1.0, 0.0, 3.0], [5.0] * 4, [-1.0] * 4])
    shares = explained_shares(maps.T.reshape(1, 2, 2, 4).astype(np.float32))
    expected = [[2 / 3, 0, 1 / 3, 0], [0, 0.25, 0, 0.75], [0.25] * 4, [0.25] * 4]
    assert_allclose(shares.reshape(4, 4).T, expected, atol=1e-6)


def test_activation_maps_by_hand() -> None:
    u = tf.constant([[[[2.0, 0.0, 1.0], [4.0, 0.0, 3.0]]]])
    maps = activation_maps(u, np.array([4.0, 0.0, 2.0]), (1, 2))
    assert_allclose(maps[0, 0], [[0.5, 0.0, 0.5], [1.0, 0.0, 1.5]])


def test_a_scale_below_one_is_a_scale() -> None:
    """Coefficients may be of any size; those of whole numbers are divided as any others."""
    maps = activation_maps(np.array([[[[1, 0.1]]]]), np.array([0.5, 0.2]), (1, 1))
    assert_allclose(maps[0, 0, 0], [2.0, 0.5])
    assert maps.dtype == np.float32
    assert_allclose(activation_maps([[[[1, 3]]]], np.array([2.0, 6.0]), (1, 1))[0, 0, 0], 0.5)


# ------------------------------------------------------------------------------ tokens and pooled
@pytest.mark.parametrize(
    ("shape", "size", "places"),
    [
        ((1, 3, 5, 2), (8, 8), True),  # a map has places whatever its proportions
        ((1, 16, 2), (8, 8), True),
        ((1, 17, 2), (8, 8), True),
        ((1, 8, 2), (8, 16), True),
        ((1, 8, 2), (8, 8), False),
        ((1, 4), (8, 8), False),
        ((1, 2, 2, 2, 2), (8, 8), False),
    ],
)
def test_what_has_places(shape: tuple[int, ...], size: tuple[int, int], places: bool) -> None:
    assert has_places(shape, size) is places


def test_a_map_is_its_own_grid() -> None:
    u = np.random.default_rng(0).random((2, 3, 5, 4))
    assert to_grid(u, (7, 7)) is u


@pytest.mark.parametrize(
    ("shape", "what"),
    [((2, 6, 5), "; 6 tokens are no grid for it. Cut"), ((2, 5), "; pooled ones have none. Cut")],
)
def test_what_has_no_places_and_why(shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(ValueError, match=rf"places in the image of 8 x 9: .*{what}"):
        to_grid(np.ones(shape, np.float32), (8, 9))


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (49, (224, 224), (7, 7)),
        (50, (224, 224), (7, 7)),  # a class token first
        (8, (16, 32), (2, 4)),
        (9, (16, 32), (2, 4)),
        (8, (32, 16), (4, 2)),
        (8, (32, 32), None),
        (12, (16, 32), None),
        (1, (32, 32), (1, 1)),
        (2, (32, 32), (1, 1)),
        (2, (16, 32), (1, 2)),
        (6, (30, 20), (3, 2)),
        (25, (16, 32), None),  # 5 rows would do for 25 tokens, and 3 for 24 of them
        (1, (8, 64), None),  # its rows would come to less than half a row
    ],
)
def test_grids_of_tokens(tokens: int, size: tuple[int, int], grid: tuple[int, int] | None) -> None:
    assert grid_of(tokens, size) == grid


def test_tokens_are_laid_out_row_by_row() -> None:
    u = np.arange(9.0).reshape(1, 9, 1)
    expected = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]  # the class token is left out
    assert_array_equal(to_grid(u, (20, 40))[0, ..., 0], expected)
    assert_array_equal(to_grid(u[:, 1:], (20, 40))[0, ..., 0], expected)


def test_maps_of_tokens_are_those_of_their_places(images: np.ndarray) -> None:
    """One network with its activations as a map, and with the same as a row of tokens."""
    maps = []
    for latent in ("map", "tokens"):
        model = planted.network(np.eye(3), "affine", latent=latent, size=SIZE, stride=2)
        attribution = ConceptAttribution(planted.fitted(model, np.eye(3), images))
        maps.append((attribution.explain(images, 0), attribution.explain_concepts(images)))
    assert_allclose(maps[0][0], maps[1][0], rtol=1e-4, atol=1e-6)
    assert_allclose(maps[0][1], maps[1][1], rtol=1e-4, atol=1e-6)
    assert maps[0][1].max() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(2, 5), (2, 6, 5)])
def test_layers_without_places_have_no_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"activations with places.* Cut the model at an earlier"):
        to_grid(np.ones(shape, np.float32), (8, 8))


@pytest.mark.parametrize("method", ["explain", "explain_concepts"])
def test_pooled_activations_have_no_maps(method: str) -> None:
    images = planted.paintings(4)
    model = planted.network(planted.bank(), "relu", latent="pooled")
    attribution = ConceptAttribution(planted.fitted(model, planted.bank(), images))
    with pytest.raises(ValueError, match="pooled ones have none"):
        getattr(attribution, method)(images)


# ------------------------------------------------------------------- coefficients below their mean
@pytest.mark.parametrize("settings", [{"factorizer": "pca"}, {"baseline": "mean"}], ids=str)
def test_class_maps_sum_to_contributions_that_may_be_of_absent_concepts(
    settings: dict[str, str], images: np.ndarray
) -> None:
    """Coefficients, or what is gated of them, may be negative, and add up to about 0."""
    model = planted.network(np.eye(3), "attention", size=SIZE, stride=2)
    craft = xc.Craft.from_model(model, planted.LAYER, 3, **settings)
    craft.fit(images, planted.predicted(model, images))
    found = craft.contributions(images)
    parts = found.phi.sum(axis=1)
    cells = np.prod(craft.transform(images).shape[1:3])
    for residual, total in ((False, parts), (True, parts + found.residual)):
        maps = ConceptAttribution(craft, residual=residual).explain(images).numpy()
        assert_allclose(maps.mean(axis=(1, 2, 3)) * cells, total, rtol=0.02, atol=1e-3)
