"""
How many concepts to look for: what each number reaches, and which one is recommended.

Crops go through g once for all numbers, as a bank of another size is fitted on the same rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .._checks import check, check_int, check_is, check_list
from ..concept_model import ConceptModel, Concepts
from ..craft import Craft
from ..extraction import fit_bank, rows_of
from ..factorization import Factorized
from ..metrics.folds import check_folds, stability_of
from ..metrics.judged_crops import (
    FEWEST,
    Chosen,
    Pictures,
    check_judge,
    check_judged,
    judged,
    window_rows,
)
from ..metrics.quality import measure_quality
from ..results import Estimate, NumberOfConcepts, NumberTried
from ..sampling.examples import coefficients_of_crops
from ..sampling.extent import Extent, mean_of_special
from ..sampling.stream import Stream
from ..targets import check_class_id
from .selection import images_as_array, select

NUMBERS = (5, 10, 15, 20, 25)
MEASURES: tuple[tuple[str, Callable[[NumberTried], Estimate | None]], ...] = (
    ("agreement", lambda one: one.quality.agreement),
    ("explained share", lambda one: one.quality.explained_share),
    ("stability", lambda one: one.stability.matched),
    ("purity", lambda one: None if one.purity is None else one.purity.accuracy),
)
"""What numbers are held against each other by, in this order."""


def choose_number_of_concepts(
    craft: Craft,
    images: Any,
    class_id: int,
    numbers: Sequence[int] = NUMBERS,
    *,
    held_out: float | None = 0.3,
    folds: int = 5,
    judge: keras.Model | None = None,
    photographs: Any = None,
    prepare: Callable[[np.ndarray], Any] | None = None,
    shown: int = 20,
    trials: int = 1000,
) -> NumberOfConcepts:
    """
    Try several numbers of concepts and recommend one of them.

    The recommendation follows one rule. The numbers are held against each other by agreement, then
    by explained share, then by stability, then by purity; each time those stay that are as good as
    the best of those left, which means: within the best one's 90% interval. Of the numbers that
    stay to the end the smallest is recommended, because fewer concepts are easier to look through.
    So no number is chosen that is surely less faithful to the model than another; of the faithful
    ones none whose concepts come again less surely; and of these none whose concepts are less pure.

    Parameters
    ----------
    craft
        Says how concepts are looked for, with all its settings but the number of concepts. It may
        be fitted or not, and stays as it is.
    images
        (n, H, W, channels), preprocessed as the model takes them: array or tensor, no dataset. Only
        those that the model predicts as the class are used.
    class_id
        Which class the concepts are of, by its index among the model's outputs.
    numbers
        The numbers that are tried, each of them at least 2.
    held_out
        This share of the images of the class, at least one, is kept out of the fits, and quality
        and purity are measured on it. With None or 0 they are measured on the images of the fits,
        where more concepts always look better.
    folds
        Into how many parts the images of the fits are divided to measure stability; so many banks
        and two more are fitted for each number, which takes most of the time.
    judge
        Another network, by which purity is measured, see `metrics.purity`; None leaves purity out.
    photographs
        The pictures that the judge's crops are cut from, one for each of the n images; or a
        function that makes them of images. None cuts them from the images themselves.
    prepare, trials
        They do what they do in `metrics.purity`.
    shown
        How many crops stand for each concept at most, each of another held-out image. Where few are
        held out, the crops of a concept that few of them hold show it faintly, and many concepts
        look less pure than they are on more images.

    Returns
    -------
    result
        What each number reaches; `.recommended` with `.reason`; `plots.number_of_concepts` draws
        it.

    Raises
    ------
    TypeError
        If `images` is a dataset, or the judge no Keras model.
    ValueError
        If too few images are predicted as the class, for the folds, the largest number or the
        judge; if the judge is the explained model.
    """
    check_is("craft", craft, Craft, "a Craft, whose settings are used")
    class_id = check_class_id(class_id, craft.network.number_of_classes)
    tried = [check_int("numbers", one, minimum=2) for one in check_list("numbers", numbers, "ints")]
    if not tried:
        raise ValueError("numbers must hold at least one number of concepts, received none.")
    tried = sorted(set(tried))
    share = 0.0 if held_out is None else check("held_out", held_out)
    folds, trials = check("folds", folds), check("trials", trials)
    shown = check_int("shown", check("shown", shown), minimum=FEWEST)
    if judge is not None:
        check_judge(judge, craft.model, prepare)
        if trials < max(tried):
            raise ValueError(
                f"trials must be at least one for each of {max(tried)} concepts, received {trials}."
            )
    images = images_as_array(images)
    stream = Stream(images, craft.network.input_shape, craft.batch_size, name="images")
    pictures = None
    if judge is not None:
        pictures = Pictures.of(stream, photographs)
        check_judged(judge, pictures, prepare)
    fitted, held, _ = select(craft, stream, class_id, share)
    asked = held if len(held) else fitted
    if judge is not None and len(asked) < FEWEST:
        raise ValueError(
            f"judge needs crops of at least {FEWEST} images, and {len(asked)} are held out. Give "
            "more images, or hold out a larger share of them."
        )
    settings = craft.extraction_settings
    found = rows_of(craft, settings, craft.stream(images[fitted]), class_id)
    check_folds(found, folds, max(tried))
    every = [replace(settings, number_of_concepts=number) for number in tried]
    banks = [fit_bank(one, found, craft.seed) for one in every]
    special = mean_of_special(craft.stream(images[fitted]), craft.network, found.special_tokens)
    chosen, windows = [], None
    if judge is not None:  # before the other banks, so that too few crops are known by then
        stream = craft.stream(images[asked])
        windows = window_rows(craft, stream, class_id, settings)
        for bank in banks:
            crops_u = coefficients_of_crops(stream, craft.network, bank, windows)
            chosen.append(Chosen.of(windows.boxes, crops_u, shown, craft.seed))
    reached = []
    with tqdm(
        total=len(tried),
        desc="numbers of concepts",
        unit="number",
        disable=not craft.verbose,
        leave=False,
    ) as bar:
        for own, bank in zip(every, banks, strict=True):
            quality = measure_quality(_model(craft, bank, class_id, special), images[asked])
            stability = stability_of(
                own,
                found,
                bank,
                folds=folds,
                seed=craft.seed,
                seed_of_fit=craft.seed,
                verbose=craft.verbose,
            )
            reached.append(NumberTried(own.number_of_concepts, quality, stability))
            bar.update()
    if judge is not None and windows is not None and pictures is not None:
        of_all = pictures.images
        some = replace(pictures, images=lambda numbers: of_all(asked[numbers]), number=len(asked))
        purities = judged(
            chosen,
            windows.boxes,
            some,
            judge,
            prepare,
            trials=trials,
            batch_size=craft.batch_size,
            seed=craft.seed,
            verbose=craft.verbose,
        )
        reached = [
            replace(one, purity=purity) for one, purity in zip(reached, purities, strict=True)
        ]
    recommended, reason = recommend(reached)
    return NumberOfConcepts(reached, recommended, reason, len(fitted), len(held))


def recommend(reached: Sequence[NumberTried]) -> tuple[int, str]:
    """A number of concepts, by the rule of `choose_number_of_concepts`, and why, in a sentence."""
    left = sorted(reached, key=lambda one: one.number)
    measures, behind = [], {}
    for name, of in MEASURES:
        values = {one.number: of(one) for one in left}
        known = {n: one for n, one in values.items() if one is not None and np.isfinite(one.value)}
        if not known:
            continue
        measures.append(name)
        best = max(known, key=lambda number: min(known[number].value, 1.0))
        least = np.fmin(known[best].low, min(known[best].value, 1.0))  # without an interval itself
        for number, one in known.items():
            if one.value < least:
                behind[number] = f"{name} ({one.value:.2f}, where {best} have {known[best]})"
        left = [one for one in left if one.number not in behind]
    chosen = left[0].number
    if not measures:
        return chosen, f"{chosen} is the smallest number, and no measure is defined for any."
    by = " and ".join(filter(None, (", ".join(measures[:-1]), measures[-1])))
    reason = f"{chosen} is the smallest number that is as good as the best in {by}"
    smaller = [number for number in behind if number < chosen]
    if smaller:
        reason += f"; {max(smaller)} concepts are behind in {behind[max(smaller)]}"
    return chosen, f"{reason}."


def _model(
    craft: Craft, factorized: Factorized, class_id: int, special: np.ndarray
) -> ConceptModel:
    """The craft's model with another bank, of which no more is asked than its quality."""
    not_known = np.full(len(factorized.bank), np.nan, np.float32)
    concepts = Concepts(factorized, class_id, None, Extent(not_known, not_known, special))
    return ConceptModel(
        craft.split,
        concepts,
        batch_size=craft.batch_size,
        seed=craft.seed,
        verbose=craft.verbose,
        keep_special_tokens=craft.keep_special_tokens,
    )
