"""The README says what is true: its commands are CI's, and every command of the program stands in it."""

import os
import shutil
import subprocess
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

import made_docs
from cvfp_core.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "
TESTS = INSTALL + '-e ".[test]" && .venv/bin/python -m pytest'
RUN = INSTALL + '".[figures]" && .venv/bin/cvfp run'


def test_the_two_commands_of_the_readme_are_these():
    assert TESTS in README
    assert RUN in README


def test_the_table_of_the_first_run_is_what_the_program_prints_of_its_records():
    printed = CliRunner().invoke(app, ["show", str(ROOT / "examples" / "logs" / "default")]).stdout
    table = next(each for each in made_docs.blocks(README) if each.text.startswith("series "))
    laws, _, after = table.text.partition("\n\nnext: ")
    made_docs.assert_printed(laws, printed, "README.md")
    assert after == "cvfp report runs/default -o report.html --embed\n"
    assert printed.endswith(after.partition("runs/default")[2])


def test_the_readme_is_short():
    assert len(README.splitlines()) < 150


def test_ci_runs_the_readmes_test_command():
    assert f"{TESTS} || exit 1" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_ci_ends_where_the_environment_of_the_tests_cannot_be_made(tmp_path):
    """`set -e` alone goes on after a failure in the middle of an `&&` list."""
    ci = shutil.copytree(ROOT / ".ci", tmp_path / ".ci") / "run"
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ci], env={**os.environ, "PATH": path}, text=True, capture_output=True, check=False,
                          timeout=900)
    assert done.returncode == 1
    assert done.stdout == "\n== tests, by the README's command\n"


def test_every_command_has_help_and_stands_in_the_readme():
    commands = get_command(app).commands
    assert {"run", "show", "report", "plugins"} <= set(commands)
    for name, command in commands.items():
        assert command.help, name
        assert f"cvfp {name}" in README, name


def test_every_entry_of_the_architecture_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in (path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name.startswith("cvfp_")):
        assert name in text, name
    for path in (ROOT / "cvfp_core").glob("*.py"):
        assert path.name in text or path.name == "__init__.py", path.name
