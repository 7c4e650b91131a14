"""
From a model and images of its classes to a folder in which every class is explained.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .._checks import check, check_callable, check_is, check_list
from .._files import readable
from ..checkpoint import Checkpoint, digest, of_extraction, of_model
from ..craft import Craft
from ..explanation.of_concepts import check_folds_or_none, told_judge
from ..factorization import get_factorizer
from ..factorization.base import Factorizer
from ..metrics.judge import embed_crops
from ..metrics.judged_crops import check_judge
from ..sampling.crops import IMAGE_WINDOWS
from ..saving import save
from ..splitting.layers import recommended_layer
from ..splitting.split import Split, split_model
from ..targets import check_class_id, check_class_names
from ..where_to_cut import candidate_layers
from .all_classes import asked_classes, explain_all, summarise, tasks_of
from .folder import SUMMARY, Atlas
from .of_one_class import ModelFiles, Settings
from .routing import route
from .sources import source_of


def explain_model(
    model: keras.Model | Split,
    images: Any,
    labels: Any = None,
    classes: Sequence[int] | None = None,
    *,
    number_of_concepts: int = 10,
    images_per_class: int = 100,
    folder: str | Path,
    layer: str | int | keras.layers.Layer | None = None,
    preprocess: str | Callable[[np.ndarray], Any] = "none",
    photographs: Any = None,
    class_names: Sequence[str] | None = None,
    model_name: str | None = None,
    held_out: float | None = 0.3,
    patch_size: int | Sequence[int] | None = None,
    factorizer: str | Factorizer = "nmf",
    keep_residual: bool = True,
    baseline: str = "zero",
    special_tokens: int | None = None,
    keep_special_tokens: bool | None = None,
    number_of_crops: int = 6,
    number_of_views: int = 6,
    nb_design: int = 128,
    folds: int = 0,
    judge: keras.Model | None = None,
    prepare: Callable[[np.ndarray], Any] | None = None,
    batch_size: int = 64,
    seed: int = 0,
    n_jobs: int | None = None,
    load_model: Callable[[], keras.Model] | None = None,
    verbose: bool = False,
) -> Atlas:
    """
    Explain every class of a model: what `explain_class` does, for all of them, into one folder.

    One pass over the images says which class the model predicts for each; g runs once on each of
    them. Then every class is explained by the first images that are predicted as it. A class is
    saved as soon as it is done: the same call, after Ctrl-C or a kill, goes on where it stopped and
    ends with the same numbers, bit for bit. A class that cannot be explained is recorded with the
    reason, and the others go on.

    `joblib.parallel_config(backend="loky" | "dask" | "ray")` spreads classes over processes or over
    a cluster, whose machines must see the folder, and the pictures where images are a folder.

    A model that was made in the scope of a `tf.distribute.MirroredStrategy` runs on all of its
    replicas, each of which takes a part of every batch.

    Parameters
    ----------
    model
        A Keras model, images to logits; or what `split_model` returned.
    images
        (n, H, W, channels), preprocessed as the model takes them: an array, a tensor, a file of
        arrays (`np.memmap`), or a tf.data.Dataset, of images or of (image, label), in the same
        order each time; they are read a batch at a time. Or a folder with a folder of pictures for
        each class, by its path, or as `atlas.PictureFolder` where sizes differ.
    labels
        (n,) classes, -1 where an image has none, or one-hot: they say how often the model is right,
        and what it confuses. Of a folder of pictures, a mapping from the names of its folders to
        classes; None takes these for indices, or for names in `class_names`.
    classes
        Which classes are explained; None explains all that are predicted for two images or more.
    number_of_concepts
        How many concepts are looked for in each class.
    images_per_class
        How many images of each class are used at most: the first ones that are predicted as it.
    folder
        A new folder, or one of the same call, which then goes on. Images are told by their number
        and by a sample, not by all of their values.
    layer
        Where to cut the model, see `split_model`; None takes the last layer that is not negative
        and has positions, or the place where it is cut already.
    preprocess
        What was done to pictures of a folder when the model was trained: "none", "unit", "tf",
        "torch", "caffe" or "mean=R,G,B;std=R,G,B" (see `xplique-craft explain --help`), or a
        function of pictures (n, H, W, channels) uint8. Other images come preprocessed.
    photographs
        The images as people look at them, as in `explain_class`; not for a folder, whose pictures
        are shown.
    class_names
        What all classes are called; None calls them by number.
    model_name
        What pages call the model; None for its Keras name.
    held_out, number_of_crops, number_of_views, nb_design, folds, judge, prepare
        They do what they do in `explain_class`; with 0 `folds`, stability is not measured, which
        takes longer than all the rest of a class.
    patch_size, factorizer, keep_residual, baseline, special_tokens, keep_special_tokens
        They do what they do in `Craft(...)`.
    batch_size
        How many images, or images times gates, are run at a time; it bounds the memory.
    seed
        Everything random follows from it.
    n_jobs
        How many classes are explained at the same time, each in a process of its own, see
        `joblib.Parallel`; None takes what `joblib.parallel_config` says, else 1. Processes of one
        machine share its cores: sums are rounded by how many threads each has.
    load_model
        A function that returns the model in another process, where that cannot be loaded from a
        file (it has layers that are not registered), or is to be made in the scope of a strategy;
        None saves the model in the folder meanwhile.
    verbose
        True shows a progress bar: images, then classes, how many images a second, the time left.

    Returns
    -------
    atlas
        What the folder holds.

    Raises
    ------
    TypeError, ValueError
        If an argument is malformed; if no class could be explained, with the first reason; if the
        folder is of another call.
    """
    split = _split_of(model, layer, factorizer)
    network = split.network
    number_of_classes = network.number_of_classes
    wanted = None if classes is None else _check_classes(classes, number_of_classes)
    check_class_names(class_names, number_of_classes)
    check("images_per_class", images_per_class)
    for name, value in {
        "number_of_crops": number_of_crops,
        "number_of_views": number_of_views,
        "nb_design": nb_design,
        "model_name": model_name,
        "verbose": verbose,
        "batch_size": batch_size,
    }.items():
        check(name, value)
    if held_out is not None:
        check("held_out", held_out)
    if n_jobs is not None:
        check_is("n_jobs", n_jobs, int, "a whole number, or None")
    if load_model is not None:
        check_callable("load_model", load_model, "a function that returns the model, or None")
    settings = Settings(
        number_of_concepts=number_of_concepts,
        batch_size=batch_size,
        patch_size=patch_size,
        factorizer=factorizer,
        keep_residual=keep_residual,
        baseline=baseline,
        special_tokens=special_tokens,
        keep_special_tokens=keep_special_tokens,
        seed=seed,
        class_names=class_names,
        held_out=held_out,
        model_name=readable(model_name or split.model.name),
        number_of_crops=number_of_crops,
        number_of_views=number_of_views,
        nb_design=nb_design,
        folds=check_folds_or_none(folds),
        prepare=prepare,
    )
    craft = settings.craft(split)
    if judge is not None:
        check_judge(judge, split.model, prepare)
    source = source_of(
        images,
        labels,
        shape=network.input_shape,
        classes=number_of_classes,
        batch_size=batch_size,
        preprocess=preprocess,
        photographs=photographs,
        class_names=class_names,
    )
    sample, pictures = source.sample()
    IMAGE_WINDOWS.boxes(sample.shape[1:], craft.patch_size)  # whether crops fit in the images
    told = {
        **_told(settings, craft, sample, pictures, judge),
        **source.told(),
        "classes": None if wanted is None else str(wanted),
        "images_per_class": images_per_class,
    }
    with Checkpoint(folder, "explain_model", lambda: told, name="folder") as kept:
        if kept.folder is None:
            raise ValueError(
                "factorizer must have settings that can be told from those of another call, for "
                "the folder goes on with the same one: numbers, texts and arrays."
            )
        if not (kept.folder / SUMMARY).exists():
            routed = route(
                source,
                network,
                kept.folder / "routing",
                classes=wanted,
                images_per_class=images_per_class,
                verbose=verbose,
            )
            asked = asked_classes(routed, wanted)
            files = ModelFiles(
                routed.folder,
                split.layer,
                digest(*split.model.get_weights()),
                load_model,
                judge is not None,
            )
            tasks = tasks_of(kept.folder, routed, asked, source.title, settings, files)
            with files.shared(split, judge):
                explain_all(tasks, files, split, judge, n_jobs, verbose)
            summary = summarise(kept.folder, routed, asked, settings, split, verbose)
            save(summary, kept.folder / SUMMARY)
        shutil.rmtree(kept.folder / "routing", ignore_errors=True)
        atlas = Atlas(kept.folder)
        if not (kept.folder / "index.html").exists():
            atlas.write(verbose)
    return atlas


def _split_of(model: Any, layer: Any, factorizer: str | Factorizer) -> Split:
    """The model, cut where the user says, or where it is best begun with."""
    if isinstance(model, Split):
        if layer is not None:
            raise ValueError(
                f"layer must be left out where the model is split already (at {model.layer!r}), "
                f"received {layer!r}."
            )
        return model
    check_is("model", model, keras.Model, "a Keras model, or what split_model returned")
    if layer is None:
        signed = not get_factorizer(factorizer).requires_non_negative
        best = recommended_layer(candidate_layers(model), model.output_shape[-1], signed=signed)
        if best is None:
            raise ValueError(
                "layer must be given: no layer of this model is known to have positions that "
                "matter and to suit the factorizer. xplique_craft.candidate_layers(model, images) "
                "says where it can be cut, and recommends a layer."
            )
        layer = best.name
    return split_model(model, layer)


def _check_classes(classes: Any, number: int) -> list[int]:
    """Indices of classes, each once, by increasing index."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    found = {
        check_class_id(one, number, "classes") for one in check_list("classes", classes, "indices")
    }
    if not found:
        raise ValueError("classes must be at least one index, or None for all, received none.")
    return sorted(found)


def _told(
    settings: Settings,
    craft: Craft,
    sample: np.ndarray,
    pictures: np.ndarray,
    judge: keras.Model | None,
) -> dict[str, Any]:
    """What decides the numbers, besides the images."""
    judged = None
    if judge is not None:
        seen = embed_crops(judge, [pictures[0]], [0], prepare=settings.prepare).embeddings
        judged = told_judge(judge, seen, pictures[:1])
    names = "" if settings.class_names is None else "\n".join(settings.class_names)
    return {
        **of_model(craft, sample),
        **of_extraction(craft.extraction_settings),
        "keep_residual": craft.keep_residual,
        "keep_special_tokens": craft.keep_special_tokens,
        "baseline": craft.baseline,
        "images": digest(sample),
        "photographs": digest(pictures),
        "held_out": settings.held_out or 0.0,
        "number_of_crops": settings.number_of_crops,
        "number_of_views": settings.number_of_views,
        "nb_design": settings.nb_design,
        "folds": settings.folds,
        "judge": judged,
        "class_names": digest(np.frombuffer(names.encode("utf-8", "replace"), np.uint8)),
        "model_name": settings.model_name,
    }
