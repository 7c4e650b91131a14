"""How the console's commands end: bad values, names of any bytes, Ctrl-C, places not to write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from console_kit import error_of, run, save_model, save_pictures
from report_kit import Elements

import xplique_craft.comparison
import xplique_craft.explanation.of_class as of_class
import xplique_craft.report
from xplique_craft import plots
from xplique_craft.atlas import of_one_class
from xplique_craft.console import task as tasks
from xplique_craft.console.messages import plain_messages
from xplique_craft.craft import Craft

NOT_UTF8 = os.fsdecode(b"caf\xe9")
SHOWN = "caf\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / f"{NOT_UTF8}.keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every picture has a name that is not UTF-8."""
    folder = save_pictures(
        tmp_path_factory.mktemp("some") / f"pictures {NOT_UTF8}", np.random.default_rng(0)
    )
    for path in folder.iterdir():
        path.rename(folder / f"{NOT_UTF8} $x^ {path.name}")
    return folder


def no_work(*_: object, **__: object) -> None:
    pytest.fail("the work began")


# --- bad values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--class", "-1"), "class must be an index where there are no labels, not '-1'"),
        (("--class", "9" * 5000), "class must be an index where there are no labels"),
        (("--class", ""), "class must be an index"),
        (("--layer", ""), "layer '' is not in"),
        (("--layer", "nope"), "layer 'nope' is not in"),
        (("--layer", "logits"), "layer 'logits' is the model's output"),
        (("--patch-size", 33), "patch_size must be at most the image's smaller side, 32"),
        (("--size", "1x1"), "size must be the model's own, 32x32"),
        (("--size", "99999x99999"), "size must be of at most 100,000,000 pixels"),
        (("--size", "9999999999x1"), "size must be HxW in pixels"),
        (("--preprocess", ""), "preprocess must be one of"),
        (("--preprocess", "mean=nan"), "they must be finite"),
        (("--preprocess", "mean=0;std=inf"), "they must be finite"),
    ],
)
def test_bad_values_are_found_before_pictures_are_read(
    model_file: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    words: str,
) -> None:
    monkeypatch.setattr(tasks, "read_pictures", no_work)
    out = tmp_path / "report"
    line = error_of("explain", model_file, folder, "--class", 0, "--output", out, *options)
    assert words in line
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [
        *("--held-out nan", "--held-out inf", "--held-out -1", "--held-out 1", "--held-out x"),
        *("--concepts 0", "--concepts x", "--patch-size 0", "--seed -1", "--tree-depth -1"),
        *("--batch-size 0", f"--batch-size {10**30}", "--max-pixels 0", "--resize no"),
        *("--factorizer no", "--baseline no", "--nope", "more"),
    ],
)
def test_values_out_of_bounds_are_found_at_once(words: str) -> None:
    result = run("explain", "model", "folder", "--class", 0, "--output", "out", *words.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Error" in result.stderr


@pytest.mark.parametrize("command", ["explain", "compare"])
def test_a_share_of_nan_is_none(
    model_file: Path, folder: Path, tmp_path: Path, command: str
) -> None:
    """Whoever compares nan with bounds finds it within."""
    result = run(
        command, model_file, folder, "--class", 0, "--output", tmp_path, "--held-out", "nan"
    )
    assert result.exit_code == 2
    assert "held-out" in result.stderr


def test_places_that_cannot_be_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found before the model is loaded, which is not there."""
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "page" / "report.html").mkdir(parents=True)
    for output, words in (
        (file, f"output must be a folder, and {file} is a file"),
        (file / "folder", f"({file} is no folder)"),
        (tmp_path / "page", "(it is a folder)"),
    ):
        line = error_of("explain", "absent", folder, "--class", 0, "--output", output)
        assert words in line
        assert "[Errno" not in line
        assert words in error_of("demo", "--output", output)
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    line = error_of("explain", "absent", folder, "--class", 0, "--output", tmp_path / "new")
    assert f"(nothing may be written into {tmp_path})" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "page"]


def test_what_is_no_model(folder: Path, tmp_path: Path) -> None:
    import keras

    os.mkfifo(tmp_path / "pipe.keras")
    assert f"{tmp_path} is a folder. (A SavedModel" in error_of("layers", tmp_path)
    assert "there is a pipe or a device" in error_of("layers", tmp_path / "pipe.keras")
    keras.saving.save_model(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), tmp_path / "flat.keras"
    )
    pixels = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(2, 1)(pixels)
    keras.Model(pixels, maps).save(tmp_path / "maps.keras")
    means = keras.layers.GlobalAveragePooling2D()(maps)
    keras.Model(pixels, [means, maps]).save(tmp_path / "two.keras")
    for name, words in (
        ("flat", "MODEL must take one picture, (H, W, channels)"),
        (
            "maps",
            "MODEL must give one score for each class, (n, classes), and this one gives (None, 8",
        ),
        ("two", "MODEL must give one score for each class"),
    ):
        path = tmp_path / f"{name}.keras"
        assert words in error_of("explain", path, folder, "--class", 0, "--output", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("latin.txt", b"caf\xe9\n", "in UTF-8"),
        ("deep.json", b"[" * 100_000, "maximum recursion depth"),
        ("number.json", b'{"' + b"9" * 5000 + b'": "a"}', "labels must be a text file"),
    ],
)
def test_damaged_labels(
    folder: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    line = error_of(
        *("explain", "absent", folder, "--class", "a", "--labels", path, "--output", tmp_path)
    )
    assert words in line
    assert name in line


def test_memory_that_is_not_there_is_said() -> None:
    with pytest.raises(SystemExit) as end:
        _fail(MemoryError("Unable to allocate 9. TiB"))
    assert end.value.code == 2


def _fail(error: Exception) -> None:
    import typer

    app = typer.Typer()

    @app.command()
    @plain_messages()
    def command() -> None:
        raise error

    app([])


def test_errors_of_the_package_itself_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        _fail(ZeroDivisionError())


# --- names of any bytes -----------------------------------------------------------------------


def test_explain_shows_names_that_are_not_utf8(
    model_file: Path, folder: Path, tmp_path: Path
) -> None:
    """Of the model, the folder and its pictures, in a page whose own folder has such a name."""
    labels = tmp_path / f"{NOT_UTF8}.txt"
    labels.write_text("re\0d $x^\nblue\n")
    out = tmp_path / f"{NOT_UTF8} out"
    result = run(
        *("explain", model_file, folder, "--class", 0, "--output", out, "--labels", labels),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2, "--quiet"),
    )
    assert result.exit_code == 0, result.output
    assert f"Report: {tmp_path.resolve()}/{SHOWN} out/report.html" in result.stdout
    assert "re\N{REPLACEMENT CHARACTER}d $x^: 30 of 34 pictures" in result.stdout
    text = (out / "report.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert f"{SHOWN} $x^ 0" in text
    assert f"What {SHOWN} sees in re\N{REPLACEMENT CHARACTER}d $x^" in text
    assert "\0" not in text


@pytest.mark.filterwarnings("default")
def test_compare_shows_names_that_are_not_utf8(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    really = xplique_craft.report.write_comparison
    monkeypatch.setattr(
        xplique_craft.report, "write_comparison", lambda c, path: kept.append(c) or really(c, path)
    )
    (folder / f"{NOT_UTF8} pipe.png").write_bytes(b"no picture")
    result = run(
        *("compare", model_file, folder, "--class", 0, "--output", tmp_path, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2, "--images", 2),
        *("--methods", "ConceptActivation,random"),
    )
    (folder / f"{NOT_UTF8} pipe.png").unlink()
    assert result.exit_code == 0, result.output
    assert f"{SHOWN} pipe.png (cannot identify image file" in result.stderr
    text = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert Elements(text).mistakes == []
    assert f"{SHOWN} $x^ " in text
    plots.compare.maps_side_by_side(kept[0]).canvas.draw()


def test_a_terminal_without_the_letters_gets_the_answer(model_file: Path) -> None:
    code = (
        f"import sys; sys.argv = ['xplique-craft', 'layers', {os.fspath(model_file)!r} + 'é']\n"
        "from xplique_craft.console.app import main\nmain()\n"
    )
    for encoding in ("ascii", "cp1252", "utf-8"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )
        assert answer.returncode == 2
        assert answer.stderr.startswith(b"Error: MODEL must be a saved Keras model")
        assert len(answer.stderr.splitlines()) == 1


# --- Ctrl-C -----------------------------------------------------------------------------------


def interrupted(*_: object, **__: object) -> None:
    """Ctrl-C, as the terminal sends it, while that runs."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_explain(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("explain", model_file, folder, "--class", 0, "--output", tmp_path, "--quiet")
    monkeypatch.setattr(of_class, "explain_class", interrupted)
    result = run(*command, "--preprocess", "unit", "--layer", "pool")
    assert result.exit_code == 130
    line = "Interrupted; finished before: 34 pictures read; written: nothing.\n"
    assert result.stderr == line
    monkeypatch.setattr(Craft, "from_model", interrupted)
    result = run(*command, "--preprocess", "unit", "--layer", "pool")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted; nothing was finished; written: nothing.\n"


@pytest.mark.filterwarnings("default")
def test_ctrl_c_in_compare(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xplique_craft.comparison, "compare", interrupted)
    result = run(
        *("compare", model_file, folder, "--class", 0, "--output", tmp_path, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2),
    )
    assert result.exit_code == 130
    said = "Interrupted; finished before: 34 pictures read, concepts found; written: nothing."
    assert result.stderr.splitlines()[-1] == said


@pytest.mark.filterwarnings("default")
def test_the_demo_keeps_the_classes_that_were_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, failures = of_one_class.explain_class, [KeyboardInterrupt, ValueError("no")]

    def second_fails(*arguments: object, class_names: list[str], **options: object) -> object:
        if class_names[arguments[2]] == "coffee":
            raise failures.pop(0)
        return really(*arguments, class_names=class_names, **options)

    monkeypatch.setattr(of_one_class, "explain_class", second_fails)
    command = ("demo", "--classes", "astronaut,coffee", "--output", tmp_path, "--quiet")
    result = run(*command)
    assert result.exit_code == 130
    assert (tmp_path / "classes" / "0000" / "explanation.safetensors").exists()
    said = "What it had finished is kept: the same command with --output "
    assert said in result.stderr.splitlines()[-1]
    result = run(*command)
    assert (result.exit_code, failures) == (0, [])
    assert "1 of 2 classes could not be explained (coffee: no)" in result.stderr
    assert "sees in astronaut" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_ctrl_c_while_a_page_is_written_leaves_the_old_one(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "report.html"
    page.write_text("the old page")
    monkeypatch.setattr(os, "replace", interrupted)
    result = run(
        *("explain", model_file, folder, "--class", 0, "--output", tmp_path, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2),
    )
    assert result.exit_code == 130
    assert "the class explained; written: nothing." in result.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old page"]


# --- a disk that is full in the end -----------------------------------------------------------


def test_a_page_that_cannot_be_written_in_the_end_is_written_elsewhere(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))
    really = os.replace

    def full(source: str, target: str) -> None:
        if out.resolve() in Path(target).parents:
            raise OSError(28, "No space left on device", source)
        really(source, target)

    monkeypatch.setattr(os, "replace", full)
    result = run(
        *("explain", model_file, folder, "--class", 0, "--output", out, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2),
    )
    assert result.exit_code == 2
    (page,) = other.rglob("report.html")
    assert "(No space left on device): choose another place" in result.stderr
    assert f"The page is {page} instead." in result.stderr
    assert result.stdout.splitlines()[-1] == f"Report: {page.resolve()}"
    assert list(out.iterdir()) == []


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("command", "page", "more"),
    [
        ("explain", "report.html", ()),
        ("compare", "compare.html", ("--images", 2, "--methods", "ConceptActivation,random")),
    ],
)
def test_a_result_that_cannot_be_saved_in_the_end_costs_nothing(
    model_file: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    page: str,
    more: tuple[object, ...],
) -> None:
    """It is saved elsewhere, and the page is where it was to be."""
    out, full, other = tmp_path / "out", tmp_path / "full", tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))
    really = os.replace

    def replace(source: str, target: str) -> None:
        if full.resolve() in Path(target).parents:
            raise OSError(28, "No space left on device", source)
        really(source, target)

    monkeypatch.setattr(os, "replace", replace)
    result = run(
        *(command, model_file, folder, "--class", 0, "--output", out, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2, *more),
        *("--save", full / "saved.safetensors"),
    )
    assert result.exit_code == 2
    (saved,) = other.rglob("saved.safetensors")
    assert f"The saved result is {saved} instead." in result.stderr
    assert result.stdout.splitlines()[-1].endswith(f": {(out / page).resolve()}")
    again = tmp_path / "again.html"
    assert run("report", saved, "--output", again).exit_code == 0
    assert again.read_bytes() == (out / page).read_bytes()


def test_a_result_that_no_file_can_hold_costs_no_page(
    model_file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("result has too many parts")

    monkeypatch.setattr("xplique_craft.saving.save", refuse)
    result = run(
        *("explain", model_file, folder, "--class", 0, "--output", tmp_path, "--quiet"),
        *("--preprocess", "unit", "--layer", "pool", "--concepts", 2),
        *("--save", tmp_path / "saved.safetensors"),
    )
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: result has too many parts"
    assert result.stdout.splitlines()[-1] == f"Report: {(tmp_path / 'report.html').resolve()}"
    assert (tmp_path / "report.html").exists()
