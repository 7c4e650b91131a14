"""For the tests of saving: results of every kind, equality to the bit, files written by hand."""

import dataclasses
import hashlib
import json
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from report_kit import make_explanation
from tree_kit import make_tree

import xplique_craft as xc
from xplique_craft.results import (
    ClassSummary,
    Comparison,
    Complexity,
    ConceptCard,
    ConceptInteractions,
    ConceptStability,
    Confusion,
    Contributions,
    Estimate,
    EvaluationPath,
    Extraction,
    ImageExplanation,
    ImageView,
    Importance,
    ImportanceFidelity,
    Measure,
    MergedConcepts,
    MethodScores,
    ModelSummary,
    NumberOfConcepts,
    NumberTried,
    OutputFidelity,
    OutputScores,
    Prevalence,
    Purity,
    RecoveredOrder,
    RecoveredPlaces,
    Recovery,
    SanityCheck,
)

FIXTURES = Path(__file__).parent / "fixtures"


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal to the bit, of the same types, arrays in the same order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        orders = [
            sorted((i for i in range(x.ndim) if x.shape[i] > 1), key=lambda i, x=x: -x.strides[i])
            for x in (a, b)
        ]
        alike = (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
        return alike and (orders[0] == orders[1] or a.size == 0)
    if isinstance(a, (float, np.floating)) and np.isnan(a):  # whichever NaN it is
        return bool(np.isnan(b))
    if isinstance(a, np.generic):
        return a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if dataclasses.is_dataclass(a) and not isinstance(a, Enum):
        names = [field.name for field in dataclasses.fields(a) if field.init]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return bool(a == b)


def eighths(*shape: int, period: int = 7) -> np.ndarray:
    """Small multiples of 1/8: the same bits on every machine, and whatever draws at random."""
    numbers = np.arange(np.prod(shape)) * 5 % period - period // 2
    return (numbers / 8).reshape(shape).astype(np.float32)


def results() -> dict[str, Any]:
    """One result of every kind that users are given, in full."""
    picture = (np.arange(1800) * 37 % 251).reshape(20, 30, 3).astype(np.uint8)
    phi = np.asfortranarray(eighths(5, 4).astype(np.float64))
    base, residual = eighths(2, 5) + 8.0
    score = base + residual + phi.sum(axis=1)
    contributions = Contributions(
        phi, base, residual, score, np.zeros(5), np.abs(phi) / 64, 8, False
    )
    importance = Importance(
        phi**2,
        (phi**2).mean(axis=0),
        np.full((4, 2), np.nan),
        eighths(4, 2, period=9),
        "sobol total",
        1000,
        False,
        contributions=contributions,
        path=EvaluationPath("plain", "the head is a Lambda"),
        concepts=np.array([2, 0, 3, 1]),
    )
    cards = [
        ConceptCard(
            concept,
            float(contributions.share[concept]),
            Estimate(0.25, 0.125, np.float64(0.5)),
            (0.25, 0.5),
            [picture[:6, :9], picture[3:, 5:14]],
            [1.0, 0.5],
            phi[:, concept],
        )
        for concept in (1, 0, 3, 2)
    ]
    explanation = make_explanation(
        picture=np.tile(picture, (11, 11, 1)),
        number=4,
        views=0,
        quality_held_out=None,
        contributions=contributions,
        importance=importance,
        cards=cards,
        tree=make_tree(1),
    )
    total = 0.75 + float(phi[0].sum())
    view = ImageView(picture, eighths(20, 30, 4), phi[0], 0.5, 0.25, total, 0.0, "one", "m")
    explanation = dataclasses.replace(explanation, images=[view])
    gradcam = MethodScores(
        "GradCAM",
        None,
        0.25,
        None,
        {"deletion": eighths(5, period=9)},
        {"deletion": Estimate(np.float32(0.5), float("nan"), float("inf"))},
        {"deletion": eighths(5, 3, period=9)},
        eighths(2, 8, 8, period=9).astype(np.float16),
    )
    quality, share = explanation.quality, Estimate(0.5, 0.25, 0.75)
    purity = Purity(share, [share, Estimate(*3 * [float("nan")])], share, 0.2, [1], 20, 1000, 9)
    stability = ConceptStability(share, share, share, np.abs(eighths(2, 5)).astype(np.float64), 9)
    scores = OutputScores(share, share, Estimate(*3 * [float("nan")]), share)
    return {
        "explanation": explanation,
        "explanation with measures": dataclasses.replace(
            explanation, stability=stability, purity=purity
        ),
        "contributions": contributions,
        "importance": importance,
        "comparison": Comparison(
            "m",
            "l",
            "c",
            5,
            None,
            (Measure("deletion", "Deletion", -1, "why"),),
            [gradcam, MethodScores("Rise", None, failed="no memory")],
            picture[None],
            ["one"],
            7,
        ),
        "image": ImageExplanation(
            1,
            0.5,
            None,
            ("no UTF-8: \udcff, \0", None),
            eighths(3, period=9),
            contributions,
            None,
            None,
            eighths(4, 4, period=9),
            picture,
            [[picture[:5]], []],
        ),
        "outputs": OutputFidelity(scores, scores, scores, "additive", 9, 4, 3, 0.125),
        "prevalence": Prevalence(
            [Estimate(0.1, 0.0, 0.2)], [Estimate(1.0, 1.0, 1.0)], np.arange(3), np.arange(3) > 1
        ),
        "fidelity": [
            ImportanceFidelity(
                "C-Deletion",
                -1,
                share,
                share,
                0.25,
                0.75,
                eighths(5).astype(np.float64),
                eighths(5, 4).astype(np.float64),
                eighths(3, 4).astype(np.float64),
                eighths(4).astype(np.float64),
            ),
            ImportanceFidelity(
                "C-MuFidelity", 1, share, share, None, None, eighths(5), shared=True
            ),
        ],
        "interactions": ConceptInteractions(
            eighths(3),
            eighths(3, 2),
            np.full((3, 2), np.nan),
            eighths(3, 3),
            eighths(3, 3, 2),
            np.full((3, 3, 2), np.nan),
            eighths(5, 3, 3),
            "banzhaf",
            40,
            False,
            EvaluationPath("closed form", ""),
        ),
        "model": ModelSummary(
            "m",
            "conv",
            0,
            {"xplique_craft": "0"},
            9,
            [
                ClassSummary(0, "a", 5, 4, 3, 3, eighths(2), share, share, share, share),
                ClassSummary(2, "b", 1, None, None, 0, eighths(0), failed="Only 1 image."),
            ],
            MergedConcepts(
                eighths(3, 4),
                np.array([0, 0, 2, 2]),
                np.array([0, 1, 0, 1]),
                np.array([0, 1, 1, 2]),
                np.abs(eighths(4)),
                eighths(4),
                0.9,
            ),
            {},
            [
                Confusion(
                    0,
                    2,
                    1,
                    4,
                    1,
                    np.array([1, 2]),
                    eighths(2),
                    eighths(2),
                    eighths(2),
                    eighths(2),
                    [np.zeros((2, 2, 3), np.uint8)],
                )
            ],
            ["a note"],
        ),
        "extraction": Extraction(
            *6 * [share], [1], [(0, 2), (1, 3)], np.abs(eighths(3)), 3, 12, 0, None
        ),
        "complexity": Complexity(
            [share, share], np.abs(eighths(2, 2)), ["a", "b"], np.array([0.5, 1.0]), 40, 5
        ),
        "recovery": Recovery(
            ("a", "b"),
            1,
            9,
            np.array([True, False]),
            np.array([True, False]),
            [share, share],
            eighths(2),
            eighths(2),
            eighths(2, 3),
            np.array([0, -1, 0]),
            np.array([1, -1]),
            eighths(2),
            eighths(2),
            {"sobol": RecoveredOrder(eighths(2), 1.0, 0.5, float("nan"))},
            {"Rise": RecoveredPlaces([share, share], [share, share], share, share, share, share)},
        ),
        "sanity": SanityCheck(quality, quality, quality),
        "tree": make_tree(2),
        "number of concepts": NumberOfConcepts(
            [NumberTried(2, quality, stability, purity), NumberTried(3, quality, stability)],
            2,
            "2 is the smallest number.",
            10,
            4,
        ),
        "several": [contributions, (importance, {"a name": importance})],
    }


# ------------------------------------------------------------------------------- files by hand
def parts_of(path: Path) -> tuple[dict[str, Any], Any, bytes]:
    """The header without its metadata, the record, and the arrays' bytes."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    text = header.pop("__metadata__")["xplique_craft"]
    return header, json.loads(text[65:]), content[end:]


def write_signed(path: Path, header: dict[str, Any], record: Any, data: bytes) -> Path:
    """
    A file with the checksum of what it holds, whatever that is: by docs/saved_files.md, and with
    nothing of the package.
    """
    text = record if isinstance(record, str) else json.dumps(record)
    digest = hashlib.sha256(text.encode())
    for name in sorted(header):
        said = header[name]
        try:
            begin, end = said["data_offsets"]
            digest.update(f"\n{name}\n{said['dtype']} {said['shape']}\n".encode())
            digest.update(data[begin:end])
        except (KeyError, TypeError, ValueError):
            pass
    whole = {"__metadata__": {"xplique_craft": f"{digest.hexdigest()}\n{text}"}, **header}
    head = json.dumps(whole).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)
    return path


# ------------------------------------------------------------------ what the kept fixtures are of
def fixture_model() -> Any:
    """A small network with a batch normalisation, whose weights are the same for ever."""
    import keras  # not for those who read results alone

    images = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="first")(images)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Conv2D(5, 3, activation="relu", padding="same", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(images, keras.layers.Dense(4, name="logits")(x), name="fixture")
    model.set_weights(
        [
            np.abs(eighths(*weight.shape)) if "variance" in weight.path else eighths(*weight.shape)
            for weight in model.weights
        ]
    )
    return model


def fixture_images() -> np.ndarray:
    return np.abs(eighths(12, 16, 16, 3, period=13) + eighths(12, 16, 1, 1, period=11))


def fixture_craft() -> "xc.Craft":
    model, images = fixture_model(), fixture_images()
    craft = xc.Craft.from_model(model, "last", 3, 8, seed=5)
    craft.fit(images, int(model.predict(images, verbose=0).mean(axis=0).argmax()))
    craft.estimate_importance()
    return craft


def write_fixtures() -> None:
    """What tests/fixtures holds; a new version of the format gets files of its own."""
    FIXTURES.mkdir(exist_ok=True)
    craft = fixture_craft()
    images = fixture_images()
    craft.save(FIXTURES / "craft_v1.safetensors")
    answers = {
        "u": craft.transform(images),
        "contributions": craft.contributions(images),
        "importances": craft.sensitivity.importances,  # type: ignore[union-attr]
        "quality": craft.quality(images),
    }
    xc.save(answers, FIXTURES / "answers_v1.safetensors")
    xc.save(results(), FIXTURES / "results_v1.safetensors")


if __name__ == "__main__":
    write_fixtures()
