"""The README: its Python runs, and every command, file and module that it names exists."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from xplique_craft import demo

    (block,) = _blocks("python")
    class_id = demo.CLASS_NAMES.index("coffee")
    x = demo.crops("coffee", 24).astype("float32")
    found = {"model": demo.load_model(), "x": x, "class_id": class_id}
    monkeypatch.chdir(tmp_path)

    exec(compile(block, "README.md", "exec"), found)

    assert found["layer"] == demo.DEFAULT_LAYER
    assert found["page"] == Path("report.html")
    assert "<h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    quality = found["quality"]
    assert quality.number_of_images == 7  # 30% of 24
    assert quality.agreement.value >= 6 / 7
    assert abs(quality.reconstruction_share.value - 1.0) < 0.15
    printed = capsys.readouterr().out
    assert f"agreement {quality.agreement.value:.3f} [" in printed

    contributions = found["contributions"]
    assert contributions.phi.shape == (24, 10)
    parts = contributions.base + contributions.residual + contributions.phi.sum(axis=1)
    logits = found["model"].predict(x, verbose=0)[:, class_id]
    np.testing.assert_allclose(parts + contributions.gap, logits, rtol=1e-4)
    assert found["importance"].shape == (10,)
    assert found["importance"].sum() == pytest.approx(1.0)  # the demo's head is affine
    assert found["maps"].shape == (24, 96, 96, 10)


def test_make_knows_every_target_that_is_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "clean"} <= named <= targets


def test_the_console_knows_every_command_and_option_that_is_named() -> None:
    import typer

    from xplique_craft.console.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"xplique-craft ([a-z-]+)([^\n`]*)", "\n".join(_blocks("sh")))
    assert {command for command, _ in lines} == set(commands)
    for command, rest in lines:
        known = {option for one in commands[command].params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_every_linked_file_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert {"docs/images/report.png", "LICENSE"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_picture_is_small() -> None:
    picture = ROOT / "docs" / "images" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size <= 400_000


def test_lines_are_no_longer_than_the_code_s() -> None:
    assert [line for line in README.splitlines() if len(line) > 100] == []
