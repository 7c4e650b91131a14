"""The number of concepts: the rule, known truths, what is measured on what, errors, the figure."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import planted
import pytest
from matplotlib.figure import Figure
from test_purity import eyes

import xplique_craft as xc
from xplique_craft import plots
from xplique_craft.explanation.number_of_concepts import recommend
from xplique_craft.metrics import purity, stability
from xplique_craft.results import (
    ConceptStability,
    Estimate,
    NumberOfConcepts,
    NumberTried,
    Purity,
    Quality,
)

MIXING = planted.bank(concepts=4, channels=6)
SIZE = (12, 12)


def around(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value, value - half, value + half)


def row(
    number: int,
    agreement: float = 1.0,
    explained: float = 0.9,
    stable: float = 0.95,
    pure: float | None = None,
) -> NumberTried:
    purity = None
    if pure is not None:
        purity = Purity(around(pure), [], around(0.3), 0.2, [], 20, 1000, 30)
    return NumberTried(
        number,
        Quality(around(agreement), around(explained), around(explained), 0.1, 0.5, 1e-7, 30),
        ConceptStability(
            around(stable), around(0.8), around(0.4), np.full((number, 5), stable), 70
        ),
        purity,
    )


# --------------------------------------------------------------------------------------- the rule
@pytest.mark.parametrize(
    ("rows", "expected", "said"),
    [
        ([row(5), row(10), row(20)], 5, "as good as the best in agreement, explained share and st"),
        ([row(5, explained=0.8), row(10), row(20)], 10, "5 concepts are behind in explained share"),
        ([row(5, agreement=0.9), row(10, explained=0.8), row(20)], 20, "10 concepts are behind in"),
        ([row(5, explained=0.8), row(10, stable=0.9), row(20)], 20, "10 concepts are behind in st"),
        ([row(5, stable=0.98), row(10, explained=0.99, stable=0.5)], 10, "5 concepts are behind"),
        ([row(5, pure=0.5), row(10, pure=0.8), row(20, pure=0.7)], 10, "stability and purity"),
        ([row(5, explained=1.3), row(10, explained=1.0)], 5, "5 is the smallest"),
        ([row(5, explained=1.0), row(10, explained=1.3)], 5, "5 is the smallest"),
    ],
)
def test_the_rule(rows: list[NumberTried], expected: int, said: str) -> None:
    for order in (rows, rows[::-1]):
        number, reason = recommend(order)
        assert number == expected
        assert said in reason
        assert reason.startswith(f"{expected} is the smallest number")
        assert reason.endswith(".")


def test_a_measure_that_is_not_defined_decides_nothing() -> None:
    nan = around(np.nan)
    rows = [
        replace(one, quality=replace(one.quality, agreement=nan, explained_share=nan))
        for one in (row(5, stable=0.8), row(10))
    ]
    number, reason = recommend(rows)
    assert (number, "agreement" in reason) == (10, False)
    alone = [replace(row(5), quality=replace(row(5).quality, explained_share=around(0.5, np.nan)))]
    assert recommend(alone)[0] == 5


# ------------------------------------------------------------------------------- of a real model
def paintings(number: int = 30) -> np.ndarray:
    """Four concepts in blocks that are often alone."""
    blocks = np.random.default_rng(0).random((number, 3, 3, 4)) < 0.3
    return blocks.repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return paintings()


@pytest.fixture(scope="module")
def craft() -> xc.Craft:
    """Class 0 is always predicted: the four concepts all speak for it."""
    model = planted.network(MIXING, size=SIZE)
    kernel = np.zeros((6, 3), np.float32)
    kernel[:, 0] = 1.0
    model.get_layer("logits").set_weights([kernel, np.array([0.1, 0.0, 0.0], np.float32)])
    return xc.Craft.from_model(model, planted.LAYER, 3, batch_size=16)


@pytest.fixture(scope="module")
def found(craft: xc.Craft, images: np.ndarray) -> NumberOfConcepts:
    return xc.choose_number_of_concepts(
        craft, images, 0, (4, 2, 6, 4), judge=eyes(), shown=6, trials=120, folds=3
    )


def test_the_planted_number_is_recommended(found: NumberOfConcepts) -> None:
    assert [one.number for one in found.tried] == [2, 4, 6]
    assert found.recommended == 4
    assert "; 2 concepts are behind in " in str(found)
    assert (found.number_of_images, found.number_held_out) == (21, 9)
    two, four, _ = found.tried
    assert four.quality.explained_share.value == pytest.approx(1.0, abs=0.02)
    assert two.quality.relative_error > 10 * four.quality.relative_error
    assert four.stability.matched.value > 0.95
    assert [one.quality.number_of_images for one in found.tried] == [9] * 3
    assert [one.purity.number_of_images for one in found.tried] == [9] * 3  # type: ignore[union-attr]
    assert four.redundancy == four.stability.floor


def test_its_numbers_are_those_of_a_craft(
    craft: xc.Craft, images: np.ndarray, found: NumberOfConcepts
) -> None:
    from xplique_craft.sampling.held_out import hold_out

    fitted, held = hold_out(np.arange(len(images)), 0.3, craft.seed)
    own = xc.Craft.from_model(craft.split, None, 4, batch_size=16)
    own.fit(images[fitted], 0)
    one = found.tried[1]
    assert own.quality(images[held]) == one.quality
    again = stability(own, folds=3)
    assert (again.matched, again.disjoint) == (one.stability.matched, one.stability.disjoint)
    assert purity(own, eyes(), inputs=images[held], shown=6, trials=120) == one.purity


def test_crops_go_through_g_once(craft: xc.Craft, images: np.ndarray) -> None:
    """However many numbers are tried: each costs a pass of the whole images, for its quality."""
    import xplique_craft.explanation.number_of_concepts as module

    calls: list[int] = []
    true = module.rows_of

    def counted(*given: Any) -> Any:
        calls.append(1)
        return true(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "rows_of", counted)
        found = xc.choose_number_of_concepts(craft, images, 0, (2, 3, 4), folds=2)
    assert len(calls) == 1
    assert all(one.purity is None for one in found.tried)


def test_the_craft_stays_as_it_is(craft: xc.Craft, found: NumberOfConcepts) -> None:
    assert found.recommended != craft.number_of_concepts == 3
    assert craft._concepts is None


def test_without_held_out_images(craft: xc.Craft, images: np.ndarray) -> None:
    found = xc.choose_number_of_concepts(craft, images, 0, (2, 4), held_out=None, folds=2)
    assert (found.number_of_images, found.number_held_out) == (30, 0)
    assert found.tried[0].quality.number_of_images == 30


def test_photographs_are_those_of_the_held_out_images(craft: xc.Craft, images: np.ndarray) -> None:
    """Given or restored is the same, though one is picked out of all and the other made of some."""
    colour = keras.Input((6, 6, 3))
    judge = keras.Model(colour, keras.layers.GlobalAveragePooling2D()(colour))

    def restore(some: np.ndarray) -> np.ndarray:
        return np.rint(255 * some[..., :3]).astype(np.uint8)

    given = {"judge": judge, "shown": 6, "trials": 40, "folds": 2}
    one, other = (
        xc.choose_number_of_concepts(craft, images, 0, (3, 4), photographs=p, **given)
        for p in (restore, restore(images))
    )
    assert [row.purity for row in one.tried] == [row.purity for row in other.tried]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"numbers": []}, "numbers must hold at least one"),
        ({"numbers": (1, 3)}, "numbers must be at least 2"),
        ({"class_id": 1}, "Only 0 of 30 images are predicted as class 1"),
        ({"folds": 22}, "folds must be at most the number of photographs, 21"),
        ({"numbers": (4, 500)}, "craft must be fitted on more images"),
        ({"judge": eyes(), "held_out": 0.1}, "judge needs crops of at least 5 images, and 3 are"),
        ({"judge": eyes(), "trials": 24}, "trials must be at least one for each of 25 concepts"),
        ({"held_out": 1.0}, "held_out must be in"),
    ],
)
def test_what_is_refused(
    craft: xc.Craft, images: np.ndarray, given: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        xc.choose_number_of_concepts(craft, images, **{"class_id": 0, **given})


def test_the_explained_model_is_no_judge(craft: xc.Craft, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="judge must be another network"):
        xc.choose_number_of_concepts(craft, images, 0, judge=craft.model)


# ------------------------------------------------------------------------------ what is shown of it
def test_the_table(found: NumberOfConcepts) -> None:
    lines = found.table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["2", "**4**", "6"]
    assert lines[0].endswith("| purity |")


def test_the_figure(found: NumberOfConcepts) -> None:
    figure = plots.number_of_concepts(found)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3
    faithful, stable, pure = figure.axes
    lines = {line.get_label(): line for ax in figure.axes for line in ax.get_lines()}
    np.testing.assert_allclose(lines["agreement"].get_xdata(), [2, 4, 6])
    np.testing.assert_allclose(
        lines["explained share"].get_ydata(),
        [one.quality.explained_share.value for one in found.tried],
    )
    np.testing.assert_allclose(
        lines["redundancy (floor)"].get_ydata(), [one.redundancy.value for one in found.tried]
    )
    assert [ax.get_title(loc="left") for ax in (faithful, stable, pure)] == [
        "Faithful to the model",
        "The same again",
        "Of one kind each",
    ]
    unjudged = replace(found, tried=[replace(one, purity=None) for one in found.tried])
    assert len(plots.number_of_concepts(unjudged).axes) == 2
    assert "purity" not in unjudged.table()
    with pytest.raises(TypeError, match="result must be what choose_number_of_concepts returns"):
        plots.number_of_concepts(found.tried)  # type: ignore[arg-type]
