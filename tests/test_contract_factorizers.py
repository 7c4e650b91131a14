"""
What every factorizer promises of how it is used; `test_factorizers` says what it finds.

The registry is walked, so a new factorizer is tested by being there.
"""

import dataclasses
from typing import Any

import contracts
import numpy as np
import planted
import pytest
import tensorflow as tf
from models import planted_factorization
from numpy.testing import assert_allclose, assert_array_equal
from reference import matched_cosines
from sklearn.exceptions import NotFittedError

import xplique_craft as xc
from xplique_craft.factorization import (
    FACTORIZERS,
    Factorized,
    Factorizer,
    XpliqueFactorizer,
    get_factorizer,
)

EVERY = [get_factorizer(name) for name in FACTORIZERS]
every_factorizer = pytest.mark.parametrize("factorizer", EVERY, ids=lambda one: one.name)
K = 4
DRAWING = (
    "kmeans",
    "nmf",
    "semi-nmf",
    "signed-nmf",
)  # from clusters, or from singular vectors by random sketches
CLUSTERING = ("kmeans", "semi-nmf")  # where the clusters begin decides what is found


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """(150, 12), of four concepts and a little noise."""
    rng = np.random.default_rng(1)
    return planted_factorization(rng, n=150, k=K, c=12, noise=0.1).activations


@pytest.fixture(scope="module")
def found(rows: np.ndarray) -> dict[str, Factorized]:
    return {one.name: one.fit(rows, K) for one in EVERY}


@every_factorizer
def test_before_fit(factorizer: Factorizer, rows: np.ndarray) -> None:
    images = planted.paintings(3)
    craft = xc.Craft.from_model(
        planted.network(planted.bank()), planted.LAYER, 3, factorizer=factorizer.name
    )
    asked = {
        "transform": images,
        "inverse_transform": np.ones((2, 3)),
        "contributions": images,
        "ablation_effects": images,
        "quality": images,
        "estimate_importance": None,
        "explain_image": images[0],
        "bound_decoder": images,
    }
    for name, given in asked.items():
        with pytest.raises(NotFittedError, match="call fit"):
            getattr(craft, name)(given)
    for name in ("encoder", "position_encoder", "decoder", "bank", "factorized", "concepts"):
        with pytest.raises(NotFittedError, match="call fit"):
            getattr(craft, name)
    adapter = XpliqueFactorizer(factorizer, n_components=K)
    for ask in (adapter.encode, adapter.decode):
        with pytest.raises(ValueError, match="call fit"):
            ask(rows)


@every_factorizer
def test_nothing_else_changes(factorizer: Factorizer, rows: np.ndarray) -> None:
    """Neither the rows, nor the factorizer, nor anything global."""
    given, settings = rows.copy(), dict(vars(factorizer))
    tf.random.get_global_generator()
    before = contracts.global_state()
    fitted = factorizer.fit(rows, K)
    u, _ = fitted.encode(rows)
    fitted.decode(u)
    after = contracts.global_state()
    assert [name for name, value in before.items() if after[name] != value] == []
    assert_array_equal(rows, given)
    assert vars(factorizer) == settings


@every_factorizer
@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows.astype(np.float64),
        np.asfortranarray,
        lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
        lambda rows: rows.tolist(),
    ],
    ids=["float64", "columns first", "every other column", "lists"],
)
def test_forms_of_the_rows(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized], form: Any
) -> None:
    """The same bits, whatever holds them; also where it must not be written to."""
    other = form(rows)
    if isinstance(other, np.ndarray):
        other.flags.writeable = False
    again = factorizer.fit(other, K)
    assert again.bank.tobytes() == found[factorizer.name].bank.tobytes()
    assert again.offset.tobytes() == found[factorizer.name].offset.tobytes()


