"""
Draw who imports whom in the package, stage by stage: docs/images/imports.png.

    python docs/draw_imports.py [before=REVISION ...]

Of every revision, and of the working tree, each top-level module or folder is a dot on one line, in
an order that has few arrows running up (none where there is no circle); an arc on the right leads
down to what is imported, one on the left, in red, up. Imports for type checkers and inside
functions count too.
"""

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc
from matplotlib.patheffects import withStroke

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("images") / "imports.png"
INK, DOWN, UP = "#2b323c", "#8a919c", "#d55e00"


def arrows_of(package: Path) -> set[tuple[str, str]]:
    """(importer, imported) of all top-level modules and folders but the package's face."""
    found = set()
    for path in package.rglob("*.py"):
        inside = path.relative_to(package).parts
        if inside == ("__init__.py",):
            continue
        here = inside[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            parts = [*inside[: len(inside) - node.level], *(node.module or "").split(".")]
            names = [part for part in parts if part] or [alias.name for alias in node.names]
            found.update((here, name) for name in names[:1] if name != here)
    known = {child.stem for child in package.iterdir() if child.suffix == ".py" or child.is_dir()}
    return {(a, b) for a, b in found if b in known}


def ordered(arrows: set[tuple[str, str]]) -> list[str]:
    """Names from top to bottom: again and again the one that the fewest others still import."""
    left, order = {name for arrow in arrows for name in arrow}, []
    while left:

        def burden(name: str) -> tuple[int, int, str]:
            importers = sum(b == name and a in left and a != name for a, b in arrows)
            return importers, -sum(a == name and b in left for a, b in arrows), name

        order.append(min(left, key=burden))
        left.discard(order[-1])
    return order


def draw(ax: Axes, title: str, arrows: set[tuple[str, str]]) -> None:
    order = ordered(arrows)
    place = {name: -row for row, name in enumerate(order)}
    up = [arrow for arrow in arrows if place[arrow[0]] < place[arrow[1]]]
    for a, b in arrows:
        height, middle = abs(place[a] - place[b]), (place[a] + place[b]) / 2.0
        rises = (a, b) in up
        ends = (90, 270) if rises else (270, 90)
        width = 0.42 * height**0.8
        color, line = (UP, 1.4) if rises else (DOWN, 0.7)
        ax.add_patch(
            Arc((0.0, middle), width, height, theta1=ends[0], theta2=ends[1], color=color, lw=line)
        )
    for name, row in place.items():
        ax.plot(0.0, row, "o", color=INK, markersize=4)
        label = ax.text(-0.25, row, name, ha="right", va="center", fontsize=8, color=INK)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    ax.set_title(f"{title}: {len(arrows)} arrows, {len(up)} of them up", fontsize=10, color=INK)
    ax.set_xlim(-6.5, 5.4)
    ax.set_ylim(-len(order), 1.0)
    ax.set_axis_off()


def main() -> None:
    revisions = [argument.partition("=")[::2] for argument in sys.argv[1:]]
    trees = []
    with tempfile.TemporaryDirectory() as folder:
        for title, revision in revisions:
            place = Path(folder) / title
            place.mkdir()
            archive = ["git", "archive", revision, "xplique_craft"]
            packed = subprocess.run(archive, cwd=ROOT, check=True, capture_output=True).stdout
            subprocess.run(["tar", "-x"], cwd=place, input=packed, check=True)
            trees.append((title, arrows_of(place / "xplique_craft")))
    trees.append(("today", arrows_of(ROOT / "xplique_craft")))
    figure = Figure(figsize=(6.2 * len(trees), 8.4), layout="constrained")
    axes = figure.subplots(1, len(trees), squeeze=False)[0]
    for ax, (title, arrows) in zip(axes, trees, strict=True):
        draw(ax, title, arrows)
    figure.savefig(PICTURE, dpi=80)
    print(PICTURE)


if __name__ == "__main__":
    main()
