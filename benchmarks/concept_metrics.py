"""
Claim: on affine heads the signed methods order concepts as well as any method can, by the three
metrics of concept importance; elsewhere they are measured, Sobol indices and TCAV among them.

    python benchmarks/concept_metrics.py [--cache FOLDER] [--output FILE]

Protocol, fixed before any of these numbers was computed:

- Models cut at their last block: mobilenet and efficientnet, whose heads are affine, squeezenet,
  whose head is not. Classes in this order: english_springer, church, french_horn, chain_saw, tench,
  parachute; each with all three models before the next. 10 and 25 concepts.
- Of 140 photographs of a class concepts are found, by `xplique_craft.Craft` at its defaults, in
  those of the first 80 that the model predicts as the class; importances are computed and measured
  on those of the other 60 that it predicts as the class.
- Importances: every method of `xplique_craft.importance.METHODS` at its defaults, and CraftTf's own
  recipe (Sobol indices from 32 unscrambled Halton designs by Jansen's estimator) on the same bank;
  of each photograph (n, k), and their mean over the photographs (k,), one order for all of them.
- Metrics: C-Deletion (low is good; other authors count it the other way round), C-Insertion (high
  is good), C-MuFidelity (high is good; 200 sets, each concept in a set with probability 0.2). Each
  with the residual kept and dropped, importances being of the same score; the score is the logit.
  With 10 concepts and the residual kept, C-Deletion and C-Insertion of the softmax too, by the
  importances of the logit.
- Beside them the mean of 64 random orders (of 16 with the softmax), and the optimum: known of
  affine heads, and with 10 concepts, by all 1,024 sets.
- Photographs of all classes of a model are pooled: ratios of sums, means of correlations.
  Differences are paired by photograph. Intervals are 90% bootstrap intervals over photographs.

Questions:

1. CRAFT's figure 6: Sobol indices are better than TCAV. (Differences, with one order for all
   photographs, as in that figure; and with an order for each.)
2. Holistic's theorem: on affine heads gradient x input, integrated gradients and occlusion attain
   the optimum of the three metrics. Shapley and Banzhaf values, and RISE, whose order is the same
   there, are put to the same test. Attained is what is within 1e-9 of it.
3. On squeezenet, how far is each method on the way from random orders (0) to the optimum (1)?

A single position in TCAV's order has no meaning where concepts tie, which for one photograph most
do: ties keep the order of the bank. (Corrected, see 1.)

Corrections of the metrics, made after a first run of this protocol and for all methods alike; the
page is of the run after them:

1. Ties count as the mean over the orders that they allow (all where they are at most 24, else 24
   draws), not as the order of the bank. Reason: the bank's order says nothing of the importances,
   and one that ties all concepts could be the optimum or the worst by it. TCAV is the method that
   this concerns.
2. Random orders, the optimum and the worst have the form of the importances: one order for all
   photographs where importances are (k,), one for each where they are (n, k). Reason: random orders
   of each photograph average out over the photographs, so as a floor of one order for all they were
   far too narrow, and an optimum of one order for each is out of its reach. With 10 concepts the
   best order for all is by all 1,024 sets too. The best (k,) by C-MuFidelity is not known.
3. C-MuFidelity gives one rank to sums of importances that differ by less than 1e-6 of the sum of
   |importances|, and to scores that float32 cannot tell apart. Reason: where concepts are absent,
   which set is worth more was decided by rounding.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _kit import load_kit, markdown_table, photographs, versions
from concepts import FITTED, HELD_OUT, Seen, seen_by, split_of

MODELS = ("mobilenet", "efficientnet", "squeezenet")
CLASSES = ("english_springer", "church", "french_horn", "chain_saw", "tench", "parachute")
CONCEPTS = (10, 25)
CRAFT_TF = "CraftTf's Sobol"
CLAIMED = ("gradient input", "integrated gradients", "occlusion", "rise", "shapley", "banzhaf")
SCOPES = {"each": "an order for each photograph", "all": "one order for all photographs"}
METRICS = ("C-Deletion", "C-Insertion", "C-MuFidelity")
SAME = 1e-9
SEED = 0


@dataclass(frozen=True)
class Found:
    """One importance by one metric, on the photographs of one class."""

    above: np.ndarray  # (n,): area above f(0), or correlations
    gained: np.ndarray  # (n,): f(1) - f(0), or ones
    random: float
    optimum: float | None


@dataclass(frozen=True)
class Key:
    """Of what a number is."""

    model: str
    concepts: int
    residual: bool
    activation: str | None
    metric: str
    method: str
    scope: str


Table = dict[Key, list[Found]]


# ------------------------------------------------------------------------------ banks and models
def bank_of(
    kit: Any, model_name: str, class_name: str, k: int, split: Any, seen: Seen, folder: Path
) -> np.ndarray:
    """W of a craft at its defaults; the crops of both numbers of concepts pass through g once."""
    from xplique_craft import Craft
    from xplique_craft.extraction import fit_bank
    from xplique_craft.sampling.rows import CropRows

    path = folder / f"banks_{model_name}_{class_name}.npz"
    if not path.exists():
        images, _ = photographs(kit, model_name, class_name, FITTED, HELD_OUT)
        craft = Craft.from_model(split, number_of_concepts=min(CONCEPTS), batch_size=16)
        craft.fit(images[seen.fitted], seen.class_id)
        rows = craft.concepts.known(CropRows)
        banks = {str(min(CONCEPTS)): craft.bank}
        for more in CONCEPTS:
            if str(more) not in banks:
                settings = replace(craft.extraction_settings, number_of_concepts=more)
                banks[str(more)] = fit_bank(settings, rows, craft.seed).bank
        np.savez(path, **banks)
    with np.load(path) as kept:
        return kept[str(k)]


def concepts_on(split: Any, seen: Seen, bank: np.ndarray) -> Any:
    """
    The concepts on the model's second half, whose images are the activations: g is not run again.
    """
    import keras

    from xplique_craft import split_model
    from xplique_craft.concept_model import ConceptModel, Concepts
    from xplique_craft.factorization import NMF, Factorized
    from xplique_craft.sampling.extent import Extent

    head = split.latent_to_logit
    latent = keras.Input(head.input_shape[1:], name="activations")
    logits = head(keras.layers.Identity(name="latent")(latent))
    halved = split_model(keras.Model(latent, logits), "latent")
    k, c = bank.shape
    factorized = Factorized(NMF(), bank, np.zeros(c, np.float32), True, 0, 0.0)
    extent = Extent(largest=np.ones(k), mean=np.zeros(k))
    return ConceptModel(halved, Concepts(factorized, seen.class_id, None, extent))


# ------------------------------------------------------------------------------------ importances
def importances(model: Any, activations: np.ndarray, residual: bool) -> Iterator[tuple[str, Any]]:
    """Every method's (n, k)."""
    from xplique.attributions.global_sensitivity_analysis import HaltonSequenceRS, JansenEstimator

    from xplique_craft.importance import METHODS, SobolImportance

    for name, method in METHODS.items():
        yield name, method(model, keep_residual=residual).explain(activations)
    recipe = SobolImportance(model, 32, HaltonSequenceRS(), JansenEstimator())
    head = recipe._head()
    batches = model.variant(keep_residual=residual).batches(activations)
    yield CRAFT_TF, np.concatenate([recipe._foreign(coded, head) for coded in batches])


