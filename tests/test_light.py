"""What only looks is light, and every module can be imported alone."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import made_grids
import made_plugins
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult
from cvfp_core.testing import check_light
from cvfp_core.testing.light import HEAVY

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / "cvfp_core", *sorted(ROOT.glob("plugins/cvfp_*")), *sorted(ROOT.glob("templates/cvfp_*"))]
MODULES = sorted(
    ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES for file in package.rglob("*.py")
)
CVFP = """
import sys
from cvfp_core.cli import main
try:
    main()
finally:
    print("imported:", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
ALONE = """
import importlib, sys
names = sys.argv[1:]
for name in names:
    for loaded in [each for each in sys.modules if each.partition(".")[0].startswith("cvfp_")]:
        del sys.modules[loaded]
    importlib.import_module(name)
    print(name)
"""


def imported(*arguments, folder):
    """(top-level packages that `cvfp` with the arguments imported, what it printed)."""
    done = subprocess.run(
        [sys.executable, "-c", CVFP, *arguments], cwd=folder, env=made_grids.environment(folder), text=True,
        capture_output=True, check=False, timeout=900,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("imported: ")]
    return set(line.split()[1:]), done.stdout


@pytest.mark.parametrize("arguments", [
    ["--help"], ["--version"], ["plugins"], ["plugins", "--json"], ["run", "--help"], ["report", "--help"],
    ["report", "--list"],
], ids=" ".join)
def test_a_command_that_only_looks_imports_nothing_heavy(arguments, tmp_path):
    found, out = imported(*arguments, folder=tmp_path)
    assert "typer" in found
    assert not found & HEAVY
    assert out


TWENTY = """
from __future__ import annotations
from typing import TYPE_CHECKING
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Fitter, Parameter

if TYPE_CHECKING:
    import numpy as np

def law(train_tokens, A):
    import numpy as np
    return A * np.ones_like(train_tokens)

@hookimpl
def cvfp_fitters():
    return [Fitter(name="law-{i}", title="made", form="", parameters=(Parameter(name="A"),), function=law)]
"""


def imports(*arguments, folder, site):
    """(names of all modules that `cvfp` imported, by `-X importtime`; what it printed)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from cvfp_core.cli import main; main()", *arguments], cwd=folder,
        env=made_grids.environment(folder, PYTHONPATH=str(site)), text=True, capture_output=True, check=True,
        timeout=900,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["plugins", "--json"]], ids=" ".join)
def test_with_twenty_plugins_installed_what_only_looks_imports_nothing_heavy(arguments, tmp_path):
    site = tmp_path / "site"
    for i in range(20):
        made_plugins.install(site, f"plugin{i}", TWENTY.replace("{i}", str(i)))
    names, out = imports(*arguments, folder=tmp_path, site=site)
    assert "cvfp_core.cli.app" in names
    assert not {name for name in names if name.partition(".")[0] in HEAVY}
    assert all((f"law-{i}" in out) == ("plugins" in arguments) for i in range(20))


def test_a_plugin_that_imports_something_heavy_is_seen(tmp_path):
    """The test above can fail."""
    site = tmp_path / "site"
    made_plugins.install(site, "heavy", "import numpy\n")
    names, _ = imports("plugins", folder=tmp_path, site=site)
    assert "numpy" in names


@pytest.mark.parametrize("command", ["report", "show"])
def test_reports_and_tables_do_not_import_torch(command, tmp_path):
    folder = store.create(tmp_path / "made")
    for tokens in (100, 200, 400):
        store.write(folder, RunResult(record=Record(
            run_id=f"a-{tokens}", experiment="made", variant="1L_8d_1tok", num_samples=tokens, train_tokens=tokens,
            val_ppl=1000 * tokens**-0.5, seed=1,
        )))
    found, out = imported(command, "made", folder=tmp_path)
    assert "polars" in found
    assert "-0.500" in out
    assert not found & {"torch", "tokenizers", "datasets", "matplotlib"}


@pytest.mark.slow
def test_every_module_can_be_imported_alone():
    assert {"cvfp_core.registry.kinds", "cvfp_core.cli.app", "cvfp_residual.model", "cvfp_templates"} <= set(MODULES)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:cvfp_core:DeprecationWarning", "-c", ALONE, *MODULES], text=True,
        capture_output=True, check=False, timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == MODULES


@pytest.mark.parametrize("module", [
    "cvfp_core.registry.kinds", "cvfp_core.registry.hookspecs", "cvfp_core.registry", "cvfp_core.running.config",
    "cvfp_core.testing",
])
def test_what_plugins_import_first_is_light(module, tmp_path):
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True, timeout=900
    )
    assert not set(done.stdout.split()) & HEAVY


@pytest.mark.parametrize("package", [package.name for package in PACKAGES[1:]])
def test_every_plugin_is_light(package):
    check_light(importlib.import_module(package))
