"""Threads that ask at the same time: each gets what it gets alone, and nothing is left behind."""

import ast
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import explainers
import keras
import numpy as np
import planted
import pytest
import tensorflow as tf
import xplique.attributions
from importances import Case
from numpy.testing import assert_allclose
from tensorflow.python.eager import context
from warned import ours
from xplique.attributions import Rise, Saliency, SmoothGrad
from xplique.attributions.base import BlackBoxExplainer
from xplique.attributions.gradient_statistics.gradient_statistic import GradientStatistic

import xplique_craft as xc
from xplique_craft import _once, _seeding
from xplique_craft._checks import caught_warnings, warn
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.factorization import NMF
from xplique_craft.importance import METHODS
from xplique_craft.sampling import Stream
from xplique_craft.splitting.network import Network

THREADS = 16
SIZE = (8, 12)
EXPLAINERS = [None, *(name for name in explainers.ARGUMENTS if name != "FEM")]
PATCHED = [(Rise, "_get_masks"), (Rise, "_apply_masks"), (GradientStatistic, "_perturb_samples")]


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    """Threads take turns fifty times as often as they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Xplique's classes, and the global generators, are afterwards what they were."""

    def state() -> list[Any]:
        eager = context.context()
        generators = [
            eager._seed,
            getattr(eager, "_rng", None),
            len(BlackBoxExplainer._cache_models),
        ]
        functions = [vars(owner)[name] for owner, name in PATCHED]
        return [*generators, *functions, np.random.get_state()[1].tobytes()]  # noqa: NPY002

    BlackBoxExplainer._cache_models.clear()  # what earlier tests left, which some here clear
    before = state()
    yield
    assert all(a is b or a == b for a, b in zip(state(), before, strict=True))
    assert not _once._at_work


