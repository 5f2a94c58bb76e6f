"""Seconds of a plugin author's whole loop, as docs/plugins.md tells it: from `cvfp plugin new` to a report with it.

    python benchmarks/plugin_loop.py

Every block of the tutorial is run, each in processes of its own, in an environment made for it. That environment sees
what is installed here, so nothing is downloaded. Exits with 1 if the loop takes longer than it may.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "plugins.md"
LIMIT = 300.0
"""What the loop may take."""
sys.path.insert(0, str(ROOT / "tests"))

import made_docs  # noqa: E402
import made_environments  # noqa: E402


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = made_environments.make(Path(folder))
        if "CVFP_CACHE" in os.environ:
            env["CVFP_CACHE"] = os.environ["CVFP_CACHE"]
        total, here, load = 0.0, Path(folder), os.getloadavg()[0]
        for block in made_docs.blocks(PAGE.read_text(encoding="utf-8")):
            start = time.perf_counter()
            here = made_docs.step(block, here, env, PAGE.name)[1]
            seconds = time.perf_counter() - start
            total += seconds
            if block.language == "sh":
                print(f"{seconds:6.1f} s  {block.text.splitlines()[0][:100]}")
    print(f"{total:6.1f} s  in all, of {LIMIT:.0f} allowed; {os.cpu_count()} CPUs, Python {platform.python_version()}, "
          f"load {load:.1f} when it began and {os.getloadavg()[0]:.1f} at its end, its own included")
    if total > LIMIT:
        sys.exit(f"the loop of a plugin author: expected at most {LIMIT:.0f} s, took {total:.1f} s; see its steps")


if __name__ == "__main__":
    main()
