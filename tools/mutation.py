"""
Mutation testing: which small faults in a module do its tests not see?

    python tools/mutation.py xplique_craft/gates/head.py tests/test_gates.py tests/test_folding.py \
        --sample 60 --seed 0 --json gates.json

makes mutants of the module, each with one small change (an operator swapped, a constant changed, a
statement left out; `--list` prints them all), and runs the tests on each until the first failure.
A mutant is killed if a test fails, the tests cannot be collected, or they take longer than
`--timeout` seconds; else it survived, and either a test is missing or the change makes no
difference. `--again gates.json` runs only those that survived the last time, after tests were
added; `--only 3 14` runs the mutants of these numbers.

How it works: TensorFlow is imported once, by a parent that runs none of its operations, so that it
can be forked; every mutant runs in a child. The mutated package is a copy of the package in a
temporary folder, first on the path of the child and of what it starts. It has to be a file, for
TensorFlow reads the source of the functions that it compiles.
"""

import argparse
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "xplique_craft"
# What tests import, and what is slow to import: none of these runs an operation of TensorFlow.
IMPORTED_ONCE = (
    *("tensorflow", "keras", "xplique.attributions", "xplique.concepts", "hypothesis", "pytest"),
    *("sklearn.decomposition", "sklearn.cluster", "scipy.optimize", "scipy.stats", "PIL.Image"),
    *("matplotlib.pyplot", "jinja2", "typer", "tqdm"),
)

CANNOT_RUN = 70
REWRITTEN = "pytest.PytestAssertRewriteWarning"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: "killed", "timeout" (counted as killed) or "survived"."""

    mutant: Mutant
    state: str
    by: str
    seconds: float


def _import_once() -> None:
    """Import what tests need, without the package, and see that TensorFlow can be forked."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["MPLBACKEND"] = "Agg"
    sys.dont_write_bytecode = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in IMPORTED_ONCE:
            importlib.import_module(name)
    context = importlib.import_module("tensorflow.python.eager.context").context()
    if context._initialized:
        raise RuntimeError("TensorFlow has run an operation, so it cannot be forked any more.")
    if PACKAGE in sys.modules:
        raise RuntimeError(f"{PACKAGE} was imported before it could be mutated.")


