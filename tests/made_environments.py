"""Environments in which a stranger's package can be installed, without a network and without a trace in this one."""

import os
import shutil
import sys
import venv
from pathlib import Path

import made_grids

PROGRAM = "#!{python}\nfrom cvfp_core.cli import main\n\nif __name__ == '__main__':\n    main()\n"


def make(folder: Path) -> dict[str, str]:
    """The variables of an environment that sees what is installed here and keeps what is installed into it."""
    venv.create(folder / "venv", symlinks=True)
    home = folder / "venv" / "bin"
    (library,) = (folder / "venv" / "lib").glob("python*/site-packages")
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (library / "seen.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    program = home / "cvfp"
    program.write_text(PROGRAM.format(python=home / "python"))
    program.chmod(0o755)
    return made_grids.environment(
        folder, PATH=f"{home}{os.pathsep}{os.environ['PATH']}", VIRTUAL_ENV=str(folder / "venv"), PIP_NO_INDEX="1",
        PIP_NO_DEPS="1", PIP_NO_BUILD_ISOLATION="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_QUIET="1",
        PYTHONWARNINGS="default",
    )


def copy(package: Path, folder: Path) -> Path:
    """The package in a folder of its own, without what its own tests or builds left."""
    left = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "dist", "runs")
    return Path(shutil.copytree(package, folder / package.name, ignore=left))
