"""
What a command says where something is wrong: one line, no traceback.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def plain_messages() -> Iterator[None]:
    """TensorFlow's logs off; warnings and errors of the user's making as one line each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except (OSError, TypeError, ValueError) as error:
            typer.echo(f"Error: {_one_line(error)}", err=True)
            raise typer.Exit(2) from error


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"Warning: {_one_line(message)}", err=True)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
