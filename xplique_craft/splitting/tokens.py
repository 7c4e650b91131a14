"""
Tokens: which of them are patches, with a place in the image, and which are special.

A transformer's layer gives tokens (n, t, c). Most stand for patches of the image, row by row; some
belong to no place, as a class token, a distillation token or registers. These special tokens come
first. They hold what the network has gathered from everywhere, so they are never part of a concept.

*The rule.* Patches make a grid in the image's proportions. The special tokens are the first s ones,
with the smallest s that leaves such a grid: 197 tokens of a square image are 1 and 14 x 14. There
are at most `MOST_SPECIAL` of them, and at most an eighth as many as patches (but always one may
be), or any number of tokens would make some grid. Where no s does, no token is special, and tokens
have no places. `Craft(special_tokens=...)` names them where the rule does not find them.
"""

from collections.abc import Sequence

MOST_SPECIAL = 8  # a class token, one for distillation, and registers: usually four
PATCHES_FOR_EACH = 8


def grid_of(tokens: int, size: Sequence[int]) -> tuple[int, int] | None:
    """
    Rows and columns of the patches that so many tokens stand for, without the special ones.

    The grid has the proportions of the image's size (H, W); None if there is no such grid.
    """
    for special in range(MOST_SPECIAL + 1):
        patches = tokens - special
        if patches <= 0 or special > max(1, patches // PATCHES_FOR_EACH):
            return None
        rows = round((patches * size[0] / size[1]) ** 0.5)
        if rows > 0 and patches % rows == 0 and rows * size[1] == patches // rows * size[0]:
            return rows, patches // rows
    return None


def special_tokens_of(tokens: int, size: Sequence[int]) -> int | None:
    """How many of the tokens are special, by the rule; None where it finds no grid."""
    grid = grid_of(tokens, size)
    return None if grid is None else tokens - grid[0] * grid[1]


def number_of_special_tokens(
    latent: Sequence[int | None], image: Sequence[int | None], named: int | None = None
) -> int:
    """
    How many of the first tokens of a layer are special.

    Parameters
    ----------
    latent
        (t, c); layers of another shape have no tokens.
    image
        (H, W, channels). Where a size is not known, in either, the rule finds none.
    named
        How many the user says there are; None leaves it to the rule.

    Raises
    ------
    ValueError
        If they are named where there are no tokens, or not so many.
    """
    if named:
        if len(latent) != 2:
            raise ValueError(
                "special_tokens must be None or 0 where the layer has no tokens (n, t, c), "
                f"received {named}: its activations have the shape (n, "
                f"{', '.join(map(str, latent))})."
            )
        if latent[0] is not None and named >= latent[0]:
            raise ValueError(
                f"special_tokens must leave some of the layer's {latent[0]} tokens, received "
                f"{named}."
            )
    if named is not None:
        return named
    if len(latent) != 2 or len(image) != 3:
        return 0
    tokens, height, width = latent[0], *image[:2]
    if tokens is None or height is None or width is None:
        return 0
    return special_tokens_of(tokens, (height, width)) or 0
