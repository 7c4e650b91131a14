"""Plots: one style for one concept, bars that add up, axes back, nothing left in pyplot."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from skimage import data

from xplique_craft import plots
from xplique_craft.results import ConceptCard, Contributions, Estimate, ImageView, Importance

PHI = np.array([0.5, -1.25, 3.0, 0.25])


def make_view(photograph=None, **changes):
    photograph = data.astronaut()[:120, :160] if photograph is None else photograph
    height, width = photograph.shape[:2]
    maps = np.zeros((height, width, 4), np.float32)
    maps[20:60, 30:90, 2] = 1.0
    maps[..., 0] = 0.3
    numbers = {"phi": PHI, "base": -0.5, "residual": 1.0, "gap": 0.0, "score": 3.0} | changes
    return ImageView(photograph, maps, title="astronaut", prediction="astronaut", **numbers)


def make_card(**changes):
    values = {
        "concept": 2,
        "share": 0.4,
        "importance": Estimate(0.5, 0.4, 0.6),
        "estimation": (0.45, 0.55),
        "crops": [data.astronaut()[:40, :80], data.astronaut()[:50, :50]],
        "crop_coefficients": [0.9, 0.8],
        "coefficients": np.array([0.0, 0.0, 1.0, 2.0]),
    }
    return ConceptCard(**(values | changes))


def make_importance(**changes):
    values = {
        "per_image": np.array([[0.1, 0.6, 0.3]]),
        "overall": np.array([0.1, 0.6, 0.3]),
        "estimation_interval": np.array([[0.08, 0.12], [0.55, 0.65], [0.28, 0.32]]),
        "image_interval": np.array([[0.0, 0.2], [0.4, 0.8], [0.2, 0.4]]),
        "method": "sobol total",
        "evaluations": 100,
        "exact": False,
    }
    return Importance(**(values | changes))


@pytest.fixture(autouse=True)
def nothing_in_pyplot():
    yield
    assert plt.get_fignums() == []


# --- style


def test_styles_are_distinct_for_56_ranks():
    pairs = {(plots.concept_style(r).color, plots.concept_style(r).hatch) for r in range(56)}
    assert len(pairs) == 56


def test_neighbours_differ_in_colour_pattern_marker_and_dashes():
    for first in range(40):
        styles = [plots.concept_style(rank) for rank in range(first, first + 7)]
        for part in ("color", "pattern", "hatch", "marker", "dashes"):
            assert len({getattr(style, part) for style in styles}) == 7, part


def test_negative_rank_is_refused():
    with pytest.raises(ValueError, match="rank must be at least 0, received -1"):
        plots.concept_style(-1)


def test_label_is_the_index_in_the_bank():
    assert plots.concept_label(17) == "C17"


def test_histogram_counts_every_finite_image():
    counts, edges = plots.histogram_bins(np.array([0.0, 0.1, 0.9, 1.0, np.nan]), bins=2)
    np.testing.assert_array_equal(counts, [2, 2])
    np.testing.assert_allclose(edges, [0.0, 0.5, 1.0])


def test_histogram_of_a_silent_concept_has_one_full_bin():
    counts, edges = plots.histogram_bins(np.zeros(5), bins=4)
    np.testing.assert_array_equal(counts, [5, 0, 0, 0])
    assert edges[-1] == 1.0


def test_histogram_of_signed_coefficients_runs_from_the_least_to_the_largest():
    counts, edges = plots.histogram_bins(np.array([-2.0, -1.9, 0.5, 2.0]), bins=2)
    np.testing.assert_array_equal(counts, [2, 2])
    np.testing.assert_allclose(edges, [-2.0, 0.0, 2.0])
    counts, edges = plots.histogram_bins(np.array([-3.0, -2.5, -1.0]), bins=2)
    np.testing.assert_array_equal(counts, [2, 1])
    np.testing.assert_allclose(edges, [-3.0, -2.0, -1.0])
    counts, edges = plots.histogram_bins(np.array([-3.0, -3.0]), bins=2)
    assert counts.sum() == 2
    assert edges[0] == -3.0


# --- steps


def test_steps_run_from_base_to_score_largest_first():
    steps = plots.waterfall_steps(PHI, -0.5, 1.0, 3.0, 0.0)
    assert [step.kind for step in steps] == ["base", "residual", *["concept"] * 4, "score"]
    assert [step.concept for step in steps[2:-1]] == [2, 1, 0, 3]
    assert steps[0].stop == -0.5
    for before, after in pairwise(steps):
        assert after.start == pytest.approx(before.stop)
    assert sum(step.value for step in steps[:-1]) == pytest.approx(3.0)


def test_many_concepts_are_summed_in_one_step():
    steps = plots.waterfall_steps(PHI, -0.5, 1.0, 3.0, 0.0, max_concepts=2)
    others = steps[-2]
    assert others.kind == "others"
    assert [member.concept for member in others.members] == [0, 3]
    assert others.value == 0.75
    assert others.stop == pytest.approx(3.0)


def test_others_never_stands_for_a_single_concept():
    steps = plots.waterfall_steps(PHI, -0.5, 1.0, 3.0, 0.0, max_concepts=3)
    assert [step.concept for step in steps[2:-1]] == [2, 1, 0, 3]


def test_gap_has_a_step_only_where_it_can_be_seen():
    seen = plots.waterfall_steps(PHI, -0.5, 1.0, 3.01, 0.01)
    unseen = plots.waterfall_steps(PHI, -0.5, 1.0, 3.0001, 0.0001)
    assert (seen[-2].kind, seen[-2].value, seen[-2].stop) == ("gap", 0.01, 3.01)
    assert [step.kind for step in unseen].count("gap") == 0


def test_numbers_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"must be the score, received 3 against a score of 4"):
        plots.waterfall_steps(PHI, -0.5, 1.0, 4.0, 0.0)


def test_nan_is_refused_with_what_to_look_at():
    with pytest.raises(ValueError, match="finite numbers, received NaN or infinity"):
        plots.waterfall_steps(PHI, np.nan, 1.0, 4.0, 0.0)


def test_no_concepts_to_show_is_refused():
    with pytest.raises(ValueError, match="max_concepts must be at least 1, received 0"):
        plots.waterfall_steps(PHI, -0.5, 1.0, 3.0, 0.0, max_concepts=0)


@pytest.mark.parametrize("number", [1, 3, 12, 30])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_printed_values_add_up_to_the_last_digit(number, scale):
    rng = np.random.default_rng(number)
    for _ in range(50):
        phi = scale * rng.standard_normal(number)
        base, residual, gap = scale * rng.standard_normal(3) * (1.0, 1.0, 1e-4)
        steps = plots.waterfall_steps(
            phi, base, residual, base + residual + phi.sum() + gap, gap, max_concepts=8
        )
        decimals = plots.decimals_for(steps)
        unit = 10**decimals
        printed = plots.displayed_steps(steps, decimals)
        units = [round(step.value * unit) for step in printed]
        assert sum(units[:-1]) == units[-1]
        assert abs(printed[-1].value - steps[-1].value) <= 0.5001 / unit
        true = {step.concept: step.value for step in steps if step.kind == "concept"}
        for step in printed:
            if step.kind == "concept":
                # one concept alone has nobody to share what rounding leaves
                assert abs(step.value - true[step.concept]) <= (2.0 if number == 1 else 1.0) / unit
            if step.kind == "others":
                members = sum(round(member.value * unit) for member in step.members)
                assert members == round(step.value * unit)


def test_contributions_are_averaged_over_images():
    phi = np.array([[1.0, 2.0], [3.0, 0.0]])
    base, residual = np.array([0.0, 1.0]), np.array([0.5, 0.5])
    contributions = Contributions(
        phi, base, residual, base + residual + phi.sum(1), base * 0, phi * 0, 0, True
    )
    steps = plots.waterfall_steps_of(contributions)
    assert [step.value for step in steps] == [0.5, 0.5, 2.0, 1.0, 4.0]


# --- axes


def test_waterfall_draws_every_step_in_its_concepts_colour():
    ax = plots.waterfall(make_view())
    bars = [patch for patch in ax.patches if patch.get_width() != 0.0]
    np.testing.assert_allclose([bar.get_width() for bar in bars], [1.0, 3.0, -1.25, 0.5, 0.25])
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(3.0)
    assert to_hex(bars[1].get_facecolor()) == plots.concept_style(2).color
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["base", "residual", "C2", "C1", "C0", "C3", "score"]
    assert ax.texts[-1].get_text() == "3.000"


def test_waterfall_follows_the_ranks():
    ax = plots.waterfall(make_view(), ranks=[3, 2, 0, 1])
    assert to_hex(ax.patches[1].get_facecolor()) == plots.concept_style(0).color
    assert ax.patches[2].get_hatch() == plots.concept_style(2).hatch


def test_axes_that_are_given_are_drawn_on_and_returned():
    ax = Figure().add_subplot()
    assert plots.waterfall(make_view(), ax=ax) is ax
    assert len(ax.patches) == 5


def test_importance_bars_are_sorted_and_show_both_intervals_apart():
    ax = plots.importance_bars(make_importance())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["C1", "C2", "C0"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.6, 0.3, 0.1])
    images, sampling = ax.lines[0], ax.lines[1]
    np.testing.assert_allclose(images.get_xdata(), [0.4, 0.8])
    np.testing.assert_allclose(sampling.get_xdata(), [0.55, 0.65])
    assert sampling.get_linewidth() > images.get_linewidth()
    assert ax.get_xlabel() == "Sobol total index"


def test_exact_importance_says_that_nothing_was_sampled():
    ax = plots.importance_bars(make_importance(exact=True))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["90% interval over images", "exact, nothing sampled"]


def test_undefined_importance_comes_last_and_is_named():
    ax = plots.importance_bars(make_importance(overall=np.array([np.nan, 0.6, 0.3])))
    assert [text.get_text() for text in ax.texts] == ["0.600", "0.300", "not defined"]


@pytest.mark.parametrize(
    ("exact", "known", "meanings"),
    [
        (True, True, ["90% interval over images", "exact, nothing sampled"]),
        (False, True, ["90% interval over images", "90% interval of the sampling"]),
        (False, False, ["90% interval over images"]),
    ],
)
def test_importance_bars_say_which_intervals_they_draw(exact, known, meanings):
    overall = np.array([0.6, 0.3])
    interval = np.stack([0.9 * overall, 1.1 * overall], axis=1)
    sampled = interval if known else np.full((2, 2), np.nan)
    importance = Importance(overall[None], overall, sampled, interval, "sobol total", 8, exact)
    ax = plots.importance_bars(importance)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == meanings
    assert len(ax.lines) == (4 if exact or known else 2)


def test_activation_histogram_counts_images():
    ax = plots.activation_histogram(make_card(), bins=2, rank=0)
    np.testing.assert_array_equal([bar.get_height() for bar in ax.patches], [2, 2])
    assert to_hex(ax.patches[0].get_facecolor()) == plots.concept_style(0).color
    assert "C2" in ax.get_xlabel()


def test_overlay_is_as_opaque_as_the_concept_is_active():
    view = make_view()
    ax = plots.concept_overlay(view.photograph, view.maps, [2, 0, 1])
    washes = [np.asarray(image.get_array()) for image in ax.images[1:]]
    assert washes[0].shape == (120, 160, 4)
    assert washes[0][40, 60, 3] == pytest.approx(0.62)
    assert washes[0][0, 0, 3] == 0.0
    assert washes[1][0, 0, 3] == pytest.approx(0.62 * 0.3)
    assert washes[2].max(axis=(0, 1))[3] == 0.0  # an absent concept leaves no trace
    # "C0" is outlined at half of its 0.3; and what is shown is said.
    assert [text.get_text() for text in ax.texts] == ["C2", "C0", "activation"]
    for shows, said in (("relevance", ["C2", "relevance"]), (None, ["C2"])):
        ax = plots.concept_overlay(view.photograph, view.maps, [2], shows=shows)
        assert [text.get_text() for text in ax.texts] == said


def test_overlay_refuses_maps_of_another_shape():
    view = make_view()
    with pytest.raises(ValueError, match=r"\(120, 160\), received \(160, 120, 4\)"):
        plots.concept_overlay(view.photograph, view.maps.transpose(1, 0, 2), [0])
    with pytest.raises(ValueError, match=r"indices below 4, received \[4\]"):
        plots.concept_overlay(view.photograph, view.maps, [4])


def test_crops_stand_in_a_row_and_keep_their_proportions():
    ax = plots.concept_crops(make_card())
    extents = [image.get_extent() for image in ax.images]
    np.testing.assert_allclose(extents, [(0.0, 2.0, 0.0, 1.0), (2.06, 3.06, 0.0, 1.0)])
    assert ax.get_title(loc="left").startswith("C2   +40.0%")


def test_figures_can_be_saved(tmp_path):
    path = tmp_path / "overlay.png"
    view = make_view()
    plots.concept_overlay(view.photograph, view.maps, [2]).figure.savefig(path)
    assert plt.imread(path).shape[2] == 4
