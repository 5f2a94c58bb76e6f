"""A built wheel holds everything: `.gitignore` and packaging settings drop files without a word."""

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import cvfp_core

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [ROOT / "cvfp_core", *sorted(ROOT.glob("plugins/cvfp_*")), *sorted(ROOT.glob("templates/cvfp_*"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, text=True,
        capture_output=True, check=False, timeout=900,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as opened:
        yield opened


def sources():
    """Every file of the packages, as a path inside the wheel."""
    return {
        file.relative_to(package.parent).as_posix()
        for package in PACKAGES for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == sources()
    assert {"cvfp_core/running/default.toml", "cvfp_templates/summary.md.j2", "cvfp_residual/model.py"} <= packed


def test_every_package_is_named_in_the_project_file_and_every_plugin_has_its_door(wheel):
    named = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(named) == sorted(package.relative_to(ROOT).as_posix() for package in PACKAGES)
    (listed,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(listed).decode())
    assert sorted(points["cvfp"].values()) == sorted(package.name for package in PACKAGES[1:])
    assert dict(points["console_scripts"]) == {"cvfp": "cvfp_core.cli:main"}


def test_the_wheel_carries_the_licence_and_the_version(wheel):
    assert [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert PROJECT["project"]["version"] == cvfp_core.__version__
    assert f"\nversion: {cvfp_core.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert f"\nVersion: {cvfp_core.__version__}\n" in wheel.read(metadata).decode()


def test_the_addresses_of_the_project_are_fields_to_fill_in_and_none_is_made_up():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.removeprefix("# ") == "[project.urls]")
    fields = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[start:start + 6]))["project"]["urls"]
    assert list(fields) == ["Homepage", "Documentation", "Source", "Issues", "Changelog"]
    filled = PROJECT["project"].get("urls", {})
    assert fields == (filled or dict.fromkeys(fields, ""))
    assert all(address.startswith("https://") for address in filled.values())
