"""Where memory runs out, smaller batches go on with the same numbers, and say so."""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose
from warned import ours

import xplique_craft as xc
from xplique_craft._compiled import Room
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.comparison import Deletion
from xplique_craft.importance import ShapleyImportance, SobolImportance, TcavImportance

SIDE, BATCH, NUMBER, PLENTY = 16, 8, 10, 10**9


class Scarce(layers.Layer):
    """Passes on what it is given, of so many images at most: more of them exhaust the memory."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.limit = PLENTY
        self.seen: list[int] = []  # images that went through at a time

    def call(self, x: tf.Tensor) -> tf.Tensor:
        def check(number: np.ndarray) -> np.ndarray:
            if number > self.limit:
                raise MemoryError("OOM when allocating tensor")  # what TensorFlow makes its own
            self.seen.append(int(number))
            return number

        number = tf.numpy_function(check, [tf.shape(x)[0]], tf.int32)
        with tf.control_dependencies([number]):
            return tf.identity(x)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((NUMBER, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def known(images: np.ndarray) -> xc.Craft:
    """A craft whose concepts were found where there was memory enough; model layers "g" and "h"."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((SIDE, SIDE, 3))
    x = Scarce(name="g")(layers.Conv2D(6, 3, strides=2, activation="relu")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="cut")(x)
    x = layers.Conv2D(7, 1)(x)
    x = Scarce(name="h")(layers.ReLU()(x))
    x = layers.Dense(5, activation="relu")(layers.GlobalAveragePooling2D()(x))
    craft = xc.Craft.from_model(keras.Model(image, layers.Dense(3)(x)), "cut", 4, BATCH, 8)
    bank_of(craft, images)
    return craft


@pytest.fixture
def craft(known: xc.Craft) -> Iterator[xc.Craft]:
    """The same where it is not known yet how much memory there is."""
    network = known.network
    network.room_of_g._most = network.room_of_g._told = float("inf")
    network.room_of_h._most = network.room_of_h._told = float("inf")
    yield known
    for part in "gh":
        layer_of(known, part).limit = PLENTY


def layer_of(craft: xc.Craft, part: str) -> Scarce:
    return craft.model.get_layer(part)


def with_batches_of(craft: xc.Craft, number: int) -> xc.Craft:
    other = xc.Craft.from_model(craft.split, None, 4, number, 8)
    other._concepts = craft.concepts
    return other


