"""Whatever a plugin's code raises, one line names the item, the plugin, its distribution and version."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import made_grids
import made_plugins
from cvfp_core.errors import PluginError
from cvfp_core.registry import PluginInfo, Registry
from cvfp_core.registry.kinds import Corpus, CorpusSource
from cvfp_core.running.corpora import load_corpus, problem
from cvfp_core.schema import store
from cvfp_core.schema.cells import CorpusChoice

HEAD = """
from pathlib import Path
from cvfp_core import hookimpl
from cvfp_core.schema.cells import Variant
from cvfp_core.registry.kinds import *

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
KINDS = {"fitter": "law", "look": "ingester", "parse": "variant family", "check": "variant family",
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
        assert row["reason"] == f"{whose} failed: {raises} (made_culprit.py:8)"
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
        file.write("\nfrom cvfp_core.running.execute import execute_cells\n")
    given = made_grids.options(place, variants=("1L_8d_1tok",), samples="4,8")
    done = made_grids.in_process("run", "--set", "executor=odd", *given, folder=place, code=3)
    missing = 2 if returns == "None" else 1
    assert (f"cvfp: {missing} of 2 cells have no record: executor 'odd' of plugin 'culprit' (made-culprit 1.2.3) "
            "returned before they were done; run the same command again to go on") in done.stderr


def test_a_worker_that_ends_without_a_word_and_at_no_cell_is_an_error(place):
    made_plugins.install(place / "site", "culprit", """
import multiprocessing, os
from cvfp_core import hookimpl
if multiprocessing.parent_process() is not None:
    os._exit(0)
@hookimpl
def cvfp_run_started(cell):
    pass
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


MEANWHILE = """
import os, sys
from pathlib import Path
from cvfp_core import hookimpl
print("noise")

@hookimpl
def cvfp_run_finished():
    print("noise")
    os.chdir("/")
    info = Path(__file__).parent / "made_meanwhile-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: made-meanwhile\\nVersion: 1\\n")
    (info / "entry_points.txt").write_text("[cvfp]\\nmeanwhile = no_such_module\\n")
"""


@pytest.mark.parametrize("json_", [False, True])
def test_a_plugin_that_is_installed_during_a_run_does_not_take_the_place_of_its_results(json_, place):
    made_plugins.install(place / "site", "culprit", MEANWHILE)
    given = made_grids.options(place, variants=("1L_8d_1tok",), samples="4")
    done = made_grids.in_process("run", *given, *(["--json"] if json_ else []), folder=place)
    if json_:
        assert {json.loads(line)["event"] for line in done.stdout.splitlines()} >= {"run_started", "run_finished"}
    else:
        assert "alpha of PPL" in done.stdout
        assert "noise" not in done.stdout
    assert "noise" in done.stderr
    broken = made_grids.in_process("run", *given, folder=place, code=1)
    assert "plugin 'meanwhile' (made-meanwhile 1): ModuleNotFoundError" in broken.stderr


def test_a_family_that_fails_while_a_grid_is_tried_is_named(place):
    install(place, "cvfp_variants", FAMILY.format(parse="parse", check="None"))
    given = arguments(["run", "--dry-run", "--variant", "odd_1L_8d_1tok"], place)
    done = made_grids.in_process(*given, folder=place, code=1)
    assert done.stderr == ("cvfp: variant family 'odd' of plugin 'culprit' (made-culprit "
                           "1.2.3) failed: ValueError: no idea (made_culprit.py:8)\n")


def test_a_family_that_fails_while_another_matches_it_is_named_not_the_other(place):
    install(place, "cvfp_variants", FAMILY.format(parse="parse", check="None"))
    given = ["run", "--variant", "transformer_1L_8d_4tok", "--set", "model.match=odd_1L_8d_1tok"]
    done = made_grids.in_process(*arguments(given, place), folder=place, code=1)
    assert done.stderr.startswith("cvfp: variant family 'odd' of plugin 'culprit' (made-culprit 1.2.3) failed: Value")


GOOD = Corpus(name="odd", tokenizer="t", vocab_size=5, train_tokens=np.array([0, 1, 4, 2]), hash="h",
              document_ends=np.array([2, 4]), val_tokens=np.array([3, 4]), embeddings=np.ones((5, 2), np.float32))
BAD = {
    "no corpus": (None, "it must be a Corpus, not NoneType"),
    "id beyond": ({"train_tokens": np.array([0, 5])}, "train_tokens must be ids from 0 to 4, and go from 0 to 5"),
    "id below": ({"val_tokens": np.array([0, -1])}, "val_tokens must be ids from 0 to 4, and go from -1 to 0"),
    "float ids": ({"train_tokens": np.ones(4)}, "train_tokens must be whole numbers in one dimension, not float64"),
    "list": ({"val_tokens": [1, 2]}, "val_tokens must be whole numbers in one dimension, not list"),
    "table": ({"val_tokens": np.ones((2, 2), int)}, "in one dimension, not int64 (2, 2)"),
    "no validation": ({"val_tokens": np.array([], int)}, "val_tokens must hold at least 2, not 0"),
    "flat ends": ({"document_ends": np.array([2, 2])}, "document_ends must rise from above 0 to at most 4"),
    "empty first": ({"document_ends": np.array([0, 2])}, "document_ends must rise from above 0 to at most 4"),
    "ends beyond": ({"document_ends": np.array([2, 5])}, "document_ends must rise from above 0 to at most 4"),
    "wrong shape": ({"embeddings": np.ones((4, 2))}, "embeddings must be floats (5, embed_dim), not float64 (4, 2)"),
    "whole vectors": ({"embeddings": np.ones((5, 2), int)}, "embeddings must be floats (5, embed_dim), not int64"),
    "infinite": ({"embeddings": np.full((5, 2), np.inf)}, "embeddings must be finite; 10 numbers of them are not"),
    "no hash": ({"hash": ""}, "hash must be a text, not ''"),
    "vocabulary": ({"vocab_size": 0}, "vocab_size must be a whole number above 0, not 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_corpus_no_model_could_be_trained_on_is_laid_at_its_plugins_door(case, tmp_path):
    changed, reason = BAD[case]
    source = CorpusSource(name="odd", title="", load=lambda _options, _cache: changed and replace(GOOD, **changed))
    owner = PluginInfo(name="p", distribution="made-p", version="2")
    known = Registry(plugins=(), _items={CorpusSource: {"odd": source}}, _owners={(CorpusSource, "odd"): owner})
    with pytest.raises(PluginError) as caught:
        load_corpus(known, CorpusChoice(name="odd"), tmp_path)
    text = str(caught.value)
    assert text.startswith("corpus 'odd' of plugin 'p' (made-p 2) returned bad data: ")
    assert reason in text


def test_a_corpus_whose_tokens_end_after_its_last_document_is_taken():
    assert problem(GOOD) is None
    assert problem(replace(GOOD, train_tokens=np.array([0, 1, 4, 2, 2], np.uint16))) is None


PRESET = 'Preset(name="odd", title="", overrides={overrides})'


@pytest.mark.parametrize(("overrides", "reason"), [
    ({"phase1": {"foo": 1}}, "unknown key 'phase1.foo'; known: batch_tokens, "),
    ({"phase1": {"epochs": "x", "learning_rate": -1}}, "unknown key 'phase1.epochs'"),
    ({"phase1": {"learning_rate": -1}}, "phase1.learning_rate must be above 0, not -1"),
    ({"phase_1": {"learning_rate": 1}}, "unknown key 'phase_1'; did you mean 'phase1'?; known: phase1, phase2, "),
    ({"phase1": 3}, "phase1 must be a section, not 3"),
    ({"model": {"feed_forwrd": "gelu"}}, "unknown key 'model.feed_forwrd'; did you mean 'feed_forward'?; known: "),
])
def test_a_preset_that_sets_what_is_no_setting_is_named_with_its_plugin(overrides, reason, place):
    install(place, "cvfp_presets", PRESET.format(overrides=overrides))
    done = made_grids.in_process(*arguments(["run", "--settings", "odd"], place), folder=place, code=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cvfp: settings preset 'odd' of plugin 'culprit' (made-culprit 1.2.3): {reason}")
    assert line.endswith("; mend the preset")


def test_a_light_of_a_column_that_is_not_there_is_said_to_be_never_lit(place):
    item = 'Light(name="odd", title="", metric="val_err", better="higher", green=1, red=0)'
    install(place, "cvfp_lights", item)
    done = made_grids.in_process("check", "runs.csv", folder=place)
    assert done.stderr == ("cvfp: warning: light 'odd' of plugin 'culprit' (made-culprit 1.2.3) is never lit: there is "
                           "no record column 'val_err'; did you mean 'val_er'?\n")


@pytest.mark.parametrize("column", ["train_tokens", "val_er - train_er", "other"])
def test_a_light_of_a_column_of_the_schema_or_of_the_runs_is_not_warned_of(column, place):
    (place / "runs.csv").write_text("variant,train_tokens,val_ppl,other\n1L_8d_1tok,1000,50,1\n")
    install(place, "cvfp_lights", f'Light(name="odd", title="", metric="{column}", better="higher", green=1, red=0)')
    assert not made_grids.in_process("check", "runs.csv", folder=place).stderr


def test_an_ingester_that_fails_to_look_is_heard_of_once_and_the_others_read_on(place):
    install(place, *CASES["look"][:2])
    (place / "logs").mkdir()
    for name in ("a.csv", "b.csv", "c.txt"):
        (place / "logs" / name).write_text((place / "runs.csv").read_text().replace("1L_8d", f"{len(name)}L_8d"))
    done = made_grids.in_process("ingest", "logs", "--json", folder=place, code=1)
    made = json.loads(done.stdout)
    assert made["faults"] == ["logs: ingester 'odd' of plugin 'culprit' (made-culprit 1.2.3) failed: ValueError: no "
                              "idea (made_culprit.py:8); CVFP_DISABLE=culprit leaves it out"]
    assert len(made["records"]) == 15
    assert not [file["problem"] for file in made["files"] if file["problem"]]
    said = " ".join(made_grids.in_process("ingest", "logs", folder=place, code=1).stderr.split())
    assert said.count("ingester 'odd'") == 1
    refused = made_grids.in_process("report", "logs", folder=place, code=1)
    assert made["faults"][0] in refused.stderr
