"""CPU seconds of `cvfp report` without figures, of a table of runs, or of made stores of many series.

    python benchmarks/report.py [PATH]
    python benchmarks/report.py --series 5 50 500
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cvfp_core.schema import store
from cvfp_core.schema.records import Record
from cvfp_core.schema.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "phase1-to-ppl" / "runs.csv"
TEMPLATES = (["summary"], ["phase1-to-ppl"], ["audit"], ["compare", "--set", "a=v1", "--set", "b=v2"], ["fits"])
SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)


def records(series: int) -> list[Record]:
    """The runs of so many series, of 5 sizes each; they differ in width and in a setting."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(series):
        settings = Settings()
        settings = replace(settings, phase1=replace(settings.phase1, context_noise=0.01 * (index % 5)))
        level = 9000 * float(np.exp(0.05 * rng.standard_normal()))
        for i, size in enumerate(SIZES):
            made.append(Record(
                run_id=f"{index}-{i}", experiment=f"e{index % 7}", variant=f"1L_{16 + index}d_1tok", family="residual",
                num_layers=1, context_dim=16 + index, num_input_tokens=1, seed=0, num_samples=50 * 2**i,
                train_tokens=size, settings=json.dumps(settings.as_dict()), phase1_iterations=20 + i,
                phase1_censored=False, train_er=0.8, val_er=0.79 - index / 5000, train_ppl=100.0, unigram_ppl=600.0,
                val_ppl=level * size**-0.4 * float(np.exp(0.02 * rng.standard_normal())), val_acc=0.2,
            ))
    return made


def measure(words: list[str], repeats: int) -> tuple[float, float]:
    """Least wall and CPU seconds of the command."""
    wall, cpu = [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        program = "from cvfp_core.cli import main; main()"
        subprocess.run([sys.executable, "-c", program, *words],
                       check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(wall), min(cpu)


def written(count: int, folder: Path) -> Path:
    """A made store of so many series."""
    made = store.create(folder / f"{count}-series")
    for record in records(count):
        store.write_record(made, asdict(record))
    return folder / f"{count}-series"


def template(path: Path, words: list[str], repeats: int) -> None:
    wall, cpu = measure(["report", str(path), "--template", *words], repeats)
    print(f"{words[0]:<14} {wall:5.2f} s wall, {cpu:5.2f} s CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=EXAMPLE)
    parser.add_argument("--series", type=int, nargs="+", default=[], help="summaries of made stores of so many series")
    asked = parser.parse_args()
    for words in () if asked.series else TEMPLATES:
        template(asked.path, words, 5)
    for count in asked.series:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{count} series:", end=" ")
            template(written(count, Path(folder)), ["summary"], 3)


if __name__ == "__main__":
    main()
