"""`explain_model` that is killed at random moments: what it ends with is the same, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, random, select, signal, sys, time
from pathlib import Path

import colours
import xplique_craft as xc

xc.explain_model  # loads TensorFlow, which computes nothing before the fork
folder, kills, draw = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
images, labels = colours.images()


def started(name):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        split = colours.split()
        os.write(writing, b"s")
        xc.explain_model(split, images, labels, folder=folder / name, **colours.QUICK)
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return child


begun = time.perf_counter()
child = started("undisturbed")
if os.waitpid(child, 0)[1]:
    sys.exit("the undisturbed call failed")
seconds, killed = time.perf_counter() - begun, 0
for _ in range(kills):
    child = started("killed")
    time.sleep(0.6 * seconds * draw.random())
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
if os.waitpid(started("killed"), 0)[1]:
    sys.exit("it does not go on")
one, other = (colours.files(folder / name) for name in ("undisturbed", "killed"))
different = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
print(killed, len(one), different)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_change_nothing(kills: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), str(kills), "0"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    killed, number, different = done.stdout.strip().split(maxsplit=2)
    assert different == "[]"
    assert int(number) == 21  # of three classes and of all; the pages are among them
    assert int(killed) >= kills // 2  # others ended before