@every_factorizer
def test_another_seed(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized]
) -> None:
    """Other draws where there are any: as far from the rows, and of the same concepts here."""
    mine = found[factorizer.name]
    others = [factorizer.fit(rows, K, seed=seed) for seed in range(1, 5)]
    changed = any(one.bank.tobytes() != mine.bank.tobytes() for one in others)
    assert changed == (factorizer.name in DRAWING)
    for one in others:
        assert one.relative_error <= 1.3 * mine.relative_error


@every_factorizer
def test_the_order_of_the_rows(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized]
) -> None:
    """Draws go to other rows then; what is found is the same as far as the rows decide it."""
    mine = found[factorizer.name]
    order = np.random.default_rng(2).permutation(len(rows))
    other = factorizer.fit(rows[order], K)
    assert_allclose(other.relative_error, mine.relative_error, rtol=0.05)
    if factorizer.name not in CLUSTERING:
        cosines, _ = matched_cosines(other.bank.astype(np.float64), mine.bank)
        assert cosines.min() > 0.999
    u = mine.encode(rows)[0].numpy()
    assert_allclose(mine.encode(rows[order])[0], u[order], rtol=0.0, atol=1e-5 * u.max())


@every_factorizer
def test_the_order_of_the_concepts(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized]
) -> None:
    order = np.array([2, 0, 3, 1])
    mine = found[factorizer.name]
    other = dataclasses.replace(mine, bank=mine.bank[order])
    u = mine.encode(rows)[0].numpy()
    assert_allclose(other.encode(rows)[0], u[:, order], rtol=0.0, atol=1e-5 * np.abs(u).max())
    assert_allclose(other.decode(u[:, order]), mine.decode(u), rtol=1e-5, atol=1e-5)


@every_factorizer
@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_are_encoded_by_themselves(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized], batch_size: int
) -> None:
    mine, some = found[factorizer.name], rows[:21]
    together = mine.encode(some)[0].numpy()
    parts = [mine.encode(some[at : at + batch_size])[0] for at in range(0, len(some), batch_size)]
    assert_allclose(np.concatenate(parts), together, rtol=0.0, atol=1e-5 * np.abs(together).max())


@every_factorizer
def test_no_rows_at_all(factorizer: Factorizer, found: dict[str, Factorized]) -> None:
    u, residual = found[factorizer.name].encode(np.zeros((0, 12), np.float32))
    assert u.shape == (0, K)
    assert residual.shape == (0,)
    assert found[factorizer.name].decode(u).shape == (0, 12)


@every_factorizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types(
    factorizer: Factorizer, rows: np.ndarray, found: dict[str, Factorized], dtype: type
) -> None:
    """Coefficients have the type of the activations, and come back as one."""
    mine = found[factorizer.name]
    u, residual = mine.encode(rows.astype(dtype))
    assert u.dtype == residual.dtype == dtype
    assert mine.decode(u).dtype == dtype
    assert mine.transform(rows.astype(dtype)).dtype == dtype
    expected = mine.encode(rows)[0].numpy()
    assert_allclose(u, expected, rtol=0.0, atol=1e-4 * np.abs(expected).max())
    assert_allclose(mine.encode(tf.constant(rows))[0], expected, rtol=0.0, atol=0.0)


@every_factorizer
def test_a_craft_reads_arrays_tensors_and_datasets_alike(factorizer: Factorizer) -> None:
    images = planted.paintings(6, seed=4)
    model = planted.network(planted.bank())
    forms = [
        images,
        tf.constant(images),
        tf.data.Dataset.from_tensor_slices(images).batch(4),
        tf.data.Dataset.from_tensor_slices((images, np.zeros(6, int))),
    ]
    banks = []
    for form in forms:
        craft = xc.Craft.from_model(model, planted.LAYER, 3, factorizer=factorizer.name)
        _fit(craft, form)
        banks.append(craft.bank)
        assert craft.transform(form).shape == (6, 8, 8, 3)
    for bank in banks[1:]:
        assert_array_equal(bank, banks[0])


def _fit(craft: xc.Craft, inputs: Any) -> None:
    with pytest.warns(UserWarning, match="images are predicted as class"):
        craft.fit(inputs, 0)
