"""Whatever a plugin's code raises, one line names the item, the plugin, its distribution and version."""

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
    raise ValueError("no\\nidea")

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


@pytest.mark.parametrize("case", CASES)
def test_the_culprit_is_named_with_distribution_and_version(case, place):
    hook, item, given, code = CASES[case]
    made_plugins.install(place / "site", "culprit", HEAD.format(hook=hook, item=item))
    (place / "site" / "odd.md.j2").write_text("one\n{{ 1 / 0 }}\n")
    done = made_grids.in_process(*arguments(given, place), folder=place, code=code)
    said = " ".join((done.stdout + done.stderr).split())
    whose = f"{KINDS.get(case, case)} 'odd' of plugin 'culprit' (made-culprit 1.2.3)"
    if case == "template":
        assert f"line 2: ZeroDivisionError: division by zero ({whose})" in said
    elif case == "build":
        (row,) = store.read(place / "runs" / "default").to_dicts()
        assert row["reason"] == f"ValueError: no idea ({whose})"
    else:
        assert f"{whose} failed: ValueError: no idea" in said.replace("\\", "")
    if code == 1:
        assert len(done.stderr.splitlines()) == 1 or case in ("ingester", "look")


def test_a_plugin_that_fails_in_a_stop_rule_costs_no_run(place):
    hook, item, given, _ = CASES["stop rule"]
    made_plugins.install(place / "site", "culprit", HEAD.format(hook=hook, item=item))
    made_grids.in_process(*arguments(given, place), folder=place)
    assert store.read(place / "runs" / "default")["status"].to_list() == ["ok"]


@pytest.mark.parametrize("raises", ["raise ValueError('no')", "raise SystemExit(5)", "1 / 0"])
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
