"""Who works at a store and what became of cells: beats, attempts, and the classes of failure."""

import json
import os
import platform
import sys
import threading
import time
from dataclasses import replace

import pytest

from cvfp_core.errors import UsageError
from cvfp_core.protocol.record import record
from cvfp_core.registry.kinds import Executor, JobState
from cvfp_core.registry.lazy import lazy
from cvfp_core.running import execute
from cvfp_core.running.compute import Computed, Lost
from cvfp_core.schema import jobs, store
from cvfp_core.schema.cells import Event
from cvfp_core.schema.records import RunResult
from cvfp_core.testing import check_executor
from made_runs import made_cell as cell_of_no_tokens

HOST = platform.node()


def made_cell(seed=1, tokens=9):
    return replace(cell_of_no_tokens(seed=seed), train_tokens=tokens)


@pytest.fixture
def folder(tmp_path):
    return store.create(tmp_path / "runs")


def computed(cell, **more):
    return Computed(result=RunResult(record=record(cell, 2, {"val_ppl": 9.0}, **more)))


def worker(cells, folder, compute, heard=None):
    """Has a worker execute the cells."""
    with execute.Worker(cells, folder, (heard if heard is not None else []).append, compute) as made:
        made.run()


def warnings(heard):
    return [event.values["text"] for event in heard if event.kind == "warning"]


def lost_before(folder, cell, count, checkpoint="", job="direct"):
    for number in range(count):
        jobs.attempt(folder, cell.run_id, jobs.Attempt(job=job, host=f"node{number % 2}", process=number,
                                                       checkpoint=checkpoint))


@pytest.mark.parametrize(("losses", "job", "checkpoint", "status"), [
    (2, "direct", "", "ok"), (3, "direct", "", "failed"), (3, "an earlier one", "", "ok"), (3, "direct", "1:5", "ok")])
def test_a_cell_that_lost_three_workers_of_a_job_without_a_new_checkpoint_fails(folder, losses, job, checkpoint,
                                                                               status):
    cell = made_cell()
    lost_before(folder, cell, losses, checkpoint, job)
    worker([cell], folder, lambda cell, _sees: computed(cell))
    (found,) = store.read(folder).rows(named=True)
    assert found["status"] == status
    assert found["reason"] == ("lost 3 workers (node0, node1)" if status == "failed" else None)
    assert (found["attempts"], found["lost_workers"]) == (losses + (status == "ok"), losses)
    assert found["host"] == HOST
    assert jobs.attempts(folder, cell.run_id) == []


def test_memory_that_runs_out_is_tried_once_more_when_the_other_cells_are_done(folder):
    cells = [made_cell(seed) for seed in range(3)]
    order, heard = [], []

    def compute(cell, _sees):
        order.append(cell.seed)
        short = cell.seed == 2 or (cell.seed == 0 and order.count(0) == 1)
        made = computed(cell, status="failed", reason="out of memory on cpu") if short else computed(cell)
        return replace(made, out_of_memory=short)

    worker(cells, folder, compute, heard)
    assert order == [0, 1, 2, 0, 2]
    found = store.read(folder).sort("seed")
    assert found.select("status", "attempts", "lost_workers").rows() == [("ok", 2, 0), ("ok", 1, 0), ("failed", 2, 0)]
    assert warnings(heard) == ["out of memory on cpu; it is tried once more when the other cells are done"] * 2


def test_memory_that_runs_out_is_not_tried_again_beside_cells_of_other_processes(folder):
    cells, order, held = [made_cell(seed) for seed in range(2)], [], threading.Event()

    def other_process():
        with store.lock(folder, cells[1].run_id).acquire():
            held.set()
            time.sleep(0.5)

    def compute(cell, _sees):
        order.append(cell.seed)
        return replace(computed(cell), out_of_memory=order == [0])

    other = threading.Thread(target=other_process)
    other.start()
    held.wait()
    worker(cells, folder, compute)
    other.join()
    assert order == [0, 1, 0]


def test_a_worker_that_died_for_want_of_memory_is_no_lost_one(folder):
    cell, tries = made_cell(), []

    def dies(_cell, _sees):
        tries.append(1)
        raise Lost("its worker is lost (out of memory)", out_of_memory=True)

    worker([cell], folder, dies)
    (found,) = store.read(folder).rows(named=True)
    assert len(tries) == 2
    assert found["reason"] == f"out of memory 2 times ({HOST})"
    assert (found["attempts"], found["lost_workers"]) == (2, 0)


def test_a_record_that_another_process_stored_meanwhile_stays(folder):
    """As where a process stands still between the last look at its lease and the record, and another takes over."""
    cell, heard = made_cell(), []

    def overtaken(cell, _sees):
        theirs = computed(cell).result
        store.write(folder, replace(theirs, record=replace(theirs.record, val_ppl=7.0)))
        return computed(cell)

    worker([cell], folder, overtaken, heard)
    assert store.read(folder)["val_ppl"].to_list() == [7.0]
    assert warnings(heard) == ["another process has stored a record of this cell; it counts"]
    assert not list((folder / "records").glob(".*"))


def test_an_engine_that_knows_how_a_worker_ended_is_asked(folder):
    """Two that the engine ended for want of memory, of which it says so, and one of another job, of which it is not."""
    cell = made_cell()
    lost_before(folder, cell, 2)
    jobs.attempt(folder, cell.run_id, jobs.Attempt(job="an earlier one", host="node2", process=9, checkpoint=""))
    asked = []

    def fate(attempt):
        asked.append(attempt.job)
        return "memory"

    with execute.Worker([cell], folder, lambda _: None, lambda cell, _sees: computed(cell), fate=fate) as made:
        made.run()
    (found,) = store.read(folder).rows(named=True)
    assert asked == ["direct", "direct"]
    assert found["reason"] == "out of memory 2 times (node0, node1)"
    assert found["lost_workers"] == 1


