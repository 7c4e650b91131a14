"""Keras on TensorFlow is needed; any other backend is answered at once, in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import xplique_craft as xc
from xplique_craft.console.app import app

ROOT = Path(__file__).parents[1]
NEED_NO_KERAS = {"ClassDifference", "factorization", "load", "plots", "report", "save"}


def child(code: str, **environment: str) -> str:
    """What a new interpreter prints, with these variables and none that chooses a backend."""
    kept = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KERAS_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**kept, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        check=False,
    )
    return done.stdout.strip() or done.stderr


EVERY_NAME = """
import importlib, pathlib, sys
import xplique_craft as xc
def said(load):
    try:
        load()
    except ImportError as error:
        return str(error)
    return "loaded"
answers = {name: said(lambda: getattr(xc, name)) for name in xc.__all__}
for path in pathlib.Path("xplique_craft").iterdir():
    if path.is_dir() and (path / "__init__.py").is_file() or path.name in ("craft.py",):
        module = f"xplique_craft.{path.stem}"
        answers[module] = said(lambda: importlib.import_module(module))
print(sorted(name for name, answer in answers.items() if answer == "loaded"))
print({answer for answer in answers.values() if answer != "loaded"})
print([name for name in ("keras", "tensorflow", "xplique") if name in sys.modules])
"""


def test_every_public_name_asks_for_the_backend_first() -> None:
    """But what needs no Keras: pages can be made of results wherever they are."""
    loaded, refused, heavy = child(EVERY_NAME, KERAS_BACKEND="jax").splitlines()
    stages = {"console", "factorization", "plots", "report", "results", "saving"}
    assert eval(loaded) == sorted({*NEED_NO_KERAS, *(f"xplique_craft.{name}" for name in stages)})
    (sentence,) = eval(refused)
    assert sentence == (
        "xplique_craft needs Keras with TensorFlow as its backend, and KERAS_BACKEND says 'jax'. "
        "Set KERAS_BACKEND=tensorflow before Python starts, or before Keras is imported for the "
        "first time."
    )
    assert heavy == "[]"


SAID = """
import sys
try:
    import xplique_craft._backend
except ImportError as error:
    print(error)
else:
    print("loaded")
"""


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ('{"backend": "torch"}', "keras.json says 'torch'"),
        ('{"backend": "tensorflow"}', "loaded"),
        ("{}", "loaded"),
        ("[]", "loaded"),
        ("{", "loaded"),
    ],
)
def test_the_settings_of_keras_are_read(tmp_path: Path, settings: str, answer: str) -> None:
    (tmp_path / "keras.json").write_text(settings)
    assert answer in child(SAID, KERAS_HOME=str(tmp_path))
    given = child(SAID, KERAS_HOME=str(tmp_path), KERAS_BACKEND="tensorflow")
    assert given == "loaded"  # the variable goes before the file, as it does for Keras


def test_a_keras_that_runs_already_is_asked() -> None:
    code = (
        "import sys, types; keras = sys.modules['keras'] = types.ModuleType('keras')\n"
        "keras.config = types.SimpleNamespace(backend=lambda: 'torch')\n"
    )
    assert "keras.config.backend() says 'torch'" in child(code + SAID, KERAS_BACKEND="tensorflow")
    assert child(code.replace("torch", "tensorflow") + SAID, KERAS_BACKEND="jax") == "loaded"


def test_keras_2_for_tensorflow_is_refused() -> None:
    """Xplique would look for models of Keras 2, and take none of Keras 3 for one."""
    said = child(SAID, TF_USE_LEGACY_KERAS="1")
    assert "needs Keras 3, and TF_USE_LEGACY_KERAS tells TensorFlow to take Keras 2" in said
    assert child(SAID, TF_USE_LEGACY_KERAS="0") == "loaded"


@pytest.mark.parametrize("command", ["layers {0}", "demo --output {0}"])
def test_the_console_says_so_too(tmp_path: Path, command: str) -> None:
    model = tmp_path / "model.keras"
    model.touch()
    words = f"xplique-craft {command.format(model if 'layers' in command else tmp_path)}".split()
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from xplique_craft.console.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, file=sys.stderr)\n"
    )
    sentence, code_of_exit = child(code, KERAS_BACKEND="jax").splitlines()
    assert sentence.startswith("Error: xplique_craft needs Keras with TensorFlow as its backend")
    assert code_of_exit == "2"


# --- what is no file of a model ---------------------------------------------------------------


def test_a_model_is_loaded_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`path` must be a path, a str or"):
        xc.load_model(None)
    for path, found in ((tmp_path, "a folder"), (tmp_path / "absent.keras", "no file")):
        with pytest.raises(ValueError, match=f"wrote, and there is {found} at"):
            xc.load_model(path)


# --- models of Keras 2 ------------------------------------------------------------------------


def test_models_of_keras_2_are_told_the_way(tmp_path: Path) -> None:
    keras_2 = pytest.importorskip("tf_keras")
    pixels = keras_2.Input((8, 8, 3))
    x = keras_2.layers.Conv2D(4, 3, activation="relu")(pixels)
    x = keras_2.layers.GlobalAveragePooling2D()(x)
    model = keras_2.Model(pixels, keras_2.layers.Dense(2)(x))
    for call in (
        lambda: xc.candidate_layers(model),
        lambda: xc.Craft.from_model(model, 1),
        lambda: xc.join_models(model, model),
    ):
        with pytest.raises(
            TypeError, match=r"must be a model of Keras 3, .*model\.save\('model\.h5"
        ):
            call()
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(tmp_path / "model.h5")
    told = CliRunner().invoke(app, ["layers", str(tmp_path / "model.h5")])
    assert told.exit_code == 0, told.output
    assert "* begin with --layer conv2d" in told.output
