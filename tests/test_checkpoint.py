"""A cell that was killed goes on from its checkpoint, and its record is that of one that was never disturbed."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

import made_grids
from cvfp_core.protocol.checkpoint import DISTURBED, Checkpoint
from cvfp_core.protocol.ending import Ender
from cvfp_core.protocol.objective import Term
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import CONVERGED, MCDL, Ending, StopRule
from cvfp_core.schema import store
from cvfp_core.schema.settings import Shortcuts
from cvfp_objectives import cvfp_objectives
from cvfp_transformer import cvfp_variants as transformers
from made_runs import RESIDUAL, made_cell, made_corpus

ALWAYS = Shortcuts(checkpoint_seconds=0)
ENDLESS = {"convergence_threshold": 1e-9, "max_iterations": 6}


def incomplete(seen):
    """Stops a run whose rules have not seen all of its iterations."""
    whole = [each.iteration for each in seen] == list(range(2, len(seen) + 2))
    return None if whole and all((each.val_er is None) == (each.iteration not in (3, 5)) for each in seen) else "gaps"


def fails_once(seen):
    """Fails at the first iteration, and would end the run at any other."""
    if len(seen) == 1:
        raise ValueError("once")
    return "asked again"


RULES = [StopRule(name="watch", title="", stops=incomplete, val_er_at=(3, 5)),
         StopRule(name="fails", title="", stops=fails_once)]
CASES = {
    "one layer": {"name": "1L_12d_1tok"},
    "two layers": {"name": "2L_12d_2tok"},
    "contexts in a file": {"name": "2L_12d_1tok", "shortcuts": replace(ALWAYS, memory_gib=1e-9)},
    "without shortcuts": {"name": "1L_12d_1tok", "shortcuts": replace(Shortcuts.none(), checkpoint_seconds=0)},
    "untrained": {"name": "1L_12d_1tok", "phase1": {"mode": "untrained"}},
    "zero context": {"name": "1L_12d_1tok", "phase1": {"mode": "zero-context"}},
    "one phase": {"name": "transformer_1L_8d_4tok"},
    "stop rules": {"name": "1L_12d_1tok"},
    "objective of parts": {"name": "1L_12d_1tok"},
    "contexts that are kept": {"name": "1L_12d_1tok"},
}
ENDINGS = {"contexts that are kept": Ending(name="third", title="", ends=lambda *_: False,
                                            keeps=lambda seen, _options: seen[-1].iteration == 3)}
TERMS = {"objective of parts": next(each for each in cvfp_objectives() if each.name == "odcm")}


class Killed(BaseException):
    """Ends a run at once, wherever it is."""


def cell_of(case, tmp_path):
    """The cell of a case, and its family."""
    options = {"shortcuts": ALWAYS, **CASES[case]}
    name, phase1 = options.pop("name"), {**ENDLESS, **options.pop("phase1", {})}
    cell = replace(made_cell(name.removeprefix("transformer_"), phase1=phase1, phase2={"epochs": 4}, **options),
                   cache=tmp_path / "cache")
    if name.startswith("transformer"):
        (family,) = transformers()
        model = {option.name: option.default for option in family.options}
        return replace(cell, variant=family.parse(name), settings=replace(cell.settings, model=model)), family
    return cell, RESIDUAL


def undisturbed(result):
    return {name: value for name, value in asdict(result.record).items() if name not in DISTURBED}


def curves(result):
    return [point for point in result.curves if point.metric != "seconds"]


SLOW = ("contexts in a file", "without shortcuts", "untrained")
"""Cases that another one covers but for a detail."""


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES])
def test_a_cell_that_is_killed_at_every_step_gives_the_record_of_one_that_never_was(case, tmp_path):
    cell, family = cell_of(case, tmp_path)
    rules = RULES if case == "stop rules" else ()
    objective = TERMS.get(case, MCDL)

    def term():
        return Term(objective, {option.name: option.default for option in objective.options})

    def ender():
        return Ender(ENDINGS.get(case, CONVERGED))

    heard = []
    whole = run_cell(cell, family, made_corpus(), heard.append, rules, term=term(), ender=ender())
    assert whole.record.context_iteration == (3 if case in ENDINGS else None)
    steps = [event for event in heard if event.kind != "warning"]
    files = tmp_path / "checkpoints" / "run"
    resumed, runs, at = [], 0, 0

    def kill(event):
        nonlocal at
        if event.kind == "run_resumed":
            resumed.append((event.values["phase"], event.values["step"]))
        elif event.kind != "warning":
            at += 1
            if at > (2 if case == "zero context" else 1):  # which keeps nothing of its Phase 1
                raise Killed

    result = None
    while result is None:
        runs, at = runs + 1, 0
        assert runs <= len(steps) + 2
        try:
            result = run_cell(cell, family, made_corpus(), kill, rules, term=term(),
                              checkpoint=Checkpoint(files, cell, "home"), ender=ender())
        except Killed:
            continue
    assert undisturbed(result) == undisturbed(whole)
    assert curves(result) == curves(whole)
    assert result.metrics == whole.metrics
    assert bool(whole.metrics) is (case in TERMS)
    assert result.record.status == "ok"
    assert len(resumed) == runs - 1
    assert resumed == sorted(set(resumed))
    assert {phase for phase, _ in resumed} == ({1, 2} if whole.record.phase1_iterations else {2})
    assert (2, 0) in resumed or not whole.record.phase1_iterations


def test_seconds_are_those_of_all_parts(tmp_path):
    cell, family = cell_of("one layer", tmp_path)
    files = tmp_path / "checkpoints" / "run"
    for kind, number in (("phase1_iteration", 4), ("phase2_epoch", 3)):
        with pytest.raises(Killed):
            run_cell(cell, family, made_corpus(), killing(kind, number), (), checkpoint=Checkpoint(files, cell, "home"))
        for file in files.parent.glob("*.pt"):
            state = torch.load(file, weights_only=True)
            torch.save(state | {"seconds": 1000.0}, file)
    kept = Checkpoint(files, cell, "home")
    record = run_cell(cell, family, made_corpus(), lambda _: None, checkpoint=kept).record
    assert 1000 < record.seconds_phase1 < 1900
    assert 1000 < record.seconds_phase2 < 1900


def killing(kind, step):
    """Ends the run at that iteration or epoch."""
    def emit(event):
        if event.kind == kind and step in (event.values.get("iteration"), event.values.get("epoch")):
            raise Killed
    return emit


@pytest.fixture
def begun(tmp_path):
    """A cell, and the begin of the paths of a checkpoint of its Phase 2."""
    cell, family = cell_of("one layer", tmp_path)
    files = tmp_path / "checkpoints" / "run"
    with pytest.raises(Killed):
        run_cell(cell, family, made_corpus(), killing("phase2_epoch", 3), checkpoint=Checkpoint(files, cell, "home"))
    return cell, files


def gone_on(cell, files, home="home"):
    """(record, where it went on from, warnings) of the cell."""
    heard = []
    record = run_cell(cell, RESIDUAL, made_corpus(), heard.append, (), checkpoint=Checkpoint(files, cell, home))
    return (undisturbed(record), [(event.values["phase"], event.values["step"]) for event in heard
                                  if event.kind == "run_resumed"],
            [event.values["text"] for event in heard if event.kind == "warning"])


def spoil_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


SPOILS = {"cut": lambda file: file.write_bytes(file.read_bytes()[:-100]), "empty": lambda file: file.write_bytes(b""),
          "a bit": spoil_bit, "no checkpoint": lambda file: torch.save([1, 2], file)}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
@pytest.mark.parametrize(("number", "goes_on"), [(1, []), (2, [(2, 0)])])
def test_a_checkpoint_that_is_torn_is_ignored_with_a_line(begun, spoil, number, goes_on):
    cell, files = begun
    file = files.with_name(f"run.phase{number}.pt")
    spoil(file)
    record, resumed, said = gone_on(cell, files)
    assert record == undisturbed(run_cell(cell, RESIDUAL, made_corpus(), lambda _: None))
    assert resumed == goes_on
    (line,) = said
    assert line.startswith(f"the checkpoint '{file}' is ignored: it cannot be read (")


def test_a_checkpoint_of_other_code_is_ignored_with_a_line(begun):
    cell, files = begun
    record, resumed, said = gone_on(cell, files, home="family 2.0")
    assert record == undisturbed(run_cell(cell, RESIDUAL, made_corpus(), lambda _: None))
    assert resumed == []
    assert said == [f"the checkpoint '{files}.phase{number}.pt' is ignored: it is of family home, not family 2.0"
                    for number in (1, 2)]


def test_a_checkpoint_of_a_cell_that_was_compared_with_others_is_ignored_with_a_line(begun):
    cell, files = begun
    _, resumed, said = gone_on(replace(cell, earlier=("a", "b")), files)
    assert resumed == []
    assert len(said) == 2
    assert all(" is ignored: it is of earlier cells none, not 2, " in text for text in said)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("[enforce fail at inline_"
                                   "container.cc:672] . unexpected pos 64 vs 0\nmore")])
def test_a_disk_that_is_full_does_not_end_the_cell(tmp_path, monkeypatch, error):
    def full(_state, path):
        path.write_bytes(b"half")
        raise error

    cell, _ = cell_of("one layer", tmp_path)
    files = tmp_path / "checkpoints" / "run"
    monkeypatch.setattr(torch, "save", full)
    record, _, said = gone_on(cell, files)
    assert record == undisturbed(run_cell(cell, RESIDUAL, made_corpus(), lambda _: None))
    assert said[0].startswith(f"no checkpoint can be kept in '{files.parent}': ")
    assert said[0].endswith("; the cell goes on without")
    assert len(said) == 1
    assert list(files.parent.iterdir()) == []


def test_none_is_written_before_its_time(tmp_path):
    cell, _ = cell_of("one layer", tmp_path)
    files = tmp_path / "checkpoints" / "run"
    gone_on(replace(cell, shortcuts=Shortcuts()), files)
    gone_on(replace(cell, shortcuts=Shortcuts(checkpoint_seconds=1e9)), files)
    assert not files.parent.exists()


def test_layers_that_were_not_due_at_the_end_of_phase_1_are_kept_with_an_epoch(tmp_path, monkeypatch):
    cell, family = cell_of("two layers", tmp_path)
    files = tmp_path / "checkpoints" / "run"
    ended = []

    def emit(event):
        if event.kind == "phase_finished":
            ended.append(event)
        killing("phase2_epoch", 3)(event)

    monkeypatch.setattr(Checkpoint, "due", lambda _self: len(ended) == 1 and len(heard) > 0)
    heard = []
    with pytest.raises(Killed):
        run_cell(cell, family, made_corpus(), lambda event: (heard.append(event) if event.kind == "phase2_epoch" else
                                                             None, emit(event)),
                 checkpoint=Checkpoint(files, cell, "home"))
    monkeypatch.undo()
    assert torch.load(files.with_name("run.phase1.pt"), weights_only=True).keys() == {
        "made_by", "phase", "train", "val", "metrics"}
    record, resumed, _ = gone_on(cell, files)
    assert record == undisturbed(run_cell(cell, family, made_corpus(), lambda _: None))
    assert resumed == [(2, 2)]
    files.with_name("run.phase2.pt").unlink()
    assert gone_on(cell, files)[1] == []


def test_what_is_left_of_a_run_that_has_its_record_is_removed_and_of_others_is_kept(tmp_path):
    folder = store.create(tmp_path / "runs")
    store.write_record(folder, {"run_id": "done", "experiment": "made"})
    for run_id in ("done", "going"):
        files = Checkpoint(store.checkpoints(folder, run_id), made_cell(), None).files
        for file in files.values():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"x")
    store.clear_checkpoints(folder)
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"going.phase1.pt", "going.phase2.pt"}


@pytest.mark.parametrize(("error", "kept"), [(MemoryError("no room"), True), (ValueError("a bug"), False)])
def test_a_cell_that_fails_for_want_of_memory_keeps_its_checkpoint(tmp_path, monkeypatch, error, kept):
    made_grids.corpus(tmp_path)
    monkeypatch.setattr("cvfp_core.protocol.run.learn_tokens", lambda *_, **_named: (_ for _ in ()).throw(error))
    options = [*made_grids.options(tmp_path, samples="4"), "--set", "shortcuts.checkpoint_seconds=0"]
    made_grids.in_process("run", *options, folder=tmp_path, code=3)
    left = list((tmp_path / "runs" / "default" / "checkpoints").glob("*"))
    assert bool(left) is kept
    monkeypatch.undo()
    done = made_grids.in_process("run", *options, folder=tmp_path)
    assert ("goes on from its checkpoint at the end of phase 1" in done.stderr) is kept
    assert list((tmp_path / "runs" / "default" / "checkpoints").glob("*")) == []


WORKER = """
import json, os, signal, sys
from pathlib import Path
import torch
import cvfp_core.protocol.run, cvfp_residual.model
from cvfp_core import registry
from cvfp_core.running import config, execute, grid
from cvfp_core.running.corpora import load_corpus
from cvfp_core.schema import store

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # what an optimizer imports is imported once, before the forks
place = Path(sys.argv[1])
kills = [("phase1_iteration", 4), ("phase_finished", 1), ("phase2_epoch", 1), ("phase2_epoch", 3)]
installed = registry.load(only=(), disabled=()).require_healthy()
asked = config.read(None, {"variants": ["2L_16d_1tok"], "samples": [8]}, [
    "corpus.name=text", f"corpus.path={place / 'corpus.txt'}", "corpus.vocab_size=300", "corpus.embed_dim=16",
    "phase1.max_iterations=6", "phase1.convergence_threshold=1e-9", "phase2.epochs=4", "phase2.patience=4",
    "shortcuts.checkpoint_seconds=0"], installed)