def _child(folder: Path, arguments: list[str], log: Path) -> None:
    """Run pytest on the package in a folder, and exit with its status."""
    os.setsid()  # it is ended with all that it starts
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(folder)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    own = {str(ROOT), str(ROOT / "tools"), ""}
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in own)]
    status = CANNOT_RUN
    try:
        pytest = importlib.import_module("pytest")
        # That modules were imported before pytest could rewrite them is meant.
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", f"ignore::{REWRITTEN}"]
        status = int(pytest.main([*options, *arguments]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Runner:
    """Copies of the package, one for each child at a time, and the children."""

    def __init__(self, module: Path, tests: list[str], folder: Path, jobs: int) -> None:
        self.module, self.tests = module, tests
        self.places = [folder / str(i) for i in range(jobs)]
        for place in self.places:
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / PACKAGE, place / PACKAGE, ignore=skipped)

    def run(self, sources: Iterator[tuple[Any, bytes]], timeout: float) -> Iterator[Any]:
        """For (key, source): key, state, the test that failed, seconds; as they end."""
        free, left = list(self.places), True
        running: dict[int, tuple[Any, Path, float]] = {}
        try:
            while left or running:
                while left and free:
                    key, source = next(sources, (None, None))
                    if source is None:
                        left = False
                        break
                    place = free.pop(0)
                    (place / self.module).write_bytes(source)
                    running[self._start(place)] = (key, place, time.monotonic())
                for pid, (key, place, start) in list(running.items()):
                    seconds = time.monotonic() - start
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended or seconds > timeout:
                        self._end(pid, reap=not ended)
                        free.append(running.pop(pid)[1])
                        code = os.waitstatus_to_exitcode(status) if ended else None
                        yield key, *self._judged(place, code), seconds
                time.sleep(0.05)
        finally:
            for pid in running:
                self._end(pid, reap=True)

    def log(self) -> str:
        """The end of what the last child wrote, of a runner of one child at a time."""
        return (self.places[0] / "log").read_text(errors="replace")[-3000:]

    def _start(self, place: Path) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            pid = os.fork()
        if pid == 0:
            _child(place, self.tests, place / "log")
        return pid

    @staticmethod
    def _end(pid: int, reap: bool) -> None:
        """End a child and all that it started."""
        for kill in (os.killpg, os.kill) if reap else (os.killpg,):
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        if reap:
            os.waitpid(pid, 0)

    @staticmethod
    def _judged(place: Path, code: int | None) -> tuple[str, str]:
        if code is None:
            return "timeout", ""
        text = (place / "log").read_text(errors="replace")
        if code in (CANNOT_RUN, 3, 4, 5):  # pytest's: internal error, wrong usage, no tests
            raise SystemExit(f"pytest could not run the tests:\n{text[-3000:]}")
        named = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
        return "survived" if code == 0 else "killed", named.group(1) if named else f"exit {code}"


def _write(
    path: Path, module: Path, arguments: argparse.Namespace, every: int, outcomes: list[Outcome]
) -> None:
    record = {
        "module": str(module),
        "tests": arguments.tests,
        "seed": arguments.seed,
        "mutants": every,
        "killed": sum(outcome.state != "survived" for outcome in outcomes),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="the file to mutate, a path in the repository")
    parser.add_argument("tests", nargs="*", help="test files; behind --, any arguments of pytest")
    parser.add_argument("--sample", type=int, help="how many mutants are drawn; default: all")
    parser.add_argument("--seed", type=int, default=0, help="what the draw depends on")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the mutants to run")
    parser.add_argument("--again", type=Path, help="run what survived in this file of --json")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time")
    parser.add_argument(
        "--timeout", type=float, help="seconds; default: 60 and 4 times what the tests take"
    )
    parser.add_argument("--json", type=Path, help="file to write the outcomes to")
    parser.add_argument("--list", action="store_true", help="print all mutants and end")
    own = sys.argv[1:]
    end = own.index("--") if "--" in own else len(own)
    arguments = parser.parse_args(own[:end])
    arguments.tests += own[end + 1 :]

    module = arguments.module.resolve().relative_to(ROOT)
    source = (ROOT / module).read_bytes()
    every = mutants_of(source)
    chosen = every
    if arguments.again:
        last = json.loads(arguments.again.read_text(encoding="utf-8"))["outcomes"]
        wanted = [Mutant(**o["mutant"]) for o in last if o["state"] == "survived"]
        chosen = [mutant for mutant in every if mutant in wanted]
        if len(chosen) != len(wanted):
            parser.error("the module has changed since --again was written: run a new sample.")
    elif arguments.only:
        chosen = [every[number] for number in arguments.only]
    elif arguments.sample and arguments.sample < len(every):
        drawn = random.Random(arguments.seed).sample(range(len(every)), arguments.sample)
        chosen = [every[number] for number in sorted(drawn)]
    if arguments.list:
        print(*chosen, sep="\n")
        return
    if not arguments.tests:
        parser.error("name the tests that shall kill the mutants.")

    _import_once()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(module, arguments.tests, Path(folder), arguments.jobs)
        ((_, state, by, seconds),) = runner.run(iter([(None, source)]), float("inf"))
        if state != "survived":
            raise SystemExit(f"The tests fail without any change: {by}\n{runner.log()}")
        timeout = arguments.timeout or 60.0 + 4.0 * seconds
        print(f"{module}: {len(chosen)} of {len(every)} mutants; the tests take {seconds:.0f} s,")
        print(f"a mutant is stopped after {timeout:.0f} s", flush=True)
        sources = ((mutant, mutant.apply(source)) for mutant in chosen)
        for mutant, state, by, seconds in runner.run(sources, timeout):
            outcomes.append(Outcome(mutant, state, "" if state == "survived" else by, seconds))
            if arguments.json:  # after each, for it may be interrupted
                _write(arguments.json, module, arguments, len(every), outcomes)
            print(f"{state:8} {seconds:5.1f} s  {mutant}  {outcomes[-1].by}", flush=True)

    outcomes.sort(key=lambda outcome: outcome.mutant.number)
    survivors = [outcome.mutant for outcome in outcomes if outcome.state == "survived"]
    share = 1.0 - len(survivors) / max(1, len(outcomes))
    print(f"\n{module}: {len(outcomes) - len(survivors)} of {len(outcomes)} killed, {share:.0%}")
    print(*(f"survived: {mutant}" for mutant in survivors), sep="\n")


if __name__ == "__main__":
    main()
