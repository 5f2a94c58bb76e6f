"""What a task of the array runs, and what becomes of it when it is told to leave."""

from __future__ import annotations

import os
import pickle
import platform
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from submitit.helpers import DelayedSubmission

from cvfp_core.errors import CvfpError
from cvfp_core.schema.jobs import Attempt, Ending
from cvfp_slurm import commands, probe

_PATIENCE = 20
"""Seconds that a cell has for a last checkpoint: by default Slurm kills 30 s after SIGTERM."""


class Worker:
    """Executes cells until all are done; submitit pickles it, and a task that is queued again begins with it anew."""

    def __init__(self, cells: Path, folder: Path, version: str) -> None:
        self.cells, self.folder, self.version = cells, folder, version

    def __call__(self) -> None:
        """Leaves its cell when the time limit is near, or at preemption, and is then queued again.

        Slurm itself does the second where it ended the task: SIGTERM comes of that too, and of `scancel`.
        """
        requeue = signal.getsignal(signal.SIGUSR2)
        try:
            leaving = self._work()
        except CvfpError as error:
            sys.exit(f"cvfp: {error}")
        if leaving:
            if _still_running():
                assert callable(requeue)
                requeue(signal.SIGUSR2, None)  # submitit's: asks `checkpoint`, has the task queued again, exits
            sys.exit(1)
        if "SLURM_ARRAY_JOB_ID" in os.environ:  # tasks that wait would find nothing to do
            commands.run("scancel", "--state=PENDING", os.environ["SLURM_ARRAY_JOB_ID"])

    def checkpoint(self) -> DelayedSubmission:
        """What a task that is queued again runs: cells go on from their own checkpoints."""
        return DelayedSubmission(self)

    def _work(self) -> bool:
        """Whether it left before all cells were done."""
        if problem := probe.differs(self.version):
            raise CvfpError(f"node {os.environ.get('SLURMD_NODENAME', '')} {problem}")
        import torch

        from cvfp_core.protocol import device
        from cvfp_core.running.compute import Lost
        from cvfp_core.running.execute import Worker as Executing
        from cvfp_core.schema.jobs import Journal

        torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", "1")))
        cells = pickle.loads(self.cells.read_bytes())
        here = device.resolve(cells[0].device)
        tasks = self.cells.with_name("tasks")
        tasks.mkdir(exist_ok=True)
        (tasks / f"{platform.node()}-{os.getpid()}").write_text(os.environ["SLURM_JOB_ID"])
        executing = Executing([replace(cell, device=here) for cell in cells], self.folder,
                              Journal(self.folder, cells[0].job), fate=partial(fate, tasks))

        def leave(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGALRM:
                raise Lost("its worker was told to end, and no checkpoint came in time")
            executing.leave()
            signal.alarm(_PATIENCE)

        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, leave)
        with suppress(Lost), executing:
            executing.run()
        signal.alarm(0)
        return executing.leaving


def fate(tasks: Path, attempt: Attempt) -> Ending | None:
    """How Slurm says that a task ended which never said so itself. tasks: their numbers, by host and process."""
    with suppress(OSError):
        number = (tasks / f"{attempt.host}-{attempt.process}").read_text()
        return "memory" if commands.out_of_memory(number) else None
    return None


def _still_running() -> bool:
    """Whether Slurm calls this task running: it neither cancels it nor queues it again by itself."""
    return [state for state, _ in commands.tasks(os.environ["SLURM_JOB_ID"])] == ["RUNNING"]