def cell():
    loaded = load_corpus(installed, asked.corpus, place / "cache")
    return grid.cells(asked, installed, loaded, "cpu", place / "cache")[0]

def work(kill):
    heard, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        def emit(event):
            step = [event.values.get(name) for name in ("iteration", "epoch", "phase") if name in event.values]
            os.write(heard[1], json.dumps([event.kind, *step[:1]]).encode() + b"\\n")
            os.read(go[0], 1)
        made = cell()
        if kill is None:
            execute.execute_cells([made], store.create(place / "whole"), lambda _: None)
        execute.execute_cells([made], store.create(place / "runs"), emit)
        os._exit(0)
    os.close(heard[1])
    with os.fdopen(heard[0]) as lines:
        for line in lines:
            print(line, end="", flush=True)
            if kill and json.loads(line) == list(kill):
                os.kill(child, signal.SIGKILL)
            else:
                os.write(go[1], b"x")
    return os.waitpid(child, 0)[1]

print(json.dumps(["ends", *[work(kill) for kill in [*kills, None]]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork and signals")
def test_a_worker_that_is_killed_in_either_phase_and_between_loses_nothing_of_its_record(tmp_path):
    made_grids.corpus(tmp_path)
    done = subprocess.run([sys.executable, "-c", WORKER, str(tmp_path)], capture_output=True, text=True, check=True,
                          timeout=900, env=made_grids.environment(tmp_path, PYTHONWARNINGS="ignore"))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1] == ["ends", 9, 9, 9, 9, 0], done.stderr
    assert [phase for kind, *phase in events if kind == "run_resumed"] == [[1], [1], [2], [2]]
    assert sum(event[0] == "run_started" for event in events) == 5
    assert sum(event[0] == "phase1_iteration" for event in events) == 5 + 1  # one that was told and not yet kept
    assert sum(event[0] == "phase2_epoch" for event in events) == 4 + 2
    went_on, whole = (store.read(tmp_path / name).drop(DISTURBED) for name in ("runs", "whole"))
    assert went_on["status"].to_list() == ["ok"]
    assert went_on.equals(whole)
    assert list((tmp_path / "runs" / "checkpoints").iterdir()) == []
    assert os.listdir(tmp_path / "runs" / "locks")
