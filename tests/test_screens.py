"""What a terminal shows: at any width whole numbers, and nothing that data put there steers it."""

import ast
import io
import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pyte
import pytest

import cvfp_core
from cvfp_core.cli import screen
from cvfp_core.cli.progress import LiveScreen
from cvfp_core.registry import installed
from cvfp_core.results.overview import overview
from cvfp_core.results.printed import Screen, table
from cvfp_core.results.progress import Progress, line, spark
from cvfp_core.schema.cells import Event
from cvfp_core.schema.records import Record, frame
from made_runs import made_cell

HOSTILE = "a\x1b[2Jb\u202ec\x9bd\rz\udc80"
ROOMS = Path(cvfp_core.__file__).parent


GOLDEN = Path(__file__).parent / "golden"
WIDTHS = (60, 80, 120)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_data_hold_does_not_steer_a_terminal(monkeypatch):
    seen = r"a\u001b[2Jb\u202ec\u009bd\u000dz\udc80"
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    screen.say(HOSTILE)
    screen.write(HOSTILE)
    screen.show_json([HOSTILE])
    assert sys.stderr.getvalue() == f"cvfp: {seen}\n"
    out = sys.stdout.getvalue()
    assert out.startswith(seen)
    assert HOSTILE[1] not in out
    assert json.loads(out.removeprefix(seen)) == [HOSTILE]
    made = table([("h", "l"), ("n", "r")], title=None)
    made.add_row(HOSTILE, "1")
    console = Screen(file=io.StringIO(), width=60, highlight=False)
    console.print(made, HOSTILE)
    assert console.file.getvalue().count(seen.replace(r"\u000d", "")) == 2  # rich drops carriage returns
    assert not {"\x1b", "\u202e", "\x9b", "\r"} & set(console.file.getvalue())


def test_a_text_for_a_file_is_written_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    screen.write("a\u202eb")
    assert sys.stdout.getvalue() == "a\u202eb"


def test_commands_print_by_the_screen_alone():
    """A `print` or a console of rich elsewhere would hand on what data hold."""
    mine = {ROOMS / "cli" / "screen.py", ROOMS / "results" / "printed.py"}
    found = [f"{path.name}:{node.lineno}" for room in ("cli", "results") for path in (ROOMS / room).rglob("*.py")
             if path not in mine for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")]
    assert found == []


CELLS = [replace(made_cell(name, seed=1), num_samples=size // 50, train_tokens=size)
         for name in ("1L_12d_1tok", "2L_12d_1tok") for size in (1000, 2000, 4000, 8000)]


def record(cell, *, ppl):
    """The record of a cell whose validation perplexity is `ppl`: its last epoch was its best, unigrams have 300."""
    return Record(
        run_id=cell.run_id, experiment=cell.experiment, variant=cell.variant.name, family="residual", phases=2,
        num_layers=cell.variant.num_layers, context_dim=12, num_input_tokens=1, seed=1, num_samples=cell.num_samples,
        train_tokens=cell.train_tokens, phase1_iterations=8, phase1_censored=True, train_er=0.81, val_er=0.8,
        phase2_censored=cell.variant.num_layers == 2, train_ppl=ppl / 2, val_ppl=ppl, val_acc=0.2, unigram_ppl=300.0,
        seconds_phase1=1.5, seconds_phase2=100.25)


RECORDS = [record(cell, ppl=(9000 if cell.variant.num_layers == 1 else 4000) * cell.train_tokens**-0.4)
           for cell in CELLS]


def half_way(console):
    """The screen of a grid: five cells are done, one is in either phase, and forty seconds have gone by."""
    times = iter([0.0])
    live = LiveScreen(console, Progress(CELLS, frame([]), installed(), clock=lambda: next(times, 40.0)))
    with live:
        for cell, made in zip(CELLS[:5], RECORDS, strict=False):
            live(Event(kind="run_started", run_id=cell.run_id, values={}))
            live(Event(kind="run_finished", run_id=cell.run_id, values=asdict(made)))
        for cell in CELLS[5:7]:
            live(Event(kind="run_started", run_id=cell.run_id, values={}))
        for step in range(1, 7):
            live(Event(kind="phase1_iteration", run_id=CELLS[5].run_id, values={
                "iteration": step, "convergence_rate": step / 8, "loss": 1 / step}))
        for epoch in range(1, 3):
            live(Event(kind="phase2_epoch", run_id=CELLS[6].run_id, values={
                "epoch": epoch, "val_ppl": 5000 / epoch, "train_ppl": 9.0, "forecast": 1234.5, "forecast_low": 1100.0,
                "forecast_high": 1400.0}))
        live.live.refresh()
        yield
    yield


def shown(text, width):
    """What a terminal of that width has on its screen after the text, without empty lines at its end."""
    terminal = pyte.Screen(width, 40)
    terminal.set_mode(pyte.modes.LNM)
    pyte.Stream(terminal).feed(text)
    return "\n".join(each.rstrip() for each in terminal.display).rstrip()


def held(name, text):
    """To renew after a change that is meant: delete tests/golden and run the tests twice."""
    kept = GOLDEN / name
    if not kept.exists():
        kept.write_text(text + "\n", encoding="utf-8")
        pytest.fail(f"{kept.name} is written; look at it")
    assert text + "\n" == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_screen_of_a_grid_is_readable_and_leaves_only_what_is_done(width):
    console = Screen(file=io.StringIO(), width=width, height=40, force_terminal=True, highlight=False, _environ={})
    running = half_way(console)
    next(running)
    held(f"run.{width}.txt", shown(console.file.getvalue(), width))
    next(running)
    left = shown(console.file.getvalue(), width).splitlines()
    assert [each.split()[0] for each in left] == ["1L_12d_1tok"] * 4 + ["2L_12d_1tok"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tables_of_runs_are_readable(width):
    text = overview(frame(RECORDS)).text(width)
    assert max(map(len, text.splitlines())) <= width
    held(f"show.{width}.txt", text)


def test_a_curve_is_drawn_of_what_is_finite():
    assert spark([1.0]) == ""
    assert spark([math.nan, 8.0, math.inf, 1.0]) == "█▁"
    assert spark([2.0, 2.0]) == "▁▁"
    assert spark(range(1000), most=8) == "▁▂▃▄▅▆▇█"


def test_a_line_leaves_out_what_ranks_last_and_never_breaks():
    parts = [(0, "name", ""), (2, "12 iterations", ""), (1, "PPL 5", "")]
    assert line(60, parts).plain == "name  12 iterations  PPL 5"
    assert line(20, parts).plain == "name  PPL 5"
    assert line(60, parts, 0.5).plain == "name  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  12 iterations  PPL 5"
    assert line(3, parts).plain == "nam"
