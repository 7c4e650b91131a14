"""Images held out: what is found on some of them is checked on the others."""

import numpy as np

from .._random import Draw, generator


def hold_out(
    rows: np.ndarray, share: float, seed: int, fewest: int = 1, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """
    Divide rows at random into those to fit on and those held out.

    Parameters
    ----------
    rows
        (n,): numbers of images.
    share
        How much of them is held out: at least one image, unless the share is 0.
    seed
        The same seed holds out the same images.
    fewest
        How many images stay to fit on in any case.
    most
        Where more than so many are held out, only the first ones drawn are returned; the others
        are not fitted on either.

    Returns
    -------
    fitted, held_out
        Both in increasing order; nothing is held out where that would leave fewer than `fewest`.
    """
    wanted = max(1, round(share * len(rows))) if share else 0
    number = max(0, min(wanted, len(rows) - fewest))
    order = generator(seed, Draw.HELD_OUT).permutation(rows)
    return np.sort(order[number:]), np.sort(order[:number][:most])
