"""The stop rule `forecast`: what it ends, and the same records however a grid is shared out and interrupted."""

import json
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace

import polars as pl
import pytest

import cvfp_core as cvfp
import made_grids
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.watching import Watch
from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import StopRule
from cvfp_core.running.execute import execute_cells
from cvfp_core.running.run import prepare
from cvfp_core.schema import store
from cvfp_core.schema.cells import Event
from cvfp_core.schema.settings import Shortcuts
from made_runs import RESIDUAL, made_cell, made_corpus

MACHINE = (*DISTURBED, "device")
VARIANTS = ("1L_16d_2tok", "1L_2d_1tok")
SHORT = ("phase1.max_iterations=4", "phase2.epochs=12", "phase2.learning_rate=0.02")
SET = tuple(part for each in SHORT for part in ("--set", each))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    made_grids.corpus(folder)
    return folder


@pytest.fixture(scope="module")
def cells(place):
    """Two variants at four sizes and two seeds, the better variant first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVFP_CACHE", str(place / "cache"))
        made = prepare(None, {"name": "grid", "variants": list(VARIANTS), "samples": [10, 20, 30, 40], "seeds": [1, 2],
                           "device": "cpu"}, [
            'corpus.name="text"', f"corpus.path={place / 'corpus.txt'}", "corpus.vocab_size=300", "corpus.embed_dim=16",
            *SHORT], stop_rules=["forecast"])
        return made.cells


def results(folder):
    return store.read(folder).drop(MACHINE).sort("run_id")


def silent(_event):
    pass


@pytest.fixture(scope="module")
def in_one_go(place, cells):
    folder = store.create(place / "one")
    execute_cells(cells, folder, silent)
    return results(folder)


def test_cells_look_at_those_that_are_no_later_in_seed_size_and_variant(cells):
    by_id = {cell.run_id: cell for cell in cells}
    first, *_, last = cells
    assert first.earlier == ()
    assert len(last.earlier) == len(cells) - 1
    for cell in cells:
        for other in (by_id[name] for name in cell.earlier):
            assert (other.seed, other.num_samples) <= (cell.seed, cell.num_samples)
            assert other.num_samples <= cell.num_samples
            assert VARIANTS.index(other.variant.name) <= VARIANTS.index(cell.variant.name)
            assert set(other.earlier) < set(cell.earlier)
    without = prepare(None, {"samples": [4], "variants": [VARIANTS[0]], "device": "cpu"}, stop_rules=["stalled"]).cells
    assert {cell.earlier for cell in without} == {()}


def test_a_clearly_worse_run_is_ended_and_marked(in_one_go):
    ended = in_one_go.filter(pl.col("stopped_by") == "forecast")
    assert ended.height >= 4
    assert set(ended["variant"]) == {VARIANTS[1]}
    assert set(ended["status"]) == {"interrupted"}
    assert ended["phase2_censored"].all()
    assert (ended["epochs"] < 12).all()
    assert ended["val_ppl"].is_not_null().all()
    for row in ended.to_dicts():
        assert row["reason"].startswith(f"stop rule 'forecast': by epoch {row['epochs']:.0f} Val PPL is forecast to ")
        (rival,) = in_one_go.filter(variant=VARIANTS[0], num_samples=row["num_samples"], seed=row["seed"])["val_ppl"]
        assert rival < row["val_ppl"]


def test_what_was_ended_enters_no_fit_unless_it_is_asked_for(place, in_one_go):
    (without, other), ended = (cvfp.fit(place / "one", "power-law").items, in_one_go["stopped_by"].is_not_null().sum())
    assert sorted((without.n, other.n)) == [8 - ended, 8]
    assert f"{ended} interrupted" in " ".join(str(each.reason) for each in (without, other))
    asked = cvfp.fit(place / "one", "power-law", map={"status": "'ok'"}).items
    assert [each.n for each in asked] == [8, 8]
    assert all("cut short" in " ".join(map(str, each.caveats)) for each in asked)


def test_a_grid_that_is_interrupted_and_gone_on_with_gives_the_same_records(place, cells, in_one_go):
    folder = store.create(place / "interrupted")
    left = [9]

    def emit(event):
        left[0] -= event.kind == "phase2_epoch"
        if left[0] == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_cells(cells, folder, emit)
    assert results(folder).height < in_one_go.height
    assert len(list((folder / "running").iterdir())) == 1
    execute_cells(cells[::-1], folder, silent)
    assert results(folder).equals(in_one_go)
    assert not list((folder / "running").iterdir())


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from cvfp_core.protocol.stopping import Stopper
from cvfp_core.running.execute import execute_cells

ask, (cells, run_id, epoch) = Stopper.epoch, pickle.loads(Path(sys.argv[1]).read_bytes())

def killed(self):
    underway = self.underway()
    if underway.record["run_id"][0] == run_id and underway.curves.filter(phase=2)["step"].max() == epoch:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(self)

Stopper.epoch = killed
execute_cells(cells, Path(sys.argv[2]), lambda _: None)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_cell_that_is_killed_while_its_rule_is_asked_goes_on_to_the_same_records(place, cells, in_one_go):
    """At the epoch after which the rule ends it: a checkpoint of that epoch would pass the question over."""
    row = in_one_go.filter(pl.col("stopped_by") == "forecast").row(0, named=True)
    run_id, epoch = row["run_id"], int(row["epochs"])
    cells = [replace(cell, shortcuts=Shortcuts(checkpoint_seconds=0)) for cell in cells]
    folder = store.create(place / "killed")
    (place / "cells").write_bytes(pickle.dumps((cells, run_id, epoch)))
    done = subprocess.run([sys.executable, "-c", KILLED, place / "cells", folder], check=False, timeout=900,
                          env=made_grids.environment(place))
    assert done.returncode == -9
    assert noted(folder) == {run_id: [*range(1, epoch + 1)]}
    resumed, after = [], []

    def emit(event):
        if event.kind == "run_resumed":
            resumed.append((event.run_id, event.values["phase"], event.values["step"]))
            after.append(noted(folder))

    execute_cells(cells[::-1], folder, emit)
    assert resumed == [(run_id, 2, epoch - 1)]
    assert after == [{run_id: [*range(1, epoch)]}]
    assert results(folder).equals(in_one_go)
    assert [list((folder / name).iterdir()) for name in ("running", "checkpoints")] == [[], []]


def noted(folder):
    """The epochs noted of every run that has no record."""
    records, curves = store.read_running(folder)
    return {name: curves.filter(run_id=name, metric="val_ppl")["step"].to_list() for name in records["run_id"]}


def test_who_waits_for_an_earlier_cell_runs_it_when_its_process_dies(place, cells, in_one_go):
    earlier, later = [cell for cell in cells if (cell.num_samples, cell.seed) == (10, 1)]
    assert later.earlier == (earlier.run_id,)
    folder, asked, heard = store.create(place / "dies"), threading.Event(), []

    def dies(_event):
        asked.wait(timeout=300)
        raise KeyboardInterrupt

    def hear(event):
        if event.kind in ("run_started", "run_finished"):
            heard.append((event.kind, event.run_id))
        if event.kind == "phase2_epoch":
            asked.set()

    def first():
        with pytest.raises(KeyboardInterrupt):
            execute_cells([earlier, later], folder, dies)

    worker = threading.Thread(target=first)
    worker.start()
    while not list((folder / "locks").glob("*.leases")):
        time.sleep(0.01)
    execute_cells([earlier, later], folder, hear)
    worker.join(timeout=300)
    assert heard == [("run_started", later.run_id), ("run_started", earlier.run_id),
                     ("run_finished", earlier.run_id), ("run_finished", later.run_id)]
    both = in_one_go.filter(pl.col("run_id").is_in([earlier.run_id, later.run_id]))
    assert results(folder).equals(both)


def test_two_workers_that_begin_at_either_end_give_the_same_records(place, cells, in_one_go):
    """Locks are of the open file, so threads with cells of their own share a grid as processes do."""
    folder, failures = store.create(place / "two"), []

    def work(cells):
        try:
            execute_cells(cells, folder, silent)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(each,)) for each in (cells, cells[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert not failures
    assert results(folder).equals(in_one_go)


@pytest.mark.slow
def test_two_processes_give_the_records_of_one(place):
    options = [*made_grids.options(place, variants=VARIANTS, samples="10,20,30,40", short=SET),
               "--stop-rule", "forecast"]
    done = []
    for jobs in ("1", "2"):
        more = ["--jobs", jobs, "--out", str(place / f"jobs-{jobs}")]
        made = made_grids.cvfp("run", *options, *more, folder=place)
        assert made.returncode == 0, made.stderr
        done.append(results(place / f"jobs-{jobs}" / "default"))
    assert done[0].equals(done[1])
    assert done[0]["stopped_by"].is_not_null().any()


def test_a_worker_that_was_given_part_of_a_grid_says_so(place, cells):
    folder, heard = store.create(place / "part"), []
    execute_cells(cells[-1:], folder, heard.append)
    (row,) = store.read(folder).to_dicts()
    assert row["status"] == "ok"  # a rule that cannot be asked costs no run
    (warning,) = [event.values["text"] for event in heard if event.kind == "warning"]
    assert "is none of the cells given; an executor gives every worker all cells" in warning


def test_rules_of_phase_2_see_the_run_so_far_and_one_that_fails_is_not_asked_again():
    seen = []

    def look(underway):
        (row,) = underway.record.to_dicts()
        seen.append((row["status"], row["phase1_iterations"], underway.curves.filter(phase=2)["step"].max(),
                     underway.earlier()[0].height))
        return "enough" if len(seen) == 2 else None

    def broken(_underway):
        raise ValueError("no")

    events = []
    result = run_cell(made_cell(phase2={"epochs": 5, "patience": 5}), RESIDUAL, made_corpus(), events.append,
                      [StopRule(name="broken", title="", ends=broken), StopRule(name="look", title="", ends=look)])
    assert seen == [("interrupted", 8, 1, 0), ("interrupted", 8, 2, 0)]
    row = result.record
    assert (row.status, row.stopped_by, row.reason) == ("interrupted", "look", "stop rule 'look': enough")
    assert (row.epochs, row.phase2_censored) == (2, True)
    warnings = [event.values["text"] for event in events if event.kind == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("stop rule 'broken' raised ValueError: no")


def test_a_rule_says_when_it_is_asked():
    with pytest.raises(ValueError, match="give `stops` \\(Phase 1\\) or `ends` \\(Phase 2\\)"):
        StopRule(name="x", title="")


def test_no_rule_is_asked_after_the_last_epoch():
    result = run_cell(made_cell(phase2={"epochs": 2, "patience": 5}), RESIDUAL, made_corpus(), silent,
                      [StopRule(name="late", title="", ends=lambda underway: "late" if underway.curves.filter(
                          phase=2)["step"].max() == 2 else None)])
    assert result.record.status == "ok"


def test_a_live_run_tells_and_keeps_the_forecast_of_every_run_it_can_forecast(place):
    """Two more seeds of a grid that is there: finished runs say how these will end."""
    options = [*made_grids.options(place, variants=VARIANTS[:1], samples="10,20,30,40", short=SET), "--json"]
    made_grids.in_process("run", *options, "--name", "live", folder=place)
    done = made_grids.in_process("run", *options, "--name", "live", "--seed", "7", folder=place)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    told = [each for each in events if each["event"] == "phase2_epoch" and "forecast" in each]
    assert {each["epoch"] for each in told} <= set(range(3, 13))
    assert {each["run_id"] for each in told} == {each["run_id"] for each in events if each["event"] == "run_started"}
    assert all(each["forecast_low"] <= each["forecast"] <= each["forecast_high"] for each in told)
    kept = store.read_forecasts(place / "runs" / "live", FinalForecast)
    new = [each for each in kept if "-s7-" in each.run_id]
    assert len(new) == 4
    assert {each.step for each in new} == {3}
    scored = json.loads(made_grids.in_process("forecast", place / "runs" / "live", "--score", "--json",
                                              folder=place).stdout)
    assert scored["score"]["count"] == len(kept)


def test_a_live_forecast_of_a_run_that_goes_on_rests_on_all_of_its_epochs(place, cells, in_one_go):
    whole = store.read_curves(place / "one")
    run_id = in_one_go.filter(status="ok").sort("epochs")["run_id"][-1]
    folder = store.create(place / "resumed")
    (record,) = in_one_go.filter(run_id=run_id).to_dicts()
    store.write_many(folder, store.read(place / "one").filter(pl.col("run_id") != run_id), whole)
    store.begin(folder, record | {"status": "interrupted", "val_ppl": None})
    told = [Event(kind="phase2_epoch", run_id=run_id, values=row) for row in whole.filter(run_id=run_id, phase=2).pivot(
        "metric", index="step", values="value").rename({"step": "epoch"}).sort("epoch").to_dicts()]
    made = {}
    for begin in (Event(kind="run_started", run_id=run_id), Event(kind="run_resumed", run_id=run_id,
                                                                  values={"phase": 2, "step": 5})):
        watch = Watch(folder, cells)
        watch(begin)
        rest = told[5:6] if begin.kind == "run_resumed" else told[:6]
        made[begin.kind] = [watch(event) for event in rest][-1].values
        for event in told[:7]:
            if begin.kind == "run_started":
                store.go_on(folder, run_id, event.values)
    assert "forecast" in made["run_started"]
    assert made["run_resumed"] == made["run_started"]


def test_controls_are_neither_ended_nor_waited_for():
    made = prepare(None, {"samples": [10, 20], "variants": [VARIANTS[0]], "controls": True, "device": "cpu"},
                stop_rules=["forecast"]).cells
    controls = {cell.run_id for cell in made if cell.control}
    assert controls
    assert all(not cell.earlier and not cell.stop_rules for cell in made if cell.run_id in controls)
    assert not any(controls & set(cell.earlier) for cell in made)
    assert replace(made[0], earlier=("x",)).run_id == made[0].run_id
