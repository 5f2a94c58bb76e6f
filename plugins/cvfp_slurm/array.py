"""An array of workers: checked, submitted, asked for, cancelled."""

from __future__ import annotations

import logging
import math
import pickle
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cvfp_core.errors import CvfpError, UsageError, suggestion
from cvfp_core.registry.kinds import JobState
from cvfp_core.schema.cells import Cell
from cvfp_core.schema.jobs import Handle
from cvfp_core.schema.settings import Scalar
from cvfp_core.version import __version__
from cvfp_slurm import commands

_PROBE_SECONDS = 5
"""How long a free node is waited for on which folder and version can be tried."""
_NOTICE = 90
"""Seconds before its time limit at which a worker is told; Slurm may be up to 60 s early."""
_HELD = "launch failed requeued held"
"""Why Slurm lets a task wait for ever that it could not start."""
_REQUEUES = 1_000_000
"""Times that submitit queues a worker again at its time limit; how often a cell is begun again the core decides."""


def submit(cells: Sequence[Cell], folder: Path, jobs: int, options: Mapping[str, Scalar | None]) -> Handle:
    """Submits an array of workers, `jobs` or as many as the option `width` says. Raises what is wrong before that."""
    try:
        import submitit
    except ImportError:
        raise UsageError("the executor 'slurm' needs submitit, which is not installed; pip install 'cvfp[slurm]'"
                         ) from None
    from cvfp_slurm.worker import Worker

    width = min(jobs or int(str(options["width"])), len(cells))
    asked = _asked(options)
    _check(asked, options, width)
    store = folder.resolve()
    _try_node(asked, store, cells[0].job)
    files = store / "jobs" / cells[0].job / "slurm"
    files.mkdir()
    (files / "cells.pickle").write_bytes(pickle.dumps(tuple(cells)))
    logging.getLogger("submitit").setLevel(logging.WARNING)
    executor = submitit.SlurmExecutor(folder=files, max_num_timeout=_REQUEUES)
    executor.update_parameters(
        job_name=f"cvfp-{cells[0].experiment}", time=int(str(options["time"])), array_parallelism=width,
        signal_delay_s=_NOTICE, stderr_to_stdout=True, wckey="",
        additional_parameters={"requeue": True} | {name.replace("_", "-"): value for name, value in asked.items()})
    worker = Worker(files / "cells.pickle", store, __version__)
    try:
        with executor.batch():
            submitted = [executor.submit(worker) for _ in range(width)]
    except submitit.core.utils.FailedJobError as error:
        raise CvfpError(f"sbatch: {' '.join(str(error).split())}") from None
    return {"job_id": submitted[0].job_id.partition("_")[0], "files": str(files)}


def status(handle: Handle) -> JobState:
    """What squeue says of the array; of one that has ended, the last line of a worker's log."""
    tasks = [each for each in commands.tasks(str(handle["job_id"])) if each[1] != _HELD]
    waiting = Counter(reason for state, reason in tasks if state == "PENDING")
    text = ", ".join(reason for reason in waiting if reason != "None")
    return JobState(running=len(tasks) - waiting.total(), waiting=waiting.total(),
                    text=text if tasks else _last_words(Path(str(handle["files"]))))


def cancel(handle: Handle) -> None:
    """Cancels the array. Raises CvfpError for one of another user."""
    done = commands.run("scancel", str(handle["job_id"]))
    if done.returncode or "denied" in done.stderr:
        raise CvfpError(f"job {handle['job_id']} cannot be cancelled: {commands.said(done)}")


def _asked(options: Mapping[str, Scalar | None]) -> dict[str, str]:
    """The options as sbatch and srun take them."""
    memory = options["memory"]
    asked = {"partition": options["partition"], "account": options["account"], "cpus-per-task": options["cpus"],
             "gpus-per-node": options["gpus"] or None,
             "mem": None if memory is None else f"{math.ceil(1024 * float(memory))}M"}
    return {name: str(value) for name, value in asked.items() if value is not None}


def _check(asked: Mapping[str, str], options: Mapping[str, Scalar | None], width: int) -> None:
    """Raises UsageError for what Slurm would refuse, or leave in the queue for ever."""
    limits, partition = commands.limits(), asked.get("partition", "")
    if partition and partition not in limits:
        names = sorted(name for name in limits if name)
        raise UsageError(f"no partition '{partition}' on this cluster{suggestion(partition, names)}; it has: "
                         f"{', '.join(names)}")
    limit, minutes = limits.get(partition), int(str(options["time"]))
    if limit is not None and minutes > limit:
        raise UsageError(f"executor.time = {minutes} minutes, and the partition allows {limit:g}; take less, cells go "
                         "on from checkpoints")
    done = commands.run("sbatch", "--test-only", f"--time={minutes}", f"--array=0-{width - 1}", *_words(asked),
                        "--wrap=true")
    if done.returncode:
        raise UsageError(f"Slurm refuses {' '.join(_words(asked))}: {commands.said(done)}")


def _try_node(asked: Mapping[str, str], store: Path, job: str) -> None:
    """Looks from a free node, if there is one, whether it sees the store and has the same cvfp; else workers look."""
    done = commands.run("srun", "--quiet", f"--immediate={_PROBE_SECONDS}", "--ntasks=1", "--time=1", "--chdir=/",
                        "--job-name=cvfp-probe", *_words(asked), sys.executable, "-m", "cvfp_slurm.probe", str(store),
                        job, __version__)
    if done.returncode and "Unable to allocate" not in done.stderr:
        where = asked.get("partition")
        what = done.stdout.strip() or f"cannot run '{sys.executable}': {commands.said(done)}"
        raise UsageError(f"a node{f' of partition {where!r}' if where else ''} {what}")


def _words(asked: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in asked.items()]


def _last_words(files: Path) -> str:
    """The last line of the newest log that has one."""
    for log in sorted(files.glob("*_log.out"), key=lambda path: path.stat().st_mtime, reverse=True):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines and not lines[-1].startswith("submitit INFO"):
            return lines[-1]
    return ""
