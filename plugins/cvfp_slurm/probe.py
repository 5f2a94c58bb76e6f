"""Run on a node before an array is submitted: sees it the store, and has it the same cvfp?"""

from __future__ import annotations

import sys
from pathlib import Path

from cvfp_core.version import __version__


def main(store: str, job: str, version: str) -> str:
    """What is wrong here, on one line; empty: nothing."""
    if not (Path(store) / "jobs" / job / "job.json").exists():
        return f"does not see the folder '{store}'; choose one on a file system that all nodes share with --out"
    return differs(version)


def differs(version: str) -> str:
    """How the cvfp of this node differs from that of who submits, on one line."""
    if __version__ == version:
        return ""
    return f"has cvfp {__version__} and not {version} ({sys.executable}); install the same version there"


if __name__ == "__main__":
    problem = main(*sys.argv[1:])
    print(problem)
    sys.exit(bool(problem))
