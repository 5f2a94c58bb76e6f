"""Plugins and surroundings that do harm: what did it is named, and nothing else suffers."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import hostile
import made_grids
import made_plugins
from cvfp_core import cli
from cvfp_core.cli import screen
from cvfp_core.protocol import model as models
from cvfp_core.protocol.model import ModelError
from cvfp_core.protocol.phase1 import adam
from cvfp_core.protocol.process_state import put_back
from cvfp_core.protocol.record import record
from cvfp_core.registry import guard
from cvfp_core.running.compute import Computed
from cvfp_core.running.execute import Worker
from cvfp_core.schema import jobs, store
from cvfp_core.schema.jobs import Attempt
from cvfp_core.schema.records import RunResult
from cvfp_core.schema.settings import Shortcuts
from made_runs import SHORTCUTS, Scripted, made_cell, made_windows, phase1

ROWS = 5


class Model(nn.Module):
    """Does what lines of a hostile model say."""

    def __init__(self, **lines):
        super().__init__()
        namespace = {}
        exec(hostile.family(**lines), namespace)  # a module of hostile.py's own
        embeddings = torch.randn(300, 16, generator=torch.Generator().manual_seed(0))
        variant = made_cell("1L_8d_1tok").variant
        self.made = namespace["Model"](variant, embeddings, torch.Generator().manual_seed(1))

    def contexts(self):
        return models.contexts(self.made, torch.zeros(ROWS, 8), torch.arange(ROWS)[:, None])

    def hidden(self):
        return models.hidden(self.made, torch.zeros(1, ROWS, 8), torch.arange(ROWS)[:, None], 16)


@pytest.mark.parametrize(("method", "width"), [("contexts", 8), ("hidden", 16)])
@pytest.mark.parametrize("made", hostile.RETURNED)
def test_what_a_model_returns_is_said_with_what_is_expected(made, method, width):
    returned = f"return [{made}]" if method == "contexts" else f"return {made}"
    model, said = Model(**{method: returned}), hostile.RETURNED[made]
    if said is None:
        assert getattr(model, method)() is not None
        return
    with pytest.raises(ModelError) as caught:
        getattr(model, method)()
    assert str(caught.value) == f"{method}() {said}".format(rows=ROWS, width=width)


@pytest.mark.parametrize("made", [made for made, said in hostile.LISTS.items() if said and " tensors;" not in said])
def test_contexts_that_are_no_list_of_layers_are_said(made):
    with pytest.raises(ModelError) as caught:
        Model(contexts=f"return {made}").contexts()
    assert str(caught.value).startswith(hostile.LISTS[made].format(rows=ROWS, width=8))


@pytest.mark.parametrize("lines", ["previous.mul_(0.5)", "windows.fill_(0)"])
def test_a_model_that_writes_into_what_it_is_given_is_told(lines):
    with pytest.raises(ModelError, match=r"contexts\(\) wrote into a tensor that it was given"):
        Model(contexts=lines).contexts()


def test_a_model_that_writes_into_what_it_returned_before_is_told():
    """Contexts of the first block would be those of the second."""
    kept = []

    def contexts(previous, _windows):
        if kept:
            kept[0].data.zero_()
            kept[0].add_(0.0)
        kept[:] = [previous.clone()]
        return kept[0]

    model = Scripted(contexts)
    model.contexts = lambda previous, windows: [kept_with(model, contexts(previous, windows))]

    def kept_with(model, made):
        kept[0] = made + model.first * 0
        return kept[0]

    with pytest.raises(ModelError, match="wrote into a tensor that it had returned before"), torch.no_grad():
        phase1(model, made_windows(40), 4, max_iterations=3, batch_tokens=40,
               shortcuts=replace(SHORTCUTS, row_blocks=True, rows_at_once=10), mode="untrained")


@pytest.mark.parametrize("made", hostile.PARAMETERS)
def test_parameters_that_cannot_be_trained_are_said(made):
    with pytest.raises(ModelError) as caught:
        adam(models.parameters(Model(parameters=made).made, 1, torch.device("cpu")), 0.1, Shortcuts())
    assert str(caught.value).startswith(hostile.PARAMETERS[made])


@pytest.mark.parametrize("other", [torch.ones(5), torch.ones(3, dtype=torch.float64)], ids=str)
def test_a_parameter_that_has_become_another_is_not_stepped(other):
    """torch's kernel would write beyond the end of one that is smaller than its moments."""
    parameter = nn.Parameter(torch.ones(3))
    optimizer = adam([parameter], 0.1, Shortcuts())
    for _ in range(2):
        parameter.grad = torch.ones(3)
        optimizer.step()
    parameter.grad = None
    parameter.data = other
    with pytest.raises(ModelError, match="a parameter has another shape, dtype or device than before"):
        optimizer.step()


