"""Environments in which a stranger's package can be installed, without a network and without a trace in this one."""

import os
import shutil
import sys
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from filelock import FileLock

import made_grids

PROGRAM = "#!{python}\nfrom cvfp_core.cli import main\n\nif __name__ == '__main__':\n    main()\n"


def make(folder: Path) -> dict[str, str]:
    """The variables of an environment that sees what is installed here and keeps what is installed into it.

    As after the README's first command, there is no pytest; pip finds one in a folder, and nothing on the network.
    """
    venv.create(folder / "venv", symlinks=True)
    home = folder / "venv" / "bin"
    (library,) = (folder / "venv" / "lib").glob("python*/site-packages")
    runner = distribution("pytest")
    lent = _lent(folder / "lent", without={file.parts[0] for file in runner.files})
    (library / "lent.pth").write_text(f"import site; site.addsitedir({str(lent)!r})\n")
    program = home / "cvfp"
    program.write_text(PROGRAM.format(python=home / "python"))
    program.chmod(0o755)
    _wheel(runner, folder / "wheels")
    return variables(folder)


def _lent(folder: Path, *, without: set[str]) -> Path:
    """Links to all that is installed here, but for some."""
    folder.mkdir()
    for path in map(Path, sys.path):
        if path.name in ("site-packages", "dist-packages"):
            for each in path.iterdir():
                if each.name not in without and not (folder / each.name).exists():
                    (folder / each.name).symlink_to(each)
    return folder


def _wheel(installed: Distribution, folder: Path) -> None:
    """Packs the wheel of a pure distribution from what is installed here, into a new folder."""
    folder.mkdir()
    name = f"{installed.name.replace('-', '_')}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in installed.files:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                wheel.write(file.locate(), file.as_posix())


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of that name, which the first of all workers that asks for it has made."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


def variables(folder: Path) -> dict[str, str]:
    """The variables of the environment that was made in the folder."""
    home = folder / "venv" / "bin"
    return made_grids.environment(
        folder, PATH=f"{home}{os.pathsep}{os.environ['PATH']}", VIRTUAL_ENV=str(folder / "venv"), PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(folder / "wheels"), PIP_NO_BUILD_ISOLATION="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_QUIET="1", PYTHONWARNINGS="default",
    )


def copy(package: Path, folder: Path) -> Path:
    """The package in a folder of its own, without what its own tests or builds left."""
    left = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "dist", "runs")
    return Path(shutil.copytree(package, folder / package.name, ignore=left))
