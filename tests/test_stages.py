"""
Arrows only go down: every import of the package, wherever it stands, leads to a stage below.

The order of the stages is the one that the README draws, from top to bottom.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xplique_craft"
LONGEST = 400  # lines of a file


def stages() -> list[str]:
    """Names of the stages as the README draws them, the highest first."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"^```text\nxplique_craft/\n(.*?)^```", readme, re.M | re.S)
    names = [re.split(r"\s{2,}", line.strip())[0] for line in drawing.splitlines()]
    return [name.rstrip("/").removesuffix(".py") for name in " ".join(names).split()]


def files_of(package: Path) -> list[Path]:
    """All files of the package but its face, which hands names on and loads nothing."""
    return [path for path in sorted(package.rglob("*.py")) if path != package / "__init__.py"]


def targets_of(path: Path, package: Path) -> Iterator[Path]:
    """Files of the package that a file imports: at its top, in functions, for type checkers."""
    inside = path.parent.relative_to(package).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            found = [(part[1:], None) for part in parts if part[0] == package.name]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            if node.level:
                base = [*inside[: len(inside) - node.level + 1], *module]
            elif module[0] == package.name:
                base = module[1:]
            else:
                continue
            found = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, name in found:
            place = package.joinpath(*base)
            if name is not None and (place / f"{name}.py").is_file():
                yield place / f"{name}.py"
            elif name is not None and (place / name / "__init__.py").is_file():
                yield place / name / "__init__.py"
            elif place.with_suffix(".py").is_file():
                yield place.with_suffix(".py")
            elif place != package:
                yield place / "__init__.py"
            elif name != "__version__":
                raise AssertionError(f"{path} imports {name} from the face of the package")


def stage_of(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def faults(package: Path) -> list[str]:
    """Imports that do not go down, and circles, in words."""
    order = {name: place for place, name in enumerate(stages())}
    found = []
    arrows: dict[Path, list[Path]] = {}
    for path in files_of(package):
        arrows[path] = list(targets_of(path, package))
        here = stage_of(path, package)
        for target in arrows[path]:
            there = stage_of(target, package)
            if here != there and order[here] >= order[there]:
                found.append(f"{path.relative_to(package)} imports {target.relative_to(package)}")
    done: set[Path] = set()

    def visit(path: Path, way: tuple[Path, ...]) -> None:
        if path in way:
            circle = [*way[way.index(path) :], path]
            found.append("a circle: " + " -> ".join(str(p.relative_to(package)) for p in circle))
        elif path not in done:
            for target in arrows[path]:
                visit(target, (*way, path))
            done.add(path)

    for path in arrows:
        visit(path, ())
    return found


def test_every_stage_is_drawn_and_every_drawn_one_is_there() -> None:
    there = {stage_of(path, PACKAGE) for path in files_of(PACKAGE)}
    assert set(stages()) == there
    assert len(stages()) == len(there)


def test_all_imports_go_down() -> None:
    assert faults(PACKAGE) == []


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [("results", set()), ("plots", {"results"}), ("report", {"results", "plots"})],
)
def test_what_draws_knows_results_alone(stage: str, allowed: set[str]) -> None:
    """So figures and pages can be made of saved results where there is no TensorFlow."""
    files = sorted((PACKAGE / stage).glob("*.py"))
    found = {stage_of(target, PACKAGE) for path in files for target in targets_of(path, PACKAGE)}
    assert found - {stage, "_checks", "_files"} == allowed


def test_nothing_that_computes_draws() -> None:
    """Figures are asked for by pages, and by CraftTf's colour maps; pages by what writes files."""
    drawn: dict[str, set[str]] = {"plots": set(), "report": set()}
    for path in files_of(PACKAGE):
        for target in targets_of(path, PACKAGE):
            drawn.get(stage_of(target, PACKAGE), set()).add(stage_of(path, PACKAGE))
    assert drawn["plots"] - {"plots"} == {"report", "compatibility"}
    assert drawn["report"] - {"report"} == {"console", "atlas"}


def test_modules_are_imported_by_name_in_one_place_alone() -> None:
    """What `import_module` loads is not among the arrows, so it is counted."""
    names = ("import_module", "__import__", "lazy_loader")
    found = {
        str(path.relative_to(PACKAGE))
        for path in files_of(PACKAGE)
        if any(name in path.read_text(encoding="utf-8") for name in names)
    }
    assert found == {"factorization/__init__.py"}


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("importance/base.py", "from ..craft import Craft", "importance/base.py imports craft.py"),
        (
            "concept_model.py",
            "if TYPE_CHECKING:\n    from .importance import SobolImportance",
            "concept_model.py imports importance/__init__.py",
        ),
        (
            "sampling/stream.py",
            "def later():\n    import xplique_craft.gates.head",
            "sampling/stream.py imports gates/head.py",
        ),
        ("results/contributions.py", "from .importance import Importance", "a circle: "),
        ("gates/coded.py", "from . import head", "a circle: "),
    ],
)
def test_one_line_that_does_not_is_found(
    tmp_path: Path, file: str, line: str, message: str
) -> None:
    copy = tmp_path / "xplique_craft"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / file).open("a", encoding="utf-8") as changed:
        changed.write(f"\n{line}\n")
    assert any(message in fault for fault in faults(copy)), faults(copy)


@pytest.mark.parametrize("path", files_of(PACKAGE), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
