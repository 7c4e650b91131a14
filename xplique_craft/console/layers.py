"""
The console's `xplique-craft layers`: where a model can be cut.
"""

from .messages import say
from .model import load_model
from .options import ModelArgument


def layers(
    model: ModelArgument,
) -> None:
    """
    List the layers where a model can be cut.

    A layer qualifies if everything that the model computes goes through it:
    what comes before turns a picture into [bold]activations[/bold], what comes
    after, the [bold]head[/bold], turns these into scores.

    [bold]non-negative[/bold]: after a ReLU, say. Concepts are parts that add up, and
    need it; those of `explain --factorizer signed-nmf` do not.

    [bold]affine head[/bold]: averages and linear layers only. Importance is then
    exact, not sampled.

    The deeper the layer, the more its concepts are about whole things; early
    layers see edges, colours and textures. The last non-negative layer that
    still has positions, marked *, is the one to begin with.

    Example: [bold]xplique-craft layers model.keras[/bold]
    """
    loaded = load_model(model)

    from ..splitting.layers import best_layer
    from ..splitting.split import candidate_layers

    candidates = candidate_layers(loaded)
    best = best_layer(candidates, loaded.output_shape[-1])
    rows = [("", "layer", "shape", "non-negative", "affine head")]
    for candidate in candidates:
        rows.append(
            (
                "*" if candidate is best else "",
                candidate.name,
                " x ".join("?" if side is None else str(side) for side in candidate.shape),
                "yes" if candidate.non_negative else "no",
                "yes" if candidate.affine_head else "no",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())
    if best is not None:
        say(f"* begin with --layer {best.name}")
        return
    say("No layer is known to be non-negative and has positions: none is recommended.")
    signed = best_layer(candidates, loaded.output_shape[-1], signed=True)
    if signed is not None:
        say(f"Signed layers: begin with --layer {signed.name} --factorizer signed-nmf")
