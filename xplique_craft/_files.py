"""
Every file that the package writes: beside the old one first, and moved into its place when whole.

So whoever reads it finds the old file or the new one, never half of one: not when the disk is full,
not after Ctrl-C, not after a kill in the middle (what had been written by then stays beside it,
hidden, with a name that ends in ".tmp").
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def readable(text: object) -> str:
    """
    A text in characters that can be shown and written as UTF-8, "\N{REPLACEMENT CHARACTER}" where
    one cannot.

    These are the bytes of file names that are not UTF-8 (Python reads them as lone surrogates), and
    control characters, which terminals obey; tabs and ends of lines are kept.
    """
    return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def check_path(name: str, path: Any) -> Path:
    """
    Return `path` as a Path, or say why it is none.

    Raises
    ------
    TypeError
        If it is neither a str nor a path.
    ValueError
        If it is empty, or holds a NUL character, which no file name can.
    """
    found = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(found, str):
        raise TypeError(
            f"`{name}` must be a path, a str or a pathlib.Path, received {path!r} of type "
            f"{type(path).__name__}."
        )
    if not found or "\0" in found:
        raise ValueError(
            f"`{name}` must be a path that is not empty and without NUL characters, received "
            f"{found!r}."
        )
    return Path(found)


def check_can_write(name: str, path: Any) -> Path:
    """
    Return `path` if a file can be written there, as far as can be told before it is.

    Folders above it need not be there: whoever opens a `new_file` makes them.

    Raises
    ------
    TypeError, ValueError
        If it is no path.
    OSError
        If there is a folder, a device or a file that is not to be written, or if a folder above it
        is a file or not to be written into.
    """
    path = check_path(name, path)
    _old_file(name, _target(name, path))
    folder = _target(name, path).parent
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise _error(name, path, errno.ENOTDIR, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _error(name, path, errno.EACCES, f"nothing may be written into {folder}")
    return path


@contextmanager
def new_file(path: Any, name: str = "path") -> Iterator[BinaryIO]:
    """
    A file to write bytes into, which becomes the file at `path` at the end of the `with` block.

    It is written beside that one and moved onto it when all of it is on the disk; if anything goes
    wrong before, the old file stays as it was and the new one is removed. It has the permissions of
    the old one, or those of any new file. Where `path` is a symbolic link, the file that it leads
    to is replaced. Folders above it are made.

    Parameters
    ----------
    path
        Where the file is to be.
    name
        What messages of errors call `path`.

    Raises
    ------
    TypeError, ValueError
        If `path` is no path.
    OSError
        If the file cannot be written; it says why.
    """
    path = check_can_write(name, path)
    target = _target(name, path)
    # not longer than the longest name that a folder takes, 255 bytes, whatever the characters
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        old = _old_file(name, target)
        try:
            with open(temporary, "xb") as file:
                if old is not None:
                    _take_permissions(temporary, old)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno is None or not _is_about(error, temporary, target):
            raise
        raise _error(name, path, error.errno, str(error.strerror)) from error
    _sync_folder(target.parent)


def write_file(path: Any, content: str | bytes, name: str = "path") -> Path:
    """
    Write a whole file, as `new_file` does, and return its path.

    A text is written as UTF-8, its ends of lines as they are; characters that UTF-8 has not, lone
    surrogates, are replaced.
    """
    if isinstance(content, str):
        content = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", content).encode("utf-8")
    with new_file(path, name) as file:
        file.write(content)
    return Path(path)


def _target(name: str, path: Path) -> Path:
    """The file that is meant: where a symbolic link leads to."""
    target = Path(os.path.realpath(path))
    try:
        circle = target.is_symlink()
    except OSError as error:  # its name is too long
        raise _error(name, path, error.errno or errno.EIO, str(error.strerror)) from error
    if circle:
        raise _error(name, path, errno.ELOOP, "its symbolic links go in a circle")
    return target


def _old_file(name: str, target: Path) -> os.stat_result | None:
    """What is known of the file that is to be replaced; None where there is none."""
    try:
        old = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # in a folder that is not to be looked into
        raise _error(name, target, error.errno or errno.EIO, str(error.strerror)) from error
    if stat.S_ISDIR(old.st_mode):
        raise _error(name, target, errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(old.st_mode):
        raise _error(name, target, errno.EINVAL, "it is a device, a pipe or a socket")
    if not os.access(target, os.W_OK):
        raise _error(name, target, errno.EACCES, "it may not be written")
    return old


def _is_about(error: OSError, *paths: Path) -> bool:
    """Whether an error is of one of these or of no named file: one of another file is handed on."""
    if error.filename is None:
        return True
    return any(Path(os.fsdecode(error.filename)) in (path, *path.parents) for path in paths)


def _take_permissions(temporary: Path, old: os.stat_result) -> None:
    """Owner and permissions of the old file, as far as the user may give them."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(temporary, old.st_uid, old.st_gid)
    with suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(old.st_mode))


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where folders can be opened for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _error(name: str, path: Path, number: int, reason: str) -> OSError:
    """Of the class that belongs to the number, as PermissionError."""
    return OSError(
        number,
        f"`{name}` must be a file that can be written ({reason}): choose another place",
        os.fspath(path),
    )
