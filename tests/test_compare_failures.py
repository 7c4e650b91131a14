"""A measure that fails is named, and takes no other number with it."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from numpy.testing import assert_array_equal
from report_kit import Elements
from warned import ours
from xplique.attributions import GradientInput, Saliency

import xplique_craft as xc
from xplique_craft.comparison import Comparison, Deletion, MapMeasure, Measure, Task

METHODS: dict[str, Any] = {"Saliency": Saliency, "times input": GradientInput, "floor": None}
EVERY = tuple(METHODS)
N = 3


@dataclass(frozen=True)
class Brightest(MapMeasure):
    """The largest value of maps; it fails for the methods of these names."""

    fails_for: tuple[str, ...] = ()
    reason: str = "division by <zero>."
    curve: str | None = None
    result: Callable[[np.ndarray], Any] = lambda maps: maps.max(axis=(1, 2))
    column = Measure("brightest", "Brightest", 1, "Of the map.")

    def prepare(self, task: Task) -> tuple[Measure, Any]:
        column = Measure("brightest", "Brightest", 1, "Of the map.", curve=self.curve)
        return column, self.score

    def score(self, explainer: Any, maps: np.ndarray) -> Any:
        if explainer.method.name in self.fails_for:
            raise ZeroDivisionError(self.reason.format(explainer.method.name))
        return self.result(maps)


class Unprepared(Brightest):
    """Fails before any method is measured."""

    def prepare(self, task: Task) -> tuple[Measure, Any]:
        return self.column, 1 / 0


class Forgetful(Brightest):
    """Returns nothing."""

    def prepare(self, task: Task) -> Any:
        """Is not finished."""


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((N, 8, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def craft(images: np.ndarray) -> xc.Craft:
    return planted.convolutional_craft(images, 3)


def measured(
    craft: xc.Craft, images: np.ndarray, *measures: MapMeasure
) -> tuple[Comparison, list[str]]:
    """What a comparison found, and what it warned of, at the line that asked for it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = xc.compare(
            craft,
            images,
            methods=METHODS,
            measures=measures,
            photographs=lambda shown: (255 * shown).astype(np.uint8),
            number_of_views=1,
        )
    said = ours(said)
    assert {warning.filename for warning in said} <= {__file__}
    return found, [str(warning.message) for warning in said]


