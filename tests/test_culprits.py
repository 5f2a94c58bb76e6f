"""Whatever a plugin's code raises, one line names the item, the plugin, its distribution and version."""

import json
import re
import sys

import pytest

import made_grids
import made_plugins
from cvfp_core import store

HEAD = """
from pathlib import Path
from cvfp_core import hookimpl
from cvfp_core.cells import Variant
from cvfp_core.kinds import *

def fail(*_args, **_named):
    raise {raises}

def none(*_args):
    return None

def parse(name):
    return Variant.parse(name, family="odd", prefix="odd_")

@hookimpl
def {hook}():
    return [{item}]
"""
FAMILY = 'VariantFamily(name="odd", title="", form="odd_...", parse={parse}, build=fail, check={check})'
CASES = {
    "fitter": ("cvfp_fitters", 'Fitter(name="odd", title="", form="", parameters=(), fit=fail)',
               ["fit", "runs.csv", "--law", "odd"], 0),
    "law": ("cvfp_fitters", 'Fitter(name="odd", title="", form="", parameters=(Parameter(name="A"),), function=fail)',
            ["fit", "runs.csv", "--law", "odd"], 0),
    "analysis": ("cvfp_analyses", 'Analysis(name="odd", title="Is it?", analyse=fail)',
                 ["report", "runs.csv", "--template", "audit"], 0),
    "ingester": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=lambda path, head: head and b"odd" in head, '
                                   'read=fail)', ["ingest", "odd.txt"], 1),
    "look": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=fail, read=fail)', ["ingest", "odd.txt"], 1),
    "template": ("cvfp_templates", 'Template(name="odd", title="", path=Path(__file__).with_name("odd.md.j2"))',
                 ["report", "runs.csv", "--template", "odd"], 1),
    "corpus": ("cvfp_corpora", 'CorpusSource(name="odd", title="", load=fail)', ["run", "odd.toml"], 1),
    "executor": ("cvfp_executors", 'Executor(name="odd", title="", run=fail)', ["run", "--set", "executor=odd"], 1),
    "parse": ("cvfp_variants", FAMILY.format(parse="fail", check="None"), ["run", "--variant", "odd_1L_8d_1tok"], 1),
    "check": ("cvfp_variants", FAMILY.format(parse="parse", check="fail"), ["run", "--variant", "odd_1L_8d_1tok"], 1),
    "build": ("cvfp_variants", FAMILY.format(parse="parse", check="None"), ["run", "--variant", "odd_1L_8d_1tok"], 3),
    "stop rule": ("cvfp_stop_rules", 'StopRule(name="odd", title="", stops=fail)',
                  ["run", "--stop-rule", "odd", "--variant", "1L_8d_1tok"], 0),
}
KINDS = {"law": "fitter", "look": "ingester", "parse": "variant family", "check": "variant family",
         "build": "variant family"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with runs, a corpus and a folder for plugins, whose modules are forgotten afterwards."""
    (tmp_path / "runs.csv").write_text("variant,train_tokens,val_ppl\n" + "".join(
        f"1L_8d_1tok,{1000 * 2**i},{500 / 1.3**i:.2f}\n" for i in range(5)))
    (tmp_path / "odd.txt").write_text("something odd\n")
    (tmp_path / "odd.toml").write_text('variants = ["1L_8d_1tok"]\nsamples = [4]\n[corpus]\nname = "odd"\n')
    made_grids.corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path
    sys.modules.pop("made_culprit", None)


def arguments(given, place):
    """The command, with the rest of a small grid if it runs one."""
    if given[0] != "run" or "odd.toml" in given:
        return given
    return [*given, *made_grids.options(place, variants=() if "--variant" in given else ("1L_8d_1tok",), samples="4")]


RAISED = {"ValueError: no idea": 'ValueError("no\\nidea")', "SystemExit: 0": "SystemExit(0)",
          "PanicException: rust": 'type("PanicException", (BaseException,), {})("rust")'}


def install(place, hook, item, raises="ValueError: no idea"):
    code = HEAD.replace("{hook}", hook).replace("{item}", item).replace("{raises}", RAISED[raises])
    made_plugins.install(place / "site", "culprit", code)


@pytest.mark.parametrize("raises", RAISED)
@pytest.mark.parametrize("case", CASES)
def test_the_culprit_is_named_with_distribution_and_version(case, raises, place):
    hook, item, given, code = CASES[case]
    install(place, hook, item, raises)
    (place / "site" / "odd.md.j2").write_text("one\n{{ 1 / 0 }}\n")
    done = made_grids.in_process(*arguments(given, place), folder=place, code=code)
    said = " ".join((done.stdout + done.stderr).split())
    whose = f"{KINDS.get(case, case)} 'odd' of plugin 'culprit' (made-culprit 1.2.3)"
    if case == "template":
        assert f"line 2: ZeroDivisionError: division by zero ({whose})" in said
    elif case == "build":
        (row,) = store.read(place / "runs" / "default").to_dicts()
        assert row["reason"] == f"{raises} ({whose}, made_culprit.py:8)"
        assert row["unigram_ppl"] > 1
        assert row["val_tokens"] > 1
    else:
        assert f"{whose} failed: {raises} (made_culprit.py:8)" in said.replace("\\", "")
    if code == 1:
        assert len(done.stderr.splitlines()) == 1 or case in ("ingester", "look")


def test_a_plugin_that_fails_in_a_stop_rule_costs_no_run(place):
    hook, item, given, _ = CASES["stop rule"]
    install(place, hook, item)
    done = made_grids.in_process(*arguments(given, place), folder=place)
    assert " ".join(done.stderr.split()).count("stop rule 'odd'") == 1
    assert store.read(place / "runs" / "default")["status"].to_list() == ["ok"]


@pytest.mark.parametrize("raises", ["raise ValueError('no')", "raise SystemExit(0)", "1 / 0"])
@pytest.mark.parametrize("hook", [
    "cvfp_run_started(cell)", "cvfp_phase_finished(metrics)", "cvfp_run_finished(record)",
])
def test_an_observer_never_ends_a_run_and_is_named(hook, raises, place):
    made_plugins.install(place / "site", "culprit",
                         f"from cvfp_core import hookimpl\n@hookimpl\ndef {hook}:\n    {raises}\n")
    done = made_grids.in_process(*arguments(["run", "--variant", "1L_8d_1tok"], place), folder=place)
    assert store.read(place / "runs" / "default")["status"].to_list() == ["ok"]
    said = " ".join(done.stderr.split())
    assert f"warning: plugin 'culprit' (made-culprit 1.2.3): {hook.partition('(')[0]} failed: " in said


@pytest.mark.parametrize("returns", ["None", "execute_cells(cells[1:], folder, emit)"])
def test_cells_that_an_executor_left_out_are_counted_and_the_exit_code_is_3(returns, place):
    run = f"lambda cells, folder, jobs, emit: {returns}"
    install(place, "cvfp_executors", f'Executor(name="odd", title="", run={run})')
    with (place / "site" / "made_culprit.py").open("a") as file:
        file.write("\nfrom cvfp_core.execute import execute_cells\n")
    given = made_grids.options(place, variants=("1L_8d_1tok",), samples="4,8")
    done = made_grids.in_process("run", "--set", "executor=odd", *given, folder=place, code=3)
    missing = 2 if returns == "None" else 1
    assert (f"cvfp: {missing} of 2 cells have no record: executor 'odd' of plugin 'culprit' (made-culprit 1.2.3) "
            "returned before they were done; run the same command again to go on") in done.stderr


def test_a_worker_that_ends_without_a_word_is_an_error(place):
    made_plugins.install(place / "site", "culprit", """
import os
from cvfp_core import hookimpl
@hookimpl
def cvfp_run_started(cell):
    os._exit(0)
""")
    given = made_grids.options(place, variants=("1L_8d_1tok",), samples="4,8", jobs=2)
    done = made_grids.cvfp("run", *given, folder=place, PYTHONPATH=str(place / "site"))
    assert done.returncode == 1
    assert "2 of 2 processes died (exit code 0)" in done.stderr


def test_memory_that_ran_out_is_nobodys_fault(place):
    install(place, "cvfp_variants", FAMILY.format(parse="parse", check="None"))
    file = place / "site" / "made_culprit.py"
    file.write_text(file.read_text().replace('raise ValueError("no\\nidea")', "raise MemoryError('40 GiB')"))
    made_grids.in_process(*arguments(["run", "--variant", "odd_1L_8d_1tok"], place), folder=place, code=3)
    (row,) = store.read(place / "runs" / "default").to_dicts()
    assert row["reason"] == ("out of memory on cpu: MemoryError: 40 GiB; take fewer --jobs, a narrower variant or a "
                             "smaller phase1.batch_tokens")


def test_an_error_that_passed_no_code_of_the_family_is_not_blamed_on_it(place, monkeypatch):
    monkeypatch.setattr("cvfp_core.protocol.run.learn_tokens", lambda *_, **_named: 1 / 0)
    made_grids.in_process(*arguments(["run", "--variant", "1L_8d_1tok"], place), folder=place, code=3)
    (row,) = store.read(place / "runs" / "default").to_dicts()
    assert re.fullmatch(r"ZeroDivisionError: division by zero \(cvfp_core/protocol/run\.py:\d+\)", row["reason"])


def test_the_traceback_is_printed_for_who_asks_for_it(place, monkeypatch):
    monkeypatch.setenv("CVFP_TRACEBACK", "1")
    hook, item, given, code = CASES["corpus"]
    install(place, hook, item)
    done = made_grids.in_process(*given, folder=place, code=code)
    assert "Traceback (most recent call last):" in done.stderr
    assert 'made_culprit.py", line 8, in fail' in done.stderr


def test_an_observer_changes_nothing_for_others_nor_in_the_events(place):
    made_plugins.install(place / "site", "culprit", """
from cvfp_core import hookimpl
@hookimpl
def cvfp_run_started(cell):
    cell.settings.model.clear()
@hookimpl
def cvfp_phase_finished(metrics):
    metrics.clear()
@hookimpl
def cvfp_run_finished(record):
    record.clear()
""")
    made_plugins.install(place / "site", "second", """
from cvfp_core import hookimpl
@hookimpl
def cvfp_run_finished(cell, record):
    assert record["val_ppl"] > 1 and cell.settings.model
""")
    given = made_grids.options(place, variants=("1L_8d_1tok",), samples="4")
    done = made_grids.in_process("run", *given, "--json", folder=place)
    sys.modules.pop("made_second", None)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [event for event in events if event["event"] == "warning"]
    (row,) = store.read(place / "runs" / "default").to_dicts()
    (told,) = [event for event in events if event["event"] == "run_finished"]
    assert told["val_ppl"] == row["val_ppl"] > 1
