"""Generated images with known concepts, and how much of them explanations find."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from xplique.attributions import GradCAM

import xplique_craft as xc
from xplique_craft import ground_truth
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import NMF
from xplique_craft.factorization.base import Factorized
from xplique_craft.ground_truth import (
    CONCEPT_NAMES,
    SHAPES_LAYER,
    WEIGHTS,
    Shapes,
    directions,
    load_shapes_model,
    make_shapes,
    measure_recovery,
    places,
    shapes,
)
from xplique_craft.ground_truth.model import HEADS, shapes_weights
from xplique_craft.ground_truth.recovery import left_out, matched_cosines, order_of, owners

CLASS_ID = 1
CUES = np.flatnonzero(WEIGHTS[:, CLASS_ID])
BAR, STRIPES = CONCEPT_NAMES.index("white bar"), CONCEPT_NAMES.index("stripes")


@pytest.fixture(scope="module")
def drawn() -> Shapes:
    return make_shapes(150, seed=7)


# ------------------------------------------------------------------------------------- the images
def test_images_are_keyed_by_seed_and_number(drawn: Shapes) -> None:
    few = make_shapes(3, seed=7)
    for name in ("images", "labels", "present", "seen"):
        assert_array_equal(getattr(few, name), getattr(drawn, name)[:3])
    assert not np.array_equal(make_shapes(3, seed=8).images, few.images)
    assert len({image.tobytes() for image in drawn.images}) == len(drawn.images)
    assert drawn.images.shape == (150, 64, 64, 3)
    assert drawn.images.dtype == np.uint8


def test_the_same_numbers_on_every_machine() -> None:
    """Weights are shipped for these images: a change of what is drawn must be seen."""
    one = make_shapes(2, seed=3)
    assert one.labels.tolist() == [0, 0]
    assert one.images[0, 30:32, 30:32, 0].tolist() == [[128, 132], [154, 141]]
    seen = np.bincount(one.seen[0].ravel() + 1, minlength=9)
    assert seen.tolist() == [3497, 244, 0, 0, 156, 0, 0, 199, 0]


@pytest.mark.parametrize("concept", range(len(CONCEPT_NAMES)), ids=CONCEPT_NAMES)
def test_masks_are_the_pixels_that_differ_without_the_concept(drawn: Shapes, concept: int) -> None:
    differ = (drawn.without(concept) != drawn.images).any(axis=-1)
    assert_array_equal(differ, drawn.masks[:, concept])
    assert_array_equal(differ.any(axis=(1, 2)), drawn.present[:, concept])  # none is hidden


def test_what_is_in_front_is_seen(drawn: Shapes) -> None:
    """Masks share no pixel; what a shape hid is seen where it is left out, and nothing else is."""
    assert drawn.masks.sum(axis=1).max() == 1
    hidden = 0
    for concept in range(STRIPES):
        present = drawn.present.copy()
        present[:, concept] = False
        _, behind = shapes._draw(drawn.seed, present)
        there = drawn.seen == concept
        assert_array_equal(behind[~there], drawn.seen[~there])
        assert (behind != concept).all()
        hidden += int(((behind[there] >= 0) & (behind[there] != STRIPES)).sum())
        ground = drawn.present[:, STRIPES][:, None, None] & there & (behind < 0)
        assert not ground.any()  # on a striped background nothing but stripes is behind all shapes
    assert hidden > 20


def test_each_concept_has_its_colour(drawn: Shapes) -> None:
    for concept, colour in enumerate(shapes._COLOURS):
        pixels = drawn.images[drawn.masks[:, concept]].astype(int)
        assert np.abs(pixels - colour).max() <= 28  # tint and noise
        assert_allclose(pixels.mean(axis=0), colour, atol=5)


def test_a_disc_is_a_disc() -> None:
    centre, radius = np.array([[[20.0, 30.0]] * 7]), np.full((1, 7), 8.0)
    covered = shapes._covered(centre, radius, np.full((1, 7), 0.5))
    rows, columns = np.mgrid[:64, :64] + 0.5
    inside = (rows - 20.0) ** 2 + (columns - 30.0) ** 2 <= 64.0
    assert_array_equal(covered[0, 0], inside)
    assert_array_equal(covered[0, 6], inside)
    hole = (rows - 20.0) ** 2 + (columns - 30.0) ** 2 < (0.55 * 8.0) ** 2
    assert_array_equal(covered[0, 4], inside & ~hole)  # the ring
    square = np.maximum(np.abs(rows - 20.0), np.abs(columns - 30.0)) <= 6.8
    assert_array_equal(covered[0, 1], square)


def test_labels_follow_from_the_shapes_that_speak_for_classes(drawn: Shapes) -> None:
    assert_allclose(drawn.scores, drawn.present @ WEIGHTS)
    assert_array_equal(drawn.scores.argmax(axis=1), drawn.labels)
    second, first = np.sort(drawn.scores, axis=1)[:, -2:].T
    assert (first - second >= shapes.MARGIN - 1e-9).all()
    assert np.bincount(drawn.labels, minlength=4).min() > 20
    assert_array_equal(make_shapes(5, class_id=2).labels, [2] * 5)


def test_planted_effects_are_well_apart_in_every_class() -> None:
    for class_id in range(4):
        many = make_shapes(200, seed=1, class_id=class_id)
        effects = np.sort((many.present * WEIGHTS[:, class_id]).mean(axis=0))[::-1]
        assert (effects[3:] == 0.0).all()
        assert (effects[:2] > 1.5 * effects[1:3]).all()
        assert effects[2] > 0.35


def test_what_no_class_depends_on_comes_by_chance() -> None:
    many = make_shapes(800, seed=2)
    for class_id in range(4):
        shares = many.present[many.labels == class_id][:, BAR:].mean(axis=0)
        assert np.abs(shares - 0.5).max() < 0.12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_shapes(0), "n must be at least 1, received 0"),
        (lambda: make_shapes(10**6), "n must be at most 20000"),
        (lambda: make_shapes(1, seed=-1), "seed must be at least 0"),
        (lambda: make_shapes(1, class_id=4), "class_id must be at most 3, received 4"),
        (lambda: make_shapes(1).without(8), "concept must be .*received 8"),
        (lambda: load_shapes_model("none"), "head must be 'affine' or 'relu', received 'none'"),
        (
            lambda: directions.coverage(np.ones((1, 1, 4, 4), bool), (3, 2)),
            r"grid must divide the masks' 4 x 4 pixels, received \(3, 2\)",
        ),
        (
            lambda: places.overlap(np.ones((1, 2, 2)), np.ones((1, 4, 4), bool)),
            "maps must have the shape of the masks",
        ),
    ],
)
def test_what_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------- directions by hand
def test_coverage_of_cells() -> None:
    mask = np.zeros((1, 1, 4, 4), bool)
    mask[0, 0, :2, :2] = True
    mask[0, 0, 3, 2] = True
    assert_allclose(directions.coverage(mask, (2, 2))[0, ..., 0], [[1.0, 0.0], [0.0, 0.25]])


def test_planted_directions_are_found_and_matched(rng: np.random.Generator) -> None:
    filled, planted = rng.random((6, 4, 4, 3)), rng.random((3, 5))
    activations = filled @ planted + rng.random(5)  # with a background
    batches = [(filled[:2], activations[:2]), (filled[2:], activations[2:])]
    found = directions.true_directions(iter(batches))
    assert_allclose(found, planted, atol=1e-10)
    bank = 3.0 * planted[[2, 0, 1]]
    assert_allclose(matched_cosines(found, bank, signed=False), 1.0)
    assert_allclose(matched_cosines(found, -bank, signed=True), 1.0)
    assert matched_cosines(found, -bank, signed=False).max() < 0.0
    assert sorted(matched_cosines(found, bank[:2], signed=False))[0] == 0.0  # one has no match


def test_matching_is_one_to_one_and_best_in_all() -> None:
    scores = np.array([[0.9, 0.8, 0.0], [0.85, 0.1, 0.0]])
    assert directions.match(scores).tolist() == [1, 0]
    assert directions.match(scores[:, :1]).tolist() == [0, -1]


def test_correlations_and_separation_by_hand() -> None:
    filled = np.array([1.0, 1.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
    u = np.stack([filled, 1.0 - filled, np.ones_like(filled)], axis=-1)[..., 0, :]
    assert_allclose(directions.correlations(u, filled), [[1.0, -1.0, 0.0]])
    areas = [directions.separation(u[..., j], filled[..., 0]) for j in range(3)]
    assert areas == [1.0, 0.0, 0.5]
    some = np.array([3.0, 1.0, 2.0, 0.0]).reshape(1, 2, 2)
    assert directions.separation(some, filled[..., 0]) == 0.75  # three of four pairs
    assert np.isnan(directions.separation(some, np.ones((1, 2, 2))))


# ---------------------------------------------------------------------------------- order by hand
def test_order_of_importances_by_hand() -> None:
    effects = np.tile([4.0, 2.0, 1.0, 0.0], (9, 1))
    assert order_of(np.array([8.0, 4.0, 2.0, 1.0]), effects) == (1.0, pytest.approx(1.0))
    assert order_of(np.array([1.0, 2.0, 4.0, 8.0]), effects) == (0.0, pytest.approx(-1.0))
    assert order_of(np.array([8.0, 2.0, 4.0, 1.0]), effects)[0] == pytest.approx(5 / 6)
    same, ranks = order_of(np.ones(4), effects)
    assert same == 0.5
    assert np.isnan(ranks)
    # Magnitudes count, and effects that no image tells apart do not.
    assert order_of(np.array([-8.0, 4.0]), np.tile([-4.0, 2.0], (9, 1)))[0] == 1.0
    assert np.isnan(order_of(np.array([1.0, 2.0]), np.tile([4.0, 4.1], (9, 1)))[0])


def test_shuffled_importances_are_at_the_floor(rng: np.random.Generator) -> None:
    effects = np.tile(2.0 ** np.arange(6), (5, 1))
    found = [order_of(rng.permutation(6).astype(float), effects)[0] for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_a_concept_belongs_to_what_at_least_half_of_it_is_due_to() -> None:
    due = np.array([[0.9, 0.3, 0.0, 0.5], [0.2, 0.4, 0.0, 0.4]])
    assert owners(due).tolist() == [0, -1, -1, 0]


# --------------------------------------------------------------------------------- places by hand
def test_overlap_by_hand(rng: np.random.Generator) -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    assert places.overlap(mask.astype(float), mask) == 1.0
    assert places.overlap(1.0 - mask, mask) == 0.0
    assert places.overlap(np.zeros((1, 4, 4)), mask) == pytest.approx(1 / 7)  # 1 of 4 by chance
    half = mask.astype(float)
    half[0, 1] = [2.0, 0.0, 0.0, 2.0]  # two of its four pixels are elsewhere
    assert places.overlap(half, mask) == pytest.approx(2 / 6)
    maps = rng.normal(size=(1, 4, 4))
    assert places.overlap(maps, mask) == places.overlap(np.exp(3.0 * maps) - 9.0, mask)
    assert np.isnan(places.overlap(maps, np.zeros((1, 4, 4), bool)))
    assert places.overlap(maps, np.ones((1, 4, 4), bool)) == 1.0


def test_pointing_by_hand() -> None:
    mask = np.zeros((1, 2, 2), bool)
    mask[0, 0, 0] = True
    maps = np.array([[[3.0, 1.0], [2.0, 0.0]]])
    assert places.pointing(maps, mask) == 1.0
    assert places.pointing(-maps, mask) == 0.0
    assert places.pointing(np.ones((1, 2, 2)), mask) == 0.25
    assert np.isnan(places.pointing(maps, np.zeros((1, 2, 2), bool)))


# ------------------------------------------------------------------------------------ the networks
@pytest.fixture(scope="module", params=HEADS)
def network(request: pytest.FixtureRequest) -> keras.Model:
    return load_shapes_model(request.param)


def test_networks_recognise_other_images(network: keras.Model) -> None:
    many = make_shapes(500, seed=31)
    found = network.predict(many.images, batch_size=64, verbose=0).argmax(axis=1)
    assert np.mean(found == many.labels) >= 0.975


def test_files_of_weights() -> None:
    for head in HEADS:
        assert shapes_weights(head).stat().st_size <= 300_000
        assert ground_truth.build_shapes_model(head).count_params() < 60_000


def test_a_missing_file_of_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Path("absent.npz")
    monkeypatch.setattr(ground_truth.model, "shapes_weights", lambda head: gone)
    with pytest.raises(FileNotFoundError, match=r"`python tools/train_shapes\.py`"):
        load_shapes_model()


@pytest.mark.slow
def test_training_repeats() -> None:
    path = Path(__file__).parents[1] / "tools" / "train_shapes.py"
    spec = importlib.util.spec_from_file_location("train_shapes", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for head in HEADS:
        one, other = (tool.train(head, number=960, epochs=8, verbose=False) for _ in range(2))
        assert tool.accuracy(one, make_shapes(200, seed=9)) > 0.4
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            assert_allclose(a, b, atol=1e-4)


# --------------------------------------------------------------------------------------- recovery
@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    split = xc.split_model(load_shapes_model(), SHAPES_LAYER)
    found = xc.Craft.from_model(split, number_of_concepts=6)
    found.fit(make_shapes(40, seed=21, class_id=CLASS_ID).images, CLASS_ID)
    return found


@pytest.fixture(scope="module")
def held_out() -> Shapes:
    return make_shapes(30, seed=22, class_id=CLASS_ID)


def test_the_affine_network_does_what_was_planted(craft: xc.Craft, held_out: Shapes) -> None:
    u = craft.transform(held_out.images)
    logits = craft.model.predict(held_out.images, verbose=0)[:, CLASS_ID]
    effects, due = left_out(craft, held_out, u, logits)
    assert_array_equal(effects[~held_out.present], 0.0)
    planted = held_out.present * WEIGHTS[:, CLASS_ID]
    assert np.abs(effects - planted).mean() < 0.15
    assert due.min() >= 0.0
    for c in (0, 1):  # by hand, without batches
        changed = np.abs(u - craft.transform(held_out.without(c))).sum(axis=(0, 1, 2))
        assert_allclose(due[c], changed / np.abs(u).sum(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)


def test_planted_importance_is_recovered_in_order(craft: xc.Craft, held_out: Shapes) -> None:
    """And so are places, above those of a heatmap, which has one map for all concepts."""
    targets = np.eye(4, dtype=np.float32)[held_out.labels]
    cam = GradCAM(craft.model, conv_layer=SHAPES_LAYER)
    heatmap = np.asarray(cam.explain(held_out.images.astype(np.float32), targets))[..., 0]
    phi = craft.contributions(held_out.images).phi.mean(axis=0)
    own = ConceptAttribution(craft).explain_concepts(held_out.images)
    found = measure_recovery(
        craft,
        held_out,
        importances={"phi": phi, "reversed": phi.max() - phi},
        maps={"own": own, "GradCAM": heatmap},
    )
    assert found.cues.nonzero()[0].tolist() == CUES.tolist()
    order = found.orders["phi"]
    assert order.pairs_in_order == 1.0
    assert_array_equal(np.argsort(-order.importances[CUES]), np.argsort(-found_effects(found)))
    assert found.orders["reversed"].pairs_in_order < order.pairs_in_order
    assert order.importances[BAR] == 0.0  # nothing belongs to what the network does not look at
    assert found.of_cues(found.direction) > 0.85
    assert found.of_cues(found.separation) > 0.95
    assert found.strength[[BAR, STRIPES]].max() < 0.2
    iou = {name: one.cues_iou for name, one in found.places.items()}
    assert iou["own"].low > iou["GradCAM"].high
    assert np.isnan(found.places["own"].union_iou.value)
    assert found.places["GradCAM"].union_iou.value > iou["GradCAM"].value
    table = found.table()
    assert table.count("high is good") == 2
    assert "(high is good)" in str(found)
    assert all(name in table for name in ("blue square", "phi", "GradCAM"))
    assert "magenta" not in table  # it is in no image of the class


def found_effects(found: Any) -> np.ndarray:
    return np.array([found.effects[c].value for c in CUES])


def test_true_directions_as_a_bank_are_perfect(craft: xc.Craft, held_out: Shapes) -> None:
    activations = craft.split.input_to_latent.predict(held_out.images, verbose=0)
    filled = directions.coverage(held_out.masks, (16, 16))
    wanted = directions.true_directions([(filled, activations)])[[*CUES, 3]]
    bank = np.concatenate([wanted, np.ones((1, 64))]).astype(np.float32)
    own = craft.factorized
    perfect = Factorized(NMF(), bank, own.offset, True, 1, 0.0)
    found = measure_recovery(craft.variant(factorized=perfect), held_out, importances={}, maps={})
    assert_allclose(found.direction[CUES], 1.0, atol=1e-5)
    rng = np.random.default_rng(0)
    noise = replace(perfect, bank=rng.random(bank.shape).astype(np.float32))
    floor = measure_recovery(craft.variant(factorized=noise), held_out, importances={}, maps={})
    assert floor.of_cues(floor.direction) < 0.8
    assert floor.of_cues(floor.separation) < found.of_cues(found.separation)


def test_too_few_concepts_are_found_nowhere(craft: xc.Craft, held_out: Shapes) -> None:
    one = replace(craft.factorized, bank=craft.bank[:1])
    few = craft.variant(factorized=one)
    maps = np.random.default_rng(0).random((30, 64, 64, 1))
    found = measure_recovery(few, held_out, importances={"one": [1.0]}, maps={"one": maps})
    assert (found.match[found.present] >= 0).sum() == 1
    lost = found.present & (found.match < 0)
    assert_array_equal(found.direction[lost][found.direction[lost] != 0.0].size <= 1, True)
    assert_array_equal(found.correlation[lost], 0.0)
    assert_array_equal(found.separation[lost], 0.5)
    assert all(found.places["one"].iou[c].value == 0.0 for c in np.flatnonzero(lost))
    assert np.isnan(found.places["one"].iou[4].value)  # the ring is in no image of the class


def test_recovery_refuses_what_does_not_fit(craft: xc.Craft, held_out: Shapes) -> None:
    for arguments, message in (
        (
            {"importances": {"a": [1.0]}},
            r"importances\['a'\] must have one value for each of the 6",
        ),
        ({"maps": {"a": np.ones((30, 8, 8))}}, r"maps\['a'\] must have shape \(30, 64, 64\)"),
        ({"seed": -1}, "seed must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            measure_recovery(craft, held_out, **arguments)
    with pytest.raises(TypeError, match="shapes must be what make_shapes returns"):
        measure_recovery(craft, held_out.images)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="importances must be a dictionary"):
        measure_recovery(craft, held_out, importances=[1.0])  # type: ignore[arg-type]
