"""
Claim: number by number, what xplique_craft reaches beside CraftTf and HolisticCraftTf of Xplique,
each with its own concepts, its own encoding and its own importances.

Most of it is measured by other benchmarks, whose pages are named in the table that this one writes.
What they leave out is measured here: the three metrics of importances, of each tool's concepts with
that tool's own importances.

Protocol, fixed before any of these numbers was computed:

- Three ImageNet models cut at their last block, four classes (english_springer, church,
  french_horn, chain_saw), 10 concepts, found in those of the first 80 photographs that the model
  predicts as the class; measured on those of the next 60 that it predicts as the class.
- Importances are one number for each concept, found on the first 15 of these (Xplique's take their
  images one by one): ours by `estimate_importance` (Sobol indices) and by the mean contributions;
  CraftTf's by its `estimate_importance`; HolisticCraftTf's by its own (gradient-input).
- The score is that of U W, the residual dropped, for all three: Xplique's explain nothing else.
  Each is normalised by its own f(1) and f(0), so these numbers speak of the order of the concepts,
  not of how faithful they are. C-Deletion: low is good; C-Insertion and C-MuFidelity: high is good.
- Random and best are those of `ConceptDeletion(...).summary` and so on, for orders that all
  photographs share.

Target: ours at or above both, by each metric and model.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions
from concepts import CRAFT_TF, FITTED, HELD_OUT, HOLISTIC, JUDGES, Seen, seen_by, split_of

CLASSES = ("english_springer", "church", "french_horn", "chain_saw")
METRICS = ("C-Deletion", "C-Insertion", "C-MuFidelity")
SOBOL, SHARES = "ours, Sobol", "ours, contributions"
CONCEPTS, FEW, BATCH = 10, 15, 32
PLACES = Path(__file__).parent / "results"


def tools_of(kit: Any, model_name: str, class_name: str, split: Any, seen: Seen) -> Any:
    """Name -> (concepts, importances (k,)), and the photographs that are measured."""
    from xplique import Tasks
    from xplique.concepts import CraftTf
    from xplique.concepts.tf.holistic_craft import HolisticCraftTf
    from xplique.concepts.tf.layered_model_latent_extractor import LayeredModelExtractorBuilder

    import xplique_craft as xc

    every = np.concatenate(photographs(kit, model_name, class_name, FITTED, HELD_OUT))
    images, others, c = every[seen.fitted], every[seen.held_out], seen.class_id
    few = others[:FEW]
    craft = xc.Craft.from_model(
        split, number_of_concepts=CONCEPTS, batch_size=BATCH, keep_residual=False
    )
    craft.fit(images, c)
    theirs = CraftTf(split.input_to_latent, split.latent_to_logit, CONCEPTS, batch_size=BATCH)
    theirs.fit(images, class_id=c)
    number = [layer.name for layer in split.model.layers].index(split.layer)
    extractor = LayeredModelExtractorBuilder.build(split.model, number, batch_size=BATCH)
    holistic = HolisticCraftTf(extractor, CONCEPTS)
    holistic.fit(images, class_id=c)
    found = {
        SOBOL: (craft, craft.estimate_importance(few, targets=c)),
        SHARES: (craft, craft.contributions(few).phi.mean(axis=0)),
        CRAFT_TF: (xc.from_craft_tf(theirs, split=split), theirs.estimate_importance(few)),
        HOLISTIC: (
            xc.from_holistic(holistic, split, inputs=images),
            np.asarray(holistic.estimate_importance(few, Tasks.CLASSIFICATION, c)).reshape(-1),
        ),
    }
    return found, others


def measure(kit: Any, model_name: str, folder: Path) -> dict[tuple[str, str], list[Any]]:
    """(tool, metric) -> what each class's summary is."""
    from xplique_craft import metrics

    split = split_of(kit, model_name)
    kinds = (metrics.ConceptDeletion, metrics.ConceptInsertion, metrics.ConceptMuFidelity)
    found: dict[tuple[str, str], list[Any]] = {}
    for class_name in CLASSES:
        seen = seen_by(kit, model_name, class_name, folder)
        tools, others = tools_of(kit, model_name, class_name, split, seen)
        for tool, (concepts, importances) in tools.items():
            for name, kind in zip(METRICS, kinds, strict=True):
                summary = kind(concepts, others, batch_size=BATCH).summary(importances)
                found.setdefault((tool, name), []).append(summary)
        print(model_name, class_name, file=sys.stderr, flush=True)
    return found


def rows_of(model_name: str, found: dict[tuple[str, str], list[Any]]) -> list[list[str]]:
    """A line for each tool: means over classes, with random and best."""
    lines = []
    for tool in (SOBOL, SHARES, CRAFT_TF, HOLISTIC):
        cells = []
        for metric in METRICS:
            every = found[tool, metric]
            mean, random = (
                np.mean([getattr(one, key).value for one in every])
                for key in ("estimate", "random")
            )
            best = [one.optimum for one in every if one.optimum is not None]
            known = f"{np.mean(best):.2f}" if len(best) == len(every) else "-"
            cells.append(f"{mean:.3f} ({random:.2f}, {known})")
        lines.append([model_name, tool, *cells])
    return lines


def missed(model_name: str, found: dict[tuple[str, str], list[Any]]) -> list[str]:
    """Where a tool of Xplique is ahead of ours by Sobol indices, its own default."""
    lines = []
    for metric in METRICS:
        sign = -1.0 if metric == "C-Deletion" else 1.0

        def mean(tool: str, metric: str = metric) -> float:
            return float(np.mean([one.estimate.value for one in found[tool, metric]]))

        for ours in (SOBOL, SHARES):
            for theirs in (CRAFT_TF, HOLISTIC):
                if sign * (mean(theirs) - mean(ours)) > 0.0:
                    lines.append(
                        f"- {model_name}, {metric}: {ours} {mean(ours):.3f}, {theirs} "
                        f"{mean(theirs):.3f}."
                    )
    return lines


def write_page(rows: list[list[str]], behind: list[str]) -> str:
    """The whole result in Markdown."""
    collated = (PLACES / "beside_xplique.txt").read_text(encoding="utf-8")
    header = ["model", "concepts and importances", *METRICS]
    parts = [
        "# Beside Xplique's, number by number",
        collated.strip(),
        "## Each tool's concepts by its own importances",
        "What is measured, and on what, is said at the top of `benchmarks/beside_xplique.py`. "
        "Means over four classes; in brackets random importances, and the best that one order for "
        "all photographs can reach, where it is known, of the same concepts. C-Deletion: low is "
        "good, the others: high is good.",
        versions(),
        markdown_table(header, rows),
        "Where Xplique's are ahead of ours:",
        "\n".join(behind) or "Nowhere.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the arguments, measure model by model, print and write."""
    parser = argparse.ArgumentParser(description="Beside CraftTf and HolisticCraftTf.")
    parser.add_argument("--models", nargs="+", choices=JUDGES, default=list(JUDGES))
    parser.add_argument("--cache", type=Path, help="Folder that keeps what models see.")
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    given = parser.parse_args()
    kit = load_kit()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # Xplique's methods stop at scikit-learn's limit of iterations
    rows: list[list[str]] = []
    behind: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.cache or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for model_name in given.models:
            found = measure(kit, model_name, folder)
            rows += rows_of(model_name, found)
            behind += missed(model_name, found)
            if given.output is not None:
                given.output.parent.mkdir(parents=True, exist_ok=True)
                given.output.write_text(write_page(rows, behind), encoding="utf-8")
    print(write_page(rows, behind))


if __name__ == "__main__":
    main()
