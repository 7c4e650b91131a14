"""Files: the old one or the new one, whole, whatever happens; and nothing is written otherwise."""

import ast
import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xplique_craft._files import (
    check_can_write,
    check_path,
    new_file,
    readable,
    write_file,
)

PACKAGE = Path(__file__).parents[1] / "xplique_craft"
OLD, NEW = b"the old page", b"the new page"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_bytes(OLD)
    return path


def only_holds(path: Path, content: bytes) -> bool:
    """Whether the file holds that, and nothing else is in its folder."""
    return path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What Python says of a program of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )


# --- whole or not at all ----------------------------------------------------------------------


def test_a_file_is_there_when_it_is_whole(page: Path) -> None:
    with new_file(page) as file:
        file.write(NEW)
        file.flush()
        assert page.read_bytes() == OLD
    assert only_holds(page, NEW)


def test_text_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "page.html"
    assert write_file(path, "ä\r\n\udce9") == path
    assert only_holds(path, "ä\r\n\N{REPLACEMENT CHARACTER}".encode())
    assert write_file(str(path), b"\xe9") == path
    assert only_holds(path, b"\xe9")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_goes_wrong_in_the_block_leaves_the_old_file(
    page: Path, failure: type[BaseException]
) -> None:
    def write_half(path: Path) -> None:
        with new_file(path) as file:
            file.write(NEW)
            raise failure

    with pytest.raises(failure):
        write_half(page)
    assert only_holds(page, OLD)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_goes_wrong_at_the_end_leaves_the_old_file(
    page: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(type(failure)):
        write_file(page, NEW)
    assert only_holds(page, OLD)


def test_a_full_disk_is_said_and_leaves_the_old_file(page: Path) -> None:
    """A limit of the size of files stops the write in its middle, as a full disk does."""
    pytest.importorskip("resource")
    code = (
        "import resource, sys\n"
        "from xplique_craft._files import write_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_file(sys.argv[1], 'x' * 100_000)\n"
        "except OSError as error:\n    print(error)\n"
    )
    answer = child(code, page)
    assert "`path` must be a file that can be written (File too large)" in answer.stdout
    assert answer.stderr == ""
    assert only_holds(page, OLD)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("step", "left"), [("write", OLD), ("fsync", OLD), ("replace", OLD), ("after", NEW)]
)
def test_a_kill_leaves_one_of_both_files_whole(page: Path, step: str, left: bytes) -> None:
    """The child kills itself with a half-written file, before each step, and after the last."""
    code = (
        "import os, signal, sys\n"
        "from xplique_craft._files import new_file\n"
        "path, step = sys.argv[1:]\n"
        "def kill(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if step in ('fsync', 'replace'):\n    setattr(os, step, kill)\n"
        "with new_file(path) as file:\n"
        f"    file.write({NEW[:5]!r})\n"
        "    file.flush()\n"
        "    if step == 'write':\n        kill()\n"
        f"    file.write({NEW[5:]!r})\n"
        "kill()\n"
    )
    answer = child(code, page, step)
    assert (answer.returncode, answer.stderr) == (-signal.SIGKILL, "")
    assert page.read_bytes() == left
    beside = [path.name for path in page.parent.iterdir() if path != page]
    assert len(beside) == (step != "after")
    assert all(name.startswith(".") and name.endswith(".tmp") for name in beside)
    write_file(page, b"again")
    assert page.read_bytes() == b"again"


def test_what_the_block_raises_of_another_file_is_handed_on(page: Path) -> None:
    said = "No such file or directory: 'absent'"
    with pytest.raises(FileNotFoundError, match=said), new_file(page):
        os.stat("absent")
    assert only_holds(page, OLD)


