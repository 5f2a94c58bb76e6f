"""Grids on a Slurm cluster: real daemons on this machine, which tests/slurm_packages.sh fetches."""

import json
import math
import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import made_docs
import made_grids
import slurm_cluster
from cvfp_core import __version__
from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.schema import jobs as joblist
from cvfp_core.schema import store
from cvfp_core.testing import check_executor
from cvfp_slurm import cvfp_executors
from cvfp_slurm.worker import fate

pytestmark = pytest.mark.skipif(slurm_cluster.programs() is None, reason=slurm_cluster.MISSING)

ENDLESS = ("--set", "phase1.max_iterations=2", "--set", "phase2.epochs=1000000", "--set", "phase2.patience=1000000")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm") / "cluster"
    with slurm_cluster.running(folder) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture
def place(tmp_path):
    made_grids.corpus(tmp_path)
    return tmp_path


def run(place, *more, samples="4,8,12,16", short=made_grids.SHORT, code=0, executor="slurm", jobs=2):
    """`cvfp run` on the cluster, called in this process."""
    options = made_grids.options(place, samples=samples, short=short, jobs=jobs)
    return made_grids.in_process("run", *options, "--executor", executor, *more, folder=place, code=code)


def status(place):
    """What `cvfp status --json` says of the only store."""
    (told,) = json.loads(made_grids.in_process("status", place / "runs", "--json", folder=place).stdout)
    return told


def test_a_grid_left_to_an_array_gives_the_records_of_this_machine(cluster, place, tmp_path_factory):
    out = run(place, "--detach").stdout
    assert out.startswith("4 of 4 cells are left to slurm job ")
    assert "next: cvfp status " in out
    again = run(place, "--detach").stdout
    assert again == out  # what a job is at is not submitted again
    assert status(place)["cells"] == 4
    slurm_cluster.until(lambda: len(list((place / "runs" / "default" / "records").iterdir())) == 4)
    assert status(place)["done"] == 4
    slurm_cluster.until(lambda: not cluster.states())
    assert run(place, "--detach").stdout == "all 4 cells are finished\n"
    here = tmp_path_factory.mktemp("here")
    made_grids.corpus(here)
    run(here, executor="local", jobs=1)
    there, here = (store.read(folder / "runs" / "default").drop(*DISTURBED, "device") for folder in (place, here))
    assert there.equals(here)


@pytest.mark.slow
def test_a_worker_told_to_leave_goes_on_from_its_checkpoint_and_is_cancelled(cluster, place):
    run(place, "--detach", samples="50", short=ENDLESS)
    slurm_cluster.until(lambda: [beat for beat in joblist.beats(place / "runs" / "default") if beat.phase == 2])
    (beat,) = status(place)["running"]
    _, curves = store.read_running(place / "runs" / "default")
    (ppl,) = curves.filter(metric="val_ppl", step=beat["step"])["value"]
    assert math.exp(beat["loss"]) == pytest.approx(ppl)
    (job,) = cluster.states()
    cluster.ask("scancel", "--signal=USR2", job)
    slurm_cluster.until(lambda: cluster.states() == {job: "PENDING"})
    assert status(place)["jobs"][0]["state"] == {"running": 0, "waiting": 1, "text": "BeginTime"}
    listener = joblist.Listener(place / "runs" / "default")
    list(listener.news())
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm lets a job rest for two minutes
    slurm_cluster.until(lambda: [event for event in listener.news() if event.kind == "run_resumed"])
    where = place / "runs"
    assert made_grids.in_process("cancel", where, folder=place).stdout == f"slurm job {job} is cancelled\n"
    assert made_grids.in_process("cancel", where, folder=place).stdout == f"nobody is at work on {where / 'default'}\n"
    slurm_cluster.until(lambda: not cluster.states())
    told = made_grids.in_process("status", where, folder=place).stdout
    assert "1 cell: 0 done, 1 waiting" in told
    assert "nobody is at work; go on with: cvfp" in told


BAD = {
    "partition=mian": "no partition 'mian' on this cluster; did you mean 'main'?; it has: far, main",
    "time=61": "executor.time = 61 minutes, and the partition allows 60; take less, cells go on from checkpoints",
    "cpus=64": "Slurm refuses --cpus-per-task=64: allocation failure: Requested node configuration is "
               "not available",
    "gpus=1": "Slurm refuses --cpus-per-task=1 --gpus-per-node=1: Invalid generic resource (gres) "
              "specification",
}


@pytest.mark.parametrize("setting", BAD)
def test_what_slurm_would_refuse_is_said_in_one_line_before_anything_is_submitted(cluster, place, setting):
    assert run(place, "--set", f"executor.{setting}", code=2).stderr == f"cvfp: {BAD[setting]}\n"
    assert not cluster.states()
    assert not joblist.read(place / "runs" / "default")


