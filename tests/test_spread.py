"""Classes spread over processes by joblib: the same comes back, whatever is lost on the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # several processes load TensorFlow, one after the other

TWO = """
import sys
from pathlib import Path

import colours
import joblib
import xplique_craft as xc

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    split = colours.split()
    images, labels = colours.images()
    xc.explain_model(split, images, labels, folder=folder / "one", **colours.QUICK)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        xc.explain_model(split, images, labels, folder=folder / "two", **colours.QUICK)
    one, two = (colours.files(folder / name) for name in ("one", "two"))
    print(len(one), [name for name in {**one, **two} if one.get(name) != two.get(name)])
"""

DASK = """
import hashlib, os, signal, sys, threading, time
from collections import defaultdict
from pathlib import Path

import colours
import joblib
import xplique_craft as xc
from distributed import Client, LocalCluster


def begun(log):
    found = defaultdict(list)
    for line in log.read_text().split("\\n")[:-1]:
        pid, pictures = line.split()
        if int(pid) not in found[pictures]:
            found[pictures].append(int(pid))
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    log, own = folder / "log", os.getpid()
    pictures = colours.folder_of(folder / "pictures")
    log.touch()

    def preprocess(pictures):
        told = hashlib.sha256(pictures.tobytes()).hexdigest()
        if os.getpid() != own:
            with log.open("a") as file:
                file.write(f"{os.getpid()} {told}\\n")
        return pictures.astype("float32")

    killed = []

    def kill():
        while not killed:
            time.sleep(0.01)
            pids = [pid for found in begun(log).values() for pid in found]
            if pids:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

    model, settings = colours.model(), {**colours.QUICK, "preprocess": preprocess}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster):
            threading.Thread(target=kill, daemon=True).start()
            with joblib.parallel_config(backend="dask"):
                atlas = xc.explain_model(model, pictures, folder=folder / "spread", **settings)
    assert atlas.classes == [0, 1, 2], atlas
    # A class is read in several batches; those of the class that was lost were read twice.
    every = begun(log)
    again = [pids for pids in every.values() if len(pids) > 1]
    assert all(pids[0] == killed[0] and len(pids) == 2 for pids in again), (killed, every)
    done = {pid for pids in every.values() for pid in pids[-1:]}
    assert killed[0] not in done, (killed, every)
    alone = xc.explain_model(model, pictures, folder=folder / "alone", **settings)
    one, two = (colours.files(one.folder) for one in (alone, atlas))
    print(len(killed), len(again) > 0, sorted(one) == sorted(two))
    print([name for name in one if one[name] != two[name]])
"""


def run(script: str, folder: Path) -> str:
    """What a script prints; every process of it has one thread, so that sums are rounded alike."""
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "TF_NUM_INTRAOP_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_processes_write_the_files_of_one(tmp_path: Path) -> None:
    assert run(TWO, tmp_path) == "21 []"


def test_a_worker_that_is_killed_loses_nothing_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """But for the class that it was at."""
    pytest.importorskip("distributed")
    assert run(DASK, tmp_path).splitlines() == ["1 True True", "[]"]
