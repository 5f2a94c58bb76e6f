"""Cells in this process, or in several that share the grid out among themselves by the store's locks."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from cvfp_core.errors import CvfpError
from cvfp_core.running.execute import execute_cells
from cvfp_core.schema.cells import Cell, Emit, Event


def run(cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit) -> None:
    """Executes the cells in `jobs` processes, each with its share of the CPU's threads; 1: in this one; 0: as fits.

    Several processes take the largest cells first, so that none is left alone with one at the end, unless a rule
    compares cells with earlier ones. Raises CvfpError if a process dies; what the others finished is stored.
    """
    jobs = min(jobs or fitting_jobs(cells), len(cells))
    if jobs <= 1:
        execute_cells(cells, folder, emit)
        return
    spawn = multiprocessing.get_context("spawn")
    heard: Any = spawn.Queue()
    threads = max(1, _cpus() // jobs)
    largest_first = tuple(sorted(cells, key=lambda cell: -cell.train_tokens))
    workers = [
        spawn.Process(target=_work, args=(largest_first, folder, threads, heard), name=f"cvfp-{index}", daemon=True)
        for index in range(jobs)
    ]
    try:
        with _interrupts_ignored():
            for worker in workers:
                worker.start()
        silent = jobs - _listen(workers, heard, emit)
    finally:
        started = [worker for worker in workers if worker.pid is not None]
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.join()
    dead = [worker for worker in workers if worker.exitcode != 0]
    if dead or silent:
        raise CvfpError(
            f"{len(dead) or silent} of {jobs} processes died (exit code {dead[0].exitcode if dead else 0}); what is "
            "finished is kept, run the same command again to go on"
        )


def fitting_jobs(cells: Sequence[Cell]) -> int:
    """One process a core, up to four; on CUDA no more than fit its free memory, on MPS one.

    Small models gain little from a second thread (1.3-1.5 times at width 128), and threads of one process wait for each
    other on a machine that is busy with something else; processes do not. One small model leaves most of a GPU idle.
    """
    device = cells[0].device
    if device == "mps":
        return 1
    jobs = min(_cpus(), 4)
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        jobs = min(jobs, free // max(map(gpu_memory, cells)))
    return max(1, jobs)


def gpu_memory(cell: Cell) -> int:
    """Bytes that a cell is taken to need on a GPU: the contexts of all its tokens, and half as many for validation.

    Beside these 2 GiB: CUDA itself, the head, a chunk of logits, the model and a batch.
    """
    contexts = 4 * cell.variant.num_layers * cell.train_tokens * cell.variant.context_dim
    return 2 * 2**30 + contexts * 3 // 2


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Children started meanwhile ignore Ctrl-C, which a terminal sends to all: the parent hears it and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(cells: Sequence[Cell], folder: Path, threads: int, heard: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    try:
        execute_cells(cells, folder, heard.put)
    except CvfpError as error:
        heard.put(error)
    heard.put(None)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it went: nobody hears it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _listen(workers: Sequence[BaseProcess], heard: Any, emit: Emit) -> int:
    """Hands on events until every worker said it is done or is dead. Returns how many said so.

    Raises the CvfpError a worker met.
    """
    done = 0
    while done < len(workers):
        alive = any(worker.is_alive() for worker in workers)  # asked first: the dead have said all they had to say
        try:
            event: Event | CvfpError | None = heard.get(timeout=0.5)
        except queue.Empty:
            if not alive:
                return done
            continue
        if event is None:
            done += 1
        elif isinstance(event, CvfpError):
            raise event
        else:
            emit(event)
    for worker in workers:
        worker.join()
    return done
