"""The tutorials: committed without outputs, and they run, quietly, to the results they promise."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from xplique_craft.importance import METHODS

FOLDER = Path(__file__).parents[1] / "tutorials"
TUTORIALS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300  # for one cell: a busy machine must not fail it


@pytest.fixture(params=TUTORIALS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    """Each notebook in turn."""
    return request.param


def _run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """Execute a notebook in an empty folder, by a kernel without a GPU and without TF's chatter."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def _text(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def _pictures(notebook: nbformat.NotebookNode) -> list[int]:
    """Which code cells, counted from 0, display a picture."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        place
        for place, cell in enumerate(code)
        if any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]


def test_there_are_tutorials() -> None:
    names = ["1-first-concepts", "2-importance", "3-maps", "4-transformers"]
    assert [path.stem for path in TUTORIALS] == names


def test_it_is_committed_as_it_was_written(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:/home/|/root/|/tmp/|/work/|/Users/|[A-Z]:\\\\)\S*", text) == []
    lines = [line for cell in notebook.cells for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.slow
def test_first_concepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _run(FOLDER / "1-first-concepts.ipynb", tmp_path, monkeypatch)
    text = _text(notebook)

    # heatmaps, crops, bars, maps, one image, sizes of crops
    assert _pictures(notebook) == [2, 5, 7, 9, 10, 11]
    assert "astronaut, fit: 80 of 80 crops are predicted as the class" in text
    assert re.search(r"conv4 +12 x 12 x 96 +non_negative, affine_head", text)
    found = re.search(r"(\d+) crops of 80 images; U \((\d+), 8\), W \(8, 96\)", text)
    assert found is not None
    assert 800 < int(found[1]) == int(found[2]) <= 800 + 4 * 80

    # agreement, reconstruction share and explained share, each as "value [low, high]"
    for name, images in {"found on": 48, "held back": 32, "second draw": 40}.items():
        (row,) = re.findall(rf"^{name} +{images} +(.*)$", text, flags=re.MULTILINE)
        agreement, rebuilt, explained = (
            float(value) for value in re.findall(r"([\d.]+) \[[\d.]+, [\d.]+\]", row)
        )
        assert agreement >= 0.95
        assert abs(rebuilt - 1.0) < 0.15
        assert explained == pytest.approx(rebuilt, abs=0.002)  # nothing but linear layers follow

    assert "the same indices: True" in text
    (missed,) = re.findall(r"the parts miss it by at most (\S+)", text)
    assert float(missed) < 1e-4
    (agreement,) = re.findall(r"agreement on images put aside: (\S+)", text)
    assert float(agreement) >= 0.95

    page = (tmp_path / "demo-report" / "report.html").read_text(encoding="utf-8")
    assert "sees in astronaut" in page
    assert text.rstrip().splitlines()[-1].startswith("wrote demo-report")


@pytest.mark.slow
def test_importance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _run(FOLDER / "2-importance.ipynb", tmp_path, monkeypatch)
    text = _text(notebook)
    assert _pictures(notebook) == [5]

    widths = re.findall(r"^ +\d+ points: sampling ([\d.]+), images ([\d.]+)$", text, re.MULTILINE)
    sampling, images = (list(map(float, column)) for column in zip(*widths, strict=True))
    assert sampling[0] > sampling[1] > sampling[2]
    assert max(images) - min(images) < 0.01  # more points do nothing for the choice of images

    methods = re.findall(r"^([a-z ]+?) {2,}(?:True|False) +((?:\d ){5}\d) ", text, re.MULTILINE)
    orders = dict(methods)
    assert orders.keys() == METHODS.keys()
    assert orders["shapley"][0] == orders["sobol total"][0] == orders["occlusion"][0]
    (missed,) = re.findall(r"Shapley values miss the sum by at most (\S+)", text)
    assert float(missed) < 1e-4
    assert re.search(r"^coins +\d \(-", text, re.MULTILINE)  # coffee's concepts speak against coins

    rows = dict(re.findall(r"^\| (fitted|of shuffled weights|random) \| ([\d.]+)", text, re.M))
    assert float(rows["fitted"]) > 0.95
    assert float(rows["random"]) < 0.5


@pytest.mark.slow
def test_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _run(FOLDER / "3-maps.ipynb", tmp_path, monkeypatch)
    text = _text(notebook)
    # maps, relevance, explainers, detail, one image, curves, maps of methods
    assert _pictures(notebook) == [2, 4, 6, 8, 9, 11, 12]
    assert "WARNING" not in text

    (missed,) = re.findall(r"the map misses their sum by at most (\S+)", text)
    assert float(missed) < 1e-4
    at = {layer: float(value) for layer, value in re.findall(r"^at (conv\d) ([\d.]+)$", text, re.M)}
    assert at["conv4"] == 1.0  # nothing but linear layers follow
    assert 0.5 < at["conv3"] < 0.95
    once = dict(re.findall(r"^(\S.*?) +runs once a concept: (True|False)$", text, re.MULTILINE))
    assert once == {
        "its own activation": "False",
        "Occlusion": "False",
        "Saliency": "True",
        "GradCAM": "True",
    }
    assert "the same map by hand: True" in text
    sums = re.findall(r"sums to ([\d.]+), ([\d.]+)$", text, re.MULTILINE)
    assert len(sums) == 4
    for first, second in sums:
        assert float(first) == pytest.approx(float(sums[0][0]), abs=0.01)
        assert float(second) == pytest.approx(float(sums[0][1]), abs=0.01)

    assert text.count("Predicted as coffee") == 1
    (share,) = re.findall(r"not for cat, (\d+)% is in the half with the cup", text)
    assert int(share) > 75

    scores = {
        row.split()[0]: [float(value) for value in re.findall(r"(-?[\d.]+) \[", row)]
        for row in text.splitlines()
        if re.match(r"(GradCAM|Occlusion|Concept\w+|random) +[\d.]+ +\d+ ", row)
    }
    assert len(scores) == 5
    insertion = {name: values[1] for name, values in scores.items()}
    assert min(insertion, key=insertion.__getitem__) == "random"
    deletion = {name: values[0] for name, values in scores.items()}
    assert deletion["ConceptDetailed"] < deletion["random"] < deletion["ConceptActivation"]
    (ruined,) = re.findall(r"maps of the ruined model: (-?[\d.]+)", text)
    (other,) = re.findall(r"with the map of another image: (-?[\d.]+)", text)
    assert abs(float(ruined) - float(other)) < 0.2  # "about", the text says


@pytest.mark.slow
def test_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = _run(FOLDER / "4-transformers.ipynb", tmp_path, monkeypatch)
    text = _text(notebook)
    # crops, crops of two banks, waterfall, maps
    assert _pictures(notebook) == [5, 7, 9, 10]
    assert "WARNING" not in text
    (right,) = re.findall(r"^(\d+) of 140 new crops are recognised$", text, re.MULTILINE)
    assert int(right) >= 137
    assert re.search(r"^block1 +\(145, 48\)$", text, re.MULTILINE)

    # logit and share predicted: of all tokens, patches, the class token, neither
    rows = re.findall(r"^(coins|astronaut) +(tokens|block\d) +(.*)$", text, re.MULTILINE)
    told = {
        (name, layer): [(float(a), int(b)) for a, b in re.findall(r"(\S+) \( *(\d+)%\)", row)]
        for name, layer, row in rows
    }
    assert len(told) == 10
    whole, patches, class_token, neither = told["coins", "tokens"]
    assert patches == whole
    assert class_token == neither
    whole, patches, class_token, neither = told["coins", "block1"]
    assert (patches[1], neither[1]) == (100, 0)
    assert patches[0] > whole[0] - 0.5
    assert class_token[0] < neither[0] + 0.5
    assert class_token[1] <= 20
    for layer in ("block2", "block3", "block4"):
        assert told["coins", layer][3][1] == 100
    whole, _, class_token, _ = told["coins", "block4"]
    assert class_token == whole
    assert told["astronaut", "block1"][3][1] == 100

    shares = {
        layer: float(share)
        for layer, share in re.findall(r"^(block\d): through patches (\S+)", text, re.MULTILINE)
    }
    assert shares["block1"] > 0.9  # "nearly all of it"
    assert shares["block1"] > shares["block2"] > shares["block3"] > shares["block4"] == 0.0
    (recommended,) = re.findall(r"^(block\d): .* \(recommended\)$", text, re.MULTILINE)
    assert recommended == "block2"

    assert "Use factorizer='signed-nmf'" in text
    assert "U (16, 145, 6); of any concept the class token has 0" in text

    number = r"(\S+) \[\S+, \S+\]"
    banks = {
        (layer, factorizer): [float(value) for value in values]
        for layer, factorizer, *values in re.findall(
            rf"^(\w+), ([a-z-]+): purity {number}.*\n +rebuilt {number}, explained {number}$",
            text,
            re.MULTILINE,
        )
    }
    assert len(banks) == 4
    signed, semi = banks["tokens", "signed-nmf"], banks["tokens", "semi-nmf"]
    assert signed[0] > 0.5
    assert semi[0] < 0.35  # "near chance"
    assert abs(semi[1] - signed[1]) < 0.1  # "rebuilds as much"
    signed, semi = banks["block1", "signed-nmf"], banks["block1", "semi-nmf"]
    assert abs(semi[0] - signed[0]) < 0.2  # "cannot tell the banks apart"
    assert abs(signed[2] - 1.0) < 0.1
    assert semi[2] > 1.4  # "far more than the whole score"

    found = re.findall(
        rf"agreement {number}\n +rebuilt {number}, explained {number}\n"
        r" +score (\S+), without patches (\S+)$",
        text,
        re.MULTILINE,
    )
    assert len(found) == 2  # the class token at its mean, and kept
    for agreement, rebuilt, explained, score, without in (map(float, row) for row in found):
        assert agreement > 0.95
        assert abs(rebuilt - 1.0) < 0.1
        assert abs(explained - 1.0) < 0.1
        assert without < 0.6 * score
    for missed in re.findall(r"(?:parts miss|misses) (?:it|them) by at most (\S+)", text):
        assert float(missed) < 1e-2
    page = (tmp_path / "transformer-report" / "report.html").read_text(encoding="utf-8")
    assert "sees in coins" in page