# --- permissions and links --------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions(tmp_path: Path, mask: int) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(OLD)
    old.chmod(0o640)
    before = os.umask(mask)
    try:
        write_file(new, NEW)
        write_file(old, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "elsewhere" / "page.html"
    target.parent.mkdir()
    if there:
        target.write_bytes(OLD)
    second = tmp_path / "second"
    second.symlink_to(target)
    first = tmp_path / "first"
    first.symlink_to("second")
    write_file(first, NEW)
    assert only_holds(target, NEW)
    assert os.readlink(first) == "second"
    assert os.readlink(second) == str(target)


def test_names_as_long_as_a_folder_takes_them(tmp_path: Path) -> None:
    for path in (tmp_path / ("ä" * 127), tmp_path / ("x" * 255)):
        write_file(path, NEW)
        assert path.read_bytes() == NEW


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.html")
    write_file(path, NEW)
    assert only_holds(path, NEW)


# --- what is no place for a file --------------------------------------------------------------


@pytest.mark.parametrize("path", [None, 3, b"page.html", ["page.html"]])
def test_other_types_are_no_paths(path: object) -> None:
    with pytest.raises(TypeError, match=r"`page` must be a path, a str or a pathlib\.Path, rec"):
        check_path("page", path)
    with pytest.raises(TypeError, match="`page` must be a path"), new_file(path, "page"):
        pytest.fail("the block ran")


@pytest.mark.parametrize("path", ["", "a\0b", Path("a\0b")])
def test_empty_paths_and_nul_characters_are_refused(path: object) -> None:
    with pytest.raises(ValueError, match="`page` must be a path that is not empty and without NUL"):
        check_path("page", path)


def test_places_that_cannot_be_written(tmp_path: Path, page: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    places = {
        tmp_path: "it is a folder",
        tmp_path / "pipe": "it is a device, a pipe or a socket",
        Path(os.devnull): "it is a device, a pipe or a socket",
        page / "page.html": f"{page} is no folder",
        page / "new" / "page.html": f"{page} is no folder",
        tmp_path / "one": "its symbolic links go in a circle",
        tmp_path / ("a" * 300): os.strerror(errno.ENAMETOOLONG),
    }
    before = sorted(tmp_path.iterdir())
    for path, reason in places.items():
        with pytest.raises(OSError, match="`path` must be a file that can be written") as caught:
            check_can_write("path", path)
        assert f"({reason})" in str(caught.value)
        with pytest.raises(type(caught.value)), new_file(path):
            pytest.fail("the block ran")
    assert sorted(tmp_path.iterdir()) == before
    assert page.read_bytes() == OLD


def test_what_is_protected_is_not_written(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write everywhere is not asked: this is what others are answered."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != page)
    with pytest.raises(PermissionError, match="it may not be written"):
        write_file(page, NEW)
    monkeypatch.setattr(os, "access", lambda path, mode: path != page.parent)
    with pytest.raises(PermissionError, match="nothing may be written into"):
        write_file(page.parent / "folder" / "page.html", NEW)
    assert only_holds(page, OLD)


def test_checking_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    assert check_can_write("path", str(path)) == path
    assert list(tmp_path.iterdir()) == []


# --- names that can be shown ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 猫 👩‍🔬\n\tb", "café 猫 👩‍🔬\n\tb"),
        (os.fsdecode(b"caf\xe9.png"), "caf\N{REPLACEMENT CHARACTER}.png"),
        ("a\0b\x1b[2J\x9f", "a\ufffdb\ufffd[2J\ufffd"),
        (Path("a"), "a"),
    ],
)
def test_readable(text: object, shown: str) -> None:
    assert readable(text) == shown
    shown.encode("utf-8")


# --- every file of the package goes this way --------------------------------------------------

WRITERS = {
    *("write_text", "write_bytes", "savefig", "save", "save_file", "savez", "savez_compressed"),
    *("savetxt", "tofile", "to_csv", "dump", "touch", "replace_file", "mkstemp", "imsave"),
}
"""Methods and functions that write files, of the libraries that the package uses."""


def buffers_of(tree: ast.AST) -> set[str]:
    """Names that hold files in memory."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if ast.unparse(node.value.func) in ("io.BytesIO", "io.StringIO")
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def writes(tree: ast.AST) -> Iterator[str]:
    """Calls that write a file, or may."""
    buffers = buffers_of(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        modes = [*node.args[isinstance(node.func, ast.Name) :], *(k.value for k in node.keywords)]
        constants = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
        opens = name == "open" and (
            any(isinstance(mode, str) and set(mode) & set("wax+") for mode in constants[:1])
            or any(k.arg == "mode" and not isinstance(k.value, ast.Constant) for k in node.keywords)
        )
        if ast.unparse(node.func) in ("save", "craft.save"):  # our own, which end in write_file
            continue
        into = node.args[0] if node.args else None
        in_memory = isinstance(into, ast.Name) and into.id in buffers
        if opens or (name in WRITERS and not in_memory):
            yield ast.unparse(node)


def test_every_file_is_written_in_one_way() -> None:
    found = {
        str(path.relative_to(PACKAGE)): calls
        for path in sorted(PACKAGE.rglob("*.py"))
        if (calls := list(writes(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {
        "_files.py": ["open(temporary, 'xb')"],
        "atlas/of_one_class.py": ["model.save(new)"],  # Keras's own, which is then moved into place
    }


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open('wb')",
        "open(path, mode=mode)",
        "path.write_text(page)",
        "figure.savefig(path)",
        "image.save(path, format='png')",
        "np.savez(path, a=a)",
        "json.dump(values, file)",
    ],
)
def test_another_way_is_found(line: str) -> None:
    assert list(writes(ast.parse(f"buffer = io.BytesIO()\n{line}")))


@pytest.mark.parametrize(
    "line", ["image.save(buffer)", "open(path)", "open(path, 'rb')", "path.open('rb')"]
)
def test_reading_and_memory_are_not(line: str) -> None:
    assert not list(writes(ast.parse(f"buffer = io.BytesIO()\n{line}")))
