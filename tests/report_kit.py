"""For the tests of the report: a class explained around a real picture, a reader of pages."""

from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
from skimage import data

from xplique_craft.results import (
    ClassExplanation,
    ConceptCard,
    Contributions,
    Estimate,
    ImageView,
    Importance,
    Quality,
)

VOID = {"meta", "img", "input", "br", "rect", "path", "use"}


def bump(height, width, row, column, size, peak=1.0):
    rows, columns = np.mgrid[0:height, 0:width]
    square = (rows / height - row) ** 2 + (columns / width - column) ** 2
    return peak * np.exp(-square / (2 * size**2))


def make_explanation(
    name="astronaut", picture=None, number=4, images=12, views=2, seed=0, **changes
):
    rng = np.random.default_rng(seed)
    picture = data.astronaut() if picture is None else picture
    phi = rng.permutation(4.0 * 0.5 ** np.arange(number)) * rng.uniform(0.8, 1.2, (images, number))
    phi[:, -1] *= -1.0
    base, residual = np.full(images, -0.3117), rng.uniform(0.5, 1.0, images)
    gap = np.full(images, 0.004)
    score = base + residual + phi.sum(1) + gap
    contributions = Contributions(phi, base, residual, score, gap, 0.002 * np.abs(phi), 8, False)
    per_image = phi**2 / (phi**2).sum(1, keepdims=True)
    overall = per_image.mean(0)
    importance = Importance(
        per_image,
        overall,
        np.stack([0.97 * overall, 1.03 * overall], 1),
        np.stack([0.8 * overall, 1.2 * overall], 1),
        "sobol total",
        1000,
        False,
    )
    cards = [
        ConceptCard(
            int(concept),
            float(contributions.share[concept]),
            Estimate(overall[concept], 0.8 * overall[concept], 1.2 * overall[concept]),
            (0.97 * overall[concept], 1.03 * overall[concept]),
            [picture[20 * i : 20 * i + 90, 60:150] for i in range(8)],
            list(np.linspace(1.0, 0.3, 8)),
            rng.uniform(0.1, 1.0, images) * (np.arange(images) > 2),
        )
        for concept in np.argsort(-contributions.share)
    ]
    photograph = picture[:200, :300]
    shown = []
    for place in range(views):
        maps = np.stack(
            [bump(200, 300, 0.3 + 0.1 * j, 0.2 + 0.15 * j, 0.1) for j in range(number)], axis=-1
        )
        maps[..., 0] *= 0.01  # too faint to show
        scalars = (float(part[place]) for part in (base, residual, score, gap))
        shown.append(
            ImageView(photograph, maps, phi[place], *scalars, f"{name} {place}", prediction=name)
        )
    quality = Quality(
        Estimate(0.985, 0.97, 1.0),
        Estimate(1.04, 0.98, 1.1),
        Estimate(0.93, 0.9, 0.96),
        0.213,
        0.41,
        3.1e-7,
        images,
    )
    held_out = replace(
        quality,
        agreement=Estimate(0.955, 0.9, 1.0),
        explained_share=Estimate(0.5, 0.4, 0.6),
        number_of_images=5,
    )
    values = {
        "model_name": "small_cnn",
        "layer": "conv4",
        "class_name": name,
        "class_id": 3,
        "number_of_images": images,
        "number_left_out": 17,
        "patch_sizes": "2/7, 1/2, 5/7 and the whole image",
        "seed": 42,
        "versions": {"xplique": "2.0.2", "keras": "3.15.0"},
        "quality": quality,
        "quality_held_out": held_out,
        "contributions": contributions,
        "importance": importance,
        "cards": cards,
        "images": shown,
        "notes": ["Only 12 images were given."],
    }
    return ClassExplanation(**(values | changes))


class Elements(HTMLParser):
    """All elements of a page: (tag, attributes, text inside), and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.mistakes = [], [], []
        self.feed(text)
        self.close()
        self.mistakes += [element["tag"] for element in self.open]

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        if len(set(names)) < len(names):
            self.mistakes.append((tag, names))
        parents = tuple(self.open)
        element = {"tag": tag, "text": "", "parents": parents, **dict(attributes)}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1]["tag"] != tag:
            self.mistakes.append(f"/{tag}")
        else:
            self.open.pop()

    def handle_data(self, text):
        for element in self.open:
            element["text"] += text

    def all(self, tag=None, class_=None, **attributes):
        """Elements of this tag, class and attributes ("_" for "-")."""
        return [
            element
            for element in self.found
            if tag in (None, element["tag"])
            and (class_ is None or class_ in element.get("class", "").split())
            and all(element.get(k.replace("_", "-")) == v for k, v in attributes.items())
        ]


def inside(element, outer):
    return any(parent is outer for parent in element["parents"])


def amount(text):
    return Decimal(text.strip().replace("\N{MINUS SIGN}", "-"))
