"""For the tests of what draws trees: a tree whose numbers are made up and add up."""

import numpy as np
from skimage import data

from xplique_craft.results import BranchState, Estimate, TreeBranch, TreeView

PICTURE = data.astronaut()


def around(value: float) -> Estimate:
    return Estimate(value, value - 0.02, value + 0.02)


def crops(number: int, start: int = 0) -> tuple[np.ndarray, ...]:
    """Different pieces of a real picture, some of them wide."""
    return tuple(
        PICTURE[start + 20 * i : start + 20 * i + 60, 60 : 150 if i % 2 else 120]
        for i in range(number)
    )


def branch(
    path: tuple[int, ...],
    share: float,
    *children: TreeBranch,
    state: BranchState = BranchState.OF_ONE_PIECE,
    state_number: float | None = None,
    number: int = 4,
) -> TreeBranch:
    residual = share - sum(child.share.value for child in children)
    return TreeBranch(
        path=path,
        layer="conv4" if len(path) == 1 else "conv3",
        share=around(share),
        of_parent=around(0.5) if len(path) > 1 else None,
        at_large=around(1.5 * share),
        crops=crops(number, 10 * sum(path)),
        mixedness=0.42 if children else 0.03,
        state=BranchState.TAKEN_APART if children else state,
        state_number=state_number,
        children=children,
        residual=around(residual) if children else None,
        unexplained=0.125 if children else float("nan"),
        gap=0.004 if children else float("nan"),
    )


def make_tree(number_of_crops: int = 4) -> TreeView:
    """Four concepts; C2 has three children, of which C2.1 has two, and C3 lowers the score."""
    n = number_of_crops
    deep = branch(
        (2, 1),
        0.30,
        branch((2, 1, 0), 0.18, number=n, state=BranchState.DEPTH_REACHED, state_number=2),
        branch((2, 1, 4), 0.09, number=n, state=BranchState.DEPTH_REACHED, state_number=2),
        number=n,
    )
    top = branch(
        (2,),
        0.60,
        deep,
        branch((2, 0), 0.22, number=n),
        branch((2, 3), 0.004, number=n, state=BranchState.SMALL_SHARE, state_number=0.05),
        number=n,
    )
    return TreeView(
        class_id=3,
        layer="conv4",
        branches=(
            top,
            branch((0,), 0.35, number=n),
            branch((1,), 0.006, number=n, state=BranchState.SMALL_SHARE, state_number=0.05),
            branch((3,), -0.05, number=n, state=BranchState.SMALL_SHARE, state_number=0.06),
        ),
        residual=around(0.094),
        number_of_images=12,
        depth=2,
        min_share=0.05,
        min_mixedness=0.1,
    )
