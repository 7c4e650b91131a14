"""Which versions are tried: by `tools/versions.py`, by the workflow, and as the docs say."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from test_bounds import BOUNDS, PROJECT

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("versions", ROOT / "tools" / "versions.py")
versions = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(versions)

WORKFLOW = (ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8")
DOCS = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
PROMISED = [
    one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)
]
VALID = {
    *((python, tensorflow) for python in PROMISED[:3] for tensorflow in ("2.18", "2.19", "2.20")),
    ("3.13", "2.20"),  # the first TensorFlow for it
}


def test_every_python_that_is_promised_is_tried() -> None:
    assert PROMISED == ["3.10", "3.11", "3.12", "3.13"]
    assert list(versions.PYTHONS) == [f"python{python}" for python in PROMISED]
    matrices = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert len(matrices) == 2
    assert {tuple(re.findall(r"[\d.]+", one)) for one in matrices} == {tuple(PROMISED)}


def test_every_valid_pair_is_tried_with_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version_of", lambda python: python.removeprefix("python") + ".1")
    found = list(versions.pairs(versions.PYTHONS, versions.LAST_PYTHON, versions.DEPENDENCIES))
    for which in ("oldest", "newest"):
        tried = [one for one in found if one.dependencies == which]
        assert {(one.version.removesuffix(".1"), one.tensorflow) for one in tried} == VALID
        assert len(tried) == len(VALID)
    assert str(BOUNDS["tensorflow"]) == min(versions.LAST_PYTHON)


def test_pythons_that_do_not_start_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version manager leaves commands that only say which version is not chosen."""
    for name, script in {"python3.10": "exit 127", "python3.12": "echo 3.12.1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(versions, "PYTHONS", ["python3.10", "python3.12", "python3.14"])
    assert versions.parse([]).python == ["python3.12"]


def test_what_is_run_is_there() -> None:
    assert all((ROOT / path).is_file() for path in versions.QUICK)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"run: make (\w+)", WORKFLOW):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for path in re.findall(r"tools/\w+\.py", WORKFLOW):
        assert (ROOT / path).is_file()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> "versions.Pair":
    """One whose environment is a folder, and whose Python is this one."""

    def install(_: "versions.Pair", folder: Path) -> dict[str, str]:
        (folder / "bin").mkdir(parents=True)
        return {"tensorflow": "2.20.0", "keras": "3.15.1"}

    monkeypatch.setattr(versions, "install", install)
    return versions.Pair(sys.executable, "3.12.1", "2.20", "oldest")


@pytest.mark.parametrize(
    ("code", "outcome"), [("0", r"passed in \d+ s"), ("3", r"\*\*`[^`]*` ended with 3\*\*")]
)
def test_a_pair_leaves_a_row_and_nothing_else(
    pair: "versions.Pair", tmp_path: Path, code: str, outcome: str
) -> None:
    first = [sys.executable, "-c", "open(r'{scratch}/ran', 'w')"]
    row = versions.try_pair(pair, [first, [sys.executable, "-c", f"exit({code})"]], tmp_path)
    assert re.fullmatch(rf"\| 3\.12\.1 \| 2\.20\.0 \| oldest \| 3\.15\.1 \|.* \| {outcome} \|", row)
    assert row.count("|") == versions.HEADER.count("|")
    assert [path.name for path in tmp_path.iterdir()] == ["ran"]


def test_what_cannot_be_installed_is_said(
    pair: "versions.Pair", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(*_: object) -> dict[str, str]:
        raise RuntimeError("no such wheel")

    monkeypatch.setattr(versions, "install", install)
    row = versions.try_pair(pair, [["never"]], tmp_path)
    assert row.endswith("| **not installed**: no such wheel |")


def test_the_docs_say_what_was_tried() -> None:
    """Valid pairs that passed; every Python and every TensorFlow with both ends."""
    table = [line for line in DOCS.splitlines() if line.startswith("| 3.") and "est |" in line]
    rows = [
        re.match(r"\| (3\.\d+)\.\d+ \| (2\.\d+)\.\d+ \| (oldest|newest) \|", line) for line in table
    ]
    tried = [row.groups() for row in rows if row]
    assert len(tried) == len(set(tried)) == len(table)
    assert {pair[:2] for pair in tried} <= VALID
    assert all(line.endswith("| passed |") for line in table)
    ends = {(one, end) for python, tensorflow, end in tried for one in (python, tensorflow)}
    promised = {one for pair in VALID for one in pair}
    assert ends == {(one, end) for one in promised for end in versions.DEPENDENCIES}
