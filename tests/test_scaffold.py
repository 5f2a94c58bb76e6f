"""`cvfp plugin new`: what it writes works as written, for every kind and for all at once."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from string import Template

import pytest
from typer.testing import CliRunner

import cvfp_core
import made_docs
import made_environments
from cvfp_core.cli.app import app
from cvfp_core.errors import UsageError
from cvfp_core.registry import HOOKS, TITLES, hookspecs
from cvfp_core.scaffold.parts import PARTS
from cvfp_core.scaffold.write import files, requires, write
from cvfp_core.testing import load_only

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EVERY = tuple(PARTS)


def new(folder, *arguments):
    return CliRunner().invoke(app, ["plugin", "new", *arguments, "--into", str(folder)], env={"COLUMNS": "120"})


def test_there_is_a_part_for_every_hook():
    hooks = [hook for part in PARTS.values() for hook in part.hooks]
    assert sorted(hooks) == sorted(name for name in vars(hookspecs) if name.startswith("cvfp_"))


def test_every_kind_stands_in_the_help_and_on_the_page():
    shown = CliRunner().invoke(app, ["plugin", "new", "--help"], env={"COLUMNS": "200"}).stdout
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for kind in PARTS:
        assert re.search(rf"\b{kind}\b", shown), kind
        assert f"`{kind}`" in page, kind


@pytest.mark.parametrize("kinds", [EVERY, ("fitter",), *(pytest.param((kind,), marks=pytest.mark.slow) for kind in PARTS
                                                         if kind not in ("variant", "fitter"))], ids="+".join)
def test_the_tests_of_a_new_plugin_pass_as_written(kinds, tmp_path):
    """All at once covers `variant`, whose check is the longest."""
    write("cvfp-mine", kinds, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path / "cvfp-mine", text=True, capture_output=True, check=False, timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A plugin of every kind, installed in an environment of its own."""
    def make(folder):
        write("cvfp-mine", EVERY, folder)
        subprocess.run(["python", "-m", "pip", "install", "./cvfp-mine"], cwd=folder, check=True, timeout=900,
                       env=made_environments.make(folder), executable=str(folder / "venv" / "bin" / "python"))

    folder = made_environments.once(tmp_path_factory, "scaffold", make)
    return folder, made_environments.variables(folder)


def cvfp(installed, *arguments):
    folder, env = installed
    done = subprocess.run([str(folder / "venv" / "bin" / "cvfp"), *arguments], cwd=folder, env=env, text=True,
                          capture_output=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_plugin_is_listed_with_all_it_adds(installed):
    listed = cvfp(installed, "plugins")
    assert not re.search(r"\bbroken\b(?!-power-law)", listed)
    for kind in HOOKS.values():
        made_docs.assert_printed(rf"{TITLES[kind]}: mine", re.sub(r"mine[\w-]+", "mine", mine(listed)), "cvfp plugins")


def mine(listed):
    """The rows of the plugin, one item a line."""
    rows, own = [], False
    for line in listed.splitlines():
        own = line.startswith("mine ") if not line.startswith(" ") else own
        rows += [re.sub(r"^mine\s+cvfp-mine 0\.1\.0\s+", "", line)] if own else []
    return "\n".join(rows)


def test_its_corpus_variant_settings_executor_law_and_template_work_together(installed):
    said = cvfp(installed, "run", "--name", "all", "--corpus", "mine", "--variant", "mine_1L_8d_1tok", "--settings",
                "mine", "--set", "executor=mine", "--samples", "5,10,20", "--stop-rule", "mine-rising", "--controls")
    assert "mine_1L_8d_1tok  control: zero-context" in said
    assert "a - b * log2(tokens)" in cvfp(installed, "fit", "runs/all", "--law", "mine-law")
    assert "| all:mine_1L_8d_1tok |" in cvfp(installed, "report", "runs/all", "--template", "mine")
    assert "Are small samples learned by heart?" in cvfp(installed, "report", "runs/all", "--template", "audit")
    assert "mine-movement" in cvfp(installed, "check", "runs/all")


@pytest.mark.parametrize(("name", "reason"), [
    ("", "no name for a distribution"), (".mine", "no name for a distribution"), ("a b", "no name for a distribution"),
    ("mine/", "no name for a distribution"), ("../mine", "no name for a distribution"),
    ("m" * 31, "no name for a distribution"), ("äpfel", "no name for a distribution"),
    ("3gru", "which Python cannot import"), ("class", "which Python cannot import"),
    ("cvfp-3", "which Python cannot import"), ("json", "and there is one already"),
    ("cvfp-core", "and there is one already"), ("cvfp", "is installed already"),
    ("cvfp-residual", "a plugin 'residual' is installed already"), ("Residual", "a plugin 'residual' is installed"),
])
def test_a_name_that_cannot_be_used_is_refused_in_one_line(name, reason, tmp_path):
    result = new(tmp_path, name)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert reason in line
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "kind", "item"), [
    ("cvfp-power", "fitter", "law 'power-law', which plugin 'laws' (cvfp"),
    ("cvfp-v3", "preset", "settings preset 'v3', which plugin 'newllm' (cvfp"),
    ("cvfp-small", "preset", "settings preset 'small', which plugin 'residual' (cvfp"),
    ("cvfp-text", "corpus", "corpus 'text', which plugin 'corpora' (cvfp"),
    ("cvfp-summary", "template", "template 'summary', which plugin 'templates' (cvfp"),
])
def test_a_name_that_would_give_an_item_the_name_of_another_is_refused_in_one_line(name, kind, item, tmp_path):
    result = new(tmp_path, name, "--kind", "observer", "--kind", kind)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert f"'{name}' would add the {item}" in line
    assert line.endswith("adds already; choose another name")
    assert not any(tmp_path.iterdir())
    assert new(tmp_path, name, "--kind", "observer").exit_code == 0


