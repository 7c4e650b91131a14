"""
Run the package with the Pythons, TensorFlows and dependencies that it promises to work with.

    python tools/versions.py --python python3.10 python3.13    # every valid pair, oldest and newest
    python tools/versions.py --tensorflow 2.20 --dependencies oldest -- pytest -q -x
    python tools/versions.py --make                            # `make demo` and `make test`

Each pair gets an environment of its own, beside this repository's and removed again, in which the
commands run from the root of the repository. "oldest" takes the lower bounds in pyproject.toml, or
the lowest version above them that has a wheel for that Python and suits the others; "newest" takes
what pip would install. TensorFlow's CUDA libraries are left out, which saves 5 GB an environment;
`--make` installs them, as the Makefile does. It needs `uv`, which knows how to take the oldest of
everything: `pip install uv`.

The table that it prints, and writes into the file of `--table`, is that of docs/versions.md.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
LAST_PYTHON = {"2.18": (3, 12), "2.19": (3, 12), "2.20": (3, 13)}
"""The newest Python that a TensorFlow has wheels for; all of them have some for 3.10."""
DEPENDENCIES = {"oldest": "lowest-direct", "newest": "highest"}
SHOWN = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "scikit-image", "xplique")
DEMO = "xplique-craft demo --classes astronaut,coffee --output {scratch}/page"
# What is shipped, concepts, saved models, every importance: as much as fits into a minute.
QUICK = (
    "tests/test_bounds.py",
    "tests/test_demo_model.py",
    "tests/test_importance_methods.py",
    "tests/test_models.py",
    "tests/test_public.py",
)
HEADER = (
    "| Python | TensorFlow | dependencies | Keras | NumPy | SciPy | scikit-learn | scikit-image "
    "| Xplique | outcome |"
)


class Pair(NamedTuple):
    """One environment: a Python, its version, a TensorFlow, and "oldest" or "newest"."""

    python: str
    version: str
    tensorflow: str
    dependencies: str


def pairs(
    pythons: Sequence[str], tensorflows: Sequence[str], dependencies: Sequence[str]
) -> Iterator[Pair]:
    """Those for which there is a TensorFlow."""
    for python in pythons:
        version = version_of(python)
        for tensorflow in tensorflows:
            if tuple(map(int, version.split(".")[:2])) <= LAST_PYTHON[tensorflow]:
                for which in dependencies:
                    yield Pair(python, version, tensorflow, which)


def version_of(python: str) -> str:
    """The version of the Python of a command, as "3.12.1"."""
    code = "import platform; print(platform.python_version())"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def works(python: str) -> bool:
    """Whether there is such a command and it starts: a version manager may only have its name."""
    try:
        return bool(version_of(python))
    except (OSError, subprocess.CalledProcessError):
        return False


def uv(*arguments: str | Path, stdin: str | None = None) -> str:
    """What uv writes; its complaints are passed on."""
    command = [shutil.which("uv") or sys.exit("uv is needed: pip install uv"), *arguments]
    found = subprocess.run(command, cwd=ROOT, input=stdin, text=True, stdout=subprocess.PIPE)
    if found.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))} ended with {found.returncode}")
    return found.stdout


def install(pair: Pair, folder: Path) -> dict[str, str]:
    """Make an environment in `folder` and say which versions it has, by name."""
    constraints = folder.with_suffix(".txt")
    constraints.write_text(f"tensorflow=={pair.tensorflow}.*\n", encoding="utf-8")
    uv("venv", "--quiet", "--python", pair.python, folder)
    python = folder / "bin" / "python"
    resolved = uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "pyproject.toml"),
        *("--extra", "test", "--python", python, "--constraint", constraints),
        *("--resolution", DEPENDENCIES[pair.dependencies], "--only-binary", ":all:"),
    )
    wanted = [line for line in resolved.splitlines() if not line.startswith("nvidia-")]
    install = ("pip", "install", "--quiet", "--python", python, "--no-deps")
    uv(*install, "--requirement", "-", stdin="\n".join(wanted))
    uv(*install, "--editable", ".")
    return dict(line.split("==") for line in wanted if "==" in line)


def run(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> str:
    """Run commands one after the other, up to the first that fails, and say what came of it."""
    start = time.monotonic()
    for command in commands:
        print("$", shlex.join(command), flush=True)
        found = subprocess.run(command, cwd=ROOT, env=environment)
        if found.returncode:
            return f"**`{Path(command[0]).name}` ended with {found.returncode}**"
    return f"passed in {time.monotonic() - start:.0f} s"


def try_pair(pair: Pair, commands: Sequence[Sequence[str]], scratch: Path) -> str:
    """A row of the table: what is in the environment, and what came of the commands there."""
    folder = scratch / "environment"
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "VIRTUAL_ENV": str(folder),
    }
    if pair.dependencies == "oldest":  # old libraries warn of new ones, which is not our doing
        environment["PYTEST_ADDOPTS"] = "-W ignore::DeprecationWarning -W ignore::FutureWarning"
    try:
        versions = install(pair, folder)
        here = [[word.format(scratch=scratch) for word in command] for command in commands]
        outcome = run(here, environment)
    except RuntimeError as error:
        versions, outcome = {}, f"**not installed**: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    shown = [versions.get(name, "") for name in SHOWN]
    cells = [pair.version, shown[0] or pair.tensorflow, pair.dependencies, *shown[1:], outcome]
    return f"| {' | '.join(cells)} |"


def by_make(python: str, targets: Sequence[str], scratch: Path) -> str:
    """A row of the other table: whether the targets of the Makefile pass with this Python."""
    folder = scratch / "environment"
    commands = [["make", target, f"PYTHON={python}", f"VENV={folder}"] for target in targets]
    try:
        outcome = run(commands, os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"| {version_of(python)} | `make {' '.join(targets)}` | {outcome} |"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; what follows `--` is the command to run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found = [python for python in PYTHONS if works(python)]
    parser.add_argument("--python", nargs="+", default=found, help="commands; default: all found")
    parser.add_argument("--tensorflow", nargs="+", choices=LAST_PYTHON, default=[*LAST_PYTHON])
    parser.add_argument("--dependencies", nargs="+", choices=DEPENDENCIES, default=[*DEPENDENCIES])
    parser.add_argument("--make", nargs="*", metavar="TARGET", help="default: demo test")
    parser.add_argument("--table", type=Path, help="a file to add the rows to as they come")
    parser.add_argument("command", nargs="*", help="default: the demo and a part of the tests")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Try all pairs that are asked for, and print the table; 1 if one of them failed."""
    asked = parse(arguments)
    if not asked.python:
        sys.exit(f"None of {', '.join(PYTHONS)} is on the PATH: name others with --python.")
    commands = [shlex.split(DEMO), ["python", "-m", "pytest", "-q", *QUICK]]
    if asked.command:
        commands = [asked.command]
    rows: list[str] = []

    def add(row: str) -> None:
        print(row, flush=True)
        rows.append(row)
        if asked.table is not None:
            with asked.table.open("a", encoding="utf-8") as table:
                table.write(f"{row}\n")

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if asked.make is not None:
            header = "| Python | command | outcome |"
            for python in asked.python:
                add(by_make(python, asked.make or ["demo", "test"], scratch))
        else:
            header = HEADER
            for pair in pairs(asked.python, asked.tensorflow, asked.dependencies):
                add(try_pair(pair, commands, scratch))
    print(header, "|".join(["", *["---"] * (header.count("|") - 1), ""]), *rows, sep="\n")
    return int(any("**" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