@pytest.mark.parametrize("made", [None, 3, object()])
def test_what_is_no_model_is_said(made):
    with pytest.raises(ModelError, match=r"build returned \w+ without hidden, phase2_parameters, to, contexts, "):
        models.require_methods(made, 2)


@pytest.fixture
def place(tmp_path, monkeypatch):
    made_grids.corpus(tmp_path)
    (tmp_path / "runs.csv").write_text("variant,train_tokens,val_ppl\n" + "".join(
        f"1L_8d_1tok,{1000 * 2**i},{20 + 500 / 1.3**i:.2f}\n" for i in range(5)))
    (tmp_path / "odd.txt").write_text("something odd\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path
    sys.modules.pop("made_odd", None)


def rows(folder):
    return {row["variant"]: row for row in store.read(folder / "runs" / "default").to_dicts()}


MEASURED = ("status", "val_ppl", "val_er", "cvfp_loss")
ODD, GOOD = "odd_1L_8d_1tok", "1L_8d_1tok"


def test_what_a_model_changes_of_its_process_is_put_back_and_said_and_its_neighbours_are_what_they_were(place):
    made_plugins.install(place / "site", "odd", hostile.family(
        build="embeddings.zero_(); torch.set_grad_enabled(False)",
        contexts="; ".join(lines for lines, said in hostile.CHANGES.items() if said and "grad" not in lines)))
    made_grids.in_process("run", *made_grids.options(place, variants=(GOOD,), samples="4"), folder=place)
    alone = rows(place)[GOOD]
    done = made_grids.in_process("run", *made_grids.options(place, variants=(ODD, GOOD), samples="4"), "--out", "new",
                                 folder=place, code=3)
    made = {row["variant"]: row for row in store.read(place / "new" / "default").to_dicts()}
    assert {name: made[GOOD][name] for name in MEASURED} == {name: alone[name] for name in MEASURED}
    said = " ".join(done.stderr.split())
    for change in filter(None, hostile.CHANGES.values()):
        assert change in said, said
    assert "warning: variant family 'odd' of plugin 'odd' (made-odd 1.2.3) changed torch's default dtype" in said


def test_a_handler_or_thread_count_of_before_is_put_back_where_an_error_passes():
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    threads = torch.get_num_threads()
    changes = []

    def fail():
        with put_back() as found:
            changes.append(found)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            torch.set_num_threads(threads + 1)
            raise ValueError("no")

    try:
        with pytest.raises(ValueError, match="no"):
            fail()
        assert signal.getsignal(signal.SIGTERM) is mine
        assert torch.get_num_threads() == threads
        assert [len(found) for found in changes] == [2]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("lines", ["raise KeyboardInterrupt", "raise GeneratorExit", "raise BrokenPipeError",
                                   "return [made[:1]]"])
def test_what_a_model_raises_is_its_own_whatever_it_is(lines, place):
    """A KeyboardInterrupt that nobody pressed ended the grid, a BrokenPipeError without a word and with exit code 0."""
    made_plugins.install(place / "site", "odd", hostile.family(contexts=lines))
    made_grids.in_process("run", *made_grids.options(place, variants=(ODD,), samples="4"), folder=place, code=3)
    row = rows(place)[ODD]
    assert row["status"] == "failed"
    assert row["reason"].startswith("variant family 'odd' of plugin 'odd' (made-odd 1.2.3) failed: ")


def test_a_cell_in_which_a_process_has_ended_comes_after_the_others(tmp_path):
    """In one process, a model that ends it would end it again before any other cell is trained."""
    folder, order, heard = store.create(tmp_path / "runs"), [], []
    cells = [replace(made_cell(seed=seed), train_tokens=seed + 1) for seed in range(3)]
    jobs.attempt(folder, cells[0].run_id, Attempt(job="earlier", host="h", process=1, checkpoint=""))

    def compute(cell, _sees):
        order.append(cell.seed)
        return Computed(result=RunResult(record=record(cell, 2, {"val_ppl": 9.0})))

    with Worker(cells, folder, heard.append, compute) as worker:
        worker.run()
    assert order == [1, 2, 0]
    (said,) = [event for event in heard if event.kind == "warning"]
    assert said.run_id == cells[0].run_id
    assert said.values["text"].startswith("its process ended in it once before, and never said how")


def test_a_run_builds_no_model_before_its_first_cell(place):
    """One that ends the process when it is built would end every run before it began."""
    made_plugins.install(place / "site", "odd", hostile.family(build="raise ValueError('built')"))
    done = made_grids.in_process("run", *made_grids.options(place, variants=(GOOD, ODD), samples="4"), folder=place,
                                 code=3)
    assert {name: row["status"] for name, row in rows(place).items()} == {GOOD: "ok", ODD: "failed"}
    assert "Traceback" not in done.stderr


HARM = {  # kind of item and body of its function: what is said, and the exit code
    ("law", "return np.full(5, 1j)"): ("failed: TypeError: its function returned complex numbers", 0),
    ("law's fit", "return itertools.repeat(3)"): ("failed: ValueError: more than 10,000 fits; expected an iterable", 0),
    ("analysis", "return itertools.repeat(3)"): ("ValueError: more than 10,000 findings", 0),
    ("law's fit", "print('noise'); return None"): ("failed: TypeError: 'NoneType' object is not iterable", 0),
    ("near", "return 3"): ("failed: TypeError: near must return Declined or None, not 3", 3),
    ("parts", "return 'text'"): ("failed: TypeError: parts must return Path, not 't'", 1),
    ("read", "print('noise'); return None"): ("failed: TypeError: 'NoneType' object is not iterable", 3),
    ("law's model", "return 3"): ("failed: TypeError: model must return an lmfit model, not 3", 0),
    ("law's model", "raise BrokenPipeError"): ("failed: BrokenPipeError", 0),
    ("blocked", "raise BrokenPipeError"): ("objective 'odd' of plugin 'odd' (made-odd 1.2.3) failed: BrokenPipe", 3),
    ("about", "return None"): ("failed: TypeError: about must return Mapping, not None", 1),
    ("size", "return np.full(2, 1.0)"): ("failed: TypeError: size must return ModelSize, not array(", 1),
    ("settle", "return []"): ("failed: TypeError: settle must return Mapping, not []", 1),
    ("parse", "return 'text'"): ("failed: TypeError: parse must return Variant or None, not 'text'", 1),
    ("stop rule", "return 3"): ("failed: TypeError: stops must return str or None, not 3", 0),
    ("executor", "raise BrokenPipeError"): ("executor 'odd' of plugin 'odd' (made-odd 1.2.3) failed: BrokenPipe", 1),
}


@pytest.mark.parametrize(("kind", "body"), HARM)
def test_what_an_item_returns_that_it_must_not_is_said_in_one_line(kind, body, place):
    made_plugins.install(place / "site", "odd", hostile.item(kind, body))
    (place / "site" / "odd.md.j2").write_text("one\n")
    words = hostile.ITEMS[kind][2].replace("TABLE", "runs.csv").replace("ODD", "odd.txt").split()
    if words[0] == "run":
        words[1:1] = made_grids.options(place, variants=() if "--variant" in words else (GOOD,), samples="4")
    said, code = HARM[kind, body]
    done = made_grids.in_process(*words, folder=place, code=code)
    assert said in " ".join((done.stdout + done.stderr).replace("\\", "").split())
    assert "noise" not in done.stdout
    if words[0] == "fit":
        assert "power-law" in done.stdout  # the rest of the table


def test_an_iterable_that_ends_is_taken_whole():
    assert guard.listed(iter(range(guard.MOST)), "numbers") == [*range(guard.MOST)]


def test_a_folder_that_was_removed_is_one_line(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = made_grids.in_process("ingest", "runs.csv", "--into", "made", folder=tmp_path, code=1)
    assert done.stderr == "cvfp: the current folder was removed, or may not be looked at; change to another one\n"


def test_a_stream_without_some_characters_has_them_escaped_and_json_stays_json(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    cli._have_streams()
    screen.write("R²\n")
    screen.show_json({"R²": "●"}, indent=None)
    first, second = out.getvalue().decode("ascii").splitlines()
    assert first == r"R\xb2"
    assert json.loads(second) == {"R²": "●"}


def test_a_stderr_that_is_full_ends_no_command(monkeypatch):
    class Full(io.StringIO):
        asked = 0

        def write(self, _text):
            self.asked += 1
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", full := Full())
    screen.say("nobody hears it")
    assert full.asked


def test_a_closed_stream_is_opened_on_nothing_so_that_no_file_takes_its_place(tmp_path):
    """What a library prints would stand in the file that is opened next."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(1)
            sys.stdout = None
            cli._have_streams()
            with (tmp_path / "made").open("w") as made:
                code = 0 if made.fileno() > 2 and sys.stdout is not None else 1
            print("nothing")
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["plugins", "surroundings"])
def test_a_few_of_each_campaign(campaign):
    """In a program of its own: a fork of one that has used polars waits for threads it has not."""
    program = Path(__file__).parents[1] / "benchmarks" / "reliability.py"
    done = subprocess.run([sys.executable, program, campaign, "--seed", "3", "--count", "12"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| 12 | 0 | 3 |" in done.stdout
