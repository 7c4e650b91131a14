"""Results: how they write their numbers, and what a tree says of a concept."""

from dataclasses import replace

import pytest
from tree_kit import make_tree

from xplique_craft.report import numbers as printed
from xplique_craft.results import BranchState, Estimate, EvaluationPath, numbers

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.3816, False, "38.2%"),
        (0.3816, True, "+38.2%"),
        (-0.05, True, "-5.0%"),
        (-0.0001, True, "0.0%"),
        (NAN, True, "not defined"),
        (float("inf"), False, "not defined"),
    ],
)
def test_shares(value: float, signed: bool, text: str) -> None:
    """As text with a hyphen, on the page with a true minus sign; never a negative zero."""
    assert numbers.percent(value, signed=signed) == text
    assert printed.percent(value, signed=signed) == text.replace("-", "\N{MINUS SIGN}")


def test_estimates() -> None:
    assert Estimate(0.25, -0.0001, 0.3).as_percent() == "25.0% [0.0, 30.0]"
    assert Estimate(NAN, 0.0, 1.0).as_percent() == str(Estimate(NAN, 0.0, 1.0)) == "not defined"
    assert str(Estimate(0.25, 0.2, 0.3)) == "0.250 [0.200, 0.300]"


@pytest.mark.parametrize(
    ("state", "number", "text"),
    [
        (BranchState.TAKEN_APART, None, "taken apart"),
        (BranchState.SMALL_SHARE, 0.05, "share below 5%"),
        (BranchState.DEPTH_REACHED, 2, "depth 2 reached"),
        (BranchState.OF_ONE_PIECE, None, "of one piece"),
        (BranchState.PARTS_EXPLAIN_LITTLE, 1.234, "its parts leave 123% of it unexplained"),
        (BranchState.FEW_CROPS, None, "too few crops hold it"),
        (BranchState.NO_EARLIER_LAYER, None, "there is no earlier layer"),
    ],
)
def test_states_in_words(state: BranchState, number: float | None, text: str) -> None:
    branch = replace(make_tree().branches[1], state=state, state_number=number)
    assert branch.state_text == text
    assert branch.facts.endswith(f"mixedness 0.03, {text}")


def test_every_state_has_its_words() -> None:
    tested = test_states_in_words.pytestmark[0].args[1]
    assert {state for state, _, _ in tested} == set(BranchState)


def test_paths() -> None:
    assert str(EvaluationPath("folded", "")) == "folded"
    assert str(EvaluationPath("plain", "the operator is its own")) == (
        "plain (the operator is its own)"
    )
