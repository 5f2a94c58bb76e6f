"""How many processes the `local` executor starts when it is not told, and what becomes of cells whose process dies."""

import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import made_grids
from cvfp_core.protocol.record import record
from cvfp_core.running import run as running
from cvfp_core.running.compute import Computed, Computer, corpus_key
from cvfp_core.running.execute import in_order
from cvfp_core.schema import jobs, store
from cvfp_core.schema.cells import Event
from cvfp_core.schema.records import RunResult
from cvfp_core.testing import check_executor
from cvfp_local import cvfp_executors, processes
from made_runs import made_cell, made_corpus

GIB = 2**30


def cells(device, *tokens):
    return [replace(made_cell("2L_768d_1tok"), device=device, train_tokens=count) for count in tokens]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(processes, "_cpus", lambda: 8)


def test_a_cpu_takes_a_process_a_core_up_to_four(monkeypatch):
    assert processes.fitting_jobs(cells("cpu", 1000)) == 4
    monkeypatch.setattr(processes, "_cpus", lambda: 2)
    assert processes.fitting_jobs(cells("cpu", 1000)) == 2


@pytest.mark.parametrize(("free", "tokens", "jobs"), [
    (80, 1_000, 4), (2, 1_000, 3), (0.5, 1_000, 1), (15, 1_000_000, 2),
])
def test_a_gpu_takes_as_many_as_fit_its_free_memory(monkeypatch, free, tokens, jobs):
    """A million tokens of two layers of 768 numbers are 5.7 GiB, and the rest less than one."""
    monkeypatch.setattr(processes, "corpora", lambda cells, _registry: {corpus_key(cells[0]): made_corpus(width=768)})
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free * GIB, 80 * GIB))
    assert processes.fitting_jobs(cells("cuda", 500, tokens)) == jobs


def test_other_devices_take_one():
    assert processes.fitting_jobs(cells("mps", 1000)) == 1


def test_the_smallest_cell_is_first_and_then_the_largest():
    made = in_order(cells("cpu", 30, 10, 50, 20, 40))
    assert [cell.train_tokens for cell in made] == [10, 50, 40, 30, 20]


@pytest.mark.parametrize(("samples", "ahead", "begun"), [([2, 3], True, ["workers", "corpus"]), ([2], True, ["corpus"]),
                                                         ([2, 3], False, ["corpus"])])
def test_workers_of_several_cells_are_begun_before_the_corpus_is_loaded(monkeypatch, samples, ahead, begun):
    order, load = [], running.load_corpus

    def loaded(*given):
        order.append("corpus")
        return load(*given)

    monkeypatch.setattr(processes, "ahead", lambda: order.append("workers"))
    monkeypatch.setattr(running, "load_corpus", loaded)
    running.prepare(None, {"variants": ["1L_16d_1tok"], "samples": samples}, ahead=ahead)
    assert order == begun


def test_a_worker_has_the_environment_of_who_asks(monkeypatch, tmp_path):
    """It is forked from a process that was begun earlier."""
    monkeypatch.setenv("CVFP_MADE", "before")
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    heard, told = multiprocessing.Pipe(duplex=False)
    processes._work((), tmp_path, 1, {**os.environ, "CVFP_MADE": "now"}, told)
    assert os.environ["CVFP_MADE"] == "now"
    assert heard.recv() is None


def dying(_computer, cell, sees):
    """Computes a cell: one costs its process every time, one the first time, and the others none."""
    first = not sees.checkpoint.with_suffix(".first").exists()
    sees.checkpoint.parent.mkdir(exist_ok=True)
    sees.checkpoint.with_suffix(".first").touch()
    if cell.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.seed == 2 and first:
        os._exit(3)
    return Computed(result=RunResult(record=record(cell, 2, {"val_ppl": 9.0})))


def die(folder):
    """Runs five cells whose processes die, forked so that they are made of `dying`; what is heard: kind, cell, text."""
    fork, heard = multiprocessing.get_context("fork"), []
    multiprocessing.get_context = lambda _way: fork
    Computer.__call__ = dying
    processes.run(GRID, folder, 2, heard.append)
    return [(event.kind, event.run_id, event.values.get("text")) for event in heard]


