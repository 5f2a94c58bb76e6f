"""The registry is not silent: it says whose plugin is broken, what about it, and how to go on without it."""

import json
import os
import signal
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from typer.testing import CliRunner

import made_plugins
from cvfp_core import registry
from cvfp_core.cli.app import app
from cvfp_core.errors import PluginError, UsageError
from cvfp_core.registry.kinds import Fitter, Preset, Template, VariantFamily
from cvfp_core.schema.cells import Cell, CorpusChoice, Variant
from cvfp_core.schema.settings import Settings

PRESETS = """
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Preset

@hookimpl
def cvfp_presets():
    return [Preset(name={name!r}, title="made", overrides={{}})]
"""
HOOK = "from cvfp_core import hookimpl\n@hookimpl\n"
OBSERVER = """
from cvfp_core import hookimpl
heard = []

@hookimpl
def cvfp_run_started(cell):
    heard.append(("started", cell.num_samples))

@hookimpl
def cvfp_phase_finished(phase):
    heard.append(("phase", phase))

@hookimpl
def cvfp_run_finished():
    heard.append(("finished",))
"""
BROKEN = {
    "misspelt": (
        HOOK + "def cvfp_varaints():\n    return []", "there is no hook 'cvfp_varaints'; did you mean 'cvfp_variants'?"
    ),
    "undecorated": ("def cvfp_variants():\n    return []", "'cvfp_variants' lacks its decorator @hookimpl"),
    "wrongtype": (HOOK + "def cvfp_presets():\n    return ['v9']", "must return values of Preset, not str: 'v9'"),
    "nothing": (HOOK + "def cvfp_presets():\n    pass", "must return an iterable of Preset, not NoneType"),
    "text": (HOOK + "def cvfp_presets():\n    return 'v9'", "must return an iterable of Preset, not str"),
    "arguments": (HOOK + "def cvfp_presets(config):\n    return []", "config"),
    "imports": ("import no_such_module_of_mine", "ModuleNotFoundError: No module named 'no_such_module_of_mine'"),
    "syntax": ("def (", "SyntaxError: invalid syntax"),
    "leaves": ("import sys\nsys.exit('goodbye')", "SystemExit: goodbye"),
    "raises": (HOOK + "def cvfp_presets():\n    raise KeyError('lost')", "KeyError: 'lost'"),
    "midway": (HOOK + "def cvfp_presets():\n    yield 1 / 0", "ZeroDivisionError"),
    "atimport": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines (made_atimport.py:1)"),
    "panics": ("class PanicException(BaseException): pass\nraise PanicException('rust')",
               "PanicException: rust (made_panics.py:2)"),
    "panicshere": (HOOK + "def cvfp_presets():\n    raise type('PanicException', (BaseException,), {})('rust')",
                   "PanicException: rust (made_panicshere.py:4)"),
    "speechless": ("class Odd(Exception):\n    def __str__(self): raise ValueError('no text')\nraise Odd",
                   "Odd: (its text cannot be shown) (made_speechless.py:3)"),
    "listname": (PRESETS.format(name=["a"]), "cvfp_presets returned a Preset whose name is ['a']; a name is a text"),
    "noname": (PRESETS.format(name=None), "whose name is None; a name is a text of one line, and not empty"),
    "emptyname": (PRESETS.format(name=""), "whose name is ''; a name is a text"),
    "blankname": (PRESETS.format(name="  "), "whose name is ' '; a name is a text"),
    "twolines": (PRESETS.format(name="a\nb"), "whose name is 'a\\nb'; a name is a text"),
    "prefix": (HOOK + "def cvpf_presets():\n    return []",
               "there is no hook 'cvpf_presets'; did you mean 'cvfp_presets'?"),
    "specname": ("from cvfp_core import hookimpl\n@hookimpl(specname='cvfp_presetz')\ndef mine():\n    return []",
                 "there is no hook 'cvfp_presetz'; did you mean 'cvfp_presets'?"),
    "faraway": (HOOK + "def cvfp_wholly_other():\n    return []",
                "there is no hook 'cvfp_wholly_other'; there are: cvfp_variants,"),
    "argument": (HOOK + "def cvfp_run_finished(cell, recrd):\n    pass",
                 "cvfp_run_finished has no argument 'recrd'; did you mean 'record'?; it has: cell, record"),
    "partial": ("import functools\nfrom cvfp_core import hookimpl\n"
                "cvfp_presets = hookimpl(functools.partial(list))", "'cvfp_presets' lacks its decorator @hookimpl"),
    "hookless": ("GREETING = 'hello'", "it has no hook, so it adds nothing; it should have a function that is"),
    "placeholder": ("from cvfp_core.registry.kinds import Fitter\n" + HOOK + "def cvfp_fitters():"
                    "\n    yield Fitter(name='a', title='', form='', parameters=(), fit=print, inputs=('{size}',))",
                    "ValueError: law 'a': '{size}' stands for the column that option 'size' names, and its options "
                    "are: none (made_placeholder.py:5)"),
    "column": ("from cvfp_core.registry.kinds import Quantity\n" + HOOK + "def cvfp_quantities():"
               "\n    yield Quantity(name='val_ppl')", "quantity 'val_ppl' is a column of every record; declare yours"),
    "empty": (HOOK + "def cvfp_presets():\n    return []", "it adds nothing: cvfp_presets returned no item"),
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder for plugins, on the path; their modules are forgotten afterwards."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("CVFP_PLUGINS", raising=False)
    monkeypatch.delenv("CVFP_DISABLE", raising=False)
    yield folder
    for name in [name for name in sys.modules if name.startswith("made_") and name in modules_in(folder)]:
        del sys.modules[name]


def modules_in(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.py")}


def load(folder, **changed):
    return registry.load(made_plugins.points(folder), **{"only": (), "disabled": ()} | changed)


def the_error(loaded, plugin):
    (info,) = [each for each in loaded.plugins if each.name == plugin]
    return info.error


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_on_one_line(site, case):
    code, reason = BROKEN[case]
    made_plugins.install(site, case, code)
    made_plugins.install(site, "sound", PRESETS.format(name="mine"))
    loaded = load(site)
    error = the_error(loaded, case)
    assert reason in error
    assert "\n" not in error
    assert the_error(loaded, "sound") is None
    assert list(loaded.items(Preset)) == ["mine"]
    with pytest.raises(PluginError) as caught:
        loaded.require_healthy()
    text = str(caught.value)
    assert text.startswith(f"plugin '{case}' (made-{case} 1.2.3): ")
    assert text.endswith(f"set CVFP_DISABLE={case}")
    assert "\n" not in text


def test_an_item_of_a_subclass_of_its_kind_is_one_of_its_kind(site):
    code = PRESETS.format(name="mine").replace("@hookimpl", "class Mine(Preset):\n    pass\n\n@hookimpl")
    made_plugins.install(site, "sub", code.replace("[Preset(", "[Mine("))
    loaded = load(site).require_healthy()
    assert list(loaded.items(Preset)) == ["mine"]
    assert loaded.owner(Preset, "mine").adds == (("settings preset", "mine"),)


def test_a_hook_of_a_later_cvfp_may_be_marked_as_optional(site):
    later = "@hookimpl(optionalhook=True)\ndef cvfp_weather():\n    return []\n"
    made_plugins.install(site, "ahead", PRESETS.format(name="mine") + later)
    assert list(load(site).require_healthy().items(Preset)) == ["mine"]


def test_a_plugin_whose_metadata_are_torn_is_loaded_and_its_home_unknown(site):
    made_plugins.install(site, "torn", PRESETS.format(name="mine"))
    next(site.glob("*.dist-info")).joinpath("METADATA").unlink()
    (plugin,) = load(site).require_healthy().plugins
    assert plugin.label == "plugin 'torn' (unknown distribution ?)"


def test_ctrl_c_while_plugins_load_is_no_plugins_fault(site):
    made_plugins.install(site, "slow", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    with pytest.raises(KeyboardInterrupt):
        load(site)


def test_a_keyboard_interrupt_that_a_plugin_raises_is_its_own(site):
    made_plugins.install(site, "slow", "raise KeyboardInterrupt('no')")
    before = signal.getsignal(signal.SIGINT)
    assert the_error(load(site), "slow") == "KeyboardInterrupt: no (made_slow.py:1)"
    assert signal.getsignal(signal.SIGINT) == before


UNTIDY = """
import os
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Preset
print("imported")
os.chdir("/")

@hookimpl
def cvfp_presets():
    print("asked")
    os.chdir("/")
    yield Preset(name="odd", title="made", overrides={})

@hookimpl
def cvfp_run_started(cell):
    print("told")
    os.chdir("/")
"""


def test_what_a_plugin_prints_is_no_result_and_the_folder_stays(site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made_plugins.install(site, "untidy", UNTIDY)
    loaded = load(site).require_healthy()
    assert Path.cwd() == tmp_path
    assert loaded.notify("cvfp_run_started", cell=CELL) == []
    with loaded.blaming(Preset, "odd"):
        print("called")
        os.chdir("/")
    assert Path.cwd() == tmp_path
    out, err = capsys.readouterr()
    assert (out, err.split()) == ("", ["imported", "asked", "told", "called"])


def test_the_list_of_plugins_as_json_is_json_whatever_a_plugin_prints(site):
    made_plugins.install(site, "untidy", UNTIDY)
    result = CliRunner().invoke(app, ["plugins", "--json"])
    assert "untidy" in {each["name"] for each in json.loads(result.stdout)}


SLOW = """
import time
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Preset

@hookimpl
def cvfp_presets():
    time.sleep({asked})
    return [Preset(name="odd", title="made", overrides={{}})]

@hookimpl
def cvfp_run_started():
    time.sleep({told})
"""


@pytest.mark.parametrize(("asked", "told"), [(0.3, 0), (0, 0.3)])
def test_a_hook_that_does_not_return_is_named_while_one_waits(asked, told, site, capsys):
    made_plugins.install(site, "slow", SLOW.format(asked=asked, told=told))
    loaded = registry.load(made_plugins.points(site), only=(), disabled=(), patience=0.1).require_healthy()
    loaded.notify("cvfp_run_started", cell=CELL)
    hook = "cvfp_presets" if asked else "cvfp_run_started"
    assert capsys.readouterr().err == (
        f"cvfp: plugin 'slow' (made-slow 1.2.3): {hook} has not returned for 0.1 s; Ctrl-C ends the wait, "
        "CVFP_DISABLE=slow leaves it out\n")


def test_a_plugin_that_is_installed_while_a_run_goes_on_has_no_part_in_it(site, monkeypatch):
    monkeypatch.delenv("CVFP_PLUGINS", raising=False)
    made_plugins.install(site, "before", PRESETS.format(name="odd"))
    began = registry.load(made_plugins.points(site)).require_healthy()
    made_plugins.install(site, "meanwhile", "1 / 0")
    found = made_plugins.points(site)
    with registry.pinned(began):
        assert [each.name for each in registry.load(found).require_healthy().plugins] == ["before"]
    with pytest.raises(PluginError, match="meanwhile"):
        registry.load(found).require_healthy()


def test_all_broken_plugins_are_named_not_the_first(site):
    made_plugins.install(site, "one", "import nowhere")
    made_plugins.install(site, "two", "1 / 0")
    with pytest.raises(PluginError, match=r"plugin 'one' .*plugin 'two' .*CVFP_DISABLE=one,two"):
        load(site).require_healthy()


def test_two_entry_points_of_one_name_are_one_error_that_names_both_homes(site):
    made_plugins.install(site, "here", PRESETS.format(name="a"), entry="same")
    made_plugins.install(site, "there", PRESETS.format(name="b"), entry="same")
    first, second = load(site).plugins
    assert (first.label, first.error) == ("plugin 'same' (made-here 1.2.3)", None)
    assert second.error == ("two entry points are called 'same': made_here (made-here 1.2.3) and made_there "
                            "(made-there 1.2.3); uninstall made-there 1.2.3")
    with pytest.raises(PluginError) as caught:
        load(site).require_healthy()
    assert str(caught.value).endswith("; uninstall made-there 1.2.3"), "CVFP_DISABLE=same would leave out both"


def test_who_calls_an_entry_point_as_one_of_cvfp_is_broken_and_cvfps_is_not(site):
    made_plugins.install(site, "mine", PRESETS.format(name="a"), entry="laws")
    loaded = registry.load(only=(), disabled=())
    assert loaded.owner(Fitter, "power-law").distribution == "cvfp"
    with pytest.raises(PluginError, match=r"; uninstall made-mine 1\.2\.3$"):
        loaded.require_healthy()


def test_one_module_behind_two_entry_points_is_said_in_a_sentence(site):
    made_plugins.install(site, "twice", PRESETS.format(name="mine"))
    next(site.glob("*.dist-info")).joinpath("entry_points.txt").write_text("[cvfp]\na = made_twice\nb = made_twice\n")
    loaded = load(site)
    assert the_error(loaded, "a") is None
    assert the_error(loaded, "b") == "'made_twice' is behind the entry point 'a' too; remove one of the two"


def test_two_plugins_with_one_item_name_are_one_error_that_names_both(site):
    for plugin in ("here", "there"):
        made_plugins.install(site, plugin, PRESETS.format(name="same"))
    made_plugins.install(site, "sound", PRESETS.format(name="other"))
    loaded = load(site)
    assert the_error(loaded, "here") is None
    assert the_error(loaded, "there") == ("settings preset 'same' is registered more than once: plugin 'here' "
                                          "(made-here 1.2.3) and plugin 'there' (made-there 1.2.3)")
    with pytest.raises(PluginError, match=r"set CVFP_DISABLE=there$"):
        loaded.require_healthy()
    assert list(load(site, disabled=["there"]).require_healthy().items(Preset)) == ["same", "other"]


def test_of_three_plugins_with_one_item_name_all_but_one_are_to_be_disabled(site):
    for plugin in ("one", "two", "three"):
        made_plugins.install(site, plugin, PRESETS.format(name="same"))
    with pytest.raises(PluginError, match=r"set CVFP_DISABLE=three,two$"):
        load(site).require_healthy()


def test_who_takes_a_name_of_cvfp_is_broken_and_cvfps_plugin_is_not(site):
    code = HOOK + """
def cvfp_fitters():
    from cvfp_core.registry.kinds import Fitter
    yield Fitter(name="power-law", title="", form="", parameters=(), fit=print)
"""
    made_plugins.install(site, "another", code)
    loaded = registry.load(only=(), disabled=())
    assert the_error(loaded, "laws") is None
    assert loaded.owner(Fitter, "power-law").name == "laws"
    with pytest.raises(PluginError) as caught:
        loaded.require_healthy()
    text = str(caught.value)
    assert text.startswith("plugin 'another' (made-another 1.2.3): law 'power-law' is registered more than once: ")
    assert text.endswith("set CVFP_DISABLE=another")


def test_one_plugin_that_registers_a_name_twice_is_refused(site):
    made_plugins.install(site, "twice", PRESETS.format(name="same").replace("]", "] * 2"))
    loaded = load(site)
    assert "'same' is registered more than once" in the_error(loaded, "twice")
    with pytest.raises(PluginError, match=r"set CVFP_DISABLE=twice$"):
        loaded.require_healthy()


def test_one_name_for_items_of_different_kinds_is_no_clash(site):
    code = PRESETS.format(name="same") + """
from pathlib import Path
from cvfp_core.registry.kinds import Template

@hookimpl
def cvfp_templates():
    return [Template(name="same", title="made", path=Path("x.j2"))]
"""
    made_plugins.install(site, "both", code)
    loaded = load(site)
    assert the_error(loaded, "both") is None
    assert list(loaded.items(Preset)) == list(loaded.items(Template)) == ["same"]


def test_a_disabled_plugin_is_not_imported(site, monkeypatch):
    module = made_plugins.install(site, "broken", "1 / 0")
    made_plugins.install(site, "sound", PRESETS.format(name="mine"))
    monkeypatch.setenv("CVFP_DISABLE", " broken , nobody")
    loaded = registry.load(made_plugins.points(site)).require_healthy()
    assert [plugin.name for plugin in loaded.plugins] == ["sound"]
    assert module not in sys.modules


def test_only_the_plugins_asked_for_are_loaded(site, monkeypatch):
    for name in ("first", "second", "third"):
        made_plugins.install(site, name, PRESETS.format(name=name))
    monkeypatch.setenv("CVFP_PLUGINS", "first,third")
    monkeypatch.setenv("CVFP_DISABLE", "third")
    assert list(registry.load(made_plugins.points(site)).items(Preset)) == ["first"]
    monkeypatch.setenv("CVFP_PLUGINS", "")
    assert list(registry.load(made_plugins.points(site)).items(Preset)) == ["first", "second"]


@pytest.mark.parametrize(("variable", "value"), [
    ("CVFP_DISABLE", "broken"), ("CVFP_PLUGINS", "residual,corpora,local"),
])
def test_the_program_goes_on_without_a_broken_plugin_when_told_to(site, variable, value, monkeypatch):
    made_plugins.install(site, "broken", "1 / 0")
    monkeypatch.setenv(variable, value)
    listed = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)
    found = {each["name"]: each for each in listed}
    assert (found["broken"]["disabled"], found["broken"]["error"]) == (variable, None)
    assert found["residual"]["disabled"] is None
    assert "made_broken" not in sys.modules
    assert f"disabled by {variable}" in CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "200"}).stdout
    result = CliRunner().invoke(app, ["run", "--show-config"])
    assert result.exit_code == 0, result.stderr


def test_the_list_shows_what_a_plugin_observes(site):
    made_plugins.install(site, "watcher", OBSERVER)
    listed = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)
    (adds,) = [each["adds"] for each in listed if each["name"] == "watcher"]
    assert adds == [["observer", "cvfp_run_started"], ["observer", "cvfp_phase_finished"],
                    ["observer", "cvfp_run_finished"]]
    shown = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "200"}).stdout
    assert "observer: cvfp_run_started, cvfp_phase_finished, cvfp_run_finished" in shown