def together(ask: Callable[[int], Any], number: int = THREADS) -> list[Any]:
    """What so many threads get that ask at the same time; what one of them raises is raised."""
    barrier, found, raised = Barrier(number), [None] * number, []

    def one(i: int) -> None:
        try:
            barrier.wait()
            found[i] = ask(i)
        except BaseException as error:
            raised.append(error)

    threads = [Thread(target=one, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return found


SOON = 0.3  # seconds in which a thread that nothing keeps out would have come


class Follower:
    """Starts another thread from within the first one's work, once, and lets it try to follow."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._thread = Thread(target=ask)
        self._started = False

    def __call__(self) -> None:
        """Where nothing keeps the other thread out it does all of its work now, else it waits."""
        if not self._started:
            self._started = True
            self._thread.start()
            self._thread.join(SOON)

    def join(self) -> None:
        """After the first thread's work."""
        assert self._started
        self._thread.join()


def assert_as_alone(found: list[Any], alone: list[Any]) -> None:
    """What thread i got is what was got alone, again and again in this order."""
    scale = max(np.abs(one).max() for one in alone)
    assert scale > 0.0
    for i, one in enumerate(found):
        assert_allclose(one, alone[i % len(alone)], rtol=0.0, atol=1e-6 * scale)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((6, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


@pytest.fixture
def fresh(images: np.ndarray) -> xc.Craft:
    """One of which nothing was asked yet, so that all is still to be made."""
    return planted.convolutional_craft(images, 3)


# ------------------------------------------------------------------------------------ explainers
def by(craft: xc.Craft, name: str | None, output: str) -> ConceptAttribution:
    if name is None:
        return ConceptAttribution(craft, output=output, batch_size=2)
    explainer = getattr(xplique.attributions, name)
    arguments = explainers.ARGUMENTS[name] or None
    return ConceptAttribution(craft, explainer, arguments, output=output, batch_size=2)


def ask_for_maps(attribution: ConceptAttribution, images: np.ndarray, i: int) -> np.ndarray:
    """Each thread of another image and concept, and of relevance for another target."""
    targets = None if attribution.output == "activation" else i % 3
    return attribution.explain_concepts(images[i % 3 : i % 3 + 1], i % 3, targets=targets)


QUICK = [(None, "activation"), ("Rise", "relevance"), ("SmoothGrad", "activation")]
ALL = [(name, output) for name in EXPLAINERS for output in ("activation", "relevance")]


@pytest.mark.parametrize(
    ("name", "output"),
    [pytest.param(*one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in ALL],
)
def test_every_explainer_gives_what_it_gives_alone(
    craft: xc.Craft, images: np.ndarray, name: str | None, output: str
) -> None:
    """One attribution that all threads share, and in its place one of each thread's own."""
    alone = [ask_for_maps(by(craft, name, output), images, i) for i in range(3)]
    shared = by(craft, name, output)
    found = together(lambda i: ask_for_maps(shared, images, i))
    assert_as_alone(found, alone * THREADS)


def ask_once(explainer: Any, seed: int, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _seeding.explain_seeded(seed, explainer, explainer.explain, images, weights)


@pytest.mark.parametrize("name", ["Rise", "SmoothGrad"])
def test_threads_of_different_seeds(craft: xc.Craft, images: np.ndarray, name: str) -> None:
    """Each draws what its own seed says."""
    weights = planted.one_hot([0], 3)
    made = [
        getattr(xplique.attributions, name)(craft.encoder, **explainers.ARGUMENTS[name])
        for _ in range(4)
    ]
    BlackBoxExplainer._cache_models.clear()
    alone = [ask_once(one, seed, images[:1], weights) for seed, one in enumerate(made)]
    assert np.abs(alone[0] - alone[1]).max() > 1e-2 * np.abs(alone[0]).max()
    found = together(lambda i: ask_once(made[i % 4], i % 4, images[:1], weights), 8)
    assert_as_alone(found, alone)


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest would stop at."""


def test_a_thread_that_runs_rise_itself_keeps_its_own_functions(craft: xc.Craft) -> None:
    """What Xplique's class holds while we explain, it holds for our thread alone."""
    explainer, seen = Rise(craft.encoder, **explainers.ARGUMENTS["Rise"]), []
    BlackBoxExplainer._cache_models.clear()
    shape, original = (1, *SIZE, 3), Rise._get_masks
    seed = 20_231_207  # one that no other test sets: the original may have been traced under theirs
    with _seeding.seeded(seed, explainer):
        assert Rise._get_masks is not original
        mine = Rise._get_masks(shape, 50, 4, 0.5).numpy()
        other = Thread(target=lambda: seen.append(Rise._get_masks(shape, 50, 4, 0.5).numpy()))
        other.start()
        other.join()
    with _seeding.seeded(seed, explainer):
        again = Rise._get_masks(shape, 50, 4, 0.5).numpy()
    assert (mine == again).all()
    assert (seen[0] != mine).any()


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_all_is_put_back_if_it_is_broken_off_while_functions_are_replaced(
    craft: xc.Craft, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """Rise has two: before the first is in its place, between them, and while it explains."""
    explainer = Rise(craft.encoder, **explainers.ARGUMENTS["Rise"])
    BlackBoxExplainer._cache_models.clear()
    calls, untraced = [], _seeding._untraced

    def breaking(owner: Any, name: str, seed: int) -> Any:
        calls.append(name)
        if len(calls) == broken:
            raise Stop
        return untraced(owner, name, seed)

    def explain(*given: Any) -> Any:
        raise Stop

    monkeypatch.setattr(_seeding, "_untraced", breaking)
    with pytest.raises(Stop):
        _seeding.explain_seeded(0, explainer, explain, images[:1], planted.one_hot([0], 3))
    assert len(calls) == min(broken, 2)
    assert together(lambda i: _seeding.RUNNING.acquire(False) and not _seeding.RUNNING.release())


def test_all_is_put_back_if_putting_back_is_broken_off(
    craft: xc.Craft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an explainer that is not Xplique's, for which the global generators are seeded."""

    class OfAUser(SmoothGrad):
        """One that may draw anywhere."""

    explainer = OfAUser(craft.encoder)
    BlackBoxExplainer._cache_models.clear()
    set_state, calls = np.random.set_state, []

    def breaking(state: Any) -> None:
        calls.append(state)
        if len(calls) == 1:
            raise Stop
        set_state(state)

    monkeypatch.setattr(np.random, "set_state", breaking)
    with pytest.raises(Stop), _seeding.seeded(0, explainer):
        assert isinstance(vars(GradientStatistic)["_perturb_samples"], staticmethod)
    assert len(calls) == 2


# ------------------------------------------------------------------- importance, and all else
@pytest.fixture(scope="module")
def case() -> Case:
    return Case("relu", "map")


DRAWN = {"sobol total": {"nb_design": 8}, "hsic": {"nb_design": 7}, "rise": {"nb_samples": 7}}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_importance_gives_what_it_gives_alone(case: Case, method: str) -> None:
    settings = DRAWN.get(method, {})
    alone = [case.explain(method, target, **settings) for target in range(3)]
    shared = METHODS[method](Case("relu", "map").craft, **settings)
    found = together(lambda i: shared.explain(case.images, i % 3))
    assert_as_alone(found, alone)


QUESTIONS: dict[str, Callable[[xc.Craft, np.ndarray], Any]] = {
    "transform": lambda craft, x: craft.transform(x),
    "contributions": lambda craft, x: craft.contributions(x).phi,
    "other targets": lambda craft, x: craft.contributions(x, 1).phi,
    "ablation_effects": lambda craft, x: craft.ablation_effects(x),
    "quality": lambda craft, x: np.array([craft.quality(x).reconstruction_share.value]),
    "estimate_importance": lambda craft, x: craft.estimate_importance(x, 8),
    "encoder": lambda craft, x: craft.encoder(x).numpy(),
    "decoder": lambda craft, x: craft.decoder(craft.transform(x)).numpy(),
    "bound_decoder": lambda craft, x: craft.bound_decoder(x)(craft.transform(x)).numpy(),
    "concept maps": lambda craft, x: ConceptAttribution(craft).explain_concepts(x),
    "class maps": lambda craft, x: ConceptAttribution(craft, detail=1.0).explain(x).numpy(),
    "children": lambda craft, x: (
        craft.decompose(0, "first", 2, percentile=0.0).contributions(x).phi
    ),
    "candidates": lambda craft, x: np.array([len(xc.candidate_layers(craft.model))]),
    "cut": lambda craft, x: xc.split_model(craft.model, "third").network.latents(x).numpy(),
}


LONG = ("children", "class maps")  # they trace much, which takes some seconds


@pytest.mark.parametrize(
    "question",
    [pytest.param(one, marks=[pytest.mark.slow] if one in LONG else []) for one in QUESTIONS],
)
def test_every_question_gives_what_it_gives_alone(
    fresh: xc.Craft, craft: xc.Craft, images: np.ndarray, question: str
) -> None:
    """Of a craft that was asked nothing before, so that all is made at the same time."""
    ask = QUESTIONS[question]
    alone = [np.asarray(ask(craft, images[i : i + 2])) for i in range(3)]
    found = together(lambda i: ask(fresh, images[i % 3 : i % 3 + 2]))
    assert_as_alone(found, alone)


@pytest.mark.slow
def test_all_questions_at_once(fresh: xc.Craft, craft: xc.Craft, images: np.ndarray) -> None:
    asks = list(QUESTIONS.values())
    alone = [np.asarray(ask(craft, images[:2])) for ask in asks]
    found = together(lambda i: asks[i % len(asks)](fresh, images[:2]), 2 * len(asks))
    assert_as_alone(found, alone)


def test_a_head_that_fails_its_check_is_replaced_for_all_threads() -> None:
    """A layer that is not what its class says; none of them uses what was made of it."""
    bank, images = planted.bank(), planted.paintings(4)
    model = planted.network(bank)
    layer = model.get_layer("logits")
    own = layer.call
    layer.call = lambda inputs, training=None: keras.ops.square(own(inputs))
    craft = planted.fitted(model, bank, images)
    coded = planted.coded(craft, images)
    expected = model(images).numpy()[:, 0]
    with pytest.warns(UserWarning, match="taken apart differs from itself") as told:
        found = together(lambda i: craft.head().evaluate(coded, np.ones((1, 3)))[:, 0])
    assert_as_alone(found, [expected])
    assert len(ours(told)) == 1


class Sums(list):
    """Those that a stream has read, of which one thread looks something up while another reads."""

    meanwhile: Callable[[], None]

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.meanwhile()
        return found


def test_a_stream_is_read_by_several_threads(images: np.ndarray) -> None:
    """As crops of a dataset are. The order of the images is checked by what was read first."""
    stream = Stream(tf.data.Dataset.from_tensor_slices(images), (*SIZE, 3), 2)
    stream._sums = Sums()
    stream._sums.meanwhile = Follower(lambda: stream.images(np.array([5])))
    for _ in range(2):
        assert_allclose(stream.images(np.array([5, 0])), images[[5, 0]])
    stream._sums.meanwhile.join()
    assert len(stream._sums) == 6


def test_maps_are_made_once(fresh: xc.Craft, images: np.ndarray) -> None:
    """One explainer serves all threads."""
    made: list[Any] = []

    def saliency(model: Any) -> Saliency:
        made.append(model)
        return Saliency(model)

    attribution = ConceptAttribution(fresh, saliency)
    vars(attribution)["_maps"] = {}
    made.clear()
    together(lambda i: attribution.explain_concepts(images[:1], 0))
    assert made == [fresh.encoder]


# ------------------------------------------------------------------------------------ made once
class Lazy:
    """Counts how often each of its values is made."""

    def __init__(self, below: "Lazy | None" = None) -> None:
        self.made: list[str] = []
        self.below = below
        self.meanwhile: Callable[[], None] = lambda: None

    @_once.cached_property
    def value(self) -> list[str]:
        """A new object, which others can tell from an equal one."""
        self.made.append("value")
        self.meanwhile()
        return [*self.made]

    @_once.cached_property
    def of_below(self) -> list[str]:
        """It needs the other value, and that of an object below."""
        self.made.append("of_below")
        return [*self.value, *(self.below.of_below if self.below else [])]


def test_a_value_is_made_once() -> None:
    """Even though every thread asks for it before it is there."""
    lazy = Lazy(below=Lazy())
    lazy.meanwhile = Follower(lambda: lazy.value)
    found = together(lambda i: lazy.of_below if i % 2 else lazy.value)
    lazy.meanwhile.join()
    assert sorted(lazy.made) == sorted(lazy.below.made) == ["of_below", "value"]
    assert {id(one) for one in found} == {id(lazy.value), id(lazy.of_below)}


def others_may_run() -> bool:
    """Whether another thread could begin to run an explainer of Xplique now."""
    found = []

    def attempt() -> None:
        found.append(_seeding.RUNNING.acquire(blocking=False))
        if found[0]:
            _seeding.RUNNING.release()

    thread = Thread(target=attempt)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("ask", ["check", "shared", "say what is not finite"])
def test_an_explainer_is_made_by_a_thread_that_keeps_others_out_already(
    craft: xc.Craft, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it kept them out only then, each might have the lock that the other waits for."""
    maps = ConceptAttribution(craft, xplique.attributions.Occlusion)._explained
    explained, before = maps._of_activation, []
    make = explained._make

    def made(model: keras.Model) -> Any:
        before.append(others_may_run())
        return make(model)

    monkeypatch.setattr(explained, "_make", made)
    del explained.explainer
    if ask == "check":
        maps.check()
    elif ask == "shared":
        assert maps.shared
    else:
        with pytest.raises(ValueError, match="Occlusion gives maps that are not finite"):
            maps._check_finite(np.full((1, *SIZE, 3), np.nan, np.float32))
    assert before == [False]


def test_values_that_are_made_at_the_same_time_do_not_wait_for_each_other() -> None:
    """Two objects of one class: a lock that they shared would never let this end."""
    meeting = Barrier(2, timeout=60)

    class Meets:
        @_once.cached_property
        def value(self) -> int:
            return meeting.wait()

    assert sorted(together(lambda i: Meets().value, 2)) == [0, 1]


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    values: dict[str, int] = {}

    def broken() -> int:
        raise Stop

    with pytest.raises(Stop):
        _once.once(values, "one", broken)
    assert _once.once(values, "one", lambda: 1) == 1
    assert _once.once(values, "one", broken) == values["one"] == 1


def test_what_is_none_is_made_once_too() -> None:
    made: list[int] = []
    values: dict[str, Any] = {}
    for _ in range(2):
        assert _once.once(values, "none", lambda: made.append(1)) is None
    assert made == [1]


def network_of_its_own() -> Network:
    return xc.split_model(planted.network(planted.bank()), planted.LAYER).network


def test_a_network_shares_what_was_made_however_many_ask() -> None:
    """Some of it is let go, while others take it."""
    network = network_of_its_own()
    found = together(
        lambda i: [network.shared(key, lambda key=key: [key])[0] for key in [*range(100)] * 5]
    )
    assert found == [[*range(100)] * 5] * THREADS
    assert len(network._shared) == 64


def test_what_a_network_shares_is_made_once() -> None:
    network, made = network_of_its_own(), []

    def make() -> int:
        made.append(1)
        follower()
        return len(made)

    follower = Follower(lambda: network.shared("key", make))
    assert network.shared("key", make) == 1
    follower.join()
    assert made == [1]


class Watched(keras.layers.Layer):
    """Says whether it was called by a thread while another was in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def call(self, x: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.meanwhile()
        self.inside -= 1
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def compute_output_spec(self, x: Any) -> Any:
        self.call(x)
        return keras.KerasTensor(x.shape, x.dtype)


def test_layers_are_called_by_one_thread_at_a_time() -> None:
    """Keras numbers their calls; a wrong number would join two models."""
    layer = Watched()
    image, other, latent = keras.Input((*SIZE, 3)), keras.Input((*SIZE, 3)), keras.Input((6, 10, 4))
    first = keras.Model(image, keras.layers.Conv2D(4, 3, name="first")(image))
    second = keras.Model(latent, keras.layers.GlobalAveragePooling2D()(layer(latent)))
    nested = keras.Model(other, second(first(other)))
    for ask in (
        lambda: xc.split_model(nested, "first"),
        lambda: xc.candidate_layers(nested),
        lambda: xc.join_models(first, second),
    ):
        layer.most = 0
        layer.meanwhile = Follower(ask)
        ask()
        layer.meanwhile.join()
        assert layer.most == 1


def test_cuts_of_many_threads_are_that_model() -> None:
    model = planted.convolutional(SIZE)
    nested = keras.Model(model.inputs, model(model.inputs[0]), name="nested")
    x = np.random.default_rng(0).random((2, *SIZE, 3)).astype(np.float32)
    expected = model(x).numpy()
    layer = f"convolutional/{planted.LAYER}"
    splits = together(lambda i: xc.split_model(nested, layer))
    for split in splits:
        assert_allclose(split.model(x), expected, rtol=1e-6)
        assert_allclose(split.latent_to_logit(split.input_to_latent(x)), expected, rtol=1e-6)


def test_nothing_of_the_package_is_made_once_by_functools() -> None:
    """`functools.cached_property` of Python 3.12 makes it once for each thread that asks."""
    for path in Path(xc.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "functools":
                assert "cached_property" not in {name.name for name in node.names}, path


# -------------------------------------------------------------------------------------- warnings
def test_warnings_are_caught_for_one_thread_alone() -> None:
    """Those that begin as asked for; the innermost block that asks for one gets it."""
    with caught_warnings() as outer, caught_warnings("One .* two") as inner:
        warn("One and two.")
        warn("Two, One and two.")
        with pytest.warns(UserWarning, match="of another thread") as told:
            together(lambda i: warn("This is of another thread."), 1)
    assert (inner, outer, len(told)) == (["One and two."], ["Two, One and two."], 1)
    with pytest.warns(UserWarning, match="caught no more"):
        warn("It is caught no more.")


class Overlapping:
    """Does what scikit-learn does to filters of warnings; the first to begin ends first."""

    def __init__(self) -> None:
        self.second, self.first_ended = Event(), Event()
        self.number = 0

    def __call__(self, *given: Any) -> Any:
        self.number += 1
        first = self.number == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnicodeWarning)
            if first:
                self.second.wait(SOON)
            else:
                self.second.set()
                self.first_ended.wait(60)
        if first:
            self.first_ended.set()


class Overlaps(NMF):
    """A factorizer whose fits would overlap."""

    def __init__(self, meeting: Overlapping) -> None:
        super().__init__(max_iter=2)
        self.meeting = meeting

    def _fit(self, rows: np.ndarray, k: int, seed: int, weights: np.ndarray | None) -> Any:
        self.meeting()
        return super()._fit(rows, k, seed, weights)


def test_filters_of_warnings_are_what_they_were() -> None:
    """What scikit-learn silences is silenced in no thread afterwards."""
    before = list(warnings.filters)
    rows = np.random.default_rng(0).random((30, 8)).astype(np.float32)
    meeting = Overlapping()
    together(lambda i: Overlaps(meeting).fit(rows, 3), 2)
    assert meeting.number == 2
    assert warnings.filters == before


def test_factorizers_give_what_they_give_alone() -> None:
    rows = np.random.default_rng(0).random((30, 8)).astype(np.float32)
    settings = NMF(max_iter=2, solver="sklearn")
    found = together(lambda i: settings.fit(rows, 3, i % 3).bank)
    assert_as_alone(found, [settings.fit(rows, 3, seed).bank for seed in range(3)])
