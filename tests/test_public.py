"""The public surface: its names, and what importing it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import xplique_craft as xc

NAMES = [
    "Atlas",
    "Candidate",
    "ClassDifference",
    "Craft",
    "Split",
    "attributions",
    "candidate_layers",
    "choose_number_of_concepts",
    "compare",
    "explain_class",
    "explain_model",
    "factorization",
    "from_craft_tf",
    "from_holistic",
    "ground_truth",
    "importance",
    "join_models",
    "load",
    "load_model",
    "measure_prevalence",
    "metrics",
    "output_fidelity",
    "plots",
    "report",
    "sanity_check",
    "save",
    "split_model",
    "unite",
]
MODULES = {
    "xplique_craft.atlas": ["explain_model"],
    "xplique_craft.attributions": ["ConceptAttribution"],
    "xplique_craft.comparison": ["compare"],
    "xplique_craft.explanation": ["choose_number_of_concepts", "explain_class"],
    "xplique_craft.factorization": ["NMF"],
    "xplique_craft.importance": ["SobolImportance"],
    "xplique_craft.metrics": [
        *("binary_choice", "intruder_test", "output_fidelity", "purity", "stability")
    ],
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
    with pytest.raises(AttributeError, match="No xplique_craft attribute craft_tf"):
        _ = xc.craft_tf
    with pytest.raises(ImportError, match="cannot import name 'CraftTf'"):
        from xplique_craft import CraftTf  # noqa: F401


@pytest.mark.parametrize("module", ["xplique_craft", "xplique_craft.factorization"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    """The table of factorizers is asked by the console, whose help must not wait either."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
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


def test_importing_runs_no_other_file_of_the_package() -> None:
    """And of what Python does not bring, lazy_loader only: so importing stays quick."""
    code = (
        "import sys; before = set(sys.modules); import xplique_craft; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} "
        "- set(sys.stdlib_module_names)), [m for m in sys.modules if 'xplique_craft.' in m])"
    )
    assert run(code) == "['lazy_loader', 'xplique_craft'] []"


def test_the_stub_is_all_that_there_is() -> None:
    """Each public name stands once, in a line of `__init__.pyi` that type checkers export."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    aliases = [a for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    assert [alias.asname for alias in aliases] == [alias.name for alias in aliases]
    assert sorted(alias.name for alias in aliases) == NAMES


def test_factorizers_are_loaded_when_they_are_asked_for() -> None:
    from xplique_craft import factorization
    from xplique_craft.factorization.nmf import NMF

    assert factorization.NMF is NMF
    assert set(factorization.__all__) <= set(dir(factorization))
    with pytest.raises(AttributeError, match=r"No xplique_craft\.factorization attribute Nmf"):
        _ = factorization.Nmf


def test_star_imports_give_all_names() -> None:
    code = "from xplique_craft import *; print(sorted(n for n in dir() if n[0] != '_'))"
    assert run(code) == str(NAMES)


def test_the_version() -> None:
    from importlib.metadata import version

    assert xc.__version__ == version("xplique-craft")
