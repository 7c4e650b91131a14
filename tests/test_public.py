"""The public surface: its names, and what importing it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import xplique_craft as xc

NAMES = [
    "Candidate",
    "ClassDifference",
    "Craft",
    "Split",
    "attributions",
    "candidate_layers",
    "compare",
    "explain_class",
    "factorization",
    "importance",
    "join_models",
    "load_model",
    "measure_prevalence",
    "metrics",
    "plots",
    "report",
    "sanity_check",
    "split_model",
]
MODULES = {
    "xplique_craft.attributions": ["ConceptAttribution"],
    "xplique_craft.comparison": ["compare"],
    "xplique_craft.explanation": ["explain_class"],
    "xplique_craft.factorization": ["NMF"],
    "xplique_craft.importance": ["SobolImportance"],
    "xplique_craft.metrics": ["intruder_test", "binary_choice"],
    "xplique_craft.recursion": ["ConceptNode", "ConceptTree"],
    "xplique_craft.report": ["write_report"],
}
HEAVY = ("tensorflow", "keras", "xplique", "matplotlib", "sklearn", "scipy")
PACKAGE = Path(xc.__file__).parent


def run(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_the_names() -> None:
    assert sorted(xc.__all__) == NAMES
    assert xc.__all__ == sorted(xc.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    assert getattr(xc, name) is not None
    assert name in dir(xc)


@pytest.mark.parametrize("module", MODULES)
def test_names_of_modules(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in MODULES[module]:
        assert name in loaded.__all__
        assert callable(getattr(loaded, name))


def test_names_are_those_of_their_homes() -> None:
    from xplique_craft.craft import Craft
    from xplique_craft.explanation.of_class import explain_class
    from xplique_craft.splitting.split import split_model

    assert xc.Craft is Craft
    assert xc.explain_class is explain_class
    assert xc.split_model is split_model


def test_every_module_says_what_it_offers() -> None:
    """And every name that it says it has."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "__main__.py":
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), name
        module = importlib.import_module(name)
        assert all(hasattr(module, public) for public in getattr(module, "__all__", [])), name


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'xplique_craft' has no attribute 'craft_tf'"):
        _ = xc.craft_tf
    with pytest.raises(ImportError, match="cannot import name 'CraftTf'"):
        from xplique_craft import CraftTf  # noqa: F401


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, xplique_craft; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_what_draws_loads_no_model() -> None:
    """Plots and pages know results alone: no network, no explainer, no factorization is loaded."""
    for stage in ("results", "plots", "report"):
        code = (
            f"import sys, xplique_craft.{stage}; "
            "print([m for m in ('tensorflow', 'keras', 'xplique', 'sklearn') if m in sys.modules])"
        )
        assert run(code) == "[]", stage
    code = "import sys, xplique_craft.results; print('matplotlib' in sys.modules)"
    assert run(code) == "False"


DRAWN_FROM = {
    "results": {"results"},
    "plots": {"results", "plots"},
    "report": {"results", "plots", "report"},
}


@pytest.mark.parametrize("stage", DRAWN_FROM)
def test_what_draws_imports_results_alone(stage: str) -> None:
    """Of the package itself; imports inside functions and under TYPE_CHECKING count."""
    found = set()
    for path in (PACKAGE / stage).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                outer = node.level > 1
                names = [node.module] if node.module else [alias.name for alias in node.names]
                found |= {name.split(".")[0] for name in names} if outer else {stage}
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", None) or node.names[0].name]
                assert not any(name.startswith("xplique") for name in names), path
    assert found == DRAWN_FROM[stage]


def test_star_imports_give_all_names() -> None:
    code = "from xplique_craft import *; print(sorted(n for n in dir() if n[0] != '_'))"
    assert run(code) == str(NAMES)


def test_the_version() -> None:
    from importlib.metadata import version

    assert xc.__version__ == version("xplique-craft")


def test_stages_know_nothing_of_what_draws() -> None:
    """Arrows only go down: of the package itself, each stage imports none of these."""
    above = {"craft", "explanation", "plots", "report", "cli", "_console"}
    stages = [
        "attributions",
        "coding.py",
        "comparison",
        "contributions.py",
        "explainer.py",
        "gates.py",
        "maps.py",
        "metrics",
        "network.py",
        "perturbations.py",
        "quality.py",
        "recursion",
        "relevance.py",
        "representatives.py",
        "results.py",
        "sampling.py",
        "splitting.py",
        "streams.py",
        "tree.py",
        "factorization",
        "importance",
    ]
    for stage in stages:
        path = PACKAGE / stage
        files = [path] if path.suffix else sorted(path.rglob("*.py"))
        assert files
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            guarded = {
                id(node)
                for branch in ast.walk(tree)
                if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
                for node in ast.walk(branch)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.level and id(node) not in guarded:
                    first = (node.module or "").split(".")[0]
                    imported = {first} if first else {alias.name for alias in node.names}
                    assert not imported & above, f"{file.name} imports {imported & above}"