def bank_of(craft: xc.Craft, x: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only")
        _, crops_u, bank = craft.fit(x, 0)
    return crops_u @ bank


QUESTIONS: dict[str, Callable[[xc.Craft, np.ndarray], Any]] = {
    "fit": bank_of,
    "transform": lambda craft, x: craft.transform(x),
    "contributions": lambda craft, x: craft.contributions(x, np.arange(len(x)) % 3).phi,
    "ablation effects": lambda craft, x: craft.ablation_effects(x),
    "quality": lambda craft, x: craft.quality(x).reconstruction_share.value,
    "Sobol": lambda craft, x: (
        SobolImportance(craft, 8, batch_size=craft.batch_size).summary(x).per_image
    ),
    "Shapley": lambda craft, x: ShapleyImportance(craft, batch_size=craft.batch_size).explain(x),
    "TCAV": lambda craft, x: TcavImportance(craft, batch_size=craft.batch_size).explain(x),
    "maps": lambda craft, x: ConceptAttribution(craft, batch_size=craft.batch_size).explain(x),
    "compare": lambda craft, x: (
        xc.comparison.compare(
            craft, x, methods=["random"], measures=[Deletion(3)], batch_size=craft.batch_size
        )
        .methods[0]
        .curves["deletion"]
    ),
}
OF_G_ALONE = ("transform",)


@pytest.mark.parametrize("part", ["g", "h"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_smaller_batches_go_on_with_the_same_numbers(
    question: str, part: str, craft: xc.Craft, images: np.ndarray
) -> None:
    ask, limit = QUESTIONS[question], 3
    small = ask(with_batches_of(craft, limit), images)
    layer = layer_of(craft, part)
    layer.limit, layer.seen = limit, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ask(craft, images)
    assert_allclose(found, small, rtol=1e-4, atol=1e-5 * np.abs(small).max())
    told = [str(one.message) for one in of_memory(caught)]
    if part == "h" and question in OF_G_ALONE:
        assert told == []
        return
    assert 1 <= max(layer.seen) <= limit
    (message,) = told
    where = "the model" if question == "compare" else part
    named = re.fullmatch(
        rf"Out of memory in {where}\b.*: it goes on with (\d+) images? at a time, which changes "
        r"no number. Set batch_size=(\d+) to begin with that\.",
        message,
    )
    assert named, message
    assert named[1] == named[2]


def of_memory(caught: list[warnings.WarningMessage]) -> list[warnings.WarningMessage]:
    return [one for one in ours(caught) if "memory" in str(one.message)]


@pytest.mark.parametrize("part", ["g", "h"])
def test_a_halved_batch_stays_halved(part: str, craft: xc.Craft, images: np.ndarray) -> None:
    """What failed is not tried again, by whatever asks next; and it is said once, to the user."""
    layer = layer_of(craft, part)
    layer.limit = 4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        craft.contributions(images)
        layer.limit = PLENTY
        layer.seen = []
        craft.contributions(images)
        craft.quality(images)
    assert max(layer.seen) == 4
    (one,) = of_memory(caught)
    assert one.filename == __file__
    assert "batch_size=4 " in str(one.message)


def test_each_part_has_its_own_room(craft: xc.Craft, images: np.ndarray) -> None:
    layer_of(craft, "h").limit, layer_of(craft, "g").seen = 2, []
    with pytest.warns(UserWarning, match=r"in h, .* with 2 images .* batch_size=2"):
        craft.contributions(images)
    assert max(layer_of(craft, "g").seen) == BATCH


def test_it_is_halved_again_and_said_again(craft: xc.Craft, images: np.ndarray) -> None:
    for limit in (4, 1):
        layer_of(craft, "g").limit = limit
        with pytest.warns(UserWarning, match=rf"in g, .* with {limit} image"):
            craft.transform(images)


@pytest.mark.parametrize(
    ("part", "question"),
    [("g", "fit"), ("g", "transform"), ("h", "contributions"), ("h", "Sobol"), ("h", "quality")],
)
def test_one_image_alone_is_refused(
    part: str, question: str, craft: xc.Craft, images: np.ndarray
) -> None:
    layer_of(craft, part).limit = 0
    before = craft.concepts
    with pytest.raises(
        tf.errors.ResourceExhaustedError,
        match=rf"^Out of memory in {part}, .* for one image alone, so no batch_size .* memory\.$",
    ):
        QUESTIONS[question](craft, images)
    assert craft.concepts is before
    layer_of(craft, part).limit = PLENTY
    with pytest.warns(UserWarning, match=f"in {part}, .* batch_size=1 "):
        QUESTIONS[question](craft, images)  # once there is memory


def test_the_check_of_a_head_taken_apart_is_halved_too(craft: xc.Craft, images: np.ndarray) -> None:
    """It evaluates four gates at once, before anything else is evaluated."""
    fresh = xc.Craft.from_model(xc.split_model(craft.model, "cut"), None, 4)
    fresh._concepts = craft.concepts
    layer_of(fresh, "h").limit = 3
    with pytest.warns(UserWarning, match=r"in h, "):
        fresh.ablation_effects(images[:1])


def test_a_head_that_fails_its_check_is_not_used_after_all(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be the warning an error, or the check interrupted."""
    fresh = xc.Craft.from_model(xc.split_model(craft.model, "cut"), None, 4)
    fresh._concepts = craft.concepts
    monkeypatch.setattr("xplique_craft.gates.head.CHECK", -1.0)
    with pytest.raises(UserWarning, match="taken apart differs"):
        fresh.ablation_effects(images)
    assert fresh.head().path.kind == "plain"


def test_what_one_thread_found_is_not_undone_by_another() -> None:
    """One tried 4 and failed, while another that had begun before with 64 fails only now."""
    room, error = Room("g"), tf.errors.ResourceExhaustedError(None, None, "no memory")
    for tried in (4, 64):
        room.halve(tried, error, alone=False)
    assert room.bounded(64) == 2
    with pytest.warns(UserWarning, match="with 2 images"):
        room.went_through()
    room.went_through()  # says nothing: it has been said
