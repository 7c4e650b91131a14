"""
The console: `xplique-craft layers | explain | explain-model | compare | report | demo`.

Commands read their arguments, call the package and print what it answers; TensorFlow is imported
inside them, so that `--help` answers at once.
"""

from typing import Annotated

import typer

from .. import __version__
from .compare import compare
from .demo import demo
from .explain import explain
from .explain_model import explain_model
from .layers import layers
from .messages import plain_messages
from .report import report

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xplique-craft {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """
    What does an image classifier see in a class, how much does each thing
    matter, and can the explanation be trusted?

    CRAFT cuts a Keras model at one layer, finds concepts in what that layer
    says of crops of your pictures, and measures what each concept adds to the
    class's score.

    Start with [bold]xplique-craft demo[/bold]: it needs no model and no pictures.

    With a model of yours: [bold]layers[/bold] says where it can be cut,
    [bold]explain[/bold] writes the page of a class, [bold]explain-model[/bold] those of all.
    """


for _command in (layers, explain, explain_model, compare, report, demo):
    app.command()(plain_messages()(_command))


def main() -> None:
    """Run the console."""
    app(prog_name="xplique-craft")


if __name__ == "__main__":
    main()
