"""CPU time of what a grid asks of its store, for the arithmetic of docs/scale.md.

    python benchmarks/constants.py [--count 2000] [--mib 256]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from report import records

from cvfp_core.protocol.checkpoint import Checkpoint
from cvfp_core.schema import index, store
from cvfp_core.schema.cells import Cell, CorpusChoice, Variant
from cvfp_core.schema.records import RunResult
from cvfp_core.schema.settings import Settings


def told(what: str, count: int, do: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    print(f"{what:<44} {(time.process_time() - cpu) / count * 1e6:9.1f} us CPU, "
          f"{(time.perf_counter() - wall) / count * 1e6:9.1f} us wall", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="records, a multiple of 5")
    parser.add_argument("--mib", type=int, default=256, help="of contexts in a checkpoint")
    asked = parser.parse_args()
    made = records(asked.count // 5)
    cell = Cell(experiment="made", variant=Variant(name="v", family="f", num_layers=1, context_dim=8,
                                                   num_input_tokens=1),
                settings=Settings(), corpus=CorpusChoice(name="c"), corpus_hash="h", num_samples=1, train_tokens=1,
                seed=0, device="cpu", cache=Path("unused"))
    with tempfile.TemporaryDirectory() as name:
        folder = store.create(Path(name) / "runs")

        def lock() -> None:
            for record in made:
                with store.lock(folder, record.run_id).acquire(timeout=0) as held:
                    held.renew()

        told("the right to run a cell, got, checked, given", asked.count, lock)
        told("a record and its curves, stored", asked.count,
             lambda: [store.write(folder, RunResult(record=record)) for record in made])
        told("is it recorded", asked.count, lambda: [store.recorded(folder, record.run_id) for record in made])
        told("a record listed", asked.count, lambda: index._listed(folder))
        told("a record read, without an index", asked.count, lambda: store.read(folder))
        time.sleep(2.5)  # files settle before the index takes them in
        store.read(folder)
        told("a record read, with an index", asked.count, lambda: store.read(folder))
        size = sum(file.stat().st_size for file in (folder / "records").iterdir()) / asked.count
        print(f"bytes a record {size:.0f}, in the index {(folder / index.NAME).stat().st_size / asked.count:.0f}")
        told("a run id", asked.count, lambda: [replace(cell, seed=seed).run_id for seed in range(asked.count)])
        checkpoint = Checkpoint(Path(name) / "cell", cell, None)
        state = {"phase": 1, "contexts": torch.zeros(asked.mib * 2**18)}
        told("a MiB of a checkpoint, written", asked.mib, lambda: checkpoint.keep(1, state, print))
        told("a MiB of a checkpoint, checked and read", asked.mib,
             lambda: float((checkpoint.load(1, print) or {})["contexts"].sum()))


if __name__ == "__main__":
    main()
