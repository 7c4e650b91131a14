"""Pictures that the console reads: any file is read right, or skipped in words that name it."""

import io
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from xplique_craft.picture_files import MAX_PIXELS, read_pictures

LEFT, RIGHT = (250, 10, 20), (10, 20, 250)


def two_sides(width: int = 8, height: int = 8) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RIGHT)
    image.paste(LEFT, (0, 0, width // 2, height))
    return image


def read(folder: Path, **options: int) -> tuple[np.ndarray, list[str], str]:
    """Pictures, names and the warnings, of a folder with a good picture, which comes last."""
    two_sides().save(folder / "zz_good.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pictures, names = read_pictures(folder, (8, 8), **options)
    assert names[-1] == "zz_good.png"
    np.testing.assert_array_equal(pictures[-1], two_sides())
    assert {warning.category for warning in caught} <= {UserWarning}
    return pictures[:-1], names[:-1], " ".join(str(warning.message) for warning in caught)


# --- what is no file, and what is too large ---------------------------------------------------


def test_only_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes into would be waited for for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to(os.devnull)
    (tmp_path / "absent.png").symlink_to("nowhere")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "folder.png").mkdir()
    two_sides().save(tmp_path / "file.tiff")
    (tmp_path / "link.png").symlink_to("file.tiff")
    here = os.getcwd()
    os.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    os.chdir(here)
    opened, really = [], Image.open

    def watched(path: Path, **options: object) -> Image.Image:
        opened.append(path.name)
        if not path.is_file():
            pytest.fail(f"{path} is opened")
        return really(path, **options)

    monkeypatch.setattr(Image, "open", watched)
    pictures, names, said = read(tmp_path)
    assert names == ["file.tiff", "link.png"]
    np.testing.assert_array_equal(pictures[1], two_sides())
    assert opened == [*names, "zz_good.png"]
    assert "6 of 9 files" in said
    assert said.count("not a file: a folder, a pipe, a socket or a device") == 4
    assert "absent.png ([Errno 2] No such file" in said


def png(width: int, height: int, rows: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG of these bytes, each row after its filter."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_size_is_bounded_before_pixels_are_read(tmp_path: Path) -> None:
    """The first has no pixels at all: whoever reads them says that it is damaged."""
    (tmp_path / "huge.png").write_bytes(png(60_000, 60_000, b""))
    _, names, said = read(tmp_path)
    assert names == []
    assert f"60000 x 60000 pixels, more than the {MAX_PIXELS:,} of --max-pixels" in said
    two_sides(9, 8).save(tmp_path / "larger.bmp")
    _, names, said = read(tmp_path, max_pixels=64)
    assert names == []
    assert "larger.bmp (9 x 8 pixels, more than the 64 of --max-pixels)" in said


def test_the_bound_is_ours_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # an error from 20 pixels on
    _, _, said = read(tmp_path)
    assert said == ""
    assert Image.MAX_IMAGE_PIXELS == 10


# --- kinds of pictures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "tolerance"),
    [
        ("a.png", lambda image: image.quantize(4), 0),
        ("a.gif", lambda image: image.quantize(4), 0),
        ("a.png", lambda image: image.convert("RGBA"), 0),
        ("a.tiff", lambda image: image.convert("CMYK"), 1),
        ("a.jpg", lambda image: image.convert("CMYK"), 12),
        ("a.jpg", lambda image: image.convert("YCbCr"), 12),
        ("a.webp", lambda image: image, 40),
        ("a.bmp", lambda image: image, 0),
    ],
)
def test_kinds_of_colour(
    tmp_path: Path, name: str, make: Callable[[Image.Image], Image.Image], tolerance: int
) -> None:
    options = {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
    make(two_sides()).save(tmp_path / name, **options)
    pictures, names, said = read(tmp_path)
    assert (names, said) == ([name], "")
    expected = np.asarray(two_sides(), np.int64)
    assert np.abs(pictures[0][:, [0, 7]] - expected[:, [0, 7]]).max() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_kinds_of_grey(tmp_path: Path, mode: str) -> None:
    pixels = np.repeat(np.array([[0, 255]], np.uint8), 4, axis=1).repeat(8, axis=0)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "grey.png")
    pictures, _, said = read(tmp_path)
    assert said == ""
    np.testing.assert_array_equal(pictures[0], pixels[..., None].repeat(3, axis=-1))


def test_sixteen_bits_a_channel(tmp_path: Path) -> None:
    """Of colour the upper half is taken; of grey Pillow would make white, and it is refused."""
    values = [LEFT] * 4 + [RIGHT] * 4
    row = b"\0" + struct.pack(">24H", *(256 * v + 255 for pixel in values for v in pixel))
    (tmp_path / "deep.png").write_bytes(png(8, 8, row * 8, depth=16))
    (tmp_path / "grey.png").write_bytes(png(8, 8, (b"\0" + b"\1\0" * 8) * 8, depth=16, color=0))
    Image.fromarray(np.full((8, 8), 300, np.int32)).save(tmp_path / "int.tiff")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tiff")
    pictures, names, said = read(tmp_path)
    assert names == ["deep.png"]
    np.testing.assert_array_equal(pictures[0], two_sides())
    for name in ("grey.png", "int.tiff", "float.tiff"):
        assert f"{name} (mode " in said
    assert said.count("more than 8 bits a channel") == 3


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tiff"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path, name: str) -> None:
    first = two_sides()
    others = [ImageOps.mirror(first), Image.new("RGB", (8, 8))]
    options = {"lossless": True} if name.endswith("webp") else {}
    first.save(tmp_path / name, save_all=True, append_images=others, **options)
    pictures, _, said = read(tmp_path)
    assert np.abs(pictures[0].astype(int) - np.asarray(first)).max() <= 4
    assert f"right: {name}: it holds several pictures, and the first is taken." in said


def test_what_cameras_add_to_a_photograph_is_no_second_picture(tmp_path: Path) -> None:
    small = Image.new("RGB", (2, 2))
    two_sides().save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[small], quality=100
    )
    _, names, said = read(tmp_path)
    assert (names, said) == (["a.jpg"], "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, orientation: int) -> None:
    """The picture is stored turned, and turned back: all eight ways of EXIF."""
    undo = {
        1: lambda image: image,
        2: ImageOps.mirror,
        3: lambda image: image.rotate(180),
        4: ImageOps.flip,
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    corner = Image.new("RGB", (8, 8))
    corner.paste(LEFT, (0, 0, 4, 2))
    stored = undo[orientation](corner)
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    pictures, _, _ = read(tmp_path)
    np.testing.assert_array_equal(pictures[0], corner)


def test_files_of_another_kind_than_their_name(tmp_path: Path) -> None:
    """Pictures of any kind that is read here; no program is run for one of another kind."""
    two_sides().save(tmp_path / "really.png", format="BMP")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    pictures, names, said = read(tmp_path)
    assert names == ["really.png"]
    np.testing.assert_array_equal(pictures[0], two_sides())
    assert "script.png (cannot identify image file" in said


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpeg", "png", "tiff", "webp"])
def test_damaged_files_are_read_or_named(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    """Cut off, or with bytes changed: never an error of another kind, never a picture too many."""
    noise = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format=kind)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    for index in range(60):
        damaged = whole[: rng.integers(len(whole))] if index % 3 == 0 else whole.copy()
        if index % 3 and len(damaged):
            places = rng.integers(0, min(len(damaged), 400), 1 + index % 5)
            damaged[places] = rng.integers(0, 256, len(places))
        (tmp_path / f"{index:02d}.{kind}").write_bytes(damaged.tobytes())
    pictures, names, said = read(tmp_path, max_pixels=10_000)
    assert len(pictures) == len(names)
    assert f"{60 - len(names)} of 61 files" in said
    assert 0 < len(names) < 60


def test_truncated_pictures_are_skipped(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in ("bmp", "gif", "jpeg", "png", "tiff", "webp"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format=kind)
        content = buffer.getvalue()
        (tmp_path / f"half.{kind}").write_bytes(content[: len(content) // 2])
    _, names, said = read(tmp_path)
    assert names == []
    assert "6 of 7 files" in said


@pytest.mark.parametrize("error", [struct.error("short"), EOFError(), zlib.error(), KeyError("a")])
def test_whatever_a_reader_of_pictures_raises_is_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (tmp_path / "odd.png").touch()
    really = Image.open

    def fails(path: Path, **options: object) -> Image.Image:
        if path.name == "odd.png":
            raise error
        return really(path, **options)

    monkeypatch.setattr(Image, "open", fails)
    _, names, said = read(tmp_path)
    assert names == []
    assert f"odd.png ({str(error) or type(error).__name__})" in said
    assert "odd.png ()" not in said


def test_many_skipped_files_are_counted(tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"{index:02d}.png").write_bytes(b"no picture")
    _, _, said = read(tmp_path)
    assert "12 of 13 files" in said
    assert "07.png" in said
    assert "08.png" not in said
    assert said.endswith("and 4 more.")


def test_shapes_at_their_limits(tmp_path: Path) -> None:
    for width, height in ((1, 1), (1, 3000), (3000, 1)):
        Image.new("RGB", (width, height), LEFT).save(tmp_path / f"{width}x{height}.png")
    pictures, names, said = read(tmp_path)
    assert (len(names), said) == (3, "")
    assert (pictures == LEFT).all()
