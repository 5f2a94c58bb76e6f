"""Jobs that live on their own: followed, submitted again, found again, told of, cancelled; the engine is made up."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from cvfp_core import hookimpl
from cvfp_core.errors import CvfpError
from cvfp_core.protocol.record import record
from cvfp_core.registry.kinds import Executor, JobState
from cvfp_core.results.standings import standings
from cvfp_core.running import submitted
from cvfp_core.running.standing import cancel
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import store
from cvfp_core.schema.cells import Event
from cvfp_core.schema.jobs import Heart, Journal
from cvfp_core.schema.records import RunResult
from cvfp_core.testing import load_only
from made_runs import made_cell
from slurm_cluster import until


class Engine:
    """Each job does so many cells when it is first asked how it stands, and has ended when it is asked a third time."""

    def __init__(self, *counts, folder):
        self.counts, self.folder, self.jobs, self.cancelled, self.asked = list(counts), folder, [], [], Counter()

    def submit(self, cells, *_asked):
        self.jobs.append((cells, self.counts.pop(0)))
        return {"job_id": str(len(self.jobs))}

    def status(self, handle):
        number = handle["job_id"]
        self.asked[number] += 1
        if self.asked[number] > 2 or number in self.cancelled:
            return JobState(running=0, waiting=0, text="node n7 burnt down")
        cells, count = self.jobs[int(number) - 1]
        journal = Journal(self.folder, cells[0].job)
        left = [cell for cell in cells if not store.recorded(self.folder, cell.run_id)]
        for cell in left[:count] if self.asked[number] == 1 else []:
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


def test_jobs_that_get_no_cell_on_are_an_error_with_the_engines_words(tmp_path):
    first, second = (store.create(tmp_path / name) for name in ("first", "second"))
    with pytest.raises(CvfpError, match=r"far job 1 ended and no cell has got on since 1 times: node n7 burnt down; "
                                        r"its files are in '.*jobs.*'"):
        follow(Engine(0, folder=first), first)
    with pytest.raises(CvfpError, match="far job 4 ended and no cell has got on since 4 times"):
        follow(Engine(1, 0, 0, 0, folder=second), second)


def test_a_job_that_a_killed_program_left_is_found_again(folder):
    engine = Engine(5, folder=folder)
    (job,) = submitted.submit(engine.executor, CELLS, folder, 2, {})
    assert submitted.submit(engine.executor, CELLS[1:], folder, 2, {}) == [job]
    assert len(engine.jobs) == 1


def test_an_interrupt_cancels_and_a_job_cancelled_elsewhere_is_not_submitted_again(folder):
    engine = Engine(1, 1, folder=folder)

    def interrupted(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submitted.follow(engine.executor, CELLS, folder, 2, interrupted, {})
    assert engine.cancelled == ["1"]
    assert not joblist.read(folder)

    def cancelled(_event):
        cancel(folder, registry_of(engine))

    with pytest.raises(CvfpError, match="far job 2 was cancelled; run the same command again to go on"):
        submitted.follow(engine.executor, CELLS, folder, 2, cancelled, {})
    assert engine.cancelled == ["1", "2"]
    assert len(engine.jobs) == 2


def test_the_status_counts_cells_and_says_who_is_at_them(folder):
    engine = Engine(3, folder=folder)
    (job,) = submitted.submit(engine.executor, CELLS, folder, 2, {})
    submitted.state(engine.executor, job)
    failed = RunResult(record=record(CELLS[0], 2, {}, "failed", "no bread"))
    store.write_record(folder, failed.row())
    with Heart(folder, job.name, "n1", 1) as heart, Heart(folder, job.name, "n2", 2) as silent:
        heart.begin(CELLS[3].run_id)
        heart.at(2, 7, 5.25)
        silent.begin(CELLS[4].run_id)
        until(lambda: sorted(beat.run_id or "" for beat in joblist.beats(folder)) == sorted(
            cell.run_id for cell in CELLS[3:]))
        long_ago = time.time() - 100
        os.utime(folder / "jobs" / job.name / "n2-2.json", (long_ago, long_ago))
        told = standings(folder, registry=registry_of(engine))
    assert told.summary() == f"{folder}: 5 cells: 2 done, 1 failed, 1 running, 1 lost"
    text = told.text(200).splitlines()
    assert text[1].split() == ["cell", "host", "for", "at", "loss", "heard"]
    assert text[2].split()[:2] == [CELLS[3].run_id, "n1"]
    assert text[3].split()[:2] == [CELLS[4].run_id, "n2"]
    assert text[4:] == ["far job 1: 2 running, 1 waiting (Resources)", f"failed: {CELLS[0].run_id}: no bread"]
    (data,) = told.as_dict()
    assert (data["cells"], data["done"], len(data["running"]), len(data["lost"])) == (5, 2, 1, 1)
    assert told.active
    later = standings(folder, registry=registry_of(engine))
    assert "far job 1: ended: node n7 burnt down" in later.text(200)
    assert not later.active


def test_an_engine_that_does_not_answer_may_be_at_work_and_what_it_says_is_told(folder):
    engine = Engine(2, folder=folder)
    submitted.submit(engine.executor, CELLS, folder, 2, {})
    told = standings(folder, registry=load_only())
    assert "far job 1: unknown executor 'far'" in told.text(200)
    assert told.active


def test_cancelling_twice_is_no_error_and_what_is_anothers_is(folder):
    engine = Engine(0, folder=folder)
    submitted.submit(engine.executor, CELLS, folder, 2, {})
    assert cancel(folder, registry_of(engine)) == ["far job 1 is cancelled"]
    assert cancel(folder, registry_of(engine)) == []
    job = joblist.begin(folder, "far", [CELLS[0].run_id])
    joblist.keep(folder, replace(job, handle={"job_id": "7"}))
    engine.jobs = [(CELLS, 0)] * 7
    with pytest.raises(CvfpError, match=r"^job 7 cannot be cancelled: Access/permission denied$"):
        cancel(folder, registry_of(engine))


def test_a_run_of_this_machine_is_told_of_and_cancelled_by_its_process_and_one_elsewhere_is_not(folder):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as driver:
        job = joblist.keep(folder, replace(joblist.begin(folder, "local", [CELLS[0].run_id]), process=driver.pid))
        with Heart(folder, job.name) as heart:
            heart.begin(CELLS[0].run_id)
            until(lambda: joblist.beats(folder))
            assert f"process {driver.pid} on {job.host}: at work" in standings(folder).text(200)
            elsewhere = joblist.keep(folder, replace(job, host="elsewhere"))
            with pytest.raises(CvfpError, match=f"process {driver.pid} on elsewhere is on another machine; run"):
                cancel(folder, load_only())
            assert driver.poll() is None
            joblist.keep(folder, replace(elsewhere, host=job.host))
            assert cancel(folder, load_only()) == [f"process {driver.pid} on {job.host} is cancelled"]
        assert driver.wait() == -signal.SIGTERM
    assert not standings(folder).active
