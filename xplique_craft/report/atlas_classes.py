"""The classes of an atlas as its pages name and list them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._files import readable
from ..plots import ConceptStyle, concept_label, concept_style
from ..results import ClassSummary, Estimate, MergedConcepts, ModelSummary
from .atlas_thumbnails import Sheet
from .numbers import number, percent

SHOWN = 5  # thumbnails in a row of the index
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Named:
    """A class as a page mentions it; `page` is None where it has none, `sheet` where no crops."""

    class_id: int
    name: str
    page: str | None
    sheet: Sheet | None


@dataclass(frozen=True)
class Member:
    """
    A concept of a class: its style is that of the class's page, `column` its place on the sheet.

    `share` is of the class's score, `cosine` how like the merged concept it is; both as printed.
    """

    of: Named
    concept: int
    code: str
    style: ConceptStyle | None
    column: int | None
    share: str
    cosine: str

    @property
    def crops(self) -> int:
        """How many thumbnails there are of it."""
        sheet = self.of.sheet
        return 0 if sheet is None or self.column is None else sheet.crops[self.column]


@dataclass(frozen=True)
class Row:
    """A class in the index: `cells` are what its columns print, `failed` why it has none."""

    of: Named
    cells: list[str]
    failed: str | None


def page_of(class_id: int) -> str:
    """Where the page of a class is, from the atlas's folder."""
    return f"classes/{class_id:04d}.html"


def sheet_path(class_id: int) -> str:
    """Where its thumbnails are."""
    return f"assets/{class_id:04d}.jpg"


def names_of(summary: ModelSummary, sheets: Mapping[int, Sheet]) -> dict[int, Named]:
    """Every class that a page may mention, also those that were confused but not asked for."""
    known = {
        one.class_id: Named(
            one.class_id,
            readable(one.class_name).strip() or f"class {one.class_id}",
            page_of(one.class_id) if one.failed is None else None,
            sheets.get(one.class_id),
        )
        for one in summary.classes
    }
    for confusion in summary.confusions:
        for class_id in (confusion.actual, confusion.predicted):
            known.setdefault(class_id, Named(class_id, f"class {class_id}", None, None))
    return known


def member_of(merged: MergedConcepts, place: int, names: Mapping[int, Named]) -> Member:
    """The concept at a `place` of `merged.classes` and `merged.concepts`."""
    class_id, concept = int(merged.classes[place]), int(merged.concepts[place])
    of = names.get(class_id) or Named(class_id, f"class {class_id}", None, None)
    column = None if of.sheet is None else of.sheet.column(concept)
    known = of.sheet is not None and concept in of.sheet.concepts
    rank = of.sheet.concepts.index(concept) if of.sheet is not None and known else None
    return Member(
        of,
        concept,
        concept_label(concept),
        None if rank is None else concept_style(rank),
        column,
        percent(float(merged.shares[place])),
        number(float(merged.cosines[place])),
    )


def columns_of(classes: Sequence[ClassSummary]) -> list[tuple[str, str]]:
    """(key, heading) of each column of numbers; those of which no class has any are left out."""
    columns = [("accuracy", "Accuracy")] if any(one.labelled for one in classes) else []
    columns += [("agreement", "Agreement")]
    if any(one.purity is not None for one in classes):
        columns += [("purity", "Purity")]
    return [*columns, ("explained", "Explained"), ("concepts", "Concepts"), ("images", "Images")]


def rows_of(
    classes: Iterable[ClassSummary], columns: Sequence[tuple[str, str]], names: Mapping[int, Named]
) -> list[Row]:
    """The rows of the index, in the order of the classes."""
    rows = []
    for one in classes:
        cells = {
            "accuracy": percent(one.accuracy) if one.labelled else UNKNOWN,
            "agreement": _printed(one.agreement, as_percent=True),
            "purity": _printed(one.purity),
            "explained": _printed(one.explained_share),
            "concepts": str(len(one.shares)),
            "images": str(one.number_of_images),
        }
        failed = None if one.failed is None else readable(one.failed).strip() or "unknown reason"
        rows.append(Row(names[one.class_id], [cells[key] for key, _ in columns], failed))
    return rows


def _printed(estimate: Estimate | None, *, as_percent: bool = False) -> str:
    if estimate is None or estimate.value != estimate.value:
        return UNKNOWN
    return percent(estimate.value) if as_percent else number(estimate.value)
