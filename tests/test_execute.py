"""A grid is shared by processes, survives what kills them, and goes on past what fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

import made_grids
import made_plugins
from cvfp_core import __version__
from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.running.run import run
from cvfp_core.schema import store

MACHINE = {*DISTURBED, "device"}
"""Columns that may differ between two runs of one cell."""
LONG = ("--set", "phase1.max_iterations=60", "--set", "phase1.convergence_threshold=1e-9", "--set", "phase2.epochs=4")
"""Every cell takes all of its iterations: long enough to be met running."""


def results(folder):
    """The records of the default experiment, without what the machine and the hour put into them."""
    return store.read(folder / "runs" / "default").drop(MACHINE).sort("run_id")


def events(text, kind):
    """The run ids of the events of a kind, of `--json` output that may end within a line."""
    found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [each["run_id"] for each in found if each["event"] == kind]


@pytest.fixture
def place(tmp_path):
    made_grids.corpus(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The results of the grid of `LONG`, run by one process in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    made_grids.corpus(folder)
    done = made_grids.cvfp("run", *made_grids.options(folder, short=LONG), "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(events(done.stdout, "run_finished")) == 3
    return results(folder)


def test_two_processes_share_a_grid_and_run_every_cell_once(place):
    options = made_grids.options(place, variants=("1L_16d_1tok", "2L_8d_1tok"), samples="4,8,12,16")
    made_grids.cvfp("run", *options, "--dry-run", folder=place)  # the corpus is cached: both start training together
    both = [made_grids.start("run", *options, "--json", folder=place) for _ in range(2)]
    outputs = [process.communicate(timeout=900) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    started = [run_id for out, _ in outputs for run_id in events(out, "run_started")]
    assert len(started) == len(set(started)) == 8
    assert sorted(started) == results(place)["run_id"].to_list()
    for out, _ in outputs:
        assert events(out, "run_started") == events(out, "run_finished")


def read_until(process, kind, number):
    """Reads events until that many of the kind came; returns all lines read."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        number -= json.loads(line)["event"] == kind
        if number == 0:
            return lines
    raise AssertionError(f"ended early: {lines[-2:]} {process.stderr.read()}")


def test_a_killed_process_loses_at_most_the_running_cell(place, uninterrupted):
    options = [*made_grids.options(place, short=LONG), "--json"]
    with made_grids.start("run", *options, folder=place) as process:
        lines = read_until(process, "run_started", 2)
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    finished = events("".join(lines), "run_finished")
    assert 1 <= len(finished) < 3
    assert set(finished) <= set(results(place)["run_id"])
    kept = store.read(place / "runs" / "default")

    again = made_grids.cvfp("run", *options, folder=place)
    assert again.returncode == 0, again.stderr
    assert sorted(events(again.stdout, "run_skipped")) == sorted(kept["run_id"])
    assert len(events(again.stdout, "run_started")) == 3 - kept.height
    assert results(place).equals(uninterrupted)
    whole = store.read(place / "runs" / "default")
    assert whole.filter(whole["run_id"].is_in(kept["run_id"].to_list())).equals(kept)


def test_an_interrupted_run_says_how_to_go_on_and_does(place, uninterrupted):
    options = [*made_grids.options(place, short=LONG), "--json"]
    with made_grids.start("run", *options, folder=place) as process:
        read_until(process, "run_started", 2)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=900)
    assert process.returncode == 130
    (line,) = err.splitlines()
    folder = re.escape(str(place / "runs" / "default"))
    assert re.match(rf"cvfp: interrupted; \d of \d cells are finished and kept in {folder}, go on with: ", line)
    assert "run --variant 1L_16d_1tok" in line
    assert made_grids.cvfp("run", *options, folder=place).returncode == 0
    assert results(place).equals(uninterrupted)


@pytest.mark.slow
def test_two_jobs_give_the_results_of_one(place, uninterrupted):
    done = made_grids.cvfp("run", *made_grids.options(place, short=LONG, jobs=2), "--json", folder=place)
    assert done.returncode == 0, done.stderr
    started = events(done.stdout, "run_started")
    assert len(started) == len(set(started)) == 3
    assert results(place).equals(uninterrupted)


