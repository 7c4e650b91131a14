"""
Classes as tasks of joblib, whose backends spread them: processes of this machine, or a cluster.

`joblib.parallel_config(backend="loky" | "dask" | "ray")` says where tasks run. What comes back is
how many images a class took; results are files, so nothing is lost with a process.
"""

import time
from collections.abc import Sequence

import joblib
from tqdm import tqdm

from .of_one_class import ClassTask, explain_one


class Workers:
    """
    The processes that joblib is set to, as far as it matters here.

    Parameters
    ----------
    n_jobs
        As `joblib.Parallel` takes it.

    Attributes
    ----------
    number
        How many tasks run at the same time.
    here
        Whether they run in this process, which has the model.
    threads
        How many threads each process of this machine gets, so that all of them share its cores;
        None where processes are elsewhere, and whoever starts them knows the machine.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self.n_jobs = n_jobs
        backend, _ = joblib.parallel.get_active_backend()
        self.number: int = joblib.effective_n_jobs(n_jobs)
        ours = type(backend).__module__.startswith("joblib._parallel_backends")
        self.here = bool(getattr(backend, "supports_sharedmem", False)) or (
            ours and self.number == 1
        )
        self.threads = max(1, joblib.cpu_count() // self.number) if ours else None
        self._streams = bool(getattr(backend, "supports_return_generator", False))

    def run(self, tasks: Sequence[ClassTask], verbose: bool) -> None:
        """Go through all tasks; a bar counts classes, and images a second."""
        parallel = joblib.Parallel(
            n_jobs=self.n_jobs,
            return_as="generator_unordered" if self._streams else "list",
            batch_size=1,
        )
        images, started = 0, time.perf_counter()
        found = parallel(joblib.delayed(explain_one)(task) for task in tasks)
        with tqdm(
            total=len(tasks), desc="explain classes", unit="class", disable=not verbose, leave=False
        ) as bar:
            for number in found:
                images += number
                rate = images / (time.perf_counter() - started)
                bar.set_postfix_str(f"{rate:.1f} images/s", refresh=False)
                bar.update()
