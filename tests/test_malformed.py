"""
Malformed calls, drawn by a seed: each is answered by a result or by an error of the package's own.

They are made in a process of their own, so that one that hangs or crashes fails the test alone.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import malformed
import numpy as np
import pytest

import xplique_craft as xc
from xplique_craft import (
    atlas,
    attributions,
    comparison,
    demo,
    explanation,
    factorization,
    ground_truth,
    importance,
    metrics,
    plots,
    recursion,
    report,
    results,
    splitting,
)
from xplique_craft.sampling import Crops

ROOT = Path(__file__).parent.parent
FACES: list[ModuleType] = [
    *(xc, atlas, attributions, comparison, demo, explanation, factorization, importance),
    *(ground_truth, metrics, plots, recursion, report, splitting),
]
CLASSES: list[type] = [
    xc.Atlas,
    *(xc.Craft, recursion.ConceptNode, recursion.Child, recursion.ConceptTree, Crops),
    *(attributions.ConceptAttribution, importance.ImportanceMethod, importance.SobolImportance),
    *(factorization.Factorized, factorization.XpliqueFactorizer, results.Importance),
    *(results.Comparison, results.ImageExplanation),
]
NOT_CALLED = {
    "a record that the package makes": (
        "Candidate Split ClassDifference Trials ConceptStyle Step TreeRow Measure MethodScores "
        "Comparison Task NodeShares Factorized ClassDifference DecompositionSettings GrowthSettings"
        " Shapes PictureFolder"
    ),
    "made by another that is called": "ConceptNode ConceptTree Child Growable",
    "abstract": "ConceptMetric MapMeasure Factorizer ImportanceMethod Factorizer.fit",
    "needs an atlas of several classes": "concepts",
    "takes no argument": (
        "PCA build_model load_model check_if_fitted sorted records table summary get_concept_bank"
        " build_transformer load_transformer"
        " write"
    ),
    "only reads what another of plots made": (
        "decimals_for displayed_steps waterfall_steps concept_label"
    ),
    "explained": "type_of_factorizer plot_concept_attribution_maps",
    "the same as fit of the class": "decode",
    "what `grow` gives a node of a checkpoint": "keep_contributions",
}
EXEMPT = {name for names in NOT_CALLED.values() for name in names.split()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the malformed calls of `found` are started."""
    return tmp_path_factory.mktemp("started here")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return _answers(250, seed=11, folder=folder)


def _answers(number: int, seed: int, folder: Path) -> dict[str, Any]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "tests" / "malformed.py"),
            f"--number={number}",
            f"--seed={seed}",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_malformed_calls(found: dict[str, Any]) -> None:
    assert found["bad"] == []
    assert found["counts"]["ERROR"] > 150


def test_malformed_calls_leave_nothing_where_they_are_started(
    found: dict[str, Any], folder: Path
) -> None:
    """Among the values are paths that lead from there, which some of the calls write to."""
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_two_thousand_malformed_calls(tmp_path: Path) -> None:
    found = _answers(2000, seed=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert found["bad"] == []
    assert found["counts"]["ERROR"] > 1500


def test_every_public_name_is_called(found: dict[str, Any]) -> None:
    """A new one has to be added to `malformed._entries`, or here with the reason why not."""
    reached = set(found["reached"])
    public = {
        f"{name}"
        for face in FACES
        for name in face.__all__
        if callable(getattr(face, name)) and not inspect.ismodule(getattr(face, name))
    }
    assert sorted(public - reached - EXEMPT) == []
    methods = {
        f"{kind.__name__}.{name}"
        for kind in CLASSES
        for name, method in inspect.getmembers(kind, callable)
        if not name.startswith("_") and "xplique_craft" in getattr(method, "__module__", "")
    }
    missing = {name for name in methods - reached if name.partition(".")[2] not in EXEMPT}
    assert sorted(missing) == []


# ------------------------------------------------------------------------------- the judge itself
def _verdict(function: Any, argument: str = "value") -> malformed.Verdict:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is is judged
        function()
    return malformed._judge_error(caught.value, argument)


def test_what_is_raw() -> None:
    """An error that other code raises, or that Python raises in the package's own line."""
    raw = malformed.Verdict.RAW
    assert _verdict(lambda: np.zeros(3)[5]) is raw
    assert _verdict(lambda: plots.concept_style.__wrapped__) is raw
    assert _verdict(lambda: results.Importance.select(None, [1])) is raw  # an AttributeError
    own = malformed.Verdict.ERROR
    assert _verdict(lambda: plots.concept_style("x"), "rank") is own  # type: ignore[arg-type]
    assert _verdict(lambda: plots.concept_style("x"), "bins") is malformed.Verdict.UNNAMED


def test_where_nan_is_seen() -> None:
    nan = float("nan")
    for result in (nan, [1.0, {"x": np.array([nan])}], results.Estimate(nan, 0.0, 1.0)):
        assert any(np.isnan(numbers).any() for numbers in malformed.numbers_of(result))
    for result in (1.0, results.Estimate(0.5, nan, nan), "nan", [np.arange(3)]):
        assert not any(np.isnan(numbers).any() for numbers in malformed.numbers_of(result))
