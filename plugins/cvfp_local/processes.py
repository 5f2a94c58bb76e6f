"""Cells in this process, or in several that share the grid out among themselves by the store's locks."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from cvfp_core import registry as registries
from cvfp_core.errors import CvfpError
from cvfp_core.running.compute import corpora
from cvfp_core.running.execute import execute_cells, in_order
from cvfp_core.running.needs import needs
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema.cells import Cell, Emit, Event

_WAY = "forkserver" if sys.platform == "linux" else "spawn"
"""How processes are started: forked from one that has imported torch, on the system where torch allows it."""


_PATIENCE = 10.0
"""Seconds that processes have to end by themselves."""


def ahead() -> None:
    """Starts the process that others are forked from, which imports what takes seconds while the grid is prepared.

    That is torch, and what every optimizer imports when it is made. Not polars: its threads do not survive a fork.
    """
    if _WAY == "forkserver" and _cpus() > 1:
        with _interrupts_ignored():
            multiprocessing.get_context(_WAY).set_forkserver_preload(["torch", "torch._dynamo"])
            forkserver.ensure_running()


def run(cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit) -> None:
    """Executes the cells in `jobs` processes, each with its share of the CPU's threads; 1: in this one; 0: as fits.

    A process that ends in a cell is replaced, whatever ended it. Raises CvfpError for one that ends between cells,
    before all are done; what the others finished is stored.
    """
    jobs = min(jobs or fitting_jobs(cells), len(cells))
    if jobs <= 1:
        execute_cells(cells, folder, emit)
        return
    threads = max(1, _cpus() // jobs)
    workers: dict[Connection, _Worker] = {}
    every: list[BaseProcess] = []
    by_id = {cell.run_id: cell for cell in cells}

    def start() -> None:
        worker = _Worker(in_order(cells), folder, threads, len(every))
        workers[worker.heard] = worker
        every.append(worker.process)

    ended = []
    try:
        for _ in range(jobs):
            start()
        while workers:
            for heard in wait(list(workers)):
                assert isinstance(heard, Connection)
                worker = workers[heard]
                try:
                    event = heard.recv()
                except (EOFError, OSError):  # it has said all it had to say
                    del workers[heard]
                    worker.process.join()
                    code, cell = worker.process.exitcode or 0, by_id.get(worker.at[-1] if worker.at else "")
                    if cell is not None:
                        emit(Event(kind="warning", run_id=cell.run_id, values={
                            "text": f"its process died ({worker.cause(code, cell, folder)}); another one is started"}))
                        start()
                    elif code or not worker.done:
                        ended.append(code)
                    continue
                if isinstance(event, CvfpError):
                    raise event
                if worker.hears(event):
                    emit(event)
    finally:
        for process in every:
            process.terminate()
        for process in every:
            process.join(_PATIENCE)
            process.kill()  # one that heeds no SIGTERM
            process.join()
    if ended:
        raise CvfpError(f"{len(ended)} of {len(every)} processes died (exit code {ended[0]}); what is finished is "
                        "kept, run the same command again to go on")


class _Worker:
    """A process that executes cells, and what it has said."""

    def __init__(self, cells: Sequence[Cell], folder: Path, threads: int, number: int) -> None:
        started = multiprocessing.get_context(_WAY)
        self.heard, told = started.Pipe(duplex=False)
        self.process: BaseProcess = started.Process(  # type: ignore[attr-defined]
            target=_work, args=(cells, folder, threads, dict(os.environ), told),
            name=f"cvfp-{number}", daemon=True)
        self.at: list[str] = []
        """The cells it is at, the last one now: one that is compared with another may have to run that first."""
        self.done = False
        self.kills = _memory_kills()
        with _interrupts_ignored():
            self.process.start()
        told.close()

    def hears(self, event: Event | None) -> bool:
        """Takes note of what it said. False: it has said that it is done."""
        if event is None:
            self.done = True
        elif event.kind in ("run_started", "run_finished"):
            self.at = [run_id for run_id in self.at if run_id != event.run_id]
            self.at += [event.run_id] if event.kind == "run_started" else []
        return event is not None

    def cause(self, code: int, cell: Cell, folder: Path) -> str:
        """What killed it in the cell, which is told if it was for want of memory."""
        if code >= 0:
            return f"exit code {code}"
        name = next((each.name for each in signal.Signals if each.value == -code), f"signal {-code}")
        if name == "SIGKILL" and _memory_kills() > self.kills:
            joblist.ended(folder, cell.run_id, platform.node(), self.process.pid or 0, "memory")
            name += ", out of memory"
        return name


def _memory_kills() -> int:
    """How many processes Linux has killed since its start because memory ran out; 0 where it does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/vmstat").read_text(encoding="ascii").partition("\noom_kill ")[2].split()[0])
    return 0


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
        registry = registries.installed()
        asked = needs(cells, registry, corpora(cells, registry)).values()
        jobs = min(jobs, free // max(each.gpu_memory for each in asked))
    return max(1, jobs)


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


def _work(cells: Sequence[Cell], folder: Path, threads: int, environment: Mapping[str, str], told: Connection) -> None:
    """Executes the cells and tells events, or the error that ends it, and None when it is done.

    environment: of the process that asks, which may have changed since the one was begun that this is forked from.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout = sys.stderr  # where the parent prints results
    import torch

    torch.set_num_threads(threads)
    try:
        execute_cells(cells, folder, told.send)
    except CvfpError as error:
        told.send(error)
    told.send(None)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however it went: nobody hears it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
