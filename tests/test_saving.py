"""Results in files: equal to the bit, in any reader's format, or refused with the reason."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from report_kit import make_explanation
from saving_kit import FIXTURES, parts_of, results, same, write_signed
from tree_kit import make_tree
from typer.testing import CliRunner

import xplique_craft as xc
from xplique_craft import report
from xplique_craft import results as records
from xplique_craft.console.app import app
from xplique_craft.results import Contributions, Estimate
from xplique_craft.saving import RESULTS, VERSION, UnreadableFile, read_saved, write_saved

RESULTS_BY_NAME = results()


# ------------------------------------------------------------------------------------ round trips
@pytest.mark.parametrize("name", RESULTS_BY_NAME)
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    path = xc.save(RESULTS_BY_NAME[name], tmp_path / "new" / "result.safetensors")
    assert same(xc.load(path), RESULTS_BY_NAME[name])


def test_every_record_can_be_saved() -> None:
    """Whoever adds a record adds it here, or users cannot save it."""
    kinds = {
        name
        for name in records.__all__
        if isinstance(getattr(records, name), type)
        and (
            dataclasses.is_dataclass(getattr(records, name))
            or issubclass(getattr(records, name), Enum)
        )
    }
    assert set(RESULTS) == kinds
    seen: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            list(map(visit, value))
        elif isinstance(value, dict):
            list(map(visit, value.values()))
        elif type(value).__name__ in kinds:
            seen.add(type(value).__name__)
            if dataclasses.is_dataclass(value):
                visit([getattr(value, field.name) for field in dataclasses.fields(value)])

    visit(RESULTS_BY_NAME)
    assert seen == kinds


NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(st.characters(exclude_categories=[])),
    npst.arrays(
        npst.scalar_dtypes().filter(lambda d: d.kind in "biuf" and d.itemsize <= 8), ()
    ).map(lambda array: array[()].astype(array.dtype.newbyteorder("="))),
    npst.arrays(
        st.sampled_from(["?", "<i4", ">i4", "<f2", ">f4", "<f8", "<u8", "i1"]),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ).map(lambda array: array.astype(array.dtype.newbyteorder("=")).T),
)
VALUES = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
    ),
    max_leaves=20,
)


@given(value=VALUES)
@settings(max_examples=150, deadline=None)
def test_whatever_is_made_of_numbers_and_texts(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_saved("a test", value, tmp_path_factory.mktemp("saved") / "file", {})
    assert same(read_saved("a test", path, {}), value)


def test_arrays_of_equal_names_are_not_taken_for_each_other(tmp_path: Path) -> None:
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}, "ä": np.full(1, 2.0), "ö": np.full(1, 3.0)}
    assert same(read_saved("x", write_saved("x", value, tmp_path / "file", {}), {}), value)


def test_the_order_in_memory_stays_so_sums_are_rounded_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(3, 1000, 7)).transpose(1, 2, 0)
    found = read_saved("x", write_saved("x", array, tmp_path / "file", {}), {})
    assert found.strides == array.strides
    assert (found.sum(axis=0) == array.sum(axis=0)).all()


def test_an_array_that_stands_in_two_places_is_saved_once(tmp_path: Path) -> None:
    array = np.arange(1000.0)
    path = write_saved("x", [array, (array, array)], tmp_path / "file", {})
    assert path.stat().st_size < 2 * array.nbytes
    assert same(read_saved("x", path, {}), [array, (array, array)])


def test_any_reader_of_safetensors_reads_the_arrays(tmp_path: Path) -> None:
    contributions = RESULTS_BY_NAME["contributions"]
    found = safetensors.numpy.load_file(xc.save(contributions, tmp_path / "file"))
    assert sorted(found) == [
        f"value.{n}" for n in ("base", "errors", "gap", "phi", "residual", "score")
    ]
    assert (found["value.base"] == contributions.base).all()
    assert (found["value.phi"] == contributions.phi.T).all()  # in the order that it had in memory


def test_the_same_result_makes_the_same_file(tmp_path: Path) -> None:
    files = [xc.save(results()["several"], tmp_path / name) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_files_are_as_they_are_specified(tmp_path: Path) -> None:
    """A file of the package, and the same one written by nothing but the specification."""
    path = xc.save(RESULTS_BY_NAME["importance"], tmp_path / "file")
    header, record, data = parts_of(path)
    assert record["version"] == VERSION == 1
    assert (record["kind"], record["written_by"]) == ("results", xc.__version__)
    other = write_signed(tmp_path / "other", header, record, data)
    assert same(xc.load(other), RESULTS_BY_NAME["importance"])


# -------------------------------------------------------------------------------------- the pages
def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_page_of_what_was_saved_is_the_same_page(tmp_path: Path) -> None:
    explanation = make_explanation(tree=make_tree(2))
    live = report.write_report([explanation], tmp_path / "live.html").read_bytes()
    saved = xc.save(explanation, tmp_path / "saved.safetensors")
    done = run("report", saved, "--output", tmp_path / "again.html")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.html").read_bytes() == live

    both = report.write_report([explanation] * 2, tmp_path / "both.html", title="two").read_bytes()
    done = run("report", saved, saved, "--output", tmp_path / "again.html", "--title", "two")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.html").read_bytes() == both
    xc.save([explanation] * 2, saved)
    done = run("report", saved, "--output", tmp_path / "again.html", "--title", "two")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.html").read_bytes() == both


def test_the_page_of_a_comparison(tmp_path: Path) -> None:
    comparison = RESULTS_BY_NAME["comparison"]
    live = report.write_comparison(comparison, tmp_path / "live.html").read_bytes()
    saved = xc.save(comparison, tmp_path / "saved.safetensors")
    done = run("report", saved, "--output", tmp_path / "again.html")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.html").read_bytes() == live


@pytest.mark.parametrize("name", ["importance", "both", "empty"])
def test_what_has_no_page(name: str, tmp_path: Path) -> None:
    result = {
        "importance": RESULTS_BY_NAME["importance"],
        "both": [RESULTS_BY_NAME["explanation"], RESULTS_BY_NAME["comparison"]],
        "empty": [],
    }[name]
    done = run("report", xc.save(result, tmp_path / "saved"), "--output", tmp_path / "page.html")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: SAVED must")
    assert not (tmp_path / "page.html").exists()


def test_pages_and_results_need_no_tensorflow(tmp_path: Path) -> None:
    saved = xc.save(RESULTS_BY_NAME["explanation"], tmp_path / "saved")
    code = (
        "import sys, xplique_craft as xc\n"
        "from xplique_craft.console.report import report\n"
        "from pathlib import Path\n"
        f"saved, page = Path({str(saved)!r}), Path({str(tmp_path / 'page.html')!r})\n"
        "report([saved], page)\n"
        "xc.save(xc.load(saved), saved)\n"
        "print([name for name in ('tensorflow', 'keras', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Estimate("high", 0.0, 1.0), "result.value cannot be saved: it must be .*float.*a str"),  # type: ignore[arg-type]
        ([1.0, {"key": {2, 3}}], r"result\.1\.key cannot be saved: it is of type set"),
        ({1: 2}, "result cannot be saved: it is of type dict"),
        ([np.array(["a"])], r"result\.0 cannot be saved: it is an array of type <U1"),
        (np.array([None]), "an array of type object"),
        (np.complex64(1j), "a number of type complex64"),
        (lambda: 0, "of type function"),
        (object, "of type type"),
    ],
)
def test_what_cannot_be_saved(value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old one")
    with pytest.raises(TypeError, match=message):
        xc.save(value, path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_holds_itself(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(
        ValueError, match="result is nested too deeply to be saved, or holds itself"
    ):
        xc.save(value, tmp_path / "file")


def test_what_is_nested_more_deeply_than_is_read_is_not_written(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(150):
        value = [value]
    assert same(xc.load(xc.save(value, tmp_path / "file")), value)
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        xc.save(value, tmp_path / "other")


def test_too_many_parts_for_one_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too many parts for one file"):
        xc.save([0] * 1_000_001, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    with pytest.raises(ValueError, match="too many parts for one file"):
        xc.save("x" * 2**24, tmp_path / "file")


def changed(tmp_path: Path, **changes: Any) -> Path:
    header, record, data = parts_of(xc.save(RESULTS_BY_NAME["contributions"], tmp_path / "file"))
    return write_signed(tmp_path / "other", header, record | changes, data)


def test_files_of_a_newer_version(tmp_path: Path) -> None:
    path = changed(tmp_path, version=VERSION + 1, written_by="9.0", more="new")
    with pytest.raises(UnreadableFile, match=r"version 2 of the format.*install a newer one.*9\.0"):
        xc.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 0}, "other things than version"),
        ({"version": True}, "does not say of which version"),
        ({"more": 1}, "other things than version"),
        ({"kind": "craft"}, r"holds a Craft, which is loaded with its model: .*Craft\.load\("),
        ({"kind": "progress of fit"}, "holds 'progress of fit'"),
        ({"value": {"$": "Holiday", "fields": {}}}, "'Holiday'.* does not know; a newer one may"),
        ({"value": {"$": "array", "name": "value.psi"}}, "value is an array that is not there"),
        ({"value": 1}, "nothing refers to its array 'value.base'"),
    ],
)
def test_records_that_are_refused(changes: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=message):
        xc.load(changed(tmp_path, **changes))


def test_fields_that_are_refused(tmp_path: Path) -> None:
    header, record, data = parts_of(xc.save(RESULTS_BY_NAME["contributions"], tmp_path / "file"))
    fields = record["value"]["fields"]

    def load(**other: Any) -> Any:
        value = {"$": "Contributions", "fields": {**fields, **other}}
        return xc.load(write_signed(tmp_path / "other", header, {**record, "value": value}, data))

    assert same(load(), RESULTS_BY_NAME["contributions"])
    with pytest.raises(UnreadableFile, match=r"value says 'psi'.* a newer one may"):
        load(psi=1)
    with pytest.raises(UnreadableFile, match=r"value\.points is a str"):
        load(points="many")
    with pytest.raises(UnreadableFile, match=r"value\.exact is a int"):
        load(exact=1)
    points = fields.pop("points")
    with pytest.raises(UnreadableFile, match=r"value\.points is missing"):
        load()
    assert load(points=points).points == points


def test_a_field_that_was_added_later_has_its_default_in_older_files(tmp_path: Path) -> None:
    header, record, data = parts_of(xc.save(RESULTS_BY_NAME["importance"], tmp_path / "file"))
    del record["value"]["fields"]["signed"]
    assert xc.load(write_signed(tmp_path / "other", header, record, data)).signed is False


@pytest.mark.parametrize("path", [None, 3, "", "a\0b", b"bytes"])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="`path` must be a path"):
        xc.load(path)
    with pytest.raises((TypeError, ValueError), match="`path` must be a path"):
        xc.save(RESULTS_BY_NAME["contributions"], path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        xc.load(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        xc.load(tmp_path)


def test_one_bit_anywhere_is_told(tmp_path: Path) -> None:
    """Every byte of a small file, one bit of it: refused, or of no account to what is loaded."""
    result = Contributions(*np.arange(12.0).reshape(6, 2), 0, True)
    content = xc.save(result, tmp_path / "file").read_bytes()
    read = 0
    for place in range(len(content)):
        other = bytearray(content)
        other[place] ^= 1 << place % 8
        (tmp_path / "other").write_bytes(other)
        try:
            found = xc.load(tmp_path / "other")
        except UnreadableFile:
            continue
        read += 1
        assert same(found, result)
    assert read < 8  # spaces between the header and the arrays


# --------------------------------------------------------------------- the first version, for ever
DIGESTS: dict[str, str] = json.loads((FIXTURES / "sha256.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", DIGESTS)
def test_fixtures_are_never_written_again(name: str) -> None:
    assert hashlib.sha256((FIXTURES / name).read_bytes()).hexdigest() == DIGESTS[name]


def test_results_of_the_first_version_are_read() -> None:
    found = xc.load(FIXTURES / "results_v1.safetensors")
    for name, one in found.items():
        assert same(one, RESULTS_BY_NAME[name]), name
    assert found["importance"].table().startswith("| concept |")
