"""Jobs of engines that go on without this program: submitted once, heard of through the store, submitted again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cvfp_core.errors import CvfpError
from cvfp_core.registry.kinds import Executor, JobState
from cvfp_core.running.execute import LOSSES
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import store
from cvfp_core.schema.cells import Cell, Emit, Event
from cvfp_core.schema.jobs import Job, Listener
from cvfp_core.schema.settings import Scalar

_LOOK = 1.0
"""Seconds between two looks at the store."""
_ASK = 10.0
"""Seconds between two questions to an engine, which many users ask."""


def execute(executor: Executor, cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit,
            options: Mapping[str, Scalar | None]) -> None:
    """Has the executor execute the cells in its own way, as a job that the store knows of while it lasts."""
    if executor.run is None:
        follow(executor, cells, folder, jobs, emit, options)
        return
    job = joblist.begin(folder, executor.name, [cell.run_id for cell in cells]).name
    try:
        executor.run([replace(cell, job=job) for cell in cells], folder, jobs, emit,
                     *([options] if executor.options else []))
    finally:
        joblist.end(folder, job)


def submit(executor: Executor, cells: Sequence[Cell], folder: Path, jobs: int,
           options: Mapping[str, Scalar | None]) -> list[Job]:
    """The jobs of the executor that are at the cells: those that live, and one more if these are not at all of them.

    What is left of jobs that have ended is removed. Raises what the executor raises, and then leaves nothing behind.
    """
    assert executor.submit is not None
    found = [job for job in joblist.read(folder) if job.executor == executor.name and job.handle is not None]
    living = [job for job in found if state(executor, job).alive]
    for job in found:
        if job not in living:
            cancel(executor, folder, job)  # an engine may hold what is left of it
    if {cell.run_id for cell in cells} <= {run_id for job in living for run_id in job.cells}:
        return living
    job = joblist.begin(folder, executor.name, [cell.run_id for cell in cells])
    try:
        handle = executor.submit([replace(cell, job=job.name) for cell in cells], folder, jobs, options)
    except BaseException:
        joblist.end(folder, job.name)
        raise
    return [*living, joblist.keep(folder, replace(job, handle=handle))]


def follow(executor: Executor, cells: Sequence[Cell], folder: Path, jobs: int, emit: Emit,
           options: Mapping[str, Scalar | None]) -> None:
    """Has the cells executed by jobs of the executor, hands on what their workers tell, and returns when all are done.

    A job that ends before is submitted again. One that a killed program left is gone on with. An interrupt cancels.
    Raises CvfpError for a job whose workers begin nothing, and for jobs that get no cell on.
    """
    heard = _Heard(cells, folder, emit)
    living: list[Job] = []
    standing, idle = None, 0
    try:
        while heard.unfinished:
            living = submit(executor, heard.unfinished, folder, jobs, options)
            said = _wait(executor, living, heard)
            if heard.unfinished and not {job.name for job in living} <= {job.name for job in joblist.read(folder)}:
                raise CvfpError(f"{living[-1]} was cancelled; run the same command again to go on")
            before, standing = standing, [store.standing(folder, cell.run_id) for cell in heard.unfinished]
            idle = idle + 1 if standing == before else 0
            if heard.unfinished and (idle >= LOSSES or not heard.anything):
                raise CvfpError(f"{living[-1]} ended and no cell has got on since {idle + 1} times"
                                f"{f': {said.text}' if said.text else ''}; its files are in "
                                f"'{folder / 'jobs' / living[-1].name}'")
    except KeyboardInterrupt:
        for job in living:
            cancel(executor, folder, job)
        raise


def cancel(executor: Executor, folder: Path, job: Job) -> None:
    """Ends a job that was submitted, and forgets it: what it still does is of no later job."""
    assert executor.cancel is not None
    assert job.handle is not None
    executor.cancel(job.handle)
    joblist.end(folder, job.name)


def state(executor: Executor, job: Job) -> JobState:
    """What the engine says of a job that was submitted."""
    assert executor.status is not None
    assert job.handle is not None
    return executor.status(job.handle)


def _wait(executor: Executor, living: Sequence[Job], heard: _Heard) -> JobState:
    """Hands on news until the cells are done or no job lives; what the engine says of the last one."""
    asked, states = -_ASK, list[JobState]()
    while True:
        if time.monotonic() - asked >= _ASK:
            try:
                states = [state(executor, job) for job in living]
            except CvfpError:  # the engine itself may be down for a while
                if not states:
                    raise
            asked = time.monotonic()
            heard.say("; ".join(f"{job}: {each}" for job, each in zip(living, states, strict=True)))
        heard.hand_on()
        if not heard.unfinished or not any(each.alive for each in states):
            return states[-1]
        time.sleep(_LOOK)


class _Heard:
    """What was handed on of the cells, and which have no record yet."""

    def __init__(self, cells: Sequence[Cell], folder: Path, emit: Emit) -> None:
        self.unfinished = list(cells)
        self.anything = False
        self._folder, self._emit, self._listener = folder, emit, Listener(folder)
        self._begun: set[str] = set()
        self._said = ""

    def say(self, text: str) -> None:
        """Hands on what an engine says, where that is new."""
        if text != self._said:
            self._said = text
            self._emit(Event(kind="job", run_id="", values={"text": text}))

    def hand_on(self) -> None:
        """Hands on what workers told since; a record counts whether its worker lived to tell of it or not."""
        waiting = {cell.run_id for cell in self.unfinished}
        for event in self._listener.news():
            if event.run_id in waiting and event.kind != "run_finished":
                self._tell(event)
        for cell in self.unfinished:
            if store.recorded(self._folder, cell.run_id):
                if cell.run_id not in self._begun:
                    self._tell(Event(kind="run_started", run_id=cell.run_id,
                                     values={"train_tokens": cell.train_tokens}))
                records, _ = store.read_run(self._folder, cell.run_id)
                self._tell(Event(kind="run_finished", run_id=cell.run_id, values=records.row(0, named=True)))
                waiting.remove(cell.run_id)
        self.unfinished = [cell for cell in self.unfinished if cell.run_id in waiting]

    def _tell(self, event: Event) -> None:
        self.anything = True
        if event.kind == "run_started":
            self._begun.add(event.run_id)
        self._emit(event)