def descendants(pid):
    """The processes below one, by /proc."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found, below = set(), {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        found |= below
    return found


def alive(pids):
    states = {pid: subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
              for pid in pids}
    return {pid for pid, listed in states.items() if listed.stdout.strip() and not listed.stdout.startswith("Z")}


@pytest.mark.skipif(sys.platform == "win32", reason="signals and ps")
@pytest.mark.parametrize("how", ["SIGINT to the group", "SIGKILL to the parent"])
def test_jobs_end_with_the_process_that_started_them(place, how):
    endless = ("--set", "phase1.max_iterations=1000000", "--set", "phase1.convergence_threshold=1e-9")
    options = [*made_grids.options(place, samples="50,54", short=endless, jobs=2), "--json"]
    with made_grids.start("run", *options, folder=place) as process:
        read_until(process, "run_started", 2)
        below = descendants(process.pid)
        assert len(alive(below)) >= 2
        if how.startswith("SIGINT"):
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        _, err = process.communicate(timeout=900)
    if how.startswith("SIGINT"):
        assert process.returncode == 130
        (line,) = err.splitlines()
        assert line.startswith("cvfp: interrupted; ")
    for _ in range(6000):
        if not alive(below):
            break
        time.sleep(0.1)
    assert not alive(below)
    assert store.read(place / "runs" / "default").is_empty()


def with_family(folder, name, body):
    """The environment in which a made family is installed."""
    made_plugins.install(folder / "site", name, made_plugins.FAMILY.format(name=name, body=body))
    return {"PYTHONPATH": str(folder / "site")}


def test_a_failing_family_is_named_in_its_records_and_the_others_go_on(place):
    bad = with_family(place, "weak", "raise RuntimeError('out of\\nsteam')")
    options = made_grids.options(place, variants=("weak_1L_8d_1tok", "1L_16d_1tok"), jobs=2)
    done = made_grids.cvfp("run", *options, "--json", folder=place, **bad)
    assert done.returncode == 3, done.stderr
    found = store.read(place / "runs" / "default")
    assert sorted(found.select("variant", "status").rows()) == [("1L_16d_1tok", "ok")] * 3 + [
        ("weak_1L_8d_1tok", "failed")
    ] * 3
    assert set(found.filter(found["status"] == "failed")["reason"]) == {
        "variant family 'weak' of plugin 'weak' (made-weak 1.2.3) failed: RuntimeError: out of steam (made_weak.py:10)"
    }
    started = events(done.stdout, "run_started")
    assert len(started) == len(set(started)) == 6


def test_a_failure_is_tried_again_by_the_next_command(place, monkeypatch):
    bad = with_family(place, "moody", """
    import os
    if "MENDED" not in os.environ:
        raise RuntimeError("not today")
    from cvfp_residual import cvfp_variants
    (family,) = cvfp_variants()
    defaults = {option.name: option.default for option in family.options}
    return family.build(variant, defaults, embeddings, generator)""")
    options = made_grids.options(place, variants=("moody_1L_8d_1tok", "1L_16d_1tok"), samples="4,8")
    monkeypatch.syspath_prepend(bad["PYTHONPATH"])
    first = made_grids.in_process("run", *options, folder=place, code=3)
    assert "moody_1L_8d_1tok n=4: failed: variant family 'moody' of plugin 'moody' (made-moody 1.2.3)" in first.stdout
    monkeypatch.setenv("MENDED", "1")
    again = made_grids.in_process("run", *options, "--json", folder=place)
    assert len(events(again.stdout, "run_skipped")) == 2
    assert len(events(again.stdout, "run_started")) == 2
    assert results(place)["status"].to_list() == ["ok"] * 4


def test_a_series_is_not_gone_on_with_by_another_version_of_its_familys_code(place, monkeypatch):
    body = """
    from cvfp_residual import cvfp_variants
    (family,) = cvfp_variants()
    defaults = {option.name: option.default for option in family.options}
    return family.build(variant, defaults, embeddings, generator)"""
    monkeypatch.syspath_prepend(with_family(place, "grown", body)["PYTHONPATH"])

    def run(samples, *more, code=0):
        options = made_grids.options(place, variants=("grown_1L_8d_1tok", "1L_16d_1tok"), samples=samples)
        return made_grids.in_process("run", *options, *more, folder=place, code=code)

    run("4")
    made = dict(results(place).select("variant", "family_source").rows())
    assert made == {"grown_1L_8d_1tok": "made-grown 1.2.3", "1L_16d_1tok": f"cvfp {__version__}"}
    (place / "site" / "made_grown-1.2.3.dist-info").rename(place / "site" / "made_grown-1.3.0.dist-info")
    metadata = place / "site" / "made_grown-1.3.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2.3", "1.3.0"))
    run("4")  # nothing is left to be made
    refused = run("4,8", code=2)
    assert refused.stderr == (
        "cvfp: experiment 'default' has runs of grown_1L_8d_1tok made by made-grown 1.2.3, and made-grown 1.3.0 is "
        "installed; choose another label with --name, or install made-grown 1.2.3 again\n")
    run("4,8", "--name", "later")
    for file in (place / "runs" / "default" / "records").glob("*.json"):
        file.write_text(file.read_text().replace('"family_source"', '"of_old"'))  # as stores of before have it
    run("4,8")


def test_versions_of_cvfp_itself_may_differ_in_a_series(place):
    options = made_grids.options(place, variants=("1L_16d_1tok",), samples="4")
    made_grids.in_process("run", *options, folder=place)
    for file in (place / "runs" / "default" / "records").glob("*.json"):
        file.write_text(file.read_text().replace(f"cvfp {__version__}", "cvfp 0.0.1"))
    more = made_grids.options(place, variants=("1L_16d_1tok",), samples="4,8")
    made_grids.in_process("run", *more, folder=place)
    assert set(results(place)["family_source"]) == {"cvfp 0.0.1", f"cvfp {__version__}"}


def test_a_variant_of_one_phase_is_not_refused_for_settings_of_the_phase_it_has_not(place):
    for samples, iterations in (("4", 4), ("8", 5)):
        options = made_grids.options(place, variants=("transformer_1L_8d_4tok",), samples=samples)
        made_grids.in_process("run", *options, "--set", f"phase1.max_iterations={iterations}", folder=place)
    assert results(place)["status"].to_list() == ["ok"] * 2


def test_a_failing_observer_is_named_and_the_run_goes_on(place, monkeypatch):
    made_plugins.install(place / "site", "shouting", (
        "from cvfp_core import hookimpl\n"
        "@hookimpl\ndef cvfp_run_finished(record):\n    raise ValueError(record['status'])"
    ))
    options = made_grids.options(place, samples="4")
    monkeypatch.syspath_prepend(str(place / "site"))
    done = made_grids.in_process("run", *options, folder=place)
    assert "warning: plugin 'shouting' (made-shouting 1.2.3): cvfp_run_finished failed: ValueError: ok" in done.stderr
    assert results(place)["status"].to_list() == ["ok"]


def test_a_corpus_that_changed_since_the_plan_fails_its_cells(place, monkeypatch):
    from dataclasses import replace

    from cvfp_core import registry
    from cvfp_core.running import config, execute, grid
    from cvfp_core.running.corpora import load_corpus

    installed = registry.load(only=(), disabled=()).require_healthy()
    assignments = ["corpus.name=text", f"corpus.path={place / 'corpus.txt'}", "corpus.vocab_size=300",
                   "corpus.embed_dim=16"]
    asked = config.read(None, {"variants": ["1L_8d_1tok"], "samples": [4]}, assignments, installed)
    loaded = load_corpus(installed, asked.corpus, place / "cache")
    (cell,) = grid.cells(asked, installed, loaded, "cpu", place / "cache")
    folder = store.create(place / "runs")
    heard = []
    execute.execute_cells([replace(cell, corpus_hash="0123456789abcdef")], folder, heard.append)
    (row,) = store.read(folder).to_dicts()
    assert row["status"] == "failed"
    assert row["reason"] == (
        "corpus 'text' is not here what it was when the grid was prepared: its hash is "
        f"{loaded.hash[:12]}, not 0123456789ab"
    )
    assert [event.kind for event in heard] == ["run_started", "run_finished"]

    def full(*_, **_new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(execute.CvfpError, match=r"cannot write '.*': No space left on device; make room there"):
        execute.execute_cells([cell], folder, heard.append)


WITH_OPTIONS = """
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Executor, Option
from cvfp_core.running.execute import execute_cells

