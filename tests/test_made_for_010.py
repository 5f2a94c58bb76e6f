"""What was made for 0.1.0 works unchanged: plugins with tests of their own, and a store that is gone on with."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import made_environments
import made_grids

MADE = Path(__file__).parent / "data" / "made-for-0.1.0"
GIVEN = (
    "--name", "old", "--variant", "1L_16d_1tok", "--samples", "4,6,9", "--out", "runs", "--corpus", "jsonl",
    "--set", "corpus.path=text.jsonl", "--set", "corpus.field=text", "--set", "corpus.embed_dim=16",
    "--set", "corpus.vocab_size=300", "--set", "phase2.epochs=3",
)
"""The command that made the store."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment in which both plugins are installed, as their authors left them."""
    def make(folder):
        packages = [made_environments.copy(MADE / name, folder) for name in ("cvfp-gru", "cvfp-old")]
        pip = ("-m", "pip", "install", *(f"{package}[test]" for package in packages))
        env = made_environments.make(folder)
        subprocess.run([str(folder / "venv" / "bin" / "python"), *pip], cwd=folder, env=env, check=True, timeout=900)

    folder = made_environments.once(tmp_path_factory, "made-for-0.1.0", make)
    return folder, made_environments.variables(folder)


def called(installed, *command, folder=None):
    place, env = installed
    done = subprocess.run([str(place / "venv" / "bin" / command[0]), *command[1:]], cwd=folder or place, env=env,
                          text=True, capture_output=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_plugins_are_listed_and_sound(installed):
    listed = json.loads(called(installed, "cvfp", "plugins", "--json").stdout)
    found = {plugin["name"]: plugin for plugin in listed}
    assert (found["gru"]["error"], found["old"]["error"]) == (None, None)
    assert len(found["old"]["adds"]) >= 10


@pytest.mark.parametrize("package", [pytest.param("cvfp-gru", marks=pytest.mark.slow), "cvfp-old"])
def test_the_plugins_own_tests_pass(package, installed):
    """Warnings are errors in them; that their import paths have moved is shown all the same."""
    done = called(installed, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=installed[0] / package)
    assert "cvfp_core.kinds is now cvfp_core.registry.kinds; import it from there" in done.stdout


def test_a_store_is_gone_on_with_and_no_cell_is_trained_again(tmp_path):
    shutil.copy(MADE / "text.jsonl", tmp_path)
    shutil.copytree(MADE / "store", tmp_path / "runs" / "old")
    before = {file.name: file.read_bytes() for file in (tmp_path / "runs" / "old" / "records").iterdir()}
    done = made_grids.cvfp("run", *GIVEN, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["run_skipped"] * 3
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "runs" / "old" / "records").iterdir()}
    assert "1L_16d_1tok" in made_grids.cvfp("report", "runs/old", "--no-figures", folder=tmp_path).stdout


def test_a_module_at_its_old_path_is_the_new_one_and_warns_where_warnings_are_errors():
    code = "import cvfp_core.kinds, cvfp_core.registry.kinds as new; assert cvfp_core.kinds.Fitter is new.Fitter"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], text=True, capture_output=True, check=True)
    assert "<string>:1: DeprecationWarning: cvfp_core.kinds is now cvfp_core.registry.kinds; import it" in done.stderr
