"""Words for how faithful an explanation is: they follow from the stated thresholds."""

from dataclasses import replace

import pytest
from report_kit import make_explanation

from xplique_craft.report.verdict import overall_verdict, read_quality
from xplique_craft.results import Estimate

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (1.0, "good"),
        (0.97, "good"),
        (0.969, "fair"),
        (0.9, "fair"),
        (0.89, "low"),
        (NAN, "not defined"),
    ],
)
def test_levels_of_agreement(value, level):
    quality = replace(make_explanation().quality, agreement=Estimate(value, value, value))
    assert read_quality(quality)[0].level == level


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (0.85, "good"),
        (1.15, "good"),
        (0.84, "fair"),
        (1.35, "fair"),
        (1.36, "low"),
        (-0.2, "low"),
        (NAN, "not defined"),
    ],
)
def test_levels_of_shares(value, level):
    quality = replace(make_explanation().quality, explained_share=Estimate(value, value, value))
    assert read_quality(quality)[2].level == level


def test_an_interval_beyond_the_threshold_is_said():
    quality = make_explanation().quality
    wide = replace(quality, agreement=Estimate(0.98, 0.9, 1.0))
    words = "The concepts alone keep the prediction; with 12 images the interval is wide"
    assert read_quality(wide)[0].words == words
    many = read_quality(replace(wide, number_of_images=400))[0].words
    assert many.endswith("keep the prediction; its interval is not all within the threshold")
    assert read_quality(quality)[0].words == "The concepts alone keep the prediction"
    assert overall_verdict(read_quality(quality)) == "Faithful: all three numbers are good."


@pytest.mark.parametrize(
    ("agreement", "floor", "level"),
    [(1.0, 0.49, "good"), (1.0, 0.5, "fair"), (0.8, 1.0, "low"), (NAN, 1.0, "not defined")],
)
def test_an_agreement_without_concepts_takes_from_that_with_them(agreement, floor, level):
    quality = replace(
        make_explanation().quality,
        agreement=Estimate(agreement, agreement, agreement),
        agreement_without_concepts=Estimate(floor, floor, floor),
    )
    found = read_quality(quality)[0]
    assert found.level == level
    said = f"{floor:.0%} of the predictions stay without any concept" in found.words
    assert said == (level in ("fair", "low"))
    assert found.words.endswith("so this says little") == (level == "fair")
