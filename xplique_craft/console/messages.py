"""
What a command says: its answer, and where something is wrong one line, no traceback.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from .._files import readable

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

_GOES_ON = {
    "the same call with checkpoint=": "the same command with --checkpoint ",
    "the same call with folder=": "the same command with --output ",
}
"""What a checkpoint says to who calls it in Python, and in the console's words."""

_finished: list[str] = []
_written: list[Path] = []
_moved: list[Path] = []  # what could not be written where it was wanted


@contextmanager
def plain_messages() -> Iterator[None]:
    """TensorFlow's logs off; warnings and errors of the user's making as one line each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for memory in (_finished, _written, _moved):
        memory.clear()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that has no such letter gets a "?"
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except BrokenPipeError:  # whoever read the answer has gone: there is nobody to tell
            raise
        except KeyboardInterrupt as error:
            _say_what_is_left()
            if error.args:  # how what was interrupted goes on
                line = _one_line(error)
                for words in _GOES_ON.items():
                    line = line.replace(*words)
                _complain(line)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            reason = _reason(error)
            if reason is None:
                raise
            _complain(f"Error: {reason}")
            raise typer.Exit(2) from error
    if _moved:
        raise typer.Exit(2)


def say(text: str) -> None:
    """One or more lines of a command's answer."""
    typer.echo(readable(text))


def finished(step: str) -> None:
    """Remember a step that is over, so that it can be told what Ctrl-C left: "34 pictures read"."""
    _finished.append(step)


def write_page(write: Callable[[Path], Path], path: Path, what: str = "page") -> Path:
    """
    Write a page, or what else came of the work, and return where it is.

    That is in a temporary folder if it cannot be at `path`.

    A disk may be full by the time that the work is done, and the work must not be lost. The command
    then says so, and ends with an exit code that is not 0.
    """
    try:
        page = write(path)
    except OSError as error:
        page = write(Path(tempfile.mkdtemp(prefix="xplique-craft-")) / path.name)
        _moved.append(page)
        _complain(f"Error: {_reason(error)}. The {what} is {page} instead.")
    _written.append(page)
    return page


def _say_what_is_left() -> None:
    steps = f"finished before: {', '.join(_finished)}" if _finished else "nothing was finished"
    files = ", ".join(str(path.resolve()) for path in _written) or "nothing"
    _complain(f"Interrupted; {steps}; written: {files}.")


def _reason(error: Exception) -> str | None:
    """What a user can do something about, in one line; None for an error of the package itself."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        what = str(error).partition("\n")[0] or type(error).__name__
        return _one_line(
            f"not enough memory ({what}): give a smaller --batch-size, or fewer pictures."
        )
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return _one_line(f"{error.strerror}: {error.filename}")
    if isinstance(error, (ImportError, OSError, TypeError, ValueError)):
        return _one_line(error)
    return None


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _complain(f"Warning: {_one_line(message)}")


def _complain(line: str) -> None:
    typer.echo(readable(line), err=True)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
