"""
Purity: are the crops that show a concept best of one kind to another network?

It is the intruder test of `intruder.py`, asked of a fitted craft: the best crops of each concept,
one of a photograph, against those of its other concepts, and beside them the floor, the same test
on crops drawn at random.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .._checks import check, check_callable, check_int, check_is, warn
from .._intervals import UNKNOWN
from .._random import Draw, generator
from ..concept_model import ConceptModel, ExtractionSettings, check_craft
from ..photographs import as_pictures, as_uint8
from ..results import Purity
from ..sampling import Crops, Stream
from ..sampling.crops import IMAGE_WINDOWS, SHOWN_WINDOWS, PhotographWindows, Windows
from ..sampling.examples import coefficients_of_crops
from ..sampling.representatives import best_crops
from ..sampling.rows import CropRows, extract_rows
from .intruder import SHOWN, Trials, intruder_test
from .judge import CropCluster, embed_crops
from .too_few import TooFewPhotographs

FEWEST = SHOWN + 1  # photographs of a trial, of which each concept has crops
Prepare = Callable[[np.ndarray], Any]


def purity(
    craft: ConceptModel,
    judge: keras.Model,
    *,
    inputs: Any = None,
    photographs: Any = None,
    prepare: Prepare | None = None,
    shown: int = 20,
    trials: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
) -> Purity:
    """
    How often another network finds the odd crop among five, for the best crops of each concept.

    Parameters
    ----------
    craft
        A fitted `Craft`.
    judge
        A Keras model from pictures (n, H, W, channels) to (n, d), or to maps (n, ..., d), whose
        mean over positions is taken; best one that was trained on the same kind of pictures, cut
        before its logits. It has to be another network than the explained one, which would find
        its own concepts pure.
    inputs
        Images, preprocessed as the model takes them, whose crops are judged, best held-out ones:
        crops at many places and of several sizes go through g then, 30 of each image. None takes
        the crops that the craft found in the images of `fit`, at no pass.
    photographs
        The pictures that the judge's crops are cut from: one for each image, (n, H', W', 3) or
        (n, H', W'), uint8 or pixels in [0, 255]; or a function that makes such pictures of images
        as the model takes them. None cuts them from these images themselves, whatever numbers they
        hold.
    prepare
        A function that makes of crops (n, H, W, channels) float32, at the judge's size, what the
        judge takes, as its preprocessing; None where it takes them as they are.
    shown
        How many crops stand for each concept at most, each of another photograph, at least five.
        With more of them concepts look less pure, because those that hold less of it count too.
    trials
        How many trials there are; the concepts take turns. More of them narrow the intervals.
    batch_size
        How many crops the judge sees at a time; it bounds the memory.
    seed
        The same seed draws the same trials, and the same random crops for the floor.

    Returns
    -------
    purity
        The share of the trials in which the odd crop was found, of all and of each concept, beside
        its floor and chance.

    Raises
    ------
    TypeError
        If the judge is no Keras model.
    ValueError
        If the judge is the explained model, or shares weights with it; if concepts were not found
        by `fit`; if under two of them have crops of five photographs.

    Warns
    -----
    UserWarning
        If concepts are left out, because they have crops of fewer than five photographs.
    """
    concepts = check_craft(craft).concepts
    shown = check_int("shown", check("shown", shown), minimum=FEWEST)
    trials, seed = check("trials", trials), check("seed", seed)
    batch_size = check("batch_size", batch_size)
    check_judge(judge, craft.model, prepare)
    if concepts.crops is None or concepts.crops_u is None or concepts.settings is None:
        raise ValueError(
            "craft must have found its concepts by fit, to have crops of them, and these were "
            "not: they are parts of a concept, united, or Xplique's. Ask the Craft that found them."
        )
    stream = craft.stream(craft.inputs_of_fit if inputs is None else inputs)
    pictures = Pictures.of(stream, photographs)
    check_judged(judge, pictures, prepare)
    boxes, crops_u = concepts.crops.boxes, concepts.crops_u
    if inputs is not None:
        found = window_rows(craft, stream, concepts.class_id, concepts.settings)
        boxes = found.boxes
        crops_u = coefficients_of_crops(stream, craft.network, craft.factorized, found)
    chosen = Chosen.of(boxes, crops_u, shown, seed)
    settings = {"trials": trials, "batch_size": batch_size, "seed": seed}
    return judged([chosen], boxes, pictures, judge, prepare, verbose=craft.verbose, **settings)[0]


def check_judge(judge: Any, model: keras.Model, prepare: Any) -> None:
    """
    Refuse what is no judge: it must be a Keras model, and another one than the explained.

    Weights are compared by their values too, for the same file may have been loaded twice; those
    of one axis are not, because biases and normalisations of any two models may be alike.
    """
    check_is("judge", judge, keras.Model, "a Keras model")
    if prepare is not None:
        check_callable("prepare", prepare, "a function of pictures, or None")
    own = {id(weight) for weight in model.weights}
    known: dict[tuple[int, ...], list[np.ndarray]] = {}
    for weight in model.weights:
        if len(weight.shape) > 1:
            known.setdefault(tuple(weight.shape), []).append(np.asarray(weight))
    for weight in judge.weights:
        alike = known.get(tuple(weight.shape), [])
        if id(weight) in own or any(np.array_equal(np.asarray(weight), one) for one in alike):
            raise ValueError(
                "judge must be another network than the explained model, and has the same "
                f"weights ({weight.path!r}): a model finds its own concepts pure. Give one that "
                "was trained apart from it."
            )


@dataclass(frozen=True)
class Pictures:
    """
    What crops are cut from, for the judge to see.

    Parameters
    ----------
    images
        Function from the numbers (j,) of images to their pictures (j, H', W', channels).
    channels
        How many channels these have.
    windows
        How boxes, which refer to the images as the model takes them, are cut out of them.
    number
        How many images there are.
    """

    images: Callable[[np.ndarray], np.ndarray]
    channels: int
    windows: Windows
    number: int

    @classmethod
    def of(cls, stream: Stream, photographs: Any) -> "Pictures":
        """The photographs where these are given, else the images themselves."""
        shape = next(iter(stream)).images.shape[1:]
        if len(shape) != IMAGE_WINDOWS.axes + 1:
            raise ValueError(f"Crops need images (n, H, W, channels), received (n, {shape}).")
        number = stream.length or sum(len(batch.images) for batch in stream)
        if number < FEWEST:
            raise TooFewPhotographs(
                f"{stream.name} must be at least {FEWEST} images, because all crops of a trial "
                f"come from different ones, received {number}."
            )
        if photographs is None:
            return cls(stream.images, shape[-1], IMAGE_WINDOWS, number)
        windows = PhotographWindows(shape[:2])
        if callable(photographs):

            def restored(numbers: np.ndarray) -> np.ndarray:
                found = as_pictures(photographs, stream.images(numbers))
                return check_is("photographs", found, np.ndarray, "a function of images")

            return cls(restored, 3, windows, number)
        pixels = as_uint8(photographs, (number,))
        return cls(lambda numbers: pixels[numbers], 3, windows, number)

    def crops(self, boxes: np.ndarray) -> Crops:
        """A lazy sequence of these crops."""
        return Crops(boxes, self.images, self.channels, windows=self.windows)


def check_judged(judge: keras.Model, pictures: Pictures, prepare: Prepare | None) -> None:
    """Show the judge one picture, so that what is wrong with it is said before the work begins."""
    embed_crops(judge, list(pictures.images(np.array([0]))), [0], prepare=prepare)


def window_rows(
    craft: ConceptModel, stream: Stream, class_id: int, settings: ExtractionSettings
) -> CropRows:
    """Crops of images at all windows that may show a concept, through g."""
    return extract_rows(
        stream,
        craft.network,
        settings.factorizer,
        class_id=class_id,
        patch_size=None,
        max_crops=settings.max_crops,
        seed=craft.seed,
        verbose=craft.verbose,
        windows=SHOWN_WINDOWS,
        special_tokens=settings.special_tokens,
    )


@dataclass(frozen=True)
class Chosen:
    """
    The crops that stand for concepts.

    Parameters
    ----------
    concepts
        Those that have crops of enough photographs.
    left_out
        The others.
    best
        For each of `concepts`, the numbers of the crops that hold the most of it.
    random
        As many that were drawn from all crops, each of another photograph too.
    shown
        How many there are of a concept at most.
    """

    concepts: list[int]
    left_out: list[int]
    best: list[np.ndarray]
    random: list[np.ndarray]
    shown: int

    @classmethod
    def of(cls, boxes: np.ndarray, crops_u: np.ndarray, shown: int, seed: int) -> "Chosen":
        """A ValueError where under two concepts have crops of enough photographs."""
        found = best_crops(boxes, crops_u, shown)
        kept = [j for j, best in enumerate(found) if len(best) >= FEWEST]
        if len(kept) < 2:
            raise TooFewPhotographs(
                f"Of the {len(found)} concepts, {len(kept)} have crops of {FEWEST} photographs or "
                "more, and two are needed, for the odd crop is one of another concept. Give more "
                "images, or ask for more concepts."
            )
        random = []
        for j in kept:
            order = generator(seed, Draw.RANDOM_CROPS, j).permutation(len(boxes))
            _, first = np.unique(boxes[order, 0], return_index=True)
            random.append(order[np.sort(first)[: len(found[j])]])
        left = [j for j in range(len(found)) if j not in kept]
        return cls(kept, left, [found[j] for j in kept], random, shown)


def judged(
    every: Sequence[Chosen],
    boxes: np.ndarray,
    pictures: Pictures,
    judge: keras.Model,
    prepare: Prepare | None,
    *,
    trials: int,
    batch_size: int,
    seed: int,
    verbose: bool,
) -> list[Purity]:
    """
    Purity of several banks by crops of the same images; the judge sees each crop once.

    Parameters
    ----------
    every
        Which crops stand for the concepts of each bank.
    boxes
        (m, 5): all crops, which `every` numbers.
    pictures, judge, prepare, trials, batch_size, seed, verbose
        They do what they do in `purity`.
    """
    for chosen in every:
        if trials < len(chosen.concepts):
            raise ValueError(
                f"trials must be at least one for each of the {len(chosen.concepts)} concepts, "
                f"received {trials}."
            )
    needed = np.unique(np.concatenate([one for c in every for one in (*c.best, *c.random)]))
    needed = needed[np.argsort(boxes[needed, 0], kind="stable")]  # a photograph at a time
    parts = []
    with tqdm(
        total=len(needed), desc="judge", unit="crop", disable=not verbose, leave=False
    ) as bar:
        for start in range(0, len(needed), batch_size):
            crops = pictures.crops(boxes[needed[start : start + batch_size]])
            parts.append(embed_crops(judge, crops, prepare=prepare, batch_size=batch_size))
            bar.update(len(crops))
    embeddings = np.concatenate([part.embeddings for part in parts])
    place = np.zeros(len(boxes), int)
    place[needed] = np.arange(len(needed))

    def test(groups: list[np.ndarray]) -> Trials:
        clusters = [CropCluster(embeddings[place[one]], boxes[one, 0]) for one in groups]
        return intruder_test(clusters, trials=trials, seed=seed)

    return [
        _purity(chosen, test(chosen.best), test(chosen.random), pictures.number) for chosen in every
    ]


def _purity(chosen: Chosen, found: Trials, floor: Trials, number_of_images: int) -> Purity:
    by_concept = [UNKNOWN] * (len(chosen.concepts) + len(chosen.left_out))
    for place, concept in enumerate(chosen.concepts):
        own = found.clusters == place
        by_concept[concept] = Trials(
            found.won[own], found.photographs[own], found.clusters[own], found.chance
        ).accuracy
    if chosen.left_out:
        warn(
            f"Concepts {', '.join(map(str, chosen.left_out))} are left out of the purity, and "
            f"theirs is NaN: they have crops of fewer than {FEWEST} photographs."
        )
    return Purity(
        accuracy=found.accuracy,
        by_concept=by_concept,
        floor=floor.accuracy,
        chance=found.chance,
        left_out=chosen.left_out,
        shown=chosen.shown,
        number_of_trials=len(found.won),
        number_of_images=number_of_images,
    )
