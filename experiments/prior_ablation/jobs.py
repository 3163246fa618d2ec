"""Runs of the ablation one after another, or several at a time in processes of their own."""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from cloudkit.errors import UserError
from cloudkit.memory import keep_freed_memory
from prior_ablation.options import AblationOptions
from prior_ablation.runs import Run, complete, state_of


def complete_all(runs: Sequence[Run], options: AblationOptions) -> None:
    """Complete all runs, `options.jobs` at a time.

    Raises:
        UserError: A run fails. Those that are under way then stop; the next start resumes them.
    """
    titles = {}
    for number, run in enumerate(runs, start=1):
        titles[run] = f"run {number} of {len(runs)}: {run.title}"

    if options.jobs == 1:
        for run, title in titles.items():
            print(f"{title} ({state_of(run)})", flush=True)
            complete(run, options)
        return

    threads = max(1, torch.get_num_threads() // options.jobs)
    with ProcessPoolExecutor(
        min(options.jobs, len(runs)),
        multiprocessing.get_context("spawn"),  # a fork would share the parent's CUDA and threads
        initializer=_begin,
        initargs=(threads,),
    ) as pool:
        try:
            futures = {}
            for run, title in titles.items():
                print(f"{title} ({state_of(run)})", flush=True)
                futures[pool.submit(_complete_quietly, run, options)] = title
            for future in as_completed(futures):
                future.result()
                print(f"{futures[future]} is finished", flush=True)
        except BrokenProcessPool as error:
            raise UserError(
                "a run's process was killed, perhaps for lack of memory; start the same command "
                "again with fewer --jobs. Finished runs are kept."
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()  # leaving the pool would wait for all that is under way
            raise


def log_of(run: Run) -> Path:
    """Return the file that a run of several at a time prints to."""
    return run.folder.with_name(f"{run.folder.name}.log")


def _complete_quietly(run: Run, options: AblationOptions) -> None:
    path = log_of(run)
    with path.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            complete(run, options)
        except UserError as error:
            raise UserError(f"{run.title}: {error} Its output is in {path}.") from error


def _begin(threads: int) -> None:
    """Prepare a process that works on runs."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the ablation is killed, so that no run goes on without it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