def measure(model: Any, activations: np.ndarray, name: str, k: int, table: Table) -> str:
    """All importances of one class by all metrics; returns what TCAV's are."""
    from xplique_craft.metrics import ConceptDeletion, ConceptInsertion, ConceptMuFidelity

    kinds = [ConceptDeletion, ConceptInsertion, ConceptMuFidelity]
    tcav = ""
    for residual in (True, False):
        found = dict(importances(model, activations, residual))
        tcav = tcav or described(found["tcav"])
        for activation in (None, "softmax"):
            if activation is not None and not (residual and k == min(CONCEPTS)):
                continue
            settings = {
                "activation": activation,
                "keep_residual": residual,
                "seed": SEED,
                "nb_random": 64 if activation is None else 16,
            }
            chosen = kinds if activation is None else kinds[:2]
            metrics = [kind(model, activations, **settings) for kind in chosen]
            for metric in metrics:
                for method, values in found.items():
                    for scope, given in (("each", values), ("all", values.mean(axis=0))):
                        key = Key(name, k, residual, activation, metric.metric, method, scope)
                        table[key].append(as_found(metric.summary(given)))
    return tcav


def described(tcav: np.ndarray) -> str:
    """Of TCAV's (n, k), how many concepts have 1, the others 0, where all rows are the same."""
    if not np.isin(tcav, (0.0, 1.0)).all():
        return "not only 0 and 1"
    if np.ptp(tcav, axis=0).any():
        return "not the same for all"
    return f"{tcav[0].sum():.0f} of {tcav.shape[1]}"


