"""CPU seconds of commands on stores of many records, and of a grid of many cells that are all done.

    python benchmarks/scale.py [--series 500 2000] [--cells 1000]

Every store is read once without an index and then with it. Records and cells are made up; the grid's corpus is the
embedded one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from report import measure, written

from cvfp_core.protocol.record import record
from cvfp_core.running import run as running
from cvfp_core.schema import index, store
from cvfp_core.schema.records import RunResult


def grid(cells: int, folder: Path) -> list[str]:
    """Words of the `cvfp run` of a grid of so many cells, all of which have records."""
    assignments = [f"seeds={list(range(cells // 50))}", "samples=[10,20,40,80,160]", "variants=[]",
                   "matrix={num_layers=[1,2],context_dim=[8,16,32,64,128],num_input_tokens=[1]}"]
    plan = running.prepare(None, None, assignments, out=folder)
    into = store.create(plan.folder)
    for cell in plan.cells:
        measured = {"val_ppl": 1e4 * cell.train_tokens**-0.4, "val_acc": 0.2, "vocab_size": plan.corpus.vocab_size}
        store.write(into, RunResult(record=record(cell, 2, measured)))
    return ["run", *(word for each in assignments for word in ("--set", each)), "--out", str(folder)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="*", default=[500, 2000], help="stores of so many series of 5 runs")
    parser.add_argument("--cells", type=int, default=1000, help="cells of the grid, a multiple of 50; 0: no grid")
    parser.add_argument("--repeats", type=int, default=3, help="the least of so many is told")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for count in asked.series:
            path = written(count, Path(folder))
            for words in (["show"], ["fit"]):
                commands[f"{words[0]}, {5 * count} records"] = [*words, str(path)]
        if asked.cells:
            commands[f"run, {asked.cells} cells done"] = grid(asked.cells, Path(folder) / "runs")
        for name, words in commands.items():
            for file in Path(folder).rglob(index.NAME):
                file.unlink()
            (_, first), (wall, cpu) = measure(words, 1), measure(words, asked.repeats)
            print(f"{name:<24} {cpu:5.2f} s CPU, {wall:5.2f} s wall; without an index {first:5.2f} s CPU", flush=True)


if __name__ == "__main__":
    main()
