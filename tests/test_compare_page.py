"""A comparison drawn: figures, the page, the console's command."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal
from PIL import Image
from report_kit import Elements
from typer.testing import CliRunner, Result

from xplique_craft import plots
from xplique_craft._random import Draw, generator
from xplique_craft.comparison import MEASURES, Comparison, MethodScores
from xplique_craft.console.app import app
from xplique_craft.console.compare import _divided, _methods
from xplique_craft.plots.compare import blend, drawn_maps, title_of
from xplique_craft.report import write_comparison
from xplique_craft.results import Estimate

NAMES = ("GradCAM", "Rise", "random", "ConceptActivation", "mine")


def method(place: int, **changes: object) -> MethodScores:
    rng = np.random.default_rng(place)
    values = {
        "name": NAMES[place],
        "output": (None, None, None, "activation", "relevance")[place],
        "seconds": 0.01 * 10**place,
        "passes": (1, 500, 0, 1, None)[place],
        "per_image": {},
        "measures": {
            "deletion": Estimate(0.1 * place + 0.05, 0.1 * place, 0.1 * place + 0.1),
            "insertion": Estimate(0.8 - 0.1 * place, 0.7 - 0.1 * place, 0.9 - 0.1 * place),
        },
        "curves": {
            "deletion": np.linspace(1.0, 0.0, 6)[None] * rng.random((3, 1)),
            "insertion": np.linspace(0.0, 1.0, 6)[None] * rng.random((3, 1)),
        },
        "maps": rng.standard_normal((2, 12, 18)).astype(np.float32),
        "is_floor": place == 2,
    }
    return MethodScores(**(values | changes))


@pytest.fixture
def comparison() -> Comparison:
    rng = np.random.default_rng(0)
    return Comparison(
        model_name="small <cnn>",
        layer="conv4",
        class_name="tench & co",
        number_of_images=3,
        activation="softmax",
        measures=MEASURES[:2],
        methods=[method(place) for place in range(len(NAMES))],
        photographs=rng.integers(0, 256, (2, 24, 36, 3), np.uint8),
        titles=["first", "second"],
        seed=7,
    )


# ---------------------------------------------------------------------------------------- figures
def test_titles_say_activation_or_relevance(comparison: Comparison) -> None:
    titles = [title_of(one) for one in comparison.methods]
    assert titles == ["GradCAM", "Rise", "random (floor)", "ConceptActivation", "mine (relevance)"]


@pytest.mark.parametrize("measure", ["deletion", "insertion"])
def test_curves_are_means_over_images(comparison: Comparison, measure: str) -> None:
    ax = plots.fidelity_curves(comparison, measure)
    assert len(ax.lines) == 5
    for line, one in zip(ax.lines, comparison.methods, strict=True):
        assert_array_equal(line.get_xdata(), np.linspace(0.0, 100.0, 6))
        expected = one.curves[measure].mean(axis=0)
        assert_array_equal(line.get_ydata(), expected)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [
        f"GradCAM   {0.05 if measure == 'deletion' else 0.8:.3f}",
        "other methods",
        f"random (floor)   {0.25 if measure == 'deletion' else 0.6:.3f}",
        f"ConceptActivation   {0.35 if measure == 'deletion' else 0.5:.3f}",
        f"mine (relevance)   {0.45 if measure == 'deletion' else 0.4:.3f}",
    ]
    assert ax.lines[2].get_linestyle() == ":" != ax.lines[1].get_linestyle()
    assert "low is good" in ax.get_title(loc="left") or measure == "insertion"
    assert plt.get_fignums() == []


@pytest.mark.parametrize(("measure", "first"), [("deletion", "GradCAM"), ("insertion", "GradCAM")])
def test_scores_are_sorted_best_first(comparison: Comparison, measure: str, first: str) -> None:
    ax = plots.method_scores(comparison, measure)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == first
    assert sorted(labels) == sorted(title_of(one) for one in comparison.methods)
    texts = [text.get_text() for text in ax.texts]
    assert texts[0].endswith("0.010 s")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first is at the top


def test_maps_side_by_side(comparison: Comparison) -> None:
    figure = plots.maps_side_by_side(comparison, columns=4)
    assert isinstance(figure, Figure)
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles == [
        title
        for image in ("first", "second")
        for title in (image, *map(title_of, comparison.methods))
    ]
    assert plt.get_fignums() == []


def test_what_a_map_has_everywhere_is_not_drawn() -> None:
    """Of Rise, whose maps are nowhere 0; what has signs stays as it is."""
    maps = np.array([[[5.0, 6.0]], [[7.0, 7.5]]], np.float32)
    drawn, scale = drawn_maps(method(1, maps=maps))
    assert_array_equal(drawn, [[[0.0, 1.0]], [[0.0, 0.5]]])
    assert scale == pytest.approx(1.0, abs=0.02)
    assert_array_equal(drawn_maps(method(1, maps=maps - 8.0))[0], maps - 8.0)
    dark, scale = drawn_maps(method(1, maps=0.0 * maps))
    assert scale == 1.0
    assert_array_equal(dark, 0.0)


def test_orange_is_for_and_blue_against() -> None:
    picture = blend(np.full((1, 3, 3), 100, np.uint8), np.array([[1.0, 0.0, -1.0]]), 1.0)
    red, _, blue = picture[0, 0].astype(int)
    assert red > blue + 100
    red, _, blue = picture[0, 2].astype(int)
    assert blue > red + 100
    assert len(set(picture[0, 1].tolist())) == 1


def test_figures_of_what_was_not_measured(comparison: Comparison) -> None:
    with pytest.raises(ValueError, match="one with curves, 'deletion' or 'insertion', received"):
        plots.fidelity_curves(comparison, "stability")
    with pytest.raises(ValueError, match="must be 'deletion' or 'insertion', received 'stability'"):
        plots.method_scores(comparison, "stability")
    with pytest.raises(ValueError, match="must be 'deletion' or 'insertion', received 'speed'"):
        plots.method_scores(comparison, "speed")
    flat = replace(comparison, measures=(replace(MEASURES[0], curve=None), MEASURES[1]))
    with pytest.raises(ValueError, match="one with curves, 'insertion', received 'deletion'"):
        plots.fidelity_curves(flat, "deletion")
    bare = replace(comparison, photographs=comparison.photographs[:0], titles=[])
    with pytest.raises(ValueError, match="`comparison` must have photographs"):
        plots.maps_side_by_side(bare)


def test_curves_of_a_measure_of_its_own(comparison: Comparison, tmp_path: Path) -> None:
    """Which some methods have, in steps of its own; there are no others."""
    blur = replace(MEASURES[0], key="blur", name="Blurring", better=1, curve="pixels blurred")
    curves = {"blur": np.array([[1.0, 0.5, 0.0], [0.5, 0.5, 0.5]])}
    methods = [
        replace(one, curves=curves, measures={"blur": Estimate(0.5, 0.4, 0.6)})
        for one in comparison.methods[2:4]
    ]
    methods.append(replace(comparison.methods[0], curves={}, measures={}))
    own = replace(comparison, measures=(blur,), methods=methods)
    ax = plots.fidelity_curves(own, "blur")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.75, 0.5, 0.25]] * 2
    assert_array_equal(ax.lines[0].get_xdata(), [0.0, 50.0, 100.0])
    assert ax.get_xlabel() == "pixels blurred (%)"
    assert ax.get_title(loc="left") == "Blurring (high is good)"
    text = write_comparison(own, tmp_path / "own.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert "<dd>softmax, 2 steps</dd>" in text
    assert text.count('<svg class="figure"') == 1 + 1
    bare = replace(own, measures=(replace(blur, curve=None),))
    bare = replace(bare, methods=[replace(one, curves={}) for one in methods])
    text = write_comparison(bare, tmp_path / "bare.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert "<dd>softmax</dd>" in text
    assert "Curves" not in text


# --------------------------------------------------------------------------- what has no numbers
@pytest.fixture
def incomplete(comparison: Comparison) -> Comparison:
    """Rise failed; GradCAM, by another name, has no instability; the floor is called chance."""
    none = Estimate(np.nan, np.nan, np.nan)
    own = {"stability": Estimate(0.2, 0.1, 0.3)}
    cam, _, chance, *concepts = comparison.methods
    methods = [
        replace(cam, name="cam", measures=cam.measures | {"stability": none}),
        MethodScores("Rise", None, failed="its <maps> are not finite"),
        replace(chance, name="chance"),
        *(replace(one, measures=one.measures | own) for one in concepts),
    ]
    return replace(comparison, methods=methods, measures=(*MEASURES[:2], MEASURES[3]))


def test_what_failed_is_no_method_to_draw(incomplete: Comparison) -> None:
    names = ["cam", "chance", "ConceptActivation", "mine"]
    assert [one.name for one in incomplete.measured] == names
    assert [one.name for one in incomplete.heatmaps] == ["cam"]
    ax = plots.fidelity_curves(incomplete, "deletion")
    assert [text.get_text().split("  ")[0] for text in ax.get_legend().get_texts()] == [
        "cam", "chance (floor)", "ConceptActivation", "mine (relevance)"
    ]  # fmt: skip
    titles = {ax.get_title() for ax in plots.maps_side_by_side(incomplete).figure.axes}
    assert "Rise" not in titles
    assert {"cam", "chance (floor)", "mine (relevance)"} <= titles


def test_what_is_not_defined_is_no_score(incomplete: Comparison) -> None:
    ax = plots.method_scores(incomplete, "stability")
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["ConceptActivation", "mine (relevance)"]
    none = replace(incomplete, methods=incomplete.methods[:3])
    with pytest.raises(ValueError, match=r"'stability' was not measured: .* the same everywhere"):
        plots.method_scores(none, "stability")
    assert none.best("stability") is None
    assert incomplete.best("stability").name == "ConceptActivation"
    assert incomplete.best("deletion").name == "cam"


def test_the_page_of_what_failed(incomplete: Comparison, tmp_path: Path) -> None:
    text = write_comparison(incomplete, tmp_path / "page.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert 'colspan="5">not measured: its &lt;maps&gt; are not finite</td>' in text
    (line,) = re.findall(r"<tr><th scope=\"row\">cam</th>.*</tr>", text)
    assert line.endswith("<td>\N{EN DASH}</td></tr>")
    assert re.search("nan|not defined", line) is None
    assert "Rise of first" not in text
    concepts = re.findall(r'<figure class="own"><img src="[^"]*" alt="([^"]*) of first"', text)
    assert concepts == ["ConceptActivation", "mine (relevance)"]
    none = replace(incomplete, methods=incomplete.methods[:3])
    text = write_comparison(none, tmp_path / "none.html").read_text(encoding="utf-8")
    assert text.count('<svg class="figure"') == 2 + 2  # of instability there is no figure


def test_the_page_says_how_many_layers_were_at_random(
    comparison: Comparison, tmp_path: Path
) -> None:
    after = {"randomisation": Estimate(0.2, 0.1, 0.3), "mu_fidelity": Estimate(0.5, 0.4, 0.6)}
    methods = [replace(one, measures=one.measures | after) for one in comparison.methods]
    said = "Here: 1 of 3 layers with weights."
    columns = (*MEASURES[:3], replace(MEASURES[4], meaning=said, number_of_images=2))
    known = replace(comparison, methods=methods, measures=columns)
    text = write_comparison(known, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<dd>{said}</dd>" in text
    assert "<dd>3 <small>2 for randomisation</small></dd>" in text
    assert "maps at random do not score 0. Their row is the floor" in text


# ------------------------------------------------------------------------------------------- page
def test_the_page(comparison: Comparison, tmp_path: Path) -> None:
    path = write_comparison(comparison, tmp_path / "new" / "compare.html")
    text = path.read_text(encoding="utf-8")
    page = Elements(text)
    assert page.mistakes == []
    assert re.search(r"https?:|[\"'(]//|@import|url\((?!#)|<script", text) is None
    assert "<title>Concept maps and heatmaps of tench &amp; co</title>" in text
    rows = [row for row in page.found if row["tag"] == "tr"]
    assert len(rows) == 1 + len(NAMES)
    assert sum("own" in row.get("class", "") for row in rows) == 2
    pictures = [one for one in page.found if one["tag"] == "img"]
    assert len(pictures) == 2 * (1 + len(NAMES))
    assert [one["alt"] for one in pictures[:3]] == ["first", "GradCAM of first", "Rise of first"]
    assert text.count('<svg class="figure"') == 2 + 2
    assert "Deletion: the best concept map has 0.350, behind the best heatmap, GradCAM" in text
    assert "not counted" in text
    assert "mine (relevance)" in text
    again = write_comparison(comparison, tmp_path / "again.html").read_text(encoding="utf-8")
    assert again == text


def test_a_page_without_pictures_and_without_heatmaps(
    comparison: Comparison, tmp_path: Path
) -> None:
    bare = replace(
        comparison,
        photographs=comparison.photographs[:0],
        titles=[],
        methods=[replace(one, maps=one.maps[:0]) for one in comparison.methods[3:]],
    )
    text = write_comparison(bare, tmp_path / "bare.html", title="Ours").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert "<img" not in text
    assert "the best heatmap" not in text
    assert "<title>Ours</title>" in text


def test_pages_that_cannot_be_written(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"must be what `xplique_craft\.compare` returns"):
        write_comparison("comparison", tmp_path / "a.html")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_size_of_image must be at least 32, received 3"):
        write_comparison(comparison, tmp_path / "a.html", max_size_of_image=3)
    with pytest.raises(OSError, match="`path` must be a file that can be written"):
        write_comparison(comparison, tmp_path)


# ---------------------------------------------------------------------------------------- console
@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red (class 0) or blue (class 1), of pictures divided by 255."""
    import keras

    pixels = keras.Input((28, 28, 3))
    x = keras.layers.Conv2D(3, 1, activation="relu", name="colours")(pixels)
    x = keras.layers.AveragePooling2D(4, name="cells")(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(pixels, keras.layers.Dense(2, name="logits")(x))
    model.get_layer("colours").set_weights([np.eye(3)[None, None], np.zeros(3)])
    model.get_layer("logits").set_weights([np.array([[9, 0], [1, 1], [0, 9]]), np.zeros(2)])
    path = tmp_path_factory.mktemp("model") / "red_or_blue.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight red pictures and two blue ones."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(10):
        pixels = rng.integers(0, 60, (28, 28, 3), np.uint8)
        top, left = rng.integers(0, 16, 2)
        pixels[top : top + 12, left : left + 12, 0 if number < 8 else 2] = 250
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_command(model_file: Path, folder: Path, tmp_path: Path) -> None:
    result = run(
        model_file, folder, "--class", 0, "--output", tmp_path, "--preprocess", "unit", "-q",
        "--methods", "GradientInput,ConceptActivation, random", "--concepts", 2, "--images", 2,
        "--save", tmp_path / "saved",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    again = [str(tmp_path / "saved"), "--output", str(tmp_path / "again.html")]
    assert CliRunner().invoke(app, ["report", *again]).exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "compare.html").read_bytes()
    assert "8 of 10 pictures are predicted as the class" in result.stdout
    assert "found in 6, and methods compared on 2 others." in result.stdout
    for name in ("GradientInput", "ConceptActivation", "random"):
        assert re.search(rf"^{name} .*\[", result.stdout, re.MULTILINE)
    text = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert "red_or_blue" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--class", 7), "class must be below the number of the model's outputs, 2, received 7"),
        (("--class", 1), "Only 2 of 10 pictures are predicted as the class, and at least 3"),
        (("--class", 0, "--methods", "Salience"), "'Salience', which is none of .* Did you mean"),
        (("--class", 0, "--held-out", -0.5), r"held-out must be in \(0, 0\.9\], received -0\.5"),
    ],
)
def test_errors_of_the_command(
    model_file: Path, folder: Path, tmp_path: Path, arguments: tuple, message: str
) -> None:
    result = run(
        model_file, folder, "--output", tmp_path, "--preprocess", "unit", "-q", "--concepts", 2,
        *arguments,
    )  # fmt: skip
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert re.search(message, errors[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "ConceptActivation,Salience"), "'Salience', which is none of"),
        (("--methods", "ConceptDetailed", "--factorizer", "kmeans"), "needs the gradient of the"),
    ],
)
def test_names_are_checked_before_anything_is_fitted(
    model_file: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple,
    message: str,
) -> None:
    fitted = []
    monkeypatch.setattr("xplique_craft.craft.Craft.fit", lambda *given: fitted.append(given))
    result = run(
        model_file, folder, "--class", 0, "--output", tmp_path, "--preprocess", "unit", "-q",
        *arguments,
    )  # fmt: skip
    assert result.exit_code == 2
    assert message in result.stderr
    assert fitted == []


def test_names_between_commas() -> None:
    assert _methods("all") is None
    assert _methods(" GradCAM, ConceptActivation ,") == ["GradCAM", "ConceptActivation"]


def test_pictures_are_divided_by_the_seed() -> None:
    rows = np.arange(100, 120)
    fitted, measured = _divided(rows, 0.4, 5, 0, 50)
    order = generator(0, Draw.HELD_OUT).permutation(rows)
    assert_array_equal(fitted, np.sort(order[8:]))
    assert_array_equal(measured, np.sort(order[:5]))
    again = _divided(rows, 0.4, 5, 0, 50)
    assert_array_equal(measured, again[1])
    assert set(_divided(rows, 0.4, 5, 1, 50)[1]) != set(measured)
