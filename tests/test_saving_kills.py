"""A save that is killed: the old file or the new one is there, whole, and never anything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, random, select, signal, sys
import numpy as np
from xplique_craft.saving import read_saved, write_saved

path, rounds, draw = sys.argv[1], int(sys.argv[2]), random.Random(0)


def value(number):
    return {"number": number, "array": np.full(40_000 + 1000 * (number % 3), number)}


write_saved("kills", value(0), path, {})
last, found = 0, []
for round in range(rounds):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        number = last
        while True:
            number += 1
            write_saved("kills", value(number), path, {})
            os.write(writing, b"s")
    os.read(reading, 1)  # one more save is whole: the kill comes in one of those after it
    select.select([], [], [], 0.02 * draw.random())
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    if os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"a child ended by itself: {status}")
    saved = read_saved("kills", path, {})
    expected = value(saved["number"])
    if not (saved["array"] == expected["array"]).all() or saved["number"] <= last:
        sys.exit(f"loaded wrong: {saved} after {last}")
    found.append(saved["number"] - last)
    last = saved["number"]
left = [name for name in os.listdir(os.path.dirname(path)) if name != os.path.basename(path)]
print(len(found), len(left), all(name.endswith(".tmp") for name in left))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_no_save_that_is_killed_loads_wrong(rounds: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "saved"), str(rounds)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    loaded, cut, hidden = done.stdout.split()
    assert int(loaded) == rounds
    assert 0 < int(cut) <= rounds  # of these the kill came in the middle of a file
    assert hidden == "True"