@pytest.mark.parametrize("command", [["plugins"], ["laws"]])
def test_a_name_to_disable_that_is_not_installed_is_warned_of(command, monkeypatch):
    monkeypatch.setenv("CVFP_DISABLE", "analysis")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert done.stderr.startswith("cvfp: warning: CVFP_DISABLE names 'analysis', and no such plugin is installed; did "
                                  "you mean 'analyses'?; installed: analyses, ")
    assert len(done.stderr.splitlines()) == 1


def test_a_name_to_load_alone_that_is_not_installed_stops_what_computes_and_is_warned_of_in_the_list(monkeypatch):
    monkeypatch.setenv("CVFP_PLUGINS", "law,templates")
    why = "CVFP_PLUGINS names 'law', and no such plugin is installed; did you mean 'laws'?; installed: "
    done = CliRunner().invoke(app, ["laws"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"cvfp: {why}")
    listed = CliRunner().invoke(app, ["plugins"])
    assert listed.exit_code == 0
    assert listed.stderr.startswith(f"cvfp: warning: {why}")


def test_every_kind_of_breakage_is_in_the_list_of_plugins_with_its_reason_and_the_exit_code_is_0(site):
    for case, (code, _) in BROKEN.items():
        made_plugins.install(site, case, code)
    for plugin in ("here", "there"):
        made_plugins.install(site, plugin, PRESETS.format(name="same"))
    result = CliRunner().invoke(app, ["plugins", "--json"])
    assert result.exit_code == 0
    found = {each["name"]: each for each in json.loads(result.stdout)}
    for case, (_, reason) in BROKEN.items():
        assert reason in found[case]["error"]
        assert (found[case]["distribution"], found[case]["version"]) == (f"made-{case}", "1.2.3")
    assert "'same' is registered more than once" in found["there"]["error"]
    shown = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    for each in found.values():
        assert each["distribution"] in shown.stdout
        if each["error"]:
            assert f"broken: {each['error']}" in " ".join(shown.stdout.split())


def test_a_distribution_is_read_once_however_many_plugins_it_holds(site, monkeypatch):
    made_plugins.install(site, "many", PRESETS.format(name="mine"))
    info = next(site.glob("made_many-*.dist-info"))
    info.joinpath("entry_points.txt").write_text("[cvfp]\n" + "".join(f"many{i} = made_many\n" for i in range(5)))
    reads = []
    read = PathDistribution.read_text
    monkeypatch.setattr(PathDistribution, "read_text", lambda self, name: reads.append(name) or read(self, name))
    points = made_plugins.points(site)
    reads.clear()
    registry.load(points, only=(), disabled=())
    assert reads.count("METADATA") == 1


def test_an_unknown_name_is_answered_with_the_nearest_and_all_there_are():
    with pytest.raises(UsageError) as caught:
        registry.load(disabled=()).get(Fitter, "powr-law")
    assert str(caught.value).startswith("unknown law 'powr-law'; did you mean 'power-law'?; installed: ")


def test_a_variant_that_two_families_claim_is_refused(site):
    for name in ("one", "two"):
        code = made_plugins.FAMILY.format(name=name, body="pass").replace(f'prefix="{name}_"', 'prefix="x"')
        made_plugins.install(site, name, code)
    with pytest.raises(UsageError, match="'x1L_2d_3tok' is claimed by families one, two"):
        load(site).variant("x1L_2d_3tok")


def test_every_first_party_plugin_is_healthy_and_owns_what_it_adds():
    loaded = registry.load(only=(), disabled=()).require_healthy()
    assert {"residual", "corpora", "local", "laws", "templates", "newllm"} <= {each.name for each in loaded.plugins}
    assert loaded.owner(VariantFamily, "residual").name == "residual"
    for plugin in loaded.plugins:
        assert plugin.adds, plugin.label


@pytest.mark.parametrize("command", [["run", "--dry-run"], ["report", "runs/none"]])
def test_a_broken_plugin_stops_run_and_report_in_one_line(site, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_plugins.install(site, "broken", "1 / 0")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("cvfp: plugin 'broken' (made-broken 1.2.3): ZeroDivisionError")
    assert line.endswith("CVFP_DISABLE=broken")


def test_the_list_of_plugins_shows_a_broken_one_and_exits_0(site):
    made_plugins.install(site, "broken", "1 / 0")
    result = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "broken: ZeroDivisionError: division by zero" in result.stdout
    assert "made-broken 1.2.3" in result.stdout
    plain = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)
    found = {each["name"]: each for each in plain}
    assert found["broken"]["error"] == "ZeroDivisionError: division by zero (made_broken.py:1)"
    assert found["residual"]["error"] is None
    assert ["variant family", "residual"] in found["residual"]["adds"]


def test_a_word_in_brackets_in_a_plugins_error_is_printed_as_it_is(site):
    made_plugins.install(site, "broken", "raise ValueError('[bold]no[/nothing]')")
    result = CliRunner().invoke(app, ["plugins"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "ValueError: [bold]no[/nothing]" in result.stdout


CELL = Cell(
    experiment="made", variant=Variant.parse("1L_4d_1tok", family="residual"), settings=Settings(),
    corpus=CorpusChoice(name="made"), corpus_hash="", num_samples=7, train_tokens=9, seed=0, device="cpu",
    cache=Path("unused"),
)


def test_observers_are_told_the_facts_they_ask_for(site):
    module = made_plugins.install(site, "watcher", OBSERVER)
    loaded = load(site).require_healthy()
    assert loaded.notify("cvfp_run_started", cell=CELL) == []
    assert loaded.notify("cvfp_phase_finished", cell=CELL, phase=1, metrics={}) == []
    assert loaded.notify("cvfp_run_finished", cell=CELL, record={}) == []
    assert sys.modules[module].heard == [("started", 7), ("phase", 1), ("finished",)]


def test_a_failing_observer_is_named_and_the_others_are_told(site):
    made_plugins.install(site, "aloud", HOOK + "def cvfp_run_started(cell):\n    raise ValueError('no')")
    module = made_plugins.install(site, "watcher", OBSERVER)
    failures = load(site).require_healthy().notify("cvfp_run_started", cell=CELL)
    assert failures == ["plugin 'aloud' (made-aloud 1.2.3): cvfp_run_started failed: ValueError: no "
                        "(made_aloud.py:4); CVFP_DISABLE=aloud leaves it out"]
    assert sys.modules[module].heard == [("started", 7)]


def test_an_observer_that_asks_for_a_fact_there_is_not_is_refused(site):
    made_plugins.install(site, "greedy", HOOK + "def cvfp_run_started(cell, weather):\n    pass")
    assert "weather" in the_error(load(site), "greedy")
