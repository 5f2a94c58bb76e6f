"""CPU seconds of reports on many series: `OMP_NUM_THREADS=1 python benchmarks/report.py [template] [series...]`.

A made store has series of 5 sizes each, of configurations that differ in width, input tokens and settings.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cvfp_core.schema import store
from cvfp_core.schema.records import Record
from cvfp_core.schema.settings import Settings

SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)


def records(series: int) -> list[Record]:
    """The runs of so many series."""
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


def seconds(series: int, template: str) -> float:
    """CPU seconds of the command on a store of so many series."""
    with tempfile.TemporaryDirectory() as name:
        folder = store.create(Path(name) / "runs")
        for record in records(series):
            store.write_record(folder, asdict(record))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([Path(sys.executable).with_name("cvfp"), "report", folder, "--template", template],
                       check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    asked = sys.argv[2:] or ["5", "50", "500"]
    for count in map(int, asked):
        print(f"{count} series: {seconds(count, (sys.argv[1:] or ['summary'])[0]):.2f} s")
