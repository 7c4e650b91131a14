"""The classes of a model: which are asked for, each of them explained, and what is said of all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from .._checks import warn
from ..explanation.of_class import versions
from ..explanation.selection import FEWEST_IMAGES
from ..results import ClassExplanation, ClassSummary, ModelSummary
from ..saving import load
from ..splitting.split import Split
from ..targets import class_name_of
from .folder import class_folder, reason_of
from .of_one_class import EXPLANATION, ClassTask, ModelFiles, Settings, fail
from .routing import Routed
from .spread import Workers
from .together import together

NAMED = 3  # classes that failed, in a warning


def asked_classes(routed: Routed, wanted: list[int] | None) -> list[int]:
    """Classes to explain, by increasing index: all that are predicted often enough, or those."""
    if wanted is not None:
        return wanted
    found, counts = np.unique(routed.predictions, return_counts=True)
    asked = found[counts >= FEWEST_IMAGES].tolist()
    if not asked:
        raise ValueError(
            f"images must hold at least {FEWEST_IMAGES} that are predicted as the same class, and "
            f"these {routed.number} do not: give more."
        )
    return asked


def tasks_of(
    folder: Path,
    routed: Routed,
    asked: list[int],
    title: Callable[[int], str],
    settings: Settings,
    files: ModelFiles,
) -> list[ClassTask]:
    """What is left to do; classes without images are recorded as such."""
    tasks = []
    for class_id in asked:
        kept = routed.kept(routed.predictions == class_id)
        if len(kept.numbers) < FEWEST_IMAGES:
            fail(
                class_folder(folder, class_id),
                f"Only {len(kept.numbers)} of {len(routed.numbers)} images are predicted as it, "
                f"and {FEWEST_IMAGES} are needed at least.",
            )
            continue
        titles = [title(number) for number in kept.numbers.tolist()]
        where = class_folder(folder, class_id)
        task = ClassTask(where, class_id, kept, titles, settings, files)
        if not task.done:
            tasks.append(task)
    return tasks


def explain_all(
    tasks: list[ClassTask],
    files: ModelFiles,
    split: Split,
    judge: keras.Model | None,
    n_jobs: int | None,
    verbose: bool,
) -> None:
    """Explain what is left, where joblib says."""
    if not tasks:
        return
    workers = Workers(n_jobs)
    if not workers.here:
        files = replace(files, threads=workers.threads)
        files.write(split, judge)
        tasks = [replace(task, model=files) for task in tasks]
    workers.run(tasks, verbose)


def summarise(
    folder: Path,
    routed: Routed,
    asked: list[int],
    settings: Settings,
    split: Split,
    verbose: bool,
) -> ModelSummary:
    """What is said of the model beside the explanations of its classes."""
    classes = [_summary_of(folder, routed, class_id, settings) for class_id in asked]
    failed = [one for one in classes if one.failed is not None]
    if failed and len(failed) == len(classes):
        raise ValueError(f"No class could be explained; {failed[0].class_name}: {failed[0].failed}")
    notes = []
    if failed:
        named = "; ".join(f"{one.class_name}: {one.failed}" for one in failed[:NAMED])
        more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        notes.append(
            f"{len(failed)} of {len(classes)} classes could not be explained ({named}{more})"
        )
        warn(f"{notes[0]}.")
    unread = routed.number - len(routed.numbers)
    if unread:
        notes.append(f"{unread} of {routed.number} pictures cannot be read and are skipped.")
    found = together(folder, routed, split, classes, settings.seed, verbose)
    return ModelSummary(
        model_name=str(settings.model_name),
        layer=split.layer,
        seed=settings.seed,
        versions=versions(),
        images=routed.number,
        classes=classes,
        merged=found.merged,
        fidelity=found.fidelity,
        confusions=found.confusions,
        notes=notes + found.notes,
    )


def _summary_of(folder: Path, routed: Routed, class_id: int, settings: Settings) -> ClassSummary:
    predicted, labelled, right = routed.counts(class_id)
    name = class_name_of(class_id, settings.class_names)
    reason = reason_of(folder, class_id)
    if reason is not None:
        return ClassSummary(
            class_id, name, predicted, labelled, right, 0, np.empty(0, np.float32), failed=reason
        )
    found: ClassExplanation = load(class_folder(folder, class_id) / EXPLANATION)
    quality = found.quality_held_out or found.quality
    return ClassSummary(
        class_id=class_id,
        class_name=found.class_name,
        predicted=predicted,
        labelled=labelled,
        right=right,
        number_of_images=found.number_of_images,
        shares=found.contributions.share,
        agreement=quality.agreement,
        reconstruction_share=quality.reconstruction_share,
        explained_share=quality.explained_share,
        purity=None if found.purity is None else found.purity.accuracy,
    )