def run(cells, folder, jobs, emit, options):
    print("options", dict(options), jobs)
    execute_cells(cells, folder, emit)

@hookimpl
def cvfp_executors():
    options = (Option(name="address", default="auto", help=""), Option(name="nodes", default=1, minimum=1, help=""))
    return [Executor(name="far", title="", run=run, options=options)]
"""


@pytest.mark.parametrize("given", [
    ("--executor", "far", "--set", "executor.address=here"), ("--set", "executor={name='far', address='here'}"),
    ("--set", "executor=far", "--set", "executor.address=here"),
])
def test_an_executor_gets_its_options(given, place, monkeypatch):
    made_plugins.install(place / "site", "far", WITH_OPTIONS)
    monkeypatch.syspath_prepend(str(place / "site"))
    done = made_grids.in_process("run", *made_grids.options(place, samples="4"), *given, folder=place)
    assert "options {'address': 'here', 'nodes': 1} 1\n" in done.stderr  # where what plugins print goes


def test_an_option_that_the_executor_has_not_is_refused(place, monkeypatch):
    made_plugins.install(place / "site", "far", WITH_OPTIONS)
    monkeypatch.syspath_prepend(str(place / "site"))
    given = ("--executor", "far", "--set", "executor.adress=here")
    done = made_grids.in_process("run", *made_grids.options(place, samples="4"), *given, folder=place, code=2)
    assert done.stderr == "cvfp: unknown key 'executor.adress'; did you mean 'address'?; known: address, nodes\n"
    assert not (place / "runs").exists()


def test_a_program_runs_a_grid_and_hears_of_it(place):
    told = []

    @contextmanager
    def progress(plan, pending):
        told.append((len(plan.cells), len(pending)))
        yield lambda event: told.append(event.kind)

    corpus = {"name": "text", "path": str(place / "corpus.txt"), "vocab_size": 300, "embed_dim": 16}
    asked = {"variants": ["1L_16d_1tok"], "samples": [4, 8], "corpus": corpus, "device": "cpu",
             "phase1": {"max_iterations": 4}, "phase2": {"epochs": 2}}
    first = run(None, asked, out=place / "runs", jobs=1, progress=progress)
    assert first.folder == place / "runs" / "default"
    assert first.complete
    assert first.records["num_samples"].to_list() == [4, 8]
    assert told[0] == (2, 2)
    assert told.count("run_finished") == 2
    again = run(None, asked, out=place / "runs", jobs=1, progress=progress)
    assert again.records.equals(first.records)
    assert told[-1] == (2, 0)