GRID = [replace(made_cell(seed=seed), train_tokens=seed + 1) for seed in range(5)]
DIE = "import json, pathlib, sys, test_local; print(json.dumps(test_local.die(pathlib.Path(sys.argv[1]))))"
"""For a program of its own: a fork of one that has used polars waits for threads it has not."""


@pytest.mark.skipif(sys.platform == "win32", reason="fork and signals")
def test_a_process_that_ends_in_a_cell_is_replaced_and_a_cell_that_kills_three_is_left_as_failed(tmp_path):
    folder = store.create(tmp_path / "runs")
    done = subprocess.run([sys.executable, "-c", DIE, folder], cwd=Path(__file__).parent, stdout=subprocess.PIPE,
                          check=True)
    heard = json.loads(done.stdout)
    found = store.read(folder)
    assert dict(found.select("seed", "status").rows()) == {0: "ok", 1: "failed", 2: "ok", 3: "ok", 4: "ok"}
    host = platform.node()
    assert found.filter(seed=1)["reason"].to_list() == [f"lost 3 workers ({host})"]
    assert found.sort("seed").select("attempts", "lost_workers").rows() == [(1, 0), (3, 3), (2, 1), (1, 0), (1, 0)]
    assert set(found["host"]) == {host}
    said = [(run_id, text) for kind, run_id, text in heard if kind == "warning"]
    died, ended = (f"its process died ({how}); another one is started" for how in ("SIGKILL", "exit code 3"))
    again = [f"begun again, having lost {losses} of at most 3 workers ({host})" for losses in (1, 2)]
    assert sorted(said) == sorted([*((GRID[1].run_id, text) for text in (died, died, died, *again)),
                                   *((GRID[2].run_id, text) for text in (ended, again[0]))])
    assert sum(kind == "run_finished" for kind, *_ in heard) == 5


def test_a_process_that_must_run_an_earlier_cell_first_is_at_its_own_again_after_that():
    worker = object.__new__(processes._Worker)
    worker.at = []
    at = []
    for kind, run_id in (("run_started", "later"), ("run_started", "earlier"), ("warning", "later"),
                         ("run_finished", "earlier"), ("run_finished", "later")):
        assert worker.hears(Event(kind=kind, run_id=run_id))
        at.append(worker.at[-1:])
    assert at == [["later"], ["earlier"], ["earlier"], ["later"], []]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_linux_killed_for_want_of_memory_is_told_from_one_that_somebody_killed(tmp_path, monkeypatch):
    cell, worker, said = made_cell(), object.__new__(processes._Worker), []
    worker.kills, worker.process = 4, SimpleNamespace(pid=7)
    for kills in (4, 5):
        jobs.attempt(tmp_path, cell.run_id, jobs.Attempt(job="made", host=platform.node(), process=7, checkpoint=""))
        monkeypatch.setattr(processes, "_memory_kills", lambda kills=kills: kills)
        said.append(worker.cause(-signal.SIGKILL, cell, tmp_path))
    assert said == ["SIGKILL", "SIGKILL, out of memory"]
    assert [each.ended for each in jobs.attempts(tmp_path, cell.run_id)] == [None, "memory"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_executor_keeps_what_the_kit_asks_of_one():
    (executor,) = cvfp_executors()
    check_executor(executor)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_as_an_interrupt_does(tmp_path, name):
    endless = ("--set", "phase1.max_iterations=1000000", "--set", "phase1.convergence_threshold=1e-9")
    made_grids.corpus(tmp_path)
    with made_grids.start("run", *made_grids.options(tmp_path, samples="50", short=endless), "--json",
                          folder=tmp_path) as process:
        for line in process.stdout:
            if "phase1_iteration" in line:
                break
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=900)
    assert process.returncode == 130
    (line,) = err.splitlines()
    assert line.startswith("cvfp: interrupted; 0 of 1 cells are finished and kept in ")
    assert "go on with: cvfp " in line