def test_a_folder_that_nodes_do_not_see_and_another_version_there_are_said(cluster, place):
    far, private = ("--set", "executor.partition=far"), cluster.folder / "private"
    if slurm_cluster.namespaces():
        said = run(place, *far, "--out", private, code=2).stderr
        assert said == (f"cvfp: a node of partition 'far' does not see the folder '{private / 'default'}'; choose one "
                        "on a file system that all nodes share with --out\n")
    (cluster.folder / "far-python").mkdir()
    (cluster.folder / "far-python" / "sitecustomize.py").write_text(
        "import cvfp_core.version as version\nversion.__version__ = '0.0.9'\n")
    try:
        said = run(place, *far, code=2).stderr
    finally:
        shutil.rmtree(cluster.folder / "far-python")
    assert said == (f"cvfp: a node of partition 'far' has cvfp 0.0.9 and not {__version__} ({sys.executable}); install "
                    "the same version there\n")
    slurm_cluster.until(lambda: not cluster.states())
    assert not joblist.read(place / "runs" / "default")


def test_no_slurm_no_submitit_and_an_engine_that_cannot_be_left_are_said(place, monkeypatch):
    said = run(place, "--detach", executor="local", code=2).stderr
    assert said.startswith("cvfp: executor 'local' ends with the command that started it, so its runs cannot be left "
                           "alone; --executor slurm can")
    with monkeypatch.context() as without:
        without.setenv("PATH", str(place))
        assert run(place, code=2).stderr == ("cvfp: no Slurm here: 'sinfo' is not on PATH; run this on a login node of "
                                             "the cluster, or take another executor\n")
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert run(place, code=2).stderr == ("cvfp: the executor 'slurm' needs submitit, which is not installed; "
                                         "pip install 'cvfp[slurm]'\n")


@pytest.mark.parametrize(("said", "code", "ended"), [
    ("OUT_OF_MEMORY", 0, "memory"), ("RUNNING", 0, None), ("slurm_load_jobs error: Invalid job id specified", 1, None)])
def test_slurm_is_asked_whether_a_task_that_ended_without_a_word_ran_out_of_memory(said, code, ended, tmp_path,
                                                                                   monkeypatch):
    """By a squeue that says what Slurm's does: the nodes of these tests have no control groups to end a task by."""
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n[ $3 = --jobs=77 ] && echo {said}\nexit {code}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "n1-4711").write_text("77")
    attempt = joblist.Attempt(job="a", host="n1", process=4711, checkpoint="")
    assert fate(tmp_path, attempt) == ended
    assert fate(tmp_path, replace(attempt, process=4712)) is None


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_executor_passes_the_check_of_the_kit():
    (executor,) = cvfp_executors()
    check_executor(executor)


@pytest.mark.slow
def test_the_lines_of_the_page_do_what_it_says(cluster, tmp_path):
    page = Path(__file__).parents[1] / "docs" / "clusters.md"
    section = page.read_text(encoding="utf-8").partition("## Slurm in five lines")[2].partition("\n## ")[0]
    commands, said = made_docs.blocks(section)
    (tmp_path / "cvfp").write_text(f"#!{sys.executable}\nfrom cvfp_core.cli import main\nmain()\n")
    (tmp_path / "cvfp").chmod(0o755)
    env = made_grids.environment(tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", PYTHONWARNINGS="default")
    printed, _ = made_docs.step(commands, tmp_path, env, page.name)

    def words(text):
        return [re.sub(r"[\d.-]+", "0", line).split() for line in text.splitlines()]

    told, shown = words(printed), words(said.text)
    assert told[0] == shown[0]
    assert told[-1] == shown[-1]
    assert shown[4] in told
    slurm_cluster.until(lambda: not cluster.states())


@pytest.mark.slow
def test_a_killed_driver_a_job_requeued_and_one_that_dies_lose_nothing(cluster, place):
    """Four cells of some seconds; one of two workers is killed, the other queued again by Slurm."""
    long = ("--set", "phase1.max_iterations=2", "--set", "phase2.epochs=150", "--set", "phase2.patience=1000")
    options = made_grids.options(place, samples="44,46,48,50", short=long, jobs=2)
    command = ("run", *options, "--executor", "slurm")
    with made_grids.start(*command, folder=place, PYTHONWARNINGS="default") as driver:
        slurm_cluster.until(lambda: len(cluster.states()) == 2 and len(status(place)["running"]) == 2)
        driver.kill()
    os.kill(joblist.beats(place / "runs" / "default")[0].process, signal.SIGKILL)
    slurm_cluster.until(lambda: len(cluster.states()) == 1)
    (task,) = cluster.states()
    cluster.ask("scontrol", "requeue", task)
    slurm_cluster.until(lambda: cluster.states() == {task: "PENDING"})
    cluster.ask("scontrol", "update", f"JobId={task}", "StartTime=now")
    done = made_grids.cvfp(*command, folder=place, PYTHONWARNINGS="default")
    assert done.returncode == 0, done.stderr
    records = store.read(place / "runs" / "default")
    assert records["status"].to_list() == ["ok"] * 4
    assert (records["lost_workers"].sum(), records["attempts"].sum()) == (2, 6)
