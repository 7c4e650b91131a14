"""A comparison goes on where it was interrupted, with the methods that were not measured."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from interruptions import Calls, written
from xplique.attributions import Occlusion, Saliency

import xplique_craft as xc
from xplique_craft.attributions import ConceptAttribution
from xplique_craft.comparison import Deletion, Stability
from xplique_craft.comparison.methods import methods_of
from xplique_craft.results import Comparison

SIZE = (16, 16)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return planted.paintings(12, SIZE)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


METHODS: dict[str, Any] = {
    "Saliency": Saliency,
    "Occlusion": (Occlusion, {"patch_size": 4, "patch_stride": 4}),
    "random": None,
}


def compared(craft: xc.Craft, x: np.ndarray, **settings: Any) -> Comparison:
    measures = [Deletion(3), Stability(2, 2)]
    return xc.compare(craft, x, **{"methods": METHODS, "measures": measures, **settings})


def untimed(found: Comparison) -> Comparison:
    """Without how long it took."""
    return replace(found, methods=[replace(one, seconds=0.0) for one in found.methods])


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_comparison_goes_on(
    at: int, craft: xc.Craft, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compared(craft, images[:4])
    calls = Calls("comparison.run:seconds_and_maps", monkeypatch)
    with calls.interrupted(at):
        compared(craft, images[:4], checkpoint=tmp_path)
    assert "compare was interrupted" in calls.said
    assert len(list((tmp_path / "compare").iterdir())) == at
    found = compared(craft, images[:4], checkpoint=tmp_path)
    assert calls.number == len(METHODS) - at + 1
    assert written(untimed(found), tmp_path) == written(untimed(expected), tmp_path)
    again = compared(craft, images[:4], checkpoint=tmp_path)
    assert calls.number == len(METHODS) - at + 1
    assert written(again, tmp_path) == written(found, tmp_path)  # seconds, too


def test_methods_are_told_apart(
    craft: xc.Craft, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the same name with other settings is measured; so is a function, each time."""
    calls = Calls("comparison.run:seconds_and_maps", monkeypatch)
    smaller = {"Occlusion": (Occlusion, {"patch_size": 2, "patch_stride": 2})}
    concepts = {
        "maps": ConceptAttribution(craft),
        "other": ConceptAttribution(craft, smoothing=1.0),
    }
    function = {"a function": lambda model: Saliency(model), "random": None}
    for methods, measured in [
        (METHODS, 3),
        (METHODS | smaller, 1),
        (METHODS | smaller, 0),
        (METHODS, 0),
        (concepts, 2),
        (concepts, 0),
        ({"maps": concepts["other"]}, 1),
        (function, 1),
        (function, 1),
    ]:
        calls.number = 0
        compared(craft, images[:2], methods=methods, measures=[Deletion(2)], checkpoint=tmp_path)
        assert calls.number == measured


def test_what_methods_are_told_by(craft: xc.Craft, images: np.ndarray) -> None:
    class Mine(Saliency):
        pass

    other = copy.copy(craft)
    cannot = {
        "a function": Saliency.__call__,
        "of one's own": Mine,
        "arguments": (Occlusion, {"operator": lambda *_: None}),
        "another craft": ConceptAttribution(other),
        "by a function": ConceptAttribution(craft, lambda model: Saliency(model)),
        "operator": ConceptAttribution(craft, operator=planted.by_sampling),
    }
    assert {one.told_by for one in methods_of(craft, cannot, SIZE, 4)} == {None}
    told = [one.told_by for one in methods_of(craft, None, SIZE, 4)]
    assert None not in told
    assert len(set(told)) == len(told)


def test_measures_of_ones_own_are_not_kept(
    craft: xc.Craft, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(Deletion):
        pass

    calls = Calls("comparison.run:seconds_and_maps", monkeypatch)
    for _ in range(2):
        compared(craft, images[:2], measures=[Mine(2)], checkpoint=tmp_path)
    assert calls.number == 2 * len(METHODS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed"),
        ({"measures": [Deletion(4)]}, "other measures|another measures"),
        ({"baseline": 0.5}, "baseline of pixels"),
        ({"activation": None}, "activation"),
        ({"targets": 2}, "targets"),
        ({"number_of_views": 1, "photographs": lambda x: np.zeros(x.shape, np.uint8)}, "views"),
    ],
)
def test_another_comparison_is_refused(
    changed: dict[str, Any], said: str, craft: xc.Craft, images: np.ndarray, tmp_path: Path
) -> None:
    methods = {"Saliency": Saliency}
    settings = {"methods": methods, "measures": [Deletion(3)], "checkpoint": tmp_path}
    xc.compare(craft, images[:2], **settings)
    with pytest.raises(ValueError, match=rf"`compare` .*({said})"):
        xc.compare(craft, images[:2], **{**settings, **changed})
    other = copy.copy(craft)
    other._concepts = replace(
        other.concepts, factorized=replace(craft.factorized, bank=2.0 * craft.bank)
    )
    with pytest.raises(ValueError, match="other concepts"):
        xc.compare(other, images[:2], **settings)