def test_an_interrupted_attempt_is_no_lost_worker(folder):
    cell = made_cell()

    def interrupted(_cell, _sees):
        raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            worker([cell], folder, interrupted)
    assert [each.ended for each in jobs.attempts(folder, cell.run_id)] == ["interrupted"] * 4
    worker([cell], folder, lambda cell, _sees: computed(cell))
    assert store.read(folder).select("status", "attempts", "lost_workers").rows() == [("ok", 5, 0)]


def test_a_line_that_is_torn_costs_that_attempt_alone(folder):
    cell = made_cell()
    lost_before(folder, cell, 2)
    with (folder / "jobs" / "attempts" / f"{cell.run_id}.jsonl").open("a") as file:
        file.write('{"job": "direct", "ho\n')
    assert len(jobs.attempts(folder, cell.run_id)) == 2


def test_a_worker_tells_where_it_is_while_it_is_there(folder, monkeypatch):
    monkeypatch.setattr(jobs, "BEAT", 0.02)
    monkeypatch.setattr(jobs, "_SPACING", 0.01)
    cell, seen = replace(made_cell(), job="made"), []

    def compute(cell, sees):
        sees.begun({"run_id": cell.run_id})
        for kind, values in (("phase1_iteration", {"iteration": 3, "loss": 0.25}),
                             ("phase2_epoch", {"epoch": 2, "val_ppl": 1.0, "val_acc": 0.5})):
            sees.tell(Event(kind=kind, run_id=cell.run_id, values=values))
            until = time.monotonic() + 20
            while not [each for each in jobs.beats(folder) if each.phase == int(kind[5])]:
                assert time.monotonic() < until
            seen.extend(jobs.beats(folder))
        return computed(cell)

    worker([cell], folder, compute)
    assert [(each.job, each.host, each.process, each.run_id, each.phase, each.step, each.loss) for each in seen] == [
        ("made", HOST, os.getpid(), cell.run_id, 1, 3, 0.25), ("made", HOST, os.getpid(), cell.run_id, 2, 2, 0.0)]
    assert all(each.since is not None and each.age < 60 for each in seen)
    assert jobs.beats(folder) == []


def test_beats_that_cannot_be_written_end_no_cell(folder):
    (folder / "jobs").write_text("no folder")
    worker([made_cell()], folder, lambda cell, _sees: computed(cell))
    assert store.read(folder)["status"].to_list() == ["ok"]


def test_a_job_is_kept_with_its_handle_until_it_ends(folder):
    job = jobs.begin(folder, "made", ["a", "b"])
    jobs.keep(folder, replace(job, handle={"job_id": "4711"}))
    (found,) = jobs.read(folder)
    assert found == replace(job, handle={"job_id": "4711"})
    assert found.cells == ("a", "b")
    jobs.end(folder, job.name)
    assert jobs.read(folder) == []


def test_files_of_jobs_whose_driver_was_killed_go_after_a_day_but_not_a_submitted_job(folder):
    killed, submitted = (jobs.begin(folder, "made", [name]) for name in ("a", "b"))
    jobs.keep(folder, replace(submitted, handle={"job_id": "1"}))
    for job in (killed, submitted):
        os.utime(folder / "jobs" / job.name / "job.json", (1, 1))
    new = jobs.begin(folder, "made", ["c"])
    assert {job.name for job in jobs.read(folder)} == {submitted.name, new.name}


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_dead_worker_is_lost_and_a_living_one_is_not_after_a_clock_was_set(hours, folder):
    job = jobs.begin(folder, "made", ["a", "b"])
    with jobs.Heart(folder, job.name, "alive", 1) as alive:
        alive.begin("a")
        file = folder / "jobs" / job.name / "dead-1.json"
        jobs._write(file, {"job": job.name, "host": "dead", "process": 1, "time": "2026-01-02T03:04:05+00:00",
                          "run_id": "b"})
        os.utime(file, (time.time() - 3600 * hours,) * 2)
        beats = jobs.beats(folder)
    assert {beat.host: beat.age > jobs.SILENT for beat in beats if beat.host == "dead"} == {"dead": True}
    assert all(beat.age <= jobs.SILENT for beat in beats if beat.host == "alive")


def test_an_executor_that_submits_can_also_say_and_cancel():
    with pytest.raises(ValueError, match="executor 'half' has some of submit, status and cancel; give all three"):
        Executor(name="half", title="", run=lambda *_: None, submit=lambda *_: {})
    whole = Executor(name="whole", title="", run=lambda *_: None, submit=lambda *_: {"id": 1},
                     status=lambda _: JobState(running=0, waiting=0), cancel=lambda _: None)
    assert json.dumps(whole.submit([], None, 0, {})) == '{"id": 1}'


def test_the_check_of_executors_takes_two_workers():
    with pytest.raises(UsageError, match="it takes jobs of 2 or more, not 1"):
        check_executor(Executor(name="made", title="", run=print), jobs=1)


@pytest.mark.slow
def test_the_check_of_executors_fails_for_one_without_workers(tmp_path, monkeypatch):
    (tmp_path / "made_alone.py").write_text("def run(cells, folder, jobs, emit):\n"
                                            "    from cvfp_core.running.execute import execute_cells\n"
                                            "    execute_cells(cells, folder, emit)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(AssertionError, match="workers of jobs=2: expected processes beside the driver, found the driv"):
        check_executor(Executor(name="alone", title="", run=lazy("made_alone:run")))
