"""Jobs that live on their own: followed, submitted again, found again, told of and cancelled; the engine is made up."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from cvfp_core.errors import CvfpError
from cvfp_core.protocol.record import record
from cvfp_core.registry.kinds import Executor, JobState
from cvfp_core.results.standings import standings
from cvfp_core.running import submitted
from cvfp_core.running.standing import cancel
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import store
from cvfp_core.schema.cells import Event
from cvfp_core.schema.jobs import Heart, Job, Journal
from cvfp_core.schema.records import RunResult
from made_runs import made_cell
from cvfp_core.testing import load_only
from cvfp_core import hookimpl


class Engine:
    """Each job does so many cells when it is asked how it stands, and then ends."""

    def __init__(self, *counts, folder):
        self.counts, self.folder, self.jobs, self.cancelled = list(counts), folder, [], []

    def submit(self, cells, folder, jobs, options):
        self.jobs.append((cells, self.counts.pop(0)))
        return {"job_id": str(len(self.jobs))}

    def status(self, handle):
        number = int(handle["job_id"]) - 1
        cells, count = self.jobs[number]
        self.jobs[number] = (cells, None)
        if count is None or handle["job_id"] in self.cancelled:
            return JobState(running=0, waiting=0, text="node n7 burnt down")
        journal = Journal(self.folder, cells[0].job)
        for cell in [cell for cell in cells if not store.recorded(self.folder, cell.run_id)][:count]:
            journal(Event(kind="run_started", run_id=cell.run_id, values={"train_tokens": 1}))
            store.write_record(self.folder, RunResult(record=record(cell, 2, {"val_ppl": 9.0})).row())
        return JobState(running=2, waiting=1, text="Resources")

    def cancel(self, handle):
        if handle["job_id"] == "7":
            raise CvfpError("job 7 cannot be cancelled: Access/permission denied")
        self.cancelled.append(handle["job_id"])

    @property
    def executor(self):
        return Executor(name="far", title="far away", submit=self.submit, status=self.status, cancel=self.cancel)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(submitted, "_LOOK", 0.0)
    monkeypatch.setattr(submitted, "_ASK", 0.0)


@pytest.fixture
def folder(tmp_path):
    return store.create(tmp_path / "runs")


CELLS = [replace(made_cell(seed=seed), train_tokens=seed + 1) for seed in range(5)]


def follow(engine, folder, cells=CELLS):
    heard = []
    submitted.follow(engine.executor, cells, folder, 2, heard.append, {})
    return heard


def registry_of(engine):
    class Plugin:
        @hookimpl
        def cvfp_executors(self):
            yield engine.executor

    return load_only(Plugin())


def test_a_job_that_ends_early_is_submitted_again_and_all_events_are_handed_on(folder):
    engine = Engine(2, 2, 2, folder=folder)
    heard = follow(engine, folder)
    assert [len(cells) for cells, _ in engine.jobs] == [5, 3, 1]
    for kind in ("run_started", "run_finished"):
        assert [event.run_id for event in heard if event.kind == kind] == [cell.run_id for cell in CELLS]
    assert {event.values["val_ppl"] for event in heard if event.kind == "run_finished"} == {9.0}


def test_jobs_that_get_no_cell_on_are_an_error_with_the_engines_words(folder):
    with pytest.raises(CvfpError, match=r"far job 1 ended and no cell has got on since 1 times: node n7 burnt down; "
                                        r"its files are in '.*jobs.*'"):
        follow(Engine(0, folder=folder), folder)
    engine = Engine(1, 0, 0, 0, folder=folder)
    with pytest.raises(CvfpError, match="far job 4 ended and no cell has got on since 4 times"):
        follow(engine, folder)


def test_a_job_that_a_killed_program_left_is_found_again(folder):
    engine = Engine(5, folder=folder)
    (job,) = submitted.submit(engine.executor, CELLS, folder, 2, {})
    engine.jobs[0] = (engine.jobs[0][0], 0)
    assert submitted.submit(engine.executor, CELLS[1:], folder, 2, {}) == [job]
    assert len(engine.jobs) == 1
