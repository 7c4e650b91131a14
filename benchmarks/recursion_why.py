"""
Claim: children are of one kind more than the crops that they were found in.

Asked once the numbers of `recursion.py` were known, to find out why children are not above their
parents there; it changes none of them. A concept's best 20 crops are the purest of all its crops,
up to 2,400 of them; its children are found in the tenth of these that holds most of it, and the
best 20 of each of five children reach far down that tenth. So children are compared with the tenth
itself: 20 of its crops, at most one of each photograph, drawn at random (seed 0), stand for the
parent in the intruder test and in the binary choice. Everything else is as in `recursion.py`. There
are two judges: the one used there, and an earlier layer of the same model (squeezenet's
`fire5_concat`, mobilenet's `conv_pw_7_relu`), which sees what an early layer sees.

    python benchmarks/recursion_why.py [--output FILE]
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, versions
from recursion import (
    CHILDREN,
    CROPS,
    JUDGES,
    SEED,
    SHOWN,
    TRIALS,
    best_of,
    clusterer,
    ends,
    fitted,
    in_processes,
    joined,
    judge_of,
    written,
)

EARLY = {"mobilenet": "conv_pw_7_relu", "squeezenet": "fire5_concat"}  # of the judge


@dataclass(frozen=True)
class Reason:
    """One model, class and judge: children against the crops that were taken apart."""

    model: str
    class_name: str
    judge: str
    taken_apart: tuple[float, float, float]
    children: tuple[float, float, float]
    difference: tuple[float, float, float]
    binary: tuple[float, float, float]


def measure(model_name: str, class_name: str, queue: Any) -> None:
    """Put one `Reason` for each of two judges into the queue, as a list."""
    from xplique_craft.metrics import binary_choice, difference, intruder_test

    kit, craft, inputs, pictures, parents = fitted(model_name, class_name)
    best = best_of(craft)
    nodes = [craft.decompose(parent, number_of_concepts=CHILDREN) for parent in parents]
    rng = np.random.default_rng(SEED)
    drawn = []
    for node in nodes:
        boxes = node.crops.boxes[rng.permutation(len(node.crops))]
        _, first = np.unique(boxes[:, 0], return_index=True)
        drawn.append(boxes[np.sort(first)[:CROPS]])
    reasons = []
    settings = {"trials": TRIALS, "seed": SEED}
    name, last = JUDGES[model_name]
    for layer in (last, EARLY[name]):
        judge, prepare = judge_of(kit, name, layer)
        cluster = clusterer(judge, prepare, pictures, inputs.shape[1:3])
        concepts = [cluster(boxes) for boxes in best]
        own = [cluster(boxes) for boxes in drawn]
        others = [joined([c for j, c in enumerate(concepts) if j != p]) for p in parents]
        children = [[cluster(child.crops.boxes[:CROPS]) for child in n.children] for n in nodes]
        of_own = intruder_test(own, others, **settings)
        of_children = intruder_test(
            [child for family in children for child in family],
            [other for other, family in zip(others, children, strict=True) for _ in family],
            **settings,
        )
        pairs = [(c, one) for one, family in zip(own, children, strict=True) for c in family]
        reasons.append(
            Reason(
                model=model_name,
                class_name=class_name,
                judge=f"{name} {layer}",
                taken_apart=ends(of_own.accuracy),
                children=ends(of_children.accuracy),
                difference=ends(difference(of_children, of_own)),
                binary=ends(binary_choice(pairs, shown=SHOWN, **settings).accuracy),
            )
        )
    queue.put(reasons)


def report(reasons: list[Reason]) -> str:
    """What was added afterwards, as Markdown."""
    table = markdown_table(
        [
            "model",
            "class",
            "judge",
            "intruder, crops taken apart",
            "intruder, children",
            "difference",
            "binary choice",
        ],
        [
            [
                reason.model,
                reason.class_name,
                reason.judge,
                written(reason.taken_apart),
                written(reason.children),
                written(reason.difference, "+"),
                written(reason.binary),
            ]
            for reason in reasons
        ],
    )
    above = sum(reason.difference[0] > 0.0 for reason in reasons)
    surely = sum(reason.difference[1] > 0.0 for reason in reasons)
    return "\n\n".join(
        [
            "# Recursion: why children are not above their parents' best crops",
            "What was measured, and how, is said in `recursion_why.py`. Against 20 crops drawn at "
            f"random from those that were taken apart, children are above in {above} of "
            f"{len(reasons)} cases, in {surely} of them with all of the interval.",
            table,
            versions(),
        ]
    )


def main() -> None:
    """Measure every model and class and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--output", type=Path, help="a Markdown file; printed without one")
    arguments = parser.parse_args()
    load_kit()
    text = report([reason for some in in_processes(measure) for reason in some]) + "\n"
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
