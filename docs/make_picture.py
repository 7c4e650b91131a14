"""
Make docs/images/report.png: a part of the page that `make demo` writes, photographed by Chromium.

    python docs/make_picture.py [demo-report/report.html]

Of the first class, the astronaut, it keeps the three largest concepts and one image.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

PICTURE = Path(__file__).with_name("images") / "report.png"
IMAGE = "image 12"
STYLE = f"""<style>
  .masthead, .classes, .overline, .buttons, .glance, .facts, .faithfulness, .notes, footer,
  [aria-labelledby="class-0-score"], section.class:not(#class-0), .card:nth-child(n+4),
  .view:not([aria-label="{IMAGE}"]) {{ display: none !important; }}
  .class, .block {{ margin-top: 0 !important; padding-top: 1.5rem !important; }}
</style></head>"""
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SIZE = "--window-size=1180,2000"
MARGIN = 24


def main() -> None:
    """Photograph the page and cut the margins off."""
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-report/report.html")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium is needed, and is not on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        copy, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        text = page.read_text(encoding="utf-8").replace("</head>", STYLE, 1)
        copy.write_text(text, encoding="utf-8")
        command = [browser, *OPTIONS, SIZE, f"--screenshot={shot}", copy.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        picture = Image.open(shot).convert("RGB")
    blank = Image.new("RGB", picture.size, picture.getpixel((2, 2)))
    left, top, right, bottom = ImageChops.difference(picture, blank).getbbox()
    box = (left - MARGIN, max(0, top - MARGIN), right + MARGIN, bottom + MARGIN)
    picture = ImageOps.posterize(picture.crop(box), 6)  # a file of two thirds the size
    PICTURE.parent.mkdir(exist_ok=True)
    picture.save(PICTURE, optimize=True)
    size = f"{picture.width} x {picture.height}, {PICTURE.stat().st_size / 1e3:.0f} kB"
    print(f"wrote {PICTURE} ({size})")


if __name__ == "__main__":
    main()