def test_what_is_disabled_keeps_its_names(tmp_path, monkeypatch):
    monkeypatch.setenv("CVFP_DISABLE", "laws")
    assert "power-law" in new(tmp_path, "cvfp-power", "--kind", "fitter").stderr


def test_the_names_that_are_compared_are_those_of_the_items(tmp_path, monkeypatch):
    write("cvfp-made", EVERY, tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "cvfp-made")
    registered = load_only(importlib.import_module("cvfp_made"))
    for part in PARTS.values():
        if part.item is not None:
            assert list(registered.items(HOOKS[part.hooks[0]])) == [Template(part.item).substitute(short="made")]
    assert [kind for kind, part in PARTS.items() if part.item is None] == ["observer"]


def test_the_test_of_lightness_of_a_new_plugin_fails_where_it_is_heavy(tmp_path):
    write("cvfp-mine", ["light"], tmp_path)
    window = tmp_path / "cvfp-mine" / "cvfp_mine" / "__init__.py"
    window.write_text(window.read_text().replace("from cvfp_core import", "import numpy\nfrom cvfp_core import", 1))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
                          cwd=tmp_path / "cvfp-mine", text=True, capture_output=True, check=False, timeout=900)
    assert "FAILED tests/test_entry.py" in done.stdout
    assert "nothing heavy is imported" in done.stdout


def test_nothing_is_overwritten(tmp_path):
    assert new(tmp_path, "cvfp-mine").exit_code == 0
    before = (tmp_path / "cvfp-mine" / "README.md").stat().st_mtime_ns
    result = new(tmp_path, "cvfp-mine", "--kind", "light")
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert (tmp_path / "cvfp-mine" / "README.md").stat().st_mtime_ns == before
    assert not (tmp_path / "cvfp-mine" / "tests" / "test_light.py").exists()


def test_an_unknown_kind_is_answered_with_the_nearest_and_all_there_are(tmp_path):
    result = new(tmp_path, "cvfp-mine", "--kind", "fiter")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "unknown kind 'fiter'; did you mean 'fitter'?; there are: variant, " in line


def test_a_folder_that_cannot_be_written_ends_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = new(tmp_path / "file", "cvfp-mine")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("cvfp: cannot write ")


def test_the_files_it_names_are_those_it_wrote(tmp_path):
    named = new(tmp_path, "My.Plugin_x", "--kind", "ingester", "--kind", "ingester").stdout.split()
    assert sorted(named) == sorted(file.as_posix() for file in tmp_path.rglob("*") if file.is_file())
    assert (tmp_path / "My.Plugin_x" / "my_plugin_x" / "__init__.py").exists()


@pytest.mark.parametrize(("version", "range_"), [
    ("0.1.0", ">=0.1,<0.2"), ("0.9.3", ">=0.9,<0.10"), ("1.4.2", ">=1.4,<2"), ("12.0.0", ">=12.0,<13"),
])
def test_a_plugin_requires_the_versions_that_keep_the_same_promises(version, range_):
    assert requires(version) == range_


def test_the_page_and_the_example_require_what_a_new_plugin_does():
    wanted = f"cvfp{requires(cvfp_core.__version__)}"
    example = tomllib.loads((ROOT / "examples" / "cvfp-gru" / "pyproject.toml").read_text(encoding="utf-8"))
    assert example["project"]["dependencies"] == [wanted]
    assert f"`{wanted}`" in (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert wanted in files("cvfp-mine", ["light"])["pyproject.toml"]


@pytest.mark.parametrize("text", [
    files("cvfp-mine", ["light"])["pyproject.toml"],
    (ROOT / "examples" / "cvfp-gru" / "pyproject.toml").read_text(encoding="utf-8"),
], ids=["new", "example"])
def test_plugins_are_linted_as_the_project_is(text):
    ours, theirs = PROJECT["tool"], tomllib.loads(text)["tool"]
    assert theirs["ruff"] == {key: ours["ruff"][key] for key in ("line-length", "lint")}
    assert theirs["mypy"]["strict"] is ours["mypy"]["strict"] is True


def test_plugins_import_only_what_is_promised_to_them():
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"`(cvfp_core[\w.]*)`", page.partition("modules a plugin imports from")[2]))
    example = [file.read_text(encoding="utf-8") for file in (ROOT / "examples" / "cvfp-gru").rglob("*.py")]
    code = [text for file, text in files("cvfp-mine", EVERY).items() if file.endswith(".py")] + example
    imported = {module for text in code for module in re.findall(r"^\s*from (cvfp_core[\w.]*) import", text, re.M)}
    assert {"cvfp_core.registry.kinds", "cvfp_core.testing"} <= imported
    assert imported <= promised


def test_a_long_name_stays_within_the_width_of_a_line():
    name = "n" * 30
    for file, text in files(name, EVERY).items():
        if file.endswith(".py"):
            assert max(map(len, text.splitlines())) <= 120, file


def test_a_name_that_is_none_raises_what_the_command_prints(tmp_path):
    with pytest.raises(UsageError, match="such as cvfp-mine"):
        write("a b", ["variant"], tmp_path)