def page_of(comparison: Comparison, folder: Path) -> str:
    text = xc.report.write_comparison(comparison, folder / "page.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    return text


@pytest.fixture(scope="module")
def alone(craft: xc.Craft, images: np.ndarray) -> Comparison:
    """Without a measure that fails."""
    found, said = measured(craft, images, Deletion(steps=2))
    assert said == []
    return found


def test_one_that_fails_for_a_method_has_no_number_of_it_alone(
    craft: xc.Craft, images: np.ndarray, alone: Comparison, tmp_path: Path
) -> None:
    found, said = measured(craft, images, Brightest(("times input",)), Deletion(steps=2))
    sentence = "Brightest of times input has no number, for it failed: division by <zero>."
    assert said == [f"measures: {sentence}"]
    assert found.failures == [sentence]
    assert [one.failed for one in found.methods] == [None, None, None]
    assert [one.failures for one in found.methods] == [
        {},
        {"brightest": "division by <zero>"},
        {},
    ]
    assert [list(one.per_image) for one in found.methods] == [
        ["brightest", "deletion"],
        ["deletion"],
        ["brightest", "deletion"],
    ]
    for one, other in zip(found.methods, alone.methods, strict=True):
        assert_array_equal(one.per_image["deletion"], other.per_image["deletion"])
    assert found.best("brightest").name == "Saliency"
    cells = [re.split(r"\s{2,}", line)[3] for line in found.table().splitlines()]
    assert cells[0] == "Brightest"
    assert [cell == "-" for cell in cells[1:]] == [False, True, False]
    text = page_of(found, tmp_path)
    (line,) = re.findall(r"<tr><th scope=\"row\">times input</th>.*</tr>", text)
    assert line.count("<td>\N{EN DASH}</td>") == 1
    assert "A dash: nothing to measure. Brightest of times input has no number, for it " in text
    assert "failed: division by &lt;zero&gt;.</p>" in text
    assert "A dash: nothing to measure.</p>" in page_of(alone, tmp_path)


@pytest.mark.parametrize("curve", [None, "pixels darkened"])
def test_one_that_fails_for_all_is_said_once(
    craft: xc.Craft, images: np.ndarray, alone: Comparison, tmp_path: Path, curve: str | None
) -> None:
    found, said = measured(craft, images, Brightest(EVERY, curve=curve), Deletion(steps=2))
    sentence = "Brightest of any method has no number, for it failed: division by <zero>."
    assert said == [f"measures: {sentence}"]
    assert [one.key for one in found.measures] == ["brightest", "deletion"]
    for one, other in zip(found.methods, alone.methods, strict=True):
        assert_array_equal(one.per_image["deletion"], other.per_image["deletion"])
        assert set(one.curves) == {"deletion"}
    assert [line.split("  ")[0] for line in found.table().splitlines()[1:]] == list(EVERY)
    text = page_of(found, tmp_path)
    assert text.count("has no number, for it failed") == 1
    assert text.count('<svg class="figure"') == 1 + 1  # both of Deletion
    with pytest.raises(ValueError, match="one with curves, 'deletion', received 'brightest'"):
        xc.plots.fidelity_curves(found, "brightest")


def test_reasons_that_differ(craft: xc.Craft, images: np.ndarray) -> None:
    """All are said, of all methods at once and of some of them."""
    every, said = measured(craft, images, Brightest(EVERY, reason="not of {}"))
    reasons = "not of Saliency; not of times input; not of floor"
    assert said == [f"measures: Brightest of any method has no number, for it failed: {reasons}."]
    assert every.table().splitlines()[1].endswith(" -")
    _, said = measured(craft, images, Brightest(EVERY[:2], reason="not of {}"))
    assert said == [
        f"measures: Brightest of {name} has no number, for it failed: not of {name}."
        for name in EVERY[:2]
    ]


@pytest.mark.parametrize(
    ("result", "curve"),
    [(lambda maps: "bright", None), (lambda maps: maps.max(axis=(1, 2)), "pixels darkened")],
)
def test_what_is_no_score_fails_too(
    craft: xc.Craft,
    images: np.ndarray,
    alone: Comparison,
    result: Callable[[np.ndarray], Any],
    curve: str | None,
) -> None:
    """Words; or one number an image where there should be curves."""
    measure = Brightest(result=result, curve=curve)
    found, said = measured(craft, images, measure, Deletion(steps=2))
    assert len(said) == 1
    assert said[0].startswith("measures: Brightest of any method has no number, for it failed: ")
    for one, other in zip(found.methods, alone.methods, strict=True):
        assert list(one.measures) == list(one.per_image) == list(one.curves) == ["deletion"]
        assert_array_equal(one.per_image["deletion"], other.per_image["deletion"])


@pytest.mark.parametrize(
    ("measure", "reason"),
    [(Unprepared, "division by zero"), (Forgetful, "cannot unpack non-iterable NoneType object")],
)
def test_one_that_cannot_be_prepared_is_an_error_that_names_it(
    craft: xc.Craft, images: np.ndarray, measure: type[Brightest], reason: str
) -> None:
    """No method is to blame, and none is measured."""
    asked = []

    def explainer(model: Any) -> Any:
        class Counting(Saliency):
            def explain(self, *given: Any) -> Any:
                asked.append(given)
                return super().explain(*given)

        return Counting(model)

    expected = rf"measures must be ones that can be prepared .* received {measure.__name__}\(fails"
    with pytest.raises(ValueError, match=f"{expected}.*, which fails: {reason}") as caught:
        xc.compare(craft, images, methods={"x": explainer}, measures=[Deletion(steps=1), measure()])
    assert "method" not in str(caught.value).replace("object", "")
    assert isinstance(caught.value.__cause__, (ZeroDivisionError, TypeError))
    assert asked == []
