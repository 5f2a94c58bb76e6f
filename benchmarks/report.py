"""Seconds of `cvfp report` on a table of runs, without figures, as a user waits for them.

    python benchmarks/report.py [PATH]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "phase1-to-ppl" / "runs.csv"
TEMPLATES = (["summary"], ["phase1-to-ppl"], ["audit"], ["compare", "--set", "a=v1", "--set", "b=v2"], ["fits"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=EXAMPLE)
    path = parser.parse_args().path
    for template in TEMPLATES:
        wall, cpu = [], []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            program = "from cvfp_core.cli import main; main()"
            subprocess.run([sys.executable, "-c", program, "report", str(path), "--template", *template],
                           check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
            wall.append(time.perf_counter() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        print(f"{template[0]:<14} {min(wall):5.2f} s wall, {min(cpu):5.2f} s CPU")


if __name__ == "__main__":
    main()
