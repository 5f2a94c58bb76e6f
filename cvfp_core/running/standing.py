"""Where the grid of a store stands and who is at it, read from the store and asked of engines; and its end."""

from __future__ import annotations

import os
import platform
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvfp_core.errors import CvfpError
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Executor, JobState
from cvfp_core.running import submitted
from cvfp_core.schema import damaged, store
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema.jobs import SILENT, Beat, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """A job, and what is known of it."""

    job: Job
    state: JobState | None
    """What its engine says; None: it was not submitted to one, or that does not answer."""
    problem: str = ""
    """Why the engine does not answer."""

    @property
    def alive(self) -> bool:
        """Whether it has workers, or will have; one whose engine does not answer may."""
        return self.state.alive if self.state else True


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Cells of a store by what became of them: those with a record, of the last command, of jobs that are noted."""

    folder: Path
    done: int
    failed: Mapping[str, str]
    """Reasons by run id."""
    running: tuple[Beat, ...]
    lost: tuple[Beat, ...]
    """Of workers that have not been heard of for SILENT seconds."""
    waiting: int
    jobs: tuple[AtWork, ...]
    command: str
    """What was typed last to have cells trained."""

    @property
    def total(self) -> int:
        """All cells."""
        return self.done + len(self.failed) + len(self.running) + len(self.lost) + self.waiting

    @property
    def active(self) -> bool:
        """Whether anybody is at cells that are not finished."""
        return bool(self.running) or (self.waiting + len(self.lost) > 0 and any(each.alive for each in self.jobs))


def standing(folder: Path, registry: Registry) -> Standing:
    """Where the grid of a store stands; files that are damaged are left out, and said in a warning."""
    jobs, manifest = joblist.read(folder), store.read_manifest(folder)
    damaged.warn(joblist.damages(folder), folder)
    asked = {*manifest.get("run_ids", ()), *(run_id for job in jobs for run_id in job.cells)}
    records = store.shown(folder)
    ended = dict(records.select("run_id", "status").rows())
    failed = dict(records.filter(records["status"] == "failed").select("run_id", "reason").rows())
    beats = sorted((beat for beat in joblist.beats(folder) if beat.run_id is not None and beat.run_id not in ended),
                   key=lambda beat: beat.since or "")
    running = {beat.run_id: beat for beat in beats if beat.age <= SILENT}
    lost = {beat.run_id: beat for beat in beats if beat.run_id not in running}
    beaten = {job.name for job in jobs} & {beat.job for beat in joblist.beats(folder) if beat.age <= SILENT}
    return Standing(
        folder=folder, done=len(ended) - len(failed), failed=failed, running=tuple(running.values()),
        lost=tuple(lost.values()), waiting=len(asked - ended.keys() - running.keys() - lost.keys()),
        jobs=tuple(_at_work(job, job.name in beaten, registry) for job in jobs),
        command=shlex.join(manifest.get("command", ())))


def nothing_finished(folders: Sequence[Path], registry: Registry) -> CvfpError:
    """That no run of the stores has finished, and how it comes to one."""
    told = []
    for each in (standing(folder, registry) for folder in folders):
        way = (f"`cvfp status {each.folder} --watch` shows where they are, `cvfp forecast` what they will end with"
               if each.active else f"go on with: {each.command or 'cvfp run'}")
        told.append(f"{each.folder}: no run has finished yet, 0 of {each.total} cells; {way}")
    return CvfpError("; ".join(told) or "there are no runs; give folders that `cvfp run` made, logs or tables")


def cancel(folder: Path, registry: Registry) -> list[str]:
    """Ends the jobs that are at a store, and says of each what became of it.

    Raises CvfpError for one that cannot be ended from here, when the others are.
    """
    told, problems = [], []
    for each in standing(folder, registry).jobs:
        try:
            if each.alive:
                _end(folder, each.job, registry)
                told.append(f"{each.job} is cancelled")
        except CvfpError as error:
            problems.append(str(error))
    if problems:
        raise CvfpError("; ".join([*told, *problems]))
    return told


def _end(folder: Path, job: Job, registry: Registry) -> None:
    if job.handle is not None:
        submitted.cancel(registry.get(Executor, job.executor), folder, job)
    elif job.host != platform.node():
        raise CvfpError(f"{job} is on another machine; run `cvfp cancel` there")
    else:
        try:
            os.kill(job.process, signal.SIGTERM)
        except ProcessLookupError:
            joblist.end(folder, job.name)
        except PermissionError:
            raise CvfpError(f"{job} is another user's; only they can cancel it") from None


def _at_work(job: Job, beaten: bool, registry: Registry) -> AtWork:
    if job.handle is None:  # it lives as long as its driver, and that as long as its workers beat
        return AtWork(job=job, state=JobState(running=int(beaten), waiting=0))
    try:
        executor = registry.get(Executor, job.executor)
        with registry.blaming(Executor, job.executor):
            return AtWork(job=job, state=submitted.state(executor, job))
    except CvfpError as error:
        return AtWork(job=job, state=None, problem=str(error))