def as_found(summary: Any) -> Found:
    """What is kept of a metric's answer."""
    above, gained = summary.per_image, np.ones(len(summary.per_image))
    if summary.curves is not None:
        closed, opened = summary.ends
        above, gained = above - closed, opened - closed
    return Found(above, gained, summary.random.value, summary.optimum)


# ------------------------------------------------------------------------------------------ pages
def pooled(parts: list[Found]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([p.above for p in parts]), np.concatenate([p.gained for p in parts])


def value(parts: list[Found]) -> Any:
    """The number of all classes together, with its interval."""
    from xplique_craft._intervals import bootstrap_ratio

    return bootstrap_ratio(*pooled(parts), SEED)


def difference(first: list[Found], second: list[Found]) -> Any:
    """Of two importances of the same photographs, paired."""
    from xplique_craft._intervals import bootstrap_ratio

    (a, gained), (b, _) = pooled(first), pooled(second)
    return bootstrap_ratio(a - b, gained, SEED)


def beside(parts: list[Found], name: str) -> float:
    """Random orders, or the optimum, of all classes together; NaN where it is not known."""
    values = [getattr(part, name) for part in parts]
    if any(one is None for one in values):
        return float("nan")
    weights = [part.gained.sum() for part in parts]
    return float(np.dot(values, weights) / np.sum(weights))


def way(parts: list[Found]) -> float:
    """From random orders, 0, to the optimum, 1."""
    random, optimum = beside(parts, "random"), beside(parts, "optimum")
    return (value(parts).value - random) / (optimum - random)


def of(table: Table, **wanted: Any) -> dict[Key, list[Found]]:
    """Entries with these fields."""
    return {
        key: parts
        for key, parts in table.items()
        if all(getattr(key, name) == one for name, one in wanted.items())
    }


def methods_of(table: Table) -> list[str]:
    return list(dict.fromkeys(key.method for key in table))


def residuals(model: str) -> tuple[bool, ...]:
    """On affine heads the normalised curves are the same with the residual and without it."""
    return (True, False) if model == "squeezenet" else (True,)


def kept(model: str, residual: bool) -> str:
    if len(residuals(model)) == 1:
        return "kept or dropped"
    return "kept" if residual else "dropped"


def directed(metric: str) -> str:
    return f"{metric} ({'low' if metric == 'C-Deletion' else 'high'} is good)"


def results(table: Table, model: str, k: int, residual: bool, activation: str | None) -> str:
    """All methods by all metrics, an order for each photograph and one for all."""
    chosen = of(table, model=model, concepts=k, residual=residual, activation=activation)
    metrics = [m for m in METRICS if of(chosen, metric=m)]
    rows = []
    for method in methods_of(chosen):
        row = [method]
        for metric in metrics:
            for scope in SCOPES:
                (parts,) = of(chosen, metric=metric, method=method, scope=scope).values()
                row.append(str(value(parts)))
        rows.append(row)
    for name in ("random", "optimum"):
        row = [f"*{name}*"]
        for metric in metrics:
            for scope in SCOPES:
                # Random values dealt out depend on the importances: those of contributions.
                (parts,) = of(
                    chosen, metric=metric, method="integrated gradients", scope=scope
                ).values()
                number = beside(parts, name)
                row.append("not known" if np.isnan(number) else f"{number:.3f}")
        rows.append(row)
    header = [f"{directed(m)}, {SCOPES[s]}" for m in metrics for s in SCOPES]
    return markdown_table(["importance", *header], rows)


def compared(table: Table) -> Iterator[tuple[Key, Any, Any, Any, str]]:
    """Sobol, TCAV, their difference, and which is better, of every setting."""
    for key, parts in of(table, method="sobol total", activation=None).items():
        if key.residual not in residuals(key.model):
            continue
        (other,) = of(table, **{**vars(key), "method": "tcav"}).values()
        found = difference(parts, other)
        sign = -1 if key.metric == "C-Deletion" else 1
        verdict = "no difference"
        if found.low * found.high > 0.0:
            verdict = "Sobol" if sign * found.value > 0.0 else "TCAV"
        yield key, value(parts), value(other), found, verdict


def sobol_against_tcav(table: Table) -> str:
    """Question 1."""
    rows = [
        [
            SCOPES[key.scope],
            directed(key.metric),
            key.model,
            str(key.concepts),
            kept(key.model, key.residual),
            *map(str, numbers),
        ]
        for key, *numbers in compared(table)
    ]
    rows.sort(key=lambda row: row[:5])
    header = ["order", "metric", "model", "concepts", "residual", "Sobol", "TCAV"]
    return markdown_table([*header, "Sobol less TCAV", "better"], rows)


def findings(table: Table, tcav: list[str]) -> str:
    """What the tables say, in a few lines."""
    lines = []
    for scope, name in SCOPES.items():
        verdicts = [verdict for key, *_, verdict in compared(table) if key.scope == scope]
        lines.append(
            f"- Sobol against TCAV, {name}: Sobol is better in {verdicts.count('Sobol')} of "
            f"{len(verdicts)} settings, TCAV in {verdicts.count('TCAV')}; in the others the "
            "interval of the difference holds 0."
        )
        by_metric = []
        for metric in METRICS:
            found = [
                verdict
                for key, *_, verdict in compared(table)
                if key.scope == scope and key.metric == metric
            ]
            by_metric.append(f"{metric} {found.count('Sobol')} of {len(found)}")
        lines[-1] += f" Sobol is better by {', '.join(by_metric)}."
    affine = {key: parts for key, parts in table.items() if key.model != "squeezenet"}
    lines.append(
        "- Deletion and insertion mirror each other on affine heads (one is 1 less the other; "
        f"largest deviation here {mirrored(affine):.1e}), so the settings are not independent: of "
        "mobilenet and efficientnet, C-Insertion repeats what C-Deletion says. Nor are they for "
        "another reason: all settings of a model are of the same photographs."
    )
    gaps = {
        (method, metric): largest_gap(affine, method, metric, "each")
        for method in methods_of(affine)
        for metric in METRICS
    }
    for claimed, who in ((CLAIMED, "put to the test"), (None, "others")):
        names = [m for m in methods_of(affine) if (m in CLAIMED) == (claimed is not None)]
        held = [m for m in names if all(gaps[m, metric] <= SAME for metric in METRICS)]
        missed = [
            f"{m} ({metric}, by up to {gaps[m, metric]:.3f})"
            for m in names
            for metric in METRICS
            if m not in held and gaps[m, metric] > SAME
        ]
        lines.append(
            f"- Optimum on affine heads, an order for each photograph, {who}: attained by "
            f"{', '.join(held) or 'none'}; missed by {', '.join(missed) or 'none'}."
        )
    each, both = (
        [
            p
            for parts in of(
                affine, method="tcav", metric="C-Deletion", scope=s, activation=None
            ).values()
            for p in parts
        ]
        for s in SCOPES
    )
    same = max(np.abs(a.above - b.above).max() for a, b in zip(each, both, strict=True))
    lines.append(
        "- TCAV on affine heads: 1 for concepts along which the score rises, 0 for the others, the "
        "same for all photographs, so both forms are one order with many ties (they differ by at "
        f"most {same:.1e}). How many concepts have 1: {'; '.join(tcav)}. That tells which concepts "
        "speak for the class, and nothing else: where all have the same, it is what random orders "
        "are on average."
    )
    lines.append(
        "- RISE's importances are scores: a set of more concepts has a larger sum whatever they "
        "are worth, which C-MuFidelity counts against it."
    )
    return "\n".join(lines)


def mirrored(affine: Table) -> float:
    """How far deletion plus insertion is from 1, at most, over methods, forms and classes."""
    gaps = []
    for key, parts in of(affine, metric="C-Deletion", activation=None).items():
        (other,) = of(affine, **{**vars(key), "metric": "C-Insertion"}).values()
        for one, two in zip(parts, other, strict=True):
            gaps.append(abs((one.above.sum() + two.above.sum()) / one.gained.sum() - 1.0))
    return max(gaps)


def largest_gap(table: Table, method: str, metric: str, scope: str) -> float:
    """How far from the optimum, at most, over all classes and settings."""
    chosen = of(table, method=method, metric=metric, scope=scope, activation=None)
    return max(abs(value([p]).value - p.optimum) for parts in chosen.values() for p in parts)


def theorem(table: Table) -> str:
    """Question 2."""
    rows = []
    affine = {key: parts for key, parts in table.items() if key.model != "squeezenet"}
    for method in methods_of(affine):
        row = [f"**{method}**" if method in CLAIMED else method]
        for metric in METRICS:
            for scope in SCOPES:
                if metric == METRICS[2] and scope == "all":
                    row.append("not known")
                    continue
                gap = largest_gap(affine, method, metric, scope)
                row.append("attained" if gap <= SAME else f"{gap:.3f}")
        rows.append(row)
    header = [f"{m}, {SCOPES[s]}" for m in METRICS for s in SCOPES]
    return markdown_table(["importance", *header], rows)


def ways(table: Table) -> str:
    """Question 3."""
    rows = []
    chosen = of(table, model="squeezenet", activation=None, concepts=min(CONCEPTS))
    for method in methods_of(chosen):
        row = [method]
        for metric in METRICS[:2]:
            for residual in (True, False):
                for scope in SCOPES:
                    (parts,) = of(
                        chosen, method=method, metric=metric, residual=residual, scope=scope
                    ).values()
                    row.append(f"{way(parts):.3f}")
        rows.append(row)
    header = [
        f"{m}, residual {r}, {SCOPES[s]}"
        for m in METRICS[:2]
        for r in ("kept", "dropped")
        for s in SCOPES
    ]
    return markdown_table(["importance", *header], rows)


def write_page(table: Table, done: list[str], tcav: list[str]) -> str:
    """The whole result in Markdown."""
    left = [name for name in CLASSES if not any(name in one for one in done)]
    parts = [
        "# Importances by deletion, insertion and muFidelity of concepts",
        "What is measured and on what is said at the top of `benchmarks/concept_metrics.py`. "
        "Intervals are 90%. C-Deletion: low is good; other authors count it the other way round. "
        "C-Insertion and C-MuFidelity: high is good.",
        f"Measured: {'; '.join(done)}. Left out for the time it takes: "
        f"{', '.join(left) or 'none'}.",
        versions(),
        "## Findings",
        findings(table, tcav),
        "## Do Sobol indices beat TCAV?",
        sobol_against_tcav(table),
        "## Is the optimum attained on affine heads?",
        "Largest distance from the optimum, of an order for each photograph or of one for all, "
        "over classes, models, numbers of concepts, and the residual kept and dropped. In bold: "
        "what the theorem names, Shapley and Banzhaf values, "
        "and RISE.",
        theorem(table),
    ]
    if of(table, model="squeezenet"):
        parts += [
            "## How far on the way to the optimum, on a head that is not affine",
            f"squeezenet, {min(CONCEPTS)} concepts: 0 is random, 1 the optimum, both of the same "
            "form: an order for each photograph, or one for all.",
            ways(table),
        ]
    for activation in (None, "softmax"):
        for model in dict.fromkeys(key.model for key in table):
            for k in CONCEPTS:
                for residual in residuals(model):
                    if of(table, model=model, concepts=k, residual=residual, activation=activation):
                        score = "the logit" if activation is None else "the softmax"
                        which = kept(model, residual) if activation is None else "kept"
                        parts += [
                            f"## {model}, {k} concepts, residual {which}, {score}",
                            results(table, model, k, residual, activation),
                        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Read the arguments, measure class by class, print and write."""
    parser = argparse.ArgumentParser(description="Importances by three metrics.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--classes", nargs="+", default=CLASSES, metavar="CLASS")
    parser.add_argument("--cache", type=Path, help="Folder that keeps what models see, and banks.")
    parser.add_argument("--output", type=Path, help="Markdown file to write.")
    given = parser.parse_args()
    kit = load_kit()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    table: Table = defaultdict(list)
    done: list[str] = []
    tcav: list[str] = []  # of the affine heads
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.cache or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        splits = {name: split_of(kit, name) for name in given.models}
        for class_name in given.classes:
            for name, split in splits.items():
                start = time.perf_counter()
                seen = seen_by(kit, name, class_name, folder)
                for k in CONCEPTS:
                    bank = bank_of(kit, name, class_name, k, split, seen, folder)
                    model = concepts_on(split, seen, bank)
                    found = measure(model, seen.activations[seen.held_out], name, k, table)
                    if name != "squeezenet":
                        tcav.append(f"{name} {class_name} {found}")
                done.append(f"{name} {class_name} ({len(seen.held_out)} photographs)")
                spent = time.perf_counter() - start
                print(f"{done[-1]}: {spent:.0f} s", file=sys.stderr, flush=True)
            if given.output is not None:
                given.output.parent.mkdir(parents=True, exist_ok=True)
                given.output.write_text(write_page(table, done, tcav), encoding="utf-8")
    print(write_page(table, done, tcav))


if __name__ == "__main__":
    main()
